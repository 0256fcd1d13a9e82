-- Lists: loaded by versions, compared with users and payees, and cleared by two people where the hit is a false one.

CREATE FUNCTION app.current_screening_version() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT coalesce(max(l.version), 0) FROM app.screening_list l);

-- Each list that has to be asked, as it stands: its last version, if there is any, and until when it may be relied on.
CREATE FUNCTION app.screening_lists() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('code', r.code, 'title_zh', r.title_zh, 'title_en', r.title_en, 'object', 'screening_list', 'version', l.version,
        'source', l.source, 'loaded_by', l.loaded_by, 'loaded_at', app.instant(l.loaded_at),
        'confirmed_at', app.instant(l.confirmed_at), 'good_until', app.instant(l.confirmed_at + make_interval(secs => r.fresh_seconds)),
        'fingerprint', l.fingerprint, 'entries', l.entries) ORDER BY r.code), '[]')
    FROM app.screening_list_rule r LEFT JOIN LATERAL (
        SELECT s.* FROM app.screening_list s WHERE s.code = r.code ORDER BY s.version DESC LIMIT 1) l ON true
$$;

-- The entries in force, with the version that brought each.
CREATE FUNCTION app.screening_entries() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT jsonb_build_object('version', app.current_screening_version(), 'entries', coalesce(jsonb_agg(jsonb_build_object(
        'list_code', e.list_code, 'fingerprint', e.fingerprint, 'since_version', e.since_version,
        'entry', jsonb_build_object('key', e.entry_key, 'kind', e.kind, 'names', to_jsonb(e.names),
            'birth_date', e.birth_date, 'country', e.country, 'id_indexes', to_jsonb(e.id_indexes)))), '[]'))
    FROM app.screening_entry e WHERE e.until_version IS NULL
$$;

-- Takes over a list whole: what is in it and was not, or was otherwise, is new; what is not in it any more has ended. The same
-- content again only confirms it. item: {now, request_id, operator_id | actor, code, source, fingerprint, entries: [{key, kind,
-- names, birth_date, country, id_indexes, fingerprint}]}; without an operator it is the owner's own act.
CREATE FUNCTION app.take_screening_list(i jsonb, who text) RETURNS jsonb LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    last app.screening_list;
    fresh bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM app.screening_list_rule r WHERE r.code = i->>'code') THEN
        RETURN '{"ok": false, "error": "screening_list_unknown"}';
    END IF;
    -- One load at a time: versions become visible in their order.
    LOCK TABLE app.screening_list IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO last FROM app.screening_list l WHERE l.code = i->>'code' ORDER BY l.version DESC LIMIT 1;
    IF last.fingerprint = i->>'fingerprint' THEN
        UPDATE app.screening_list l SET confirmed_at = greatest(l.confirmed_at, instant) WHERE l.version = last.version
            RETURNING * INTO last;
    ELSE
        fresh := nextval('app.screening_version');
        INSERT INTO app.screening_list (version, code, source, loaded_by, loaded_at, confirmed_at, fingerprint, entries)
            VALUES (fresh, i->>'code', i->>'source', who, instant, instant, i->>'fingerprint',
                jsonb_array_length(i->'entries'))
            RETURNING * INTO last;
        UPDATE app.screening_entry e SET until_version = fresh
            WHERE e.list_code = last.code AND e.until_version IS NULL AND NOT EXISTS (
                SELECT 1 FROM jsonb_to_recordset(i->'entries') AS n (key text, fingerprint text)
                WHERE n.key = e.entry_key AND n.fingerprint = e.fingerprint);
        INSERT INTO app.screening_entry (list_code, entry_key, kind, names, birth_date, country, id_indexes, fingerprint,
                since_version)
            SELECT last.code, n.key, n.kind, n.names, n.birth_date, n.country, n.id_indexes, n.fingerprint, fresh
            FROM jsonb_to_recordset(i->'entries') AS n (key text, kind text, names text[], birth_date date, country text,
                id_indexes text[], fingerprint text)
            WHERE NOT EXISTS (SELECT 1 FROM app.screening_entry e WHERE e.list_code = last.code
                AND e.entry_key = n.key AND e.until_version IS NULL);
    END IF;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, request_id, detail)
        VALUES (instant, who, 'load_screening_list', 'done', last.code, i->>'request_id', jsonb_build_object(
            'version', last.version, 'entries', last.entries, 'is_new', fresh IS NOT NULL, 'source', last.source));
    RETURN jsonb_build_object('ok', true, 'is_new', fresh IS NOT NULL, 'resource', (
        SELECT l.value FROM jsonb_array_elements(app.screening_lists()) l WHERE l.value->>'code' = last.code));
