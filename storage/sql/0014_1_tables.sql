-- Foreign currency: how it arrives, what is converted of it, at which rate, within which quota (A5.1a-b, A5.2a-d, A6.4b-c, L9).

-- The rules of config/fx.toml, as the functions need them; registered anew at each start of the stack.
CREATE TABLE app.fx_rule (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version text NOT NULL,
    yearly_quota_usd_minor bigint NOT NULL CHECK (yearly_quota_usd_minor > 0),
    longest_quote_age interval NOT NULL,
    authority_rates_valid_days int NOT NULL CHECK (authority_rates_valid_days > 0)
);

-- A desk of a bank, or the FX authority: each with a calendar, hours and closures of its own (Q4).
CREATE TABLE app.fx_office (
    code text PRIMARY KEY CHECK (code ~ '^FX-[A-Z]{4}$'),
    kind text NOT NULL CHECK (kind IN ('desk', 'authority')),
    bank_code text REFERENCES app.partner,
    currencies text[] NOT NULL DEFAULT '{}',
    CHECK ((kind = 'desk') = (bank_code IS NOT NULL))
);

-- What the authority published for a month: USD for one unit of a currency, times 10^8. Rows are only added.
CREATE TABLE app.authority_rate (
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    usd_e8 bigint NOT NULL CHECK (usd_e8 > 0),
    source text NOT NULL CHECK (char_length(source) BETWEEN 1 AND 120),
    loaded_at timestamptz NOT NULL,
    PRIMARY KEY (currency, month)
);

-- To whom personal data goes beyond the border, and under what (P6b). Past `valid_until` nothing goes.
CREATE TABLE app.export_contract (
    bank_code text PRIMARY KEY REFERENCES app.partner,
    recipient text NOT NULL,
    contract text NOT NULL,
    ground text NOT NULL,
    purpose text NOT NULL,
    fields text[] NOT NULL,
    -- How it is protected on its way and there, and who of the recipient sees it.
    encryption text NOT NULL,
    access text[] NOT NULL CHECK (cardinality(access) > 0),
    valid_until date NOT NULL
);

