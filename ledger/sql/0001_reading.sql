-- What one version of an account looked like.
CREATE FUNCTION ledger.leg_of(account_id bigint, at_version bigint)
RETURNS TABLE (version bigint, recorded_at timestamptz, posted bigint, held bigint)
LANGUAGE sql STABLE AS $$
    SELECT t.debit_version, t.recorded_at, t.debit_posted_after, t.debit_held_after
    FROM ledger.transfer t WHERE t.debit_account_id = $1 AND t.debit_version = $2
    UNION ALL
    SELECT t.credit_version, t.recorded_at, t.credit_posted_after, t.credit_held_after
    FROM ledger.transfer t WHERE t.credit_account_id = $1 AND t.credit_version = $2
$$;

-- Reading an account as it stood: the newest version recorded at or before an instant, found by halving, because
-- versions and instants rise together. Two index look-ups a step, and no index that every posting would pay for.
CREATE FUNCTION ledger.version_at(account_id bigint, instant timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    recorded timestamptz;
BEGIN
    SELECT b.version INTO high FROM ledger.balance b WHERE b.account_id = version_at.account_id;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT l.recorded_at INTO recorded FROM ledger.leg_of(version_at.account_id, middle) l;
        IF recorded <= instant THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- The balance of an account as recorded at an instant; no row for an unknown account, zeros before its first posting.
CREATE FUNCTION ledger.balance_at(code text, instant timestamptz)
RETURNS TABLE (currency text, posted bigint, held bigint, version bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.currency, coalesce(l.posted, 0), coalesce(l.held, 0), coalesce(l.version, 0)
    FROM ledger.account a
    LEFT JOIN LATERAL ledger.leg_of(a.id, ledger.version_at(a.id, instant)) l ON true
    WHERE a.code = balance_at.code
$$;

GRANT EXECUTE ON FUNCTION ledger.balance_at(text, timestamptz) TO {app};
