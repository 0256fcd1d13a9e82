-- One-time codes: claimed before they go to the bank (number, cap, no second one at the same time), resolved by the
-- verdict. The code itself never comes here (A3.7a-b, P1.1.7).

-- item: {item, now, kind, id, merchant_id, attempt_id, max_attempts, step}
-- answers: {ok, attempt_id, request_number, code_request_number, bank_code, number}
CREATE FUNCTION app.claim_code_attempt(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s record;
    made app.code_attempt;
    n int;
    next_number text;
BEGIN
    IF i->>'kind' = 'payment' THEN
        SELECT p.id, p.state, p.bank_code, p.code_request_number, p.code_expires_at, p.code_attempts, p.wait_reason INTO s
            FROM app.payment p WHERE p.id = i->>'id' AND p.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    ELSE
        SELECT b.id, b.state, b.bank_code, b.code_request_number, b.code_expires_at, b.code_attempts, b.wait_reason INTO s
            FROM app.binding b WHERE b.id = i->>'id' AND b.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN RETURN jsonb_build_object('ok', false, 'error', (i->>'kind') || '_not_found'); END IF;
    -- The same request again: who asked first may have died after the bank had answered.
    SELECT * INTO made FROM app.code_attempt a WHERE a.id = i->>'attempt_id' AND a.subject_id = s.id;
    IF made.verdict IS NOT NULL THEN
        RETURN jsonb_build_object('ok', true, 'attempt_id', made.id, 'request_number', made.request_number,
            'number', made.number, 'code_request_number', made.code_request_number, 'bank_code', s.bank_code,
            'verdict', made.verdict);
    END IF;
    IF s.state <> 'awaiting_code' OR s.code_request_number IS NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_not_awaited', 'subject_id', s.id);
    END IF;
    IF EXISTS (SELECT 1 FROM app.code_attempt a WHERE a.subject_id = s.id AND a.verdict IS NULL) THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_attempt_in_progress', 'subject_id', s.id);
    END IF;
    IF s.code_attempts >= (i->>'max_attempts')::int THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_attempts_exhausted', 'subject_id', s.id);
    END IF;
    IF s.code_expires_at <= instant THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_expired', 'subject_id', s.id);
    END IF;
    n := s.code_attempts + 1;
    next_number := (i->>'step') || split_part(s.id, '_', 2) || lpad(n::text, 2, '0');
    INSERT INTO app.code_attempt (id, subject_id, number, code_request_number, request_number, claimed_at)
        VALUES (i->>'attempt_id', s.id, n, s.code_request_number, next_number, instant) RETURNING * INTO made;
    INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)
        SELECT next_number, s.id, 'VC', s.bank_code, t.role, instant FROM app.partner t WHERE t.code = s.bank_code;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, partner, request_number)
        VALUES (instant, 'process', 'verify_code', 'received', s.id, i->>'merchant_id', s.bank_code, next_number);
    UPDATE app.payment SET code_attempts = n WHERE id = s.id AND i->>'kind' = 'payment';
    UPDATE app.binding SET code_attempts = n WHERE id = s.id AND i->>'kind' = 'binding';
    RETURN jsonb_build_object('ok', true, 'attempt_id', made.id, 'request_number', next_number, 'number', n,
        'code_request_number', s.code_request_number, 'bank_code', s.bank_code);
END $$;

