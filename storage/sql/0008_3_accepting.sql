-- Naming a payee, accepting a payout, and confirming one more time what looks like a mistake (A2.5a-c, A7.3, A10.2a-b).

-- What keeps a user from anything new that is paid out, or NULL; the user's row is locked by then.
CREATE FUNCTION app.obstacle_to_payouts(u app.end_user, whose text, blocked jsonb, instant timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = whose AND m.state = 'active'
            AND m.contract_until > instant) THEN 'merchant_suspended'
        WHEN u.id IS NULL THEN 'user_not_found'
        WHEN u.state <> 'active' THEN 'user_not_active'
        WHEN blocked ? u.region THEN 'region_not_served'
        WHEN NOT EXISTS (
            SELECT 1 FROM app.consent c JOIN app.agreement_version a ON a.version = c.version
            WHERE c.user_id = u.id AND c.kind = 'agreement' AND a.content_hash = c.content_hash
              AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant))
            THEN 'agreement_required'
        ELSE app.restricted('payout', u.id, whose, u.id, instant, true) END;

-- Data of a payee outside the mainland leaves it: only with the user's consent to exactly that, in this version if one is
-- named (P6).
CREATE FUNCTION app.data_export_missing(who text, region text, wanted text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN region <> 'CN' AND NOT EXISTS (
        SELECT 1 FROM app.consent c WHERE c.user_id = who AND c.kind = 'data_export'
            AND c.version = coalesce(wanted, c.version));

-- item: {request, now, id, user_id, relation, holder_type, region, bank_id_kind, bank_id, account_index, account_last4,
--        name_index, name_match, sealed: [...], element_tokens, blocked_regions,
--        data_export_version, most}
CREATE FUNCTION app.accept_payee(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    y app.payee;
    other app.payee;
    error text;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO y FROM app.payee WHERE id = i->>'id';
    IF y.id IS NULL THEN
        SELECT * INTO other FROM app.payee o WHERE o.user_id = u.id AND o.region = i->>'region'
            AND o.bank_id = i->>'bank_id' AND o.account_index = i->>'account_index' AND o.state <> 'removed';
        error := coalesce(app.obstacle_to_payouts(u, whose, i->'blocked_regions', instant), CASE
            WHEN i->'blocked_regions' ? (i->>'region') THEN 'region_not_served'
            WHEN app.data_export_missing(u.id, i->>'region', i->>'data_export_version') THEN 'data_export_not_allowed'
            WHEN other.id IS NOT NULL THEN 'payee_exists'
            WHEN (SELECT count(*) FROM app.payee o WHERE o.user_id = u.id AND o.state = 'active') >= (i->>'most')::int
                THEN 'payees_exhausted' END);
    END IF;
    IF error IS NULL AND y.id IS NULL THEN
        PERFORM vault.store_items(i->'sealed');
        INSERT INTO app.payee AS n (id, merchant_id, user_id, relation, holder_type, region, bank_id_kind, bank_id,
                account_index, account_last4, name_index, element_tokens, name_match, state, created_at)
            VALUES (i->>'id', whose, u.id, i->>'relation', i->>'holder_type', i->>'region', i->>'bank_id_kind', i->>'bank_id',
                i->>'account_index', i->>'account_last4', i->>'name_index', i->'element_tokens', i->>'name_match', 'active',
                instant)
            RETURNING n.* INTO y;
    END IF;
    answer := CASE WHEN error IS NULL THEN jsonb_build_object('ok', true, 'resource', app.payee_view(y))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', other.id) END;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'accept_payee', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- What was accepted for a payee is paid all the same (A3.3a). item: {request, now, id}
CREATE FUNCTION app.remove_payee(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    y app.payee;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = (
        SELECT o.user_id FROM app.payee o WHERE o.id = i->>'id' AND o.merchant_id = whose) FOR NO KEY UPDATE;
    UPDATE app.payee o SET state = 'removed', removed_at = coalesce(o.removed_at, instant)
        WHERE o.id = i->>'id' AND o.merchant_id = whose AND o.user_id IS NOT NULL RETURNING o.* INTO y;
    answer := CASE WHEN y.id IS NOT NULL THEN jsonb_build_object('ok', true, 'resource', app.payee_view(y))
        ELSE '{"ok": false, "error": "payee_not_found"}' END;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'remove_payee', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- Holds amount and fee on the source and at the bank, and takes the limits; raises LS001 where the source lacks money or a
-- limit is full, and LS002 where this bank lacks it. All of it is undone with the caller's subtransaction.
CREATE FUNCTION app.hold_payout(p app.payout) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    failed record;
BEGIN
    PERFORM app.take_limits(p.limit_reservations, p.amount_minor, p.currency);
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers',
        app.payout_transfers(p, 'hold', p.accepted_at))));
    IF failed.error = 'insufficient_funds' AND failed.detail->>'account' <> p.source_account THEN
        RAISE EXCEPTION USING ERRCODE = 'LS002', MESSAGE = failed.error;
    ELSIF failed.error IN ('insufficient_funds', 'account_not_found') THEN
        -- An account that was never opened has nothing in it.
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'insufficient_funds';
    ELSIF failed.error IS NOT NULL THEN
        RAISE EXCEPTION 'the ledger refused the holds of %: % %', p.id, failed.error, failed.detail;
    END IF;
