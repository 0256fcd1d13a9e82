-- Acceptance refuses at once what a send claim would refuse later, with the same codes. Former bodies: 0003_2_views.sql,
-- 0003_4_payments.sql, 0003_5_refunds.sql, 0003_9_people.sql.

CREATE OR REPLACE FUNCTION app.payment_view(p app.payment) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', p.id, 'object', 'payment', 'user_id', p.user_id, 'binding_id', p.binding_id,
        'bank_code', p.bank_code, 'order_number', p.order_number, 'amount_minor', p.amount_minor,
        'currency', p.currency, 'payee_kind', p.payee_kind, 'payee_name', p.payee_name,
        'fee_minor', p.fee_minor, 'fee_rule', p.fee_rule, 'confirmation_hash', p.confirmation_hash,
        'agreement_version', p.agreement_version, 'origin', p.origin, 'mandate_reference', p.mandate_reference, 'verification', p.verification,
        'state', p.state, 'reason', p.reason, 'state_since', app.instant(p.state_since),
        'accepted_at', app.instant(p.accepted_at), 'order_expires_at', app.instant(p.order_expires_at),
        'code_expires_at', CASE WHEN p.state = 'awaiting_code' THEN app.instant(p.code_expires_at) END,
        'bank_reference', p.bank_reference, 'booked_at', app.instant(p.booked_at),
        'corrected_at', app.instant(p.corrected_at),
        'report_path', '/v1/users/' || p.user_id || '/reports',
        'refunded_minor', p.refunded_minor, 'refunding_minor', p.refunding_minor,
        'refundable_minor', CASE WHEN p.state = 'succeeded'
            THEN p.amount_minor - p.refunded_minor - p.refunding_minor ELSE 0 END,
        'waiting_for', app.waiting_for(p.wait_reason, p.state_since, p.wait_until, p.wait_deadline));

CREATE OR REPLACE FUNCTION app.refund_view(r app.refund) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', r.id, 'object', 'refund', 'payment_id', r.payment_id, 'bank_code', r.bank_code, 'amount_minor', r.amount_minor,
        'fee_back_minor', r.fee_back_minor, 'currency', r.currency, 'reason_code', r.reason_code,
        'state', r.state, 'reason', r.reason, 'state_since', app.instant(r.state_since),
        'accepted_at', app.instant(r.accepted_at), 'bank_reference', r.bank_reference,
        'booked_at', app.instant(r.booked_at),
        'report_path', (SELECT '/v1/users/' || p.user_id || '/reports' FROM app.payment p WHERE p.id = r.payment_id),
        'waiting_for', app.waiting_for(r.wait_reason, r.state_since, r.wait_until, r.wait_deadline));

CREATE OR REPLACE FUNCTION app.accept_one_payment(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->'request'->>'merchant_id';
    u app.end_user;
    b app.binding;
    p app.payment;
    v record;
    other app.payment;
    held text;
BEGIN
    SELECT * INTO p FROM app.payment WHERE id = i->>'id';
    IF FOUND THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.payment_view(p));
    END IF;
    PERFORM 1 FROM app.merchant WHERE id = whose AND state = 'active' AND contract_until > instant;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'merchant_suspended'; END IF;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'user_not_found'; END IF;
    IF u.state <> 'active' THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'user_not_active'; END IF;
    held := app.restricted('collect', u.id, whose, NULL, instant, true);
    IF held IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = held; END IF;
    IF i->'blocked_regions' ? u.region THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'region_not_served';
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM app.consent c JOIN app.agreement_version a ON a.version = c.version
        WHERE c.user_id = u.id AND c.kind = 'agreement' AND a.content_hash = c.content_hash
          AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant)) THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'agreement_required';
    END IF;
    SELECT * INTO b FROM app.binding WHERE id = i->>'binding_id' AND user_id = u.id;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'binding_not_found'; END IF;
    IF b.state <> 'open' THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'binding_not_open'; END IF;
    PERFORM 1 FROM app.partner WHERE code = b.bank_code AND enabled;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'partner_not_available'; END IF;
    SELECT * INTO v FROM app.verification_for(
        whose, u.id, (i->>'amount_minor')::bigint, (i->>'waiver_cap_minor')::bigint);
    IF v.needed = 'notice' THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'waiver_notice_required';
    END IF;
    INSERT INTO app.payment AS n (
        id, merchant_id, user_id, binding_id, bank_code, order_number, amount_minor, currency, payee_kind, payee_name,
        payee_account, fee_minor, fee_rule, confirmation_hash, agreement_version, origin, mandate_reference,
        verification, waiver_id,
        liability_standard, order_expires_at, limit_reservations, state, state_since, wait_reason, wait_deadline,
        accepted_at, event_sequence)
    VALUES (
        i->>'id', whose, u.id, b.id, b.bank_code, i->>'order_number', (i->>'amount_minor')::bigint, i->>'currency',
        i->>'payee_kind', i->>'payee_name',
        CASE i->>'payee_kind' WHEN 'merchant' THEN 'merchant_pending:' || whose ELSE 'user:' || u.id END
            || ':' || (i->>'currency'),
        (i->>'fee_minor')::bigint, i->>'fee_rule', i->>'confirmation_hash', i->>'agreement_version', i->>'origin',
        i->>'mandate_reference',
        v.needed, v.waiver, CASE v.needed WHEN 'waived' THEN 'gross_negligence' ELSE 'negligence' END,
        (i->>'order_expires_at')::timestamptz, i->'limits',
        CASE v.needed WHEN 'waived' THEN 'ready' ELSE 'awaiting_code' END, instant,
        'process_start', (i->>'order_expires_at')::timestamptz, instant, 1)
    ON CONFLICT (merchant_id, order_number) WHERE state NOT IN ('failed', 'closed', 'late_refunding', 'late_refunded')
    DO NOTHING RETURNING * INTO p;
    IF NOT FOUND THEN
        SELECT * INTO other FROM app.payment WHERE merchant_id = whose AND order_number = i->>'order_number'
            AND state NOT IN ('failed', 'closed', 'late_refunding', 'late_refunded');
        RAISE EXCEPTION USING ERRCODE = 'LS001', DETAIL = coalesce(other.id, ''),
            MESSAGE = CASE other.state WHEN 'succeeded' THEN 'order_already_paid' ELSE 'order_in_progress' END;
    END IF;
    PERFORM app.take_limits(i->'limits', p.amount_minor, p.currency);
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (whose, p.id, 1, 'payment.accepted', instant, app.payment_view(p));
    RETURN jsonb_build_object('ok', true, 'resource', app.payment_view(p));
