-- What a merchant sees of a payee and of a payout, the transfers that a payout's row comes to, and how a payout ends without
-- money having left. The books compute a payout's transfers from its row: no process says what moves.

CREATE FUNCTION app.payee_view(y app.payee) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', y.id, 'object', 'payee', 'user_id', y.user_id, 'relation', y.relation, 'holder_type', y.holder_type,
        'region', y.region, 'bank_id_kind', y.bank_id_kind, 'bank_id', y.bank_id, 'account_last4', y.account_last4,
        'name_match', y.name_match, 'state', y.state, 'created_at', app.instant(y.created_at),
        'removed_at', app.instant(y.removed_at));

-- Nothing of what rules, lists or reviewers thought of it (L5), and nothing of the queue it stands in.
CREATE FUNCTION app.payout_view(p app.payout) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', p.id, 'object', 'payout', 'user_id', p.user_id, 'payee_id', p.payee_id, 'kind', p.kind,
        'order_number', p.order_number, 'region', p.region, 'route', p.route, 'bank_code', p.bank_code,
        'amount_minor', p.amount_minor, 'currency', p.currency, 'fee_minor', p.fee_minor, 'fee_rule', p.fee_rule,
        'speed', p.speed, 'confirmation_hash', p.confirmation_hash, 'agreement_version', p.agreement_version,
        'origin', p.origin, 'mandate_reference', p.mandate_reference,
        'state', p.state, 'reason', p.reason, 'state_since', app.instant(p.state_since),
        'accepted_at', app.instant(p.accepted_at),
        'confirmation', CASE WHEN p.confirmation_deadline IS NOT NULL THEN jsonb_build_object(
            'grounds', to_jsonb(p.confirmation_grounds), 'deadline', app.instant(p.confirmation_deadline),
            'confirmed_at', app.instant(p.confirmed_at)) END,
        'predicted_arrival', CASE WHEN p.predicted_arrival_at IS NOT NULL THEN jsonb_build_object(
            'at', app.instant(p.predicted_arrival_at), 'provisional', p.arrival_provisional) END,
        'cool_until', CASE WHEN p.state = 'cooling_off' THEN app.instant(p.cool_until) END,
        'bank_reference', p.bank_reference, 'booked_at', app.instant(p.booked_at),
        'return', CASE WHEN p.state = 'returned' THEN jsonb_build_object(
            'reference', p.return_reference, 'at', app.instant(p.returned_at)) END,
        'report_path', '/v1/users/' || p.user_id || '/reports',
        'waiting_for', app.waiting_for(p.wait_reason, p.state_since, p.wait_until, p.wait_deadline));

-- One transfer or hold of a payout, for ledger.apply.
CREATE FUNCTION app.payout_movement(
    p app.payout, action text, key text, kind text, direction text, debit text, credit text, amount bigint, at timestamptz
) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_array(jsonb_build_object('action', action, 'key', key, 'kind', kind, 'direction', direction,
        'debit', debit, 'credit', credit, 'currency', p.currency, 'amount', amount, 'instruction', p.id,
        'reference', p.id, 'booked_at', app.instant(at)));

