-- Opens accounts by code (`user:usr_…:CNY`); kind, owner, currency and normal side follow from the code. Idempotent.
-- An unknown kind or a malformed code violates a constraint of ledger.account.
CREATE FUNCTION ledger.open_accounts(codes text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH wanted AS (
        SELECT DISTINCT code, string_to_array(code, ':') AS part FROM unnest(codes) AS code
    ), opened AS (
        INSERT INTO ledger.account (code, kind, owner_reference, currency, normal_side)
        SELECT code, part[1], CASE WHEN cardinality(part) = 3 THEN part[2] END, part[cardinality(part)],
               ledger.normal_side_of(part[1])
        FROM wanted
        WHERE NOT EXISTS (SELECT FROM ledger.account a WHERE a.code = wanted.code)
        ORDER BY code
        ON CONFLICT (code) DO NOTHING
        RETURNING id
    )
    INSERT INTO ledger.balance (account_id) SELECT id FROM opened
$$;

-- Closes an empty account for good; whatever is posted to it later is refused. Idempotent.
-- An account with money in it, or none of that code, raises check_violation or no_data_found.
CREATE FUNCTION ledger.close_account(code text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE ledger.balance b SET closed_at = clock_timestamp()
    FROM ledger.account a
    WHERE a.code = close_account.code AND a.id = b.account_id AND b.closed_at IS NULL;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM ledger.account a WHERE a.code = close_account.code) THEN
        RAISE EXCEPTION 'account_not_found' USING ERRCODE = 'no_data_found';
    END IF;
END
$$;

GRANT EXECUTE ON FUNCTION ledger.open_accounts(text[]) TO {app};
