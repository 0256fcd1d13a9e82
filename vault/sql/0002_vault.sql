-- Personal data as ciphertext, and the two logs: who read what, and what left the institution.
-- The data keys are in another database; nothing here can be read without them.

CREATE SCHEMA vault AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA vault TO {app};

CREATE TABLE vault.item (
    token text PRIMARY KEY CHECK (token ~ '^tok_[0-9A-HJKMNP-TV-Z]{26}$'),
    user_id text NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 40),
    field text NOT NULL CONSTRAINT item_field_is_registered
        CHECK (field IN ('name', 'id_number', 'card_number', 'mobile', 'agreement_number')),
    ciphertext bytea CHECK (octet_length(ciphertext) BETWEEN 29 AND 2048),
    key_version smallint NOT NULL,
    created_at timestamptz NOT NULL,
    erased_at timestamptz,
    CHECK ((ciphertext IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX item_user_id ON vault.item (user_id);

CREATE TABLE vault.disclosure (
    disclosure_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    recipient text NOT NULL CHECK (char_length(recipient) BETWEEN 1 AND 40),
    role text NOT NULL CHECK (char_length(role) BETWEEN 1 AND 40),
    operation text NOT NULL CHECK (char_length(operation) BETWEEN 1 AND 60),
    fields text[] NOT NULL CHECK (
        cardinality(fields) > 0
        AND fields <@ ARRAY['name', 'id_number', 'card_number', 'mobile', 'agreement_number']
    ),
    purpose text NOT NULL CHECK (char_length(purpose) BETWEEN 1 AND 40),
    ground text NOT NULL CONSTRAINT disclosure_ground_is_listed CHECK (ground IN (
        'explicit_consent', 'law_or_order', 'lawful_interests', 'necessary_for_service',
        'dispute_at_user_request', 'user_agreement', 'academic_research', 'public_interest'
    )),
    request_number text NOT NULL CHECK (char_length(request_number) BETWEEN 1 AND 40),
    cross_border boolean NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX disclosure_user_id_at ON vault.disclosure (user_id, at);

CREATE TABLE vault.access (
    access_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    tokens text[] NOT NULL,
    fields text[] NOT NULL,
    purpose text NOT NULL CHECK (char_length(purpose) BETWEEN 1 AND 40),
    actor text NOT NULL CHECK (char_length(actor) BETWEEN 1 AND 80),
    outcome text NOT NULL CHECK (outcome IN ('opened', 'refused')),
    reason text CHECK ((reason IS NULL) = (outcome = 'opened')),
    at timestamptz NOT NULL
);
CREATE INDEX access_user_id_at ON vault.access (user_id, at);

-- What even the owner may not do by mistake.

CREATE FUNCTION vault.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION vault.allow_erasure_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.ciphertext IS NULL OR NEW.ciphertext IS NOT NULL
        OR (NEW.token, NEW.user_id, NEW.field, NEW.key_version, NEW.created_at)
            IS DISTINCT FROM (OLD.token, OLD.user_id, OLD.field, OLD.key_version, OLD.created_at)
    THEN
        RAISE EXCEPTION 'an item may only be erased, once' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER item_erasure BEFORE UPDATE ON vault.item
    FOR EACH ROW EXECUTE FUNCTION vault.allow_erasure_only();
CREATE TRIGGER item_stays BEFORE DELETE OR TRUNCATE ON vault.item
    FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change();
CREATE TRIGGER disclosure_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON vault.disclosure
    FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change();
CREATE TRIGGER access_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON vault.access
    FOR EACH STATEMENT EXECUTE FUNCTION vault.refuse_change();

-- One sealed item as JSON, in the shape in which it came in: for functions of other rooms that return items.
CREATE FUNCTION vault.sealed_json(i vault.item) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'token', i.token, 'user_id', i.user_id, 'field', i.field, 'key_version', i.key_version,
        'created_at', i.created_at, 'ciphertext', translate(encode(i.ciphertext, 'base64'), E'\n', '')
    )
$$;

-- Stores sealed items inside the caller's transaction; idempotent by token. Returns how many were new.
-- Raises 'unique_violation' if a token is there with other content: nothing may be lost under it.
CREATE FUNCTION vault.store_items(items jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored integer;
BEGIN
    INSERT INTO vault.item (token, user_id, field, ciphertext, key_version, created_at)
    SELECT n.token, n.user_id, n.field, decode(n.ciphertext, 'base64'), n.key_version, n.created_at
    FROM jsonb_to_recordset(items) AS n(
        token text, user_id text, field text, ciphertext text, key_version smallint, created_at timestamptz
    )
    ORDER BY n.token
    ON CONFLICT (token) DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored < jsonb_array_length(items) AND EXISTS (
        SELECT FROM jsonb_to_recordset(items) AS n(token text, user_id text, field text, ciphertext text)
        JOIN vault.item i ON i.token = n.token
        WHERE (i.user_id, i.field) IS DISTINCT FROM (n.user_id, n.field)
            OR i.ciphertext <> decode(n.ciphertext, 'base64')
    ) THEN
        RAISE EXCEPTION 'a token is in use with other content' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN stored;
END $$;

-- The sealed items of one user, for a masked view only; what is erased or another user's is left out.
CREATE FUNCTION vault.items_to_mask(p_user_id text, p_tokens text[]) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT vault.sealed_json(i) FROM vault.item i
    WHERE i.user_id = p_user_id AND i.token = ANY (p_tokens) AND i.erased_at IS NULL
$$;

-- One read: recorded whether it is granted or refused (P1.2.1), and all-or-nothing.
CREATE FUNCTION vault.open_one(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text[] := ARRAY(SELECT DISTINCT jsonb_array_elements_text(request->'tokens'));
    allowed text[] := ARRAY(SELECT jsonb_array_elements_text(request->'allowed_fields'));
    found_fields text[];
    erased boolean;
    sealed jsonb;
    refusal text;
BEGIN
    SELECT coalesce(array_agg(i.field ORDER BY i.field), '{}'), coalesce(bool_or(i.erased_at IS NOT NULL), false),
        coalesce(jsonb_agg(vault.sealed_json(i)), '[]')
    INTO found_fields, erased, sealed
    FROM vault.item i WHERE i.user_id = request->>'user_id' AND i.token = ANY (wanted);

    refusal := CASE
        WHEN cardinality(found_fields) = 0 OR cardinality(found_fields) < cardinality(wanted) THEN 'token_not_found'
        WHEN NOT found_fields <@ allowed THEN 'purpose_not_allowed'
        WHEN erased THEN 'erased'
    END;
    INSERT INTO vault.access (user_id, tokens, fields, purpose, actor, outcome, reason, at)
    VALUES (
        request->>'user_id', wanted, found_fields, request->>'purpose', request->>'actor',
        CASE WHEN refusal IS NULL THEN 'opened' ELSE 'refused' END, refusal, (request->>'at')::timestamptz
    );
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', refusal, 'fields', to_jsonb(found_fields));
    END IF;
    RETURN jsonb_build_object('ok', true, 'items', sealed);
END $$;

-- Reads, each {user_id, tokens, purpose, allowed_fields, actor, at}.
-- Result: {ok: true, items: [sealed]} or {ok: false, error: token_not_found | purpose_not_allowed | erased}.
CREATE FUNCTION vault.open_items(items jsonb) RETURNS TABLE (item integer, result jsonb)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (n.ordinality - 1)::integer, vault.open_one(n.value)
    FROM jsonb_array_elements(items) WITH ORDINALITY AS n
$$;

-- Records disclosures inside the caller's transaction, before anything leaves; idempotent by disclosure_id.
CREATE FUNCTION vault.record_disclosures(rows jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded integer;
BEGIN
    INSERT INTO vault.disclosure (
        disclosure_id, user_id, recipient, role, operation, fields, purpose, ground, request_number, cross_border, at
    )
    SELECT n.disclosure_id, n.user_id, n.recipient, n.role, n.operation, n.fields, n.purpose, n.ground,
        n.request_number, n.cross_border, n.at
    FROM jsonb_to_recordset(rows) AS n(
        disclosure_id uuid, user_id text, recipient text, role text, operation text, fields text[], purpose text,
        ground text, request_number text, cross_border boolean, at timestamptz
    )
    ORDER BY n.disclosure_id
    ON CONFLICT (disclosure_id) DO NOTHING;
    GET DIAGNOSTICS recorded = ROW_COUNT;
    RETURN recorded;
END $$;

-- Erases named items of one user (P3.3b). Returns how many were erased now.
CREATE FUNCTION vault.erase_items(p_user_id text, p_tokens text[], p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    UPDATE vault.item SET ciphertext = NULL, erased_at = p_at
    WHERE user_id = p_user_id AND token = ANY (p_tokens) AND erased_at IS NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;

-- Erases all items of a user. The logs stay.
CREATE FUNCTION vault.erase_user(p_user_id text, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased integer;
BEGIN
    UPDATE vault.item SET ciphertext = NULL, erased_at = p_at WHERE user_id = p_user_id AND erased_at IS NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.store_items(jsonb), vault.items_to_mask(text, text[]), vault.open_items(jsonb),
    vault.record_disclosures(jsonb), vault.erase_items(text, text[], timestamptz),
    vault.erase_user(text, timestamptz)
TO {app};
-- Ciphertext leaves only through the functions above, which ask for the user and record the read.
GRANT SELECT (token, user_id, field, key_version, created_at, erased_at) ON vault.item TO {app};
GRANT SELECT ON vault.disclosure, vault.access TO {app};
