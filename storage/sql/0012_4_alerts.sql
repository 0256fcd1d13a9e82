-- What is late becomes a matter for a person, once: a review that nobody decides, a payout whose bank gives no answer, and one
-- that takes longer than it should (A2.5d). Answers how many were new.
CREATE FUNCTION app.open_payout_cases(at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int;
BEGIN
    WITH late AS (
        SELECT 'case_' || split_part(r.id, '_', 2) AS id, 'review_overdue' AS kind, r.payout_id, r.merchant_id
            FROM app.review r WHERE r.state IN ('open', 'evidence') AND r.due_at <= at
        UNION ALL
        -- Its process parks it for an operator at the deadline; here is what no process has parked.
        SELECT 'case_' || split_part(p.id, '_', 2) || 'ANSWER', 'payout_unanswered', p.id, p.merchant_id
            FROM app.payout p WHERE p.state IN ('sending', 'unknown') AND p.wait_deadline <= at
              AND p.wait_reason IS DISTINCT FROM 'operator'
        UNION ALL
        -- From when it could go: after the cooling-off, in its slot. What the payer has yet to confirm is not late.
        SELECT 'case_' || split_part(p.id, '_', 2) || 'TARGET', 'payout_overdue', p.id, p.merchant_id
            FROM app.payout p JOIN app.payout_target t ON t.speed = p.speed
            WHERE p.state IN ('checking', 'under_review', 'cooling_off', 'scheduled')
              AND greatest(p.accepted_at, p.confirmed_at, p.cool_until, CASE p.state WHEN 'scheduled' THEN p.slot_at END)
                  + make_interval(secs => t.target_seconds) <= at
    ), opened AS (
        INSERT INTO app.case_record AS c (id, kind, subject_id, merchant_id, opened_at)
            SELECT l.id, l.kind, l.payout_id, l.merchant_id, at FROM late l
            WHERE NOT EXISTS (SELECT 1 FROM app.case_record x WHERE x.id = l.id)
            ON CONFLICT DO NOTHING RETURNING c.kind, c.subject_id, c.merchant_id
    )
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        SELECT at, 'sweeper', 'open_case', 'done', o.kind, o.subject_id, o.merchant_id FROM opened o;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- Approved a while ago and not planned since: its process may not have heard.
CREATE FUNCTION app.approved_payouts(at timestamptz, older_than interval, most int) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT p.id FROM app.payout p JOIN app.review r ON r.id = p.review_id
        WHERE p.state = 'under_review' AND r.state = 'approved' AND r.ended_at < at - older_than
        ORDER BY r.ended_at LIMIT most;
END;
