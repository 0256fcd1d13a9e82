-- Accepting a refund: never more than was paid, also when two run at once, and only money that is there (A10.2b).
-- The payee gives back its part and the fee income gives back the fee's part, both held until the bank has answered.

-- item: {item, request: {...}, now, id, payment_id, amount_minor, reason_code}
CREATE FUNCTION app.accept_one_refund(i jsonb) RETURNS jsonb
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

CREATE FUNCTION app.accept_refunds(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    code text;
    subject text;
BEGIN
    PERFORM 1 FROM app.payment WHERE id IN (SELECT value->>'payment_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR NO KEY UPDATE;
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
