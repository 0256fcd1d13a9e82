REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT SELECT ON app.webhook_endpoint, app.webhook_delivery, app.webhook_attempt TO {app};
GRANT EXECUTE ON FUNCTION
    app.event_horizon(), app.event_view(app.event), app.event_matches(text, text[]),
    app.webhook_endpoint_view(app.webhook_endpoint), app.webhook_attempt_view(app.webhook_attempt),
    app.webhook_delivery_view(app.webhook_delivery),
    app.create_webhook_endpoint(jsonb), app.rotate_webhook_secret(jsonb), app.switch_webhook_endpoint(jsonb),
    app.test_webhook_endpoint(jsonb), app.replay_webhook_events(jsonb)
    TO {app};
-- The sender reads no table: it is handed the events and endpoints that are due, and nothing else.
GRANT USAGE ON SCHEMA app TO {webhooks};
GRANT EXECUTE ON FUNCTION
    app.fan_out_events(timestamptz, int),
    app.claim_webhook_deliveries(timestamptz, interval, int, int, int, int),
    app.record_webhook_attempt(jsonb), app.purge_webhook_deliveries(timestamptz, int)
    TO {webhooks};
