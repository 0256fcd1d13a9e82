-- The send claims of foreign currency: conversions and reversals (FX, FR), returns of remittances (IR), receiving accounts (RA). The
-- last moment at which anything can stop them; whoever finds an effect claimed already does not send, but asks.

-- Why a quote cannot be dealt at, or NULL: its own time is over, or it was published too long ago (A5.1b).
CREATE FUNCTION app.quote_obstacle(f app.fx, q jsonb, at timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN q IS NULL OR q = 'null' THEN 'quote_missing'
        WHEN q->>'bank_code' <> f.desk OR q->>'currency' <> f.currency
            OR q->>'side' <> CASE f.kind WHEN 'conversion' THEN 'buys' ELSE 'sells' END THEN 'quote_missing'
        WHEN (q->>'valid_until')::timestamptz <= at OR (q->>'published_at')::timestamptz > at + interval '60 seconds'
            OR (q->>'published_at')::timestamptz < at - (SELECT l.longest_quote_age FROM app.fx_rule l) THEN 'quote_stale' END;

CREATE FUNCTION app.free_on(account text) RETURNS bigint LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN coalesce((SELECT b.posted - b.held FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        WHERE a.code = account), 0);

-- What a reversal costs has to lie at the desk's bank, or its deal could not be booked.
CREATE FUNCTION app.reserve_obstacle(f app.fx, rate_e8 bigint) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.kind = 'reversal' AND app.free_on('reserve:' || f.desk || ':CNY') + f.held_minor
            < app.cny_of(f.amount_minor, f.currency, rate_e8)
        THEN 'fx_bank_without_funds' END;

-- And nobody else may take it before the deal is booked: what the user's hold does not cover is held with the claim, against what
-- the user may come to owe. Answers the hold, for the row; NULL where there is nothing to hold. Takes the locks of balances.
CREATE FUNCTION app.hold_for_reversal(f app.fx, rate_e8 bigint, number text, at timestamptz) RETURNS text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    more bigint := app.cny_of(f.amount_minor, f.currency, rate_e8) - f.held_minor;
    failed record;
BEGIN
    IF f.kind <> 'reversal' OR more <= 0 THEN RETURN NULL; END IF;
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', app.fx_movement(f, 'hold',
        'sent:' || number, 'fx_reversal', 'internal', 'receivable:CNY', 'reserve:' || f.desk || ':CNY', 'CNY', more, at))));
    IF failed.error = 'insufficient_funds' THEN RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'fx_bank_without_funds'; END IF;
    IF failed.error IS NOT NULL THEN
        RAISE EXCEPTION 'the ledger refused the hold of %: % %', f.id, failed.error, failed.detail;
    END IF;
    RETURN 'sent:' || number;
END $$;

