-- Closing an account, or quick pay alone, and having data deleted (P4.2, P4.5): the request, what the merchant hands over, whom
-- we told; disputes, which keep it from happening; and what outlives the person under a keyed pseudonym.

-- Between a user and the merchant (P4.5b). While one is open the account stays.
CREATE TABLE app.dispute (
    id text PRIMARY KEY CHECK (id ~ '^dsp_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    -- What it is about: an instruction of the user, or the user's account as a whole.
    subject_id text NOT NULL CHECK (char_length(subject_id) <= 40),
    reason text NOT NULL CHECK (reason IN
        ('not_authorised', 'not_received', 'not_as_described', 'amount_differs', 'refund_missing', 'other')),
    evidence_ref text CHECK (char_length(evidence_ref) <= 128),
    opened_by text NOT NULL CHECK (char_length(opened_by) <= 80),
    opened_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    resolved_by text REFERENCES app.decision,
    resolved_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX one_open_dispute ON app.dispute (subject_id) WHERE state = 'open';
CREATE INDEX dispute_of_user ON app.dispute (user_id, id);
CREATE INDEX dispute_of_merchant ON app.dispute (merchant_id, id);

CREATE TABLE app.closure (
    id text PRIMARY KEY CHECK (id ~ '^cls_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    scope text NOT NULL CHECK (scope IN ('account', 'quick_pay', 'deletion')),
    channel text NOT NULL CHECK (channel IN ('merchant', 'hotline', 'email')),
    -- Of a deletion: on which of the five grounds, and which fields (P4.2a).
    ground text CHECK (ground IN
        ('unlawful_processing', 'no_consent', 'breach_of_agreement', 'account_closed', 'service_ended')),
    fields text[] NOT NULL DEFAULT '{}',
    -- The items that quick pay alone, or a deletion, erases: fixed when nothing is in the way any more.
    erases text[] NOT NULL DEFAULT '{}',
    evidence_ref text CHECK (char_length(evidence_ref) <= 128),
    asked_by text NOT NULL CHECK (char_length(asked_by) <= 80),
    state text NOT NULL CHECK (state IN
        ('received', 'deciding', 'closing', 'unsigning', 'forgetting', 'completed', 'refused')),
    state_since timestamptz NOT NULL,
    -- Whose request it is (P4.4a). No new personal data is kept of it: the outcome alone.
    identity_method text CHECK (identity_method IN ('login', 'face', 'counter', 'document', 'id_number')),
    identity_checked_at timestamptz,
    identity_checked_by text CHECK (char_length(identity_checked_by) <= 80),
    identity_evidence_ref text CHECK (char_length(identity_evidence_ref) <= 128),
    identity_attempts int NOT NULL DEFAULT 0,
    -- The clock of P3.4 and P4.4b: from receipt, the day of receipt not counted (Q3).
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    due_on date NOT NULL,
    escalate_on date NOT NULL,
    due_is_provisional boolean NOT NULL DEFAULT false,
    escalated_at timestamptz,
    overdue_at timestamptz,
    -- The merchant's records of where the user's funds came from (A4.4c), or the decision to do without them.
    records_at timestamptz,
    records_count int,
    records_waived_by text REFERENCES app.decision,
    -- What of it the process has seen, so that it is told when that has changed; and of what it has been told since it looked last.
    seen text,
    told text,
    told_at timestamptz,
    ended_on date,
    -- On restored data: the entry of the list of erasures that says that it had come so far (`app.catch_up_with_erasure`).
    forgotten_by text CHECK (forgotten_by ~ '^ers_[0-9A-HJKMNP-TV-Z]{26}$'),
    granted_by text REFERENCES app.decision,
    refused_by text REFERENCES app.decision,
    reason text,
    answer jsonb,
    answered_at timestamptz,
    process_started_at timestamptz,
    followed_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((scope = 'deletion') = (ground IS NOT NULL)),
    CHECK ((scope = 'deletion') = (cardinality(fields) > 0)),
    CHECK (fields <@ ARRAY['name', 'id_number', 'card_number', 'mobile', 'account_number', 'agreement_number']),
    CHECK ((identity_method IS NULL) = (identity_checked_at IS NULL)),
    CHECK (state IN ('received', 'refused') OR identity_checked_at IS NOT NULL OR forgotten_by IS NOT NULL),
    CHECK ((state IN ('completed', 'refused')) = (answered_at IS NOT NULL))
);
-- Whatever the channel, a user closes once at a time, and has data deleted once at a time.
CREATE UNIQUE INDEX one_open_closure ON app.closure (user_id, (scope = 'deletion')) WHERE state NOT IN ('completed', 'refused');
CREATE INDEX closure_of_user ON app.closure (user_id, id);
CREATE INDEX closure_of_merchant ON app.closure (merchant_id, id);
CREATE INDEX closure_live ON app.closure (received_at) WHERE state NOT IN ('completed', 'refused');
-- What the sweeper goes through by id; who has left for good is not in it.
CREATE INDEX closure_unfinished ON app.closure (id) WHERE process_started_at IS NOT NULL
    AND (state NOT IN ('completed', 'refused') OR state = 'completed' AND followed_at IS NULL);
CREATE INDEX closure_to_follow ON app.closure (answered_at) WHERE state IN ('completed', 'refused') AND followed_at IS NULL;

CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.closure
    FOR EACH ROW EXECUTE FUNCTION app.check_step();
CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.dispute
    FOR EACH ROW EXECUTE FUNCTION app.check_step();
INSERT INTO app.legal_step (subject, from_state, to_state)
SELECT s.subject, s.from_state, t.to_state FROM (VALUES
    ('closure', 'received', '{deciding,closing,refused}'::text[]),
    ('closure', 'deciding', '{closing,refused}'),
    ('closure', 'closing', '{unsigning,forgetting,refused}'),
    -- What came in while the banks were being told is in the way again.
    ('closure', 'unsigning', '{closing,forgetting}'),
    ('closure', 'forgetting', '{completed}'),
    ('dispute', 'open', '{resolved}')) AS s (subject, from_state, to_states)
CROSS JOIN LATERAL unnest(s.to_states) AS t (to_state);

-- Whom we told to delete what they got from us, and what they replied (P4.2b). A bank is told by a call that is known by its
-- number, the merchant by an event.
CREATE TABLE app.erasure_notice (
    closure_id text NOT NULL REFERENCES app.closure,
    recipient text NOT NULL CHECK (char_length(recipient) BETWEEN 1 AND 40),
    -- More numbers than one notice takes come in several, each known by a number of its own.
    part int NOT NULL DEFAULT 1 CHECK (part > 0),
    kind text NOT NULL CHECK (kind IN ('merchant', 'bank')),
    request_number text UNIQUE,
    -- Under which numbers it got the data, as it was when the agreement ended: what the user does afterwards is none of it.
    disclosed_under text[] NOT NULL DEFAULT '{}',
    told_at timestamptz,
    reply text NOT NULL DEFAULT 'none' CHECK (reply IN ('none', 'received', 'erased', 'kept')),
    reply_reason text CHECK (char_length(reply_reason) <= 40),
    replied_at timestamptz,
    PRIMARY KEY (closure_id, recipient, part),
    CHECK ((kind = 'bank') = (request_number IS NOT NULL)),
    CHECK (reply <> 'kept' OR reply_reason IS NOT NULL)
);

-- What was said of a person's misconduct in a relation that has ended: it holds again once the same person is back, which
-- the keyed index of the identity document tells (P4.5d: a new enrolment starts from nothing, but for this).
CREATE TABLE app.person_mark (
    id text PRIMARY KEY,
    person_index text NOT NULL,
    merchant_id text NOT NULL REFERENCES app.merchant,
    function text,
    ground text NOT NULL,
    placed_at timestamptz NOT NULL
);
CREATE INDEX mark_of_person ON app.person_mark (person_index, merchant_id);

-- What the person has used of limits whose day or month is not over.
CREATE TABLE app.carried_limit (
    person_index text NOT NULL,
    merchant_id text NOT NULL REFERENCES app.merchant,
    window_kind text NOT NULL,
    window_start date NOT NULL,
    currency text NOT NULL,
    used_minor bigint NOT NULL CHECK (used_minor > 0),
    PRIMARY KEY (person_index, merchant_id, window_kind, window_start, currency)
);

-- Which entries of the list of erasures this database has carried out. A restored backup lacks the latest of them.
CREATE TABLE app.applied_erasure (
    entry_id text PRIMARY KEY CHECK (entry_id ~ '^ers_[0-9A-HJKMNP-TV-Z]{26}$'),
    position bigint NOT NULL UNIQUE,
    at timestamptz NOT NULL
);

-- What a forgotten user's rows have no more: the merchant's name for the user, and the digests.
ALTER TABLE app.end_user ALTER COLUMN merchant_user_ref DROP NOT NULL;
ALTER TABLE app.end_user ADD CONSTRAINT only_the_forgotten_have_no_name CHECK (merchant_user_ref IS NOT NULL OR state = 'closed');
ALTER TABLE app.binding ALTER COLUMN card_index DROP NOT NULL, ALTER COLUMN card_last4 DROP NOT NULL,
    ALTER COLUMN person_index DROP NOT NULL;
ALTER TABLE app.payee ALTER COLUMN account_index DROP NOT NULL, ALTER COLUMN account_last4 DROP NOT NULL,
    ALTER COLUMN name_index DROP NOT NULL;
ALTER TABLE app.receiving_account ALTER COLUMN holder_index DROP NOT NULL;
ALTER TABLE app.receiving_account DROP CONSTRAINT receiving_account_check,
    ADD CONSTRAINT receiving_account_check CHECK (state <> 'open' OR account_index IS NOT NULL);
ALTER TABLE app.inbound ALTER COLUMN account_index DROP NOT NULL, ALTER COLUMN receiver_index DROP NOT NULL;

-- A longer consent to keep data has an end (P4.5f).
ALTER TABLE app.consent ADD COLUMN until_on date;
ALTER TABLE app.consent DROP CONSTRAINT consent_kind_check;
ALTER TABLE app.consent ADD CONSTRAINT consent_kind_check CHECK (kind IN ('agreement', 'capacity_statement',
    'waiver_authorisation', 'waiver_notice', 'waiver_objection', 'data_export', 'longer_retention')),
    ADD CONSTRAINT longer_retention_ends CHECK ((kind = 'longer_retention') = (until_on IS NOT NULL));

ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check
    CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR', 'PO', 'FX', 'FR', 'IR', 'RA', 'EN'));

-- By what a user is forgotten in what merchants answered.
CREATE INDEX webhook_delivery_of_object ON app.webhook_delivery (object_id);
-- And in answers kept for replays. One entry more with every command: not to be measured in 20,000 of them.
CREATE INDEX idempotency_of_resource ON app.idempotency (resource_id);
-- By what everything of one user is found, at each look at a closure and when the user is forgotten.
CREATE INDEX account_of_owner ON ledger.account (owner_reference) WHERE owner_reference IS NOT NULL;
CREATE INDEX receiving_account_of_user ON app.receiving_account (user_id);
CREATE INDEX inbound_of_receiving_account ON app.inbound (receiving_account_id) WHERE user_id IS NULL;
CREATE INDEX fx_mandate_of_user ON app.fx_mandate (user_id);

-- Evidence is only ever added to; forgetting its user takes out of it what could be about the person.
CREATE FUNCTION app.forbid_change_but_forgetting() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('liushui.forgetting', true) = 'on' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'append-only: % on %.% is not allowed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER append_only ON app.consent;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.consent
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change_but_forgetting();
DROP TRIGGER append_only ON app.user_report;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.user_report
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change_but_forgetting();
DROP TRIGGER append_only ON app.instruction_signature;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.instruction_signature
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change_but_forgetting();
-- Of a decision where its evidence is kept goes too; all else of it stays as it was decided.
DROP TRIGGER decided_once ON app.decision;
CREATE TRIGGER decided_once BEFORE UPDATE ON app.decision FOR EACH ROW
    WHEN (coalesce(current_setting('liushui.forgetting', true), '') <> 'on') EXECUTE FUNCTION app.guard_decision();
CREATE TRIGGER never_deleted BEFORE DELETE ON app.decision FOR EACH ROW EXECUTE FUNCTION app.guard_decision();
