DROP INDEX app.payment_order, app.effect_bank_reference, app.operation_of_operator;
DROP FUNCTION app.open_case(jsonb), app.change_operator(jsonb), app.redeem_enrolment(jsonb),
    app.invited_login(text, bytea, timestamptz), app.enrol_operator(jsonb), app.change_password(jsonb),
    app.end_session(jsonb), app.finish_login(jsonb), app.begin_login(jsonb), app.return_attempt(jsonb),
    app.take_attempt(jsonb, timestamptz), app.begin_act(jsonb), app.fault_of_roles(text[]),
    app.end_sessions(text, text, timestamptz), app.operator_view(app.operator), app.record_act(jsonb),
    app.operator_may(text, text, timestamptz);
DROP TABLE app.login_brake, app.operator_session, app.operator, app.role_conflict, app.role_permission, app.role;
REVOKE ALL ON app.partner, app.merchant, app.end_user, app.agreement_version, app.consent, app.waiver_application,
    app.user_waiver, app.binding, app.payment, app.refund, app.effect, app.code_attempt, app.operation, app.event,
    app.limit_usage, app.bank_callback, app.case_record, app.api_key, vault.item, vault.disclosure, vault.access
    FROM {ops};
REVOKE ALL ON FUNCTION app.instant(timestamptz), app.waiting_for(text, timestamptz, timestamptz, timestamptz),
    app.binding_view(app.binding), app.payment_view(app.payment), app.refund_view(app.refund),
    app.user_view(app.end_user), app.waiver_application_view(app.waiver_application),
    app.record_operation(timestamptz, text, text, text, text, text, text, text), ledger.open_accounts(text[]),
    vault.items_to_mask(text, text[]), vault.open_items(jsonb)
    FROM {ops};
REVOKE USAGE ON SCHEMA app, vault, ledger FROM {ops};
