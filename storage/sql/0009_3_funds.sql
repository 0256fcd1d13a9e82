-- Whose money is where while some of it is frozen. One function brings the holds of an owner in line with what is in force:
-- it is called where a freeze is placed, lifted or over, and finds out for itself what is to be done; in one posting.
--
-- What freezes lack they take of what is being let go, then of payouts that were not sent, then of what is available, then
-- (app.transfers_with_freezes) of what comes in. Of payouts the one accepted last is stopped first: who has waited longest
-- goes on. Held refunds are left alone: that money is owed to payers, and on its way to them.
--
-- A payout whose holds a freeze took is stopped; what the freeze did not need of them is kept for it (`rest_hold`), so that
-- nothing accepted later can spend it. When the freeze is over its money is held anew, in the order of acceptance. The money
-- at the bank is not kept: other payouts go out with it, and one that is held anew waits until its bank has it again.
--
-- Locks: the caller holds the merchant and the user (app.lock_subject); here follow payouts by id, what settlements wait for
-- (app.lock_freezes), then balances.

-- The accounts of an owner that money can leave; of a merchant what is at its disposal first.
CREATE FUNCTION app.accounts_of(owner text, currency text) RETURNS text[] LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN owner LIKE 'usr%' THEN ARRAY['user:' || owner || ':' || currency]
        ELSE ARRAY['merchant_available:' || owner || ':' || currency, 'merchant_pending:' || owner || ':' || currency] END;

CREATE FUNCTION app.is_unsent(p app.payout) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN p.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled');

-- The money of an owner while it is being rearranged: `loose` was let go and nobody has taken it yet, `free` is available,
-- there and at the banks of the owner's payouts; by account. `postings` are for ledger.apply.
CREATE TYPE app.purse AS (loose jsonb, free jsonb, postings jsonb);

CREATE FUNCTION app.amount_in(amounts jsonb, account text) RETURNS bigint LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog RETURN coalesce((amounts->>account)::bigint, 0);

CREATE FUNCTION app.reserve_of(p app.payout) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN 'reserve:' || p.bank_code || ':' || p.currency;

CREATE FUNCTION app.let_go(m app.purse, hold text, account text, amount bigint, at timestamptz) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    m.postings := m.postings || jsonb_build_object('action', 'release_hold', 'key', hold || ':freed', 'hold', hold,
        'booked_at', app.instant(at));
    m.loose := m.loose || jsonb_build_object(account, app.amount_in(m.loose, account) + amount);
    RETURN m;
END $$;

-- Takes of what is loose first, then of what is available; the caller has seen that there is as much.
CREATE FUNCTION app.take(m app.purse, account text, amount bigint, holds jsonb) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    loose bigint := least(amount, app.amount_in(m.loose, account));
BEGIN
    m.loose := m.loose || jsonb_build_object(account, app.amount_in(m.loose, account) - loose);
    m.free := m.free || jsonb_build_object(account, app.amount_in(m.free, account) - (amount - loose));
    m.postings := m.postings || holds;
    RETURN m;
END $$;

-- Lets go of what freezes hold that are over, and of what is kept for stopped payouts.
CREATE FUNCTION app.let_go_of_ended(m app.purse, owner text, at timestamptz) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    h record;
BEGIN
    FOR h IN SELECT t.key, a.code, t.amount FROM app.restriction r
            JOIN ledger.transfer t ON t.instruction = r.id AND t.action = 'hold' AND t.kind = 'freeze'
            JOIN ledger.account a ON a.id = t.debit_account_id
            WHERE r.subject_id = owner AND r.amount_minor IS NOT NULL AND r.lifted_at IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM ledger.transfer e WHERE e.hold_id = t.id)
            UNION ALL
            SELECT t.key, a.code, t.amount FROM app.payout p JOIN ledger.transfer t ON t.key = p.rest_hold
            JOIN ledger.account a ON a.id = t.debit_account_id
            WHERE p.rest_hold IS NOT NULL AND coalesce(p.user_id, p.merchant_id) = owner
            ORDER BY 1 LOOP
        m := app.let_go(m, h.key, h.code, h.amount, at);
    END LOOP;
    RETURN m;
END $$;

