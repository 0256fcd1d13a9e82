-- Risk decisions and screening lists.
DROP TRIGGER screened ON app.payee;
DROP TRIGGER screened ON app.binding;
DROP FUNCTION app.screen_newcomer(), app.screening_match_view(app.screening_match), app.open_matches(text),
    app.is_open_match(app.screening_match), app.record_screening(jsonb), app.screening_due(int, timestamptz),
    app.stop_service(text, text[], timestamptz), app.keep_matches(jsonb, bigint, timestamptz), app.screening_subject_of(text),
    app.load_screening_list(jsonb), app.take_screening_list(jsonb, text), app.screening_entries(), app.screening_lists(),
    app.current_screening_version(), app.record_assessment(jsonb), app.follow_verdict(app.payout, jsonb, timestamptz),
    app.open_risk_cases(app.payout, jsonb, timestamptz),
    app.begin_assessment(jsonb), app.risk_inputs(text, timestamptz);
DROP TABLE app.screening_subject, app.screening_clearance, app.screening_match, app.screening_entry, app.screening_list,
    app.screening_list_rule, app.risk_decision;
DROP SEQUENCE app.screening_version;
DELETE FROM app.case_record WHERE kind IN ('cash_out', 'account_sharing', 'round_trip', 'screening_hit');
