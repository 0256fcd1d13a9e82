-- The institution's own books beside the ledger: who may instruct, what was instructed, what was sent to a bank,
-- what was recorded and what goes out. Times are passed instants unless a column is named recorded_at.
CREATE SCHEMA app;

CREATE TABLE app.partner (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z0-9]{3,12}$'),
    role text NOT NULL CHECK (role IN ('domestic_bank', 'overseas_bank', 'clearing', 'identity_verification')),
    name_en text NOT NULL,
    name_zh text NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    changed_at timestamptz NOT NULL
);

CREATE TABLE app.merchant (
    id text PRIMARY KEY,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 60),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    contract_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE app.api_key (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 20),
    label text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE app.end_user (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    merchant_user_ref text NOT NULL CHECK (char_length(merchant_user_ref) BETWEEN 1 AND 64),
    type text NOT NULL CHECK (type IN ('individual', 'enterprise')),
    region text NOT NULL CHECK (region ~ '^[A-Z]{2}$'),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'closed')),
    person_index text,
    created_at timestamptz NOT NULL,
    UNIQUE (merchant_id, merchant_user_ref)
);
CREATE INDEX end_user_person ON app.end_user (person_index) WHERE person_index IS NOT NULL;

CREATE TABLE app.agreement_version (
    version text PRIMARY KEY,
    content_hash text NOT NULL CHECK (content_hash ~ '^[0-9a-f]{64}$'),
    in_force_from timestamptz NOT NULL,
    in_force_until timestamptz
);

-- What a user agreed to, was shown, stated or objected to; evidence, so it is only ever added to (A0.1, A3.11b-e).
CREATE TABLE app.consent (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL REFERENCES app.end_user,
    merchant_id text NOT NULL REFERENCES app.merchant,
    kind text NOT NULL CHECK (kind IN
        ('agreement', 'capacity_statement', 'waiver_authorisation', 'waiver_notice', 'waiver_objection')),
    version text NOT NULL CHECK (char_length(version) <= 64),
    content_hash text,
    channel text NOT NULL CHECK (channel IN ('web', 'app', 'mini_program', 'counter', 'phone')),
    evidence_ref text CHECK (char_length(evidence_ref) <= 128),
    acted_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX consent_of_user ON app.consent (user_id, kind, version);

-- Verification-free payment is a feature of a merchant: it applies, the institution decides (A3.11a).
CREATE TABLE app.waiver_application (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    limit_minor bigint NOT NULL CHECK (limit_minor > 0),
    currency text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'rejected', 'superseded')),
    applied_at timestamptz NOT NULL,
    applied_by text NOT NULL,
    decided_at timestamptz,
    decided_by text,
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK (decided_by IS DISTINCT FROM applied_by)
);
CREATE UNIQUE INDEX one_pending_waiver_application ON app.waiver_application (merchant_id) WHERE state = 'pending';
CREATE UNIQUE INDEX one_waiver_in_force ON app.waiver_application (merchant_id) WHERE state = 'approved';

-- Where a user stands towards the merchant's waiver now; the evidence is in app.consent.
CREATE TABLE app.user_waiver (
    user_id text PRIMARY KEY REFERENCES app.end_user,
    authorised_version text,
    noticed_version text,
    objected_at timestamptz
);

