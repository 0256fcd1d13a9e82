-- Writing. ledger.apply takes a batch of items; each item is a list of transfers that happen all or not at all, one bad
-- item hurts no other, and every transfer is idempotent by its key.
--
-- Locks are taken once, for all accounts of the batch, in the order of account ids. A caller locks rows of its own
-- before, and calls ledger.apply once in a transaction: a second call would take locks out of order.

-- One transfer of a batch, checked as far as it can be without locks.
-- A debit changes the debited account by debit_sign * amount, in that account's normal side; a credit likewise.
CREATE TYPE ledger.request AS (
    item_at int, transfer_at int, sequence int,
    action text, key text, kind text, direction text,
    debit_account_id bigint, debit_sign int, credit_account_id bigint, credit_sign int,
    currency text, amount bigint, hold_id bigint, hold_amount bigint,
    instruction text, reference text, booked_at timestamptz, fingerprint bytea,
    error text, detail jsonb
);

-- What makes a transfer the same as another of the same key. The moment of booking is left out: the first one stands.
CREATE FUNCTION ledger.fingerprint(
    action text, kind text, direction text, debit_account_id bigint, credit_account_id bigint,
    currency text, amount bigint, hold_id bigint, instruction text, reference text
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(
        action || '|' || kind || '|' || direction || '|' || debit_account_id::text || '|' || credit_account_id::text
        || '|' || currency || '|' || amount::text || '|' || coalesce(hold_id::text, '') || '|' || instruction
        || '|' || coalesce(reference, ''), 'UTF8'))
$$;

-- The first field of a transfer that does not have its shape; NULL when all have. Amounts are looked at apart.
CREATE FUNCTION ledger.wrong_field(body jsonb) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN jsonb_typeof(body) <> 'object' THEN 'transfer'
        WHEN NOT ledger.is_reference(body->>'key') THEN 'key'
        WHEN body->>'reference' IS NOT NULL AND NOT ledger.is_reference(body->>'reference') THEN 'reference'
        WHEN NOT coalesce(body->>'booked_at' ~ '^\d\d\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$'
                          AND pg_input_is_valid(body->>'booked_at', 'timestamptz'), false) THEN 'booked_at'
        WHEN body->>'action' IN ('post', 'hold') THEN CASE
            WHEN NOT ledger.kind_is_known(body->>'kind') THEN 'kind'
            WHEN NOT coalesce(body->>'direction' IN ('in', 'out', 'internal'), false) THEN 'direction'
            WHEN NOT ledger.is_reference(body->>'instruction') THEN 'instruction'
            WHEN ledger.kind_needs_reference(body->>'kind') AND body->>'reference' IS NULL THEN 'reference'
            WHEN body->>'debit' IS NULL OR body->>'debit' = body->>'credit' THEN 'debit'
            WHEN body->>'credit' IS NULL THEN 'credit'
            WHEN body->>'currency' IS NULL THEN 'currency'
            WHEN body - ARRAY['action', 'key', 'kind', 'direction', 'debit', 'credit', 'currency', 'amount',
                              'instruction', 'reference', 'booked_at'] <> '{}' THEN 'unknown_field'
        END
        WHEN body->>'action' IN ('post_hold', 'release_hold') THEN CASE
            WHEN NOT ledger.is_reference(body->>'hold') THEN 'hold'
            WHEN body->>'instruction' IS NOT NULL AND NOT ledger.is_reference(body->>'instruction')
                THEN 'instruction'
            WHEN body - ARRAY['action', 'key', 'hold', 'amount', 'instruction', 'reference', 'booked_at'] <> '{}'
                THEN 'unknown_field'
        END
        ELSE 'action'
    END
$$;