-- A number at a bank under which remittances reach one user. Name and number are in the vault, under the user's key.
CREATE TABLE app.receiving_account (
    id text PRIMARY KEY CHECK (id ~ '^rca_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    bank_code text NOT NULL REFERENCES app.partner,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Keyed digests: the holder's name as the bank has it, and the number once it is known.
    holder_index text NOT NULL,
    account_index text,
    account_last4 text CHECK (account_last4 ~ '^[0-9A-Z]{4}$'),
    element_tokens jsonb NOT NULL,
    cross_border boolean NOT NULL,
    data_export_version text,
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
    event_sequence int NOT NULL DEFAULT 0,
    CHECK (state NOT IN ('open', 'closed') OR account_index IS NOT NULL)
);
CREATE UNIQUE INDEX one_receiving_account ON app.receiving_account (user_id, bank_code, currency)
    WHERE state IN ('opening', 'open');
-- A bank may have one number for all currencies of a user, and give one that was closed to somebody else.
CREATE UNIQUE INDEX receiving_account_by_number ON app.receiving_account (bank_code, account_index, currency)
    WHERE state = 'open';
CREATE INDEX receiving_account_of_number ON app.receiving_account (bank_code, account_index) WHERE account_index IS NOT NULL;

-- What a bank announced and has not been asked about yet: the announcement alone is nothing that counts.
CREATE TABLE app.inbound_notice (
    bank_code text NOT NULL REFERENCES app.partner,
    reference text NOT NULL CHECK (reference ~ '^[A-Z0-9]{8,40}$'),
    received_at timestamptz NOT NULL,
    looked_at timestamptz,
    -- What the bank said when asked: received, or no such remittance.
    outcome text CHECK (outcome IN ('received', 'unknown_to_the_bank')),
    PRIMARY KEY (bank_code, reference)
);
CREATE INDEX inbound_to_ask ON app.inbound_notice (received_at) WHERE outcome IS NULL;

-- Foreign currency that a bank has booked for us. Who sent it and to whom is in the vault, under the key of the user or,
-- while nobody knows whose it is, under one of its own.
CREATE TABLE app.inbound (
    id text PRIMARY KEY CHECK (id ~ '^inb_[0-9A-HJKMNP-TV-Z]{26}$'),
    bank_code text NOT NULL REFERENCES app.partner,
    reference text NOT NULL,
    merchant_id text REFERENCES app.merchant,
    user_id text REFERENCES app.end_user,
    receiving_account_id text REFERENCES app.receiving_account,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    value_date date NOT NULL,
    booked_at timestamptz NOT NULL,
    purpose_code text NOT NULL CHECK (purpose_code ~ '^[0-9]{6}$'),
    remitter_country text NOT NULL CHECK (remitter_country ~ '^[A-Z]{2}$'),
    -- Keyed digests of the number and the name that the bank has said it is for.
    account_index text NOT NULL,
    receiver_index text NOT NULL,
    sealed_under text NOT NULL,
    element_tokens jsonb NOT NULL,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    -- Why it is in suspense: receiver_unknown, receiver_name_differs, account_closed, currency_differs, user_not_active.
    reason text,
    received_at timestamptz NOT NULL,
    decided_by text REFERENCES app.decision,
    event_sequence int NOT NULL DEFAULT 0,
    UNIQUE (bank_code, reference),
    CHECK ((user_id IS NULL) = (merchant_id IS NULL)),
    CHECK (state <> 'credited' OR user_id IS NOT NULL)
);
CREATE INDEX inbound_of_merchant ON app.inbound (merchant_id, id) WHERE merchant_id IS NOT NULL;
CREATE INDEX inbound_of_user ON app.inbound (user_id, currency, value_date) WHERE user_id IS NOT NULL;
CREATE INDEX inbound_in_suspense ON app.inbound (received_at) WHERE state IN ('suspense', 'returning');

-- Money that goes back to where it came from: out of suspense, or what could not be converted.
CREATE TABLE app.inbound_return (
    id text PRIMARY KEY CHECK (id ~ '^inr_[0-9A-HJKMNP-TV-Z]{26}$'),
    inbound_id text NOT NULL REFERENCES app.inbound,
    fx_id text,
    merchant_id text NOT NULL,
    bank_code text NOT NULL REFERENCES app.partner,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    hold text NOT NULL,
    decided_by text REFERENCES app.decision,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    bank_reference text,
    booked_at timestamptz,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    claimed_at timestamptz,
    concluded_by text REFERENCES app.decision,
    event_sequence int NOT NULL DEFAULT 0
);
CREATE INDEX return_of_inbound ON app.inbound_return (inbound_id);
CREATE INDEX inbound_return_live ON app.inbound_return (accepted_at) WHERE state IN ('ready', 'sending', 'unknown');

-- What a user has agreed to once and for all: what arrives in a currency is converted when it may be (A3.2b).
CREATE TABLE app.fx_mandate (
    id text PRIMARY KEY CHECK (id ~ '^fxm_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    purpose_code text NOT NULL CHECK (purpose_code ~ '^[0-9]{6}$'),
    is_trade boolean NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',
    residency text NOT NULL CHECK (residency IN ('domestic_individual', 'foreign_individual', 'enterprise')),
    over_quota text NOT NULL CHECK (over_quota IN ('split', 'hold')),
    mandate_reference text NOT NULL CHECK (char_length(mandate_reference) BETWEEN 1 AND 128),
    agreement_version text NOT NULL,
    valid_until timestamptz,
    state text NOT NULL CHECK (state IN ('active', 'ended')),
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX one_fx_mandate ON app.fx_mandate (user_id, currency) WHERE state = 'active';

-- What a desk would deal at, as it was told; the rate that was used is among them for good (A5.1b).
CREATE TABLE app.fx_quote (
    bank_code text NOT NULL REFERENCES app.partner,
    quote_id text NOT NULL CHECK (quote_id ~ '^[A-Z0-9]{8,40}$'),
    currency text NOT NULL,
    side text NOT NULL CHECK (side IN ('buys', 'sells')),
    rate_e8 bigint NOT NULL CHECK (rate_e8 > 0),
    publisher text NOT NULL CHECK (char_length(publisher) BETWEEN 1 AND 60),
    published_at timestamptz NOT NULL,
    valid_until timestamptz NOT NULL CHECK (valid_until > published_at),
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (bank_code, quote_id)
);

-- One conversion into CNY, or the reversal of what of one turned out to be above the quota (A5.2c).
CREATE TABLE app.fx (
    id text PRIMARY KEY CHECK (id ~ '^fx_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    user_id text NOT NULL REFERENCES app.end_user,
    kind text NOT NULL CHECK (kind IN ('conversion', 'reversal')),
    origin text NOT NULL CHECK (origin IN ('user_relayed', 'standing_mandate', 'institution')),
    order_number text CHECK (char_length(order_number) BETWEEN 1 AND 64),
    mandate_id text REFERENCES app.fx_mandate,
    inbound_id text REFERENCES app.inbound,
    -- The conversion whose rest beyond the quota this is; the one of which this takes some back.
    rest_of text REFERENCES app.fx,
    reversal_of text REFERENCES app.fx,
    -- Of a reversal: how much of the conversion is above the quota with this one, and the CNY that it came to.
    excess_minor bigint CHECK (excess_minor > 0),
    share_minor bigint CHECK (share_minor >= 0),
    -- In the foreign currency, and at which bank it lies.
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$' AND currency <> 'CNY'),
    held_at text NOT NULL REFERENCES app.partner,
    purpose_code text NOT NULL CHECK (purpose_code ~ '^[0-9]{6}$'),
    is_trade boolean NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',
    residency text NOT NULL CHECK (residency IN ('domestic_individual', 'foreign_individual', 'enterprise')),
    over_quota text NOT NULL CHECK (over_quota IN ('split', 'hold')),
    value_date date,
    confirmation_hash text,
    agreement_version text NOT NULL,
    state text NOT NULL,
    state_since timestamptz NOT NULL,
    wait_reason text,
    wait_until timestamptz,
    wait_deadline timestamptz,
    reason text,
    raw_code text,
    -- The desk that is to convert it, or has; its slot, by a plan on this version of calendars and hours.
    desk text REFERENCES app.partner,
    earliest_at timestamptz,
    slot_at timestamptz,
    release_until timestamptz,
    plan_version bigint,
    plan_provisional boolean NOT NULL DEFAULT false,
    -- The hold in the ledger is '<id>:hold:<hold_number>'; of a reversal it is of so much CNY, or none.
    hold_number int NOT NULL DEFAULT 1 CHECK (hold_number > 0),
    held_minor bigint NOT NULL CHECK (held_minor >= 0),
    -- Of a reversal that was sent: the hold '<id>:<sent_hold>' of what it takes at the desk's bank beyond that, if anything.
    sent_hold text,
    -- What was decided about the quota, and what is reserved or used of it (A0.6, A5.2a).
    quota_decision text CHECK (quota_decision IN
        ('within', 'exempt_trade', 'documents', 'not_subject', 'exceeded', 'known_exceeded')),
    quota_year int,
    quota_usd_minor bigint CHECK (quota_usd_minor >= 0),
    quota_usd_e8 bigint,
    quota_rate_month date,
    -- What it was dealt at, and what came of it.
    quote_id text,
    rate_e8 bigint,
    cny_minor bigint CHECK (cny_minor > 0),
    remainder_e8 bigint,
    dealt_at timestamptz,
    bank_reference text,
    delivered_at timestamptz,
    delivery_reference text,
    -- Of a conversion: how much of it was taken back. Of a reversal: what the user no longer had; what the rates differed by.
    reversed_minor bigint NOT NULL DEFAULT 0 CHECK (reversed_minor >= 0 AND reversed_minor <= amount_minor),
    shortfall_minor bigint CHECK (shortfall_minor >= 0),
    rate_difference_minor bigint,
    accepted_at timestamptz NOT NULL,
    process_started_at timestamptz,
    claimed_at timestamptz,
    withdrawn_by text REFERENCES app.decision,
    concluded_by text REFERENCES app.decision,
    event_sequence int NOT NULL DEFAULT 0,
    CHECK ((kind = 'reversal') = (reversal_of IS NOT NULL)),
    CHECK ((kind = 'reversal') = (excess_minor IS NOT NULL)),
    CHECK (state NOT IN ('converted', 'settled') OR (rate_e8 IS NOT NULL AND cny_minor IS NOT NULL AND dealt_at IS NOT NULL)),
    CHECK (state <> 'settled' OR delivered_at IS NOT NULL),
    FOREIGN KEY (desk, quote_id) REFERENCES app.fx_quote (bank_code, quote_id)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX one_fx_per_order ON app.fx (merchant_id, order_number)
    WHERE order_number IS NOT NULL AND rest_of IS NULL AND state NOT IN ('released', 'returned');
CREATE UNIQUE INDEX one_fx_per_inbound ON app.fx (inbound_id) WHERE inbound_id IS NOT NULL AND rest_of IS NULL AND kind = 'conversion';
CREATE INDEX fx_of_merchant ON app.fx (merchant_id, id);
CREATE INDEX fx_of_user ON app.fx (user_id, id);
CREATE INDEX fx_live ON app.fx (accepted_at) WHERE state IN ('waiting', 'sending', 'unknown', 'converted');
-- The backlog of a desk, in the order in which it goes out, and in that of its acceptance.
CREATE INDEX fx_waiting ON app.fx (desk, slot_at) WHERE state = 'waiting';
CREATE INDEX fx_waiting_by_acceptance ON app.fx (desk, accepted_at, id) WHERE state = 'waiting';
CREATE INDEX fx_waiting_by_version ON app.fx (accepted_at, id) WHERE state = 'waiting';
CREATE INDEX fx_rests ON app.fx (rest_of) WHERE rest_of IS NOT NULL;
CREATE INDEX fx_reversals ON app.fx (reversal_of) WHERE reversal_of IS NOT NULL;

-- What a person has settled in a calendar year, in USD, across merchants and beyond the closing of accounts: it is kept under
-- the keyed index of the identity document, and under nothing else (L9).
CREATE TABLE app.fx_quota (
    person_index text NOT NULL,
    year int NOT NULL CHECK (year BETWEEN 2020 AND 2199),
    reserved_usd_minor bigint NOT NULL DEFAULT 0 CHECK (reserved_usd_minor >= 0),
    used_usd_minor bigint NOT NULL DEFAULT 0 CHECK (used_usd_minor >= 0),
    -- A partner has said that it is exceeded; that is over only when the year is (A5.2b).
    exceeded_at timestamptz,
    PRIMARY KEY (person_index, year)
) WITH (fillfactor = 60);
-- How each of these numbers came about. Append-only; the sums are those of app.fx_quota.
CREATE TABLE app.fx_quota_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_index text NOT NULL,
    year int NOT NULL,
    fx_id text NOT NULL,
    reserved_usd_minor bigint NOT NULL,
    used_usd_minor bigint NOT NULL,
    why text NOT NULL CHECK (why IN ('reserved', 'released', 'used', 'given_back', 'learned_exceeded')),
    at timestamptz NOT NULL,
    FOREIGN KEY (person_index, year) REFERENCES app.fx_quota
);
CREATE INDEX quota_entry_of_fx ON app.fx_quota_entry (fx_id);

-- What a user owes because the CNY of a reversed conversion had been taken out already (A10.2b).
CREATE TABLE app.user_receivable (
    fx_id text PRIMARY KEY REFERENCES app.fx,
    user_id text NOT NULL REFERENCES app.end_user,
    merchant_id text NOT NULL REFERENCES app.merchant,
    currency text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    opened_at timestamptz NOT NULL
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['authority_rate', 'fx_quote', 'fx_quota_entry', 'user_receivable'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.%I
            FOR EACH ROW EXECUTE FUNCTION app.forbid_change()', t);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.%I
            EXECUTE FUNCTION app.forbid_change()', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['receiving_account', 'inbound', 'inbound_return', 'fx'] LOOP
        EXECUTE format('CREATE TRIGGER legal_step BEFORE UPDATE OF state ON app.%I
            FOR EACH ROW EXECUTE FUNCTION app.check_step()', t);
    END LOOP;
END $$;
INSERT INTO app.legal_step (subject, from_state, to_state)
SELECT s.subject, s.from_state, t.to_state FROM (VALUES
    ('receiving_account', 'opening', '{open,declined}'::text[]),
    ('receiving_account', 'open', '{closed}'),
    ('inbound', 'suspense', '{credited,returning}'),
    ('inbound', 'returning', '{returned,suspense}'),
    ('inbound_return', 'ready', '{sending,failed}'),
    ('inbound_return', 'sending', '{unknown,succeeded,failed}'),
    ('inbound_return', 'unknown', '{succeeded,failed}'),
    ('fx', 'waiting', '{sending,refused,released}'),
    -- Back to waiting only on the desk's definite word that it has not dealt: it was closed, or its quote was over.
    ('fx', 'sending', '{waiting,unknown,converted,settled,refused}'),
    ('fx', 'unknown', '{waiting,converted,settled,refused}'),
    ('fx', 'converted', '{settled}'),
    ('fx', 'refused', '{released,returning}'),
    ('fx', 'returning', '{returned,refused}')) AS s (subject, from_state, to_states)
CROSS JOIN LATERAL unnest(s.to_states) AS t (to_state);

ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check
    CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR', 'PO', 'FX', 'FR', 'IR', 'RA'));
ALTER TABLE app.restriction DROP CONSTRAINT restriction_function_check;
ALTER TABLE app.restriction ADD CONSTRAINT restriction_function_check
    CHECK (function IN ('bind', 'collect', 'refund', 'payout', 'fx'));
-- Desks have slots, too.
ALTER TABLE app.bank_slots DROP CONSTRAINT bank_slots_bank_code_fkey;

-- A position of each desk and currency: what was dealt and has not been delivered yet. It comes back to nought.
CREATE OR REPLACE FUNCTION ledger.normal_side_of(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind IN ('reserve', 'in_transit', 'receivable') THEN 'debit'
        WHEN kind IN ('merchant_pending', 'merchant_available', 'user', 'fee_income', 'suspense', 'frozen', 'fx_position')
            THEN 'credit'
    END
$$;

CREATE OR REPLACE FUNCTION ledger.kind_is_known(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(kind IN (
        'collection', 'payout', 'payout_return', 'merchant_settlement', 'bank_settlement', 'suspense',
        'fee', 'fee_refund', 'refund', 'late_refund', 'reversal', 'adjustment', 'freeze',
        'inbound', 'inbound_return', 'fx_conversion', 'fx_reversal'
    ), false)
$$;

GRANT SELECT ON app.fx_rule, app.fx_office, app.authority_rate, app.export_contract, app.receiving_account, app.inbound_notice,
    app.inbound, app.inbound_return, app.fx_mandate, app.fx_quote, app.fx, app.user_receivable TO {app}, {ops};
-- Who has settled how much is nobody's business at a merchant: functions look, and compliance.
GRANT SELECT ON app.fx_quota, app.fx_quota_entry TO {ops};
