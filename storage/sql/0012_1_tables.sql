-- The review queue: payouts that a person has to look at, what is asked about them, and how it ended (A2.5d).

-- How long a review may take, by the payout's amount, as `config/reviews.toml` states it; loaded at registration. The row
-- with the highest `above_minor` below the amount applies.
CREATE TABLE app.review_rule (
    above_minor bigint PRIMARY KEY CHECK (above_minor >= 0),
    due_seconds int NOT NULL CHECK (due_seconds > 0),
    -- Nobody decided in this time: the payout is refused. Extensions and evidence move it, to `longest_seconds` at most.
    open_seconds int NOT NULL CHECK (open_seconds >= due_seconds),
    longest_seconds int NOT NULL CHECK (longest_seconds >= open_seconds),
    extension_seconds int NOT NULL CHECK (extension_seconds > 0),
    most_extensions int NOT NULL CHECK (most_extensions BETWEEN 0 AND 20),
    -- Who may take over what is overdue.
    escalation_role text NOT NULL CHECK (escalation_role ~ '^[a-z][a-z_]{1,39}$')
);
INSERT INTO app.review_rule VALUES (0, 14400, 86400, 432000, 43200, 2, 'compliance');

-- The time in which money is to be sent, by speed; later it is a matter for a person.
CREATE TABLE app.payout_target (
    speed text PRIMARY KEY CHECK (speed IN ('real_time', 'within_two_hours', 'next_working_day')),
    target_seconds int NOT NULL CHECK (target_seconds > 0)
);
INSERT INTO app.payout_target VALUES ('real_time', 14400), ('within_two_hours', 28800), ('next_working_day', 172800);

CREATE TABLE app.review (
    id text PRIMARY KEY CHECK (id ~ '^rev_[0-9A-HJKMNP-TV-Z]{26}$'),
    payout_id text NOT NULL REFERENCES app.payout,
    merchant_id text NOT NULL REFERENCES app.merchant,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    -- What made it necessary, as the rules and lists said it; never shown to a merchant (L5).
    hits jsonb NOT NULL CHECK (octet_length(hits::text) <= 262144),
    state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'evidence', 'approved', 'rejected', 'expired', 'closed')),
    opened_at timestamptz NOT NULL,
    owner text REFERENCES app.operator,
    taken_at timestamptz,
    due_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > opened_at),
    -- The rule as it was when this was opened.
    latest_at timestamptz NOT NULL CHECK (latest_at >= expires_at),
    due_seconds int NOT NULL,
    extension_seconds int NOT NULL,
    most_extensions int NOT NULL,
    escalation_role text NOT NULL,
    escalated_at timestamptz,
    escalations int NOT NULL DEFAULT 0,
    extensions int NOT NULL DEFAULT 0 CHECK (extensions <= most_extensions),
    evidence_kinds text[] NOT NULL DEFAULT '{}',
    evidence_until timestamptz,
    decided_by text REFERENCES app.decision,
    ended_at timestamptz,
    CHECK ((state IN ('open', 'evidence')) = (ended_at IS NULL)),
    CHECK ((state IN ('approved', 'rejected')) = (decided_by IS NOT NULL)),
    CHECK ((owner IS NULL) = (taken_at IS NULL)),
    CHECK (state <> 'evidence' OR evidence_until IS NOT NULL AND evidence_kinds <> '{}')
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX one_open_review ON app.review (payout_id) WHERE state IN ('open', 'evidence');
CREATE INDEX review_of_payout ON app.review (payout_id, id);
-- What operators look payouts up by.
CREATE INDEX payout_order ON app.payout (order_number);
CREATE INDEX payout_for_people ON app.payout (wait_reason, id) WHERE wait_reason IN ('operator', 'freeze', 'authority_order');
CREATE INDEX payout_under_review ON app.payout (id) WHERE state = 'under_review';
CREATE INDEX review_queue ON app.review (due_at, id) WHERE state IN ('open', 'evidence');

-- Everything that happened to a review, in order.
CREATE TABLE app.review_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    review_id text NOT NULL REFERENCES app.review,
    at timestamptz NOT NULL,
    actor text NOT NULL CHECK (char_length(actor) <= 80),
    action text NOT NULL CHECK (action IN ('opened', 'taken', 'released', 'evidence_asked', 'evidence_given', 'extended',
        'noted', 'escalated', 'approved', 'rejected', 'expired', 'closed')),
    -- In words for colleagues; a number long enough for a card, an identity or a mobile has no place in it.
    note text CHECK (char_length(note) BETWEEN 1 AND 200 AND note !~ '[0-9]([ -]?[0-9]){10}'),
    detail jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object' AND pg_column_size(detail) <= 4096),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX entry_of_review ON app.review_entry (review_id, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.review_entry
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.review_entry EXECUTE FUNCTION app.forbid_change();

-- A review ends once, and what it is about never changes.
CREATE FUNCTION app.guard_review() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.ended_at IS NOT NULL
        OR (OLD.id, OLD.payout_id, OLD.merchant_id, OLD.amount_minor, OLD.currency, OLD.hits, OLD.opened_at, OLD.latest_at)
            IS DISTINCT FROM
           (NEW.id, NEW.payout_id, NEW.merchant_id, NEW.amount_minor, NEW.currency, NEW.hits, NEW.opened_at, NEW.latest_at)
    THEN
        RAISE EXCEPTION 'append-only: % on app.review is not allowed', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ends_once BEFORE UPDATE OR DELETE ON app.review FOR EACH ROW EXECUTE FUNCTION app.guard_review();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.review EXECUTE FUNCTION app.forbid_change();
