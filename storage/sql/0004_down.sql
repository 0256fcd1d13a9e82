DELETE FROM app.case_record WHERE kind = 'webhook_endpoint_disabled';
ALTER TABLE app.case_record DROP CONSTRAINT case_record_kind_check;
ALTER TABLE app.case_record ADD CONSTRAINT case_record_kind_check
    CHECK (kind IN ('waiver_objection', 'bank_correction', 'operator_needed'));
DROP FUNCTION app.fan_out_events(timestamptz, int),
    app.claim_webhook_deliveries(timestamptz, interval, int, int, int, int),
    app.record_webhook_attempt(jsonb), app.disable_webhook_endpoint(text, text, timestamptz),
    app.purge_webhook_deliveries(timestamptz, int),
    app.create_webhook_endpoint(jsonb), app.rotate_webhook_secret(jsonb), app.switch_webhook_endpoint(jsonb),
    app.test_webhook_endpoint(jsonb), app.replay_webhook_events(jsonb),
    app.stop_webhook_endpoint(text, text, text, timestamptz), app.advance_webhook_deliveries(text, timestamptz),
    app.webhook_endpoint_of(jsonb), app.finish_webhook_request(jsonb, text, jsonb),
    app.webhook_delivery_view(app.webhook_delivery), app.webhook_attempt_view(app.webhook_attempt),
    app.webhook_endpoint_view(app.webhook_endpoint);
DROP TABLE app.webhook_attempt, app.webhook_delivery, app.webhook_secret, app.webhook_endpoint;
DROP FUNCTION app.event_view(app.event), app.event_matches(text, text[]), app.event_horizon();
DROP INDEX app.event_at, app.event_of_merchant;
ALTER TABLE app.event DROP COLUMN xid;
CREATE INDEX event_of_merchant ON app.event (merchant_id, position);
REVOKE USAGE ON SCHEMA app FROM {webhooks};
