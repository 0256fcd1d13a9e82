-- Payouts in the settlement. A batch without any costs what it cost before. Former body of app.settle: 0003_7_settlement.sql.

ALTER TYPE app.settlement ADD ATTRIBUTE return_reference text, ADD ATTRIBUTE returned_at timestamptz;

-- Whoever stops or resumes a payout by its money has told of it there and then; its process, which meets the same later, does
-- not tell of it once more.
CREATE FUNCTION app.event_of_payout(s app.settlement, o app.payout) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN s.event_type = 'payout.stopped' AND o.stopped_by IS NOT NULL
        OR s.event_type = 'payout.resumed' AND o.wait_reason = 'bank_window' THEN NULL ELSE s.event_type END;

-- The same batch with the transfers of its payouts, and with what is told of them, as their locked rows have it.
CREATE FUNCTION app.with_payout_transfers(batch app.settlement[]) RETURNS app.settlement[] LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT array_agg(CASE WHEN o.id IS NULL THEN s ELSE jsonb_populate_record(s, jsonb_build_object('event_type', app.event_of_payout(s, o), 'transfers',
            CASE s.state WHEN 'succeeded' THEN app.payout_transfers(o, 'post', s.at)
                WHEN 'returned' THEN app.payout_transfers(o, 'return', s.at)
                WHEN 'failed' THEN app.payout_transfers(o, 'release', s.at)
                WHEN 'refused' THEN app.payout_transfers(o, 'release', s.at)
                WHEN 'closed' THEN app.payout_transfers(o, 'release', s.at) ELSE '[]' END)) END ORDER BY s.item)
        FROM unnest(batch) s LEFT JOIN app.payout o ON s.kind = 'payout' AND o.id = s.id);

