-- What reviewers do with a review besides deciding it, and what a merchant is asked for. Each answers {ok: true, resource} or
-- {ok: false, error}, and records what was asked either way.

-- A merchant sees what it is asked for, and nothing else of a review (L5).
ALTER FUNCTION app.payout_view(app.payout) RENAME TO payout_row_view;
CREATE FUNCTION app.payout_view(p app.payout) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN app.payout_row_view(p) || jsonb_build_object('evidence_requested', CASE p.wait_reason WHEN 'evidence' THEN (
        SELECT jsonb_build_object('kinds', to_jsonb(r.evidence_kinds), 'until', app.instant(r.evidence_until))
        FROM app.review r WHERE r.payout_id = p.id AND r.state = 'evidence') END);

CREATE FUNCTION app.review_view(r app.review, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', r.id, 'object', 'review', 'payout_id', r.payout_id, 'merchant_id', r.merchant_id,
        'amount_minor', r.amount_minor, 'currency', r.currency, 'state', r.state, 'opened_at', app.instant(r.opened_at),
        'owner', r.owner, 'owner_login', (SELECT o.login FROM app.operator o WHERE o.id = r.owner),
        'due_at', app.instant(r.due_at), 'expires_at', app.instant(r.expires_at), 'latest_at', app.instant(r.latest_at),
        'overdue', r.ended_at IS NULL AND r.due_at <= at, 'escalated_at', app.instant(r.escalated_at),
        'escalations', r.escalations, 'escalation_role', r.escalation_role,
        'extensions', r.extensions, 'extensions_left', r.most_extensions - r.extensions,
        'evidence', CASE WHEN r.evidence_until IS NOT NULL THEN jsonb_build_object('kinds', to_jsonb(r.evidence_kinds),
            'until', app.instant(r.evidence_until), 'given', r.state <> 'evidence') END,
        'decided_by', r.decided_by, 'ended_at', app.instant(r.ended_at));

-- Why a person cannot do this with a review now, or NULL. What is overdue may be taken over from whoever has it by the role
-- that it was escalated to.
CREATE FUNCTION app.obstacle_to_review(r app.review, i jsonb, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN NOT app.operator_may(i->>'operator_id', 'reviews:write', at) THEN 'permission_missing'
        WHEN r.id IS NULL THEN 'review_not_found'
        WHEN r.state = 'expired' OR r.state IN ('open', 'evidence') AND r.expires_at <= at THEN 'review_expired'
        WHEN r.state NOT IN ('open', 'evidence') THEN 'review_ended'
        WHEN i->>'act' = 'take' AND r.owner <> i->>'operator_id' AND NOT (r.due_at <= at AND EXISTS (
            SELECT 1 FROM app.operator o WHERE o.id = i->>'operator_id' AND r.escalation_role = ANY (o.roles)))
            THEN 'review_taken'
        WHEN i->>'act' IN ('release', 'ask', 'extend') AND r.owner IS DISTINCT FROM i->>'operator_id' THEN 'review_not_taken'
        WHEN i->>'act' = 'ask' AND ((i->>'until')::timestamptz <= at OR (i->>'until')::timestamptz > r.latest_at)
            THEN 'review_date_invalid'
        WHEN i->>'act' = 'extend' AND (r.extensions >= r.most_extensions OR r.expires_at >= r.latest_at)
            THEN 'review_not_extendable' END;

-- item: {now, request_id, operator_id, id, act, note, kinds, until}; act: take | release | ask | extend | note
CREATE FUNCTION app.work_on_review(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text;
    act text := i->>'act';
    p app.payout;
    r app.review;
    obstacle text;
    repeated boolean;
BEGIN
    -- Whose roles are being taken away at this moment waits, or has them taken away first.
    SELECT 'operator:' || o.login INTO who FROM app.operator o WHERE o.id = i->>'operator_id' FOR SHARE;
    p := app.lock_payout((SELECT x.payout_id FROM app.review x WHERE x.id = i->>'id'));
    SELECT * INTO r FROM app.review x WHERE x.id = i->>'id' FOR UPDATE;
    obstacle := app.obstacle_to_review(r, i, instant);
    IF obstacle IS NOT NULL THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id, detail)
            VALUES (instant, coalesce(who, 'unknown'), 'review_' || act,
                CASE obstacle WHEN 'permission_missing' THEN 'denied' ELSE 'refused' END, obstacle, i->>'id', r.merchant_id,
                i->>'request_id', jsonb_build_object('payout_id', r.payout_id));
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'subject_id', i->>'id');
    END IF;
    repeated := act = 'take' AND r.owner IS NOT DISTINCT FROM i->>'operator_id';
    UPDATE app.review x SET
        owner = CASE act WHEN 'take' THEN i->>'operator_id' WHEN 'release' THEN NULL ELSE x.owner END,
        taken_at = CASE WHEN repeated THEN x.taken_at WHEN act = 'take' THEN instant WHEN act = 'release' THEN NULL
            ELSE x.taken_at END,
        state = CASE act WHEN 'ask' THEN 'evidence' ELSE x.state END,
        evidence_kinds = CASE act WHEN 'ask' THEN ARRAY(SELECT jsonb_array_elements_text(i->'kinds'))
            ELSE x.evidence_kinds END,
        evidence_until = CASE act WHEN 'ask' THEN (i->>'until')::timestamptz ELSE x.evidence_until END,
        -- Who was asked has the time that was given, and the reviewer as much as at first once it is over; never beyond
        -- `latest_at`. What has a later due time again can be overdue again.
        due_at = CASE act
            WHEN 'ask' THEN greatest(x.due_at, (i->>'until')::timestamptz)
            WHEN 'extend' THEN least(x.latest_at, greatest(x.due_at, instant) + make_interval(secs => x.extension_seconds))
            ELSE x.due_at END,
        expires_at = CASE act
            WHEN 'ask' THEN least(x.latest_at, greatest(x.expires_at,
                (i->>'until')::timestamptz + make_interval(secs => x.due_seconds)))
            WHEN 'extend' THEN least(x.latest_at, x.expires_at + make_interval(secs => x.extension_seconds))
            ELSE x.expires_at END,
        extensions = x.extensions + (act = 'extend')::int,
        escalated_at = CASE WHEN act IN ('ask', 'extend') THEN NULL ELSE x.escalated_at END
        WHERE x.id = r.id RETURNING x.* INTO r;
    IF NOT repeated THEN
        PERFORM app.note_review(r, instant, who, CASE act WHEN 'take' THEN 'taken' WHEN 'release' THEN 'released'
                WHEN 'ask' THEN 'evidence_asked' WHEN 'extend' THEN 'extended' ELSE 'noted' END,
            i->>'request_id', i->>'note', CASE act
                WHEN 'ask' THEN jsonb_build_object('kinds', i->'kinds', 'until', app.instant(r.evidence_until))
                WHEN 'extend' THEN jsonb_build_object('expires_at', app.instant(r.expires_at)) END);
    END IF;
    IF act IN ('ask', 'extend') THEN
        UPDATE app.payout x SET wait_reason = CASE r.state WHEN 'evidence' THEN 'evidence' ELSE 'review' END,
            wait_until = NULL, wait_deadline = CASE r.state WHEN 'evidence' THEN r.evidence_until ELSE r.expires_at END
            WHERE x.id = p.id RETURNING x.* INTO p;
    END IF;
    IF act = 'ask' THEN
        PERFORM app.note_payout(p, 'payout.evidence_requested', instant, who, 'ask_for_evidence', NULL);
    END IF;
    RETURN jsonb_build_object('ok', true, 'resource', app.review_view(r, instant));
