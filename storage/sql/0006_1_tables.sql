-- Operators: people with credentials of their own, roles as data, sessions, and the brake on guessing (P3.1b, A8.1a).

-- Loaded from config/roles.toml whenever the institution is registered.
CREATE TABLE app.role (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z_]{1,39}$'),
    title_zh text NOT NULL,
    title_en text NOT NULL
);
CREATE TABLE app.role_permission (
    role text NOT NULL REFERENCES app.role ON DELETE CASCADE,
    permission text NOT NULL CHECK (permission ~ '^[a-z_.]{1,60}:[a-z]{1,20}$'),
    PRIMARY KEY (role, permission)
);
-- Two roles that no one person may have; each pair is there in both orders.
CREATE TABLE app.role_conflict (
    role text NOT NULL REFERENCES app.role ON DELETE CASCADE,
    other text NOT NULL REFERENCES app.role ON DELETE CASCADE,
    PRIMARY KEY (role, other),
    CHECK (role <> other)
);

-- A login is never given to another person: it stands in the records. `invited` has a token with which to set password
-- and second factor; the second factor's secret is sealed, so that a copy of this table opens nothing.
CREATE TABLE app.operator (
    id text PRIMARY KEY CHECK (id ~ '^opr_[0-9A-HJKMNP-TV-Z]{26}$'),
    login text NOT NULL UNIQUE CHECK (login ~ '^[a-z][a-z0-9._-]{1,39}$'),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
    roles text[] NOT NULL CHECK (cardinality(roles) BETWEEN 1 AND 8),
    state text NOT NULL CHECK (state IN ('invited', 'active', 'suspended', 'left')),
    password_phc text CHECK (char_length(password_phc) <= 200),
    sealed_totp bytea CHECK (octet_length(sealed_totp) <= 200),
    last_totp_step bigint NOT NULL DEFAULT 0,
    credentials_expire_at timestamptz,
    trained_until timestamptz,
    enrolment_hash bytea CHECK (octet_length(enrolment_hash) = 32),
    enrolment_expires_at timestamptz,
    enrolled_at timestamptz NOT NULL,
    enrolled_by text NOT NULL,
    CHECK (state <> 'active' OR password_phc IS NOT NULL AND sealed_totp IS NOT NULL),
    CHECK ((password_phc IS NULL) = (credentials_expire_at IS NULL)),
    CHECK ((enrolment_hash IS NULL) = (enrolment_expires_at IS NULL))
);

CREATE TABLE app.operator_session (
    id text PRIMARY KEY CHECK (id ~ '^ses_[0-9A-HJKMNP-TV-Z]{26}$'),
    operator_id text NOT NULL REFERENCES app.operator,
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX operator_session_live ON app.operator_session (operator_id) WHERE ended_at IS NULL;

-- Failed attempts by keyed digest of a login (whether or not it exists) and of an address: what a stranger types into
-- a form may be a password, and is kept nowhere.
CREATE TABLE app.login_brake (
    subject text PRIMARY KEY CHECK (subject ~ '^(login|address):[0-9a-f]{64}$'),
    failures int NOT NULL CHECK (failures >= 0),
    last_attempt_at timestamptz NOT NULL,
    blocked_until timestamptz
) WITH (fillfactor = 70);
CREATE INDEX login_brake_age ON app.login_brake (last_attempt_at);

-- What operators look things up by.
CREATE INDEX payment_order ON app.payment (order_number);
CREATE INDEX effect_bank_reference ON app.effect (bank_reference) WHERE bank_reference IS NOT NULL;
CREATE INDEX operation_of_operator ON app.operation (actor, id) WHERE actor LIKE 'operator:%';
