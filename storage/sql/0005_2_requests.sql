-- Who asks, has this been asked before, and is it signed as it must be: still one statement and one commit.

-- Why a signature is not good enough, or NULL. A good one under an instruction uses up its nonce.
-- item: as of app.begin_requests; `signature` is {fault} or {key_id, nonce_hash, nonce_expires_at, …}
CREATE FUNCTION app.signature_fault(i jsonb, whose text, instant timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    s jsonb := i->'signature';
BEGIN
    IF s->>'fault' IS NOT NULL THEN
        RETURN s->>'fault';
    END IF;
    -- Looked at here and now: a revocation holds from its commit on, whatever a process remembers of the key.
    PERFORM 1 FROM app.signing_key k WHERE k.id = s->>'key_id' AND k.merchant_id = whose
        AND k.revoked_at IS NULL AND k.not_before <= instant;
    IF NOT FOUND THEN
        RETURN 'signing_key_unknown';
    END IF;
    IF NOT (i->>'record')::boolean THEN
        RETURN NULL;
    END IF;
    INSERT INTO app.signature_nonce (key_id, nonce_hash, request_id, expires_at)
        VALUES (s->>'key_id', decode(s->>'nonce_hash', 'hex'), i->>'request_id', (s->>'nonce_expires_at')::timestamptz)
        ON CONFLICT (key_id, nonce_hash) DO NOTHING;
    -- One's own request may come twice: a batch whose commit was not acknowledged is sent again.
    IF NOT FOUND AND NOT EXISTS (
        SELECT 1 FROM app.signature_nonce n WHERE n.key_id = s->>'key_id'
            AND n.nonce_hash = decode(s->>'nonce_hash', 'hex') AND n.request_id = i->>'request_id') THEN
        RETURN 'signature_replayed';
    END IF;
    RETURN NULL;
END $$;

-- item: {item, now, request_id, action, scope, key_id, secret_hash, record, idempotency_key, fingerprint, resource_id,
--        lease_seconds, must_be_signed, signature}
-- A refusal that comes after the key was found true names the merchant, for its quota.
-- The hashes compared are SHA-256 of high-entropy secrets, so the time of the comparison tells nothing of a secret.
CREATE OR REPLACE FUNCTION app.begin_requests(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    k record;
    prior app.idempotency;
    instant timestamptz;
    is_signed boolean;
    fault text;
    signed_items int := 0;
BEGIN
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        instant := (i->>'now')::timestamptz;
        is_signed := coalesce(jsonb_typeof(i->'signature') = 'object', false);
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
        fault := NULL;
        IF NOT (i->>'scope') = ANY (k.scopes) THEN
            fault := 'scope_missing';
        ELSIF is_signed THEN
            fault := app.signature_fault(i, k.merchant_id, instant);
            signed_items := signed_items + 1;
        ELSIF (i->>'must_be_signed')::boolean OR ((i->>'record')::boolean AND EXISTS (
            SELECT 1 FROM app.signing_key s
                WHERE s.merchant_id = k.merchant_id AND s.revoked_at IS NULL AND s.not_before <= instant)) THEN
            fault := 'signature_required';
        END IF;
        IF fault IS NOT NULL THEN
            INSERT INTO app.operation (at, actor, action, outcome, reason, merchant_id, request_id, detail)
                VALUES (instant, k.id, i->>'action', 'denied', fault, k.merchant_id, i->>'request_id',
                    CASE WHEN i->'signature'->>'key_id' IS NOT NULL
                        THEN jsonb_build_object('signing_key', i->'signature'->>'key_id') END);
            result := jsonb_build_object('ok', false, 'error', fault, 'merchant_id', k.merchant_id);
            RETURN NEXT; CONTINUE;
        END IF;
        result := jsonb_build_object('ok', true, 'merchant_id', k.merchant_id, 'merchant_name', k.name,
            'merchant_state', CASE WHEN k.contract_until <= instant THEN 'suspended' ELSE k.state END,
            'resource_id', i->>'resource_id');
        IF NOT (i->>'record')::boolean THEN
            RETURN NEXT; CONTINUE;
        END IF;
        INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, request_id)
            VALUES (instant, k.id, i->>'action', 'received', i->>'resource_id', k.merchant_id, i->>'request_id');
        IF i->>'idempotency_key' IS NOT NULL THEN
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
                    result := jsonb_build_object('ok', false, 'error', 'idempotency_key_reused', 'merchant_id', k.merchant_id);
                ELSIF prior.answer IS NOT NULL THEN
                    result := result || jsonb_build_object('replay', prior.answer, 'resource_id', prior.resource_id,
                        'first_request_id', prior.request_id);
                -- One's own request may come twice: a batch whose commit was not acknowledged is sent again.
                ELSIF prior.lease_until > instant AND prior.request_id <> i->>'request_id' THEN
                    result := jsonb_build_object('ok', false, 'error', 'idempotency_in_progress', 'subject_id', prior.resource_id,
                        'merchant_id', k.merchant_id);
                ELSE
                    -- The first one died on the way; this one goes on under the same resource id, so nothing is made twice.
                    UPDATE app.idempotency d SET request_id = i->>'request_id',
                            lease_until = instant + make_interval(secs => (i->>'lease_seconds')::int)
                        WHERE d.merchant_id = k.merchant_id AND d.key = i->>'idempotency_key';
                    result := result || jsonb_build_object('resource_id', prior.resource_id);
                END IF;
            END IF;
        END IF;
        IF is_signed THEN
            INSERT INTO app.instruction_signature (request_id, merchant_id, key_id, action, subject_id, created, received_at,
                    signature, sealed_base, seal_key_id)
                VALUES (i->>'request_id', k.merchant_id, i->'signature'->>'key_id', i->>'action',
                    coalesce(result->>'resource_id', result->>'subject_id'), (i->'signature'->>'created')::timestamptz, instant,
                    decode(i->'signature'->>'signature', 'hex'), decode(i->'signature'->>'sealed_base', 'hex'),
                    i->'signature'->>'seal_key_id')
                ON CONFLICT (request_id) DO NOTHING;
        END IF;
        RETURN NEXT;
    END LOOP;
    -- Nonces whose time is over go out as new ones come in; twice as many, so that they never pile up.
    IF signed_items > 0 THEN
        DELETE FROM app.signature_nonce n USING (
            SELECT e.key_id, e.nonce_hash FROM app.signature_nonce e WHERE e.expires_at < instant
                ORDER BY e.expires_at LIMIT 2 * signed_items FOR UPDATE SKIP LOCKED) AS past
            WHERE (n.key_id, n.nonce_hash) = (past.key_id, past.nonce_hash);
    END IF;
END $$;
