-- Who has something retained, found by the keyed index of an identity number, as an authority names a person (P4.5e): which
-- users, which kinds and years, and nothing of what it says.

-- Who looked for whom, or wanted to. The index that was asked for is kept nowhere: it goes with the records.
CREATE TABLE retention.lookup (
    lookup_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    operator_id text NOT NULL CHECK (char_length(operator_id) <= 80),
    user_ids text[] NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('answered', 'refused')),
    reason text CHECK ((reason IS NULL) = (outcome = 'answered')),
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (outcome = 'answered' OR user_ids = '{}')
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON retention.lookup
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention.lookup EXECUTE FUNCTION app.forbid_change();
CREATE INDEX record_of_person ON retention.record (person_index) WHERE person_index IS NOT NULL;

-- item: {now, request_id, operator_id, person_index}. Result: {ok: true, users: [{user_id, merchant_id, held_by, lines: [{kind,
-- event_year, consent_until, records}]}]} or {ok: false, error}; recorded whether it is answered or refused.
CREATE FUNCTION retention.search(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text := (SELECT o.login FROM app.operator o WHERE o.id = i->>'operator_id');
    refusal text;
    found text[] := '{}';
BEGIN
    IF who IS NULL OR NOT app.operator_may(i->>'operator_id', 'retention:read', instant) THEN
        refusal := 'permission_missing';
    ELSE
        found := ARRAY(SELECT DISTINCT r.user_id FROM retention.record r
            WHERE r.person_index = i->>'person_index' AND r.purged_at IS NULL ORDER BY r.user_id);
    END IF;
    INSERT INTO retention.lookup (operator_id, user_ids, outcome, reason, at)
        VALUES (left(coalesce(i->>'operator_id', ''), 80), found, CASE WHEN refusal IS NULL THEN 'answered' ELSE 'refused' END,
            refusal, instant);
    INSERT INTO app.operation (at, actor, action, outcome, reason, request_id, detail)
        VALUES (instant, coalesce('operator:' || who, 'unknown'), 'search_retained',
            CASE WHEN refusal IS NULL THEN 'done' ELSE 'denied' END, refusal, i->>'request_id',
            CASE WHEN refusal IS NULL THEN jsonb_build_object('users', found) END);
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', refusal);
    END IF;
    RETURN jsonb_build_object('ok', true, 'users', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'user_id', f.user_id,
            'merchant_id', (SELECT min(r.merchant_id) FROM retention.record r WHERE r.user_id = f.user_id),
            'held_by', retention.held_by(f.user_id, (instant AT TIME ZONE 'Asia/Shanghai')::date),
            'lines', (SELECT jsonb_agg(to_jsonb(k)) FROM retention.kept(f.user_id) k)) ORDER BY f.user_id), '[]')
        FROM unnest(found) AS f (user_id)));
END $$;

REVOKE ALL ON FUNCTION retention.search(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION retention.search(jsonb) TO {ops};
GRANT SELECT ON retention.lookup TO {ops};