END $$;

-- Takes a payout in: at the first of these banks that is switched on and has the money (never an advance, A10.2b). `p` says
-- everything but the bank; of the limits those of other banks ('bank:…') are left out. Answers the row; the merchant is told.
CREATE FUNCTION app.place_payout(p app.payout, banks jsonb) RETURNS app.payout
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    other app.payout;
    wanted jsonb := p.limit_reservations;
    bank text;
    refusal text := 'partner_not_available';
BEGIN
    p.limits_released := false; p.hold_number := 1; p.event_sequence := 0; p.arrival_provisional := coalesce(p.arrival_provisional, false);
    p.state_since := p.accepted_at; p.confirmation_grounds := coalesce(p.confirmation_grounds, '{}');
    p.bank_code := NULL;
    SELECT * INTO other FROM app.payout o WHERE o.merchant_id = p.merchant_id AND o.order_number = p.order_number
        AND o.state NOT IN ('failed', 'refused', 'closed');
    IF other.id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'payout_order_exists', DETAIL = other.id;
    END IF;
    FOR bank IN SELECT t.code FROM jsonb_array_elements_text(banks) WITH ORDINALITY AS b (code, at)
            JOIN app.partner t ON t.code = b.code AND t.enabled ORDER BY b.at LOOP
        p.bank_code := bank;
        p.limit_reservations := (SELECT coalesce(jsonb_agg(r.value), '[]') FROM jsonb_array_elements(wanted) r
            WHERE r.value->>'subject' NOT LIKE 'bank:%' OR r.value->>'subject' = 'bank:' || bank);
        BEGIN
            PERFORM app.hold_payout(p);
            refusal := NULL;
            EXIT;
        EXCEPTION WHEN SQLSTATE 'LS002' THEN
            refusal := 'payout_bank_without_funds';
        END;
    END LOOP;
    IF refusal IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = refusal; END IF;
    INSERT INTO app.payout AS n SELECT (p).*
        ON CONFLICT (merchant_id, order_number) WHERE state NOT IN ('failed', 'refused', 'closed') DO NOTHING
        RETURNING n.* INTO other;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'payout_order_exists', DETAIL = coalesce((
            SELECT o.id FROM app.payout o WHERE o.merchant_id = p.merchant_id AND o.order_number = p.order_number
            AND o.state NOT IN ('failed', 'refused', 'closed')), '');
    END IF;
    RETURN app.tell_of_payout(other, 'payout.accepted', p.accepted_at);
END $$;

-- Why the payer has to say once more that this is meant: a second payout to one account within a day, or another's name.
CREATE FUNCTION app.confirmation_grounds(y app.payee, instant timestamptz) RETURNS text[] LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN array_remove(ARRAY[
        CASE WHEN EXISTS (SELECT 1 FROM app.payout o JOIN app.payee z ON z.id = o.payee_id
            WHERE o.user_id = y.user_id AND z.account_index = y.account_index AND o.accepted_at > instant - interval '24 hours'
              AND o.state NOT IN ('failed', 'refused', 'closed')) THEN 'repeated_payee' END,
        CASE WHEN y.name_match = 'differs' THEN 'payee_name_differs' END], NULL);

