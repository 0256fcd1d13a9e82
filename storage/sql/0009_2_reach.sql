-- What a freeze stops, how much it has taken, and what it takes of money as it comes. Former bodies: 0007_4_claims.sql
-- (app.restricted), 0008_1_tables.sql (app.payout_obstacle, app.transfers_with_freezes, app.lock_freezes_of).

-- What a freeze of an amount has taken so far, in minor units. The books say it: its holds that have not ended.
CREATE FUNCTION app.frozen_minor(restriction_id text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT coalesce(sum(t.amount), 0)::bigint FROM ledger.transfer t
        WHERE t.instruction = restriction_id AND t.action = 'hold' AND t.kind = 'freeze'
          AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = t.id));

-- Whether a restriction is a freeze of funds: the institution's, or an authority's.
CREATE FUNCTION app.is_freeze(r app.restriction) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN r.kind = 'freeze' OR r.of_funds;

-- What a function of a user or a merchant is held up by, or NULL. `source`: whose money would leave.
--   authority_hold     an authority's order on either, until it expires, for this function or for all of them; or its freeze
--   funds_frozen       money would leave the one whose funds are frozen; what comes in is never stopped by a freeze
--   function_suspended the user's function, always; the merchant's, only where something new is accepted: what a merchant
--                      was suspended after is finished (A0.3)
-- What ends by itself is over at its very instant, whether or not anybody has written that down (L12). A freeze of an amount
-- is in the books and stops nothing else, except what is new while it still lacks money: that is the next that it takes.
-- Whole suspensions are states of user and merchant and are looked at there.
CREATE OR REPLACE FUNCTION app.restricted(
    function_ text, who text, whose text, source text, at timestamptz, accepting boolean
) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT CASE r.kind WHEN 'authority_order' THEN 'authority_hold' WHEN 'freeze' THEN 'funds_frozen'
                ELSE 'function_suspended' END
        FROM app.restriction r
        WHERE r.subject_id IN (who, whose) AND r.lifted_at IS NULL AND (r.ends_at IS NULL OR r.ends_at > at) AND CASE
            WHEN app.is_freeze(r) THEN function_ IN ('refund', 'payout') AND r.subject_id = source
                AND coalesce(r.function, function_) = function_
                AND (r.amount_minor IS NULL OR accepting AND r.amount_minor > app.frozen_minor(r.id))
            WHEN r.kind = 'authority_order' THEN coalesce(r.function, function_) = function_
            ELSE r.function = function_ AND (accepting OR r.subject_id = who) END
        ORDER BY r.kind LIMIT 1);