-- Whether the amount is a whole number of minor units in range. It may be left out to post a hold in full.
CREATE FUNCTION ledger.amount_is_valid(body jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN coalesce(jsonb_typeof(body->'amount'), 'null') = 'null' THEN body->>'action' IN ('post_hold', 'release_hold')
        WHEN body->>'action' = 'release_hold' THEN false
        WHEN jsonb_typeof(body->'amount') = 'number' AND body->>'amount' !~ '[^0-9]' AND length(body->>'amount') <= 14
            THEN (body->>'amount')::bigint BETWEEN 1 AND 10000000000000
        ELSE false
    END
$$;

-- Reads a batch and finds its accounts and holds. Never raises for what an item holds. LIMIT 1 keeps the planner at
-- index look-ups whatever the tables' sizes; OFFSET 0 keeps it from computing the same thing many times.
CREATE FUNCTION ledger.resolve(items jsonb) RETURNS SETOF ledger.request LANGUAGE sql STABLE AS $$
    SELECT f.item_at, f.transfer_at, f.sequence, f.action, f.key, f.kind, f.direction,
        f.debit_account_id, f.debit_sign, f.credit_account_id, f.credit_sign, f.currency, f.amount,
        f.hold_id, f.hold_amount, f.instruction, f.reference,
        CASE WHEN f.wrong IS NULL THEN (f.body->>'booked_at')::timestamptz END,
        ledger.fingerprint(f.action, f.kind, f.direction, f.debit_account_id, f.credit_account_id,
                           f.currency, f.amount, f.hold_id, f.instruction, f.reference),
        f.error,
        CASE f.error
            WHEN 'invalid_transfer' THEN jsonb_build_object('field', f.wrong)
            WHEN 'account_not_found' THEN jsonb_build_object(
                'account', left(f.body->>CASE WHEN f.debit_account_id IS NULL THEN 'debit' ELSE 'credit' END, 100))
            WHEN 'currency_mismatch' THEN jsonb_build_object(
                'account', f.body->>CASE WHEN f.debit_currency <> f.currency THEN 'debit' ELSE 'credit' END)
            WHEN 'hold_not_found' THEN jsonb_build_object('hold', f.body->>'hold')
            WHEN 'amount_exceeds_hold' THEN jsonb_build_object('hold', f.body->>'hold')
        END
    FROM (
        SELECT t.body, t.wrong, t.item_at, t.transfer_at,
            (row_number() OVER (ORDER BY t.item_at, t.transfer_at))::int AS sequence,
            t.body->>'action' AS action, t.body->>'key' AS key,
            coalesce(h.kind, t.body->>'kind') AS kind, coalesce(h.direction, t.body->>'direction') AS direction,
            coalesce(h.debit_account_id, d.id) AS debit_account_id,
            CASE coalesce(h.debit_side, d.normal_side) WHEN 'debit' THEN 1 ELSE -1 END AS debit_sign,
            coalesce(h.credit_account_id, c.id) AS credit_account_id,
            CASE coalesce(h.credit_side, c.normal_side) WHEN 'credit' THEN 1 ELSE -1 END AS credit_sign,
            d.currency AS debit_currency, coalesce(h.currency, t.body->>'currency') AS currency,
            coalesce(t.amount, h.amount) AS amount, h.id AS hold_id, h.amount AS hold_amount,
            coalesce(t.body->>'instruction', h.instruction) AS instruction,
            coalesce(t.body->>'reference', h.reference) AS reference,
            CASE
                WHEN t.transfer_at > 100 THEN 'too_many_transfers'
                WHEN t.wrong IS NOT NULL THEN 'invalid_transfer'
                WHEN NOT t.amount_is_valid THEN 'invalid_amount'
                WHEN t.body->>'action' IN ('post_hold', 'release_hold') THEN CASE
                    WHEN h.id IS NULL THEN 'hold_not_found'
                    WHEN t.amount > h.amount THEN 'amount_exceeds_hold'
                END
                WHEN d.id IS NULL OR c.id IS NULL THEN 'account_not_found'
                WHEN d.currency <> t.body->>'currency' OR c.currency <> t.body->>'currency' THEN 'currency_mismatch'
            END AS error
        FROM (
            SELECT s.*, CASE WHEN s.wrong IS NULL AND s.amount_is_valid THEN (s.body->>'amount')::bigint END AS amount
            FROM (
                SELECT i.at::int AS item_at, u.at::int AS transfer_at, u.body,
                    ledger.wrong_field(u.body) AS wrong, ledger.amount_is_valid(u.body) AS amount_is_valid
                FROM jsonb_array_elements(items) WITH ORDINALITY AS i (body, at)
                CROSS JOIN LATERAL jsonb_array_elements(
                    CASE jsonb_typeof(i.body->'transfers') WHEN 'array' THEN i.body->'transfers' ELSE '[null]' END
                ) WITH ORDINALITY AS u (body, at)
                OFFSET 0
            ) s
            OFFSET 0
        ) t
        LEFT JOIN LATERAL (
            SELECT id, currency, normal_side FROM ledger.account WHERE code = t.body->>'debit' LIMIT 1
        ) d ON true
        LEFT JOIN LATERAL (
            SELECT id, currency, normal_side FROM ledger.account WHERE code = t.body->>'credit' LIMIT 1
        ) c ON true
        LEFT JOIN LATERAL (
            SELECT o.*, (SELECT normal_side FROM ledger.account WHERE id = o.debit_account_id) AS debit_side,
                (SELECT normal_side FROM ledger.account WHERE id = o.credit_account_id) AS credit_side
            FROM ledger.transfer o
            WHERE o.key = t.body->>'hold' AND o.action = 'hold' AND t.wrong IS NULL LIMIT 1
        ) h ON true
        OFFSET 0
    ) f
$$;

-- What a transfer does to one of its two accounts: to what is posted, and to what is held.
CREATE FUNCTION ledger.posted_change(action text, sign int, amount bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN action IN ('post', 'post_hold') THEN sign * amount ELSE 0 END
$$;

CREATE FUNCTION ledger.held_change(action text, sign int, amount bigint, hold_amount bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN sign > 0 OR action = 'post' THEN 0 WHEN action = 'hold' THEN amount ELSE -hold_amount END
$$;

-- Writes transfers in their sequence, all or none: a step that would take an account below zero, a key that exists
-- and a hold that has ended violate a constraint. The accounts are locked by the caller.
CREATE FUNCTION ledger.write(requests ledger.request[], recorded_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH leg AS (
        SELECT r.sequence, true AS is_debit, r.debit_account_id AS account_id,
            ledger.posted_change(r.action, r.debit_sign, r.amount) AS posted,
            ledger.held_change(r.action, r.debit_sign, r.amount, r.hold_amount) AS held
        FROM unnest(requests) r
        UNION ALL
        SELECT r.sequence, false, r.credit_account_id,
            ledger.posted_change(r.action, r.credit_sign, r.amount),
            ledger.held_change(r.action, r.credit_sign, r.amount, r.hold_amount)
        FROM unnest(requests) r
    ), running AS MATERIALIZED (
        SELECT leg.sequence, leg.is_debit, leg.account_id,
            (b.posted + sum(leg.posted) OVER step)::bigint AS posted,
            (b.held + sum(leg.held) OVER step)::bigint AS held,
            b.version + row_number() OVER step AS version,
            leg.sequence = max(leg.sequence) OVER (PARTITION BY leg.account_id) AS is_last
        FROM leg JOIN ledger.balance b ON b.account_id = leg.account_id
        WINDOW step AS (PARTITION BY leg.account_id ORDER BY leg.sequence)
    ), after AS (
        SELECT sequence,
            max(posted) FILTER (WHERE is_debit) AS debit_posted, max(held) FILTER (WHERE is_debit) AS debit_held,
            max(version) FILTER (WHERE is_debit) AS debit_version,
            max(posted) FILTER (WHERE NOT is_debit) AS credit_posted,
            max(held) FILTER (WHERE NOT is_debit) AS credit_held,
            max(version) FILTER (WHERE NOT is_debit) AS credit_version
        FROM running GROUP BY sequence
    ), changed AS (
        UPDATE ledger.balance b
        SET posted = running.posted, held = running.held, version = running.version, changed_at = write.recorded_at
        FROM running WHERE running.is_last AND b.account_id = running.account_id
    )
    INSERT INTO ledger.transfer (
        recorded_at, booked_at, amount, hold_id, debit_account_id, debit_version, debit_posted_after,
        debit_held_after, credit_account_id, credit_version, credit_posted_after, credit_held_after,
        action, kind, direction, currency, key, instruction, reference, fingerprint)
    SELECT write.recorded_at, r.booked_at, r.amount, r.hold_id, r.debit_account_id, a.debit_version, a.debit_posted,
        a.debit_held, r.credit_account_id, a.credit_version, a.credit_posted, a.credit_held,
        r.action, r.kind, r.direction, r.currency, r.key, r.instruction, r.reference, r.fingerprint
    FROM unnest(requests) r JOIN after a ON a.sequence = r.sequence
    ORDER BY r.sequence;
END
$$;

-- Why a transfer that resolves cannot be written now; no row when it can.
CREATE FUNCTION ledger.obstacle(request ledger.request) RETURNS TABLE (error text, detail jsonb)
LANGUAGE sql VOLATILE AS $$
    WITH leg AS (
        SELECT side.at, a.code, b.posted, b.held, b.closed_at,
            ledger.posted_change(request.action, side.sign, request.amount) AS posted_change,
            ledger.held_change(request.action, side.sign, request.amount, request.hold_amount) AS held_change
        FROM (VALUES (1, request.debit_account_id, request.debit_sign),
                     (2, request.credit_account_id, request.credit_sign)) AS side (at, account_id, sign)
        JOIN ledger.account a ON a.id = side.account_id
        JOIN ledger.balance b ON b.account_id = side.account_id
    )
    SELECT found.error, found.detail FROM (
        SELECT 1 AS rank, 'hold_already_ended' AS error, '{}'::jsonb AS detail
        WHERE EXISTS (SELECT FROM ledger.transfer t WHERE t.hold_id = request.hold_id)
        UNION ALL
        SELECT 1 + at, 'account_closed', jsonb_build_object('account', code)
        FROM leg WHERE closed_at IS NOT NULL AND request.action <> 'release_hold'
        UNION ALL
        SELECT 3 + at, 'insufficient_funds', jsonb_build_object('account', code)
        FROM leg WHERE posted + posted_change < held + held_change
    ) found ORDER BY found.rank LIMIT 1
$$;

CREATE FUNCTION ledger.refuse(error text, detail jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'LG001', MESSAGE = error, DETAIL = detail::text;
END
$$;

-- Applies one transfer, or raises LG001 with the code of what is wrong. Says whether it was there already.
CREATE FUNCTION ledger.apply_transfer(transfer jsonb, at int, recorded_at timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    request ledger.request;
    known bytea;
    moment timestamptz;
    place jsonb := jsonb_build_object('transfer', at, 'key', left(transfer->>'key', 100));
    error text;
    detail jsonb;
BEGIN
    SELECT * INTO request FROM ledger.resolve(
        jsonb_build_array(jsonb_build_object('transfers', jsonb_build_array(transfer))));
    IF request.error = 'invalid_transfer' THEN
        PERFORM ledger.refuse(request.error, place || request.detail);
    END IF;
    SELECT t.fingerprint INTO known FROM ledger.transfer t WHERE t.key = request.key;
    IF FOUND AND known IS NOT DISTINCT FROM request.fingerprint THEN
        RETURN true;
    ELSIF FOUND THEN
        PERFORM ledger.refuse('key_reused', place);
    ELSIF request.error IS NOT NULL THEN
        PERFORM ledger.refuse(request.error, place || coalesce(request.detail, '{}'));
    END IF;
    -- Locked already, unless the hold to end was committed after the batch was read.
    SELECT max(locked.changed_at) INTO moment FROM (
        SELECT b.changed_at FROM ledger.balance b
        WHERE b.account_id IN (request.debit_account_id, request.credit_account_id)
        ORDER BY b.account_id FOR NO KEY UPDATE
    ) locked;
    SELECT o.error, o.detail INTO error, detail FROM ledger.obstacle(request) o;
    IF FOUND THEN
        PERFORM ledger.refuse(error, place || detail);
    END IF;
    request.sequence := 1;
    PERFORM ledger.write(ARRAY[request], greatest(moment, recorded_at));
    RETURN false;
END
$$;

-- Applies one item, or raises LG001. Transfers are looked at one by one: a later one may end a hold of an earlier one.
-- Says whether every transfer was there already.
CREATE FUNCTION ledger.apply_item(item jsonb, recorded_at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    replayed boolean := true;
    was_there boolean;
BEGIN
    IF jsonb_typeof(item->'transfers') IS DISTINCT FROM 'array' THEN
        PERFORM ledger.refuse('invalid_transfer', '{"field": "transfers"}');
    ELSIF jsonb_array_length(item->'transfers') > 100 THEN
        PERFORM ledger.refuse('too_many_transfers', '{}');
    END IF;
    FOR at IN 0 .. jsonb_array_length(item->'transfers') - 1 LOOP
        -- A statement of its own: AND does not promise to evaluate both of its sides.
        was_there := ledger.apply_transfer(item->'transfers'->at, at, recorded_at);
        replayed := replayed AND was_there;
    END LOOP;
    RETURN replayed AND jsonb_array_length(item->'transfers') > 0;
END
$$;

-- Applies item by item, each in a subtransaction of its own.
CREATE FUNCTION ledger.apply_each(items jsonb, recorded_at timestamptz)
RETURNS TABLE (item int, error text, detail jsonb) LANGUAGE plpgsql AS $$
DECLARE
    body jsonb;
    text_detail text;
BEGIN
    FOR body IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (body->>'item')::int;
        FOR attempt IN 1 .. 3 LOOP
            error := NULL;
            detail := NULL;
            BEGIN
                IF ledger.apply_item(body, recorded_at) THEN
                    detail := '{"replayed": true}';
                END IF;
                EXIT;
            EXCEPTION
                WHEN SQLSTATE 'LG001' THEN
                    GET STACKED DIAGNOSTICS error = MESSAGE_TEXT, text_detail = PG_EXCEPTION_DETAIL;
                    detail := text_detail::jsonb;
                    EXIT;
                WHEN numeric_value_out_of_range THEN
                    error := 'balance_out_of_range';
                    EXIT;
                WHEN unique_violation THEN
                    -- Another transaction has just committed the same key: look again, and see it.
                    error := 'key_reused';
            END;
        END LOOP;
        RETURN NEXT;
    END LOOP;
END
$$;

-- The ledger's one door, for functions that run as the owner. Items are
--   [{"item": 0, "transfers": [{"action": "post", …}, …]}, …]
-- and every item is answered: error NULL means all its transfers are in the ledger; detail {"replayed": true} means
-- that they were there before. The whole batch is written at once; only when something in it does not fit, item by
-- item, with the same outcome as if it had been item by item from the start.
CREATE FUNCTION ledger.apply(items jsonb, set_based boolean DEFAULT true)
RETURNS TABLE (item int, error text, detail jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requests ledger.request[];
    moment timestamptz;
    some_closed boolean;
BEGIN
    SELECT coalesce(array_agg(r ORDER BY r.sequence), '{}') INTO requests FROM ledger.resolve(items) r;
    SELECT max(locked.changed_at), bool_or(locked.closed_at IS NOT NULL) INTO moment, some_closed FROM (
        SELECT b.changed_at, b.closed_at FROM ledger.balance b
        WHERE b.account_id = ANY (ARRAY(
            SELECT r.debit_account_id FROM unnest(requests) r UNION SELECT r.credit_account_id FROM unnest(requests) r))
        ORDER BY b.account_id FOR NO KEY UPDATE
    ) locked;
    -- Taken while the locks are held, and never before the last: an account's history is in the order of its versions.
    moment := greatest(moment, clock_timestamp());
    IF set_based AND some_closed IS NOT TRUE
       AND NOT EXISTS (SELECT FROM unnest(requests) r WHERE r.error IS NOT NULL) THEN
        BEGIN
            PERFORM ledger.write(requests, moment);
            RETURN QUERY SELECT (i.body->>'item')::int, NULL::text, NULL::jsonb FROM jsonb_array_elements(items) i (body);
            RETURN;
        EXCEPTION WHEN unique_violation OR check_violation OR numeric_value_out_of_range THEN
            NULL; -- Item by item, then.
        END;
    END IF;
    RETURN QUERY SELECT e.item, e.error, e.detail FROM ledger.apply_each(items, moment) e;
END
$$;

-- ledger.apply in the form of a batched function, for the benchmark and the tests, as the owner. The application has
-- no right to it: its money moves inside a settlement only.
CREATE FUNCTION ledger.apply_batch(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.item, CASE
        WHEN a.error IS NULL THEN jsonb_build_object('ok', true) || coalesce(a.detail, '{}')
        ELSE jsonb_build_object('ok', false, 'error', a.error, 'detail', a.detail)
    END
    FROM ledger.apply(items) a
$$;
