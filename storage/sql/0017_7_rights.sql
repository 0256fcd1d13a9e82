-- Merchants' and operators' processes ask and read; the worker looks, keeps, forgets and tells. Nobody writes to a table.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.closure_view(app.closure, timestamptz, boolean), app.dispute_view(app.dispute),
    app.closure_facts(text, timestamptz) TO {app}, {ops};
GRANT SELECT ON app.closure, app.dispute, app.erasure_notice TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.accept_closure(jsonb), app.hand_over_records(jsonb), app.closure_of_merchant(text, text), app.records_clock(text),
    app.reply_to_erasure(jsonb), app.open_dispute(jsonb), app.look_at_closure(jsonb),
    app.unattended_closures(timestamptz, interval, interval, int), app.claim_telling(text, text, timestamptz, interval),
    app.obstacle_beforehand(text, text, text, timestamptz), app.unfinished_closures(timestamptz, interval, text, int),
    app.open_late_money_cases(timestamptz), app.escalate_closures(timestamptz),
    app.transactions_to_retain(text, text, int), app.identity_to_retain(text),
    app.keys_of_user(text), app.items_to_forget(text), app.forget_user(text, timestamptz),
    app.forget_items(text, text[], timestamptz), app.erasure_applied(text, bigint, timestamptz), app.erasures_missing(text[]),
    app.notices_to_give(text), app.claim_notice(jsonb), app.record_reply(jsonb), app.complete_closure(jsonb),
    app.end_following(jsonb) TO {app};
GRANT EXECUTE ON FUNCTION app.erasures_missing(text[]), app.work_on_closure(jsonb) TO {ops};