-- Stops a payout: its holds are let go, and the merchant is told. The freeze takes what it lacks of them.
CREATE FUNCTION app.stop_payout(m app.purse, p app.payout, r app.restriction, at timestamptz, actor text)
RETURNS app.purse LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    m := app.let_go(m, p.id || ':hold:' || p.hold_number, p.source_account, p.amount_minor, at);
    m.free := m.free || jsonb_build_object(app.reserve_of(p), app.amount_in(m.free, app.reserve_of(p)) + p.amount_minor);
    IF p.fee_minor > 0 THEN
        m := app.let_go(m, p.id || ':hold:' || p.hold_number || ':fee', p.source_account, p.fee_minor, at);
    END IF;
    UPDATE app.payout n SET stopped_by = r.id,
        wait_reason = CASE WHEN n.state <> 'scheduled' THEN n.wait_reason
            WHEN r.kind = 'authority_order' THEN 'authority_order' ELSE 'freeze' END
        WHERE n.id = p.id RETURNING n.* INTO p;
    PERFORM app.note_payout(p, 'payout.stopped', at, actor, 'stop_payout', 'funds_frozen');
    RETURN m;
END $$;

-- What one freeze still lacks, taken from wherever the owner has it.
CREATE FUNCTION app.fill_freeze(m app.purse, r app.restriction, at timestamptz, actor text) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    lacking bigint := r.amount_minor - app.frozen_minor(r.id);
    n int := (SELECT count(*) FROM ledger.transfer t WHERE t.instruction = r.id AND t.action = 'hold');
    mine text[] := app.accounts_of(r.subject_id, r.currency);
    account text;
    part bigint;
    p app.payout;
BEGIN
    FOREACH account IN ARRAY mine LOOP
        part := least(lacking, app.amount_in(m.loose, account));
        CONTINUE WHEN part <= 0;
        n := n + 1; lacking := lacking - part;
        m := app.take(m, account, part, app.freeze_hold(r, r.id || ':' || n, account, part, NULL, at));
    END LOOP;
    FOR p IN SELECT o.* FROM app.payout o WHERE coalesce(o.user_id, o.merchant_id) = r.subject_id
            AND o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled')
            AND o.stopped_by IS NULL AND o.source_account = ANY (mine)
            ORDER BY o.accepted_at DESC, o.id DESC LOOP
        EXIT WHEN lacking <= 0;
        m := app.stop_payout(m, p, r, at, actor);
        part := least(lacking, p.amount_minor + p.fee_minor);
        n := n + 1; lacking := lacking - part;
        m := app.take(m, p.source_account, part, app.freeze_hold(r, r.id || ':' || n, p.source_account, part, p.id, at));
    END LOOP;
    FOREACH account IN ARRAY mine LOOP
        part := least(lacking, app.amount_in(m.loose, account) + app.amount_in(m.free, account));
        CONTINUE WHEN part <= 0;
        n := n + 1; lacking := lacking - part;
        m := app.take(m, account, part, app.freeze_hold(r, r.id || ':' || n, account, part, NULL, at));
    END LOOP;
    RETURN m;
END $$;

-- Keeps what is loose for a payout that stays stopped, up to `most`.
CREATE FUNCTION app.keep_rest(m app.purse, p app.payout, most bigint, at timestamptz) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    rest bigint := least(most, app.amount_in(m.loose, p.source_account));
    hold text := p.id || ':rest:' || (SELECT count(*) + 1 FROM ledger.transfer t
        WHERE t.instruction = p.id AND t.action = 'hold' AND t.key LIKE p.id || ':rest:%');
BEGIN
    UPDATE app.payout n SET rest_hold = CASE WHEN rest > 0 THEN hold END WHERE n.id = p.id;
    IF rest <= 0 THEN RETURN m; END IF;
    RETURN app.take(m, p.source_account, rest, app.payout_movement(p, 'hold', hold, 'payout', 'internal', p.source_account,
        'frozen:' || split_part(p.source_account, ':', 2) || ':' || p.currency, rest, at));
END $$;

