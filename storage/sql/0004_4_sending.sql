-- What the sender does: it has no rights but these three functions, and sees of the books what they hand it.

-- Hands new events to the endpoints that want them. `cursor` is where an endpoint's merchant's events were read up to.
CREATE FUNCTION app.fan_out_events(instant timestamptz, most int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    horizon xid8 := app.event_horizon();
    w app.webhook_endpoint;
    last record;
    made int;
    total int := 0;
BEGIN
    FOR w IN SELECT o.* FROM app.webhook_endpoint o WHERE o.state = 'enabled' AND EXISTS (
            SELECT 1 FROM app.event e WHERE e.merchant_id = o.merchant_id
                AND (e.xid, e.position) > (o.cursor_xid, o.cursor_position) AND e.xid < horizon)
            ORDER BY o.id FOR NO KEY UPDATE LOOP
        SELECT x.xid, x.position INTO last FROM (
            SELECT e.xid, e.position FROM app.event e WHERE e.merchant_id = w.merchant_id
                AND (e.xid, e.position) > (w.cursor_xid, w.cursor_position) AND e.xid < horizon
            ORDER BY e.xid, e.position LIMIT most) x ORDER BY x.xid DESC, x.position DESC LIMIT 1;
        CONTINUE WHEN last.xid IS NULL;
        -- A transaction that began early can write of an object after one that began late has: then the later event is
        -- below the horizon before the earlier one, which has been committed all the same, and goes with it.
        INSERT INTO app.webhook_delivery (endpoint_id, event_id, object_id, sequence, kind, state, created_at)
            SELECT DISTINCT ON (b.object_id, b.sequence) w.id, b.id, b.object_id, b.sequence, 'event', 'waiting', instant
            FROM app.event e JOIN app.event b ON b.object_id = e.object_id AND b.sequence <= e.sequence
            WHERE e.merchant_id = w.merchant_id
              AND (e.xid, e.position) > (w.cursor_xid, w.cursor_position)
              AND (e.xid, e.position) <= (last.xid, last.position)
              AND (b.xid, b.position) > (w.cursor_xid, w.cursor_position)
              AND b.type <> 'webhook_endpoint.test' AND app.event_matches(b.type, w.event_types)
            ON CONFLICT (endpoint_id, event_id) WHERE kind = 'event' DO NOTHING;
        GET DIAGNOSTICS made = ROW_COUNT;
        UPDATE app.webhook_endpoint SET cursor_xid = last.xid, cursor_position = last.position WHERE id = w.id;
        PERFORM app.advance_webhook_deliveries(w.id, instant);
        total := total + made;
    END LOOP;
    RETURN total;
END $$;

-- Takes what is due under a lease. An endpoint has slots of its own: several while it is well, for different objects, and
-- one while it is new, fails or is slow. `most_well` and `most_ill` are the sender's free places for endpoints of either kind,
-- so that the ill ones cannot take those of the others.
CREATE FUNCTION app.claim_webhook_deliveries(
    instant timestamptz, lease interval, most_well int, most_ill int, slots_well int, slots_ill int
) RETURNS TABLE (delivery bigint, delivery_id text, endpoint_id text, url text, event jsonb, created_at timestamptz,
    attempt int, failures int, ill boolean, secrets jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    w app.webhook_endpoint;
    d app.webhook_delivery;
    free int;
BEGIN
    FOR w IN SELECT o.* FROM app.webhook_endpoint o CROSS JOIN LATERAL (
                SELECT q.next_attempt_at FROM app.webhook_delivery q WHERE q.endpoint_id = o.id AND q.state = 'pending'
                    AND q.next_attempt_at <= instant ORDER BY q.next_attempt_at LIMIT 1) due
            WHERE o.state = 'enabled' AND (o.quiet_until IS NULL OR o.quiet_until <= instant)
            ORDER BY due.next_attempt_at FOR NO KEY UPDATE OF o SKIP LOCKED LOOP
        ill := NOT w.well;
        SELECT least(CASE WHEN ill THEN slots_ill ELSE slots_well END - count(*),
                     CASE WHEN ill THEN most_ill ELSE most_well END) INTO free
            FROM app.webhook_delivery q WHERE q.endpoint_id = w.id AND q.leased_until > instant;
        FOR d IN SELECT q.* FROM app.webhook_delivery q WHERE q.endpoint_id = w.id AND q.state = 'pending'
                AND q.next_attempt_at <= instant ORDER BY q.next_attempt_at, q.position LIMIT greatest(free, 0) LOOP
            -- Its sender died with it: whether it was sent is unknown, so it is sent again.
            IF d.leased_until IS NOT NULL THEN
                INSERT INTO app.webhook_attempt (delivery, number, started_at, duration_ms, error)
                    VALUES (d.position, d.attempts, d.leased_until - lease, 0, 'sender_stopped') ON CONFLICT DO NOTHING;
            END IF;
            UPDATE app.webhook_delivery SET leased_until = instant + lease, next_attempt_at = instant + lease,
                    attempts = attempts + 1 WHERE position = d.position;
            most_well := most_well - (NOT ill)::int;
            most_ill := most_ill - ill::int;
            delivery := d.position; delivery_id := d.id; endpoint_id := w.id; url := w.url;
            created_at := d.created_at; attempt := d.attempts + 1; failures := d.failures;
            event := (SELECT app.event_view(e) FROM app.event e WHERE e.id = d.event_id);
            secrets := (SELECT jsonb_agg(jsonb_build_object('id', s.id, 'sealed', encode(s.sealed, 'base64'))
                            ORDER BY s.expires_at DESC NULLS FIRST)
                        FROM app.webhook_secret s WHERE s.endpoint_id = w.id
                            AND (s.expires_at IS NULL OR s.expires_at > instant));
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- What became of an attempt. A late word of an attempt whose lease is over still counts if it is that of success.
-- item: {now, delivery, attempt, started_at, duration_ms, slow, status, error, response, outcome: delivered|retry|gone,
--        next_attempt_at (none: given up), quiet_until, disable_if_failing_since, recovered_if_failing_since}
CREATE FUNCTION app.record_webhook_attempt(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    succeeded boolean := i->>'outcome' = 'delivered';
    next timestamptz := (i->>'next_attempt_at')::timestamptz;
    w app.webhook_endpoint;
    d app.webhook_delivery;
    was_failing_since timestamptz;
    why text;
BEGIN
    SELECT o.* INTO w FROM app.webhook_endpoint o JOIN app.webhook_delivery q ON q.endpoint_id = o.id
        WHERE q.position = (i->>'delivery')::bigint FOR NO KEY UPDATE OF o;
    was_failing_since := w.failing_since;
    SELECT * INTO d FROM app.webhook_delivery q WHERE q.position = (i->>'delivery')::bigint FOR NO KEY UPDATE;
    INSERT INTO app.webhook_attempt AS a (delivery, number, started_at, duration_ms, status, error, response)
        VALUES (d.position, (i->>'attempt')::int, (i->>'started_at')::timestamptz, (i->>'duration_ms')::int,
                (i->>'status')::int, i->>'error', i->>'response')
        ON CONFLICT (delivery, number) DO UPDATE SET started_at = excluded.started_at, duration_ms = excluded.duration_ms,
            status = excluded.status, error = excluded.error, response = excluded.response
        WHERE a.error = 'sender_stopped';
    IF d.state IN ('delivered', 'given_up') OR (NOT succeeded AND (d.state <> 'pending' OR d.attempts <> (i->>'attempt')::int)) THEN
        RETURN jsonb_build_object('state', d.state);
    END IF;
    UPDATE app.webhook_delivery q SET leased_until = NULL,
            state = CASE WHEN succeeded THEN 'delivered' WHEN next IS NULL THEN 'given_up' ELSE 'pending' END,
            next_attempt_at = CASE WHEN NOT succeeded THEN next END,
            failures = q.failures + (NOT succeeded)::int,
            ended_at = CASE WHEN succeeded OR next IS NULL THEN instant END
        WHERE q.position = d.position RETURNING * INTO d;
    UPDATE app.webhook_endpoint o SET well = succeeded AND NOT (i->>'slow')::boolean, quiet_until = (i->>'quiet_until')::timestamptz,
            failing_since = CASE WHEN NOT succeeded THEN coalesce(o.failing_since, (i->>'started_at')::timestamptz) END
        WHERE o.id = w.id AND (o.well, o.quiet_until, o.failing_since) IS DISTINCT FROM (succeeded AND NOT (i->>'slow')::boolean,
            (i->>'quiet_until')::timestamptz,
            CASE WHEN NOT succeeded THEN coalesce(o.failing_since, (i->>'started_at')::timestamptz) END);
    -- Whoever comes back is not left waiting for the rest of a pause of hours. A try that comes early counts as none.
    IF succeeded AND was_failing_since <= (i->>'recovered_if_failing_since')::timestamptz THEN
        UPDATE app.webhook_delivery q SET next_attempt_at = instant, failures = greatest(q.failures - 1, 0)
            WHERE q.endpoint_id = w.id AND q.state = 'pending' AND q.next_attempt_at > instant AND q.leased_until IS NULL;
    END IF;
    SELECT * INTO w FROM app.webhook_endpoint o WHERE o.id = d.endpoint_id;
    why := CASE WHEN w.state <> 'enabled' THEN NULL WHEN i->>'outcome' = 'gone' THEN 'gone'
        WHEN w.failing_since <= (i->>'disable_if_failing_since')::timestamptz THEN 'failing' END;
    IF why IS NOT NULL THEN
        PERFORM app.disable_webhook_endpoint(w.id, why, instant);
    ELSIF d.ended_at IS NOT NULL THEN
        UPDATE app.webhook_delivery q SET state = 'pending', next_attempt_at = instant
            WHERE q.state = 'waiting' AND q.position = (
                SELECT n.position FROM app.webhook_delivery n WHERE n.endpoint_id = d.endpoint_id
                    AND n.object_id = d.object_id AND n.kind = d.kind AND n.state IN ('waiting', 'pending')
                ORDER BY n.sequence, n.position LIMIT 1);
    END IF;
    RETURN jsonb_build_object('state', d.state, 'disabled', why);
END $$;

-- With notice: an event for the merchant's other endpoints, a record, and a case for operators.
CREATE FUNCTION app.disable_webhook_endpoint(endpoint text, why text, instant timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    w app.webhook_endpoint := app.stop_webhook_endpoint(endpoint, 'disabled', why, instant);
BEGIN
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        VALUES (instant, 'webhooks', 'disable_webhook_endpoint', 'failed', why, w.id, w.merchant_id);
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        VALUES ('case_' || w.id || '_' || w.event_sequence, 'webhook_endpoint_disabled', w.id, w.merchant_id, instant);
END $$;

-- Deliveries are a log and no record of a transaction; the events themselves stay.
CREATE FUNCTION app.purge_webhook_deliveries(before timestamptz, most int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    gone int;
BEGIN
    DELETE FROM app.webhook_delivery WHERE position IN (
        SELECT d.position FROM app.webhook_delivery d WHERE d.ended_at < before ORDER BY d.ended_at LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
