-- The send claim: one transaction before every effect at a bank, so that what stands in the way and what is sent
-- meet on the same row. The request number is stored here before the first attempt.

-- The sealed items that a step opens; the read is recorded with the step as its reason (A4.2b, P1.2.1).
CREATE FUNCTION app.sealed_for_step(step text, b app.binding, at timestamptz) RETURNS jsonb LANGUAGE sql
    SET search_path = pg_catalog AS $$
    SELECT CASE
        WHEN step = 'SG' THEN vault.open_one(jsonb_build_object('user_id', b.user_id, 'actor', 'process:' || b.id, 'at', at,
            'tokens', (SELECT jsonb_agg(value) FROM jsonb_each_text(b.element_tokens)), 'purpose', 'quick_pay',
            'allowed_fields', '["name", "id_number", "card_number", "mobile"]'::jsonb))
        WHEN step IN ('PC', 'DB', 'US') THEN vault.open_one(jsonb_build_object('user_id', b.user_id,
            'actor', 'process:' || b.id, 'at', at, 'tokens', jsonb_build_array(b.agreement_token),
            'purpose', 'execute_instruction', 'allowed_fields', '["agreement_number"]'::jsonb))
        ELSE '{"ok": true, "items": []}' END
$$;

-- item: {item, now, kind: payment|refund|binding, id, step, request_number, attempt, resend, remembered_since, disclosures}
-- answers: {ok, already, ...what the sender needs} or {ok: false, error, state, sent_before}
CREATE FUNCTION app.claim_one_effect(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    step text := i->>'step';
    p app.payment;
    b app.binding;
    r app.refund;
    prior app.effect;
    role text;
    on_ boolean;
    standing text;
    again boolean;
    refusal text;
    opened jsonb;
    out jsonb;
    whose text;
BEGIN
    IF i->>'kind' = 'refund' THEN
        SELECT * INTO r FROM app.refund WHERE id = i->>'id';
        IF NOT FOUND THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
        SELECT * INTO p FROM app.payment WHERE id = r.payment_id FOR NO KEY UPDATE;
        SELECT * INTO r FROM app.refund WHERE id = i->>'id' FOR NO KEY UPDATE;
    ELSIF i->>'kind' = 'payment' THEN
        SELECT * INTO p FROM app.payment WHERE id = i->>'id' FOR NO KEY UPDATE;
    END IF;
    SELECT * INTO b FROM app.binding WHERE id = coalesce(p.binding_id, i->>'id');
    IF i->>'kind' = 'binding' THEN
        SELECT * INTO b FROM app.binding WHERE id = i->>'id' FOR NO KEY UPDATE;
    END IF;
    IF b.id IS NULL THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
    whose := b.merchant_id;
    SELECT state INTO standing FROM app.end_user WHERE id = b.user_id FOR SHARE;
    SELECT t.role, t.enabled INTO role, on_ FROM app.partner t WHERE t.code = b.bank_code;
    SELECT * INTO prior FROM app.effect e WHERE e.request_number = i->>'request_number';

    out := jsonb_build_object('ok', true, 'already', prior.request_number IS NOT NULL, 'bank_code', b.bank_code,
        'user_id', b.user_id, 'claimed_at', app.instant(coalesce(prior.claimed_at, instant)),
        'amount_minor', coalesce(r.amount_minor, p.amount_minor), 'currency', p.currency, 'payee', p.payee_name,
        'authorisation', p.authorisation, 'payment_id', p.id);
    IF prior.request_number IS NOT NULL AND NOT coalesce((i->>'resend')::boolean, false) THEN
        RETURN out || jsonb_build_object('state', coalesce(r.state, p.state, b.state));
    END IF;
    -- From here on it is to be sent: for the first time, or again on the bank's word that it never got the first. What
    -- stands in the way stands in the way of both; `sent_before` tells a refusal of the second from one of the first.
    again := prior.request_number IS NOT NULL;
    refusal := CASE
        WHEN again AND step IN ('DB', 'RF', 'LR') AND prior.claimed_at <= (i->>'remembered_since')::timestamptz
            THEN 'resend_window_over'
        WHEN NOT on_ THEN 'partner_not_available'
        -- Money that is on its way back is never held up by what the user may still do.
        WHEN standing <> 'active' AND step IN ('SG', 'PC', 'DB') THEN 'user_not_active'
        WHEN step IN ('PC', 'DB') AND p.order_expires_at <= instant THEN 'order_expired'
        WHEN NOT coalesce(r.state, p.state, b.state) = ANY (CASE step
            WHEN 'SG' THEN CASE WHEN again THEN ARRAY['applying', 'awaiting_code'] ELSE ARRAY['accepted', 'awaiting_code'] END
            WHEN 'US' THEN ARRAY['unbinding']
            WHEN 'PC' THEN ARRAY['awaiting_code']
            WHEN 'DB' THEN CASE WHEN again THEN ARRAY['sending', 'unknown'] ELSE ARRAY['ready'] END
            WHEN 'RF' THEN CASE WHEN again THEN ARRAY['sending', 'unknown'] ELSE ARRAY['ready'] END
            WHEN 'LR' THEN ARRAY['late_refunding']
            ELSE ARRAY[]::text[] END) THEN 'state_conflict' END;
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', refusal, 'state', coalesce(r.state, p.state, b.state),
            'sent_before', again);
    END IF;

    opened := app.sealed_for_step(step, b, instant);
    IF NOT (opened->>'ok')::boolean THEN 
        RETURN jsonb_build_object('ok', false, 'error', 'personal_data_erased', 'sent_before', again);
    END IF;
    out := out || jsonb_build_object('sealed', opened->'items', 'state', coalesce(r.state, p.state, b.state));
    IF again THEN
        INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, partner, partner_role, request_number)
            VALUES (instant, 'process', 'send_again_' || lower(step), 'received', i->>'id', whose, b.bank_code, role,
                    prior.request_number);
        RETURN out;
    END IF;

    IF step = 'SG' THEN
        UPDATE app.binding SET state = CASE state WHEN 'accepted' THEN 'applying' ELSE state END,
            state_since = CASE state WHEN 'accepted' THEN instant ELSE state_since END,
            wait_reason = 'issuer_answer', process_started_at = coalesce(process_started_at, instant),
            code_sends = greatest(code_sends, (i->>'attempt')::int + 1) WHERE id = b.id;
    ELSIF step = 'PC' THEN
        UPDATE app.payment SET wait_reason = 'issuer_answer', process_started_at = coalesce(process_started_at, instant),
            code_sends = greatest(code_sends, (i->>'attempt')::int + 1) WHERE id = p.id;
    ELSIF step = 'DB' THEN
        UPDATE app.payment SET state = 'sending', state_since = instant, claimed_at = instant, wait_reason = 'bank_answer',
            process_started_at = coalesce(process_started_at, instant) WHERE id = p.id;
    ELSIF step = 'RF' THEN
        UPDATE app.refund SET state = 'sending', state_since = instant, claimed_at = instant, wait_reason = 'bank_answer',
            process_started_at = coalesce(process_started_at, instant) WHERE id = r.id;
    END IF;
    INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)
        VALUES (i->>'request_number', i->>'id', step, b.bank_code, role, instant);
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, partner, partner_role, request_number)
        VALUES (instant, 'process', 'send_' || lower(step), 'received', i->>'id', whose, b.bank_code, role, i->>'request_number');
    IF i->'disclosures' IS NOT NULL AND i->'disclosures' <> 'null' THEN
        PERFORM vault.record_disclosures(i->'disclosures');
    END IF;
    RETURN out || jsonb_build_object('state', CASE step WHEN 'DB' THEN 'sending' WHEN 'RF' THEN 'sending'
        ELSE coalesce(r.state, p.state, b.state) END);
END $$;

CREATE FUNCTION app.claim_effects(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    ids text[];
BEGIN
    -- One order of locks for everyone: payments, users, refunds, bindings; each by id.
    SELECT coalesce(array_agg(value->>'id'), '{}') INTO ids FROM jsonb_array_elements(items);
    PERFORM 1 FROM app.payment p WHERE p.id = ANY (ids) OR p.id IN (
            SELECT r.payment_id FROM app.refund r WHERE r.id = ANY (ids))
        ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user u WHERE u.id IN (
            SELECT p.user_id FROM app.payment p WHERE p.id = ANY (ids)
            UNION SELECT p.user_id FROM app.refund r JOIN app.payment p ON p.id = r.payment_id WHERE r.id = ANY (ids)
            UNION SELECT b.user_id FROM app.binding b WHERE b.id = ANY (ids))
        ORDER BY u.id FOR SHARE;
    PERFORM 1 FROM app.refund r WHERE r.id = ANY (ids) ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM app.binding b WHERE b.id = ANY (ids) ORDER BY b.id FOR NO KEY UPDATE;
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        result := app.claim_one_effect(i);
        RETURN NEXT;
    END LOOP;
END $$;
