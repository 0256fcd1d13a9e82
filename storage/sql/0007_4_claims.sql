-- The send claim meets what stands in its way. What blocks which step at a bank:
--
--   step                     withdrawal  user suspended  function suspended  freeze  authority's order
--   SG  sign a card          -           yes             bind                -       bind or all
--   US  unsign               -           -               -                   -       -
--   PC  payment's code       yes         yes             collect             -       collect or all
--   VC  code entered         yes         yes             bind / collect      -       bind / collect or all
--   DB  debit                yes         yes             collect             -       collect or all
--   RF  refund               yes         -               refund              payee's refund or all
--   LR  late success back    -           -               -                   -       refund or all: held, never failed
--
-- A suspended merchant's accepted instructions are finished (A0.3). Former bodies: 0003_6_effects.sql, 0003_8_codes.sql.

-- What a function of a user or a merchant is held up by, or NULL. `source`: whose money would leave.
--   authority_hold     an authority's order on either, until it expires, for this function or for all of them
--   funds_frozen       money would leave the one whose funds are frozen; what comes in is never stopped by a freeze
--   function_suspended the user's function, always; the merchant's, only where something new is accepted: what a merchant
--                      was suspended after is finished (A0.3)
-- Whole suspensions are states of user and merchant and are looked at there.
CREATE FUNCTION app.restricted(
    function_ text, who text, whose text, source text, at timestamptz, accepting boolean
) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT CASE r.kind WHEN 'authority_order' THEN 'authority_hold' WHEN 'freeze' THEN 'funds_frozen'
                ELSE 'function_suspended' END
        FROM app.restriction r
        WHERE r.subject_id IN (who, whose) AND r.lifted_at IS NULL AND CASE r.kind
            WHEN 'authority_order' THEN r.ends_at > at AND coalesce(r.function, function_) = function_
            WHEN 'freeze' THEN function_ = 'refund' AND r.subject_id = source
            ELSE r.function = function_ AND (accepting OR r.subject_id = who) END
        ORDER BY r.kind LIMIT 1);

