-- The operators' API reads what people need to see, and writes through functions. What proves who somebody is (hashes of
-- passwords, keys and tokens, sealed secrets) it cannot read from a table.
REVOKE ALL ON FUNCTION
    app.operator_may(text, text, timestamptz), app.record_act(jsonb), app.operator_view(app.operator),
    app.end_sessions(text, text, timestamptz), app.fault_of_roles(text[]), app.begin_act(jsonb),
    app.take_attempt(jsonb, timestamptz), app.return_attempt(jsonb), app.begin_login(jsonb), app.finish_login(jsonb),
    app.end_session(jsonb), app.change_password(jsonb), app.enrol_operator(jsonb),
    app.invited_login(text, bytea, timestamptz), app.redeem_enrolment(jsonb), app.change_operator(jsonb),
    app.open_case(jsonb)
    FROM PUBLIC;
GRANT USAGE ON SCHEMA app, vault, ledger TO {ops};
GRANT SELECT ON
    app.partner, app.merchant, app.end_user, app.agreement_version, app.consent, app.waiver_application, app.user_waiver,
    app.binding, app.payment, app.refund, app.effect, app.code_attempt, app.operation, app.event, app.limit_usage,
    app.bank_callback, app.case_record, app.role, app.role_permission, app.role_conflict
    TO {ops};
GRANT SELECT (id, merchant_id, scopes, label, created_at, expires_at, revoked_at) ON app.api_key TO {ops};
GRANT SELECT (id, login, name, roles, state, credentials_expire_at, trained_until, enrolment_expires_at, enrolled_at,
    enrolled_by) ON app.operator TO {ops};
GRANT SELECT (id, operator_id, started_at, expires_at, last_used_at, ended_at, end_reason)
    ON app.operator_session TO {ops};
-- Merchants and their keys; every one is recorded in the same transaction.
GRANT INSERT (id, name, contract_until, created_at) ON app.merchant TO {ops};
GRANT INSERT ON app.api_key TO {ops};
GRANT UPDATE (revoked_at) ON app.api_key TO {ops};
GRANT EXECUTE ON FUNCTION
    app.instant(timestamptz), app.waiting_for(text, timestamptz, timestamptz, timestamptz),
    app.binding_view(app.binding), app.payment_view(app.payment), app.refund_view(app.refund),
    app.user_view(app.end_user), app.waiver_application_view(app.waiver_application),
    app.record_operation(timestamptz, text, text, text, text, text, text, text),
    app.operator_may(text, text, timestamptz), app.record_act(jsonb), app.begin_act(jsonb), app.begin_login(jsonb),
    app.finish_login(jsonb), app.end_session(jsonb), app.change_password(jsonb), app.enrol_operator(jsonb),
    app.invited_login(text, bytea, timestamptz), app.redeem_enrolment(jsonb), app.change_operator(jsonb),
    app.open_case(jsonb), ledger.open_accounts(text[]),
    vault.items_to_mask(text, text[]), vault.open_items(jsonb)
    TO {ops};
-- The worker checks a decision again, and with it the person behind it (house, rule 8).
GRANT EXECUTE ON FUNCTION app.operator_may(text, text, timestamptz) TO {app};
GRANT SELECT (id, login, name, roles, state) ON app.operator TO {app};
GRANT SELECT (token, user_id, field, key_version, created_at, erased_at) ON vault.item TO {ops};
GRANT SELECT ON vault.disclosure, vault.access TO {ops};
