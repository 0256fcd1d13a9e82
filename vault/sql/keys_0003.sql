-- The data keys of retained records, each wrapped for the retention key pair of the institution (age, X25519), whose private
-- half no database and no business process holds. Business code adds them and destroys them; the operators' API reads them.

CREATE TABLE keys.retention_key (
    key_id text PRIMARY KEY CHECK (key_id ~ '^rtk_[0-9A-HJKMNP-TV-Z]{26}$'),
    user_id text NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 40),
    kind text NOT NULL CHECK (kind IN ('identity', 'transaction', 'source_of_funds')),
    wrapped_key bytea CHECK (octet_length(wrapped_key) BETWEEN 100 AND 2000),
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    destroy_reason text CHECK (char_length(destroy_reason) BETWEEN 1 AND 80),
    CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL)),
    CHECK ((destroyed_at IS NULL) = (destroy_reason IS NULL))
);

CREATE FUNCTION keys.keep_retention_destroyed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR OLD.destroyed_at IS NOT NULL OR NEW.wrapped_key IS NOT NULL
        OR (NEW.key_id, NEW.user_id, NEW.kind, NEW.created_at)
            IS DISTINCT FROM (OLD.key_id, OLD.user_id, OLD.kind, OLD.created_at)
    THEN
        RAISE EXCEPTION 'retention keys are destroyed, once, and never removed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION keys.refuse_removal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'retention keys are destroyed, once, and never removed' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER retention_key_destroyed BEFORE UPDATE OR DELETE ON keys.retention_key
    FOR EACH ROW EXECUTE FUNCTION keys.keep_retention_destroyed();
CREATE TRIGGER retention_key_stays BEFORE TRUNCATE ON keys.retention_key EXECUTE FUNCTION keys.refuse_removal();

-- Adds keys. Raises 'unique_violation' if one is there. items: [{key_id, user_id, kind, wrapped_key, created_at}]
CREATE FUNCTION keys.keep_retention_keys(items jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    added integer;
BEGIN
    INSERT INTO keys.retention_key (key_id, user_id, kind, wrapped_key, created_at)
    SELECT n.key_id, n.user_id, n.kind, decode(n.wrapped_key, 'base64'), n.created_at
    FROM jsonb_to_recordset(items) AS n(
        key_id text, user_id text, kind text, wrapped_key text, created_at timestamptz
    );
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;

-- Destroys keys for good; again changes nothing. Returns how many it was.
CREATE FUNCTION keys.destroy_retention_keys(ids text[], p_reason text, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    destroyed integer;
BEGIN
    UPDATE keys.retention_key SET wrapped_key = NULL, destroyed_at = p_at, destroy_reason = p_reason
    WHERE key_id = ANY (ids) AND destroyed_at IS NULL;
    GET DIAGNOSTICS destroyed = ROW_COUNT;
    RETURN destroyed;
END $$;

-- Wrapped keys by id; those that are destroyed, or never were, are left out.
CREATE FUNCTION keys.read_retention_keys(ids text[]) RETURNS TABLE (key_id text, wrapped_key bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.wrapped_key FROM keys.retention_key k WHERE k.key_id = ANY (ids) AND k.destroyed_at IS NULL
$$;

REVOKE ALL ON FUNCTION
    keys.keep_retention_keys(jsonb), keys.destroy_retention_keys(text[], text, timestamptz),
    keys.read_retention_keys(text[]), keys.keep_retention_destroyed(), keys.refuse_removal()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    keys.keep_retention_keys(jsonb), keys.destroy_retention_keys(text[], text, timestamptz)
TO {app};
GRANT EXECUTE ON FUNCTION keys.read_retention_keys(text[]) TO {ops};
