-- What merchants ask for: receiving accounts, mandates, conversions, and what becomes of one that was refused.

-- What keeps a user from anything new with foreign currency, or NULL; the user's row is locked by then.
CREATE FUNCTION app.obstacle_to_fx(u app.end_user, whose text, blocked jsonb, instant timestamptz) RETURNS text
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
        -- Whose quota it would be is known once a bank has confirmed who the user is.
        WHEN u.type = 'individual' AND u.person_index IS NULL THEN 'identity_not_verified'
        ELSE app.restricted('fx', u.id, whose, u.id, instant, true) END;

CREATE FUNCTION app.answered(i jsonb, what text, subject text, answer jsonb) RETURNS jsonb LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', what, (i->>'now')::timestamptz, subject, answer);
    RETURN answer;
END $$;

CREATE FUNCTION app.lock_user_of(whose text, who text) RETURNS app.end_user LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    u app.end_user;
BEGIN
    PERFORM 1 FROM app.merchant m WHERE m.id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user x WHERE x.id = who AND x.merchant_id = whose FOR NO KEY UPDATE;
    RETURN u;
END $$;

-- item: {request, now, id, user_id, bank_code, currency, holder_index, sealed: [...], element_tokens, blocked_regions, cross_border,
-- data_export_version}
CREATE FUNCTION app.accept_receiving_account(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user := app.lock_user_of(whose, i->>'user_id');
    r app.receiving_account;
    other text;
    error text;
BEGIN
    SELECT * INTO r FROM app.receiving_account WHERE id = i->>'id';
    IF r.id IS NULL THEN
        SELECT o.id INTO other FROM app.receiving_account o WHERE o.user_id = u.id AND o.bank_code = i->>'bank_code'
            AND o.currency = i->>'currency' AND o.state IN ('opening', 'open');
        error := coalesce(app.obstacle_to_fx(u, whose, i->'blocked_regions', instant), CASE
            WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = i->>'bank_code' AND t.enabled)
                THEN 'partner_not_available'
            WHEN (i->>'cross_border')::boolean AND app.export_obstacle(u.id, i->>'bank_code', i->>'data_export_version', instant)
                THEN 'data_export_not_allowed'
            WHEN other IS NOT NULL THEN 'receiving_account_exists' END);
        IF error IS NULL THEN
            PERFORM vault.store_items(i->'sealed');
            INSERT INTO app.receiving_account AS n (id, merchant_id, user_id, bank_code, currency, holder_index, element_tokens,
                    cross_border, data_export_version, state, state_since, wait_reason, accepted_at, event_sequence)
                VALUES (i->>'id', whose, u.id, i->>'bank_code', i->>'currency', i->>'holder_index', i->'element_tokens',
                    (i->>'cross_border')::boolean, i->>'data_export_version', 'opening', instant, 'process_start', instant, 1)
                RETURNING n.* INTO r;
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, r.id, 1, 'receiving_account.accepted', instant, app.receiving_account_view(r));
        END IF;
    END IF;
    RETURN app.answered(i, 'accept_receiving_account', i->>'id', CASE WHEN error IS NULL
        THEN jsonb_build_object('ok', true, 'resource', app.receiving_account_view(r))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', other) END);
END $$;

-- Whether personal data may not go beyond the border to this partner: it needs a contract in force, and the user's consent to
-- exactly that, in this version (P6a-b, L7).
CREATE FUNCTION app.export_obstacle(who text, bank text, wanted text, at timestamptz) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN NOT EXISTS (SELECT 1 FROM app.export_contract c WHERE c.bank_code = bank AND c.valid_until > app.business_date(at)
            AND c.fields @> ARRAY['name'])
        OR NOT EXISTS (SELECT 1 FROM app.consent c WHERE c.user_id = who AND c.kind = 'data_export'
            AND c.version = coalesce(wanted, c.version));

-- item: {request, now, id, user_id, currency, purpose_code, is_trade, evidence, residency, over_quota, mandate_reference,
-- agreement_version, valid_until, blocked_regions}
CREATE FUNCTION app.accept_fx_mandate(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user := app.lock_user_of(whose, i->>'user_id');
    m app.fx_mandate;
    other text;
    error text;
BEGIN
    SELECT * INTO m FROM app.fx_mandate WHERE id = i->>'id';
    IF m.id IS NULL THEN
        -- One that has run out is over, whether or not anybody has written that down.
        UPDATE app.fx_mandate o SET state = 'ended', ended_at = o.valid_until, event_sequence = o.event_sequence + 1
            WHERE o.user_id = u.id AND o.currency = i->>'currency' AND o.state = 'active' AND o.valid_until <= instant
            RETURNING o.* INTO m;
        IF FOUND THEN
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (m.merchant_id, m.id, m.event_sequence, 'fx_mandate.ended', instant, app.fx_mandate_view(m));
        END IF;
        m := NULL;
        SELECT o.id INTO other FROM app.fx_mandate o WHERE o.user_id = u.id AND o.currency = i->>'currency' AND o.state = 'active';
        error := coalesce(app.obstacle_to_fx(u, whose, i->'blocked_regions', instant),
            app.residency_obstacle(u, i->>'residency'), CASE
            WHEN (i->>'valid_until')::timestamptz <= instant THEN 'mandate_end_invalid'
            WHEN other IS NOT NULL THEN 'fx_mandate_exists' END);
        IF error IS NULL THEN
            m := jsonb_populate_record(m, i - ARRAY['request', 'now', 'blocked_regions']);
            m.merchant_id := whose; m.state := 'active'; m.created_at := instant; m.event_sequence := 1;
            INSERT INTO app.fx_mandate AS n SELECT (m).* RETURNING n.* INTO m;
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, m.id, 1, 'fx_mandate.accepted', instant, app.fx_mandate_view(m));
        END IF;
    END IF;
    RETURN app.answered(i, 'accept_fx_mandate', i->>'id', CASE WHEN error IS NULL
        THEN jsonb_build_object('ok', true, 'resource', app.fx_mandate_view(m))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', other) END);
END $$;

-- A person is no enterprise, nor the other way round.
CREATE FUNCTION app.residency_obstacle(u app.end_user, residency text) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN (u.type = 'enterprise') <> (residency = 'enterprise') THEN 'residency_not_of_user' END;

-- What was accepted under it is converted all the same (A3.3a). item: {request, now, id}
CREATE FUNCTION app.end_fx_mandate(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    m app.fx_mandate;
BEGIN
    SELECT * INTO m FROM app.fx_mandate WHERE id = i->>'id' AND merchant_id = whose;
    IF m.id IS NOT NULL THEN
        PERFORM app.lock_user_of(whose, m.user_id);
        UPDATE app.fx_mandate n SET state = 'ended', ended_at = instant, event_sequence = n.event_sequence + 1
            WHERE n.id = m.id AND n.state = 'active' RETURNING n.* INTO m;
        IF FOUND THEN
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, m.id, m.event_sequence, 'fx_mandate.ended', instant, app.fx_mandate_view(m));
        END IF;
        SELECT * INTO m FROM app.fx_mandate WHERE id = i->>'id';
    END IF;
    RETURN app.answered(i, 'end_fx_mandate', i->>'id', CASE WHEN m.id IS NOT NULL
        THEN jsonb_build_object('ok', true, 'resource', app.fx_mandate_view(m))
        ELSE '{"ok": false, "error": "fx_mandate_not_found"}'::jsonb END);
END $$;

-- A row of a conversion as it begins. `f` says what it is about.
CREATE FUNCTION app.new_fx(f app.fx, at timestamptz) RETURNS app.fx LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    f.state := 'waiting'; f.state_since := at; f.wait_reason := 'process_start'; f.accepted_at := at; f.hold_number := 1;
    f.plan_provisional := false; f.reversed_minor := 0; f.event_sequence := 0; f.kind := coalesce(f.kind, 'conversion');
    f.held_minor := coalesce(f.held_minor, f.amount_minor); f.evidence := coalesce(f.evidence, '[]');
    RETURN f;
END $$;

-- Takes a conversion in: what is to be converted is held where it lies, at the first of these banks that has it.
-- item: {item, request, now, id, user_id, order_number, amount_minor, currency, banks, purpose_code, is_trade, evidence, residency,
-- over_quota, confirmation_hash, agreement_version, blocked_regions, mandate_reference}
CREATE FUNCTION app.accept_fx(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user := app.lock_user_of(whose, i->>'user_id');
    f app.fx;
    other text;
    bank text;
    failed record;
    error text;
BEGIN
    SELECT * INTO f FROM app.fx WHERE id = i->>'id';
    IF f.id IS NULL THEN
        SELECT o.id INTO other FROM app.fx o WHERE o.merchant_id = whose AND o.order_number = i->>'order_number'
            AND o.rest_of IS NULL AND o.state NOT IN ('released', 'returned');
        error := coalesce(app.obstacle_to_fx(u, whose, i->'blocked_regions', instant),
            app.residency_obstacle(u, i->>'residency'),
            CASE WHEN other IS NOT NULL THEN 'fx_order_exists' END, 'insufficient_funds');
        IF error = 'insufficient_funds' THEN
            f := app.new_fx(jsonb_populate_record(f, i - ARRAY['item', 'request', 'now', 'banks', 'blocked_regions']), instant);
            f.merchant_id := whose; f.origin := 'user_relayed'; f.value_date := app.value_date_ahead(u.id, f.currency, instant);
            -- All balances that may be touched, once and in their order: each try below locks some of them.
            PERFORM 1 FROM ledger.balance b WHERE b.account_id IN (SELECT a.id FROM ledger.account a WHERE a.code IN (
                    SELECT 'reserve:' || x.code || ':' || f.currency FROM jsonb_array_elements_text(i->'banks') x (code)
                    UNION SELECT 'user:' || f.user_id || ':' || f.currency)) ORDER BY b.account_id FOR NO KEY UPDATE;
            FOR bank IN SELECT b.code FROM jsonb_array_elements_text(i->'banks') WITH ORDINALITY AS b (code, at) ORDER BY b.at LOOP
                f.held_at := bank;
                -- One bank that lacks it is left with all its locks, before the next is tried.
                BEGIN
                    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers',
                        app.fx_hold(f, instant))));
                    IF failed.error IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'LS003', MESSAGE = failed.error; END IF;
                    error := NULL;
                    EXIT;
                EXCEPTION WHEN SQLSTATE 'LS003' THEN
                    error := SQLERRM;
                END;
                EXIT WHEN failed.detail->>'account' LIKE 'user:%';
            END LOOP;
            IF error IS NULL THEN
                INSERT INTO app.fx AS n SELECT (f).* RETURNING n.* INTO f;
                f := app.tell_of_fx(f, 'fx.accepted', instant);
            ELSE
                -- An account that was never opened has nothing in it.
                error := CASE WHEN error NOT IN ('insufficient_funds', 'account_not_found') THEN error
                    WHEN failed.detail->>'account' LIKE 'user:%' THEN 'insufficient_funds' ELSE 'fx_bank_without_funds' END;
            END IF;
        END IF;
    END IF;
    RETURN app.answered(i, 'accept_fx', i->>'id', CASE WHEN error IS NULL
        THEN jsonb_build_object('ok', true, 'resource', app.fx_view(f))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', other) END);
END $$;

-- What becomes of money that could not be converted: it stays on the balance, or goes back to where it came from (A5.2a).
-- item: {request, now, id, action: release | return, return_id}
CREATE FUNCTION app.dispose_of_fx(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    f app.fx;
    b app.inbound;
    error text;
    wanted text := CASE i->>'action' WHEN 'release' THEN 'released' ELSE 'returning' END;
BEGIN
    SELECT * INTO f FROM app.fx WHERE id = i->>'id' AND merchant_id = whose;
    IF f.id IS NOT NULL THEN f := app.lock_fx(f.id); END IF;
    SELECT * INTO b FROM app.inbound WHERE id = f.inbound_id;
    error := CASE
        WHEN f.id IS NULL THEN 'fx_not_found'
        WHEN f.state = wanted OR wanted = 'returning' AND f.state = 'returned' THEN 'already'
        WHEN f.state <> 'refused' OR f.kind <> 'conversion' THEN 'fx_not_refused'
        WHEN wanted = 'returning' AND b.id IS NULL THEN 'fx_without_remittance'
        -- Frozen money goes nowhere, and no money leaves for a user who must not pay out.
        WHEN wanted = 'returning' THEN coalesce(app.restricted('payout', f.user_id, whose, f.user_id, instant, false),
            app.frozen_by(f.user_id, f.currency, instant)) END;
    IF error IS NULL THEN
        IF wanted = 'released' THEN
            PERFORM app.post_fx(f, app.fx_release(f, instant), 'released', instant);
        ELSE
            INSERT INTO app.inbound_return (id, inbound_id, fx_id, merchant_id, bank_code, amount_minor, currency, hold, state,
                    state_since, wait_reason, accepted_at)
                VALUES (i->>'return_id', b.id, f.id, whose, f.held_at, f.amount_minor, f.currency,
                    f.id || ':hold:' || f.hold_number, 'ready', instant, 'process_start', instant);
        END IF;
        UPDATE app.fx n SET state = wanted, state_since = instant, wait_reason = CASE wanted WHEN 'returning' THEN 'bank_answer' END,
            wait_until = NULL, wait_deadline = NULL WHERE n.id = f.id RETURNING n.* INTO f;
        f := app.note_fx(f, 'fx.' || wanted, instant, 'merchant', 'dispose_of_fx', NULL);
    END IF;
    RETURN app.answered(i, 'dispose_of_fx', i->>'id', CASE WHEN error IS NULL OR error = 'already'
        THEN jsonb_build_object('ok', true, 'resource', app.fx_view(f), 'return_id',
            (SELECT r.id FROM app.inbound_return r WHERE r.fx_id = f.id ORDER BY r.id DESC LIMIT 1))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', f.id) END);
END $$;
