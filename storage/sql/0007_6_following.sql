-- What comes in from users, what is looked after when people or processes do nothing, and what a process checks.

-- A user reports misuse, theft or tampering through the merchant: received at this server's instant, the user's payments
-- stop at once, a case is open (A3.3b, A3.5b, A3.9a). Also where user or merchant are suspended already.
-- item: {request, now, id, user_id, kind, payment_id, discovered_at, channel, evidence_ref}
CREATE FUNCTION app.report_user(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    p app.payment;
    r app.user_report;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO p FROM app.payment WHERE id = i->>'payment_id' AND user_id = u.id;
    SELECT * INTO r FROM app.user_report WHERE case_id = i->>'id';
    IF u.id IS NULL THEN
        answer := '{"ok": false, "error": "user_not_found"}';
    ELSIF i->>'payment_id' IS NOT NULL AND p.id IS NULL THEN
        answer := '{"ok": false, "error": "payment_not_found"}';
    ELSE
        IF r.case_id IS NULL THEN
            INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
                VALUES (i->>'id', i->>'kind', u.id, whose, instant,
                    CASE WHEN p.id IS NULL THEN '{}' ELSE ARRAY[p.id] END);
            INSERT INTO app.user_report AS n (case_id, user_id, merchant_id, kind, payment_id, channel, evidence_ref,
                    discovered_at, received_at, parties)
                VALUES (i->>'id', u.id, whose, i->>'kind', p.id, i->>'channel', i->>'evidence_ref',
                    (i->>'discovered_at')::timestamptz, instant,
                    ARRAY(SELECT DISTINCT b.bank_code FROM app.binding b WHERE b.user_id = u.id
                          AND (b.id = p.binding_id OR p.id IS NULL AND b.state IN ('open', 'unbinding')) ORDER BY 1)
                    || whose || 'institution'::text)
                RETURNING n.* INTO r;
            INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at)
                VALUES ('rst_' || split_part(i->>'id', '_', 2), 'suspension', u.id, whose, 'collect', 'user_report',
                    i->>'id', instant)
                ON CONFLICT (subject_id, kind, coalesce(function, '')) WHERE lifted_at IS NULL AND kind <> 'authority_order'
                DO NOTHING;
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', jsonb_build_object('id', r.case_id, 'object', 'report',
            'user_id', r.user_id, 'kind', r.kind, 'payment_id', r.payment_id, 'channel', r.channel,
            'discovered_at', app.instant(r.discovered_at), 'received_at', app.instant(r.received_at),
            'parties', to_jsonb(r.parties), 'suspended', '["collect"]'::jsonb));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'report_user', instant, i->>'user_id', answer);
    RETURN answer;
END $$;