CREATE TABLE app.binding (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES app.end_user,
    merchant_id text NOT NULL REFERENCES app.merchant,
    bank_code text NOT NULL REFERENCES app.partner,
    card_index text NOT NULL,
    card_last4 text NOT NULL CHECK (card_last4 ~ '^[0-9]{4}$'),
    card_type text NOT NULL CHECK (card_type IN ('debit', 'credit')),
    person_index text NOT NULL,
    element_tokens jsonb NOT NULL,
    agreement_token text,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    code_request_number text,
    code_sends int NOT NULL DEFAULT 0,
    code_sent_at timestamptz,
    code_expires_at timestamptz,
    code_attempts int NOT NULL DEFAULT 0,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX one_live_binding_per_user_and_card ON app.binding (user_id, card_index)
    WHERE state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding');
CREATE INDEX binding_live ON app.binding (accepted_at)
    WHERE state IN ('accepted', 'applying', 'awaiting_code', 'unbinding');
CREATE INDEX binding_of_user ON app.binding (user_id, id);

CREATE TABLE app.payment (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    binding_id text NOT NULL REFERENCES app.binding,
    bank_code text NOT NULL,
    order_number text NOT NULL CHECK (char_length(order_number) BETWEEN 1 AND 64),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    payee_kind text NOT NULL CHECK (payee_kind IN ('merchant', 'user')),
    payee_name text NOT NULL,
    payee_account text NOT NULL,
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0 AND fee_minor < amount_minor),
    fee_rule text NOT NULL,
    confirmation_hash text NOT NULL,
    agreement_version text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('user_relayed', 'standing_mandate')),
    verification text NOT NULL CHECK (verification IN ('code', 'waived')),
    waiver_id text,
    liability_standard text NOT NULL CHECK (liability_standard IN ('negligence', 'gross_negligence')),
    order_expires_at timestamptz NOT NULL,
    limit_reservations jsonb NOT NULL,
    limits_released boolean NOT NULL DEFAULT false,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    authorisation text,
    code_request_number text,
    code_sends int NOT NULL DEFAULT 0,
    code_sent_at timestamptz,
    code_expires_at timestamptz,
    code_attempts int NOT NULL DEFAULT 0,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    claimed_at timestamptz,
    bank_reference text,
    booked_at timestamptz,
    corrected_at timestamptz,
    refunding_minor bigint NOT NULL DEFAULT 0 CHECK (refunding_minor >= 0),
    refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
    fee_refunding_minor bigint NOT NULL DEFAULT 0 CHECK (fee_refunding_minor >= 0),
    fee_refunded_minor bigint NOT NULL DEFAULT 0 CHECK (fee_refunded_minor >= 0),
    event_sequence int NOT NULL DEFAULT 0,
    CHECK (refunding_minor + refunded_minor <= amount_minor),
    CHECK (fee_refunding_minor + fee_refunded_minor <= fee_minor)
) WITH (fillfactor = 70);
-- One order is paid once: a failed or closed payment frees it, a late success that went back does not.
CREATE UNIQUE INDEX one_payment_per_order ON app.payment (merchant_id, order_number)
    WHERE state NOT IN ('failed', 'closed', 'late_refunding', 'late_refunded');
CREATE INDEX payment_of_merchant ON app.payment (merchant_id, id);
CREATE INDEX payment_of_user ON app.payment (user_id, id);
CREATE INDEX payment_live ON app.payment (accepted_at)
    WHERE state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding');
CREATE INDEX payment_live_of_binding ON app.payment (binding_id)
    WHERE state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding');

CREATE TABLE app.refund (
    id text PRIMARY KEY,
    payment_id text NOT NULL REFERENCES app.payment,
    merchant_id text NOT NULL REFERENCES app.merchant,
    bank_code text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    fee_back_minor bigint NOT NULL CHECK (fee_back_minor >= 0 AND fee_back_minor <= amount_minor),
    currency text NOT NULL,
    reason_code text NOT NULL,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    claimed_at timestamptz,
    bank_reference text,
    booked_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0
);
CREATE INDEX refund_of_payment ON app.refund (payment_id, id);
CREATE INDEX refund_live ON app.refund (accepted_at) WHERE state IN ('ready', 'sending', 'unknown');

-- Everything that left, or was about to leave, for a bank: its number is here before the first attempt.
CREATE TABLE app.effect (
    request_number text PRIMARY KEY CHECK (request_number ~ '^[A-Z0-9]{20,40}$'),
    subject_id text NOT NULL,
    step text NOT NULL CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR')),
    bank_code text NOT NULL REFERENCES app.partner,
    partner_role text NOT NULL,
    claimed_at timestamptz NOT NULL,
    outcome text CHECK (outcome IN ('succeeded', 'declined')),
    reason text,
    raw_code text,
    bank_reference text,
    resolved_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE INDEX effect_of_subject ON app.effect (subject_id);

-- A code that a payer typed, before it goes to the bank; the code itself is nowhere.
CREATE TABLE app.code_attempt (
    id text PRIMARY KEY,
    subject_id text NOT NULL,
    number int NOT NULL CHECK (number > 0),
    code_request_number text NOT NULL,
    request_number text NOT NULL UNIQUE,
    claimed_at timestamptz NOT NULL,
    verdict text CHECK (verdict IN ('confirmed', 'wrong', 'expired', 'exhausted', 'declined', 'lost')),
    resolved_at timestamptz,
    UNIQUE (subject_id, number)
);
CREATE UNIQUE INDEX one_open_attempt ON app.code_attempt (subject_id) WHERE verdict IS NULL;

-- Every operation, whether or not it achieved its aim (A4.1a). Append-only.
CREATE TABLE app.operation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text UNIQUE CHECK (char_length(key) <= 120),
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL CHECK (char_length(actor) <= 80),
    action text NOT NULL CHECK (char_length(action) <= 60),
    outcome text NOT NULL CHECK (outcome IN
        ('received', 'done', 'refused', 'failed', 'unknown', 'abandoned', 'denied', 'corrected')),
    reason text CHECK (char_length(reason) <= 80),
    subject_id text CHECK (char_length(subject_id) <= 80),
    merchant_id text,
    request_id text,
    partner text,
    partner_role text,
    request_number text,
    detail jsonb CHECK (pg_column_size(detail) <= 4096)
);
CREATE INDEX operation_of_subject ON app.operation (subject_id, id) WHERE subject_id IS NOT NULL;
CREATE INDEX operation_of_request ON app.operation (request_id) WHERE request_id IS NOT NULL;

