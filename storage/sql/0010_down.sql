DROP FUNCTION app.payouts_to_replan(bigint, timestamptz, text, int),
    app.planning_facts(text), app.plan_payout(jsonb), app.planned(app.payout, boolean, int),
    app.find_slot(app.payout, bigint, jsonb, int, timestamptz),
    app.settle_slot(app.payout, bigint, timestamptz, timestamptz, interval, timestamptz, boolean, timestamptz, text),
    app.move_on(app.payout, bigint, int, timestamptz), app.who_gives_way(app.payout, bigint, timestamptz, timestamptz),
    app.free_second(text, bigint, timestamptz, timestamptz, int), app.take_second(text, bigint, timestamptz, int),
    app.version_to_replan(timestamptz, interval), app.load_calendar(jsonb), app.loaded_calendars(),
    app.closures_in_force(), app.lock_plan_version(boolean), app.current_plan_version();
DROP TRIGGER replan_for_partner ON app.partner;
DROP FUNCTION app.replan_for_partner();
DROP INDEX app.payout_waiting_by_acceptance;
ALTER TABLE app.payout DROP COLUMN release_until, DROP COLUMN arrives_after;
DROP TABLE app.release_second, app.bank_slots, app.bank_closure, app.bank_hours, app.published_year, app.calendar_day,
    app.calendar_version;
