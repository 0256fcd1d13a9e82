-- Foreign currency that has arrived: to the user whose number and name it names, or to suspense (A2.3a-b, A5.1a).

-- Why a remittance cannot be its user's, or NULL.
CREATE FUNCTION app.why_in_suspense(r app.receiving_account, u app.end_user, cur text, name_index text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN r.id IS NULL THEN 'receiver_unknown'
        WHEN r.state <> 'open' OR u.state = 'closed' THEN 'account_closed'
        WHEN r.currency <> cur THEN 'currency_differs'
        WHEN r.holder_index <> name_index THEN 'receiver_name_differs' END;

-- What a number at a bank is for, in a currency: the account of that currency, the open one before those that were closed; where
-- there is none, one of another currency.
CREATE FUNCTION app.account_of_number(bank text, number_index text, cur text) RETURNS app.receiving_account LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT r FROM app.receiving_account r WHERE r.bank_code = bank AND r.account_index = number_index
        ORDER BY (r.currency = cur) DESC, (r.state = 'open') DESC, r.id DESC LIMIT 1);

-- Whose a remittance is, by number, name and currency; NULL if it goes to suspense.
CREATE FUNCTION app.receiver_of(bank text, number_index text, name_index text, cur text) RETURNS text LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT u.id FROM app.account_of_number(bank, number_index, cur) r JOIN app.end_user u ON u.id = r.user_id
        WHERE app.why_in_suspense(r, u, cur, name_index) IS NULL);

-- The conversion that a mandate asks for when money arrives; all NULL where there is none. `left_minor`: what no freeze took.
CREATE FUNCTION app.fx_of_inbound(b app.inbound, fx_id text, left_minor bigint, at timestamptz) RETURNS app.fx
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    f app.fx;
    m app.fx_mandate;
BEGIN
    SELECT * INTO m FROM app.fx_mandate x WHERE x.user_id = b.user_id AND x.currency = b.currency AND x.state = 'active'
        AND (x.valid_until IS NULL OR x.valid_until > at);
    IF m.id IS NULL OR left_minor <= 0 THEN RETURN NULL; END IF;
    f.id := fx_id; f.merchant_id := b.merchant_id; f.user_id := b.user_id; f.origin := 'standing_mandate'; f.mandate_id := m.id;
    f.inbound_id := b.id; f.amount_minor := left_minor; f.currency := b.currency; f.held_at := b.bank_code;
    f.purpose_code := b.purpose_code; f.is_trade := m.is_trade; f.evidence := m.evidence; f.residency := m.residency;
    f.over_quota := m.over_quota; f.value_date := b.value_date; f.agreement_version := m.agreement_version;
    -- The evidence is of the trade that the user has named, not of whatever else arrives (A5.2d).
    IF b.purpose_code <> m.purpose_code THEN
        f.is_trade := false; f.evidence := '[]';
    END IF;
    RETURN app.new_fx(f, at);
END $$;

