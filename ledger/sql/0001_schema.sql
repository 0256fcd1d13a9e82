-- The ledger. One row of ledger.transfer is a whole entry (one debit, one credit, one amount), so an entry that does
-- not balance cannot be written. Transfers and accounts are never changed; balances move forward only.

CREATE SCHEMA ledger AUTHORIZATION {owner};

-- Without this every new function would be callable by everybody.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Keys, instructions and references are ids of ours or of a bank, never free text. (Written without a counted
-- repetition, which costs thirty times as much.)
CREATE FUNCTION ledger.is_reference(value text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(value <> '' AND length(value) <= 100 AND value !~ '[^A-Za-z0-9_.:/-]', false)
$$;

-- Which side makes an account of this kind grow; NULL for an unknown kind.
CREATE FUNCTION ledger.normal_side_of(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind IN ('reserve', 'in_transit', 'receivable') THEN 'debit'
        WHEN kind IN ('merchant_pending', 'merchant_available', 'user', 'fee_income', 'suspense') THEN 'credit'
    END
$$;

-- A0.5: only typed movements. A migration that adds a kind replaces these two functions.
CREATE FUNCTION ledger.kind_is_known(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(kind IN (
        'collection', 'payout', 'payout_return', 'merchant_settlement', 'bank_settlement', 'suspense',
        'fee', 'fee_refund', 'refund', 'late_refund', 'reversal', 'adjustment'
    ), false)
$$;

CREATE FUNCTION ledger.kind_needs_reference(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(kind IN ('fee', 'fee_refund', 'refund', 'late_refund', 'reversal', 'adjustment'), false)
$$;

CREATE TABLE ledger.account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL UNIQUE CHECK (length(code) <= 100),
    kind text NOT NULL,
    owner_reference text CHECK (owner_reference ~ '^[A-Za-z0-9_]{1,60}$'),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    normal_side text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (id, currency),
    CHECK (code = concat_ws(':', kind, owner_reference, currency)),
    CHECK (normal_side IS NOT DISTINCT FROM ledger.normal_side_of(kind)),
    CHECK ((owner_reference IS NULL) = (kind IN ('fee_income', 'suspense', 'receivable')))
);

-- The only table that changes. Amounts are in the account's own normal side, so no account may ever be below zero:
-- money enters by a debit of a reserve, and there is no account of the outside world to overdraw.
CREATE TABLE ledger.balance (
    account_id bigint PRIMARY KEY REFERENCES ledger.account (id),
    posted bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    CHECK (held >= 0),
    CHECK (posted >= held),
    CHECK (closed_at IS NULL OR posted = 0)
) WITH (fillfactor = 50);

CREATE TABLE ledger.transfer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL CHECK (isfinite(booked_at)),
    amount bigint NOT NULL CHECK (amount > 0 AND amount <= 10000000000000),
    hold_id bigint REFERENCES ledger.transfer (id),
    debit_account_id bigint NOT NULL,
    debit_version bigint NOT NULL CHECK (debit_version > 0),
    debit_posted_after bigint NOT NULL,
    debit_held_after bigint NOT NULL CHECK (debit_held_after >= 0),
    credit_account_id bigint NOT NULL,
    credit_version bigint NOT NULL CHECK (credit_version > 0),
    credit_posted_after bigint NOT NULL,
    credit_held_after bigint NOT NULL CHECK (credit_held_after >= 0),
    action text NOT NULL CHECK (action IN ('post', 'hold', 'post_hold', 'release_hold')),
    kind text NOT NULL CHECK (ledger.kind_is_known(kind)),
    direction text NOT NULL CHECK (direction IN ('in', 'out', 'internal')),
    currency text NOT NULL,
    key text NOT NULL UNIQUE CHECK (ledger.is_reference(key)),
    instruction text NOT NULL CHECK (ledger.is_reference(instruction)),
    reference text CHECK (reference IS NULL OR ledger.is_reference(reference)),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    CHECK (debit_account_id <> credit_account_id),
    CHECK (debit_posted_after >= debit_held_after),
    CHECK (credit_posted_after >= credit_held_after),
    CHECK ((hold_id IS NOT NULL) = (action IN ('post_hold', 'release_hold'))),
    CHECK (reference IS NOT NULL OR NOT ledger.kind_needs_reference(kind)),
    FOREIGN KEY (debit_account_id, currency) REFERENCES ledger.account (id, currency),
    FOREIGN KEY (credit_account_id, currency) REFERENCES ledger.account (id, currency)
);

-- A hold ends once.
CREATE UNIQUE INDEX transfer_hold_ends_once ON ledger.transfer (hold_id) WHERE hold_id IS NOT NULL;
-- An account's chain, and the order of its statement.
CREATE UNIQUE INDEX transfer_debit_chain ON ledger.transfer (debit_account_id, debit_version);
CREATE UNIQUE INDEX transfer_credit_chain ON ledger.transfer (credit_account_id, credit_version);
CREATE INDEX transfer_instruction ON ledger.transfer (instruction);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger.% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER account_is_immutable BEFORE UPDATE OR DELETE ON ledger.account
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER account_is_kept BEFORE TRUNCATE ON ledger.account EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transfer_is_immutable BEFORE UPDATE OR DELETE ON ledger.transfer
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transfer_is_kept BEFORE TRUNCATE ON ledger.transfer EXECUTE FUNCTION ledger.refuse_change();
-- Every change is a new version, except that an open account may be closed as it stands; nothing reopens it.
CREATE TRIGGER balance_moves_forward BEFORE UPDATE ON ledger.balance FOR EACH ROW
    WHEN (
        NEW.account_id <> OLD.account_id OR NEW.changed_at < OLD.changed_at
        OR OLD.closed_at IS DISTINCT FROM NEW.closed_at AND OLD.closed_at IS NOT NULL
        OR NEW.version <= OLD.version AND (
            OLD.closed_at IS NOT DISTINCT FROM NEW.closed_at
            OR (NEW.version, NEW.posted, NEW.held) <> (OLD.version, OLD.posted, OLD.held)
        )
    )
    EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER balance_is_not_deleted BEFORE DELETE ON ledger.balance
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER balance_is_kept BEFORE TRUNCATE ON ledger.balance EXECUTE FUNCTION ledger.refuse_change();

GRANT USAGE ON SCHEMA ledger TO {app};
GRANT SELECT ON ledger.account, ledger.balance, ledger.transfer TO {app};
