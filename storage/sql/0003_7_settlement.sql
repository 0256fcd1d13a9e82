-- The settlement: postings, new state, operation record and outgoing event of many instructions in one round trip.
-- Set-based: a batch costs a handful of statements, however many items it has. Each item is all or nothing, and is
-- known by its operation key, so that the same settlement sent again answers what it answered first.

CREATE TYPE app.settlement AS (
    item int, key text, kind text, id text, expect text[], state text, at timestamptz, actor text, action text,
    outcome text, reason text, raw_code text, bank_reference text, booked_at timestamptz, corrected boolean,
    wait_reason text, wait_until timestamptz, wait_deadline timestamptz,
    code_request_number text, code_sent_at timestamptz, code_expires_at timestamptz,
    release_limits boolean, effect_number text, effect_outcome text, event_type text, transfers jsonb
);
CREATE TYPE app.judgement AS (item int, verdict text, found_state text);

CREATE FUNCTION app.settle(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    batch app.settlement[];
    going app.settlement[];
    judged app.judgement[];
    unpostable jsonb := '{}';
    to_post jsonb;
BEGIN
    SELECT array_agg(s ORDER BY s.item) INTO batch FROM jsonb_populate_recordset(NULL::app.settlement, items) s;

    -- One order of locks: payments, users (whose limits are released), refunds, bindings; each by id.
    PERFORM 1 FROM app.payment p WHERE p.id IN (
            SELECT s.id FROM unnest(batch) s WHERE s.kind = 'payment'
            UNION SELECT r.payment_id FROM app.refund r JOIN unnest(batch) s ON s.kind = 'refund' AND s.id = r.id)
        ORDER BY p.id FOR NO KEY UPDATE;
    IF EXISTS (SELECT 1 FROM unnest(batch) s WHERE s.release_limits) THEN
        PERFORM 1 FROM app.end_user u WHERE u.id IN (
                SELECT p.user_id FROM app.payment p JOIN unnest(batch) s ON s.release_limits AND s.id = p.id)
            ORDER BY u.id FOR NO KEY UPDATE;
    END IF;
    PERFORM 1 FROM app.refund r WHERE r.id IN (SELECT s.id FROM unnest(batch) s WHERE s.kind = 'refund')
        ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM app.binding b WHERE b.id IN (SELECT s.id FROM unnest(batch) s WHERE s.kind = 'binding')
        ORDER BY b.id FOR NO KEY UPDATE;

    SELECT array_agg(ROW(j.item, j.verdict, j.state)::app.judgement) INTO judged FROM (
        SELECT s.item, c.state, CASE
            WHEN EXISTS (SELECT 1 FROM app.operation o WHERE o.key = s.key) THEN 'replayed'
            WHEN c.state IS NULL THEN 'not_found'
            WHEN NOT c.state = ANY (s.expect) THEN 'state_conflict'
            -- A payment that fails while its code is awaited fails by a resent code; the first may be right all the same.
            WHEN (s.state IN ('closed', 'expired', 'declined') OR s.state = 'failed' AND c.state = 'awaiting_code')
                AND EXISTS (
                SELECT 1 FROM app.code_attempt a WHERE a.subject_id = s.id AND a.verdict IS NULL) THEN 'code_attempt_open'
            WHEN row_number() OVER (PARTITION BY s.id ORDER BY s.item) > 1 THEN 'try_again'
            ELSE 'go' END AS verdict
        FROM unnest(batch) s
        LEFT JOIN LATERAL (
            SELECT p.state FROM app.payment p WHERE s.kind = 'payment' AND p.id = s.id
            UNION ALL SELECT r.state FROM app.refund r WHERE s.kind = 'refund' AND r.id = s.id
            UNION ALL SELECT b.state FROM app.binding b WHERE s.kind = 'binding' AND b.id = s.id) c ON true) j;

    SELECT jsonb_agg(jsonb_build_object('item', s.item, 'transfers', s.transfers) ORDER BY s.item) INTO to_post
        FROM unnest(batch) s JOIN unnest(judged) j ON j.item = s.item AND j.verdict = 'go'
        WHERE jsonb_array_length(coalesce(s.transfers, '[]')) > 0;
    IF to_post IS NOT NULL THEN
        SELECT coalesce(jsonb_object_agg(l.item, l.error), '{}') INTO unpostable
            FROM ledger.apply(to_post) l WHERE l.error IS NOT NULL;
    END IF;
    SELECT array_agg(s ORDER BY s.item) INTO going
        FROM unnest(batch) s JOIN unnest(judged) j ON j.item = s.item AND j.verdict = 'go'
        WHERE NOT unpostable ? s.item::text;

    PERFORM app.settle_payments(going);
    PERFORM app.settle_refunds(going);
    PERFORM app.settle_bindings(going);
    UPDATE app.effect e SET outcome = s.effect_outcome, reason = s.reason, raw_code = s.raw_code,
            bank_reference = s.bank_reference, resolved_at = s.at
        FROM unnest(going) s WHERE e.request_number = s.effect_number AND e.outcome IS NULL;

    RETURN QUERY SELECT s.item, CASE
        WHEN unpostable ? s.item::text THEN jsonb_build_object('ok', false, 'error', unpostable->>(s.item::text))
        WHEN j.verdict IN ('go', 'replayed') THEN jsonb_build_object('ok', true, 'replayed', j.verdict = 'replayed',
            'state', CASE j.verdict WHEN 'go' THEN coalesce(s.state, j.found_state) ELSE j.found_state END)
        ELSE jsonb_build_object('ok', false, 'error', j.verdict, 'state', j.found_state) END
        FROM unnest(batch) s JOIN unnest(judged) j ON j.item = s.item;
END $$;

CREATE FUNCTION app.settle_payments(going app.settlement[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.limit_usage u SET used_minor = u.used_minor - x.total
        FROM (SELECT r.subject, r.window_kind, r.window_start, p.currency, sum(p.amount_minor) AS total
              FROM unnest(going) s JOIN app.payment p ON p.id = s.id AND s.release_limits AND NOT p.limits_released
              CROSS JOIN LATERAL jsonb_to_recordset(p.limit_reservations)
                  AS r(subject text, window_kind text, window_start date)
              GROUP BY 1, 2, 3, 4) x
        WHERE (u.subject, u.window_kind, u.window_start, u.currency)
            = (x.subject, x.window_kind, x.window_start, x.currency);
    WITH moved AS (
        UPDATE app.payment p SET
            state = coalesce(s.state, p.state),
            state_since = CASE WHEN coalesce(s.state, p.state) <> p.state THEN s.at ELSE p.state_since END,
            reason = coalesce(s.reason, p.reason),
            raw_code = coalesce(s.raw_code, p.raw_code),
            bank_reference = coalesce(s.bank_reference, p.bank_reference), booked_at = coalesce(s.booked_at, p.booked_at),
            corrected_at = CASE WHEN s.corrected THEN s.at ELSE p.corrected_at END,
            wait_reason = s.wait_reason, wait_until = s.wait_until, wait_deadline = s.wait_deadline,
            code_request_number = coalesce(s.code_request_number, p.code_request_number),
            code_sent_at = coalesce(s.code_sent_at, p.code_sent_at),
            code_expires_at = coalesce(s.code_expires_at, p.code_expires_at),
            limits_released = p.limits_released OR coalesce(s.release_limits, false),
            event_sequence = p.event_sequence + (s.event_type IS NOT NULL)::int
        FROM unnest(going) s WHERE s.kind = 'payment' AND s.id = p.id
        RETURNING p AS row_
    ), recorded AS (
        INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        SELECT s.key, s.at, s.actor, s.action, s.outcome, s.reason, s.id, (m.row_).merchant_id,
               CASE WHEN s.effect_number IS NOT NULL THEN (m.row_).bank_code END, s.effect_number
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id
    )
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        SELECT (m.row_).merchant_id, (m.row_).id, (m.row_).event_sequence, s.event_type, s.at,
               app.payment_view(m.row_)
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id WHERE s.event_type IS NOT NULL;
END $$;

CREATE FUNCTION app.settle_refunds(going app.settlement[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.payment p SET
        refunding_minor = p.refunding_minor - x.amount,
        refunded_minor = p.refunded_minor + x.given,
        fee_refunding_minor = p.fee_refunding_minor - x.fee,
        fee_refunded_minor = p.fee_refunded_minor + x.fee_given
        FROM (SELECT r.payment_id, sum(r.amount_minor) AS amount, sum(r.fee_back_minor) AS fee,
                     coalesce(sum(r.amount_minor) FILTER (WHERE s.state = 'succeeded'), 0) AS given,
                     coalesce(sum(r.fee_back_minor) FILTER (WHERE s.state = 'succeeded'), 0) AS fee_given
              FROM unnest(going) s JOIN app.refund r ON s.kind = 'refund' AND r.id = s.id
              WHERE s.state IN ('succeeded', 'failed') GROUP BY r.payment_id) x
        WHERE p.id = x.payment_id;
    WITH moved AS (
        UPDATE app.refund r SET
            state = coalesce(s.state, r.state),
            state_since = CASE WHEN coalesce(s.state, r.state) <> r.state THEN s.at ELSE r.state_since END,
            reason = coalesce(s.reason, r.reason), raw_code = coalesce(s.raw_code, r.raw_code),
            bank_reference = coalesce(s.bank_reference, r.bank_reference), booked_at = coalesce(s.booked_at, r.booked_at),
            wait_reason = s.wait_reason, wait_until = s.wait_until, wait_deadline = s.wait_deadline,
            event_sequence = r.event_sequence + (s.event_type IS NOT NULL)::int
        FROM unnest(going) s WHERE s.kind = 'refund' AND s.id = r.id
        RETURNING r AS row_
    ), recorded AS (
        INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        SELECT s.key, s.at, s.actor, s.action, s.outcome, s.reason, s.id, (m.row_).merchant_id,
               CASE WHEN s.effect_number IS NOT NULL THEN (m.row_).bank_code END, s.effect_number
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id
    )
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        SELECT (m.row_).merchant_id, (m.row_).id, (m.row_).event_sequence, s.event_type, s.at,
               app.refund_view(m.row_)
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id WHERE s.event_type IS NOT NULL;
END $$;

CREATE FUNCTION app.settle_bindings(going app.settlement[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    WITH moved AS (
        UPDATE app.binding b SET
            state = coalesce(s.state, b.state),
            state_since = CASE WHEN coalesce(s.state, b.state) <> b.state THEN s.at ELSE b.state_since END,
            reason = coalesce(s.reason, b.reason), raw_code = coalesce(s.raw_code, b.raw_code),
            wait_reason = s.wait_reason, wait_until = s.wait_until, wait_deadline = s.wait_deadline,
            code_request_number = coalesce(s.code_request_number, b.code_request_number),
            code_sent_at = coalesce(s.code_sent_at, b.code_sent_at),
            code_expires_at = coalesce(s.code_expires_at, b.code_expires_at),
            event_sequence = b.event_sequence + (s.event_type IS NOT NULL)::int
        FROM unnest(going) s WHERE s.kind = 'binding' AND s.id = b.id
        RETURNING b AS row_
    ), recorded AS (
        INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        SELECT s.key, s.at, s.actor, s.action, s.outcome, s.reason, s.id, (m.row_).merchant_id,
               CASE WHEN s.effect_number IS NOT NULL THEN (m.row_).bank_code END, s.effect_number
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id
    )
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        SELECT (m.row_).merchant_id, (m.row_).id, (m.row_).event_sequence, s.event_type, s.at,
               app.binding_view(m.row_)
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id WHERE s.event_type IS NOT NULL;
END $$;