-- Credits a user, and begins the conversion that the user's mandate asks for, in one posting. `from_account`: where the money
-- comes from. Answers the conversion's id, or NULL.
CREATE FUNCTION app.credit_inbound(b app.inbound, from_account text, kind text, fx_id text, at timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    s app.settlement;
    f app.fx;
    account text := 'user:' || b.user_id || ':' || b.currency;
    transfers jsonb;
    failed record;
BEGIN
    PERFORM ledger.open_accounts(ARRAY[account]);
    transfers := CASE kind WHEN 'suspense' THEN jsonb_build_array(jsonb_build_object('action', 'release_hold', 'key',
            b.id || ':hold:release', 'hold', b.id || ':hold', 'instruction', b.id, 'reference', b.id,
            'booked_at', app.instant(at))) ELSE '[]' END
        || jsonb_build_array(jsonb_build_object('action', 'post', 'key', b.id || ':credited', 'kind', kind,
        'direction', CASE kind WHEN 'inbound' THEN 'in' ELSE 'internal' END, 'debit', from_account, 'credit', account,
        'currency', b.currency, 'amount', b.amount_minor, 'instruction', b.id, 'reference', b.id, 'booked_at', app.instant(at)));
    s.item := 0; s.kind := 'inbound'; s.id := b.id; s.key := b.id || ':credited'; s.state := 'credited'; s.at := at;
    transfers := app.transfers_with_freezes(s, transfers);
    f := app.fx_of_inbound(b, fx_id, b.amount_minor - (SELECT coalesce(sum((t.value->>'amount')::bigint), 0)::bigint
        FROM jsonb_array_elements(transfers) t WHERE t.value->>'kind' = 'freeze'), at);
    IF f.id IS NOT NULL THEN transfers := transfers || app.fx_hold(f, at); END IF;
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', transfers)));
    IF failed.error IS NOT NULL THEN
        RAISE EXCEPTION 'the ledger refused to credit %: % %', b.id, failed.error, failed.detail;
    END IF;
    UPDATE app.inbound n SET event_sequence = n.event_sequence + 1 WHERE n.id = b.id RETURNING n.* INTO b;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (b.merchant_id, b.id, b.event_sequence, 'inbound.credited', at, app.inbound_view(b));
    IF f.id IS NULL THEN RETURN NULL; END IF;
    INSERT INTO app.fx AS n SELECT (f).* RETURNING n.* INTO f;
    f := app.note_fx(f, 'fx.accepted', at, 'process', 'accept_fx', NULL);
    RETURN f.id;
END $$;

-- What a bank said of a remittance when it was asked; booked once, by the bank's reference.
-- item: {now, id, fx_id, bank_code, reference, amount_minor, currency, value_date, booked_at, purpose_code, remitter_country,
-- account_index, receiver_index, sealed: [...], sealed_under, element_tokens}
-- Answers {ok, inbound_id, fx_id, state}; error: reference_reused (with other content, which is a case), try_again (the user
-- it is sealed for is not the one it turned out to be).
CREATE FUNCTION app.receive_inbound(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    b app.inbound;
    r app.receiving_account;
    u app.end_user;
    begun text;
    failed record;
BEGIN
    SELECT * INTO r FROM app.account_of_number(i->>'bank_code', i->>'account_index', i->>'currency');
    IF r.id IS NOT NULL THEN u := app.lock_user_of(r.merchant_id, r.user_id); END IF;
    -- Two who were told of it at once: the second waits for the first, and finds it, whether or not it was announced.
    PERFORM pg_advisory_xact_lock(hashtextextended('inbound ' || (i->>'bank_code') || ' ' || (i->>'reference'), 0));
    SELECT * INTO b FROM app.inbound x WHERE x.bank_code = i->>'bank_code' AND x.reference = i->>'reference';
    IF b.id IS NOT NULL THEN
        IF (b.amount_minor, b.currency, b.value_date, b.purpose_code, b.account_index, b.receiver_index)
                <> ((i->>'amount_minor')::bigint, i->>'currency', (i->>'value_date')::date, i->>'purpose_code',
                    i->>'account_index', i->>'receiver_index') THEN
            PERFORM app.open_fx_case('inbound_differs', b.id, b.merchant_id, instant);
            RETURN jsonb_build_object('ok', false, 'error', 'reference_reused', 'inbound_id', b.id);
        END IF;
        UPDATE app.inbound_notice n SET looked_at = instant, outcome = 'received'
            WHERE n.bank_code = b.bank_code AND n.reference = b.reference AND n.outcome IS DISTINCT FROM 'received';
        RETURN jsonb_build_object('ok', true, 'inbound_id', b.id, 'state', b.state, 'fx_id',
            (SELECT f.id FROM app.fx f WHERE f.inbound_id = b.id AND f.rest_of IS NULL AND f.kind = 'conversion'));
    END IF;
    SELECT * INTO r FROM app.receiving_account x WHERE x.id = r.id;
    b := jsonb_populate_record(b, i - ARRAY['now', 'fx_id', 'sealed']);
    b.reason := app.why_in_suspense(r, u, b.currency, i->>'receiver_index');
    b.state := CASE WHEN b.reason IS NULL THEN 'credited' ELSE 'suspense' END;
    b.state_since := instant; b.received_at := instant; b.event_sequence := 0;
    b.receiving_account_id := r.id;
    IF b.reason IS NULL THEN b.user_id := u.id; b.merchant_id := u.merchant_id; END IF;
    IF b.sealed_under <> coalesce(b.user_id, b.id) THEN RETURN '{"ok": false, "error": "try_again"}'; END IF;
    PERFORM vault.store_items(i->'sealed');
    INSERT INTO app.inbound AS n SELECT (b).* RETURNING n.* INTO b;
    PERFORM ledger.open_accounts(ARRAY['reserve:' || b.bank_code || ':' || b.currency, 'suspense:' || b.currency]);
    IF b.state = 'credited' THEN
        begun := app.credit_inbound(b, 'reserve:' || b.bank_code || ':' || b.currency, 'inbound', i->>'fx_id', instant);
    ELSE
        -- Held where it lies, too: what nobody owns yet serves nobody else's conversion.
        SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', jsonb_build_array(
            jsonb_build_object('action', 'post', 'key', b.id || ':suspense', 'kind', 'suspense', 'direction', 'in',
                'debit', 'reserve:' || b.bank_code || ':' || b.currency, 'credit', 'suspense:' || b.currency,
                'currency', b.currency, 'amount', b.amount_minor, 'instruction', b.id, 'reference', b.id,
                'booked_at', app.instant(instant)),
            jsonb_build_object('action', 'hold', 'key', b.id || ':hold', 'kind', 'inbound_return', 'direction', 'out',
                'debit', 'suspense:' || b.currency, 'credit', 'reserve:' || b.bank_code || ':' || b.currency,
                'currency', b.currency, 'amount', b.amount_minor, 'instruction', b.id, 'reference', b.id,
                'booked_at', app.instant(instant))))));
        IF failed.error IS NOT NULL THEN RAISE EXCEPTION 'the ledger refused %: % %', b.id, failed.error, failed.detail; END IF;
        PERFORM app.open_fx_case('inbound_unmatched', b.id, NULL, instant);
    END IF;
    UPDATE app.inbound_notice n SET looked_at = instant, outcome = 'received'
        WHERE n.bank_code = b.bank_code AND n.reference = b.reference;
    UPDATE app.case_record c SET state = 'resolved', resolved_at = instant WHERE c.kind = 'inbound_unreadable'
        AND c.subject_id = b.bank_code || '-' || b.reference AND c.state = 'open';
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner)
        VALUES (b.id || ':received', instant, 'process', 'receive_inbound', 'done', b.reason, b.id, b.merchant_id, b.bank_code);
    RETURN jsonb_build_object('ok', true, 'inbound_id', b.id, 'state', b.state, 'fx_id', begun);
