-- Offices that convert foreign currency have days, hours and closures of their own, under a code of their own (A5.1a, Q4), and
-- the centres of currencies have general calendars.

-- Whether a code is that of a partner or of an office: what days, hours and closures are loaded for.
CREATE FUNCTION app.keeps_hours(code_ text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN EXISTS (SELECT 1 FROM app.partner p WHERE p.code = code_)
        OR EXISTS (SELECT 1 FROM app.fx_office o WHERE o.code = code_);

ALTER TABLE app.calendar_day DROP CONSTRAINT calendar_day_calendar_check,
    ADD CONSTRAINT calendar_day_calendar_check CHECK (calendar ~ '^(CN|HK|MO|TW|US|JP|[A-Z]{4}|FX-[A-Z]{4})$');
ALTER TABLE app.published_year DROP CONSTRAINT published_year_calendar_check,
    ADD CONSTRAINT published_year_calendar_check CHECK (calendar IN ('CN', 'HK', 'MO', 'TW', 'US', 'JP'));
-- A code is in one of two tables now: app.load_calendar, the only one who writes here, looks for it.
ALTER TABLE app.bank_hours DROP CONSTRAINT bank_hours_bank_code_fkey,
    ADD CONSTRAINT bank_hours_bank_code_check CHECK (bank_code ~ '^([A-Z]{4}|FX-[A-Z]{4})$');
ALTER TABLE app.bank_closure DROP CONSTRAINT bank_closure_bank_code_fkey,
    ADD CONSTRAINT bank_closure_bank_code_check CHECK (bank_code ~ '^([A-Z]{4}|FX-[A-Z]{4})$');

-- As before, and of offices, too. item: {now, actor, actor_id, request_id, kind, note, fingerprint}, and by kind {days: [{calendar, day, working, name}],
-- years: [{calendar, year}]} | {bank_code, ranges} | {bank_code, from_at, until_at}. What was loaded last, loaded again, is
-- answered as it was then. Answers {ok, version, already} or {ok: false, error}.
CREATE OR REPLACE FUNCTION app.load_calendar(i jsonb) RETURNS jsonb
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
            WHERE b.code NOT IN ('CN', 'HK', 'MO', 'TW', 'US', 'JP') AND NOT app.keeps_hours(b.code)) THEN
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
