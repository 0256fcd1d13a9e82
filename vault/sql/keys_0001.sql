-- The data key of each user, wrapped by a master key that no database holds.
-- This database has its own backup, kept for days only: what is destroyed here is soon gone everywhere.

CREATE SCHEMA keys AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA keys TO {app};

CREATE TABLE keys.user_key (
    user_id text PRIMARY KEY CHECK (char_length(user_id) BETWEEN 1 AND 40),
    wrapped_key bytea CHECK (octet_length(wrapped_key) BETWEEN 32 AND 200),
    master_key_id text NOT NULL CHECK (char_length(master_key_id) BETWEEN 1 AND 40),
    created_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    destroyed_by text CHECK (char_length(destroyed_by) BETWEEN 1 AND 80),
    destroy_reason text CHECK (char_length(destroy_reason) BETWEEN 1 AND 80),
    CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL)),
    CHECK (num_nulls(destroyed_at, destroyed_by, destroy_reason) IN (0, 3))
);
CREATE INDEX user_key_master_key_id ON keys.user_key (master_key_id) WHERE destroyed_at IS NULL;

CREATE FUNCTION keys.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'user keys are never removed, only destroyed' USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION keys.keep_destroyed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.destroyed_at IS NOT NULL
        OR (NEW.user_id, NEW.created_at) IS DISTINCT FROM (OLD.user_id, OLD.created_at)
    THEN
        RAISE EXCEPTION 'a destroyed user key stays destroyed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER user_key_destroyed BEFORE UPDATE ON keys.user_key
    FOR EACH ROW EXECUTE FUNCTION keys.keep_destroyed();
CREATE TRIGGER user_key_stays BEFORE DELETE OR TRUNCATE ON keys.user_key
    FOR EACH STATEMENT EXECUTE FUNCTION keys.refuse_change();

-- The key of one user; no row if there never was one, a null key if it was destroyed.
CREATE FUNCTION keys.read_user_key(p_user_id text)
RETURNS TABLE (wrapped_key bytea, master_key_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.wrapped_key, k.master_key_id FROM keys.user_key k WHERE k.user_id = p_user_id
$$;

-- Keeps the offered key if the user has none; answers with the one that counts, or null if it was destroyed.
CREATE FUNCTION keys.ensure_user_key(
    p_user_id text, p_wrapped_key bytea, p_master_key_id text, p_at timestamptz
) RETURNS TABLE (wrapped_key bytea, master_key_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO keys.user_key (user_id, wrapped_key, master_key_id, created_at)
    VALUES (p_user_id, p_wrapped_key, p_master_key_id, p_at)
    ON CONFLICT (user_id) DO NOTHING;
    RETURN QUERY SELECT k.wrapped_key, k.master_key_id FROM keys.user_key k WHERE k.user_id = p_user_id;
END $$;

-- Overwrites the key for good; a user without a key gets none later. Returns when it was destroyed first.
CREATE FUNCTION keys.destroy_user_key(p_user_id text, p_actor text, p_reason text, p_at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO keys.user_key AS k (user_id, master_key_id, created_at, destroyed_at, destroyed_by, destroy_reason)
    VALUES (p_user_id, 'none', p_at, p_at, p_actor, p_reason)
    ON CONFLICT (user_id) DO UPDATE
    SET wrapped_key = NULL, destroyed_at = p_at, destroyed_by = p_actor, destroy_reason = p_reason
    WHERE k.destroyed_at IS NULL;
    RETURN (SELECT k.destroyed_at FROM keys.user_key k WHERE k.user_id = p_user_id);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    keys.read_user_key(text), keys.ensure_user_key(text, bytea, text, timestamptz),
    keys.destroy_user_key(text, text, text, timestamptz)
TO {app};