END $$;

-- Something that a person has to look at, once for each thing. What belongs to no merchant is nobody's but ours.
CREATE FUNCTION app.open_fx_case(what text, subject text, whose text, at timestamptz) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || left(split_part(subject, '_', 2), 10) || upper(left(md5(what || subject), 16)), what, subject,
                coalesce(whose, ''), at ON CONFLICT DO NOTHING;
    END;

-- What a bank says of what it has announced cannot be believed, or it has said nothing usable for long: people are told, once for
-- each announcement. Of what is booked already it says something else than before; a silence about that is none of their concern.
-- item: {now, case_id, bank_code, reference, reason, fields, patience_seconds}; answers {inbound_id} of what is booked.
CREATE FUNCTION app.doubt_inbound(i jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    patience interval := make_interval(secs => (i->>'patience_seconds')::int);
    subject text := (i->>'bank_code') || '-' || (i->>'reference');
    n app.inbound_notice;
    b app.inbound;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('inbound ' || (i->>'bank_code') || ' ' || (i->>'reference'), 0));
    SELECT * INTO b FROM app.inbound x WHERE x.bank_code = i->>'bank_code' AND x.reference = i->>'reference';
    SELECT * INTO n FROM app.inbound_notice x WHERE x.bank_code = i->>'bank_code' AND x.reference = i->>'reference';
    IF b.id IS NOT NULL THEN
        IF patience IS NULL THEN PERFORM app.open_fx_case('inbound_differs', b.id, b.merchant_id, instant); END IF;
        RETURN jsonb_build_object('inbound_id', b.id);
    END IF;
    IF patience IS NOT NULL AND (n.received_at IS NULL OR n.received_at > instant - patience) OR EXISTS (
            SELECT 1 FROM app.case_record c WHERE c.kind = 'inbound_unreadable' AND c.subject_id = subject
            AND (c.state = 'open' OR c.opened_at >= n.received_at)) THEN
        RETURN '{"inbound_id": null}';
    END IF;
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        VALUES (i->>'case_id', 'inbound_unreadable', subject, '', instant) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, partner, detail)
            VALUES (instant, 'process', 'receive_inbound', 'refused',
                CASE WHEN patience IS NULL THEN 'unreadable' ELSE 'no_usable_answer' END, subject, i->>'bank_code',
                jsonb_build_object('answer', i->>'reason', 'fields', i->'fields'));
    END IF;
    RETURN '{"inbound_id": null}';