END $$;

CREATE OR REPLACE FUNCTION app.accept_payments(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    code text;
    subject text;
BEGIN
    -- One order of locks for everyone: merchants, users by id, then their limit windows.
    PERFORM 1 FROM app.merchant WHERE id IN (SELECT value->'request'->>'merchant_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user WHERE id IN (SELECT value->>'user_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR NO KEY UPDATE;
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        BEGIN
            result := app.accept_one_payment(i);
        EXCEPTION WHEN SQLSTATE 'LS001' THEN
            GET STACKED DIAGNOSTICS code = MESSAGE_TEXT, subject = PG_EXCEPTION_DETAIL;
            result := jsonb_build_object('ok', false, 'error', code, 'subject_id', nullif(subject, ''));
        END;
        PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key',
            i->'request'->>'request_id', i->'request'->>'key_id', 'accept_payment', (i->>'now')::timestamptz,
            i->>'id', result);
        RETURN NEXT;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION app.accept_one_refund(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    amount bigint := (i->>'amount_minor')::bigint;
    p app.payment;
    r app.refund;
    fee_back bigint;
    given bigint;
    holds jsonb := '[]';
    failed record;
    held text;
BEGIN
    SELECT * INTO r FROM app.refund WHERE id = i->>'id';
    IF FOUND THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.refund_view(r));
    END IF;
    SELECT * INTO p FROM app.payment
        WHERE id = i->>'payment_id' AND merchant_id = i->'request'->>'merchant_id' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'payment_not_found'; END IF;
    PERFORM 1 FROM app.merchant WHERE id = p.merchant_id AND state = 'active' AND contract_until > instant;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'merchant_suspended'; END IF;
    -- A user who is suspended is given back what is due all the same.
    held := app.restricted('refund', p.user_id, p.merchant_id,
        CASE p.payee_kind WHEN 'merchant' THEN p.merchant_id ELSE p.user_id END, instant, true);
    IF held IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = held, DETAIL = p.id; END IF;
    IF p.state <> 'succeeded' THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'payment_not_refundable', DETAIL = p.id;
    END IF;
    given := p.refunded_minor + p.refunding_minor;
    IF amount > p.amount_minor - given THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'refund_exceeds_payment', DETAIL = p.id;
    END IF;
    PERFORM 1 FROM app.partner WHERE code = p.bank_code AND enabled;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'partner_not_available'; END IF;
    -- The fee goes back in proportion. Should rounding ever want more than is left of it, the payee gives the fen.
    fee_back := greatest(0, least(div(p.fee_minor::numeric * (given + amount), p.amount_minor)::bigint
        - p.fee_refunded_minor - p.fee_refunding_minor, amount, p.fee_minor - p.fee_refunded_minor - p.fee_refunding_minor));
    IF amount > fee_back THEN
        holds := holds || jsonb_build_object('action', 'hold', 'key', p.id || ':' || (i->>'id') || ':payee', 'kind', 'refund',
            'direction', 'out', 'debit', p.payee_account, 'credit', 'reserve:' || p.bank_code || ':' || p.currency,
            'currency', p.currency, 'amount', amount - fee_back, 'instruction', p.id, 'reference', i->>'id',
            'booked_at', i->>'now');
    END IF;
    IF fee_back > 0 THEN
        holds := holds || jsonb_build_object('action', 'hold', 'key', p.id || ':' || (i->>'id') || ':fee', 'kind', 'fee_refund',
            'direction', 'out', 'debit', 'fee_income:' || p.currency, 'credit', 'reserve:' || p.bank_code || ':' || p.currency,
            'currency', p.currency, 'amount', fee_back, 'instruction', p.id, 'reference', i->>'id',
            'booked_at', i->>'now');
    END IF;
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', holds)));
    IF failed.error IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = failed.error;
    END IF;
    UPDATE app.payment SET refunding_minor = refunding_minor + amount,
        fee_refunding_minor = fee_refunding_minor + fee_back WHERE id = p.id;
    INSERT INTO app.refund AS n (id, payment_id, merchant_id, bank_code, amount_minor, fee_back_minor, currency,
            reason_code, state, state_since, wait_reason, accepted_at, event_sequence)
        VALUES (i->>'id', p.id, p.merchant_id, p.bank_code, amount, fee_back, p.currency, i->>'reason_code', 'ready',
            instant, 'process_start', instant, 1)
        RETURNING * INTO r;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (r.merchant_id, r.id, 1, 'refund.accepted', instant, app.refund_view(r));
    RETURN jsonb_build_object('ok', true, 'resource', app.refund_view(r));
END $$;

CREATE OR REPLACE FUNCTION app.accept_refunds(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    code text;
    subject text;
BEGIN
    -- One order of locks for everyone: merchants, payments, users; each by id.
    PERFORM 1 FROM app.merchant WHERE id IN (SELECT value->'request'->>'merchant_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR KEY SHARE;
    PERFORM 1 FROM app.payment WHERE id IN (SELECT value->>'payment_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user WHERE id IN (SELECT p.user_id FROM app.payment p
            WHERE p.id IN (SELECT value->>'payment_id' FROM jsonb_array_elements(items)))
        ORDER BY id FOR SHARE;
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        BEGIN
            result := app.accept_one_refund(i);
        EXCEPTION WHEN SQLSTATE 'LS001' THEN
            GET STACKED DIAGNOSTICS code = MESSAGE_TEXT, subject = PG_EXCEPTION_DETAIL;
            result := jsonb_build_object('ok', false, 'error', code, 'subject_id', nullif(subject, ''));
        END;
        PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key',
            i->'request'->>'request_id', i->'request'->>'key_id', 'accept_refund', (i->>'now')::timestamptz,
            i->>'id', result);
        RETURN NEXT;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION app.accept_binding(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    b app.binding;
    other app.binding;
    error text;
    answer jsonb;
    held text;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    held := app.restricted('bind', u.id, whose, NULL, instant, true);
    SELECT * INTO b FROM app.binding WHERE id = i->>'id';
    SELECT * INTO other FROM app.binding o WHERE o.user_id = i->>'user_id' AND o.card_index = i->>'card_index'
        AND o.state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding');
    error := CASE
        WHEN b.id IS NOT NULL THEN NULL
        WHEN u.id IS NULL THEN 'user_not_found'
        WHEN u.state <> 'active' THEN 'user_not_active'
        WHEN NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = whose AND m.state = 'active'
            AND m.contract_until > instant) THEN 'merchant_suspended'
        WHEN held IS NOT NULL THEN held
        WHEN i->'blocked_regions' ? u.region THEN 'region_not_served'
        WHEN NOT EXISTS (
            SELECT 1 FROM app.consent c JOIN app.agreement_version a ON a.version = c.version
            WHERE c.user_id = u.id AND c.kind = 'agreement' AND a.content_hash = c.content_hash
              AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant))
            THEN 'agreement_required'
        WHEN i->>'age_class' = 'minor_16_17' AND NOT EXISTS (
            SELECT 1 FROM app.consent c WHERE c.user_id = u.id AND c.kind = 'capacity_statement')
            THEN 'capacity_statement_required'
        WHEN u.person_index IS NOT NULL AND u.person_index <> i->>'person_index' THEN 'person_differs'
        WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = i->>'bank_code' AND t.enabled)
            THEN 'partner_not_available'
        WHEN other.state = 'open' THEN 'binding_exists'
        WHEN other.id IS NOT NULL THEN 'binding_in_progress'
        -- The user is nobody's yet, and two people may apply at once: the first one's application has to end before.
        WHEN EXISTS (SELECT 1 FROM app.binding o WHERE o.user_id = u.id AND o.person_index <> i->>'person_index'
            AND o.state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding')) THEN 'person_differs' END;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error, 'subject_id', other.id);
    ELSE
        IF b.id IS NULL THEN
            PERFORM vault.store_items(i->'sealed');
            INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,
                    element_tokens, state, state_since, wait_reason, accepted_at, event_sequence)
                VALUES (i->>'id', u.id, whose, i->>'bank_code', i->>'card_index', i->>'card_last4', i->>'card_type',
                    i->>'person_index', i->'element_tokens', 'accepted', instant, 'process_start', instant, 1)
                RETURNING * INTO b;
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, b.id, 1, 'binding.accepted', instant, app.binding_view(b));
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', app.binding_view(b));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'accept_binding', instant, i->>'id', answer);
    RETURN answer;
END $$;