-- The same for a code that a payer enters: nothing may stand in the way of what it would confirm. Locks the user.
CREATE FUNCTION app.obstacle_to_code(what text, who text, whose text, withdrawn boolean, at timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    standing text;
BEGIN
    SELECT u.state INTO standing FROM app.end_user u WHERE u.id = who FOR SHARE;
    RETURN CASE WHEN withdrawn THEN 'withdrawn' WHEN standing <> 'active' THEN 'user_not_active'
        ELSE app.restricted(CASE what WHEN 'payment' THEN 'collect' ELSE 'bind' END, who, whose, NULL, at, false) END;
END $$;

CREATE OR REPLACE FUNCTION app.claim_one_effect(i jsonb) RETURNS jsonb
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
    held text;
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
    SELECT t.role, t.enabled INTO role, on_ FROM app.partner t WHERE t.code = b.bank_code FOR KEY SHARE;
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
    IF step <> 'US' THEN
        held := app.restricted(CASE step WHEN 'SG' THEN 'bind' WHEN 'PC' THEN 'collect' WHEN 'DB' THEN 'collect'
            ELSE 'refund' END, b.user_id, whose, CASE p.payee_kind WHEN 'merchant' THEN whose ELSE p.user_id END, instant,
            false);
    END IF;
    refusal := CASE
        WHEN step IN ('PC', 'DB') AND p.state IN ('awaiting_code', 'ready') AND p.withdrawn_by IS NOT NULL
            OR step = 'RF' AND r.state = 'ready' AND r.withdrawn_by IS NOT NULL THEN 'withdrawn'
        -- People have said what became of the step that was sent before; until that is done nothing more is sent.
        WHEN step IN ('DB', 'LR') AND p.concluded_by IS NOT NULL AND app.is_concluded(p.concluded_by, p.id)
            OR step = 'RF' AND r.concluded_by IS NOT NULL AND app.is_concluded(r.concluded_by, r.id)
            THEN 'concluded_by_operators'
        WHEN again AND step IN ('DB', 'RF', 'LR') AND prior.claimed_at <= (i->>'remembered_since')::timestamptz
            THEN 'resend_window_over'
        WHEN NOT on_ THEN 'partner_not_available'
        -- Money that is on its way back is never held up by what the user may still do.
        WHEN standing <> 'active' AND step IN ('SG', 'PC', 'DB') THEN 'user_not_active'
        -- What came too late is the payer's and only on its way back: an authority alone can hold it.
        WHEN held IS NOT NULL AND (step <> 'LR' OR held = 'authority_hold') THEN held
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
    ELSIF step = 'LR' THEN
        UPDATE app.payment SET wait_reason = 'bank_refund', wait_until = NULL WHERE id = p.id;
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

CREATE OR REPLACE FUNCTION app.claim_effects(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    ids text[];
BEGIN
    -- One order of locks for everyone: merchants, payments, users, refunds, bindings; each by id. A decision on a merchant
    -- takes a lock that even this lightest one conflicts with.
    SELECT coalesce(array_agg(value->>'id'), '{}') INTO ids FROM jsonb_array_elements(items);
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT p.merchant_id FROM app.payment p WHERE p.id = ANY (ids)
            UNION SELECT r.merchant_id FROM app.refund r WHERE r.id = ANY (ids)
            UNION SELECT b.merchant_id FROM app.binding b WHERE b.id = ANY (ids))
        ORDER BY m.id FOR KEY SHARE;
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

CREATE OR REPLACE FUNCTION app.claim_code_attempt(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s record;
    made app.code_attempt;
    n int;
    next_number text;
    obstacle text;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = i->>'merchant_id' FOR KEY SHARE;
    IF i->>'kind' = 'payment' THEN
        SELECT p.id, p.state, p.bank_code, p.code_request_number, p.code_expires_at, p.code_attempts, p.wait_reason,
                p.user_id, p.withdrawn_by IS NOT NULL AS withdrawn INTO s
            FROM app.payment p WHERE p.id = i->>'id' AND p.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    ELSE
        -- Users come before bindings in everybody's order of locks.
        PERFORM 1 FROM app.end_user u WHERE u.id = (SELECT b.user_id FROM app.binding b WHERE b.id = i->>'id') FOR SHARE;
        SELECT b.id, b.state, b.bank_code, b.code_request_number, b.code_expires_at, b.code_attempts, b.wait_reason,
                b.user_id, false AS withdrawn INTO s
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
    obstacle := app.obstacle_to_code(i->>'kind', s.user_id, i->>'merchant_id', s.withdrawn, instant);
    IF obstacle IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'subject_id', s.id);
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

CREATE OR REPLACE FUNCTION app.claim_code_resend(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s record;
    obstacle text;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = i->>'merchant_id' FOR KEY SHARE;
    IF i->>'kind' = 'payment' THEN
        SELECT p.id, p.state, p.code_sends, p.code_sent_at, p.wait_reason,
                p.user_id, p.withdrawn_by IS NOT NULL AS withdrawn INTO s
            FROM app.payment p WHERE p.id = i->>'id' AND p.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    ELSE
        -- Users come before bindings in everybody's order of locks.
        PERFORM 1 FROM app.end_user u WHERE u.id = (SELECT b.user_id FROM app.binding b WHERE b.id = i->>'id') FOR SHARE;
        SELECT b.id, b.state, b.code_sends, b.code_sent_at, b.wait_reason,
                b.user_id, false AS withdrawn INTO s
            FROM app.binding b WHERE b.id = i->>'id' AND b.merchant_id = i->>'merchant_id' FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND THEN RETURN jsonb_build_object('ok', false, 'error', (i->>'kind') || '_not_found'); END IF;
    -- A resend that was claimed and never sent (its process died) may be claimed again after the cool-down.
    IF s.state <> 'awaiting_code' OR s.code_sent_at IS NULL
        OR coalesce(s.wait_reason, '') NOT IN ('payer_code', 'issuer_answer') THEN
        RETURN jsonb_build_object('ok', false, 'error', 'code_not_awaited', 'subject_id', s.id);
    END IF;
    obstacle := app.obstacle_to_code(i->>'kind', s.user_id, i->>'merchant_id', s.withdrawn, instant);
    IF obstacle IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'subject_id', s.id);
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
