-- All that operators see of the ledger itself: what was dealt and not delivered, by desk and currency, and whose owner nobody knows.
CREATE FUNCTION app.open_positions()
    RETURNS TABLE (account text, kind text, currency text, posted_minor bigint, held_minor bigint, changed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT a.code, a.kind, a.currency, b.posted, b.held, b.changed_at
        FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        WHERE a.kind IN ('fx_position', 'suspense') ORDER BY a.code;
    END;

REVOKE ALL ON FUNCTION app.open_positions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.open_positions() TO {ops};
