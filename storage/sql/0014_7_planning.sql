-- The moment at which a conversion goes to its desk: in a window that all three calendars leave open, in its turn, under the
-- desk's rate, and within the quota of the year in which that is (A5.1a, A6.4b, L9).

-- What a plan has to be made from. `desks`: those that are switched on and deal in the currency.
CREATE FUNCTION app.fx_planning_facts(wanted text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT jsonb_build_object('fx_id', f.id, 'kind', f.kind, 'state', f.state, 'currency', f.currency, 'desk', f.desk,
        'amount_minor', f.amount_minor, 'value_date', f.value_date, 'accepted_at', app.instant(f.accepted_at), 'earliest_at', app.instant(f.earliest_at),
        'desks', (SELECT coalesce(jsonb_agg(o.bank_code ORDER BY o.bank_code), '[]') FROM app.fx_office o
            JOIN app.partner t ON t.code = o.bank_code AND t.enabled WHERE f.currency = ANY (o.currencies)))
    FROM app.fx f WHERE f.id = wanted;
END;

-- Whoever was accepted earlier goes first: those who were accepted later, and have a second before the one that is free, each
-- give way to the next. Whoever is being sent or planned at this moment is left alone. Answers the second for `f`.
CREATE FUNCTION app.fx_slot_in_turn(f app.fx, office text, plan bigint, free timestamptz, from_at timestamptz, rate int)
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    later text[];
    slots timestamptz[];
BEGIN
    -- In the order of their seconds, so that nobody is moved to an earlier one: it may have a reason not to have it.
    SELECT array_agg(x.id ORDER BY x.slot_at, x.accepted_at, x.id), array_agg(x.slot_at ORDER BY x.slot_at) INTO later, slots FROM (
        SELECT o.id, o.accepted_at, o.slot_at FROM app.fx o WHERE o.desk = f.desk AND o.state = 'waiting' AND o.plan_version = plan
            AND o.slot_at >= from_at AND o.slot_at < free AND (o.accepted_at, o.id) > (f.accepted_at, f.id) AND o.id <> f.id
        ORDER BY o.id FOR NO KEY UPDATE SKIP LOCKED) x;
    PERFORM app.take_second(office, plan, free, 1);
    IF later IS NULL THEN RETURN free; END IF;
    slots := slots || free;
    UPDATE app.fx o SET slot_at = slots[l.at + 1], wait_until = slots[l.at + 1], wait_reason = CASE
            WHEN o.wait_reason IN ('fx_desk_window', 'fx_authority_window', 'value_date', 'fx_queue') THEN 'fx_queue'
            ELSE o.wait_reason END
        FROM unnest(later) WITH ORDINALITY l (id, at) WHERE o.id = l.id;
    RETURN slots[1];
END $$;

-- The first place in one of these windows: {slot, window}.
CREATE FUNCTION app.find_fx_slot(f app.fx, office text, plan bigint, windows jsonb, rate int, at timestamptz,
    OUT slot timestamptz, OUT chosen jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    w jsonb;
    from_at timestamptz;
BEGIN
    FOR w IN SELECT value FROM jsonb_array_elements(windows) LOOP
        from_at := greatest((w->>'opens_at')::timestamptz, at);
        CONTINUE WHEN from_at >= (w->>'closes_at')::timestamptz;
        slot := app.free_second(office, plan, from_at, (w->>'closes_at')::timestamptz, rate);
        IF slot IS NOT NULL THEN
            chosen := w;
            slot := greatest(slot, from_at);
            RETURN;
        END IF;
    END LOOP;
END $$;

-- What of a conversion is beyond the quota, as a conversion of its own that is refused: its money stays held (A5.2a).
CREATE FUNCTION app.split_off(f app.fx, part bigint, at timestamptz) RETURNS app.fx LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    rest app.fx := f;
    transfers jsonb := app.fx_release(f, at);
BEGIN
    rest.id := 'fx_' || left(split_part(f.id, '_', 2), 10) || upper(left(md5(f.id || ':rest:' || f.hold_number), 16));
    rest.amount_minor := f.amount_minor - part; rest.held_minor := rest.amount_minor; rest.hold_number := 1;
    rest.rest_of := f.id; rest.quota_decision := 'exceeded'; rest.quota_year := NULL; rest.quota_usd_minor := NULL;
    rest.quota_usd_e8 := NULL; rest.quota_rate_month := NULL; rest.state := 'refused'; rest.reason := 'quota_exceeded';
    rest.state_since := at; rest.wait_reason := NULL; rest.wait_until := NULL; rest.event_sequence := 0; rest.slot_at := NULL;
    rest.release_until := NULL; rest.plan_version := NULL; rest.claimed_at := NULL; rest.quote_id := NULL;
    rest.withdrawn_by := NULL; rest.concluded_by := NULL; rest.process_started_at := at;
    f.amount_minor := part; f.held_minor := part; f.hold_number := f.hold_number + 1;
    UPDATE app.fx n SET amount_minor = f.amount_minor, held_minor = f.held_minor, hold_number = f.hold_number WHERE n.id = f.id;
    INSERT INTO app.fx AS n SELECT (rest).* RETURNING n.* INTO rest;
    -- One hold becomes two; nothing is free in between, so that no freeze takes of it.
    PERFORM app.post_all(transfers || app.fx_hold(f, at) || app.fx_hold(rest, at), f.id);
    rest := app.note_fx(rest, 'fx.refused', at, 'process', 'split_fx', 'quota_exceeded');
    RETURN app.note_fx(f, 'fx.split', at, 'process', 'split_fx', 'quota_exceeded');
END $$;

CREATE FUNCTION app.post_all(transfers jsonb, subject text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    failed record;
BEGIN
    SELECT * INTO failed FROM ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', transfers)));
    IF failed.error IS NOT NULL THEN
        RAISE EXCEPTION 'the ledger refused what belongs to %: % %', subject, failed.error, failed.detail;
    END IF;
END $$;

CREATE FUNCTION app.fx_planned(f app.fx, obstacle text, earlier boolean) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('ok', true, 'state', f.state, 'reason', f.reason, 'obstacle', obstacle, 'earlier', earlier,
        'desk', f.desk, 'amount_minor', f.amount_minor, 'attempt', (SELECT count(*) FROM app.effect e
            WHERE e.subject_id = f.id AND e.step IN ('FX', 'FR') AND e.outcome = 'declined'),
        'waits_for', CASE WHEN f.state = 'waiting' THEN f.wait_reason END,
        'slot_at', CASE WHEN f.state = 'waiting' AND obstacle IS NULL THEN app.instant(f.slot_at) END,
        'provisional', f.plan_provisional);

-- Refuses a conversion that was not sent; what is held stays held, for the merchant to say what becomes of it.
CREATE FUNCTION app.refuse_fx(f app.fx, why text, at timestamptz) RETURNS app.fx LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    f := app.release_quota(f, at);
    UPDATE app.fx n SET state = 'refused', state_since = at, reason = why, wait_reason = NULL, wait_until = NULL,
        wait_deadline = NULL, quota_decision = f.quota_decision, quota_year = NULL, quota_usd_minor = NULL, quota_usd_e8 = NULL,
        quota_rate_month = NULL, process_started_at = coalesce(n.process_started_at, at) WHERE n.id = f.id RETURNING n.* INTO f;
    RETURN app.note_fx(f, 'fx.refused', at, 'process', 'refuse_fx', why);
END $$;

-- Shows what a conversion waits for that is no window.
CREATE FUNCTION app.show_fx_wait(f app.fx, why text, at timestamptz) RETURNS app.fx LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.fx n SET wait_reason = why, wait_until = NULL, slot_at = NULL, plan_version = -1,
        process_started_at = coalesce(n.process_started_at, at) WHERE n.id = f.id RETURNING n.* INTO f;
    RETURN f;
END $$;

-- item: {fx_id, now, why, plan_version, desk, office, rate, windows: [{opens_at, closes_at, waits_for, provisional}]}, the
-- windows earliest first, as computed from the calendars of `plan_version`; `desk` NULL where none is switched on;
-- `obstacle` where the offices are never open together. A plan that
-- still holds is kept. Answers {ok, state, slot_at, obstacle, …} or {ok: false, error}: stale_plan, no_slot, fx_not_found.
CREATE FUNCTION app.plan_fx(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    why text := i->>'why';
    plan bigint := app.lock_plan_version(false);
    f app.fx := app.lock_fx(i->>'fx_id');
    before timestamptz := f.slot_at;
    found_ record;
    quota record;
    waits text;
BEGIN
    IF f.id IS NULL THEN RETURN '{"ok": false, "error": "fx_not_found"}'; END IF;
    IF f.state <> 'waiting' THEN RETURN app.fx_planned(f, NULL, false); END IF;
    IF plan <> (i->>'plan_version')::bigint THEN
        RETURN jsonb_build_object('ok', false, 'error', 'stale_plan', 'version', plan);
    END IF;
    -- Its process ends it; what has stopped for people or for a freeze has no slot until its own process asks for one again.
    IF f.withdrawn_by IS NOT NULL THEN RETURN app.fx_planned(f, 'withdrawn', false); END IF;
    IF why = 'calendar_changed' AND app.fx_has_stopped(f) THEN RETURN app.fx_planned(f, f.wait_reason, false); END IF;
    IF i->>'obstacle' IS NOT NULL THEN
        -- Nobody can say when it will be dealt: people hear of it, and may withdraw it.
        IF f.wait_reason IS DISTINCT FROM 'operator' THEN PERFORM app.open_fx_case('fx_without_window', f.id, f.merchant_id, instant); END IF;
        RETURN app.fx_planned(app.show_fx_wait(f, 'operator', instant), i->>'obstacle', false);
    END IF;
    IF i->>'desk' IS NULL OR NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = i->>'desk' AND t.enabled) THEN
        RETURN app.fx_planned(app.show_fx_wait(f, 'partner', instant), 'partner_not_available', false);
    END IF;
    -- As long as the send claim would take it: who gave way, and learns of it at its old slot, keeps the new one.
    IF f.plan_version = plan AND f.desk = i->>'desk' AND f.slot_at >= instant - interval '5 minutes'
        AND f.release_until > greatest(f.slot_at, instant) AND app.quota_is_current(f, greatest(f.slot_at, instant)) THEN
        RETURN app.fx_planned(f, NULL, false);
    END IF;
    INSERT INTO app.bank_slots (bank_code) VALUES (i->>'office') ON CONFLICT DO NOTHING;
    PERFORM 1 FROM app.bank_slots s WHERE s.bank_code = i->>'office' FOR UPDATE;
    DELETE FROM app.release_second r WHERE r.bank_code = i->>'office'
        AND (r.version, r.second) < (plan, date_trunc('second', instant) - interval '1 hour');
    f.desk := i->>'desk';
    SELECT * INTO found_ FROM app.find_fx_slot(f, i->>'office', plan, i->'windows', (i->>'rate')::int, instant);
    IF found_.slot IS NULL THEN RETURN '{"ok": false, "error": "no_slot"}'; END IF;
    IF app.quota_exemption(f) IS NULL AND (app.authority_rate_at(f.currency, found_.slot)).usd_e8 IS NULL THEN
        RETURN app.fx_planned(app.show_fx_wait(f, 'authority_rate', instant), 'authority_rate_missing', false);
    END IF;
    SELECT * INTO quota FROM app.reserve_quota(f, found_.slot, instant);
    f := quota.decided;
    IF quota.part_minor = 0 THEN
        RETURN app.fx_planned(app.refuse_fx(f, CASE f.quota_decision WHEN 'known_exceeded' THEN 'quota_known_exceeded'
            ELSE 'quota_exceeded' END, instant), NULL, false);
    END IF;
    f.slot_at := app.fx_slot_in_turn(f, i->>'office', plan, found_.slot,
        greatest((found_.chosen->>'opens_at')::timestamptz, instant), (i->>'rate')::int);
    waits := CASE WHEN f.slot_at > (found_.chosen->>'opens_at')::timestamptz + interval '1 second' AND f.slot_at > instant
        THEN 'fx_queue' ELSE coalesce(found_.chosen->>'waits_for', 'fx_queue') END;
    -- The quote of a desk that has turned it away is none of another's.
    UPDATE app.fx n SET desk = f.desk, quote_id = CASE n.desk WHEN f.desk THEN n.quote_id END, slot_at = f.slot_at, release_until = (found_.chosen->>'closes_at')::timestamptz,
        plan_version = plan, plan_provisional = coalesce((found_.chosen->>'provisional')::boolean, false),
        earliest_at = coalesce(n.earliest_at, instant), wait_reason = waits, wait_until = f.slot_at, wait_deadline = NULL,
        quota_decision = f.quota_decision, quota_year = f.quota_year, quota_usd_minor = f.quota_usd_minor,
        quota_usd_e8 = f.quota_usd_e8, quota_rate_month = f.quota_rate_month,
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = f.id RETURNING n.* INTO f;
    IF quota.part_minor < f.amount_minor THEN f := app.split_off(f, quota.part_minor, instant); END IF;
    IF before IS NULL OR abs(extract(epoch FROM f.slot_at - before)) >= 60 THEN
        f := app.note_fx(f, CASE WHEN before IS NULL THEN 'fx.scheduled' ELSE 'fx.rescheduled' END, instant, 'process', 'plan_fx', why);
    END IF;
    RETURN app.fx_planned(f, NULL, coalesce(before > f.slot_at, false));
END $$;

-- What no new plan sets going: people or a freeze have stopped it, or are about to.
CREATE FUNCTION app.fx_has_stopped(f app.fx) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN coalesce(f.wait_reason IN ('freeze', 'authority_order', 'operator'), false) OR f.withdrawn_by IS NOT NULL;

-- What waits by an older plan, in order of acceptance, after the one that was planned last. What nobody has started yet is planned
-- by its own process: a plan made here would hide from the sweeper that it has none.
CREATE FUNCTION app.fx_to_replan(wanted bigint, after_at timestamptz, after_id text, most int)
RETURNS TABLE (fx_id text, accepted_at timestamptz, wait_reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT f.id, f.accepted_at, f.wait_reason FROM app.fx f
    WHERE f.state = 'waiting' AND coalesce(f.plan_version, -1) < wanted AND f.process_started_at IS NOT NULL
      AND NOT app.fx_has_stopped(f) AND (after_at IS NULL OR (f.accepted_at, f.id) > (after_at, after_id))
    ORDER BY f.accepted_at, f.id LIMIT most;
END;

-- The version whose plans are still to be made of conversions. NULL if there is none.
CREATE FUNCTION app.version_to_replan_fx(instant timestamptz, older_than interval) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT v.version FROM app.calendar_version v
    WHERE v.version = app.current_plan_version() AND v.at < instant - older_than
      AND EXISTS (SELECT 1 FROM app.fx f WHERE f.state = 'waiting' AND f.plan_version < v.version AND f.process_started_at IS NOT NULL
            AND NOT app.fx_has_stopped(f)
          -- What has no plan at all (-1) cannot be planned yet, or is about to be: its process is told, or asks by itself.
          AND f.plan_version >= 0);
END;

-- For the send claim: whether this is the slot of a plan that holds. One that was missed by far is lost.
CREATE FUNCTION app.fx_slot_obstacle(f app.fx, at timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN f.slot_at IS NULL OR f.slot_at > at OR coalesce(f.plan_version, 0) <> app.current_plan_version()
        OR f.release_until <= at OR f.slot_at < at - interval '5 minutes' THEN 'too_early' END;
