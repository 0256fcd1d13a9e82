-- Money out: to whom (payees), and each payout from its acceptance to the bank's word and, days later perhaps, its return.

-- A bank account that a user named (A2.5a); `user_id` is NULL for the account that a merchant is settled to. Name and
-- number are in the vault, under the key of the user, or of the merchant. Never changed: another account is another payee.
CREATE TABLE app.payee (
    id text PRIMARY KEY CHECK (id ~ '^pye_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text REFERENCES app.end_user,
    relation text NOT NULL CHECK (relation IN ('own', 'other')),
    holder_type text NOT NULL CHECK (holder_type IN ('individual', 'enterprise')),
    region text NOT NULL CHECK (region IN ('CN', 'HK', 'MO', 'TW')),
    bank_id_kind text NOT NULL CHECK (bank_id_kind IN ('cnaps', 'bic', 'hk_clearing', 'tw_clearing')),
    bank_id text NOT NULL CHECK (bank_id ~ '^[A-Z0-9]{3,12}$'),
    -- Keyed digests, which link and cannot be turned back: the same account, the same name.
    account_index text NOT NULL,
    account_last4 text NOT NULL CHECK (account_last4 ~ '^[0-9A-Z]{4}$'),
    name_index text NOT NULL,
    element_tokens jsonb NOT NULL,
    -- The payee's name against the user's verified one; unknown while no card of the user is bound.
    name_match text NOT NULL CHECK (name_match IN ('match', 'differs', 'unknown')),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('proposed', 'active', 'removed')),
    created_at timestamptz NOT NULL,
    removed_at timestamptz,
    CHECK ((state = 'removed') = (removed_at IS NOT NULL))
);
CREATE UNIQUE INDEX one_active_payee_per_account ON app.payee (coalesce(user_id, merchant_id), region, bank_id, account_index)
    WHERE state <> 'removed';
CREATE INDEX payee_of_user ON app.payee (user_id, id);
CREATE INDEX payee_of_account ON app.payee (account_index);
CREATE INDEX payee_of_name ON app.payee (name_index);

CREATE TABLE app.payout (
    id text PRIMARY KEY,
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text REFERENCES app.end_user,
    payee_id text NOT NULL REFERENCES app.payee,
    kind text NOT NULL CHECK (kind IN ('withdrawal', 'transfer', 'merchant_settlement')),
    order_number text NOT NULL CHECK (char_length(order_number) BETWEEN 1 AND 64),
    region text NOT NULL CHECK (region IN ('CN', 'HK', 'MO', 'TW')),
    route text NOT NULL CHECK (char_length(route) <= 40),
    bank_code text NOT NULL REFERENCES app.partner,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    source_account text NOT NULL,
    fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
    fee_rule text NOT NULL,
    confirmation_hash text NOT NULL,
    agreement_version text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('user_relayed', 'standing_mandate')),
    mandate_reference text,
    speed text NOT NULL CHECK (speed IN ('real_time', 'within_two_hours', 'next_working_day')),
    limit_reservations jsonb NOT NULL,
    limits_released boolean NOT NULL DEFAULT false,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    -- Why the payer has to say once more that this is meant: repeated_payee, payee_name_differs.
    confirmation_grounds text[] NOT NULL DEFAULT '{}',
    confirmation_deadline timestamptz,
    confirmed_at timestamptz,
    -- What the rules and lists said last; the lists as they were then.
    risk_decision_id text,
    screened_version bigint,
    review_id text,
    cool_until timestamptz,
    -- The release slot: not before `earliest_at`, at `slot_at`, by a plan on this version of calendars and hours.
    earliest_at timestamptz,
    slot_at timestamptz,
    plan_version bigint,
    predicted_arrival_at timestamptz,
    arrival_provisional boolean NOT NULL DEFAULT false,
    -- The holds of amount and fee in the ledger are '<id>:hold:<hold_number>' and the same with ':fee'. A freeze may have
    -- taken them: then the payout is stopped by it, and is held anew when the freeze is lifted.
    hold_number int NOT NULL DEFAULT 1 CHECK (hold_number > 0),
    stopped_by text REFERENCES app.restriction,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    claimed_at timestamptz,
    withdrawn_by text REFERENCES app.decision,
    concluded_by text REFERENCES app.decision,
    bank_reference text,
    booked_at timestamptz,
    return_reference text,
    returned_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((user_id IS NULL) = (kind = 'merchant_settlement')),
    CHECK ((confirmation_deadline IS NULL) = (confirmation_grounds = '{}'))
) WITH (fillfactor = 60);
-- One order of a merchant is paid out once; what ended without money having left frees it.
CREATE UNIQUE INDEX one_payout_per_order ON app.payout (merchant_id, order_number)
    WHERE state NOT IN ('failed', 'refused', 'closed');
CREATE INDEX payout_of_merchant ON app.payout (merchant_id, id);
CREATE INDEX payout_of_user ON app.payout (user_id, id);
CREATE INDEX payout_of_payee ON app.payout (payee_id, accepted_at);
CREATE INDEX payout_live ON app.payout (accepted_at)
    WHERE state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled', 'sending', 'unknown');
