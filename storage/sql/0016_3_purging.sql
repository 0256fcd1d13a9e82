-- Purging, in steps that a crash may part: claimed here, in the erasure list, the keys destroyed, purged here. Whoever places
-- a hold and whoever claims take the user's row first, so one of the two comes first.

-- What is due on a day, and what holds it. Counts only; claimed ones are no longer held by anything.
CREATE FUNCTION retention.due(p_on date, rules jsonb)
    RETURNS TABLE (user_id text, kind text, event_year int, held_by text, records int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.user_id, d.kind, d.year, CASE WHEN d.claimed THEN NULL ELSE h.by END, d.records
    FROM (
        SELECT r.user_id, r.kind, extract(year FROM r.event_on)::int AS year, r.purge_on IS NOT NULL AS claimed,
            count(*)::int AS records
        FROM retention.record r
        WHERE r.purged_at IS NULL AND r.event_on < retention.due_before(p_on, rules)
          AND (r.consent_until IS NULL OR r.consent_until < p_on)
        GROUP BY 1, 2, 3, 4
    ) d
    CROSS JOIN LATERAL (SELECT retention.held_by(d.user_id, p_on) AS by) h
    ORDER BY d.user_id, d.kind, d.year
$$;

-- Claims what the next `most` keys keep that are due and not held: record by record. What was claimed before and is not purged
-- comes first and alone, as it was claimed then, so that it goes on under the same entry of the erasure list. The records of a
-- key fall due together: none is left behind a destroyed key.
CREATE FUNCTION retention.claim(p_on date, rules jsonb, most int)
    RETURNS TABLE (record_id text, key_id text, purge_on date)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_keys text[] := '{}';
    found_users text[] := '{}';
    due_before date := retention.due_before(p_on, rules);
    last_key text := '';
    looked_at int;
    d record;
BEGIN
    IF retention.years(rules) < 5 THEN
        RAISE EXCEPTION 'records are kept for five years at least' USING ERRCODE = 'check_violation';
    END IF;
    -- One claims at a time: two would each take what the other leaves, in pieces of other sizes.
    PERFORM pg_advisory_xact_lock(7301995016);
    SELECT coalesce(array_agg(k.key_id), '{}') INTO found_keys FROM (
        SELECT DISTINCT r.key_id FROM retention.record r WHERE r.purged_at IS NULL AND r.purge_on = (
            SELECT min(o.purge_on) FROM retention.record o WHERE o.purged_at IS NULL AND o.purge_on IS NOT NULL)
        ORDER BY r.key_id LIMIT most
    ) k;
    IF cardinality(found_keys) > 0 THEN
        RETURN QUERY SELECT r.record_id, r.key_id, r.purge_on FROM retention.record r
            WHERE r.key_id = ANY (found_keys) AND r.purged_at IS NULL AND r.purge_on IS NOT NULL;
        -- Unless another has purged all of it in this instant.
        IF FOUND THEN RETURN; END IF;
        found_keys := '{}';
    END IF;
    -- Keys are as old as what they keep: those that are due come first, and what is held is passed by. Some at a time, so that no page
    -- reads all that is due.
    LOOP
        looked_at := 0;
        FOR d IN SELECT DISTINCT ON (r.key_id) r.key_id, r.user_id FROM retention.record r WHERE r.purged_at IS NULL
                AND r.key_id > last_key AND r.event_on < due_before AND (r.consent_until IS NULL OR r.consent_until < p_on)
                ORDER BY r.key_id LIMIT most LOOP
            looked_at := looked_at + 1;
            last_key := d.key_id;
            IF retention.held_by(d.user_id, p_on) IS NULL THEN
                found_keys := found_keys || d.key_id;
                found_users := found_users || d.user_id;
            END IF;
            EXIT WHEN cardinality(found_keys) = most;
        END LOOP;
        EXIT WHEN cardinality(found_keys) = most OR looked_at < most;
    END LOOP;
    PERFORM 1 FROM app.end_user u WHERE u.id = ANY (found_users) ORDER BY u.id FOR UPDATE;
    RETURN QUERY
    UPDATE retention.record r SET purge_on = p_on,
        purged_why = retention.ground_of(r.event_on, r.consent_until, rules)
    WHERE r.key_id = ANY (found_keys) AND r.purged_at IS NULL AND retention.held_by(r.user_id, p_on) IS NULL
    RETURNING r.record_id, r.key_id, r.purge_on;
END $$;

-- Takes away what the erasure list says is purged; the keys are destroyed already. Also on restored data, which know nothing of
-- the claim, nor that a hold was lifted since; not before five years, all the same. Returns how many it was.
CREATE FUNCTION retention.purge_records(ids text[], p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    purged integer;
BEGIN
    UPDATE retention.record SET ciphertext = NULL, person_index = NULL, purged_at = p_at,
        purge_on = coalesce(purge_on, (p_at AT TIME ZONE 'Asia/Shanghai')::date), purged_why = coalesce(purged_why, 'restored')
    WHERE record_id = ANY (ids) AND purged_at IS NULL;
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END $$;

-- Whether what a run has begun is to be reported for a day as gone: that of another run if the report of no day in between has it, for
-- a run may come days late, or be lost before it has reported.
CREATE FUNCTION retention.is_to_report(run date, gone_at timestamptz, p_on date) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN run = p_on OR run < p_on AND NOT EXISTS (
        SELECT 1 FROM retention.purge_report p WHERE p.run_on >= run AND p.run_on < p_on AND p.at >= gone_at);

-- Writes down what a day's runs came to, and answers it; with what an earlier day had begun and this one has finished. The same
-- instant again changes nothing.
CREATE FUNCTION retention.report(p_on date, rules jsonb, p_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone jsonb;
    stopped jsonb;
    erased jsonb;
    waiting jsonb;
    left_over int;
BEGIN
    SELECT coalesce(jsonb_agg(jsonb_build_object('kind', x.kind, 'event_year', x.year, 'why', x.purged_why,
        'records', x.records, 'keys', x.keys) ORDER BY x.kind, x.year, x.purged_why), '[]') INTO gone
    FROM (
        SELECT r.kind, extract(year FROM r.event_on)::int AS year, r.purged_why, count(*) AS records,
            count(DISTINCT r.key_id) AS keys
        FROM retention.record r WHERE r.purged_at IS NOT NULL
            AND (r.purge_on = p_on OR r.purge_on < p_on AND r.purged_at > p_at - interval '31 days')
            AND retention.is_to_report(r.purge_on, r.purged_at, p_on) GROUP BY 1, 2, 3
    ) x;
    SELECT coalesce(jsonb_agg(jsonb_build_object('held_by', d.held_by, 'user_id', d.user_id, 'kind', d.kind,
        'event_year', d.event_year, 'records', d.records) ORDER BY d.user_id, d.kind, d.event_year), '[]') INTO stopped
    FROM retention.due(p_on, rules) d WHERE d.held_by IS NOT NULL;
    -- What no purpose needs any longer while its user stays (app.due_erasures).
    SELECT coalesce(jsonb_agg(jsonb_build_object('why', x.why, 'people', x.people, 'items', x.items) ORDER BY x.why), '[]') INTO erased
    FROM (SELECT c.why, count(DISTINCT c.key_owner) AS people, sum(cardinality(c.tokens)) AS items FROM retention.due_erasure c
        WHERE c.finished_at IS NOT NULL
            AND (c.run_on = p_on OR c.run_on < p_on AND c.finished_at > p_at - interval '31 days')
            AND retention.is_to_report(c.run_on, c.finished_at, p_on) GROUP BY 1) x;
    SELECT coalesce(jsonb_agg(jsonb_build_object('held_by', x.held_by, 'user_id', x.key_owner, 'why', x.why, 'items', x.items)
        ORDER BY x.key_owner, x.why), '[]') INTO waiting
    FROM (SELECT d.held_by, d.key_owner, d.why, count(*) AS items FROM app.due_erasures(p_on, rules) d
        WHERE d.held_by IS NOT NULL GROUP BY 1, 2, 3) x;
    SELECT (SELECT count(*) FROM retention.record r WHERE r.purge_on <= p_on AND r.purged_at IS NULL)
        + (SELECT count(*) FROM retention.due_erasure c WHERE c.finished_at IS NULL) INTO left_over;
    INSERT INTO retention.purge_report (run_on, at, purged, held, unfinished, erased, details)
    VALUES (p_on, p_at, (SELECT coalesce(sum((g->>'records')::int), 0) FROM jsonb_array_elements(gone) g),
        (SELECT coalesce(sum(coalesce(s->'records', s->'items')::int), 0) FROM jsonb_array_elements(stopped || waiting) s), left_over,
        (SELECT coalesce(sum((e->>'items')::int), 0) FROM jsonb_array_elements(erased) e),
        jsonb_build_object('purged', gone, 'held', stopped, 'erased', erased, 'waiting', waiting))
    ON CONFLICT (run_on, at) DO NOTHING;
    RETURN (SELECT jsonb_build_object('run_on', p.run_on, 'purged', p.purged, 'held', p.held, 'unfinished', p.unfinished,
            'erased', p.erased, 'lines', p.details->'purged', 'held_lines', p.details->'held',
            'erased_lines', p.details->'erased', 'waiting_lines', p.details->'waiting')
        FROM retention.purge_report p WHERE p.run_on = p_on AND p.at = p_at);
END $$;

-- For decisions: places a legal hold on a user's records, or lifts all that are in force. What is claimed is past holding.
CREATE FUNCTION retention.place_hold(p_hold_id text, p_user_id text, p_ground text, p_order_id text, p_decision_id text,
    p_at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM app.end_user u WHERE u.id = p_user_id FOR UPDATE;
    INSERT INTO retention.hold (hold_id, user_id, ground, order_id, placed_by, placed_at)
    VALUES (p_hold_id, p_user_id, p_ground, p_order_id, p_decision_id, p_at);
END $$;

CREATE FUNCTION retention.lift_holds(p_user_id text, p_decision_id text, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lifted integer;
BEGIN
    PERFORM 1 FROM app.end_user u WHERE u.id = p_user_id FOR UPDATE;
    UPDATE retention.hold SET lifted_by = p_decision_id, lifted_at = p_at WHERE user_id = p_user_id AND lifted_at IS NULL;
    GET DIAGNOSTICS lifted = ROW_COUNT;
    RETURN lifted;
END $$;