CREATE FUNCTION app.record_quote(q jsonb, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    known app.fx_quote;
BEGIN
    INSERT INTO app.fx_quote (bank_code, quote_id, currency, side, rate_e8, publisher, published_at, valid_until, asked_at)
        VALUES (q->>'bank_code', q->>'quote_id', q->>'currency', q->>'side', (q->>'rate_e8')::bigint, q->>'publisher',
            (q->>'published_at')::timestamptz, (q->>'valid_until')::timestamptz, at) ON CONFLICT DO NOTHING;
    SELECT * INTO known FROM app.fx_quote x WHERE x.bank_code = q->>'bank_code' AND x.quote_id = q->>'quote_id';
    -- What is kept is what it is dealt at: one that says anything else under its id is none.
    IF (known.rate_e8, known.currency, known.side, known.publisher, known.published_at, known.valid_until)
            <> ((q->>'rate_e8')::bigint, q->>'currency', q->>'side', q->>'publisher', (q->>'published_at')::timestamptz,
                (q->>'valid_until')::timestamptz) THEN
        RAISE EXCEPTION USING ERRCODE = 'LS001', MESSAGE = 'quote_stale';
    END IF;
END $$;

-- Whether every number under which it was sent has the bank's definite no.
CREATE FUNCTION app.nothing_was_dealt(fx_id text, but_for text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN NOT EXISTS (SELECT 1 FROM app.effect e WHERE e.subject_id = fx_id AND e.step IN ('FX', 'FR')
        AND e.request_number IS DISTINCT FROM but_for AND e.outcome IS DISTINCT FROM 'declined');

-- What of the person goes to the desk, for its registration of the quota (A4.3): the tokens of name and document that a bank has
-- confirmed. None for an enterprise.
CREATE FUNCTION app.fx_person_tokens(f app.fx) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.residency <> 'enterprise' THEN (
        SELECT jsonb_build_array(b.element_tokens->>'name', b.element_tokens->>'id_number') FROM app.binding b
            JOIN app.end_user u ON u.id = b.user_id AND u.person_index = b.person_index
            WHERE b.user_id = f.user_id AND b.state IN ('open', 'unbinding', 'unbound') ORDER BY b.id DESC LIMIT 1) END;

CREATE FUNCTION app.begin_effect(subject text, whose text, number text, step text, bank text, disclosures jsonb, at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    role text;
BEGIN
    SELECT t.role INTO role FROM app.partner t WHERE t.code = bank FOR KEY SHARE;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, partner, partner_role, request_number)
        VALUES (at, 'process', 'send_' || lower(step), 'received', subject, nullif(whose, ''), bank, role, number);
    INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)
        VALUES (number, subject, step, bank, role, at) ON CONFLICT DO NOTHING;
    -- Each time it leaves, also under a number that the bank knows.
    IF disclosures IS NOT NULL AND disclosures <> 'null' THEN PERFORM vault.record_disclosures(disclosures); END IF;
END $$;

CREATE FUNCTION app.claim_refused(why text, state text, again boolean) RETURNS jsonb LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('ok', false, 'error', why, 'state', state, 'sent_before', again);

CREATE FUNCTION app.opened_tokens(owner text, tokens jsonb, purpose text, fields jsonb, actor text, at timestamptz) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path = pg_catalog
    RETURN CASE WHEN tokens IS NULL THEN '{"ok": true, "items": []}'::jsonb ELSE vault.open_one(jsonb_build_object(
        'user_id', owner, 'actor', actor, 'at', at, 'tokens', tokens, 'purpose', purpose, 'allowed_fields', fields)) END;

CREATE FUNCTION app.claim_fx(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    step text := i->>'step';
    f app.fx;
    q app.fx_quota;
    prior app.effect;
    again boolean;
    refusal text;
    opened jsonb;
    out jsonb;
BEGIN
    SELECT * INTO f FROM app.fx x WHERE x.id = i->>'id';
    IF f.id IS NULL OR step <> (CASE f.kind WHEN 'conversion' THEN 'FX' ELSE 'FR' END) THEN
        RETURN '{"ok": false, "error": "not_found"}';
    END IF;
    PERFORM 1 FROM app.merchant m WHERE m.id = f.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = f.user_id FOR SHARE;
    SELECT * INTO f FROM app.fx x WHERE x.id = i->>'id' FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner t WHERE t.code = f.desk FOR KEY SHARE;
    SELECT * INTO prior FROM app.effect e WHERE e.request_number = i->>'request_number';
    again := prior.request_number IS NOT NULL;
    out := jsonb_build_object('ok', true, 'already', again, 'bank_code', coalesce(prior.bank_code, f.desk), 'user_id', f.user_id,
        'claimed_at', app.instant(coalesce(prior.claimed_at, instant)), 'kind', f.kind, 'amount_minor', f.amount_minor,
        'currency', f.currency, 'held_at', f.held_at, 'purpose_code', f.purpose_code, 'is_trade', f.is_trade,
        'residency', f.residency, 'state', f.state, 'quote_id', f.quote_id, 'rate_e8', (SELECT x.rate_e8 FROM app.fx_quote x
            WHERE x.bank_code = f.desk AND x.quote_id = f.quote_id), 'reverses', (SELECT e.request_number FROM app.effect e
            WHERE e.subject_id = f.reversal_of AND e.step = 'FX' AND e.outcome = 'succeeded'));
    -- A deal is sent once: its quote is over when it could be sent again, and what a bank has no trace of was never dealt.
    IF again THEN
        RETURN CASE WHEN coalesce((i->>'resend')::boolean, false) THEN app.claim_refused('resend_window_over', f.state, true) ELSE out END;
    END IF;
    refusal := CASE
        WHEN f.withdrawn_by IS NOT NULL AND f.claimed_at IS NULL AND f.state = 'waiting' THEN 'withdrawn'
        WHEN f.concluded_by IS NOT NULL AND app.is_concluded(f.concluded_by, f.id) THEN 'concluded_by_operators'
        WHEN f.state <> 'waiting' OR NOT app.nothing_was_dealt(f.id, NULL) THEN 'state_conflict'
        ELSE coalesce(app.fx_obstacle(f, instant), app.fx_slot_obstacle(f, instant)) END;
    IF refusal IS NULL AND app.quota_exemption(f) IS NULL THEN
        q := app.lock_quota(app.person_of(f.user_id), app.year_of(instant));
        refusal := CASE WHEN q.exceeded_at IS NOT NULL THEN 'quota_known_exceeded'
            WHEN NOT app.quota_is_current(f, instant) THEN 'quota_outdated' END;
    END IF;
    IF refusal IS NULL THEN
        refusal := coalesce(app.quote_obstacle(f, i->'quote', instant), app.reserve_obstacle(f, (i->'quote'->>'rate_e8')::bigint));
    END IF;
    IF refusal IS NOT NULL THEN RETURN app.claim_refused(refusal, f.state, false); END IF;
    opened := app.opened_tokens(f.user_id, app.fx_person_tokens(f), 'fx_settlement', '["name", "id_number"]', 'process:' || f.id, instant);
    IF NOT (opened->>'ok')::boolean THEN RETURN app.claim_refused('personal_data_erased', f.state, false); END IF;
    out := out || jsonb_build_object('sealed', opened->'items');
    PERFORM app.record_quote(i->'quote', instant);
    UPDATE app.fx n SET state = 'sending', state_since = instant, claimed_at = coalesce(n.claimed_at, instant),
        quote_id = i->'quote'->>'quote_id', wait_reason = 'bank_answer', wait_until = NULL, wait_deadline = NULL,
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = f.id;
    PERFORM app.begin_effect(f.id, f.merchant_id, i->>'request_number', step, f.desk, i->'disclosures', instant);
    f.sent_hold := app.hold_for_reversal(f, (i->'quote'->>'rate_e8')::bigint, i->>'request_number', instant);
    UPDATE app.fx n SET sent_hold = f.sent_hold WHERE n.id = f.id AND f.sent_hold IS NOT NULL;
    RETURN out || jsonb_build_object('state', 'sending', 'quote_id', i->'quote'->>'quote_id', 'rate_e8', i->'quote'->'rate_e8');
END $$;

CREATE FUNCTION app.claim_inbound_return(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    r app.inbound_return;
    f app.fx;
    prior app.effect;
    again boolean;
    refusal text;
    out jsonb;
BEGIN
    SELECT * INTO r FROM app.inbound_return x WHERE x.id = i->>'id';
    IF r.id IS NULL OR i->>'step' <> 'IR' THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
    SELECT * INTO f FROM app.fx x WHERE x.id = r.fx_id;
    PERFORM 1 FROM app.merchant m WHERE m.id = f.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = f.user_id FOR SHARE;
    SELECT * INTO r FROM app.inbound_return x WHERE x.id = i->>'id' FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner t WHERE t.code = r.bank_code FOR KEY SHARE;
    SELECT * INTO prior FROM app.effect e WHERE e.request_number = i->>'request_number';
    again := prior.request_number IS NOT NULL;
    out := jsonb_build_object('ok', true, 'already', again, 'bank_code', r.bank_code, 'state', r.state,
        'claimed_at', app.instant(coalesce(prior.claimed_at, instant)), 'amount_minor', r.amount_minor, 'currency', r.currency,
        'inbound_reference', (SELECT b.reference FROM app.inbound b WHERE b.id = r.inbound_id));
    IF again AND NOT coalesce((i->>'resend')::boolean, false) THEN RETURN out; END IF;
    refusal := CASE
        WHEN r.concluded_by IS NOT NULL AND app.is_concluded(r.concluded_by, r.id) THEN 'concluded_by_operators'
        WHEN NOT CASE WHEN again THEN r.state IN ('sending', 'unknown') ELSE r.state = 'ready' END THEN 'state_conflict'
        WHEN again AND prior.claimed_at <= (i->>'remembered_since')::timestamptz THEN 'resend_window_over'
        WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = r.bank_code AND t.enabled) THEN 'partner_not_available'
        WHEN f.id IS NOT NULL THEN coalesce(app.restricted('payout', f.user_id, f.merchant_id, f.user_id, instant, false),
            app.frozen_by(f.user_id, f.currency, instant)) END;
    IF refusal IS NOT NULL THEN RETURN app.claim_refused(refusal, r.state, again); END IF;
    PERFORM app.begin_effect(r.id, r.merchant_id, i->>'request_number', 'IR', r.bank_code, NULL, instant);
    IF again THEN RETURN out; END IF;
    UPDATE app.inbound_return n SET state = 'sending', state_since = instant, claimed_at = instant, wait_reason = 'bank_answer',
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = r.id;
    RETURN out || '{"state": "sending"}';
END $$;

CREATE FUNCTION app.claim_receiving_account(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    r app.receiving_account;
    prior app.effect;
    again boolean;
    refusal text;
    opened jsonb;
    out jsonb;
BEGIN
    SELECT * INTO r FROM app.receiving_account x WHERE x.id = i->>'id';
    IF r.id IS NULL OR i->>'step' <> 'RA' THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
    PERFORM 1 FROM app.merchant m WHERE m.id = r.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id = r.user_id FOR SHARE;
    SELECT * INTO r FROM app.receiving_account x WHERE x.id = i->>'id' FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner t WHERE t.code = r.bank_code FOR KEY SHARE;
    SELECT * INTO prior FROM app.effect e WHERE e.request_number = i->>'request_number';
    again := prior.request_number IS NOT NULL;
    out := jsonb_build_object('ok', true, 'already', again, 'bank_code', r.bank_code, 'user_id', r.user_id, 'state', r.state,
        'claimed_at', app.instant(coalesce(prior.claimed_at, instant)), 'currency', r.currency);
    IF again AND NOT coalesce((i->>'resend')::boolean, false) THEN RETURN out; END IF;
    refusal := CASE
        WHEN r.state <> 'opening' THEN 'state_conflict'
        WHEN again AND prior.claimed_at <= (i->>'remembered_since')::timestamptz THEN 'resend_window_over'
        WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = r.bank_code AND t.enabled) THEN 'partner_not_available'
        WHEN EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = r.user_id AND u.state <> 'active') THEN 'user_not_active'
        -- Asked once more where the name leaves: a contract may have run out since (P6b).
        WHEN r.cross_border AND app.export_obstacle(r.user_id, r.bank_code, r.data_export_version, instant) THEN 'data_export_not_allowed'
        ELSE app.restricted('fx', r.user_id, r.merchant_id, r.user_id, instant, false) END;
    IF refusal IS NOT NULL THEN RETURN app.claim_refused(refusal, r.state, again); END IF;
    opened := app.opened_tokens(r.user_id, jsonb_build_array(r.element_tokens->>'name'), 'fx_settlement', '["name"]',
        'process:' || r.id, instant);
    IF NOT (opened->>'ok')::boolean THEN RETURN app.claim_refused('personal_data_erased', r.state, again); END IF;
    PERFORM app.begin_effect(r.id, r.merchant_id, i->>'request_number', 'RA', r.bank_code, i->'disclosures', instant);
    UPDATE app.receiving_account n SET claimed_at = coalesce(n.claimed_at, instant), wait_reason = 'bank_answer',
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = r.id;
    RETURN out || jsonb_build_object('sealed', opened->'items');
END $$;

-- item: {now, kind: fx | inbound_return | receiving_account, id, step, request_number, attempt, resend, remembered_since, disclosures,
-- quote}; answers {ok, already, ...what the sender needs} or {ok: false, error, state, sent_before}
CREATE FUNCTION app.claim_fx_effect(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    RETURN CASE i->>'kind' WHEN 'fx' THEN app.claim_fx(i) WHEN 'inbound_return' THEN app.claim_inbound_return(i)
        WHEN 'receiving_account' THEN app.claim_receiving_account(i) ELSE '{"ok": false, "error": "not_found"}'::jsonb END;
EXCEPTION WHEN SQLSTATE 'LS001' THEN
    RETURN app.claim_refused(SQLERRM, NULL, false);
END $$;
