-- From a request to a committed decision. Each function answers {ok: true, resource} or {ok: false, error}, and records
-- what was asked either way. Who may is looked at here, under a lock on the operators, whoever calls.

CREATE FUNCTION app.record_decision(d app.decision, i jsonb, what text, how text, why text) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id, detail)
            VALUES ((i->>'now')::timestamptz, coalesce('operator:' || (SELECT o.login FROM app.operator o WHERE o.id = i->>'operator_id'), 'sweeper'),
                what, how, why, d.subject_id,
                nullif(d.merchant_id, ''), i->>'request_id',
                jsonb_build_object('decision_id', d.id, 'kind', d.kind, 'ground', d.ground));
    END;

-- The end of a decision: committed with what follows from it, or refused because it no longer can.
CREATE FUNCTION app.end_decision(d app.decision, i jsonb, who text, longest int) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    obstacle text := app.why_not(d.kind, d.subject_id, d.detail, instant, longest);
BEGIN
    UPDATE app.decision n SET state = CASE WHEN obstacle IS NULL THEN 'committed' ELSE 'refused' END,
        decided_by = who, decided_at = instant, refusal = obstacle WHERE n.id = d.id RETURNING n.* INTO d;
    IF obstacle IS NOT NULL THEN
        PERFORM app.record_decision(d, i, 'commit_decision', 'refused', obstacle);
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'subject_id', d.subject_id);
    END IF;
    PERFORM app.carry_out(d);
    PERFORM app.record_decision(d, i, 'commit_decision', 'done', NULL);
    RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(d));
END $$;

-- item: {now, request_id, operator_id, id, kind, subject_id, ground, reason, detail}
CREATE FUNCTION app.request_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text := i->>'operator_id';
    k app.decision_kind;
    d app.decision;
    prior app.decision;
    obstacle text;
BEGIN
    d.id := i->>'id'; d.kind := i->>'kind'; d.subject_id := i->>'subject_id'; d.ground := i->>'ground';
    d.detail := coalesce(i->'detail', '{}');
    d.merchant_id := app.merchant_of_subject(d.kind, d.subject_id);
    SELECT * INTO k FROM app.decision_kind WHERE kind = d.kind;
    PERFORM 1 FROM app.operator WHERE id = who FOR SHARE;
    IF k.kind IS NULL THEN
        obstacle := 'decision_kind_unknown';
    ELSIF NOT app.operator_may(who, k.request_permission, instant)
        OR NOT k.second_person AND NOT app.operator_may(who, k.approve_permission, instant) THEN
        PERFORM app.record_decision(d, i, 'request_decision', 'denied', 'permission_missing');
        RETURN '{"ok": false, "error": "permission_missing"}';
    ELSIF NOT d.ground = ANY (k.grounds) THEN
        obstacle := 'ground_unknown';
    END IF;
    -- The same request again: its first answer got lost.
    SELECT * INTO prior FROM app.decision WHERE id = d.id;
    IF prior.id IS NOT NULL AND obstacle IS NULL THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(prior));
    END IF;
    IF obstacle IS NULL THEN
        UPDATE app.decision n SET state = 'expired', decided_at = instant
            WHERE n.kind = d.kind AND n.subject_id = d.subject_id AND n.state = 'requested' AND n.expires_at <= instant;
        obstacle := app.why_not(d.kind, d.subject_id, d.detail, instant, k.longest_seconds);
    END IF;
    IF obstacle IS NULL THEN
        d.detail := app.fixed_subject(d.kind, d.subject_id, d.detail);
        INSERT INTO app.decision AS n (id, kind, subject_id, merchant_id, ground, reason, detail, second_person,
                requested_by, requested_at, expires_at)
            VALUES (d.id, d.kind, d.subject_id, d.merchant_id, d.ground, i->>'reason', d.detail, k.second_person, who,
                instant, instant + make_interval(secs => k.open_seconds))
            ON CONFLICT (kind, subject_id) WHERE state = 'requested' DO NOTHING RETURNING n.* INTO prior;
        IF NOT FOUND THEN
            SELECT * INTO prior FROM app.decision n
                WHERE n.kind = d.kind AND n.subject_id = d.subject_id AND n.state = 'requested';
            obstacle := 'decision_pending';
        END IF;
    END IF;
    IF obstacle IS NOT NULL THEN
        PERFORM app.record_decision(d, i, 'request_decision', 'refused', obstacle);
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'subject_id', coalesce(prior.id, d.subject_id));
    END IF;
    PERFORM app.record_decision(prior, i, 'request_decision', 'received', NULL);
    IF k.second_person THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(prior));
    END IF;
    RETURN app.end_decision(prior, i, who, k.longest_seconds);
