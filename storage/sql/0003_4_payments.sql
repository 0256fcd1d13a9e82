-- Accepting a payment: everything that can refuse it is looked at under the user's row lock, and what is accepted
-- has its limits taken (A2.5c, A3.4). Instants are passed in; the database's clock decides nothing.

-- What verification a payment needs: 'code', 'waived', or 'notice' where only the first-use notice is missing (A3.11).
CREATE FUNCTION app.verification_for(whose text, who text, amount bigint, cap bigint, OUT needed text, OUT waiver text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    w record;
BEGIN
    needed := 'code';
    SELECT a.id, a.limit_minor, u.authorised_version, u.noticed_version, u.objected_at INTO w
        FROM app.waiver_application a
        JOIN app.user_waiver u ON u.user_id = who
        WHERE a.merchant_id = whose AND a.state = 'approved' AND a.currency = 'CNY';
    IF NOT FOUND OR w.objected_at IS NOT NULL OR w.authorised_version IS DISTINCT FROM w.id
       OR amount > least(w.limit_minor, cap) THEN
        RETURN;
    END IF;
    waiver := w.id;
    needed := CASE WHEN w.noticed_version IS DISTINCT FROM w.id THEN 'notice' ELSE 'waived' END;
END $$;

-- Takes every window of a reservation list or raises LS001 with the code of the first that is too full.
CREATE FUNCTION app.take_limits(reservations jsonb, amount bigint, cur text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM jsonb_to_recordset(reservations)
            AS x(subject text, window_kind text, window_start date, cap_minor bigint)
            ORDER BY subject, window_kind LOOP
        INSERT INTO app.limit_usage AS u (subject, window_kind, window_start, currency, used_minor)
            SELECT r.subject, r.window_kind, r.window_start, cur, amount WHERE amount <= r.cap_minor
            ON CONFLICT (subject, window_kind, window_start, currency)
            DO UPDATE SET used_minor = u.used_minor + amount WHERE u.used_minor + amount <= r.cap_minor;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'limit_per_' || r.window_kind;
        END IF;
    END LOOP;
END $$;

-- item: {item, request: {merchant_id, key_id, request_id, idempotency_key}, now, id, binding_id, user_id, order_number,
--        order_expires_at, amount_minor, currency, payee_kind, payee_name, fee_minor, fee_rule, confirmation_hash,
--        agreement_version, blocked_regions, waiver_cap_minor, limits, origin, code_deadline}
CREATE FUNCTION app.accept_one_payment(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->'request'->>'merchant_id';
    u app.end_user;
    b app.binding;
    p app.payment;
    v record;
    other app.payment;
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
        payee_account, fee_minor, fee_rule, confirmation_hash, agreement_version, origin, verification, waiver_id,
        liability_standard, order_expires_at, limit_reservations, state, state_since, wait_reason, wait_deadline,
        accepted_at, event_sequence)
    VALUES (
        i->>'id', whose, u.id, b.id, b.bank_code, i->>'order_number', (i->>'amount_minor')::bigint, i->>'currency',
        i->>'payee_kind', i->>'payee_name',
        CASE i->>'payee_kind' WHEN 'merchant' THEN 'merchant_pending:' || whose ELSE 'user:' || u.id END
            || ':' || (i->>'currency'),
        (i->>'fee_minor')::bigint, i->>'fee_rule', i->>'confirmation_hash', i->>'agreement_version', i->>'origin',
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

CREATE FUNCTION app.accept_payments(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    code text;
    subject text;
BEGIN
    -- One order of locks for everyone: users by id, then their limit windows.
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