-- What keeps this payout from being sent, beside what is on its user: its money is in a freeze. What an institution owes
-- a merchant is the merchant's own, so a function that is suspended stops it, too.
CREATE OR REPLACE FUNCTION app.payout_obstacle(p app.payout, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN p.stopped_by IS NOT NULL THEN coalesce((SELECT 'authority_hold' FROM app.restriction r
            WHERE r.id = p.stopped_by AND r.kind = 'authority_order'), 'funds_frozen')
        WHEN p.user_id IS NULL THEN app.restricted('payout', p.merchant_id, p.merchant_id, p.merchant_id, at, false) END;

-- One hold of a freeze, for ledger.apply; `payout_id`: whose holds it took.
CREATE FUNCTION app.freeze_hold(
    r app.restriction, key text, account text, amount bigint, payout_id text, at timestamptz
) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('action', 'hold', 'key', key, 'kind', 'freeze', 'direction', 'internal', 'debit', account,
        'credit', 'frozen:' || r.subject_id || ':' || r.currency, 'currency', r.currency, 'amount', amount,
        'instruction', r.id, 'reference', payout_id, 'booked_at', app.instant(at));

-- What transfers make available on accounts of users and merchants, those that gain by them.
CREATE FUNCTION app.gains(transfers jsonb) RETURNS TABLE (account text, owner text, currency text, gain bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT c.code, split_part(c.code, ':', 2), split_part(c.code, ':', 3), sum(c.change)::bigint
        FROM jsonb_array_elements(transfers) t
        LEFT JOIN LATERAL (
            SELECT d.code AS debit, k.code AS credit, o.amount FROM ledger.transfer o
            JOIN ledger.account d ON d.id = o.debit_account_id JOIN ledger.account k ON k.id = o.credit_account_id
            WHERE o.key = t.value->>'hold' AND o.action = 'hold') h ON true
        CROSS JOIN LATERAL (VALUES
            (coalesce(h.debit, t.value->>'debit'), CASE t.value->>'action'
                WHEN 'post_hold' THEN h.amount - coalesce((t.value->>'amount')::bigint, h.amount)
                WHEN 'release_hold' THEN h.amount ELSE -(t.value->>'amount')::bigint END),
            (coalesce(h.credit, t.value->>'credit'), CASE t.value->>'action'
                WHEN 'post_hold' THEN coalesce((t.value->>'amount')::bigint, h.amount)
                WHEN 'post' THEN (t.value->>'amount')::bigint ELSE 0 END)) AS c (code, change)
        WHERE split_part(c.code, ':', 1) IN ('user', 'merchant_pending', 'merchant_available')
        GROUP BY c.code HAVING sum(c.change) > 0;
    END;

-- What a freeze has taken is in the books only once that is committed: of two who take for one owner at the same time, or take
-- while its freeze is being lifted, the second would take what is not lacking any more. So they take turns, owner by owner,
-- after all rows and before any balance.
CREATE FUNCTION app.lock_freezes(owner text) RETURNS void LANGUAGE sql SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(hashtextextended('freezes of ' || owner, 0));
    END;

CREATE OR REPLACE FUNCTION app.lock_freezes_of(batch app.settlement[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    whose text;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM app.restriction x WHERE x.amount_minor IS NOT NULL AND x.lifted_at IS NULL) THEN RETURN; END IF;
    FOR whose IN SELECT DISTINCT g.owner FROM unnest(batch) s
            CROSS JOIN LATERAL app.gains(s.transfers) g
            JOIN app.restriction x ON x.subject_id = g.owner AND x.amount_minor IS NOT NULL AND x.lifted_at IS NULL
            ORDER BY g.owner LOOP
        PERFORM app.lock_freezes(whose);
    END LOOP;
END $$;

-- The transfers of a settlement, and with them the holds of freezes that still lack money: of what it brings to an account
-- the oldest freeze takes first, in the same posting. What a settlement of the same transaction will take is remembered
-- until its end, because the books do not have it yet. A payout that ends gives back what was kept for it.
CREATE OR REPLACE FUNCTION app.transfers_with_freezes(s app.settlement, transfers jsonb) RETURNS jsonb LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    g record;
    r app.restriction;
    taking jsonb := coalesce(nullif(current_setting('liushui.freezing', true), ''), '{}')::jsonb;
    part bigint;
    rest text;
BEGIN
    IF s.kind = 'payout' AND s.state IN ('failed', 'refused', 'closed') THEN
        SELECT o.rest_hold INTO rest FROM app.payout o WHERE o.id = s.id;
        IF rest IS NOT NULL THEN
            transfers := transfers || jsonb_build_object('action', 'release_hold', 'key', rest || ':release', 'hold', rest,
                'instruction', s.id, 'reference', s.id, 'booked_at', app.instant(s.at));
            UPDATE app.payout o SET rest_hold = NULL WHERE o.id = s.id;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM app.restriction x WHERE x.amount_minor IS NOT NULL AND x.lifted_at IS NULL) THEN
        RETURN transfers;
    END IF;
    FOR g IN SELECT * FROM app.gains(transfers) LOOP
        PERFORM app.lock_freezes(g.owner);
        FOR r IN SELECT x.* FROM app.restriction x WHERE x.subject_id = g.owner AND x.currency = g.currency
                AND x.amount_minor IS NOT NULL AND x.lifted_at IS NULL AND (x.ends_at IS NULL OR x.ends_at > s.at)
                ORDER BY x.placed_at, x.id LOOP
            part := least(g.gain, r.amount_minor - app.frozen_minor(r.id) - coalesce((taking->>r.id)::bigint, 0));
            CONTINUE WHEN part <= 0;
            transfers := transfers || app.freeze_hold(r, r.id || ':' || s.id || ':' || md5(coalesce(s.key, s.state) || g.account), g.account,
                part, NULL, s.at);
            taking := taking || jsonb_build_object(r.id, coalesce((taking->>r.id)::bigint, 0) + part);
            g.gain := g.gain - part;
        END LOOP;
    END LOOP;
    PERFORM set_config('liushui.freezing', taking::text, true);
    RETURN transfers;
END $$;

-- What is on an account at an instant: posted is held, frozen and available together (A8.4). Frozen is what freezes of amounts
-- hold, and all that could leave if the whole is frozen. NULL for an account that was never opened.
CREATE FUNCTION app.balance_view(code text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('currency', a.currency, 'posted_minor', b.posted, 'held_minor', b.held - f.amount,
            'frozen_minor', f.amount + CASE WHEN f.is_whole THEN b.posted - b.held ELSE 0 END,
            'available_minor', CASE WHEN f.is_whole THEN 0 ELSE b.posted - b.held END)
        FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        CROSS JOIN LATERAL (SELECT
            EXISTS (SELECT 1 FROM app.restriction r WHERE r.subject_id = a.owner_reference AND r.lifted_at IS NULL
                AND (r.ends_at IS NULL OR r.ends_at > at) AND app.is_freeze(r) AND r.function IS NULL
                AND r.amount_minor IS NULL) AS is_whole,
            (SELECT coalesce(sum(t.amount), 0)::bigint FROM app.restriction r
                JOIN ledger.transfer t ON t.instruction = r.id AND t.action = 'hold' AND t.kind = 'freeze'
                WHERE r.subject_id = a.owner_reference AND r.amount_minor IS NOT NULL AND t.debit_account_id = a.id
                  AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = t.id)) AS amount) f
        WHERE a.code = balance_view.code);
