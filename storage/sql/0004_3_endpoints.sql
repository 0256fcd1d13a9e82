-- What merchants do with their endpoints. Each function decides, records and keeps the answer in one transaction; a
-- secret is in no answer that is kept.

CREATE FUNCTION app.finish_webhook_request(i jsonb, action text, answer jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key',
        i->'request'->>'request_id', i->'request'->>'key_id', action, (i->>'now')::timestamptz,
        coalesce(answer->'resource'->>'id', i->>'id'), answer);
    RETURN answer;
END $$;

CREATE FUNCTION app.webhook_endpoint_of(i jsonb) RETURNS app.webhook_endpoint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT w FROM app.webhook_endpoint w
            WHERE w.id = i->>'id' AND w.merchant_id = i->'request'->>'merchant_id' AND w.state <> 'deleted'
            FOR NO KEY UPDATE;
    END;

-- item: {request, now, id, url, event_types, description, secret_id, sealed, most}
CREATE FUNCTION app.create_webhook_endpoint(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    w app.webhook_endpoint;
    answer jsonb;
BEGIN
    -- Two at once would both find room for one.
    PERFORM 1 FROM app.merchant WHERE id = whose FOR NO KEY UPDATE;
    SELECT * INTO w FROM app.webhook_endpoint WHERE id = i->>'id';
    IF w.id IS NULL AND (SELECT count(*) FROM app.webhook_endpoint o
                         WHERE o.merchant_id = whose AND o.state <> 'deleted') >= (i->>'most')::int THEN
        answer := '{"ok": false, "error": "webhook_endpoints_too_many"}';
    ELSIF w.id IS NULL THEN
        INSERT INTO app.webhook_endpoint (id, merchant_id, url, event_types, description, state_since, created_at,
                cursor_xid, cursor_position)
            SELECT i->>'id', whose, i->>'url', ARRAY(SELECT jsonb_array_elements_text(i->'event_types')),
                i->>'description', instant, instant, app.event_horizon(), 0
            RETURNING * INTO w;
        INSERT INTO app.webhook_secret (id, endpoint_id, sealed, created_at)
            VALUES (i->>'secret_id', w.id, decode(i->>'sealed', 'base64'), instant);
    END IF;
    answer := coalesce(answer, jsonb_build_object('ok', true, 'resource', app.webhook_endpoint_view(w) || '{"secret": null}'));
    RETURN app.finish_webhook_request(i, 'create_webhook_endpoint', answer);
END $$;

-- The secret that signed until now ends when the overlap does, and so does, at the latest, whatever is older; more than
-- `most` do not sign at once. item: {request, now, id, secret_id, sealed, overlap_seconds, most}
CREATE FUNCTION app.rotate_webhook_secret(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    until timestamptz := (i->>'now')::timestamptz + make_interval(secs => (i->>'overlap_seconds')::int);
    w app.webhook_endpoint := app.webhook_endpoint_of(i);
BEGIN
    IF w.id IS NULL THEN
        RETURN app.finish_webhook_request(i, 'rotate_webhook_secret',
            '{"ok": false, "error": "webhook_endpoint_not_found"}');
    END IF;
    DELETE FROM app.webhook_secret s WHERE s.endpoint_id = w.id AND (s.expires_at <= instant OR s.id IN (
        SELECT o.id FROM app.webhook_secret o WHERE o.endpoint_id = w.id
        ORDER BY o.created_at DESC, o.expires_at DESC NULLS FIRST OFFSET (i->>'most')::int - 1));
    UPDATE app.webhook_secret s SET expires_at = least(s.expires_at, until) WHERE s.endpoint_id = w.id;
    DELETE FROM app.webhook_secret s WHERE s.endpoint_id = w.id AND s.expires_at <= instant;
    INSERT INTO app.webhook_secret (id, endpoint_id, sealed, created_at)
        VALUES (i->>'secret_id', w.id, decode(i->>'sealed', 'base64'), instant);
    RETURN app.finish_webhook_request(i, 'rotate_webhook_secret',
        jsonb_build_object('ok', true, 'resource', app.webhook_endpoint_view(w) || '{"secret": null}'));
END $$;

-- What an endpoint was to be told and was not is cancelled; it can be replayed once the endpoint is enabled again.
CREATE FUNCTION app.stop_webhook_endpoint(endpoint text, new_state text, why text, instant timestamptz)
    RETURNS app.webhook_endpoint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    w app.webhook_endpoint;
BEGIN
    UPDATE app.webhook_endpoint SET state = new_state, reason = why, state_since = instant, quiet_until = NULL,
            event_sequence = event_sequence + (new_state = 'disabled')::int
        WHERE id = endpoint RETURNING * INTO w;
    UPDATE app.webhook_delivery SET state = 'cancelled', next_attempt_at = NULL, leased_until = NULL, ended_at = instant
        WHERE endpoint_id = endpoint AND state IN ('waiting', 'pending');
    IF new_state = 'disabled' THEN
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (w.merchant_id, w.id, w.event_sequence, 'webhook_endpoint.disabled', instant,
                    app.webhook_endpoint_view(w));
    END IF;
    RETURN w;
END $$;

-- item: {request, now, id, to: enabled|disabled|deleted}
CREATE FUNCTION app.switch_webhook_endpoint(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    w app.webhook_endpoint := app.webhook_endpoint_of(i);
    action text := CASE i->>'to' WHEN 'enabled' THEN 'enable' WHEN 'disabled' THEN 'disable' ELSE 'delete' END
        || '_webhook_endpoint';
BEGIN
    IF w.id IS NULL THEN
        RETURN app.finish_webhook_request(i, action, '{"ok": false, "error": "webhook_endpoint_not_found"}');
    END IF;
    IF i->>'to' = 'enabled' AND w.state <> 'enabled' THEN
        -- From now on: what was missed is told on request, or a long absence would come back as a flood.
        UPDATE app.webhook_endpoint SET state = 'enabled', reason = NULL, state_since = instant, failing_since = NULL,
                well = false, quiet_until = NULL, cursor_xid = app.event_horizon(), cursor_position = 0
            WHERE id = w.id RETURNING * INTO w;
        UPDATE app.case_record SET state = 'resolved'
            WHERE kind = 'webhook_endpoint_disabled' AND subject_id = w.id AND state = 'open';
    ELSIF i->>'to' = 'disabled' AND w.state = 'enabled' THEN
        w := app.stop_webhook_endpoint(w.id, 'disabled', 'by_merchant', instant);
    ELSIF i->>'to' = 'deleted' THEN
        w := app.stop_webhook_endpoint(w.id, 'deleted', 'by_merchant', instant);
        DELETE FROM app.webhook_secret WHERE endpoint_id = w.id;
        UPDATE app.case_record SET state = 'resolved'
            WHERE kind = 'webhook_endpoint_disabled' AND subject_id = w.id AND state = 'open';
    END IF;
    RETURN app.finish_webhook_request(i, action, jsonb_build_object('ok', true, 'resource', app.webhook_endpoint_view(w)));
END $$;

-- An event that only this endpoint is sent. item: {request, now, id, test_id}
CREATE FUNCTION app.test_webhook_endpoint(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    w app.webhook_endpoint := app.webhook_endpoint_of(i);
    e app.event;
    d app.webhook_delivery;
    error text := CASE WHEN w.id IS NULL THEN 'webhook_endpoint_not_found'
        WHEN w.state <> 'enabled' THEN 'webhook_endpoint_disabled' END;
BEGIN
    IF error IS NOT NULL THEN
        RETURN app.finish_webhook_request(i, 'test_webhook_endpoint', jsonb_build_object('ok', false, 'error', error));
    END IF;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (w.merchant_id, i->>'test_id', 1, 'webhook_endpoint.test', instant,
            jsonb_build_object('id', i->>'test_id', 'object', 'webhook_test', 'endpoint_id', w.id))
        ON CONFLICT (object_id, sequence) DO NOTHING;
    SELECT * INTO e FROM app.event o WHERE o.object_id = i->>'test_id' AND o.sequence = 1;
    SELECT * INTO d FROM app.webhook_delivery o WHERE o.endpoint_id = w.id AND o.event_id = e.id;
    IF d.id IS NULL THEN
        INSERT INTO app.webhook_delivery (endpoint_id, event_id, object_id, sequence, kind, state, created_at, next_attempt_at)
            VALUES (w.id, e.id, e.object_id, 1, 'test', 'pending', instant, instant) RETURNING * INTO d;
    END IF;
    RETURN app.finish_webhook_request(i, 'test_webhook_endpoint',
        jsonb_build_object('ok', true, 'resource', app.webhook_delivery_view(d)));
END $$;

-- Sends one event again, or those of a span; each under its own id. What is still on its way is not doubled.
-- item: {request, now, id, most, event_id} or {…, from, until}
CREATE FUNCTION app.replay_webhook_events(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    w app.webhook_endpoint := app.webhook_endpoint_of(i);
    chosen text[];
    made int;
    error text := CASE WHEN w.id IS NULL THEN 'webhook_endpoint_not_found'
        WHEN w.state <> 'enabled' THEN 'webhook_endpoint_disabled' END;
BEGIN
    IF error IS NULL THEN
        SELECT array_agg(x.id) INTO chosen FROM (
            SELECT e.id FROM app.event e WHERE i ? 'event_id' AND e.id = i->>'event_id' AND e.merchant_id = w.merchant_id
            UNION ALL
            SELECT e.id FROM app.event e WHERE NOT i ? 'event_id' AND e.merchant_id = w.merchant_id
                AND e.at >= (i->>'from')::timestamptz AND e.at < (i->>'until')::timestamptz
                AND e.type <> 'webhook_endpoint.test' AND app.event_matches(e.type, w.event_types)
                AND (e.xid, e.position) <= (w.cursor_xid, w.cursor_position)
            LIMIT (i->>'most')::int + 1) x;
        error := CASE WHEN i ? 'event_id' AND chosen IS NULL THEN 'event_not_found'
            WHEN cardinality(chosen) > (i->>'most')::int THEN 'replay_too_large' END;
    END IF;
    IF error IS NOT NULL THEN
        RETURN app.finish_webhook_request(i, 'replay_webhook_events', jsonb_build_object('ok', false, 'error', error));
    END IF;
    INSERT INTO app.webhook_delivery (endpoint_id, event_id, object_id, sequence, kind, state, created_at)
        SELECT w.id, e.id, e.object_id, e.sequence, 'replay', 'waiting', instant FROM app.event e
        WHERE e.id = ANY (chosen) AND NOT EXISTS (
            SELECT 1 FROM app.webhook_delivery o
            WHERE o.endpoint_id = w.id AND o.object_id = e.object_id AND o.event_id = e.id AND o.state IN ('waiting', 'pending'))
        ORDER BY e.xid, e.position;
    GET DIAGNOSTICS made = ROW_COUNT;
    PERFORM app.advance_webhook_deliveries(w.id, instant);
    RETURN app.finish_webhook_request(i, 'replay_webhook_events', jsonb_build_object('ok', true, 'resource',
        jsonb_build_object('object', 'webhook_replay', 'endpoint_id', w.id, 'deliveries', made)));
END $$;

-- Whoever is first of its object, and waits, has its turn.
CREATE FUNCTION app.advance_webhook_deliveries(endpoint text, instant timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        UPDATE app.webhook_delivery d SET state = 'pending', next_attempt_at = instant
            WHERE d.endpoint_id = endpoint AND d.state = 'waiting' AND NOT EXISTS (
                SELECT 1 FROM app.webhook_delivery o
                WHERE o.endpoint_id = d.endpoint_id AND o.object_id = d.object_id AND o.kind = d.kind
                  AND o.state IN ('waiting', 'pending') AND (o.sequence, o.position) < (d.sequence, d.position));
    END;