END $$;

-- A bank says that it knows no such remittance: nothing is booked, and it may speak up again.
CREATE FUNCTION app.no_such_inbound(bank text, ref text, at timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.inbound_notice n SET looked_at = no_such_inbound.at, outcome = 'unknown_to_the_bank'
        WHERE n.bank_code = bank AND n.reference = ref AND n.outcome IS NULL;
    IF FOUND THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, partner)
            VALUES (at, 'process', 'receive_inbound', 'refused', 'unknown_to_the_bank', bank);
    END IF;
END $$;

-- A signed notice: something has arrived, which the bank is to be asked about. Answers whether anything is to be done.
CREATE FUNCTION app.announce_inbound(bank text, ref text, notice_id text, at timestamptz) RETURNS boolean LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    fresh boolean;
    n app.inbound_notice;
BEGIN
    INSERT INTO app.bank_callback (bank_code, notice_id, request_number, received_at) VALUES (bank, notice_id, ref, at)
        ON CONFLICT DO NOTHING;
    fresh := FOUND;
    INSERT INTO app.inbound_notice AS x (bank_code, reference, received_at) VALUES (bank, ref, at)
        ON CONFLICT (bank_code, reference) DO UPDATE SET outcome = NULL, looked_at = NULL, received_at = announce_inbound.at
            WHERE x.outcome = 'unknown_to_the_bank' AND fresh;
    SELECT * INTO n FROM app.inbound_notice x WHERE x.bank_code = bank AND x.reference = ref;
    INSERT INTO app.operation (at, actor, action, outcome, reason, partner)
        VALUES (at, 'bank', 'bank_callback', CASE WHEN fresh THEN 'done' ELSE 'refused' END,
            CASE WHEN NOT fresh THEN 'duplicate' END, bank);
    RETURN n.outcome IS NULL;
END $$;

-- The remittance whose money a case is about: the case is done by deciding what becomes of that. NULL for any other case.
CREATE FUNCTION app.inbound_of_case(c app.case_record) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE c.kind WHEN 'inbound_unmatched' THEN c.subject_id
        WHEN 'inbound_return_failed' THEN (SELECT r.inbound_id FROM app.inbound_return r WHERE r.id = c.subject_id) END;

-- What people decided about money in suspense: it is this user's, or it goes back (two of them).
CREATE FUNCTION app.why_not_inbound(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    b app.inbound;
    u app.end_user;
BEGIN
    SELECT * INTO u FROM app.end_user x WHERE x.id = more->>'user_id';
    IF what = 'inbound.assign' AND u.id IS NOT NULL THEN u := app.lock_user_of(u.merchant_id, u.id); END IF;
    SELECT * INTO b FROM app.inbound x WHERE x.id = subject FOR UPDATE;
    RETURN CASE
        WHEN b.state IS DISTINCT FROM 'suspense' THEN 'decision_not_applicable'
        WHEN what = 'inbound.assign' AND (u.id IS NULL OR u.state = 'closed') THEN 'decision_not_applicable' END;
END $$;

CREATE FUNCTION app.carry_out_inbound(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    ulid text := split_part(d.id, '_', 2);
    b app.inbound;
BEGIN
    IF d.kind = 'inbound.assign' THEN
        UPDATE app.inbound n SET state = 'credited', state_since = d.decided_at, decided_by = d.id, user_id = u.id,
            merchant_id = u.merchant_id FROM app.end_user u WHERE n.id = d.subject_id AND u.id = d.detail->>'user_id'
            RETURNING n.* INTO b;
        PERFORM app.credit_inbound(b, 'suspense:' || b.currency, 'suspense', 'fx_' || ulid, d.decided_at);
    ELSE
        UPDATE app.inbound n SET state = 'returning', state_since = d.decided_at, decided_by = d.id
            WHERE n.id = d.subject_id RETURNING n.* INTO b;
        INSERT INTO app.inbound_return (id, inbound_id, merchant_id, bank_code, amount_minor, currency, hold, decided_by, state,
                state_since, wait_reason, accepted_at)
            VALUES ('inr_' || ulid, b.id, '', b.bank_code, b.amount_minor, b.currency, b.id || ':hold', d.id, 'ready', d.decided_at,
                'process_start', d.decided_at);
    END IF;
    UPDATE app.case_record c SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at
        WHERE c.state = 'open' AND app.inbound_of_case(c) = d.subject_id;
END $$;