-- What moves when a payout is held, posted (it succeeded), released (nothing left) or returned. A freeze that took the holds
-- has released them, so that then there is nothing to end. The fee comes first: what the user lacks is found before what
-- the bank lacks.
CREATE FUNCTION app.payout_transfers(p app.payout, what text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN what = 'hold' THEN
            CASE WHEN p.fee_minor > 0 THEN app.payout_movement(p, 'hold', p.id || ':hold:' || p.hold_number || ':fee', 'fee',
                'internal', p.source_account, 'fee_income:' || p.currency, p.fee_minor, at) ELSE '[]' END
            || app.payout_movement(p, 'hold', p.id || ':hold:' || p.hold_number, 'payout', 'out', p.source_account,
                'reserve:' || p.bank_code || ':' || p.currency, p.amount_minor, at)
        WHEN what = 'return' THEN
            app.payout_movement(p, 'post', p.id || ':return', 'payout_return', 'in',
                'reserve:' || p.bank_code || ':' || p.currency, p.source_account, p.amount_minor, at)
        WHEN p.stopped_by IS NULL THEN (
            SELECT jsonb_agg(jsonb_build_object('action', what || '_hold', 'key', h.key || ':' || what, 'hold', h.key,
                'instruction', p.id, 'reference', p.id, 'booked_at', app.instant(at)) ORDER BY h.key)
            FROM (SELECT p.id || ':hold:' || p.hold_number AS key
                  UNION ALL SELECT p.id || ':hold:' || p.hold_number || ':fee' WHERE p.fee_minor > 0) h)
        ELSE '[]' END;

-- The windows that payouts took, in the order in which acceptances take them. Windows come before the ledger's balances.
CREATE FUNCTION app.lock_payout_limits(ids text[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM app.limit_usage u WHERE (u.subject, u.window_kind, u.window_start, u.currency) IN (
            SELECT r.subject, r.window_kind, r.window_start, p.currency FROM app.payout p
            CROSS JOIN LATERAL jsonb_to_recordset(p.limit_reservations) AS r(subject text, window_kind text, window_start date)
            WHERE p.id = ANY (ids))
        ORDER BY u.subject, u.window_kind, u.window_start, u.currency FOR UPDATE;
END $$;

-- Gives back what payouts took of their limits, once; the caller writes down that it has been done.
CREATE FUNCTION app.release_payout_limits(ids text[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.limit_usage u SET used_minor = u.used_minor - x.total
        FROM (SELECT r.subject, r.window_kind, r.window_start, p.currency, sum(p.amount_minor) AS total
              FROM app.payout p
              CROSS JOIN LATERAL jsonb_to_recordset(p.limit_reservations)
                  AS r(subject text, window_kind text, window_start date)
              WHERE p.id = ANY (ids) AND NOT p.limits_released
              GROUP BY 1, 2, 3, 4) x
        WHERE (u.subject, u.window_kind, u.window_start, u.currency)
            = (x.subject, x.window_kind, x.window_start, x.currency);
END $$;

-- Takes the locks of a payout in everybody's order and answers its row as it is then; all NULL if there is none.
CREATE FUNCTION app.lock_payout(payout_id text) RETURNS app.payout LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    p app.payout;
BEGIN
    SELECT * INTO p FROM app.payout WHERE id = payout_id;
    PERFORM 1 FROM app.merchant m WHERE m.id = p.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = p.user_id FOR NO KEY UPDATE;
    SELECT * INTO p FROM app.payout WHERE id = payout_id FOR NO KEY UPDATE;
    RETURN p;
END $$;

-- Tells the merchant: an event with the next number, and the payout as it is now.
CREATE FUNCTION app.tell_of_payout(p app.payout, event text, at timestamptz) RETURNS app.payout LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.payout n SET event_sequence = n.event_sequence + 1 WHERE n.id = p.id RETURNING n.* INTO p;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (p.merchant_id, p.id, p.event_sequence, event, at, app.payout_view(p));
    RETURN p;
END $$;

-- Puts what was done with a payout on record and, with an event, tells the merchant. Answers the row as it is then.
CREATE FUNCTION app.note_payout(p app.payout, event text, at timestamptz, actor text, action text, why text)
RETURNS app.payout LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        VALUES (at, actor, action, CASE p.state WHEN 'failed' THEN 'failed' WHEN 'refused' THEN 'refused'
            WHEN 'closed' THEN 'abandoned' WHEN 'unknown' THEN 'unknown' ELSE 'done' END, why, p.id, p.merchant_id);
    IF event IS NULL THEN RETURN p; END IF;
    RETURN app.tell_of_payout(p, event, at);
END $$;

-- Ends a payout of which nothing was sent: failed, refused or closed. What is held is free again, in one posting, and a freeze
-- that still lacks money takes of it; the limits are given back once. One that has ended stays as it is.
-- Raises LS001 'already_sent' once it was claimed: then the bank alone says how it ends.
CREATE FUNCTION app.end_payout(p app.payout, new_state text, why text, at timestamptz, actor text, event text)
RETURNS app.payout LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    s app.settlement;
    transfers jsonb;
    failed record;
BEGIN
    p := app.lock_payout(p.id);
    IF p.state IN ('succeeded', 'returned', 'failed', 'refused', 'closed') THEN RETURN p; END IF;
    IF p.claimed_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'already_sent', DETAIL = p.id;
    END IF;
    IF new_state IS NULL OR new_state NOT IN ('failed', 'refused', 'closed') THEN
        RAISE EXCEPTION 'not an end of a payout that was not sent: %', new_state;
    END IF;
    PERFORM app.lock_payout_limits(ARRAY[p.id]);
    PERFORM app.release_payout_limits(ARRAY[p.id]);
    s.item := 0; s.kind := 'payout'; s.id := p.id; s.state := new_state; s.at := at;
    transfers := app.transfers_with_freezes(s, app.payout_transfers(p, 'release', at));
    IF transfers <> '[]' THEN
        SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', transfers)));
        IF failed.error IS NOT NULL THEN
            RAISE EXCEPTION 'the ledger refused the end of %: % %', p.id, failed.error, failed.detail;
        END IF;
    END IF;
    UPDATE app.payout n SET state = new_state, state_since = at, reason = why, wait_reason = NULL, wait_until = NULL,
        wait_deadline = NULL, limits_released = true, process_started_at = coalesce(n.process_started_at, at)
        WHERE n.id = p.id RETURNING n.* INTO p;
    RETURN app.note_payout(p, event, at, actor, 'end_payout', why);
END $$;
