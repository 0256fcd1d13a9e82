-- What a merchant sees of a resource: one definition, for answers, for reads and for event bodies.

CREATE FUNCTION app.instant(at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog
    RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

CREATE FUNCTION app.waiting_for(reason text, since timestamptz, until timestamptz, deadline timestamptz)
    RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog
    RETURN CASE WHEN reason IS NULL THEN NULL ELSE jsonb_build_object(
        'reason', reason, 'since', app.instant(since), 'until', app.instant(until),
        'deadline', app.instant(deadline)) END;

CREATE FUNCTION app.binding_view(b app.binding) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', b.id, 'object', 'binding', 'user_id', b.user_id, 'bank_code', b.bank_code,
        'card_last4', b.card_last4, 'card_type', b.card_type, 'state', b.state, 'reason', b.reason,
        'state_since', app.instant(b.state_since), 'accepted_at', app.instant(b.accepted_at),
        'code_expires_at', CASE WHEN b.state = 'awaiting_code' THEN app.instant(b.code_expires_at) END,
        'waiting_for', app.waiting_for(b.wait_reason, b.state_since, b.wait_until, b.wait_deadline));

CREATE FUNCTION app.payment_view(p app.payment) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', p.id, 'object', 'payment', 'user_id', p.user_id, 'binding_id', p.binding_id,
        'bank_code', p.bank_code, 'order_number', p.order_number, 'amount_minor', p.amount_minor,
        'currency', p.currency, 'payee_kind', p.payee_kind, 'payee_name', p.payee_name,
        'fee_minor', p.fee_minor, 'fee_rule', p.fee_rule, 'confirmation_hash', p.confirmation_hash,
        'agreement_version', p.agreement_version, 'origin', p.origin, 'verification', p.verification,
        'state', p.state, 'reason', p.reason, 'state_since', app.instant(p.state_since),
        'accepted_at', app.instant(p.accepted_at), 'order_expires_at', app.instant(p.order_expires_at),
        'code_expires_at', CASE WHEN p.state = 'awaiting_code' THEN app.instant(p.code_expires_at) END,
        'bank_reference', p.bank_reference, 'booked_at', app.instant(p.booked_at),
        'corrected_at', app.instant(p.corrected_at),
        'refunded_minor', p.refunded_minor, 'refunding_minor', p.refunding_minor,
        'refundable_minor', CASE WHEN p.state = 'succeeded'
            THEN p.amount_minor - p.refunded_minor - p.refunding_minor ELSE 0 END,
        'waiting_for', app.waiting_for(p.wait_reason, p.state_since, p.wait_until, p.wait_deadline));

CREATE FUNCTION app.refund_view(r app.refund) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', r.id, 'object', 'refund', 'payment_id', r.payment_id, 'bank_code', r.bank_code, 'amount_minor', r.amount_minor,
        'fee_back_minor', r.fee_back_minor, 'currency', r.currency, 'reason_code', r.reason_code,
        'state', r.state, 'reason', r.reason, 'state_since', app.instant(r.state_since),
        'accepted_at', app.instant(r.accepted_at), 'bank_reference', r.bank_reference,
        'booked_at', app.instant(r.booked_at),
        'waiting_for', app.waiting_for(r.wait_reason, r.state_since, r.wait_until, r.wait_deadline));