-- Unknown is not failed: what was sent ends, or goes back to its queue, only with what the bank has definitely said of it. A no
-- counts if there is one to every number under which it was sent.
CREATE FUNCTION app.lacks_the_banks_word(s app.settlement, found_state text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN s.state = 'succeeded' THEN s.effect_outcome IS DISTINCT FROM 'succeeded' OR NOT EXISTS (SELECT 1
            FROM app.effect e WHERE e.request_number = s.effect_number AND e.subject_id = s.id AND e.step = 'PO')
        WHEN s.state IN ('scheduled', 'failed') AND found_state IN ('sending', 'unknown') THEN
            s.effect_outcome IS DISTINCT FROM 'declined' OR NOT app.nothing_is_at_the_bank(s.id, s.effect_number)
        ELSE false END;

CREATE FUNCTION app.settle_payouts(going app.settlement[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.release_payout_limits(ARRAY(SELECT s.id FROM unnest(going) s
        WHERE s.kind = 'payout' AND s.state IN ('failed', 'refused', 'closed')));
    WITH moved AS (
        UPDATE app.payout o SET
            state = coalesce(s.state, o.state),
            state_since = CASE WHEN coalesce(s.state, o.state) <> o.state THEN s.at ELSE o.state_since END,
            -- What keeps it waiting is no reason of an end; nor is it that a closed bank turned it away.
            reason = CASE WHEN s.state IS NULL OR s.state = 'scheduled' THEN o.reason ELSE coalesce(s.reason, o.reason) END,
            raw_code = CASE s.state WHEN 'scheduled' THEN o.raw_code ELSE coalesce(s.raw_code, o.raw_code) END,
            bank_reference = coalesce(s.bank_reference, o.bank_reference), booked_at = coalesce(s.booked_at, o.booked_at),
            return_reference = coalesce(s.return_reference, o.return_reference),
            returned_at = CASE s.state WHEN 'returned' THEN coalesce(s.returned_at, s.at) ELSE o.returned_at END,
            wait_reason = s.wait_reason, wait_until = s.wait_until, wait_deadline = s.wait_deadline,
            -- A closed bank is not tried again before this; the plan that follows is made from it.
            earliest_at = CASE s.state WHEN 'scheduled' THEN coalesce(s.wait_until, o.earliest_at) ELSE o.earliest_at END,
            -- Nothing of it is at the bank any more, so that it can be withdrawn again.
            claimed_at = CASE s.state WHEN 'scheduled' THEN NULL ELSE o.claimed_at END,
            limits_released = o.limits_released OR coalesce(s.state IN ('failed', 'refused', 'closed'), false),
            process_started_at = coalesce(o.process_started_at, s.at),
            event_sequence = o.event_sequence + (s.event_type IS NOT NULL)::int
        FROM unnest(going) s WHERE s.kind = 'payout' AND s.id = o.id
        RETURNING o AS row_
    ), recorded AS (
        INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        SELECT s.key, s.at, s.actor, s.action, s.outcome, s.reason, s.id, (m.row_).merchant_id,
               CASE WHEN s.effect_number IS NOT NULL THEN (m.row_).bank_code END, s.effect_number
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id
    )
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        SELECT (m.row_).merchant_id, (m.row_).id, (m.row_).event_sequence, s.event_type, s.at,
               app.payout_view(m.row_)
        FROM unnest(going) s JOIN moved m ON (m.row_).id = s.id WHERE s.event_type IS NOT NULL;
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        SELECT 'case_' || split_part(o.id, '_', 2) || 'RETURN', 'return_not_confirmed', o.id, o.merchant_id, s.at
        FROM unnest(going) s JOIN app.payout o ON s.kind = 'payout' AND o.id = s.id
        WHERE s.reason = 'bank_says_of_no_return' ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION app.settle(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    batch app.settlement[];
    going app.settlement[];
    judged app.judgement[];
    unpostable jsonb := '{}';
    to_post jsonb;
    payouts text[];
BEGIN
    SELECT array_agg(s ORDER BY s.item), coalesce(array_agg(s.id) FILTER (WHERE s.kind = 'payout'), '{}')
        INTO batch, payouts FROM jsonb_populate_recordset(NULL::app.settlement, items) s;

    -- One order of locks: merchants, payments, users (whose limits are released, or whose payouts move), refunds, payouts,
    -- bindings; each by id; then the limits of payouts.
    IF cardinality(payouts) > 0 THEN
        -- The end of a merchant's settlement is written down with the merchant, whom a freeze locks before its money.
        PERFORM 1 FROM app.merchant m WHERE m.id IN (
                SELECT o.merchant_id FROM app.payout o WHERE o.id = ANY (payouts) AND o.user_id IS NULL)
            ORDER BY m.id FOR KEY SHARE;
    END IF;
    PERFORM 1 FROM app.payment p WHERE p.id IN (
            SELECT s.id FROM unnest(batch) s WHERE s.kind = 'payment'
            UNION SELECT r.payment_id FROM app.refund r JOIN unnest(batch) s ON s.kind = 'refund' AND s.id = r.id)
        ORDER BY p.id FOR NO KEY UPDATE;
    IF cardinality(payouts) > 0 OR EXISTS (SELECT 1 FROM unnest(batch) s WHERE s.release_limits) THEN
        PERFORM 1 FROM app.end_user u WHERE u.id IN (
                SELECT p.user_id FROM app.payment p JOIN unnest(batch) s ON s.release_limits AND s.id = p.id
                UNION SELECT o.user_id FROM app.payout o WHERE o.id = ANY (payouts))
            ORDER BY u.id FOR NO KEY UPDATE;
    END IF;
    PERFORM 1 FROM app.refund r WHERE r.id IN (SELECT s.id FROM unnest(batch) s WHERE s.kind = 'refund')
        ORDER BY r.id FOR NO KEY UPDATE;
    IF cardinality(payouts) > 0 THEN
        PERFORM 1 FROM app.payout o WHERE o.id = ANY (payouts) ORDER BY o.id FOR NO KEY UPDATE;
    END IF;
    PERFORM 1 FROM app.binding b WHERE b.id IN (SELECT s.id FROM unnest(batch) s WHERE s.kind = 'binding')
        ORDER BY b.id FOR NO KEY UPDATE;
    IF cardinality(payouts) > 0 THEN
        batch := app.with_payout_transfers(batch);
        PERFORM app.lock_payout_limits(payouts);
    END IF;

    SELECT array_agg(ROW(j.item, j.verdict, j.state)::app.judgement) INTO judged FROM (
        SELECT s.item, c.state, CASE
            WHEN EXISTS (SELECT 1 FROM app.operation o WHERE o.key = s.key) THEN 'replayed'
            WHEN c.state IS NULL THEN 'not_found'
            WHEN NOT c.state = ANY (s.expect) THEN 'state_conflict'
            WHEN s.kind = 'payout' AND s.state <> c.state AND NOT EXISTS (SELECT 1 FROM app.legal_step l
                WHERE l.subject = 'payout' AND l.from_state = c.state AND l.to_state = s.state) THEN 'state_conflict'
            WHEN s.kind = 'payout' AND app.lacks_the_banks_word(s, c.state) THEN 'bank_word_missing'
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
            UNION ALL SELECT o.state FROM app.payout o WHERE s.kind = 'payout' AND o.id = s.id
            UNION ALL SELECT b.state FROM app.binding b WHERE s.kind = 'binding' AND b.id = s.id) c ON true) j;

    PERFORM app.lock_freezes_of(batch);
    -- Whether a freeze takes of it is asked of a payout always, which one may have stopped, and of the others only while
    -- something is frozen anywhere. OFFSET 0: once.
    SELECT jsonb_agg(jsonb_build_object('item', x.item, 'transfers', x.transfers) ORDER BY x.item) INTO to_post FROM (
        SELECT s.item, CASE WHEN s.kind = 'payout' OR jsonb_array_length(s.transfers) > 0 AND (
                SELECT EXISTS (SELECT 1 FROM app.restriction r WHERE r.lifted_at IS NULL AND r.kind <> 'suspension'))
            THEN app.transfers_with_freezes(s, s.transfers) ELSE s.transfers END AS transfers
        FROM unnest(batch) s JOIN unnest(judged) j ON j.item = s.item AND j.verdict = 'go' OFFSET 0) x
        WHERE jsonb_array_length(coalesce(x.transfers, '[]')) > 0;
    IF to_post IS NOT NULL THEN
        SELECT coalesce(jsonb_object_agg(l.item, l.error), '{}') INTO unpostable
            FROM ledger.apply(to_post) l WHERE l.error IS NOT NULL;
    END IF;
    SELECT array_agg(s ORDER BY s.item) INTO going
        FROM unnest(batch) s JOIN unnest(judged) j ON j.item = s.item AND j.verdict = 'go'
        WHERE NOT unpostable ? s.item::text;

    PERFORM app.settle_payments(going);
    PERFORM app.settle_refunds(going);
    IF cardinality(payouts) > 0 THEN PERFORM app.settle_payouts(going); END IF;
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
