-- Loading calendars, hours and closures, and reading what is in force.

-- 0 before anything was loaded: libraries and config alone.
CREATE FUNCTION app.current_plan_version() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT coalesce(max(v.version), 0) FROM app.calendar_version v);

-- Plans share this lock and a new version takes it alone, so that no plan is committed on a version that is over.
CREATE FUNCTION app.lock_plan_version(is_new boolean) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF is_new THEN
        PERFORM pg_advisory_xact_lock(7301995010);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(7301995010);
    END IF;
    RETURN app.current_plan_version();
END $$;

-- The closures that were loaded, the latest of them, without what a later word opened again.
CREATE FUNCTION app.closures_in_force() RETURNS TABLE (bank_code text, from_at timestamptz, until_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT x.bank_code, x.from_at, x.until_at FROM (
        SELECT c.bank_code, c.from_at, least(c.until_at, (SELECT min(o.from_at) FROM app.bank_closure o
            WHERE o.bank_code = c.bank_code AND o.until_at IS NULL AND o.version > c.version)) AS until_at
        FROM (SELECT * FROM app.bank_closure l WHERE l.until_at IS NOT NULL ORDER BY l.version DESC LIMIT 500) c) x
    WHERE x.until_at > x.from_at ORDER BY x.bank_code, x.from_at;
END;

-- What plans rest on beside libraries and config: {version, days: [[calendar, day, is_working]], years: [[calendar, year]],
-- hours: {bank: ranges}, closures: [{bank_code, from_at, until_at}]}
CREATE FUNCTION app.loaded_calendars() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT jsonb_build_object(
        'version', app.current_plan_version(),
        'days', (SELECT coalesce(jsonb_agg(jsonb_build_array(d.calendar, d.day, d.is_working)), '[]') FROM (
            SELECT DISTINCT ON (c.calendar, c.day) c.* FROM app.calendar_day c
            ORDER BY c.calendar, c.day, c.version DESC) d
            WHERE NOT EXISTS (SELECT 1 FROM app.published_year y WHERE y.calendar = d.calendar
                AND y.year = extract(year FROM d.day) AND y.version > d.version)),
        'years', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(y.calendar, y.year)), '[]')
            FROM app.published_year y),
        'hours', (SELECT coalesce(jsonb_object_agg(h.bank_code, h.ranges), '{}') FROM (
            SELECT DISTINCT ON (b.bank_code) b.* FROM app.bank_hours b ORDER BY b.bank_code, b.version DESC) h
            WHERE h.ranges IS NOT NULL),
        'closures', (SELECT coalesce(jsonb_agg(jsonb_build_object('bank_code', c.bank_code,
            'from_at', app.instant(c.from_at), 'until_at', app.instant(c.until_at))), '[]')
            FROM app.closures_in_force() c));
END;

-- item: {now, actor, actor_id, request_id, kind, note, fingerprint}, and by kind {days: [{calendar, day, working, name}],
-- years: [{calendar, year}]} | {bank_code, ranges} | {bank_code, from_at, until_at}. What was loaded last, loaded again, is
-- answered as it was then. Answers {ok, version, already} or {ok: false, error}.
CREATE FUNCTION app.load_calendar(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    next bigint := app.lock_plan_version(true) + 1;
    last app.calendar_version;
BEGIN
    IF NOT app.operator_may(i->>'actor_id', 'calendars:write', instant) THEN
        RETURN '{"ok": false, "error": "permission_missing"}';
    END IF;
    IF EXISTS (SELECT 1 FROM (
            SELECT i->>'bank_code' AS code UNION SELECT d->>'calendar' FROM jsonb_array_elements(i->'days') d) b
            WHERE b.code NOT IN ('CN', 'HK', 'MO', 'TW') AND NOT EXISTS (SELECT 1 FROM app.partner p WHERE p.code = b.code)) THEN
        RETURN '{"ok": false, "error": "bank_not_found"}';
    END IF;
    SELECT * INTO last FROM app.calendar_version v WHERE v.kind = i->>'kind' ORDER BY v.version DESC LIMIT 1;
    IF last.fingerprint = i->>'fingerprint' THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, request_id, detail)
            VALUES (instant, i->>'actor', 'load_' || (i->>'kind'), 'done', 'already', i->>'request_id',
                jsonb_build_object('version', last.version));
        RETURN jsonb_build_object('ok', true, 'version', last.version, 'already', true);
    END IF;
    INSERT INTO app.calendar_version (version, kind, loaded_by, note, fingerprint, at)
        VALUES (next, i->>'kind', i->>'actor', i->>'note', i->>'fingerprint', instant);
    CASE i->>'kind'
    WHEN 'calendar' THEN
        INSERT INTO app.published_year (version, calendar, year)
            SELECT next, y->>'calendar', (y->>'year')::int FROM jsonb_array_elements(i->'years') y;
        INSERT INTO app.calendar_day (version, calendar, day, is_working, name)
            SELECT next, d->>'calendar', (d->>'day')::date, (d->>'working')::boolean, d->>'name'
            FROM jsonb_array_elements(i->'days') d;
    WHEN 'hours' THEN
        INSERT INTO app.bank_hours (version, bank_code, ranges) VALUES (next, i->>'bank_code', nullif(i->'ranges', 'null'));
    WHEN 'closure' THEN
        INSERT INTO app.bank_closure (version, bank_code, from_at, until_at)
            VALUES (next, i->>'bank_code', (i->>'from_at')::timestamptz, (i->>'until_at')::timestamptz);
    END CASE;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, request_id, detail)
        VALUES (instant, i->>'actor', 'load_' || (i->>'kind'), 'done', i->>'bank_code', i->>'request_id',
            jsonb_build_object('version', next, 'note', i->>'note', 'fingerprint', i->>'fingerprint'));
    RETURN jsonb_build_object('ok', true, 'version', next, 'already', false);
END $$;

-- A bank that is switched on or off: what waits for it is planned anew.
CREATE FUNCTION app.replan_for_partner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.calendar_version (version, kind, loaded_by, note, fingerprint, at)
        SELECT app.lock_plan_version(true) + 1, 'partner', 'partner:' || NEW.code,
            CASE WHEN NEW.enabled THEN 'switched on' ELSE 'switched off' END,
            encode(sha256(convert_to(NEW.code || NEW.enabled || NEW.changed_at, 'UTF8')), 'hex'), NEW.changed_at;
    RETURN NULL;
END $$;
CREATE TRIGGER replan_for_partner AFTER UPDATE OF enabled ON app.partner
    FOR EACH ROW WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled) EXECUTE FUNCTION app.replan_for_partner();

-- The version whose plans are still to be made: some payout waits by an older one. NULL if there is none.
CREATE FUNCTION app.version_to_replan(instant timestamptz, older_than interval) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT v.version FROM app.calendar_version v
    WHERE v.version = app.current_plan_version() AND v.at < instant - older_than
      AND EXISTS (SELECT 1 FROM app.payout p WHERE p.state = 'scheduled' AND coalesce(p.plan_version, -1) < v.version);
END;