-- The outbox: per object, numbered without a gap, with the state as it then was.
CREATE TABLE app.event (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE DEFAULT 'evt_' || upper(replace(gen_random_uuid()::text, '-', '')),
    merchant_id text NOT NULL,
    object_id text NOT NULL,
    sequence int NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    body jsonb NOT NULL,
    UNIQUE (object_id, sequence)
);
CREATE INDEX event_of_merchant ON app.event (merchant_id, position);

CREATE TABLE app.idempotency (
    merchant_id text NOT NULL REFERENCES app.merchant,
    key text NOT NULL CHECK (char_length(key) BETWEEN 8 AND 64),
    action text NOT NULL,
    fingerprint text NOT NULL,
    resource_id text NOT NULL,
    request_id text NOT NULL,
    started_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    answer jsonb,
    PRIMARY KEY (merchant_id, key)
) WITH (fillfactor = 70);
CREATE INDEX idempotency_unanswered ON app.idempotency (lease_until) WHERE answer IS NULL;

CREATE TABLE app.limit_usage (
    subject text NOT NULL,
    window_kind text NOT NULL CHECK (window_kind IN ('day', 'month')),
    window_start date NOT NULL,
    currency text NOT NULL,
    used_minor bigint NOT NULL CHECK (used_minor >= 0),
    PRIMARY KEY (subject, window_kind, window_start, currency)
) WITH (fillfactor = 50);

CREATE TABLE app.bank_callback (
    bank_code text NOT NULL,
    notice_id text NOT NULL CHECK (char_length(notice_id) <= 80),
    request_number text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (bank_code, notice_id)
);

CREATE TABLE app.case_record (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('waiver_objection', 'bank_correction', 'operator_needed')),
    subject_id text NOT NULL,
    merchant_id text NOT NULL,
    opened_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    payments text[] NOT NULL DEFAULT '{}'
);

-- Which step may follow which; the same table as domain/states.py, and a test compares them.
CREATE TABLE app.legal_step (
    subject text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    PRIMARY KEY (subject, from_state, to_state)
);

CREATE FUNCTION app.forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'append-only: % on %.% is not allowed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.consent
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.operation
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.bank_callback
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.consent EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.operation EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.bank_callback EXECUTE FUNCTION app.forbid_change();

CREATE FUNCTION app.check_step() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF NEW.state IS DISTINCT FROM OLD.state AND NOT EXISTS (
        SELECT 1 FROM app.legal_step
        WHERE subject = TG_TABLE_NAME AND from_state = OLD.state AND to_state = NEW.state
    ) THEN
        RAISE EXCEPTION 'illegal step of %: % to %', TG_TABLE_NAME, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.binding
    FOR EACH ROW EXECUTE FUNCTION app.check_step();
CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.payment
    FOR EACH ROW EXECUTE FUNCTION app.check_step();
CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.refund
    FOR EACH ROW EXECUTE FUNCTION app.check_step();

INSERT INTO app.legal_step (subject, from_state, to_state) VALUES
    ('binding', 'accepted', 'applying'), ('binding', 'accepted', 'declined'), ('binding', 'accepted', 'expired'),
    ('binding', 'applying', 'awaiting_code'), ('binding', 'applying', 'declined'), ('binding', 'applying', 'expired'),
    ('binding', 'awaiting_code', 'open'), ('binding', 'awaiting_code', 'declined'), ('binding', 'awaiting_code', 'expired'),
    ('binding', 'open', 'unbinding'), ('binding', 'unbinding', 'unbound'),
    ('payment', 'awaiting_code', 'ready'), ('payment', 'awaiting_code', 'failed'), ('payment', 'awaiting_code', 'closed'),
    ('payment', 'ready', 'sending'), ('payment', 'ready', 'failed'), ('payment', 'ready', 'closed'),
    ('payment', 'sending', 'unknown'), ('payment', 'sending', 'succeeded'), ('payment', 'sending', 'failed'),
    ('payment', 'sending', 'late_refunding'),
    ('payment', 'unknown', 'succeeded'), ('payment', 'unknown', 'failed'), ('payment', 'unknown', 'late_refunding'),
    ('payment', 'failed', 'late_refunding'), ('payment', 'late_refunding', 'late_refunded'),
    ('refund', 'ready', 'sending'), ('refund', 'ready', 'failed'),
    ('refund', 'sending', 'unknown'), ('refund', 'sending', 'succeeded'), ('refund', 'sending', 'failed'),
    ('refund', 'unknown', 'succeeded'), ('refund', 'unknown', 'failed');
