-- The clocks, in the same words as `domain/retention.py`; `rules`: {agreement_years, law_years, event_year_counts}.

CREATE FUNCTION retention.years(rules jsonb) RETURNS int LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    RETURN greatest((rules->>'agreement_years')::int, (rules->>'law_years')::int);

-- The first day on which nothing but the user's consent or a hold still keeps it (Q1, L2).
CREATE FUNCTION retention.clock_runs_out(event_on date, rules jsonb) RETURNS date LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    RETURN make_date(extract(year FROM event_on)::int + retention.years(rules)
        + CASE WHEN (rules->>'event_year_counts')::boolean THEN 0 ELSE 1 END, 1, 1);

-- The same the other way round, for the index: what happened before this day is past its clock.
CREATE FUNCTION retention.due_before(p_on date, rules jsonb) RETURNS date LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    RETURN make_date(extract(year FROM p_on)::int - retention.years(rules)
        + CASE WHEN (rules->>'event_year_counts')::boolean THEN 1 ELSE 0 END, 1, 1);

-- Which clock runs out last.
CREATE FUNCTION retention.ground_of(event_on date, consent_until date, rules jsonb) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN consent_until >= retention.clock_runs_out(event_on, rules) THEN 'consent'
        WHEN (rules->>'law_years')::int >= (rules->>'agreement_years')::int THEN 'law' ELSE 'agreement' END;

-- What stops the clocks of a user's records on a day, as `hold:<id>` or `order:<id>`, or NULL. An order to freeze or to hold
-- is in force as long as what it placed; a query, or one that asks for nothing else, until it expires.
CREATE FUNCTION retention.held_by(p_user_id text, p_on date) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN (SELECT x.by FROM (
        SELECT 'hold:' || h.hold_id AS by, h.placed_at AS since FROM retention.hold h
            WHERE h.user_id = p_user_id AND h.lifted_at IS NULL
        UNION ALL SELECT 'order:' || coalesce((SELECT o.id FROM app.authority_order o WHERE o.decision_id = r.placed_by), r.id),
                r.placed_at FROM app.restriction r
            WHERE r.subject_id = p_user_id AND r.kind = 'authority_order' AND r.lifted_at IS NULL
              AND r.ends_at > p_on::timestamp AT TIME ZONE 'Asia/Shanghai'
        UNION ALL SELECT 'order:' || o.id, o.registered_at FROM app.authority_order o
            WHERE o.subject_id = p_user_id AND o.demands = 'query'
              AND o.expires_at > p_on::timestamp AT TIME ZONE 'Asia/Shanghai'
        ) x ORDER BY x.since, x.by LIMIT 1);

-- Raises 'unique_violation' if a source is kept for another user: nothing may be lost under it.
CREATE FUNCTION retention.refuse_anothers(items jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM jsonb_to_recordset(items) AS n(user_id text, kind text, source_id text)
        JOIN retention.record r ON r.kind = n.kind AND r.source_id = n.source_id WHERE r.user_id <> n.user_id
    ) THEN
        RAISE EXCEPTION 'a source is kept for another user' USING ERRCODE = 'unique_violation';
    END IF;
END $$;

-- Which of these sources have no record yet, so that no key is made for the others. items: [{user_id, kind, source_id}]
CREATE FUNCTION retention.unkept(items jsonb) RETURNS TABLE (kind text, source_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM retention.refuse_anothers(items);
    RETURN QUERY SELECT n.kind, n.source_id FROM jsonb_to_recordset(items) AS n(kind text, source_id text)
        WHERE NOT EXISTS (SELECT 1 FROM retention.record r WHERE r.kind = n.kind AND r.source_id = n.source_id);
END $$;

-- Puts records in, sealed; idempotent by kind and source. Returns how many were new.
CREATE FUNCTION retention.keep(items jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_ones integer;
BEGIN
    INSERT INTO retention.record (record_id, user_id, merchant_id, person_index, kind, source_id, event_on, consent_until,
        key_id, ciphertext, kept_at)
    SELECT n.record_id, n.user_id, n.merchant_id, n.person_index, n.kind, n.source_id, n.event_on, n.consent_until, n.key_id,
        decode(n.ciphertext, 'base64'), n.kept_at
    FROM jsonb_to_recordset(items) AS n(
        record_id text, user_id text, merchant_id text, person_index text, kind text, source_id text, event_on date,
        consent_until date, key_id text, ciphertext text, kept_at timestamptz
    )
    ORDER BY n.kind, n.source_id
    ON CONFLICT (kind, source_id) DO NOTHING;
    GET DIAGNOSTICS new_ones = ROW_COUNT;
    PERFORM retention.refuse_anothers(items);
    RETURN new_ones;
END $$;

-- What is kept of a user, counted: kinds and years, and nothing of what it says.
CREATE FUNCTION retention.kept(p_user_id text)
    RETURNS TABLE (kind text, event_year int, consent_until date, records int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.kind, extract(year FROM r.event_on)::int, r.consent_until, count(*)::int FROM retention.record r
    WHERE r.user_id = p_user_id AND r.purged_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
$$;
