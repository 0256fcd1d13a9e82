-- What the law, the agreement or the user's own consent keeps after an account was closed (A4.4a, P4.5d-f, L2): sealed, apart,
-- and opened by nobody but the role of disclosures, for an authority's order. The wrapped keys are in the key database; what
-- unwraps them is in none. Business code puts records in and counts them; it can neither read nor search what they say.

CREATE SCHEMA retention AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA retention TO {app}, {ops}, {retention};

CREATE TABLE retention.record (
    record_id text PRIMARY KEY CHECK (record_id ~ '^ret_[0-9A-HJKMNP-TV-Z]{26}$'),
    user_id text NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 40),
    merchant_id text NOT NULL CHECK (char_length(merchant_id) BETWEEN 1 AND 40),
    -- By what an authority's person is found at another merchant; as unreadable to business code as the rest.
    person_index text CHECK (char_length(person_index) BETWEEN 1 AND 80),
    kind text NOT NULL CHECK (kind IN ('identity', 'transaction', 'source_of_funds')),
    source_id text NOT NULL CHECK (char_length(source_id) BETWEEN 1 AND 80),
    -- When it was booked, or when the agreement ended: the year that counts (Q1).
    event_on date NOT NULL CHECK (event_on BETWEEN DATE '2000-01-01' AND DATE '2899-12-31'),
    consent_until date CHECK (consent_until BETWEEN DATE '2000-01-01' AND DATE '2899-12-31'),
    key_id text NOT NULL CHECK (key_id ~ '^rtk_[0-9A-HJKMNP-TV-Z]{26}$'),
    ciphertext bytea CHECK (octet_length(ciphertext) BETWEEN 29 AND 262144),
    kept_at timestamptz NOT NULL,
    -- The run that takes it, and which clock ran out last. From here on a hold comes too late.
    purge_on date,
    purged_why text CHECK (purged_why IN ('law', 'agreement', 'consent', 'restored')),
    purged_at timestamptz,
    UNIQUE (kind, source_id),
    CHECK ((purge_on IS NULL) = (purged_why IS NULL)),
    CHECK ((ciphertext IS NULL) = (purged_at IS NOT NULL)),
    CHECK (purged_at IS NULL OR purge_on IS NOT NULL AND person_index IS NULL)
);
CREATE INDEX record_of_user ON retention.record (user_id);
CREATE INDEX record_of_key ON retention.record (key_id, event_on) WHERE purged_at IS NULL;
CREATE INDEX record_claimed ON retention.record (purge_on, key_id) WHERE purge_on IS NOT NULL AND purged_at IS NULL;
CREATE INDEX record_due ON retention.record (event_on) WHERE purged_at IS NULL;
CREATE INDEX record_of_run ON retention.record (purge_on) WHERE purge_on IS NOT NULL;

-- Five full years are the least that the agreement allows under any reading (A4.4a): no setting and no caller goes below.
CREATE FUNCTION retention.guard_record() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moves text[] := ARRAY['purge_on', 'purged_why', 'purged_at', 'ciphertext', 'person_index'];
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.purged_at IS NOT NULL OR to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves
        OR NEW.purge_on IS NULL
        OR NEW.purged_at IS NULL AND (NEW.ciphertext, NEW.person_index) IS DISTINCT FROM (OLD.ciphertext, OLD.person_index)
    THEN
        RAISE EXCEPTION 'a retained record may only be purged, once' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.purge_on < make_date(extract(year FROM OLD.event_on)::int + 5, 1, 1) THEN
        RAISE EXCEPTION 'a retained record is kept for five years at least' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER purged_once BEFORE UPDATE OR DELETE ON retention.record
    FOR EACH ROW EXECUTE FUNCTION retention.guard_record();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention.record EXECUTE FUNCTION app.forbid_change();

-- A legal hold stops the clocks of one user's records until it is lifted. Placed and lifted by decisions.
CREATE TABLE retention.hold (
    hold_id text PRIMARY KEY CHECK (hold_id ~ '^rth_[0-9A-HJKMNP-TV-Z]{26}$'),
    user_id text NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 40),
    ground text NOT NULL CHECK (char_length(ground) BETWEEN 1 AND 60),
    order_id text REFERENCES app.authority_order,
    placed_by text NOT NULL UNIQUE REFERENCES app.decision,
    placed_at timestamptz NOT NULL,
    lifted_by text REFERENCES app.decision,
    lifted_at timestamptz,
    CHECK ((lifted_by IS NULL) = (lifted_at IS NULL)),
    CHECK (lifted_by <> placed_by)
);
CREATE INDEX hold_in_force ON retention.hold (user_id) WHERE lifted_at IS NULL;
-- An order stops them as well (retention.held_by), and is looked for user by user.
CREATE INDEX query_of_subject ON app.authority_order (subject_id) WHERE demands = 'query';

CREATE FUNCTION retention.guard_hold() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.lifted_at IS NOT NULL
        OR to_jsonb(NEW) - ARRAY['lifted_by', 'lifted_at'] <> to_jsonb(OLD) - ARRAY['lifted_by', 'lifted_at'] THEN
        RAISE EXCEPTION 'append-only: % on retention.hold is not allowed', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lifted_once BEFORE UPDATE OR DELETE ON retention.hold
    FOR EACH ROW EXECUTE FUNCTION retention.guard_hold();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention.hold EXECUTE FUNCTION app.forbid_change();

-- Who opened what for which order, or wanted to (P1.2.1, P4.5e).
CREATE TABLE retention.access (
    access_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    decision_id text NOT NULL CHECK (char_length(decision_id) <= 80),
    order_id text CHECK (char_length(order_id) <= 80),
    user_id text,
    operator_id text NOT NULL CHECK (char_length(operator_id) <= 80),
    record_ids text[] NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('opened', 'refused')),
    reason text CHECK ((reason IS NULL) = (outcome = 'opened')),
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (outcome = 'opened' OR record_ids = '{}')
);
CREATE INDEX access_of_user ON retention.access (user_id, at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON retention.access
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention.access EXECUTE FUNCTION app.forbid_change();

-- What each run of a day came to: what was purged and why, what was due and is held, what is not finished (P3.3b).
CREATE TABLE retention.purge_report (
    run_on date NOT NULL,
    at timestamptz NOT NULL,
    purged int NOT NULL,
    held int NOT NULL,
    unfinished int NOT NULL,
    -- Items that were erased while their user stays.
    erased int NOT NULL,
    details jsonb NOT NULL,
    PRIMARY KEY (run_on, at)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON retention.purge_report
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention.purge_report EXECUTE FUNCTION app.forbid_change();

-- What was claimed to be erased while its user stays, because no purpose needs it any longer: under whose key, and which items.
CREATE TABLE retention.due_erasure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_on date NOT NULL,
    key_owner text NOT NULL,
    why text NOT NULL CHECK (why IN ('declined_binding', 'unbound_card', 'removed_payee', 'returned_remittance')),
    tokens text[] NOT NULL CHECK (cardinality(tokens) > 0),
    ended_on date,
    claimed_at timestamptz NOT NULL,
    -- The latest run in which it could not be copied or erased, whoever tries: the run of another day tries once more.
    failed_on date,
    finished_at timestamptz
);
CREATE INDEX due_erasure_of_run ON retention.due_erasure (run_on);
CREATE INDEX due_erasure_unfinished ON retention.due_erasure (id) WHERE finished_at IS NULL;
