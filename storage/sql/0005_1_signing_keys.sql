-- Public keys by which merchants sign their instructions, and the signatures that came with them (A3.2b, A3.3b, L14).

-- A key never changes; it only ever ends. That is why a process may keep what it once read of it.
CREATE TABLE app.signing_key (
    id text PRIMARY KEY CHECK (id ~ '^sgk_[0-9A-HJKMNP-TV-Z]{26}$'),
    merchant_id text NOT NULL REFERENCES app.merchant,
    algorithm text NOT NULL CHECK (algorithm IN ('ed25519', 'ecdsa-p256-sha256')),
    public_key bytea NOT NULL CHECK (octet_length(public_key) BETWEEN 32 AND 200),
    label text NOT NULL DEFAULT '' CHECK (char_length(label) <= 60),
    registered_by text NOT NULL CHECK (char_length(registered_by) <= 80),
    created_at timestamptz NOT NULL,
    not_before timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_by text CHECK (char_length(revoked_by) <= 80),
    UNIQUE (merchant_id, public_key),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX signing_key_in_use ON app.signing_key (merchant_id) WHERE revoked_at IS NULL;

CREATE FUNCTION app.check_signing_key() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.revoked_at IS NULL
       AND (OLD.id, OLD.merchant_id, OLD.algorithm, OLD.public_key, OLD.label, OLD.registered_by, OLD.created_at, OLD.not_before)
         = (NEW.id, NEW.merchant_id, NEW.algorithm, NEW.public_key, NEW.label, NEW.registered_by, NEW.created_at, NEW.not_before)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a signing key only ever ends: % on app.signing_key is not allowed', TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ends_only BEFORE UPDATE OR DELETE ON app.signing_key FOR EACH ROW EXECUTE FUNCTION app.check_signing_key();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.signing_key EXECUTE FUNCTION app.forbid_change();

-- A nonce works once a key; kept while a signature with it could still be in time, and forgotten afterwards.
CREATE TABLE app.signature_nonce (
    key_id text NOT NULL,
    nonce_hash bytea NOT NULL CHECK (octet_length(nonce_hash) = 32),
    request_id text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, nonce_hash)
);
CREATE INDEX signature_nonce_expiry ON app.signature_nonce (expires_at);

-- The merchant's signature under an instruction, as evidence. What was signed can hold personal data (a merchant may use a
-- card number as its Idempotency-Key) and a digest of the body, so it is sealed; where the body is a one-time code it is
-- not kept at all, because the digest would give the code away. Append-only.
CREATE TABLE app.instruction_signature (
    request_id text PRIMARY KEY,
    merchant_id text NOT NULL,
    key_id text NOT NULL,
    action text NOT NULL,
    subject_id text,
    created timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    signature bytea CHECK (octet_length(signature) = 64),
    sealed_base bytea CHECK (octet_length(sealed_base) <= 16384),
    seal_key_id text,
    CHECK ((signature IS NULL) = (sealed_base IS NULL)),
    CHECK ((sealed_base IS NULL) = (seal_key_id IS NULL))
);
CREATE INDEX signature_of_subject ON app.instruction_signature (subject_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.instruction_signature
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.instruction_signature EXECUTE FUNCTION app.forbid_change();

-- A payment that the merchant instructs under its own arrangement with the user says which (A3.2b).
ALTER TABLE app.payment
    ADD COLUMN mandate_reference text CHECK (char_length(mandate_reference) BETWEEN 1 AND 64),
    ADD CONSTRAINT mandate_of_standing_instructions
        CHECK ((origin = 'standing_mandate') = (mandate_reference IS NOT NULL));

CREATE FUNCTION app.signing_key_view(k app.signing_key) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object(
        'id', k.id, 'object', 'signing_key', 'algorithm', k.algorithm, 'label', k.label,
        'fingerprint', encode(sha256(k.public_key), 'hex'), 'registered_by', k.registered_by,
        'created_at', app.instant(k.created_at), 'not_before', app.instant(k.not_before),
        'revoked_at', app.instant(k.revoked_at));

-- Registers a key: by the institution (`actor`) or by the merchant itself, in a request signed with a current key.
-- item: {now, id, merchant_id, algorithm, public_key (hex), label, not_before, most, actor or request}
CREATE FUNCTION app.register_signing_key(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->>'merchant_id';
    who text := coalesce(i->'request'->>'key_id', i->>'actor');
    k app.signing_key;
    answer jsonb;
BEGIN
    -- One at a time a merchant, so that counting holds.
    PERFORM 1 FROM app.merchant WHERE id = whose FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN '{"ok": false, "error": "merchant_not_found"}'; END IF;
    SELECT * INTO k FROM app.signing_key
        WHERE merchant_id = whose AND (id = i->>'id' OR public_key = decode(i->>'public_key', 'hex'));
    IF k.id = i->>'id' THEN
        answer := jsonb_build_object('ok', true, 'resource', app.signing_key_view(k));
    ELSIF k.id IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', 'signing_key_exists', 'subject_id', k.id);
    ELSIF (SELECT count(*) FROM app.signing_key WHERE merchant_id = whose AND revoked_at IS NULL) >= (i->>'most')::int THEN
        answer := '{"ok": false, "error": "signing_keys_exhausted"}';
    ELSE
        INSERT INTO app.signing_key (id, merchant_id, algorithm, public_key, label, registered_by, created_at, not_before)
            VALUES (i->>'id', whose, i->>'algorithm', decode(i->>'public_key', 'hex'), i->>'label', who, instant,
                (i->>'not_before')::timestamptz)
            RETURNING * INTO k;
        answer := jsonb_build_object('ok', true, 'resource', app.signing_key_view(k));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id', who,
        'register_signing_key', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- Ends a key. A merchant keeps one that works, or its instructions would no longer have to be signed; only the
-- institution ends the last one. item: {now, id, merchant_id, actor or request}
CREATE FUNCTION app.revoke_signing_key(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->>'merchant_id';
    who text := coalesce(i->'request'->>'key_id', i->>'actor');
    k app.signing_key;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR NO KEY UPDATE;
    SELECT * INTO k FROM app.signing_key WHERE id = i->>'id' AND merchant_id = whose;
    IF NOT FOUND THEN
        answer := '{"ok": false, "error": "signing_key_not_found"}';
    ELSIF k.revoked_at IS NOT NULL THEN
        answer := jsonb_build_object('ok', true, 'resource', app.signing_key_view(k));
    ELSIF i->'request'->>'key_id' IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM app.signing_key o WHERE o.merchant_id = whose AND o.id <> k.id
            AND o.revoked_at IS NULL AND o.not_before <= instant) THEN
        answer := jsonb_build_object('ok', false, 'error', 'last_signing_key', 'subject_id', k.id);
    ELSE
        UPDATE app.signing_key SET revoked_at = instant, revoked_by = who WHERE id = k.id RETURNING * INTO k;
        answer := jsonb_build_object('ok', true, 'resource', app.signing_key_view(k));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id', who,
        'revoke_signing_key', instant, i->>'id', answer);
    RETURN answer;
END $$;