-- Holds a stopped payout anew, if there is as much; or keeps what there is for it, stopped by a freeze that is in force.
CREATE FUNCTION app.resume_payout(m app.purse, p app.payout, at timestamptz, actor text) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    needed bigint := p.amount_minor + p.fee_minor;
BEGIN
    IF needed > app.amount_in(m.loose, p.source_account) + app.amount_in(m.free, p.source_account)
        OR p.amount_minor > app.amount_in(m.free, app.reserve_of(p)) THEN
        UPDATE app.payout n SET stopped_by = coalesce((SELECT r.id FROM app.restriction r
                WHERE r.subject_id = coalesce(p.user_id, p.merchant_id) AND r.amount_minor IS NOT NULL
                  AND r.lifted_at IS NULL ORDER BY r.placed_at DESC, r.id DESC LIMIT 1), n.stopped_by)
            WHERE n.id = p.id;
        RETURN app.keep_rest(m, p, needed, at);
    END IF;
    UPDATE app.payout n SET stopped_by = NULL, rest_hold = NULL, hold_number = n.hold_number + 1,
        wait_reason = CASE WHEN n.state = 'scheduled' THEN 'bank_window' ELSE n.wait_reason END
        WHERE n.id = p.id RETURNING n.* INTO p;
    PERFORM app.note_payout(p, 'payout.resumed', at, actor, 'resume_payout', NULL);
    INSERT INTO app.payout_to_tell VALUES (p.id, at) ON CONFLICT DO NOTHING;
    m.free := m.free || jsonb_build_object(app.reserve_of(p), app.amount_in(m.free, app.reserve_of(p)) - p.amount_minor);
    RETURN app.take(m, p.source_account, needed, app.payout_transfers(p, 'hold', at));
END $$;

-- After freezes have taken what they lack: first those that stay stopped keep what was kept for them, then those whose
-- freeze is over are held anew, in the order of acceptance; none overtakes another.
CREATE FUNCTION app.serve_stopped(m app.purse, owner text, kept jsonb, at timestamptz, actor text) RETURNS app.purse
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    p app.payout;
BEGIN
    FOR p IN SELECT o.* FROM app.payout o JOIN app.restriction r ON r.id = o.stopped_by AND r.lifted_at IS NULL
            WHERE coalesce(o.user_id, o.merchant_id) = owner AND app.is_unsent(o) ORDER BY o.accepted_at, o.id LOOP
        m := app.keep_rest(m, p, app.amount_in(kept, p.id), at);
    END LOOP;
    FOR p IN SELECT o.* FROM app.payout o JOIN app.restriction r ON r.id = o.stopped_by AND r.lifted_at IS NOT NULL
            WHERE coalesce(o.user_id, o.merchant_id) = owner AND app.is_unsent(o) ORDER BY o.accepted_at, o.id LOOP
        m := app.resume_payout(m, p, at, actor);
    END LOOP;
    UPDATE app.payout o SET rest_hold = NULL
        WHERE o.rest_hold IS NOT NULL AND coalesce(o.user_id, o.merchant_id) = owner AND NOT app.is_unsent(o);
    RETURN m;
END $$;

