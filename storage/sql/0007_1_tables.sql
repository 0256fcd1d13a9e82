-- Decisions of people, and what they put in the way of instructions. A decision is committed here before anything
-- follows from it; who may decide is looked at here too, so that no caller can forget it (house rules 5 and 8).

-- What can be decided, as `config/decisions.toml` states it; loaded at registration.
CREATE TABLE app.decision_kind (
    kind text PRIMARY KEY CHECK (kind ~ '^[a-z_]{1,30}\.[a-z_]{1,20}$'),
    request_permission text NOT NULL,
    approve_permission text NOT NULL,
    second_person boolean NOT NULL,
    open_seconds int NOT NULL CHECK (open_seconds > 0),
    -- The farthest date that such a decision may name: a freeze's review, an order's expiry.
    longest_seconds int CHECK (longest_seconds > 0),
    grounds text[] NOT NULL CHECK (cardinality(grounds) > 0)
);

CREATE TABLE app.decision (
    id text PRIMARY KEY CHECK (id ~ '^dec_[0-9A-HJKMNP-TV-Z]{26}$'),
    kind text NOT NULL REFERENCES app.decision_kind,
    subject_id text NOT NULL CHECK (char_length(subject_id) BETWEEN 1 AND 80),
    merchant_id text,
    ground text NOT NULL CHECK (char_length(ground) BETWEEN 1 AND 60),
    -- In words for colleagues; a number long enough for a card, an identity or a mobile has no place in it.
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 200 AND reason !~ '[0-9]([ -]?[0-9]){10}'),
    detail jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object' AND pg_column_size(detail) <= 2048),
    second_person boolean NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > requested_at),
    state text NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'committed', 'rejected', 'expired', 'refused')),
    decided_by text,
    decided_at timestamptz,
    -- Why it could not be carried out when it was approved: the instruction was sent meanwhile, for example.
    refusal text,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'requested') = (decided_at IS NULL)),
    CHECK (state NOT IN ('committed', 'rejected') OR decided_by IS NOT NULL),
    CHECK ((state = 'refused') = (refusal IS NOT NULL)),
    CHECK (state <> 'committed' OR NOT second_person OR decided_by <> requested_by)
);
CREATE UNIQUE INDEX one_pending_decision ON app.decision (kind, subject_id) WHERE state = 'requested';
CREATE INDEX decision_of_subject ON app.decision (subject_id, id);
CREATE INDEX decision_pending ON app.decision (expires_at) WHERE state = 'requested';

-- A decision is decided once; what it was about never changes.
CREATE FUNCTION app.guard_decision() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.state <> 'requested'
        OR to_jsonb(NEW) - ARRAY['state', 'decided_by', 'decided_at', 'refusal']
            <> to_jsonb(OLD) - ARRAY['state', 'decided_by', 'decided_at', 'refusal'] THEN
        RAISE EXCEPTION 'append-only: % on app.decision is not allowed', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_once BEFORE UPDATE OR DELETE ON app.decision
    FOR EACH ROW EXECUTE FUNCTION app.guard_decision();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.decision EXECUTE FUNCTION app.forbid_change();

-- The order of an authority: the only thing that can force a hold, a query or a release (A3.9e).
CREATE TABLE app.authority_order (
    id text PRIMARY KEY,
    decision_id text NOT NULL UNIQUE REFERENCES app.decision,
    issuer text NOT NULL CHECK (char_length(issuer) BETWEEN 1 AND 80),
    number text NOT NULL CHECK (char_length(number) BETWEEN 1 AND 64),
    demands text NOT NULL CHECK (demands IN ('hold', 'query', 'release')),
    subject_id text NOT NULL,
    function text,
    expires_at timestamptz NOT NULL,
    registered_at timestamptz NOT NULL,
    UNIQUE (issuer, number, subject_id, demands)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.authority_order
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.authority_order EXECUTE FUNCTION app.forbid_change();

-- What stands in the way of a user's (one merchant relation) or a merchant's instructions: all of them, or one function
-- (A8.1a). Only `lifted_*` is ever written to. A freeze without a review date cannot be saved (A8.3); only an
-- authority's order ends by itself (L12).
CREATE TABLE app.restriction (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('suspension', 'freeze', 'authority_order')),
    subject_id text NOT NULL,
    merchant_id text NOT NULL REFERENCES app.merchant,
    function text CHECK (function IN ('bind', 'collect', 'refund')),
    ground text NOT NULL,
    -- The decision, or the case of the user's report, that put it there.
    placed_by text NOT NULL UNIQUE,
    placed_at timestamptz NOT NULL,
    review_at timestamptz,
    ends_at timestamptz,
    lifted_by text,
    lifted_at timestamptz,
    CHECK ((lifted_by IS NULL) = (lifted_at IS NULL)),
    CHECK (kind <> 'freeze' OR review_at > placed_at AND function IS NULL),
    CHECK ((kind = 'authority_order') = (ends_at IS NOT NULL)),
    CHECK (ends_at > placed_at)
);
CREATE INDEX restriction_in_force ON app.restriction (subject_id) WHERE lifted_at IS NULL;
CREATE UNIQUE INDEX one_restriction_of_a_kind ON app.restriction (subject_id, kind, coalesce(function, ''))
    WHERE lifted_at IS NULL AND kind <> 'authority_order';
