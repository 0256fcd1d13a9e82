-- What becomes of conversions, returns and receiving accounts: state, postings, quota, record and event in one commit, once by key.
-- item: {key, kind, id, expect: [...], state, at, actor, action, outcome, reason, raw_code, bank_reference, booked_at, wait_reason,
-- wait_until, wait_deadline, effect_number, effect_outcome, event_type, earliest_at, rate_e8, cny_minor, delivered_at,
-- delivery_reference, learned_exceeded, account_index, account_last4, account_token, sealed}
-- answers {ok, state, replayed} or {ok: false, error, state}

-- The verdict on an item: go, replayed, or why not. Unknown is not failed: what was sent ends only with what the bank has
-- definitely said of it.
CREATE FUNCTION app.judge_fx(i jsonb, found_state text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN EXISTS (SELECT 1 FROM app.operation o WHERE o.key = i->>'key') THEN 'replayed'
        WHEN found_state IS NULL THEN 'not_found'
        WHEN NOT i->'expect' ? found_state THEN 'state_conflict'
        WHEN i->>'state' <> found_state AND NOT EXISTS (SELECT 1 FROM app.legal_step l WHERE l.subject = i->>'kind'
            AND l.from_state = found_state AND l.to_state = i->>'state') THEN 'state_conflict'
        WHEN i->>'state' IN ('converted', 'settled', 'succeeded', 'open') AND found_state IN ('sending', 'unknown', 'opening')
            AND (i->>'effect_outcome' IS DISTINCT FROM 'succeeded' OR NOT EXISTS (SELECT 1 FROM app.effect e
                WHERE e.request_number = i->>'effect_number' AND e.subject_id = i->>'id'
                  AND e.outcome IS DISTINCT FROM 'declined')) THEN 'bank_word_missing'
        -- A receiving account stays as it is while its bank is asked.
        WHEN i->>'state' IN ('waiting', 'refused', 'failed', 'declined') AND found_state IN ('sending', 'unknown', 'opening')
            AND EXISTS (SELECT 1 FROM app.effect e WHERE e.subject_id = i->>'id' AND e.outcome IS DISTINCT FROM 'declined'
                AND (i->>'effect_outcome' IS DISTINCT FROM 'declined'
                    OR e.request_number IS DISTINCT FROM i->>'effect_number')) THEN 'bank_word_missing'
        ELSE 'go' END;

CREATE FUNCTION app.record_fx(i jsonb, whose text, partner text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        VALUES (i->>'key', (i->>'at')::timestamptz, coalesce(i->>'actor', 'process'), i->>'action', i->>'outcome', i->>'reason',
            i->>'id', nullif(whose, ''), CASE WHEN i->>'effect_number' IS NOT NULL THEN partner END, i->>'effect_number');
    UPDATE app.effect e SET outcome = i->>'effect_outcome', reason = i->>'reason', raw_code = i->>'raw_code',
            bank_reference = i->>'bank_reference', resolved_at = (i->>'at')::timestamptz
        WHERE e.request_number = i->>'effect_number' AND e.outcome IS NULL AND i->>'effect_outcome' IS NOT NULL;
END $$;

-- What a user can give of the CNY that a reversal takes back: what is held for it, and what else is free.
CREATE FUNCTION app.user_can_give(f app.fx) RETURNS bigint LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN coalesce((SELECT b.posted - b.held FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
        WHERE a.code = 'user:' || f.user_id || ':CNY'), 0) + f.held_minor;

-- Locks the balances of a reversal before what is on them is read, in the order of accounts.
CREATE FUNCTION app.lock_reversal(f app.fx) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.lock_freezes(f.user_id);
    PERFORM 1 FROM ledger.balance b WHERE b.account_id IN (SELECT a.id FROM ledger.account a WHERE a.code = ANY (ARRAY[
            'user:' || f.user_id || ':CNY', 'user:' || f.user_id || ':' || f.currency, 'receivable:CNY',
            'fx_position:' || f.desk || ':CNY', 'fx_position:' || f.desk || ':' || f.currency, 'reserve:' || f.desk || ':CNY',
            'reserve:' || f.held_at || ':' || f.currency, 'frozen:' || f.user_id || ':CNY', 'frozen:' || f.user_id || ':' || f.currency]))
        ORDER BY b.account_id FOR NO KEY UPDATE;
END $$;

-- A deal: what was given is in the desk's position, what is reserved of the quota is used. Answers the row to be written, and the
-- transfers, with those of the delivery where that came with it.
CREATE FUNCTION app.deal_fx(f app.fx, i jsonb, OUT dealt app.fx, OUT transfers jsonb) LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
    at_once boolean := i->>'state' = 'settled';
    gives bigint := 0;
BEGIN
    f.rate_e8 := (i->>'rate_e8')::bigint; f.cny_minor := (i->>'cny_minor')::bigint;
    f.dealt_at := (i->>'booked_at')::timestamptz; f.bank_reference := i->>'bank_reference';
    -- At the quote that was sent, to the fen, and about when it was sent: anything else is no deal that we have made.
    IF f.rate_e8 IS DISTINCT FROM (SELECT q.rate_e8 FROM app.fx_quote q WHERE q.bank_code = f.desk AND q.quote_id = f.quote_id)
            OR f.cny_minor IS DISTINCT FROM app.cny_of(f.amount_minor, f.currency, f.rate_e8)
            OR f.dealt_at IS NULL OR f.dealt_at < f.claimed_at - interval '1 hour' OR f.dealt_at > instant + interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = 'LS003', MESSAGE = 'terms_differ';
    END IF;
    f.remainder_e8 := app.exact_e8(f.amount_minor, f.currency, f.rate_e8) - f.cny_minor::numeric * 100000000;
    IF f.kind = 'conversion' THEN
        f := app.use_quota(f, f.dealt_at, instant);
    ELSE
        -- What the reversal changes of the conversion and of its quota is locked before any balance, as by everybody.
        PERFORM 1 FROM app.fx c WHERE c.id = f.reversal_of FOR NO KEY UPDATE;
        PERFORM app.lock_quota(app.person_of(c.user_id), c.quota_year) FROM app.fx c
            WHERE c.id = f.reversal_of AND c.quota_year IS NOT NULL;
        PERFORM app.lock_reversal(f);
        gives := least(app.user_can_give(f), f.cny_minor);
        f.shortfall_minor := f.cny_minor - gives;
        f.rate_difference_minor := f.share_minor - f.cny_minor;
    END IF;
    dealt := f;
    transfers := app.fx_dealt(f, gives, at_once, instant) || CASE WHEN at_once THEN app.fx_delivered(f, true, instant) ELSE '[]' END;
END $$;

-- What follows from a reversal that was dealt: the conversion has so much less, the quota is given back, and what the user no
-- longer had is owed: a receivable, and never a balance below nought (A10.2b).
CREATE FUNCTION app.follow_reversal(f app.fx, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    c app.fx;
    back bigint;
BEGIN
    UPDATE app.fx n SET reversed_minor = n.reversed_minor + f.amount_minor WHERE n.id = f.reversal_of RETURNING n.* INTO c;
    IF c.quota_usd_minor IS NOT NULL THEN
        -- What is left of it counts, rounded up like all that counts.
        back := c.quota_usd_minor - app.usd_of(c.amount_minor - c.reversed_minor, c.currency, c.quota_usd_e8);
        PERFORM app.move_quota(app.person_of(c.user_id), c.quota_year, f.id, 0, -back, 'given_back', at);
        UPDATE app.fx n SET quota_usd_minor = n.quota_usd_minor - back WHERE n.id = c.id;
    END IF;
    PERFORM app.tell_of_fx(c, 'fx.reversed', at);
    IF f.shortfall_minor > 0 THEN
        INSERT INTO app.user_receivable (fx_id, user_id, merchant_id, currency, amount_minor, opened_at)
            VALUES (f.id, f.user_id, f.merchant_id, 'CNY', f.shortfall_minor, at);
        PERFORM app.open_fx_case('user_receivable', f.id, f.merchant_id, at);
    END IF;
END $$;

CREATE FUNCTION app.settle_one_fx(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
    f app.fx := app.lock_fx(i->>'id');
    verdict text := app.judge_fx(i, f.state);
    was text := f.state;
    d record;
    transfers jsonb := '[]';
BEGIN
    IF verdict <> 'go' THEN
        RETURN jsonb_build_object('ok', verdict = 'replayed', 'error', nullif(verdict, 'replayed'), 'replayed', verdict = 'replayed', 'state', f.state);
    END IF;
    CASE
    WHEN i->>'state' IN ('converted', 'settled') AND was IN ('sending', 'unknown') THEN
        SELECT * INTO d FROM app.deal_fx(f, i);
        f := d.dealt; transfers := d.transfers;
    WHEN i->>'state' = 'settled' THEN
        transfers := app.fx_delivered(f, false, instant);
    WHEN i->>'state' = 'refused' THEN
        IF (i->>'learned_exceeded')::boolean AND app.quota_exemption(f) IS NULL THEN
            -- Of the year for which it was sent, whenever the word comes.
            PERFORM app.move_quota(app.person_of(f.user_id), coalesce(f.quota_year, app.year_of(instant)), f.id, 0, 0,
                'learned_exceeded', instant);
            f.quota_decision := 'known_exceeded';
        END IF;
        f := app.release_quota(f, instant);
        -- What of the CNY was kept for it is the user's again; the excess is for people, or for the bank's next word of it.
        IF f.kind = 'reversal' THEN
            transfers := app.fx_release(f, instant);
            f.held_minor := 0;
            PERFORM app.open_fx_case('reversal_refused', f.id, f.merchant_id, instant);
        END IF;
    WHEN i->>'state' = 'released' THEN
        f := app.release_quota(f, instant);
        transfers := app.fx_release(f, instant);
    ELSE NULL;
    END CASE;
    -- What the claim of a reversal held at the desk's bank goes into the deal, or is free again with the desk's no.
    IF f.sent_hold IS NOT NULL AND coalesce(i->>'state', was) NOT IN ('sending', 'unknown') THEN
        transfers := app.end_hold(f, 'release_hold', f.sent_hold || ':release', f.sent_hold, instant) || transfers;
        f.sent_hold := NULL;
    END IF;
    PERFORM app.post_fx(f, transfers, coalesce(i->>'state', 'shown'), instant);
    UPDATE app.fx n SET
        state = coalesce(i->>'state', n.state),
        state_since = CASE WHEN coalesce(i->>'state', n.state) <> n.state THEN instant ELSE n.state_since END,
        reason = CASE WHEN i->>'state' IS NULL OR i->>'state' IN ('waiting', 'unknown') THEN n.reason ELSE i->>'reason' END,
        raw_code = coalesce(i->>'raw_code', n.raw_code),
        wait_reason = i->>'wait_reason', wait_until = (i->>'wait_until')::timestamptz,
        wait_deadline = (i->>'wait_deadline')::timestamptz,
        earliest_at = coalesce((i->>'earliest_at')::timestamptz, n.earliest_at),
        -- Not dealt, and to be sent again: it has no slot, and can be withdrawn.
        slot_at = CASE i->>'state' WHEN 'waiting' THEN NULL ELSE n.slot_at END,
        plan_version = CASE i->>'state' WHEN 'waiting' THEN -1 ELSE n.plan_version END,
        claimed_at = CASE i->>'state' WHEN 'waiting' THEN NULL ELSE n.claimed_at END,
        held_minor = f.held_minor, sent_hold = f.sent_hold, rate_e8 = f.rate_e8, cny_minor = f.cny_minor, remainder_e8 = f.remainder_e8, dealt_at = f.dealt_at,
        bank_reference = f.bank_reference, shortfall_minor = f.shortfall_minor, rate_difference_minor = f.rate_difference_minor,
        quota_decision = f.quota_decision, quota_year = f.quota_year, quota_usd_minor = f.quota_usd_minor,
        quota_usd_e8 = f.quota_usd_e8, quota_rate_month = f.quota_rate_month,
        delivered_at = coalesce((i->>'delivered_at')::timestamptz, n.delivered_at),
        delivery_reference = coalesce(i->>'delivery_reference', n.delivery_reference),
        process_started_at = coalesce(n.process_started_at, instant)
        WHERE n.id = f.id RETURNING n.* INTO f;
    PERFORM app.record_fx(i, f.merchant_id, f.desk);
    IF i->>'event_type' IS NOT NULL THEN f := app.tell_of_fx(f, i->>'event_type', instant); END IF;
    IF f.kind = 'reversal' AND was IN ('sending', 'unknown') AND f.state IN ('converted', 'settled') THEN
        PERFORM app.follow_reversal(f, instant);
    END IF;
    RETURN jsonb_build_object('ok', true, 'replayed', false, 'state', f.state);
EXCEPTION WHEN SQLSTATE 'LS003' THEN
    RETURN jsonb_build_object('ok', false, 'error', SQLERRM, 'state', was);
END $$;

-- A return: the money has left, or it is where it was. What it belongs to moves with it.
CREATE FUNCTION app.settle_inbound_return(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
    r app.inbound_return;
    f app.fx;
    b app.inbound;
    verdict text;
    ended boolean := i->>'state' IN ('succeeded', 'failed');
BEGIN
    SELECT * INTO r FROM app.inbound_return x WHERE x.id = i->>'id';
    IF r.fx_id IS NOT NULL THEN f := app.lock_fx(r.fx_id); END IF;
    SELECT * INTO b FROM app.inbound x WHERE x.id = r.inbound_id FOR NO KEY UPDATE;
    SELECT * INTO r FROM app.inbound_return x WHERE x.id = i->>'id' FOR NO KEY UPDATE;
    verdict := app.judge_fx(i, r.state);
    IF verdict <> 'go' THEN
        RETURN jsonb_build_object('ok', verdict = 'replayed', 'error', nullif(verdict, 'replayed'), 'replayed', verdict = 'replayed', 'state', r.state);
    END IF;
    -- What did not leave stays held, as the conversion's or as what is nobody's yet.
    IF i->>'state' = 'succeeded' THEN
        PERFORM app.post_all(jsonb_build_array(jsonb_build_object('action', 'post_hold', 'key', r.id || ':succeeded', 'hold', r.hold, 'instruction', r.inbound_id, 'reference', r.id, 'booked_at', app.instant(instant))), r.id);
    END IF;
    UPDATE app.inbound_return n SET state = coalesce(i->>'state', n.state),
        state_since = CASE WHEN coalesce(i->>'state', n.state) <> n.state THEN instant ELSE n.state_since END,
        reason = CASE WHEN i->>'state' IS NULL THEN n.reason ELSE i->>'reason' END, raw_code = coalesce(i->>'raw_code', n.raw_code),
        bank_reference = coalesce(i->>'bank_reference', n.bank_reference),
        booked_at = coalesce((i->>'booked_at')::timestamptz, n.booked_at), wait_reason = i->>'wait_reason',
        wait_until = (i->>'wait_until')::timestamptz, wait_deadline = (i->>'wait_deadline')::timestamptz,
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = r.id RETURNING n.* INTO r;
    PERFORM app.record_fx(i, r.merchant_id, r.bank_code);
    IF ended AND f.id IS NOT NULL THEN
        UPDATE app.fx n SET state = CASE r.state WHEN 'succeeded' THEN 'returned' ELSE 'refused' END, state_since = instant,
            wait_reason = NULL WHERE n.id = f.id AND n.state = 'returning' RETURNING n.* INTO f;
        IF FOUND THEN PERFORM app.tell_of_fx(f, CASE f.state WHEN 'returned' THEN 'fx.returned' ELSE 'fx.return_failed' END, instant); END IF;
    ELSIF ended THEN
        UPDATE app.inbound n SET state = CASE r.state WHEN 'succeeded' THEN 'returned' ELSE 'suspense' END, state_since = instant
            WHERE n.id = b.id AND n.state = 'returning';
        IF r.state = 'failed' THEN PERFORM app.open_fx_case('inbound_return_failed', r.id, NULL, instant); END IF;
    END IF;
    RETURN jsonb_build_object('ok', true, 'replayed', false, 'state', r.state);
END $$;

-- Whether a number that a bank gives is another user's there, in whatever currency. Asked with the user and the account locked.
CREATE FUNCTION app.number_in_use(r app.receiving_account, number_index text) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    -- Two who learn of one number at once: the second waits for the first, and finds it.
    PERFORM pg_advisory_xact_lock(hashtextextended('number ' || r.bank_code || ' ' || number_index, 0));
    RETURN EXISTS (SELECT 1 FROM app.receiving_account x WHERE x.bank_code = r.bank_code AND x.account_index = number_index
        AND x.state = 'open' AND x.user_id <> r.user_id);
END $$;

-- A number that is another user's opens nothing: what arrives under it stays the other's alone, and people ask the bank. Its word
-- stays with what was sent to it; the number, which is not this user's, is kept nowhere.
CREATE FUNCTION app.settle_receiving_account(i jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
    r app.receiving_account;
    verdict text;
BEGIN
    SELECT * INTO r FROM app.receiving_account x WHERE x.id = i->>'id';
    PERFORM app.lock_user_of(r.merchant_id, r.user_id);
    SELECT * INTO r FROM app.receiving_account x WHERE x.id = i->>'id' FOR NO KEY UPDATE;
    verdict := app.judge_fx(i, r.state);
    IF verdict <> 'go' THEN
        RETURN jsonb_build_object('ok', verdict = 'replayed', 'error', nullif(verdict, 'replayed'), 'replayed', verdict = 'replayed', 'state', r.state);
    END IF;
    IF i->>'state' = 'open' AND app.number_in_use(r, i->>'account_index') THEN
        i := (i - ARRAY['account_index', 'account_last4', 'account_token', 'sealed']) || jsonb_build_object('state', 'declined',
            'outcome', 'failed', 'reason', 'number_in_use', 'event_type', 'receiving_account.declined');
        PERFORM app.open_fx_case('receiving_number_in_use', r.id, r.merchant_id, instant);
    ELSIF i->>'state' = 'open' THEN
        PERFORM vault.store_items(i->'sealed');
    END IF;
    UPDATE app.receiving_account n SET state = coalesce(i->>'state', n.state),
        state_since = CASE WHEN coalesce(i->>'state', n.state) <> n.state THEN instant ELSE n.state_since END,
        reason = CASE WHEN i->>'state' IS NULL THEN n.reason ELSE i->>'reason' END, raw_code = coalesce(i->>'raw_code', n.raw_code),
        account_index = coalesce(i->>'account_index', n.account_index),
        account_last4 = coalesce(i->>'account_last4', n.account_last4),
        element_tokens = n.element_tokens || CASE WHEN i->>'account_token' IS NOT NULL
            THEN jsonb_build_object('account_number', i->>'account_token') ELSE '{}' END,
        wait_reason = i->>'wait_reason', wait_until = (i->>'wait_until')::timestamptz,
        wait_deadline = (i->>'wait_deadline')::timestamptz, process_started_at = coalesce(n.process_started_at, instant),
        event_sequence = n.event_sequence + (i->>'event_type' IS NOT NULL)::int WHERE n.id = r.id RETURNING n.* INTO r;
    PERFORM app.record_fx(i, r.merchant_id, r.bank_code);
    IF i->>'event_type' IS NOT NULL THEN
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (r.merchant_id, r.id, r.event_sequence, i->>'event_type', instant, app.receiving_account_view(r));
    END IF;
    RETURN jsonb_build_object('ok', true, 'replayed', false, 'state', r.state);
END $$;

CREATE FUNCTION app.settle_fx(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    RETURN CASE i->>'kind' WHEN 'fx' THEN app.settle_one_fx(i) WHEN 'inbound_return' THEN app.settle_inbound_return(i)
        WHEN 'receiving_account' THEN app.settle_receiving_account(i) ELSE '{"ok": false, "error": "not_found"}'::jsonb END;
END $$;

-- A bank has found, after it had dealt, that so much of a conversion was above the quota (A5.2c): exactly what is new of that is
-- taken back, by a conversion the other way round with a rate of its own. The person's quota of that year is known to be
-- exceeded. item: {now, fx_id, excess_minor, reversal_id}; answers {ok, reversal_id, state}, without an id if there is nothing new.
CREATE FUNCTION app.open_reversal(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    c app.fx := app.lock_fx(i->>'fx_id');
    excess bigint := least((i->>'excess_minor')::bigint, c.amount_minor);
    before bigint;
    shares bigint;
    f app.fx;
BEGIN
    IF c.id IS NULL OR c.kind <> 'conversion' OR c.state NOT IN ('converted', 'settled') THEN
        RETURN jsonb_build_object('ok', false, 'error', CASE WHEN c.id IS NULL THEN 'fx_not_found' ELSE 'state_conflict' END, 'state', c.state);
    END IF;
    -- A5.2 does not apply to trade: what a bank says of it is for people to look at (A5.2d).
    IF app.quota_exemption(c) IS NOT NULL THEN
        PERFORM app.open_fx_case('excess_of_exempt', c.id, c.merchant_id, instant);
        RETURN jsonb_build_object('ok', true, 'state', c.state);
    END IF;
    IF excess > 0 AND (app.lock_quota(app.person_of(c.user_id), c.quota_year)).exceeded_at IS NULL THEN
        PERFORM app.move_quota(app.person_of(c.user_id), c.quota_year, c.id, 0, 0, 'learned_exceeded', instant);
    END IF;
    -- Of what was converted and is not there yet, nothing can be taken back: it comes with the delivery.
    IF c.state = 'converted' THEN RETURN jsonb_build_object('ok', false, 'error', 'try_again', 'state', c.state); END IF;
    -- One that its desk has refused, or that was withdrawn, has taken nothing back.
    SELECT coalesce(sum(r.amount_minor), 0), coalesce(sum(r.share_minor), 0) INTO before, shares FROM app.fx r
        WHERE r.reversal_of = c.id AND r.state NOT IN ('refused', 'released');
    IF excess <= before OR EXISTS (SELECT 1 FROM app.fx r WHERE r.id = i->>'reversal_id') THEN
        RETURN jsonb_build_object('ok', true, 'state', c.state, 'reversal_id', (SELECT r.id FROM app.fx r WHERE r.reversal_of = c.id
            AND r.state = 'waiting' AND r.process_started_at IS NULL ORDER BY r.id DESC LIMIT 1));
    END IF;
    f.id := i->>'reversal_id'; f.kind := 'reversal'; f.origin := 'institution'; f.merchant_id := c.merchant_id; f.user_id := c.user_id;
    f.reversal_of := c.id; f.excess_minor := excess; f.amount_minor := excess - before; f.currency := c.currency;
    f.held_at := c.held_at; f.desk := c.desk; f.purpose_code := c.purpose_code; f.is_trade := c.is_trade; f.evidence := c.evidence;
    f.residency := c.residency; f.over_quota := c.over_quota; f.agreement_version := c.agreement_version; f.inbound_id := c.inbound_id;
    f.quota_decision := 'not_subject';
    -- What it came to, so that all reversals together come to what the conversion did.
    f.share_minor := greatest(app.cny_of(excess, c.currency, c.rate_e8) - shares, 0);
    PERFORM app.lock_reversal(f);
    f.held_minor := greatest(least(f.share_minor, app.free_on('user:' || f.user_id || ':CNY'), app.free_on('reserve:' || f.desk || ':CNY')), 0);
    f := app.new_fx(f, instant);
    INSERT INTO app.fx AS n SELECT (f).* RETURNING n.* INTO f;
    IF f.held_minor > 0 THEN PERFORM app.post_all(app.fx_hold(f, instant), f.id); END IF;
    f := app.note_fx(f, 'fx.accepted', instant, 'process', 'open_reversal', 'quota_exceeded');
    RETURN jsonb_build_object('ok', true, 'state', c.state, 'reversal_id', f.id);
END $$;