-- What is to be kept for payouts that stay stopped: what was, and what a freeze that is over had taken of that in its turn. All
-- that they need is in the freezes that are left, or kept; who was accepted first comes first.
CREATE FUNCTION app.due_to_stopped(m app.purse, owner text, kept jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog AS $$
DECLARE
    p app.payout;
    lacking jsonb;
    part bigint;
BEGIN
    SELECT coalesce(jsonb_object_agg(x.currency, x.needed - x.taken), '{}') INTO lacking FROM (
        SELECT o.currency, sum(o.amount_minor + o.fee_minor - app.amount_in(kept, o.id)) AS needed,
            (SELECT coalesce(sum(app.frozen_minor(f.id)), 0) FROM app.restriction f WHERE f.subject_id = owner
                AND f.currency = o.currency AND f.lifted_at IS NULL)
            + (SELECT coalesce(sum((t.value->>'amount')::bigint), 0) FROM jsonb_array_elements(m.postings) t
                WHERE t.value->>'kind' = 'freeze' AND t.value->>'currency' = o.currency) AS taken
        FROM app.payout o JOIN app.restriction r ON r.id = o.stopped_by AND r.lifted_at IS NULL
        WHERE coalesce(o.user_id, o.merchant_id) = owner AND app.is_unsent(o) GROUP BY o.currency) x;
    FOR p IN SELECT o.* FROM app.payout o JOIN app.restriction r ON r.id = o.stopped_by AND r.lifted_at IS NULL
            WHERE coalesce(o.user_id, o.merchant_id) = owner AND app.is_unsent(o) ORDER BY o.accepted_at, o.id LOOP
        part := least(app.amount_in(lacking, p.currency), p.amount_minor + p.fee_minor - app.amount_in(kept, p.id));
        CONTINUE WHEN part <= 0;
        kept := kept || jsonb_build_object(p.id, app.amount_in(kept, p.id) + part);
        lacking := lacking || jsonb_build_object(p.currency, app.amount_in(lacking, p.currency) - part);
    END LOOP;
    RETURN kept;
END $$;

-- Everything above for one owner, in one posting.
CREATE FUNCTION app.rearrange_funds(owner text, at timestamptz, actor text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    m app.purse;
    r app.restriction;
    kept jsonb;
    accounts text[];
    payouts text[];
    refused record;
BEGIN
    SELECT coalesce(array_agg(o.id), '{}') INTO payouts FROM app.payout o WHERE coalesce(o.user_id, o.merchant_id) = owner
        AND o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled');
    payouts := payouts || ARRAY(SELECT o.id FROM app.payout o
        WHERE o.rest_hold IS NOT NULL AND coalesce(o.user_id, o.merchant_id) = owner);
    PERFORM 1 FROM app.payout o WHERE o.id = ANY (payouts) ORDER BY o.id FOR NO KEY UPDATE;
    PERFORM app.lock_freezes(owner);
    SELECT array_agg(DISTINCT c.code) INTO accounts FROM (
        SELECT unnest(app.accounts_of(owner, x.currency) || ('frozen:' || owner || ':' || x.currency)) AS code
            FROM app.restriction x WHERE x.subject_id = owner AND x.amount_minor IS NOT NULL
        UNION SELECT unnest(ARRAY[app.reserve_of(o), 'fee_income:' || o.currency])
            FROM app.payout o WHERE o.id = ANY (payouts)) c;
    -- All that is touched below, in the order of accounts, before anything is read of it.
    PERFORM 1 FROM ledger.balance b WHERE b.account_id IN (SELECT a.id FROM ledger.account a WHERE a.code = ANY (accounts))
        ORDER BY b.account_id FOR NO KEY UPDATE;
    SELECT '{}', coalesce(jsonb_object_agg(a.code, b.posted - b.held), '{}'), '[]' INTO m
        FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        WHERE a.code = ANY (accounts) AND a.kind IN ('user', 'merchant_available', 'merchant_pending', 'reserve');
    SELECT coalesce(jsonb_object_agg(o.id, t.amount), '{}') INTO kept FROM app.payout o
        JOIN ledger.transfer t ON t.key = o.rest_hold WHERE o.id = ANY (payouts) AND app.is_unsent(o);
    m := app.let_go_of_ended(m, owner, at);
    FOR r IN SELECT x.* FROM app.restriction x WHERE x.subject_id = owner AND x.amount_minor IS NOT NULL
            AND x.lifted_at IS NULL ORDER BY x.placed_at, x.id LOOP
        m := app.fill_freeze(m, r, at, actor);
    END LOOP;
    -- What a freeze has just left of a payout's holds is kept for that payout.
    kept := kept || coalesce((SELECT jsonb_object_agg(o.id, o.amount_minor + o.fee_minor - (
            SELECT (t.value->>'amount')::bigint FROM jsonb_array_elements(m.postings) t
            WHERE t.value->>'reference' = o.id AND t.value->>'kind' = 'freeze'))
        FROM app.payout o WHERE o.id IN (
            SELECT t.value->>'reference' FROM jsonb_array_elements(m.postings) t WHERE t.value->>'kind' = 'freeze')), '{}');
    m := app.serve_stopped(m, owner, app.due_to_stopped(m, owner, kept), at, actor);
    IF m.postings = '[]' THEN RETURN; END IF;
    SELECT l.* INTO refused FROM ledger.apply((
        SELECT jsonb_agg(jsonb_build_object('item', x.n, 'transfers', x.transfers) ORDER BY x.n) FROM (
            SELECT (t.at - 1) / 90 AS n, jsonb_agg(t.value ORDER BY t.at) AS transfers
            FROM jsonb_array_elements(m.postings) WITH ORDINALITY t (value, at) GROUP BY 1) x)) l
        WHERE l.error IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the ledger refused to rearrange the funds of %: % %', owner, refused.error, refused.detail;
    END IF;
END $$;