CREATE INDEX restriction_to_review ON app.restriction (review_at) WHERE lifted_at IS NULL AND review_at IS NOT NULL;

-- Who was suspended before there were restrictions can be resumed like everybody else.
INSERT INTO app.restriction (id, kind, subject_id, merchant_id, ground, placed_by, placed_at)
    SELECT 'rst_' || split_part(u.id, '_', 2), 'suspension', u.id, u.merchant_id, 'other_need', 'migration:' || u.id,
           u.created_at FROM app.end_user u WHERE u.state = 'suspended'
    UNION ALL
    SELECT 'rst_' || split_part(m.id, '_', 2), 'suspension', m.id, m.id, 'other_need', 'migration:' || m.id, m.created_at
    FROM app.merchant m WHERE m.state = 'suspended';

CREATE FUNCTION app.guard_restriction() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.lifted_at IS NOT NULL
        OR to_jsonb(NEW) - ARRAY['lifted_by', 'lifted_at'] <> to_jsonb(OLD) - ARRAY['lifted_by', 'lifted_at'] THEN
        RAISE EXCEPTION 'append-only: % on app.restriction is not allowed', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lifted_once BEFORE UPDATE OR DELETE ON app.restriction
    FOR EACH ROW EXECUTE FUNCTION app.guard_restriction();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.restriction EXECUTE FUNCTION app.forbid_change();

-- What a person decided about one instruction: withdrawn before it was sent, or concluded while it was parked.
ALTER TABLE app.payment ADD COLUMN withdrawn_by text REFERENCES app.decision;
ALTER TABLE app.payment ADD COLUMN concluded_by text REFERENCES app.decision;
ALTER TABLE app.refund ADD COLUMN withdrawn_by text REFERENCES app.decision;
ALTER TABLE app.refund ADD COLUMN concluded_by text REFERENCES app.decision;
CREATE INDEX payment_to_be_told ON app.payment (coalesce(concluded_by, withdrawn_by))
    WHERE coalesce(concluded_by, withdrawn_by) IS NOT NULL
      AND state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding');
CREATE INDEX refund_to_be_told ON app.refund (coalesce(concluded_by, withdrawn_by))
    WHERE coalesce(concluded_by, withdrawn_by) IS NOT NULL AND state IN ('ready', 'sending', 'unknown');

ALTER TABLE app.case_record ADD COLUMN resolved_by text REFERENCES app.decision;
ALTER TABLE app.case_record ADD COLUMN resolved_at timestamptz;

-- What a user reported through the merchant, and when it arrived here: liability turns on that instant (A3.9b).
CREATE TABLE app.user_report (
    case_id text PRIMARY KEY REFERENCES app.case_record,
    user_id text NOT NULL REFERENCES app.end_user,
    merchant_id text NOT NULL REFERENCES app.merchant,
    kind text NOT NULL CHECK (kind IN ('not_me', 'instruction_tampered', 'instruction_leaked', 'lost_device')),
    payment_id text REFERENCES app.payment,
    channel text NOT NULL CHECK (channel IN ('web', 'app', 'mini_program', 'counter', 'phone')),
    evidence_ref text CHECK (char_length(evidence_ref) <= 128),
    discovered_at timestamptz,
    received_at timestamptz NOT NULL,
    -- Issuers, merchant and institution: who is to be told (A3.9a).
    parties text[] NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX report_of_user ON app.user_report (user_id, received_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.user_report
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.user_report EXECUTE FUNCTION app.forbid_change();