-- The backlog of a bank, in the order in which it goes out.
CREATE INDEX payout_waiting ON app.payout (bank_code, slot_at, accepted_at, id) WHERE state = 'scheduled';
CREATE INDEX payout_stopped ON app.payout (stopped_by) WHERE stopped_by IS NOT NULL;
CREATE INDEX payout_to_be_told ON app.payout (coalesce(concluded_by, withdrawn_by))
    WHERE coalesce(concluded_by, withdrawn_by) IS NOT NULL
      AND state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled', 'sending', 'unknown');

CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.payout
    FOR EACH ROW EXECUTE FUNCTION app.check_step();
INSERT INTO app.legal_step (subject, from_state, to_state)
SELECT 'payout', s.from_state, t.to_state FROM (VALUES
    ('awaiting_confirmation', '{checking,closed,refused,failed}'::text[]),
    ('checking', '{cooling_off,under_review,scheduled,refused,failed}'),
    ('cooling_off', '{checking,under_review,scheduled,refused,failed}'),
    ('under_review', '{scheduled,refused,failed}'),
    ('scheduled', '{sending,checking,under_review,refused,failed}'),
    -- Back to scheduled only on the bank's definite word that it is closed: nothing was booked, it goes out later.
    ('sending', '{unknown,succeeded,failed,scheduled}'),
    ('unknown', '{succeeded,failed,scheduled}'),
    ('succeeded', '{returned}')) AS s (from_state, to_states)
CROSS JOIN LATERAL unnest(s.to_states) AS t (to_state);

ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check
    CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR', 'PO'));
ALTER TABLE app.restriction DROP CONSTRAINT restriction_function_check;
ALTER TABLE app.restriction ADD CONSTRAINT restriction_function_check
    CHECK (function IN ('bind', 'collect', 'refund', 'payout'));
ALTER TABLE app.consent DROP CONSTRAINT consent_kind_check;
ALTER TABLE app.consent ADD CONSTRAINT consent_kind_check CHECK (kind IN ('agreement', 'capacity_statement',
    'waiver_authorisation', 'waiver_notice', 'waiver_objection', 'data_export'));
ALTER TABLE vault.item DROP CONSTRAINT item_field_is_registered;
ALTER TABLE vault.item ADD CONSTRAINT item_field_is_registered
    CHECK (field IN ('name', 'id_number', 'card_number', 'mobile', 'account_number', 'agreement_number'));
ALTER TABLE vault.disclosure DROP CONSTRAINT disclosure_fields_check;
ALTER TABLE vault.disclosure ADD CONSTRAINT disclosure_fields_check CHECK (cardinality(fields) > 0
    AND fields <@ ARRAY['name', 'id_number', 'card_number', 'mobile', 'account_number', 'agreement_number']);

-- What later migrations fill in, so that each function has one owner. Their first bodies let everything pass.

-- 0009: what a freeze puts in the way of this payout, or NULL.
CREATE FUNCTION app.payout_obstacle(p app.payout, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::text;
-- 0009: the transfers of a settlement, and with them the holds of freezes that still lack money.
CREATE FUNCTION app.transfers_with_freezes(s app.settlement, transfers jsonb) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN transfers;
-- 0009: has the settlements wait for whoever changes the freezes of the same owners, and the others for these.
CREATE FUNCTION app.lock_freezes_of(batch app.settlement[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN END $$;
-- 0011: 'screening_outdated' if the lists have changed since this payout was screened, or NULL.
CREATE FUNCTION app.screening_obstacle(p app.payout) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::text;
-- 0010: 'too_early' unless this is the slot of a plan that holds; it is planned anew then.
CREATE FUNCTION app.slot_obstacle(p app.payout, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN CASE WHEN p.slot_at IS NULL OR p.slot_at > at THEN 'too_early' END;
-- 0011 (screening.*), 0012 (review.*) and 0013 (settlement.*): whose the subject of such a decision is, why it cannot take
-- place, what follows from it.
CREATE FUNCTION app.merchant_of_screening(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::text;
CREATE FUNCTION app.why_not_screening(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN 'decision_not_applicable'::text;
CREATE FUNCTION app.carry_out_screening(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN RAISE EXCEPTION 'not installed: %', d.kind; END $$;
CREATE FUNCTION app.merchant_of_review(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::text;
CREATE FUNCTION app.why_not_review(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN RETURN 'decision_not_applicable'; END $$;
CREATE FUNCTION app.carry_out_review(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN RAISE EXCEPTION 'not installed: %', d.kind; END $$;
-- The amount by which a kind needs a second person (`second_person_above_minor`), or NULL.
CREATE FUNCTION app.amount_of_review(subject text) RETURNS bigint LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::bigint;
CREATE FUNCTION app.merchant_of_settlement(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog RETURN NULL::text;
CREATE FUNCTION app.why_not_settlement(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN RETURN 'decision_not_applicable'; END $$;
CREATE FUNCTION app.carry_out_settlement(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$ BEGIN RAISE EXCEPTION 'not installed: %', d.kind; END $$;

GRANT SELECT ON app.payee, app.payout TO {app}, {ops};