END $$;

-- What the merchant has to show about a payout under review (A8.1c): references to what it keeps, never the thing itself.
-- item: {request, now, payout_id, evidence: [{kind, reference}]}
CREATE FUNCTION app.give_evidence(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout;
    r app.review;
    answer jsonb;
BEGIN
    p := app.lock_payout((SELECT x.id FROM app.payout x WHERE x.id = i->>'payout_id' AND x.merchant_id = whose));
    SELECT * INTO r FROM app.review x WHERE x.payout_id = p.id AND x.state IN ('open', 'evidence') FOR UPDATE;
    IF p.id IS NULL THEN
        answer := '{"ok": false, "error": "payout_not_found"}';
    ELSIF r.id IS NULL OR r.state <> 'evidence' OR r.expires_at <= instant THEN
        answer := jsonb_build_object('ok', false, 'error', 'evidence_not_asked', 'subject_id', p.id);
    ELSE
        -- The reviewer has as long for it as for a new one.
        UPDATE app.review x SET state = 'open', escalated_at = NULL,
            due_at = least(x.expires_at, greatest(x.due_at, instant + make_interval(secs => x.due_seconds)))
            WHERE x.id = r.id RETURNING x.* INTO r;
        PERFORM app.note_review(r, instant, coalesce(i->'request'->>'key_id', 'merchant'), 'evidence_given',
            i->'request'->>'request_id', NULL, jsonb_build_object('evidence', i->'evidence'));
        UPDATE app.payout x SET wait_reason = 'review', wait_until = NULL, wait_deadline = r.expires_at
            WHERE x.id = p.id RETURNING x.* INTO p;
        p := app.note_payout(p, 'payout.under_review', instant, coalesce(i->'request'->>'key_id', 'merchant'),
            'evidence_received', NULL);
        answer := jsonb_build_object('ok', true, 'resource', app.payout_view(p));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'give_evidence', instant, i->>'payout_id', answer);
    RETURN answer;
END $$;
