-- The worker assesses and screens through functions and reads none of these tables, which merchants' requests could reach too
-- (L5); operators read them.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT SELECT ON app.risk_decision, app.screening_list_rule, app.screening_list, app.screening_entry, app.screening_match, app.screening_clearance,
    app.screening_subject TO {ops};
GRANT EXECUTE ON FUNCTION
    app.begin_assessment(jsonb), app.record_assessment(jsonb), app.screening_lists(), app.screening_entries(),
    app.screening_due(int, timestamptz), app.record_screening(jsonb)
    TO {app};
GRANT EXECUTE ON FUNCTION
    app.load_screening_list(jsonb), app.screening_lists(), app.screening_match_view(app.screening_match)
    TO {ops};