END $$;

CREATE FUNCTION app.load_screening_list(i jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    o app.operator;
BEGIN
    SELECT * INTO o FROM app.operator WHERE id = i->>'operator_id' FOR SHARE;
    IF o.id IS NULL OR NOT app.operator_may(o.id, 'screening:write', instant) THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id)
            VALUES (instant, coalesce('operator:' || o.login, 'unknown'), 'load_screening_list', 'denied',
                'permission_missing', i->>'code', i->>'request_id');
        RETURN '{"ok": false, "error": "permission_missing"}';
    END IF;
    RETURN app.take_screening_list(i, 'operator:' || o.login);
END $$;

-- Whom to compare: {subject_id, merchant_id, kind, holder, token, id_token, id_index, clearance_index, cleared, changes}; the name
-- is behind the token, in the vault, under the holder's key. NULL for a user who has no name yet, and for a payee that is gone.
CREATE FUNCTION app.screening_subject_of(subject text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT jsonb_build_object('subject_id', s.id, 'merchant_id', s.merchant_id, 'kind', s.kind, 'holder', s.holder,
        'token', s.token, 'id_token', s.id_token, 'id_index', s.id_index, 'clearance_index', s.key,
        'changes', coalesce((SELECT q.changes FROM app.screening_subject q WHERE q.subject_id = s.id), 0),
        'cleared', (SELECT coalesce(jsonb_agg(jsonb_build_array(c.list_code, c.entry_key, c.entry_fingerprint)), '[]')
            FROM app.screening_clearance c WHERE c.clearance_index = s.key))
    FROM (
        SELECT u.id, u.merchant_id, 'user' AS kind, u.id AS holder, b.element_tokens->>'name' AS token,
            b.element_tokens->>'id_number' AS id_token, u.person_index AS id_index,
            'person:' || coalesce(u.person_index, u.id) AS key
        FROM app.end_user u CROSS JOIN LATERAL (
            SELECT x.* FROM app.binding x WHERE x.user_id = u.id AND x.state IN ('open', 'unbinding', 'unbound')
            ORDER BY (x.state = 'open') DESC, x.id DESC LIMIT 1) b
        WHERE u.id = subject
        UNION ALL
        SELECT y.id, y.merchant_id, 'payee', coalesce(y.user_id, y.merchant_id), y.element_tokens->>'name', NULL, NULL,
            'account:' || y.account_index || ':' || y.name_index
        FROM app.payee y WHERE y.id = subject) s
    WHERE s.token IS NOT NULL
$$;

-- Keeps what was found: each pair of subject and entry once, with a case of its own. Answers the ids of all of them.
-- matched: [{id, subject_id, merchant_id, clearance_index, list_code, entry_key, entry_fingerprint, form, comparison, score,
-- birth, document}]
CREATE FUNCTION app.keep_matches(matched jsonb, version bigint, at timestamptz) RETURNS text[] LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    WITH fresh AS (
        INSERT INTO app.screening_match (id, subject_id, merchant_id, clearance_index, list_code, entry_key,
                entry_fingerprint, form, comparison, score, birth, document, found_version, found_at)
            SELECT n.id, n.subject_id, n.merchant_id, n.clearance_index, n.list_code, n.entry_key, n.entry_fingerprint,
                n.form, n.comparison, n.score, n.birth, n.document, keep_matches.version, at
            FROM jsonb_to_recordset(coalesce(matched, '[]')) AS n (id text, subject_id text, merchant_id text,
                clearance_index text, list_code text, entry_key text, entry_fingerprint text, form int, comparison text,
                score numeric, birth text, document text)
            ORDER BY n.subject_id, n.list_code, n.entry_key
            ON CONFLICT (subject_id, list_code, entry_key, entry_fingerprint) DO NOTHING
            RETURNING id, subject_id, merchant_id)
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        SELECT 'case_' || split_part(f.id, '_', 2), 'screening_hit', f.subject_id, f.merchant_id, at FROM fresh f;
    RETURN ARRAY(SELECT m.id FROM app.screening_match m JOIN jsonb_to_recordset(coalesce(matched, '[]'))
            AS n (subject_id text, list_code text, entry_key text, entry_fingerprint text)
            ON (m.subject_id, m.list_code, m.entry_key, m.entry_fingerprint)
                = (n.subject_id, n.list_code, n.entry_key, n.entry_fingerprint) ORDER BY m.id);
END $$;

-- No namesake: the identity number is the listed one. Service stops at once (L11), until two people have decided.
CREATE FUNCTION app.stop_service(whose text, kept text[], at timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    m app.screening_match;
BEGIN
    SELECT * INTO m FROM app.screening_match x WHERE x.id = ANY (kept) AND x.subject_id = whose
        AND x.document = 'agrees' ORDER BY x.id LIMIT 1;
    IF m.id IS NULL THEN RETURN; END IF;
    INSERT INTO app.restriction (id, kind, subject_id, merchant_id, ground, placed_by, placed_at)
        VALUES ('rst_' || split_part(m.id, '_', 2), 'suspension', whose, m.merchant_id, 'suspected_illegality',
            'case_' || split_part(m.id, '_', 2), at)
        ON CONFLICT DO NOTHING;
    UPDATE app.end_user SET state = 'suspended' WHERE id = whose AND state = 'active';
    -- That it was stopped, and not why: the record is read by more people than the lists' hits are.
    IF FOUND THEN
        INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id)
            VALUES (at, 'screening', 'suspend_user', 'done', whose, m.merchant_id);
    END IF;
END $$;

-- Who has not been compared with the lists as they are now; the longest behind first.
CREATE FUNCTION app.screening_due(most int, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$
    SELECT coalesce(jsonb_agg(coalesce(app.screening_subject_of(d.subject_id), jsonb_build_object('subject_id', d.subject_id,
        'changes', d.changes)) ORDER BY d.version, d.subject_id), '[]')
    FROM (SELECT q.* FROM app.screening_subject q WHERE q.version < app.current_screening_version()
            AND (q.retry_at IS NULL OR q.retry_at <= at)
        ORDER BY q.version, q.subject_id LIMIT most) d
$$;

-- Commits the screening of one user or payee outside of a payout. item: {now, subject_id, changes, version, fault, matches,
-- stop_user}; who has changed meanwhile stays due, and who could not be compared is tried again in an hour.
CREATE FUNCTION app.record_screening(i jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    why text := i->>'fault';
    before text := (SELECT q.fault FROM app.screening_subject q WHERE q.subject_id = i->>'subject_id');
    kept text[];
BEGIN
    PERFORM 1 FROM app.merchant m WHERE m.id = (SELECT u.merchant_id FROM app.end_user u WHERE u.id = i->>'subject_id')
        FOR KEY SHARE;
    PERFORM 1 FROM app.end_user WHERE id = i->>'subject_id' FOR NO KEY UPDATE;
    kept := app.keep_matches(i->'matches', (i->>'version')::bigint, instant);
    IF (i->>'stop_user')::boolean THEN
        PERFORM app.stop_service(i->>'subject_id', kept, instant);
    END IF;
    UPDATE app.screening_subject q SET fault = why,
        version = CASE WHEN why IS NULL THEN greatest(q.version, (i->>'version')::bigint) ELSE q.version END,
        screened_at = CASE WHEN why IS NULL THEN instant ELSE q.screened_at END,
        retry_at = CASE WHEN why IS NOT NULL THEN instant + interval '1 hour' END
        WHERE q.subject_id = i->>'subject_id' AND q.changes = (i->>'changes')::bigint;
    IF why IS DISTINCT FROM before OR jsonb_array_length(coalesce(i->'matches', '[]')) > 0 THEN
        PERFORM app.record_operation(instant, 'process', 'screen', CASE WHEN why IS NULL THEN 'done' ELSE 'failed' END,
            coalesce(why, CASE WHEN cardinality(kept) > 0 THEN 'hit' END), i->>'subject_id', NULL);
    END IF;
END $$;

-- A match that still says something: nobody has cleared it, and the entry is in force as it was.
CREATE FUNCTION app.is_open_match(m app.screening_match) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN EXISTS (SELECT 1 FROM app.screening_entry e WHERE e.list_code = m.list_code AND e.entry_key = m.entry_key
            AND e.until_version IS NULL AND e.fingerprint = m.entry_fingerprint)
        AND NOT EXISTS (SELECT 1 FROM app.screening_clearance c WHERE c.clearance_index = m.clearance_index
            AND c.list_code = m.list_code AND c.entry_key = m.entry_key AND c.entry_fingerprint = m.entry_fingerprint);

-- The open matches of a payout's user and payee: as long as there is one, nothing is sent, whoever has approved it.
CREATE FUNCTION app.open_matches(payout_id text) RETURNS SETOF app.screening_match LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT m.* FROM app.payout p JOIN app.screening_match m ON m.subject_id IN (p.user_id, p.payee_id)
            WHERE p.id = payout_id AND app.is_open_match(m);
    END;

CREATE OR REPLACE FUNCTION app.screening_obstacle(p app.payout) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE WHEN coalesce(p.screened_version, 0) < app.current_screening_version()
        OR EXISTS (SELECT 1 FROM app.open_matches(p.id)) THEN 'screening_outdated' END;

CREATE FUNCTION app.screening_match_view(m app.screening_match) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$
    SELECT jsonb_build_object('id', m.id, 'object', 'screening_match', 'subject_id', m.subject_id,
        'merchant_id', m.merchant_id, 'state', CASE WHEN c.match_id IS NOT NULL THEN 'cleared'
            WHEN app.is_open_match(m) THEN 'open' ELSE 'entry_changed' END,
        'list_code', m.list_code, 'entry_key', m.entry_key, 'entry_kind', e.kind, 'entry_names', to_jsonb(e.names),
        'entry_birth_date', e.birth_date, 'entry_country', e.country, 'matched_name', e.names[m.form],
        'comparison', m.comparison, 'score', m.score, 'birth', m.birth, 'document', m.document,
        'found_at', app.instant(m.found_at), 'found_version', m.found_version, 'cleared_by', c.decision_id,
        'cleared_at', app.instant(c.cleared_at))
    FROM (SELECT 1) x
    LEFT JOIN LATERAL (SELECT n.* FROM app.screening_entry n WHERE n.list_code = m.list_code AND n.entry_key = m.entry_key
        AND n.fingerprint = m.entry_fingerprint ORDER BY n.since_version DESC LIMIT 1) e ON true
    LEFT JOIN app.screening_clearance c ON c.clearance_index = m.clearance_index AND c.list_code = m.list_code
        AND c.entry_key = m.entry_key AND c.entry_fingerprint = m.entry_fingerprint
$$;

-- Clearing (decision screening.clear, two persons).
CREATE OR REPLACE FUNCTION app.merchant_of_screening(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT m.merchant_id FROM app.screening_match m WHERE m.id = subject);
CREATE OR REPLACE FUNCTION app.why_not_screening(what text, subject text, more jsonb, at timestamptz) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN NOT EXISTS (SELECT 1 FROM app.screening_match m WHERE m.id = subject AND app.is_open_match(m)
            -- The number of the person's own identity document is listed: that is no namesake to be cleared.
            AND m.document <> 'agrees')
        THEN 'decision_not_applicable' END;
CREATE OR REPLACE FUNCTION app.carry_out_screening(d app.decision) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.screening_clearance (clearance_index, list_code, entry_key, entry_fingerprint, match_id, decision_id,
                cleared_at)
            SELECT m.clearance_index, m.list_code, m.entry_key, m.entry_fingerprint, m.id, d.id, d.decided_at
            FROM app.screening_match m WHERE m.id = d.subject_id
            ON CONFLICT DO NOTHING;
        UPDATE app.case_record SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at
            WHERE id = 'case_' || split_part(d.subject_id, '_', 2) AND state = 'open';
    END;
