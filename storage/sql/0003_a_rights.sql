-- The app role reads, and writes only through the functions named here; the institution's own commands (merchants, keys,
-- decisions, partners) run as the owner.
REVOKE ALL ON SCHEMA app FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO {app};
GRANT SELECT ON ALL TABLES IN SCHEMA app TO {app};
REVOKE SELECT ON app.api_key FROM {app};
GRANT EXECUTE ON FUNCTION
    app.instant(timestamptz),
    app.waiting_for(text, timestamptz, timestamptz, timestamptz),
    app.binding_view(app.binding), app.payment_view(app.payment), app.refund_view(app.refund), app.user_view(app.end_user),
    app.begin_requests(jsonb), app.record_answer(jsonb),
    app.verification_for(text, text, bigint, bigint),
    app.accept_payments(jsonb), app.accept_refunds(jsonb), app.claim_effects(jsonb), app.settle(jsonb),
    app.claim_code_attempt(jsonb), app.resolve_code_attempt(jsonb), app.claim_code_resend(jsonb),
    app.accept_user(jsonb), app.record_consent(jsonb), app.accept_binding(jsonb), app.accept_unbinding(jsonb),
    app.apply_for_waiver(jsonb), app.waiver_application_view(app.waiver_application), app.record_callback(jsonb),
    app.record_operation(timestamptz, text, text, text, text, text, text, text),
    app.unattended(timestamptz, interval, int), app.unfinished(timestamptz, interval, text, int),
    app.record_abandoned(timestamptz)
    TO {app};
