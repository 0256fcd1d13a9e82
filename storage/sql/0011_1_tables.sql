-- Risk decisions and screening lists: by what a payout was let pass or stopped, and against which entries people were compared.

-- One assessment of one payout, with the rules, the facts and the lists that made it. `asked_at` is the process's: the same
-- question asked again finds its answer here.
CREATE TABLE app.risk_decision (
    id text PRIMARY KEY CHECK (id ~ '^rsk_[0-9A-HJKMNP-TV-Z]{26}$'),
    payout_id text NOT NULL REFERENCES app.payout,
    merchant_id text NOT NULL,
    asked_at timestamptz NOT NULL,
    rules_version text NOT NULL CHECK (char_length(rules_version) <= 20),
    rules_fingerprint text NOT NULL CHECK (rules_fingerprint ~ '^[0-9a-f]{64}$'),
    inputs jsonb NOT NULL CHECK (jsonb_typeof(inputs) = 'object' AND octet_length(inputs::text) <= 262144),
    hits jsonb NOT NULL CHECK (jsonb_typeof(hits) = 'array'),
    outcome text NOT NULL CHECK (outcome IN ('pass', 'delay', 'review', 'refuse')),
    screening_outcome text NOT NULL CHECK (screening_outcome IN ('no_hit', 'hit')),
    screened_version bigint NOT NULL,
    -- Whose names were compared: a user without a bound card has none yet.
    screened text[] NOT NULL CHECK (screened <@ ARRAY['user', 'payee']),
    matches text[] NOT NULL DEFAULT '{}',
    answer jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (payout_id, asked_at)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.risk_decision
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.risk_decision EXECUTE FUNCTION app.forbid_change();

-- Which lists have to be asked, as `config/risk_rules.toml` states it; loaded at registration.
CREATE TABLE app.screening_list_rule (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z][A-Z0-9_]{1,19}$'),
    title_zh text NOT NULL,
    title_en text NOT NULL,
    fresh_seconds int NOT NULL CHECK (fresh_seconds > 0)
);

-- The versions of the lists. One count for all of them, so that a single number says what somebody was screened against.
CREATE SEQUENCE app.screening_version;
CREATE TABLE app.screening_list (
    version bigint PRIMARY KEY,
    code text NOT NULL REFERENCES app.screening_list_rule,
    source text NOT NULL CHECK (char_length(source) BETWEEN 1 AND 120),
    loaded_by text NOT NULL CHECK (char_length(loaded_by) <= 80),
    loaded_at timestamptz NOT NULL,
    -- When somebody last found that the publisher's list is this one.
    confirmed_at timestamptz NOT NULL,
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    entries int NOT NULL CHECK (entries >= 0)
);
CREATE INDEX screening_list_of_code ON app.screening_list (code, version);

-- What is listed, from the version that brought it to the one that took it away. The names are of listed persons, who are
-- public; numbers of their documents are here as the keyed digests that users are known by.
CREATE TABLE app.screening_entry (
    list_code text NOT NULL,
    entry_key text NOT NULL CHECK (char_length(entry_key) <= 60),
    kind text NOT NULL CHECK (kind IN ('person', 'organisation')),
    names text[] NOT NULL CHECK (cardinality(names) BETWEEN 1 AND 40),
    birth_date date,
    country text,
    id_indexes text[] NOT NULL DEFAULT '{}',
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    since_version bigint NOT NULL REFERENCES app.screening_list,
    until_version bigint REFERENCES app.screening_list,
    PRIMARY KEY (list_code, entry_key, since_version),
    CHECK (until_version > since_version)
);
CREATE UNIQUE INDEX screening_entry_in_force ON app.screening_entry (list_code, entry_key) WHERE until_version IS NULL;

-- A user or payee whose name is like a listed one: by which entry, by which of its names (counted from 1), by what. Whose name
-- it was that was compared is not here.
CREATE TABLE app.screening_match (
    id text PRIMARY KEY CHECK (id ~ '^scm_[0-9A-HJKMNP-TV-Z]{26}$'),
    subject_id text NOT NULL,
    merchant_id text NOT NULL,
    -- Under what it is cleared: the person wherever it is a user, the account with its name wherever it is a payee.
    clearance_index text NOT NULL CHECK (char_length(clearance_index) <= 200),
    list_code text NOT NULL,
    entry_key text NOT NULL,
    entry_fingerprint text NOT NULL,
    form int NOT NULL CHECK (form > 0),
    comparison text NOT NULL CHECK (comparison IN ('identity', 'exact', 'pinyin', 'similar')),
    score numeric(5, 2) NOT NULL CHECK (score BETWEEN 0 AND 100),
    birth text NOT NULL CHECK (birth IN ('agrees', 'differs', 'unknown')),
    document text NOT NULL CHECK (document IN ('agrees', 'differs', 'unknown')),
    found_version bigint NOT NULL,
    found_at timestamptz NOT NULL,
    UNIQUE (subject_id, list_code, entry_key, entry_fingerprint)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.screening_match
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.screening_match EXECUTE FUNCTION app.forbid_change();

-- The allow-list: two people found that this person or account is not that entry, as the entry then was.
CREATE TABLE app.screening_clearance (
    clearance_index text NOT NULL,
    list_code text NOT NULL,
    entry_key text NOT NULL,
    entry_fingerprint text NOT NULL,
    match_id text NOT NULL REFERENCES app.screening_match,
    decision_id text NOT NULL REFERENCES app.decision,
    cleared_at timestamptz NOT NULL,
    PRIMARY KEY (clearance_index, list_code, entry_key, entry_fingerprint)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.screening_clearance
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.screening_clearance EXECUTE FUNCTION app.forbid_change();

-- Up to which version everybody has been screened: 0 until it was done once. The round that screens again takes the lowest
-- first, so this is also where it goes on after a crash.
CREATE TABLE app.screening_subject (
    subject_id text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,
    -- Grows with each new name, so that one that comes while another is being compared is not missed.
    changes bigint NOT NULL DEFAULT 1,
    screened_at timestamptz,
    -- Why the name could not be compared, and when it is tried again: it stays due.
    retry_at timestamptz,
    fault text CHECK (char_length(fault) <= 40)
) WITH (fillfactor = 70);
CREATE INDEX screening_due ON app.screening_subject (version, subject_id);

CREATE FUNCTION app.screen_newcomer() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.screening_subject AS s (subject_id)
        VALUES (CASE TG_TABLE_NAME WHEN 'binding' THEN to_jsonb(NEW)->>'user_id' ELSE NEW.id END)
        ON CONFLICT (subject_id) DO UPDATE SET version = 0, changes = s.changes + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER screened AFTER INSERT ON app.payee FOR EACH ROW EXECUTE FUNCTION app.screen_newcomer();
-- Whose card is bound has a name from now on.
CREATE TRIGGER screened AFTER UPDATE OF state ON app.binding
    FOR EACH ROW WHEN (NEW.state = 'open' AND OLD.state <> 'open') EXECUTE FUNCTION app.screen_newcomer();
INSERT INTO app.screening_subject (subject_id)
    SELECT DISTINCT b.user_id FROM app.binding b WHERE b.state = 'open' UNION SELECT y.id FROM app.payee y;
