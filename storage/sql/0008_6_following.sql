-- What banks say of payouts, and what of them nobody looks after. Former bodies: 0003_9_people.sql (app.record_callback,
-- app.unfinished), 0007_6_following.sql (app.unattended).

CREATE OR REPLACE FUNCTION app.record_callback(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    e app.effect;
    fresh boolean;
BEGIN
    INSERT INTO app.bank_callback (bank_code, notice_id, request_number, received_at)
        VALUES (i->>'bank_code', i->>'notice_id', i->>'request_number', (i->>'now')::timestamptz)
        ON CONFLICT DO NOTHING;
    fresh := FOUND;
    SELECT * INTO e FROM app.effect WHERE request_number = i->>'request_number' AND bank_code = i->>'bank_code';
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, partner, request_number)
        VALUES ((i->>'now')::timestamptz, 'bank', 'bank_callback',
            CASE WHEN fresh AND e.request_number IS NOT NULL THEN 'done' ELSE 'refused' END,
            CASE WHEN NOT fresh THEN 'duplicate' WHEN e.request_number IS NULL THEN 'request_number_unknown' END,
            e.subject_id, i->>'bank_code', CASE WHEN e.request_number IS NOT NULL THEN e.request_number END);
    -- What was paid out may well come back days later; what was never paid out cannot.
    IF fresh AND (e.step IN ('RF', 'LR', 'PO') AND e.outcome = 'declined' AND i->>'announces' IN ('succeeded', 'returned')
                  OR e.step IN ('DB', 'RF', 'LR', 'PO') AND e.outcome = 'succeeded' AND i->>'announces' = 'declined') THEN
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || e.request_number, 'operator_needed', e.subject_id, x.merchant_id, (i->>'now')::timestamptz
            FROM (SELECT p.id, p.merchant_id FROM app.payment p UNION ALL SELECT r.id, r.merchant_id FROM app.refund r
                  UNION ALL SELECT o.id, o.merchant_id FROM app.payout o) x
            WHERE x.id = e.subject_id ON CONFLICT DO NOTHING;
    END IF;
    RETURN jsonb_build_object('fresh', fresh, 'subject_id', e.subject_id, 'step', e.step, 'outcome', e.outcome,
        'state', (SELECT p.state FROM app.payment p WHERE p.id = e.subject_id
                  UNION ALL SELECT r.state FROM app.refund r WHERE r.id = e.subject_id
                  UNION ALL SELECT o.state FROM app.payout o WHERE o.id = e.subject_id));
END $$;

CREATE OR REPLACE FUNCTION app.unattended(at timestamptz, older_than interval, most int)
    RETURNS TABLE (kind text, id text, attempt_id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        (SELECT 'collect_payment', p.id, NULL::text FROM app.payment p WHERE p.process_started_at IS NULL
            AND p.state IN ('awaiting_code', 'ready') AND p.accepted_at < at - older_than ORDER BY p.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'bind_card', b.id, NULL FROM app.binding b WHERE b.process_started_at IS NULL
            AND b.state = 'accepted' AND b.accepted_at < at - older_than ORDER BY b.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'unbind_card', b.id, NULL FROM app.binding b WHERE b.process_started_at IS NULL
            AND b.state = 'unbinding' AND b.state_since < at - older_than ORDER BY b.state_since LIMIT most)
        UNION ALL
        (SELECT 'refund_payment', r.id, NULL FROM app.refund r WHERE r.process_started_at IS NULL
            AND r.state = 'ready' AND r.accepted_at < at - older_than ORDER BY r.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'code_attempt', a.subject_id, a.id FROM app.code_attempt a WHERE a.verdict IS NULL
            AND a.claimed_at < at - older_than ORDER BY a.claimed_at LIMIT most)
        UNION ALL
        (SELECT 'confirmed_payment', p.id, NULL FROM app.payment p WHERE p.state = 'ready' AND p.verification = 'code'
            AND p.state_since < at - older_than ORDER BY p.state_since LIMIT most)
        UNION ALL
        (SELECT 'send_payout', o.id, NULL FROM app.payout o WHERE o.process_started_at IS NULL
            -- One that waits for its confirmation does nothing that would show; it is handed on at first, and when that is over.
            AND (o.state = 'checking' OR o.state = 'awaiting_confirmation' AND (o.confirmation_deadline < at - older_than
                OR o.accepted_at > at - older_than - interval '1 minute')) AND o.accepted_at < at - older_than
            ORDER BY o.accepted_at LIMIT most)
        UNION ALL
        -- Confirmed, and not looked at since: its process may not have heard.
        (SELECT 'confirmed_payout', o.id, NULL FROM app.payout o WHERE o.state = 'checking' AND o.wait_reason = 'risk_check'
            AND o.confirmed_at = o.state_since AND o.state_since < at - older_than ORDER BY o.state_since LIMIT most)
        UNION ALL
        -- Decided by a person, and its process has not done it yet: it is told, or told again.
        (SELECT 'decision', x.id, d.id FROM (
                SELECT p.id, coalesce(p.concluded_by, p.withdrawn_by) AS decision_id FROM app.payment p
                    WHERE coalesce(p.concluded_by, p.withdrawn_by) IS NOT NULL
                      AND p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding')
                UNION ALL
                SELECT r.id, coalesce(r.concluded_by, r.withdrawn_by) FROM app.refund r
                    WHERE coalesce(r.concluded_by, r.withdrawn_by) IS NOT NULL
                      AND r.state IN ('ready', 'sending', 'unknown')
                UNION ALL
                SELECT o.id, coalesce(o.concluded_by, o.withdrawn_by) FROM app.payout o
                    WHERE coalesce(o.concluded_by, o.withdrawn_by) IS NOT NULL
                      AND o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled',
                        'sending', 'unknown')) x
            JOIN app.decision d ON d.id = x.decision_id AND d.decided_at < at - older_than
            WHERE d.kind <> 'instruction.conclude' OR app.is_concluded(d.id, x.id)
            ORDER BY d.decided_at LIMIT most);
    END;

CREATE OR REPLACE FUNCTION app.unfinished(at timestamptz, older_than interval, after text, most int)
    RETURNS TABLE (kind text, id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT x.kind, x.id FROM (
            SELECT CASE WHEN p.corrected_at IS NULL THEN 'collect_payment' ELSE 'correct_payment' END AS kind, p.id
                FROM app.payment p WHERE p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding')
                AND p.state_since < at - older_than
            UNION ALL
            SELECT 'refund_payment', r.id FROM app.refund r WHERE r.state IN ('ready', 'sending', 'unknown')
                AND r.state_since < at - older_than
            UNION ALL
            SELECT CASE b.state WHEN 'unbinding' THEN 'unbind_card' ELSE 'bind_card' END, b.id FROM app.binding b
                WHERE b.state IN ('accepted', 'applying', 'awaiting_code', 'unbinding')
                AND b.state_since < at - older_than
            UNION ALL
            -- What sleeps until an instant is overdue only after it.
            SELECT 'send_payout', o.id FROM app.payout o
                WHERE o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled', 'sending',
                    'unknown')
                AND greatest(o.state_since, CASE o.state WHEN 'scheduled' THEN o.slot_at WHEN 'cooling_off' THEN o.cool_until
                    WHEN 'under_review' THEN o.wait_until WHEN 'awaiting_confirmation' THEN o.confirmation_deadline END)
                    < at - older_than) x
        WHERE x.id > after ORDER BY x.id LIMIT most;
    END;
