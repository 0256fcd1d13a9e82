-- Opening for an authority (P4.5e): a registered order in force that demands it, and a decision of two people that names it.

-- Whether what a decision says can be followed: which kinds, and from when to when, if it says so.
CREATE FUNCTION retention.is_readable(more jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE WHEN jsonb_typeof(more->'kinds') = 'array' THEN jsonb_array_length(more->'kinds') > 0
            AND more->'kinds' <@ '["identity", "transaction", "source_of_funds"]'::jsonb ELSE false END
        AND coalesce(pg_input_is_valid(more->>'from', 'date'), true)
        AND coalesce(pg_input_is_valid(more->>'until', 'date'), true);

-- Why an order cannot be relied on, or NULL. It has to be what was decided when it was registered, word for word.
CREATE FUNCTION retention.why_not_order(o app.authority_order, subject text, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE
        WHEN o.id IS NULL THEN 'order_not_found'
        WHEN o.subject_id IS DISTINCT FROM subject THEN 'order_of_another'
        WHEN o.demands <> 'query' THEN 'order_demands_no_query'
        WHEN NOT EXISTS (
            SELECT 1 FROM app.decision r WHERE r.id = o.decision_id AND r.kind = 'authority_order.register'
            AND r.state = 'committed' AND r.subject_id = o.subject_id AND r.detail->>'issuer' = o.issuer
            AND r.detail->>'number' = o.number AND r.detail->>'demands' = o.demands
            AND r.decided_at = o.registered_at AND app.end_of_restriction(r) = o.expires_at) THEN 'order_not_as_decided'
        WHEN o.expires_at <= at OR o.registered_at > at THEN 'order_not_in_force' END;

-- Why a person may not open by this decision, or NULL.
CREATE FUNCTION retention.why_not_decision(d app.decision, who text, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN CASE
        WHEN d.id IS NULL THEN 'decision_not_found'
        WHEN d.kind <> 'retention.disclose' THEN 'decision_of_another_kind'
        WHEN d.state <> 'committed' OR d.decided_at > at THEN 'decision_not_committed'
        WHEN NOT d.second_person OR d.decided_by IS NULL OR d.decided_by = d.requested_by THEN 'second_person_required'
        WHEN NOT retention.is_readable(d.detail) THEN 'decision_unreadable'
        WHEN NOT EXISTS (
            SELECT 1 FROM app.decision_kind k WHERE k.kind = d.kind
            AND (who = d.requested_by AND app.operator_may(who, k.request_permission, at)
                OR who = d.decided_by AND app.operator_may(who, k.approve_permission, at))) THEN 'permission_missing' END;

-- One disclosure, recorded whether it is granted or refused. Result: {ok: true, records: [sealed]} or {ok: false, error}.
CREATE FUNCTION retention.open_for_order(p_decision_id text, p_operator_id text, p_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d app.decision;
    o app.authority_order;
    refusal text;
    ids text[] := '{}';
    sealed jsonb;
BEGIN
    SELECT * INTO d FROM app.decision WHERE id = p_decision_id;
    SELECT * INTO o FROM app.authority_order WHERE id = d.detail->>'order_id';
    refusal := coalesce(retention.why_not_decision(d, p_operator_id, p_at),
        retention.why_not_order(o, d.subject_id, p_at));
    IF refusal IS NULL THEN
        SELECT coalesce(array_agg(r.record_id ORDER BY r.event_on, r.record_id), '{}'),
            coalesce(jsonb_agg(jsonb_build_object('record_id', r.record_id, 'user_id', r.user_id,
                'merchant_id', r.merchant_id, 'person_index', r.person_index, 'kind', r.kind, 'source_id', r.source_id,
                'event_on', r.event_on, 'consent_until', r.consent_until, 'key_id', r.key_id,
                'ciphertext', translate(encode(r.ciphertext, 'base64'), E'\n', '')) ORDER BY r.event_on, r.record_id), '[]')
        INTO ids, sealed
        FROM retention.record r
        WHERE r.user_id = d.subject_id AND d.detail->'kinds' ? r.kind AND r.purge_on IS NULL
          AND r.event_on >= coalesce((d.detail->>'from')::date, '-infinity')
          AND r.event_on <= coalesce((d.detail->>'until')::date, 'infinity');
    END IF;
    INSERT INTO retention.access (decision_id, order_id, user_id, operator_id, record_ids, outcome, reason, at)
    VALUES (left(p_decision_id, 80), left(d.detail->>'order_id', 80), d.subject_id, left(p_operator_id, 80), ids,
        CASE WHEN refusal IS NULL THEN 'opened' ELSE 'refused' END, refusal, p_at);
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', refusal);
    END IF;
    RETURN jsonb_build_object('ok', true, 'records', sealed);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA retention FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    retention.unkept(jsonb), retention.keep(jsonb), retention.due(date, jsonb), retention.claim(date, jsonb, int),
    retention.purge_records(text[], timestamptz), retention.report(date, jsonb, timestamptz)
TO {app};
-- What is kept of whom, which holds there are and who opened what: numbers and identifiers, for those who answer for it.
GRANT EXECUTE ON FUNCTION retention.kept(text) TO {app}, {ops};
GRANT SELECT ON retention.hold, retention.access, retention.purge_report TO {ops};
GRANT EXECUTE ON FUNCTION retention.open_for_order(text, text, timestamptz) TO {retention};
