DROP FUNCTION app.restricted(text, text, text, text, timestamptz, boolean),
    app.obstacle_to_code(text, text, text, boolean, timestamptz),
    app.report_user(jsonb), app.check_decision(jsonb), app.lapse_decisions(timestamptz), app.open_reviews(timestamptz),
    app.request_decision(jsonb), app.approve_decision(jsonb), app.reject_decision(jsonb),
    app.end_decision(app.decision, jsonb, text, int), app.record_decision(app.decision, jsonb, text, text, text),
    app.carry_out(app.decision), app.decide_waiver(app.decision), app.register_authority_order(app.decision),
    app.lift_restrictions(app.decision), app.place_restriction(app.decision, text, timestamptz),
    app.why_not(text, text, jsonb, timestamptz, int), app.fixed_subject(text, text, jsonb),
    app.in_force(text, text, jsonb), app.is_concluded(text, text), app.parked_step(text), app.lock_subject(text),
    app.merchant_of_subject(text, text), app.restriction_view(app.restriction), app.decision_view(app.decision);
DROP TABLE app.user_report;
DELETE FROM app.case_record WHERE kind IN
    ('not_me', 'instruction_tampered', 'instruction_leaked', 'lost_device', 'restriction_review');
ALTER TABLE app.case_record DROP COLUMN resolved_by, DROP COLUMN resolved_at;
ALTER TABLE app.payment DROP COLUMN withdrawn_by, DROP COLUMN concluded_by;
ALTER TABLE app.refund DROP COLUMN withdrawn_by, DROP COLUMN concluded_by;
DROP TABLE app.restriction, app.authority_order, app.decision, app.decision_kind;
DROP FUNCTION app.guard_restriction(), app.guard_decision();