-- item: {item, request, now, id, user_id, payee_id, order_number, amount_minor, currency, fee_minor, fee_rule, speed, route,
--        banks, own_name_only, confirmation_hash, confirmation_seconds, agreement_version, blocked_regions,
--        data_export_version, limits, origin, mandate_reference, predicted_arrival_at, arrival_provisional}
CREATE FUNCTION app.accept_one_payout(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->'request'->>'merchant_id';
    u app.end_user;
    y app.payee;
    p app.payout;
    refusal text;
BEGIN
    SELECT * INTO p FROM app.payout WHERE id = i->>'id';
    IF FOUND THEN RETURN jsonb_build_object('ok', true, 'resource', app.payout_view(p)); END IF;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose;
    SELECT * INTO y FROM app.payee WHERE id = i->>'payee_id' AND user_id = u.id;
    refusal := coalesce(app.obstacle_to_payouts(u, whose, i->'blocked_regions', instant), CASE
        WHEN y.state IS DISTINCT FROM 'active' THEN 'payee_not_found'
        WHEN i->'blocked_regions' ? y.region THEN 'region_not_served'
        WHEN app.data_export_missing(u.id, y.region, i->>'data_export_version') THEN 'data_export_not_allowed'
        -- In the user's own verified name, which a name that was never verified is not (A7.3).
        WHEN (i->>'own_name_only')::boolean AND y.name_match <> 'match' THEN 'payee_name_differs' END);
    IF refusal IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = refusal; END IF;
    p := jsonb_populate_record(p, i - ARRAY['item', 'request', 'now', 'banks', 'limits']);
    p.merchant_id := whose;
    p.kind := CASE y.relation WHEN 'own' THEN 'withdrawal' ELSE 'transfer' END;
    p.region := y.region;
    p.source_account := 'user:' || u.id || ':' || p.currency;
    p.limit_reservations := i->'limits';
    p.accepted_at := instant;
    p.confirmation_grounds := app.confirmation_grounds(y, instant);
    IF p.confirmation_grounds <> '{}' THEN
        p.state := 'awaiting_confirmation'; p.wait_reason := 'confirmation';
        p.confirmation_deadline := instant + make_interval(secs => (i->>'confirmation_seconds')::float8);
        p.wait_deadline := p.confirmation_deadline;
    ELSE
        p.state := 'checking'; p.wait_reason := 'process_start';
    END IF;
    RETURN jsonb_build_object('ok', true, 'resource', app.payout_view(app.place_payout(p, i->'banks')));
END $$;

-- One item at a time: two would post to the ledger twice in one transaction, out of its order of locks.
CREATE FUNCTION app.accept_payouts(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    code text;
    subject text;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id IN (SELECT value->'request'->>'merchant_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user WHERE id IN (SELECT value->>'user_id' FROM jsonb_array_elements(items))
        ORDER BY id FOR NO KEY UPDATE;
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        BEGIN
            result := app.accept_one_payout(i);
        EXCEPTION WHEN SQLSTATE 'LS001' THEN
            GET STACKED DIAGNOSTICS code = MESSAGE_TEXT, subject = PG_EXCEPTION_DETAIL;
            result := jsonb_build_object('ok', false, 'error', code, 'subject_id', nullif(subject, ''));
        END;
        PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key',
            i->'request'->>'request_id', i->'request'->>'key_id', 'accept_payout', (i->>'now')::timestamptz,
            i->>'id', result);
        RETURN NEXT;
    END LOOP;
END $$;

-- The payer's second yes to exactly what was shown first. item: {request, now, id, confirmation_hash}
CREATE FUNCTION app.confirm_payout(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout;
    error text;
    answer jsonb;
BEGIN
    SELECT * INTO p FROM app.payout WHERE id = i->>'id' AND merchant_id = whose;
    IF FOUND THEN p := app.lock_payout(p.id); END IF;
    error := CASE
        WHEN p.id IS NULL THEN 'payout_not_found'
        WHEN p.confirmation_hash <> i->>'confirmation_hash' THEN 'confirmation_changed'
        WHEN p.confirmed_at IS NOT NULL THEN NULL
        WHEN p.confirmation_deadline IS NULL THEN 'confirmation_not_awaited'
        WHEN p.state = 'closed' THEN 'confirmation_expired'
        WHEN p.state <> 'awaiting_confirmation' THEN 'confirmation_not_awaited'
        WHEN p.withdrawn_by IS NOT NULL THEN 'withdrawn'
        WHEN p.confirmation_deadline <= instant THEN 'confirmation_expired'
        WHEN NOT EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = p.user_id AND u.state = 'active') THEN 'user_not_active'
        ELSE app.restricted('payout', p.user_id, whose, p.user_id, instant, false) END;
    IF error IS NULL AND p.confirmed_at IS NULL THEN
        UPDATE app.payout n SET state = 'checking', state_since = instant, confirmed_at = instant,
            wait_reason = 'risk_check', wait_deadline = NULL WHERE n.id = p.id RETURNING n.* INTO p;
        p := app.tell_of_payout(p, 'payout.confirmed', instant);
    END IF;
    answer := CASE WHEN error IS NULL THEN jsonb_build_object('ok', true, 'resource', app.payout_view(p))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', p.id) END;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'confirm_payout', instant, i->>'id', answer);
    RETURN answer;
END $$;
