-- The release slots of payouts. A slot is a second of a bank in which fewer payouts leave than the bank takes. Who was accepted
-- earlier goes first: where there is no room, those accepted later give way, each to the next second of its own window.
-- Everything here runs while the row of the bank in app.bank_slots is held.

CREATE FUNCTION app.take_second(bank text, plan bigint, slot timestamptz, by_ int) RETURNS void
LANGUAGE sql SET search_path = pg_catalog
BEGIN ATOMIC
    INSERT INTO app.release_second AS r (bank_code, version, second, taken)
        VALUES (bank, plan, date_trunc('second', slot), greatest(by_, 0))
        ON CONFLICT (bank_code, version, second) DO UPDATE SET taken = greatest(r.taken + by_, 0);
END;

-- The first second from `from_at` on, before `until_at`, with room for one more; NULL if all are full.
CREATE FUNCTION app.free_second(bank text, plan bigint, from_at timestamptz, until_at timestamptz, rate int)
RETURNS timestamptz LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
    free timestamptz := date_trunc('second', from_at);
BEGIN
    IF EXISTS (SELECT 1 FROM app.release_second r
            WHERE r.bank_code = bank AND r.version = plan AND r.second = free AND r.taken >= rate) THEN
        -- Where the row of full seconds ends.
        SELECT x.second + interval '1 second' INTO free FROM (
            SELECT r.second, lead(r.second) OVER (ORDER BY r.second) AS next FROM app.release_second r
            WHERE r.bank_code = bank AND r.version = plan AND r.second >= free AND r.taken >= rate) x
            WHERE x.next IS DISTINCT FROM x.second + interval '1 second' ORDER BY x.second LIMIT 1;
    END IF;
    RETURN CASE WHEN greatest(free, from_at) < until_at THEN free END;
END $$;

-- Who was accepted after `p`, leaves in this time by a plan of today and would have to give way: the last of the first
-- second in which there is one. Whoever is being sent or planned at this moment is left alone.
CREATE FUNCTION app.who_gives_way(p app.payout, plan bigint, from_at timestamptz, until_at timestamptz) RETURNS app.payout
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    last record;
    other app.payout;
BEGIN
    SELECT o.accepted_at, o.id INTO last FROM app.payout o WHERE o.bank_code = p.bank_code AND o.state = 'scheduled'
        ORDER BY o.accepted_at DESC, o.id DESC LIMIT 1;
    IF last.id IS NULL OR (last.accepted_at, last.id) <= (p.accepted_at, p.id) THEN RETURN NULL; END IF;
    SELECT o.* INTO other FROM app.payout o
        WHERE o.bank_code = p.bank_code AND o.state = 'scheduled' AND o.slot_at >= from_at AND o.slot_at < until_at
          AND o.plan_version = plan AND (o.accepted_at, o.id) > (p.accepted_at, p.id)
        ORDER BY o.slot_at LIMIT 1;
    IF NOT FOUND THEN RETURN NULL; END IF;
    SELECT o.* INTO other FROM app.payout o
        WHERE o.bank_code = p.bank_code AND o.state = 'scheduled' AND o.plan_version = plan
          AND o.slot_at >= greatest(from_at, date_trunc('second', other.slot_at))
          AND o.slot_at < least(until_at, date_trunc('second', other.slot_at) + interval '1 second')
          AND (o.accepted_at, o.id) > (p.accepted_at, p.id)
        ORDER BY o.accepted_at DESC, o.id DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    RETURN other;
END $$;