END $$;

-- The second person's word. item: {now, request_id, operator_id, id}; the same person's again answers the same.
CREATE FUNCTION app.approve_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text := i->>'operator_id';
    k app.decision_kind;
    d app.decision;
    error text;
BEGIN
    SELECT * INTO d FROM app.decision WHERE id = i->>'id' FOR UPDATE;
    SELECT * INTO k FROM app.decision_kind WHERE kind = d.kind;
    -- Whose roles are being taken away at this moment waits, or has them taken away first.
    PERFORM 1 FROM app.operator WHERE id IN (who, d.requested_by) ORDER BY id FOR SHARE;
    IF d.id IS NULL THEN
        d.id := i->>'id';
        PERFORM app.record_decision(d, i, 'approve_decision', 'refused', 'decision_not_found');
        RETURN '{"ok": false, "error": "decision_not_found"}';
    END IF;
    IF NOT app.operator_may(who, k.approve_permission, instant) THEN
        PERFORM app.record_decision(d, i, 'approve_decision', 'denied', 'permission_missing');
        RETURN jsonb_build_object('ok', false, 'error', 'permission_missing', 'subject_id', d.id);
    END IF;
    IF d.state = 'committed' AND d.decided_by = who THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(d));
    END IF;
    error := CASE WHEN d.state <> 'requested' THEN 'decision_ended'
        WHEN d.requested_by = who THEN 'second_person_required'
        WHEN d.expires_at <= instant THEN 'decision_expired'
        WHEN NOT app.operator_may(d.requested_by, k.request_permission, instant) THEN 'requester_not_permitted' END;
    IF error IS NULL THEN
        RETURN app.end_decision(d, i, who, k.longest_seconds);
    END IF;
    IF error = 'decision_expired' THEN
        UPDATE app.decision SET state = 'expired', decided_at = instant WHERE id = d.id;
    ELSIF error = 'requester_not_permitted' THEN
        UPDATE app.decision SET state = 'refused', decided_by = who, decided_at = instant, refusal = error
            WHERE id = d.id;
    END IF;
    PERFORM app.record_decision(d, i, 'approve_decision', 'refused', error);
    RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id', d.id);
END $$;

-- A no, by whoever could have approved it, or taken back by who asked. item: {now, request_id, operator_id, id}
CREATE FUNCTION app.reject_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text := i->>'operator_id';
    k app.decision_kind;
    d app.decision;
    error text;
BEGIN
    SELECT * INTO d FROM app.decision WHERE id = i->>'id' FOR UPDATE;
    SELECT * INTO k FROM app.decision_kind WHERE kind = d.kind;
    PERFORM 1 FROM app.operator WHERE id = who FOR SHARE;
    IF d.state = 'rejected' AND d.decided_by = who THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(d));
    END IF;
    error := CASE WHEN d.id IS NULL THEN 'decision_not_found'
        WHEN NOT (app.operator_may(who, k.approve_permission, instant) OR d.requested_by = who
            AND app.operator_may(who, k.request_permission, instant)) THEN 'permission_missing'
        WHEN d.state <> 'requested' THEN 'decision_ended' END;
    IF error IS NULL THEN
        UPDATE app.decision n SET state = 'rejected', decided_by = who, decided_at = instant
            WHERE n.id = d.id RETURNING n.* INTO d;
    ELSIF d.id IS NULL THEN
        d.id := i->>'id';
    END IF;
    PERFORM app.record_decision(d, i, 'reject_decision', CASE WHEN error IS NULL THEN 'done'
        WHEN error = 'permission_missing' THEN 'denied' ELSE 'refused' END, error);
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id', i->>'id');
    END IF;
    RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(d));
END $$;
