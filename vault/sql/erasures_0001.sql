-- The erasure list (P3.3, P4.5): what was forgotten, and has to be forgotten again before anything starts on restored data.
-- This database is in no backup of the books or of the keys, and it is never put back to an earlier time. It holds
-- identifiers and tokens, which mean nothing without the two other databases, and no personal data.

CREATE SCHEMA erasures AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA erasures TO {app}, {ops};

-- Whose list this is: a backup says whose it is too, and is restored beside no other list.
CREATE TABLE erasures.institution (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    institution_id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO erasures.institution DEFAULT VALUES;

CREATE TABLE erasures.entry (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_id text NOT NULL UNIQUE CHECK (entry_id ~ '^ers_[0-9A-HJKMNP-TV-Z]{26}$'),
    kind text NOT NULL CHECK (kind IN ('person', 'items', 'retention')),
    user_id text CHECK (char_length(user_id) BETWEEN 1 AND 40),
    subject_id text NOT NULL CHECK (char_length(subject_id) BETWEEN 1 AND 80),
    detail jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object' AND pg_column_size(detail) < 262144),
    at timestamptz NOT NULL,
    CONSTRAINT entry_of_a_person_names_the_user CHECK (kind = 'retention' OR user_id IS NOT NULL)
);

CREATE FUNCTION erasures.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER entry_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures.entry
    FOR EACH STATEMENT EXECUTE FUNCTION erasures.refuse_change();
CREATE TRIGGER institution_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures.institution
    FOR EACH STATEMENT EXECUTE FUNCTION erasures.refuse_change();

-- Adds {entry_id, kind, user_id, subject_id, detail, at} and answers its position; again answers the same.
-- Raises 'unique_violation' if the id is there with other content.
CREATE FUNCTION erasures.add(entry jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found erasures.entry;
BEGIN
    -- One at a time, so that positions are in the order of the commits and no reader passes one by.
    PERFORM pg_advisory_xact_lock(7301995003);
    INSERT INTO erasures.entry (entry_id, kind, user_id, subject_id, detail, at)
    SELECT entry->>'entry_id', entry->>'kind', entry->>'user_id', entry->>'subject_id',
        coalesce(entry->'detail', '{}'), (entry->>'at')::timestamptz
    WHERE NOT EXISTS (SELECT FROM erasures.entry e WHERE e.entry_id = entry->>'entry_id');
    SELECT * INTO found FROM erasures.entry e WHERE e.entry_id = entry->>'entry_id';
    IF (found.kind, found.user_id, found.subject_id, found.detail) IS DISTINCT FROM
        (entry->>'kind', entry->>'user_id', entry->>'subject_id', coalesce(entry->'detail', '{}'))
    THEN
        RAISE EXCEPTION 'an entry is there with other content' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN found.position;
END $$;

-- The entries behind a position, in their order.
CREATE FUNCTION erasures.after(p_position bigint, p_most integer) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'position', e.position, 'entry_id', e.entry_id, 'kind', e.kind, 'user_id', e.user_id,
        'subject_id', e.subject_id, 'detail', e.detail, 'at', e.at
    )
    FROM erasures.entry e WHERE e.position > p_position ORDER BY e.position LIMIT least(p_most, 1000)
$$;

-- Whose list it is and how far it goes: for backups, which are put back beside this list and no shorter one.
CREATE FUNCTION erasures.head() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'institution_id', i.institution_id, 'position', (SELECT coalesce(max(e.position), 0) FROM erasures.entry e)
    )
    FROM erasures.institution i
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA erasures FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erasures.add(jsonb), erasures.after(bigint, integer), erasures.head() TO {app};
GRANT EXECUTE ON FUNCTION erasures.after(bigint, integer), erasures.head() TO {ops};
