-- Who asks, and has this been asked before: one commit of its own before anything is decided, so that a
-- rolled-back decision never erases the attempt (A4.1a).

-- item: {item, now, request_id, action, scope, key_id, secret_hash, record, idempotency_key, fingerprint, resource_id,
--        lease_seconds}
-- The hashes compared are SHA-256 of high-entropy secrets, so the time of the comparison tells nothing of a secret.
CREATE FUNCTION app.begin_requests(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    k record;
    prior app.idempotency;
    instant timestamptz;
BEGIN
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        instant := (i->>'now')::timestamptz;
        SELECT a.id, a.merchant_id, a.scopes, m.state, m.name, m.contract_until INTO k
            FROM app.api_key a JOIN app.merchant m ON m.id = a.merchant_id
            WHERE a.id = i->>'key_id' AND a.secret_hash = decode(i->>'secret_hash', 'hex')
              AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > instant);
        IF NOT FOUND THEN
            INSERT INTO app.operation (at, actor, action, outcome, reason, request_id)
                VALUES (instant, 'unknown', i->>'action', 'denied', 'api_key_invalid', i->>'request_id');
            result := '{"ok": false, "error": "api_key_invalid"}';
            RETURN NEXT; CONTINUE;
        END IF;
        result := jsonb_build_object('ok', true, 'merchant_id', k.merchant_id, 'merchant_name', k.name,
            'merchant_state', CASE WHEN k.contract_until <= instant THEN 'suspended' ELSE k.state END,
            'resource_id', i->>'resource_id');
        IF NOT (i->>'scope') = ANY (k.scopes) THEN
            INSERT INTO app.operation (at, actor, action, outcome, reason, merchant_id, request_id)
                VALUES (instant, k.id, i->>'action', 'denied', 'scope_missing', k.merchant_id, i->>'request_id');
            result := '{"ok": false, "error": "scope_missing"}';
            RETURN NEXT; CONTINUE;
        END IF;
        IF NOT (i->>'record')::boolean THEN
            RETURN NEXT; CONTINUE;
        END IF;
        INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, request_id)
            VALUES (instant, k.id, i->>'action', 'received', i->>'resource_id', k.merchant_id, i->>'request_id');
        IF i->>'idempotency_key' IS NULL THEN
            RETURN NEXT; CONTINUE;
        END IF;
        INSERT INTO app.idempotency AS d (merchant_id, key, action, fingerprint, resource_id, request_id, started_at, lease_until)
            VALUES (k.merchant_id, i->>'idempotency_key', i->>'action', i->>'fingerprint', i->>'resource_id',
                    i->>'request_id', instant, instant + make_interval(secs => (i->>'lease_seconds')::int))
            ON CONFLICT (merchant_id, key) DO NOTHING;
        IF NOT FOUND THEN
            SELECT * INTO prior FROM app.idempotency d
                WHERE d.merchant_id = k.merchant_id AND d.key = i->>'idempotency_key' FOR UPDATE;
            IF prior.action <> i->>'action' OR prior.fingerprint <> i->>'fingerprint' THEN
                INSERT INTO app.operation (at, actor, action, outcome, reason, merchant_id, request_id)
                    VALUES (instant, k.id, i->>'action', 'refused', 'idempotency_key_reused', k.merchant_id, i->>'request_id');
                result := '{"ok": false, "error": "idempotency_key_reused"}';
            ELSIF prior.answer IS NOT NULL THEN
                result := result || jsonb_build_object('replay', prior.answer, 'resource_id', prior.resource_id,
                    'first_request_id', prior.request_id);
            -- One's own request may come twice: a batch whose commit was not acknowledged is sent again.
            ELSIF prior.lease_until > instant AND prior.request_id <> i->>'request_id' THEN
                result := jsonb_build_object('ok', false, 'error', 'idempotency_in_progress', 'subject_id', prior.resource_id);
            ELSE
                -- The first one died on the way; this one goes on under the same resource id, so nothing is made twice.
                UPDATE app.idempotency d SET request_id = i->>'request_id',
                        lease_until = instant + make_interval(secs => (i->>'lease_seconds')::int)
                    WHERE d.merchant_id = k.merchant_id AND d.key = i->>'idempotency_key';
                result := result || jsonb_build_object('resource_id', prior.resource_id);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Keeps the answer for replays and records the outcome, in the transaction that decided.
CREATE FUNCTION app.finish_request(
    whose text, idempotency_key text, request text, who text, done_action text, at timestamptz,
    subject text, answer_given jsonb
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id)
        VALUES (at, who, done_action, CASE WHEN (answer_given->>'ok')::boolean THEN 'done' ELSE 'refused' END,
                answer_given->>'error', subject, whose, request);
    IF idempotency_key IS NOT NULL THEN
        UPDATE app.idempotency d SET answer = answer_given
            WHERE d.merchant_id = whose AND d.key = idempotency_key AND d.answer IS NULL;
    END IF;
END $$;