-- Requests that nobody approved in time; answers how many there were.
CREATE FUNCTION app.lapse_decisions(at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    d app.decision;
    n int := 0;
BEGIN
    FOR d IN SELECT * FROM app.decision WHERE state = 'requested' AND expires_at <= at
            ORDER BY id FOR UPDATE SKIP LOCKED LOOP
        UPDATE app.decision SET state = 'expired', decided_at = at WHERE id = d.id;
        PERFORM app.record_decision(d, jsonb_build_object('now', at), 'lapse_decision', 'abandoned', 'not_approved_in_time');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;

-- A freeze or suspension whose review is due stays, and somebody has to look at it (A8.3). Answers how many were new.
CREATE FUNCTION app.open_reviews(at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int;
BEGIN
    WITH opened AS (
        INSERT INTO app.case_record AS c (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || split_part(r.id, '_', 2), 'restriction_review', r.subject_id, r.merchant_id, at
            FROM app.restriction r WHERE r.lifted_at IS NULL AND r.review_at <= at
              AND NOT EXISTS (SELECT 1 FROM app.case_record x WHERE x.id = 'case_' || split_part(r.id, '_', 2))
            ON CONFLICT DO NOTHING RETURNING c.id, c.subject_id, c.merchant_id
    )
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        SELECT at, 'sweeper', 'open_review', 'done', 'restriction_review', o.subject_id, o.merchant_id FROM opened o;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- A process was told of a decision: does it hold for this instruction, now? Recorded; a made-up one changes nothing.
-- item: {now, decision_id, subject_id}; answers {holds, kind, detail, refusal}
CREATE FUNCTION app.check_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    d app.decision;
    s record;
    refused text;
BEGIN
    SELECT * INTO d FROM app.decision WHERE id = i->>'decision_id';
    SELECT p.merchant_id, p.withdrawn_by, p.concluded_by, p.state INTO s
        FROM app.payment p WHERE p.id = i->>'subject_id'
        UNION ALL SELECT r.merchant_id, r.withdrawn_by, r.concluded_by, r.state
        FROM app.refund r WHERE r.id = i->>'subject_id';
    refused := CASE WHEN d.id IS NULL THEN 'decision_not_found'
        WHEN d.subject_id <> i->>'subject_id' THEN 'decision_of_another'
        WHEN d.state <> 'committed' THEN 'decision_not_committed'
        WHEN d.kind = 'instruction.withdraw' AND s.withdrawn_by = d.id THEN
            CASE WHEN s.state NOT IN ('awaiting_code', 'ready') THEN 'state_conflict' END
        WHEN d.kind = 'instruction.conclude' AND s.concluded_by = d.id THEN
            CASE WHEN NOT app.is_concluded(d.id, d.subject_id) THEN 'state_conflict' END
        ELSE 'decision_of_another_kind' END;
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, detail)
        VALUES ('check:' || (i->>'subject_id') || ':' || left(i->>'decision_id', 40) || ':' || coalesce(refused, 'holds'),
            (i->>'now')::timestamptz, 'process', 'check_decision', CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END,
            refused, i->>'subject_id', s.merchant_id, jsonb_build_object('decision_id', left(i->>'decision_id', 40)))
        ON CONFLICT (key) DO NOTHING;
    RETURN jsonb_build_object('holds', refused IS NULL, 'refusal', refused,
        'kind', CASE WHEN refused IS NULL THEN d.kind END, 'detail', CASE WHEN refused IS NULL THEN d.detail END);
END $$;

-- Former body: 0003_9_people.sql.
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
        -- Decided by a person, and its process has not done it yet: it is told, or told again.
        (SELECT 'decision', x.id, d.id FROM (
                SELECT p.id, coalesce(p.concluded_by, p.withdrawn_by) AS decision_id FROM app.payment p
                    WHERE coalesce(p.concluded_by, p.withdrawn_by) IS NOT NULL
                      AND p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding')
                UNION ALL
                SELECT r.id, coalesce(r.concluded_by, r.withdrawn_by) FROM app.refund r
                    WHERE coalesce(r.concluded_by, r.withdrawn_by) IS NOT NULL
                      AND r.state IN ('ready', 'sending', 'unknown')) x
            JOIN app.decision d ON d.id = x.decision_id AND d.decided_at < at - older_than
            WHERE d.kind <> 'instruction.conclude' OR app.is_concluded(d.id, x.id)
            ORDER BY d.decided_at LIMIT most);
    END;

-- Locks the merchant before the user, as everybody does. Former body: 0003_9_people.sql.
CREATE OR REPLACE FUNCTION app.record_consent(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    what text := i->>'kind';
    answer jsonb;
    error text;
    waived text[];
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    IF NOT FOUND THEN error := 'user_not_found';
    ELSIF what = 'agreement' AND NOT EXISTS (
        SELECT 1 FROM app.agreement_version a WHERE a.version = i->>'version' AND a.content_hash = i->>'content_hash'
            AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant)) THEN
        error := 'agreement_version_unknown';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w WHERE w.merchant_id = whose AND w.state = 'approved') THEN
        error := 'waiver_not_enabled';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w
        WHERE w.merchant_id = whose AND w.state = 'approved' AND w.id = i->>'version') THEN
        error := 'waiver_version_unknown';
    END IF;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error);
    ELSE
        INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, evidence_ref, acted_at)
            VALUES (u.id, whose, what, i->>'version', i->>'content_hash', i->>'channel', i->>'evidence_ref',
                    (i->>'acted_at')::timestamptz);
        IF what LIKE 'waiver%' THEN
            INSERT INTO app.user_waiver AS w (user_id, authorised_version, noticed_version, objected_at)
                VALUES (u.id, CASE what WHEN 'waiver_authorisation' THEN i->>'version' END,
                        CASE what WHEN 'waiver_notice' THEN i->>'version' END,
                        CASE what WHEN 'waiver_objection' THEN instant END)
                ON CONFLICT (user_id) DO UPDATE SET
                    authorised_version = CASE what WHEN 'waiver_authorisation' THEN i->>'version'
                        WHEN 'waiver_objection' THEN NULL ELSE w.authorised_version END,
                    noticed_version = CASE what WHEN 'waiver_notice' THEN i->>'version' ELSE w.noticed_version END,
                    objected_at = CASE what WHEN 'waiver_objection' THEN instant
                        WHEN 'waiver_authorisation' THEN NULL ELSE w.objected_at END;
        END IF;
        IF what = 'waiver_objection' THEN
            SELECT coalesce(array_agg(p.id ORDER BY p.id), '{}') INTO waived
                FROM app.payment p WHERE p.user_id = u.id AND p.verification = 'waived';
            INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
                VALUES (i->>'case_id', 'waiver_objection', u.id, whose, instant, waived) ON CONFLICT DO NOTHING;
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', jsonb_build_object('object', 'consent', 'user_id', u.id,
            'kind', what, 'version', i->>'version', 'acted_at', app.instant((i->>'acted_at')::timestamptz),
            'recorded_at', app.instant(instant),
            'case_id', CASE what WHEN 'waiver_objection' THEN i->>'case_id' END));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'record_' || what, instant, i->>'user_id', answer);
    RETURN answer;
END $$;