-- item: {now, attempt_id, verdict, authorisation, agreement: sealed item with user_id, raw_code, reason, key}
-- A verdict is final. A confirmed one opens the binding or makes the payment ready, in the same transaction.
CREATE FUNCTION app.resolve_code_attempt(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    a app.code_attempt;
    p app.payment;
    b app.binding;
    verdict_now text := i->>'verdict';
BEGIN
    SELECT * INTO a FROM app.code_attempt WHERE id = i->>'attempt_id';
    IF NOT FOUND THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
    SELECT * INTO p FROM app.payment WHERE id = a.subject_id FOR NO KEY UPDATE;
    -- Opening a binding writes to its user, and users come before bindings in everybody's order of locks.
    PERFORM 1 FROM app.end_user u WHERE u.id = (SELECT x.user_id FROM app.binding x WHERE x.id = a.subject_id)
        FOR NO KEY UPDATE;
    SELECT * INTO b FROM app.binding WHERE id = a.subject_id FOR NO KEY UPDATE;
    SELECT * INTO a FROM app.code_attempt WHERE id = i->>'attempt_id' FOR UPDATE;
    IF a.verdict IS NOT NULL THEN
        RETURN jsonb_build_object('ok', true, 'replayed', true, 'verdict', a.verdict, 'state', coalesce(p.state, b.state));
    END IF;
    UPDATE app.code_attempt SET verdict = verdict_now, resolved_at = instant WHERE id = a.id;
    UPDATE app.effect SET outcome = CASE verdict_now WHEN 'confirmed' THEN 'succeeded' ELSE 'declined' END,
        reason = i->>'reason', raw_code = i->>'raw_code', resolved_at = instant
        WHERE request_number = a.request_number AND outcome IS NULL;
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        VALUES ('code:' || a.id, instant, 'process', 'verify_code', CASE verdict_now WHEN 'confirmed' THEN 'done' ELSE 'refused' END,
            verdict_now, a.subject_id, coalesce(p.merchant_id, b.merchant_id), coalesce(p.bank_code, b.bank_code), a.request_number);
    IF verdict_now = 'confirmed' AND p.state = 'awaiting_code' THEN
        UPDATE app.payment SET state = 'ready', state_since = instant, authorisation = i->>'authorisation',
            wait_reason = 'bank_answer', event_sequence = event_sequence + 1 WHERE id = p.id RETURNING * INTO p;
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (p.merchant_id, p.id, p.event_sequence, 'payment.confirmed', instant, app.payment_view(p));
    ELSIF verdict_now = 'confirmed' AND b.state = 'awaiting_code' THEN
        PERFORM vault.store_items(jsonb_build_array(i->'agreement'));
        UPDATE app.binding SET state = 'open', state_since = instant, agreement_token = i->'agreement'->>'token',
            wait_reason = NULL, wait_until = NULL, wait_deadline = NULL, event_sequence = event_sequence + 1
            WHERE id = b.id RETURNING * INTO b;
        UPDATE app.end_user SET person_index = b.person_index WHERE id = b.user_id AND person_index IS NULL;
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (b.merchant_id, b.id, b.event_sequence, 'binding.opened', instant, app.binding_view(b));
    ELSIF verdict_now IN ('expired', 'exhausted') THEN
        -- This code is of no more use; a new one can be asked for.
        UPDATE app.payment SET code_expires_at = least(code_expires_at, instant) WHERE id = p.id;
        UPDATE app.binding SET code_expires_at = least(code_expires_at, instant) WHERE id = b.id;
    END IF;
    RETURN jsonb_build_object('ok', true, 'replayed', false, 'verdict', verdict_now, 'state', coalesce(p.state, b.state));
END $$;

-- item: {now, kind, id, merchant_id, cooldown_seconds, max_sends}; answers {ok, attempt} (the number of the send)
CREATE FUNCTION app.claim_code_resend(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s record;
BEGIN
    IF i->>'kind' = 'payment' THEN
        SELECT p.id, p.state, p.code_sends, p.code_sent_at, p.wait_reason INTO s
            FROM app.payment p WHERE p.id = i->>'id' AND p.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    ELSE
        SELECT b.id, b.state, b.code_sends, b.code_sent_at, b.wait_reason INTO s
            FROM app.binding b WHERE b.id = i->>'id' AND b.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN RETURN jsonb_build_object('ok', false, 'error', (i->>'kind') || '_not_found'); END IF;
    -- A resend that was claimed and never sent (its process died) may be claimed again after the cool-down.
    IF s.state <> 'awaiting_code' OR s.code_sent_at IS NULL
        OR coalesce(s.wait_reason, '') NOT IN ('payer_code', 'issuer_answer') THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_not_awaited', 'subject_id', s.id);
    END IF;
    IF EXISTS (SELECT 1 FROM app.code_attempt a WHERE a.subject_id = s.id AND a.verdict IS NULL) THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_attempt_in_progress', 'subject_id', s.id);
    END IF;
    IF s.code_sends >= (i->>'max_sends')::int THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_resends_exhausted', 'subject_id', s.id);
    END IF;
    IF s.code_sent_at + make_interval(secs => (i->>'cooldown_seconds')::float8) > instant THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_resend_too_soon', 'subject_id', s.id, 'retry_after_seconds',
            ceil(extract(epoch FROM s.code_sent_at + make_interval(secs => (i->>'cooldown_seconds')::float8) - instant)));
    END IF;
    UPDATE app.payment SET code_sends = code_sends + 1, code_sent_at = instant, wait_reason = 'issuer_answer'
        WHERE id = s.id AND i->>'kind' = 'payment';
    UPDATE app.binding SET code_sends = code_sends + 1, code_sent_at = instant, wait_reason = 'issuer_answer'
        WHERE id = s.id AND i->>'kind' = 'binding';
    RETURN jsonb_build_object('ok', true, 'attempt', s.code_sends);
END $$;
