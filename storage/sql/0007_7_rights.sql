-- Operators' decisions go through three functions; the worker looks after what follows from them; nobody writes to a table.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT SELECT ON app.decision, app.decision_kind, app.restriction, app.authority_order, app.user_report TO {app}, {ops};
GRANT EXECUTE ON FUNCTION
    app.decision_view(app.decision), app.restriction_view(app.restriction),
    app.request_decision(jsonb), app.approve_decision(jsonb), app.reject_decision(jsonb)
    TO {ops};
GRANT EXECUTE ON FUNCTION
    app.report_user(jsonb), app.check_decision(jsonb), app.lapse_decisions(timestamptz), app.open_reviews(timestamptz)
    TO {app};