-- Whoever gave way goes in the next second of its window with room, and the last one there gives way in its turn. What
-- finds none has no plan any more: it is not sent before it is planned anew.
CREATE FUNCTION app.move_on(p app.payout, plan bigint, rate int, at timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    from_at timestamptz := date_trunc('second', p.slot_at) + interval '1 second';
    free timestamptz;
    other app.payout;
    moved int := 0;
BEGIN
    LOOP
        moved := moved + 1;
        free := app.free_second(p.bank_code, plan, from_at, p.release_until, rate);
        other := NULL;
        IF free IS DISTINCT FROM from_at THEN
            other := app.who_gives_way(p, plan, from_at, coalesce(free, p.release_until));
        END IF;
        free := coalesce(date_trunc('second', other.slot_at), free);
        IF free IS NULL THEN
            UPDATE app.payout o SET slot_at = o.release_until, wait_until = o.release_until, plan_version = -1
                WHERE o.id = p.id;
            RETURN moved;
        END IF;
        PERFORM app.settle_slot(p, plan, free, p.release_until, p.arrives_after, CASE WHEN p.arrives_after IS NULL
            THEN p.predicted_arrival_at ELSE free + p.arrives_after END, p.arrival_provisional, at, 'given_way');
        IF other.id IS NULL THEN
            PERFORM app.take_second(p.bank_code, plan, free, 1);
            RETURN moved;
        END IF;
        p := other;
        from_at := date_trunc('second', p.slot_at) + interval '1 second';
    END LOOP;
END $$;

-- Writes a slot into a payout. The merchant is told of the first one, and of another only if it makes a difference.
CREATE FUNCTION app.settle_slot(
    p app.payout, plan bigint, slot timestamptz, until_at timestamptz, after interval, arrival timestamptz, is_provisional boolean,
    at timestamptz, why text
) RETURNS app.payout LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    n app.payout;
    -- What it waits for beside its slot: that goes on waiting for it.
    stopped boolean := p.state = 'scheduled' AND coalesce(p.wait_reason, 'bank_window') <> 'bank_window'
        AND why IN ('calendar_changed', 'given_way');
    differs boolean := p.slot_at IS NULL OR abs(extract(epoch FROM slot - p.slot_at)) >= 60
        OR abs(extract(epoch FROM arrival - p.predicted_arrival_at)) >= 60
        OR is_provisional <> p.arrival_provisional;
BEGIN
    UPDATE app.payout o SET state = 'scheduled', state_since = CASE o.state WHEN 'scheduled' THEN o.state_since ELSE at END,
        slot_at = slot, release_until = until_at, arrives_after = after, predicted_arrival_at = arrival,
        arrival_provisional = is_provisional, plan_version = plan, earliest_at = coalesce(o.earliest_at, at),
        wait_reason = CASE WHEN stopped THEN o.wait_reason ELSE 'bank_window' END,
        wait_until = CASE WHEN stopped THEN o.wait_until ELSE slot END,
        wait_deadline = CASE WHEN stopped THEN o.wait_deadline END,
        process_started_at = coalesce(o.process_started_at, at)
        WHERE o.id = p.id RETURNING o.* INTO n;
    IF p.state = 'scheduled' AND NOT differs THEN RETURN n; END IF;
    RETURN app.note_payout(n, CASE WHEN p.slot_at IS NULL THEN 'payout.scheduled' WHEN differs THEN 'payout.rescheduled' END,
        at, 'process', 'plan_payout', why);
END $$;

-- A place for `p` in the first of these windows that has one: {slot, window, other}, `other` having to give way to it.
CREATE FUNCTION app.find_slot(p app.payout, plan bigint, windows jsonb, rate int, at timestamptz,
    OUT slot timestamptz, OUT chosen jsonb, OUT other app.payout)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    w jsonb;
    from_at timestamptz;
    until_at timestamptz;
    free timestamptz;
BEGIN
    FOR w IN SELECT value FROM jsonb_array_elements(windows) LOOP
        from_at := greatest((w->>'opens_at')::timestamptz, at);
        until_at := (w->>'closes_at')::timestamptz;
        CONTINUE WHEN from_at >= until_at;
        free := app.free_second(p.bank_code, plan, from_at, until_at, rate);
        chosen := w;
        IF free IS DISTINCT FROM date_trunc('second', from_at) THEN
            other := app.who_gives_way(p, plan, from_at, coalesce(free, until_at));
            IF other.id IS NOT NULL THEN
                slot := greatest(date_trunc('second', other.slot_at), from_at);
                RETURN;
            END IF;
        END IF;
        IF free IS NOT NULL THEN
            slot := greatest(free, from_at);
            RETURN;
        END IF;
    END LOOP;
    chosen := NULL;
END $$;

CREATE FUNCTION app.planned(p app.payout, earlier boolean, moved int) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('ok', true, 'state', p.state, 'earlier', earlier, 'moved', moved,
        'slot_at', CASE WHEN p.state = 'scheduled' THEN app.instant(p.slot_at) END,
        'predicted_arrival_at', CASE WHEN p.state = 'scheduled' THEN app.instant(p.predicted_arrival_at) END,
        'provisional', p.arrival_provisional);

-- item: {payout_id, now, why, plan_version, rate, windows: [{opens_at, closes_at, arrives_at | arrives_after_seconds,
-- provisional}]}, the windows earliest first, as computed from the calendars of `plan_version`. A plan that still holds is kept.
-- Answers {ok, state, slot_at, …}, without a slot if the payout has ended or waits for something else, or {ok: false, error}:
-- stale_plan (compute again), no_slot (all windows are full), payout_not_found.
CREATE FUNCTION app.plan_payout(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    why text := i->>'why';
    plan bigint := app.lock_plan_version(false);
    rate int := (i->>'rate')::int;
    p app.payout := app.lock_payout(i->>'payout_id');
    before timestamptz;
    found_ record;
    after interval;
    n app.payout;
    moved int := 0;
BEGIN
    IF p.id IS NULL THEN RETURN '{"ok": false, "error": "payout_not_found"}'; END IF;
    IF p.state NOT IN ('checking', 'cooling_off', 'under_review', 'scheduled') OR p.state = 'cooling_off' AND p.cool_until > instant
        OR why = 'calendar_changed' AND p.state <> 'scheduled' THEN
        RETURN app.planned(p, false, 0);
    END IF;
    IF plan <> (i->>'plan_version')::bigint THEN
        RETURN jsonb_build_object('ok', false, 'error', 'stale_plan', 'version', plan);
    END IF;
    IF p.plan_version = plan AND p.slot_at >= instant AND p.slot_at < p.release_until THEN
        IF p.state <> 'scheduled' THEN
            p := app.settle_slot(p, plan, p.slot_at, p.release_until, p.arrives_after, p.predicted_arrival_at,
                p.arrival_provisional, instant, why);
        END IF;
        RETURN app.planned(p, false, 0);
    END IF;
    INSERT INTO app.bank_slots (bank_code) VALUES (p.bank_code) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM app.bank_slots s WHERE s.bank_code = p.bank_code FOR UPDATE;
    DELETE FROM app.release_second r WHERE r.bank_code = p.bank_code
        AND (r.version, r.second) < (plan, date_trunc('second', instant) - interval '1 hour');
    before := p.slot_at;
    SELECT * INTO found_ FROM app.find_slot(p, plan, i->'windows', rate, instant);
    IF found_.slot IS NULL THEN RETURN '{"ok": false, "error": "no_slot"}'; END IF;
    after := make_interval(secs => (found_.chosen->>'arrives_after_seconds')::float8);
    n := app.settle_slot(p, plan, found_.slot, (found_.chosen->>'closes_at')::timestamptz, after,
        coalesce((found_.chosen->>'arrives_at')::timestamptz, found_.slot + after),
        coalesce((found_.chosen->>'provisional')::boolean, false), instant, why);
    IF (found_.other).id IS NULL THEN
        PERFORM app.take_second(p.bank_code, plan, found_.slot, 1);
    ELSE
        moved := app.move_on(found_.other, plan, rate, instant);
    END IF;
    RETURN app.planned(n, coalesce(before > found_.slot, false), moved);
END $$;

-- What a plan has to be made from, and the version it will have to be of.
CREATE FUNCTION app.planning_facts(wanted text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT jsonb_build_object('payout_id', p.id, 'route', p.route, 'bank_code', p.bank_code, 'speed', p.speed,
        'accepted_at', app.instant(p.accepted_at), 'earliest_at', app.instant(p.earliest_at)) FROM app.payout p WHERE p.id = wanted;
END;

-- What waits by an older plan, in order of acceptance, after the payout that was planned last.
CREATE FUNCTION app.payouts_to_replan(wanted bigint, after_at timestamptz, after_id text, most int)
RETURNS TABLE (payout_id text, accepted_at timestamptz, route text, bank_code text, speed text, wait_reason text,
    earliest_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT p.id, p.accepted_at, p.route, p.bank_code, p.speed, p.wait_reason, p.earliest_at FROM app.payout p
    WHERE p.state = 'scheduled' AND coalesce(p.plan_version, -1) < wanted
      AND (after_at IS NULL OR (p.accepted_at, p.id) > (after_at, after_id))
    ORDER BY p.accepted_at, p.id LIMIT most;
END;

-- For the send claim: whether this is the slot of a plan that holds. `too_early` means: plan it, then wait for the slot. A slot
-- that was missed by far is lost, so that what piled up while nothing ran does not leave all at once. Former body: 0008_1.
CREATE OR REPLACE FUNCTION app.slot_obstacle(p app.payout, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN p.slot_at IS NULL OR p.slot_at > at OR coalesce(p.plan_version, 0) <> app.current_plan_version()
        OR p.release_until <= at OR p.slot_at < at - interval '5 minutes' THEN 'too_early' END;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.current_plan_version(), app.loaded_calendars() TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.plan_payout(jsonb), app.planning_facts(text), app.version_to_replan(timestamptz, interval),
    app.payouts_to_replan(bigint, timestamptz, text, int) TO {app};
GRANT EXECUTE ON FUNCTION app.load_calendar(jsonb) TO {ops};
GRANT SELECT ON app.calendar_version, app.calendar_day, app.published_year, app.bank_hours, app.bank_closure TO {ops};
