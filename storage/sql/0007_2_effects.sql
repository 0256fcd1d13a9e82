-- What a decision is about, what keeps it from taking place, and what follows from it in the transaction that commits it.
-- Locks: merchant, payment, user, refund, then what else: the very rows that acceptances and send claims lock, so that one
-- of the two comes first.

CREATE FUNCTION app.decision_view(d app.decision) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', d.id, 'object', 'decision', 'kind', d.kind, 'subject_id', d.subject_id,
        'merchant_id', d.merchant_id, 'ground', d.ground, 'reason', d.reason, 'detail', d.detail, 'state', d.state,
        'needs_second_person', d.second_person, 'requested_by', d.requested_by,
        'requested_at', app.instant(d.requested_at), 'expires_at', app.instant(d.expires_at),
        'decided_by', d.decided_by, 'decided_at', app.instant(d.decided_at), 'refusal', d.refusal);

CREATE FUNCTION app.restriction_view(r app.restriction) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', r.id, 'object', 'restriction', 'kind', r.kind, 'subject_id', r.subject_id,
        'merchant_id', r.merchant_id, 'function', r.function, 'ground', r.ground, 'placed_by', r.placed_by,
        'placed_at', app.instant(r.placed_at), 'review_at', app.instant(r.review_at), 'ends_at', app.instant(r.ends_at),
        'lifted_by', r.lifted_by, 'lifted_at', app.instant(r.lifted_at));

-- Whose the subject of a decision is; NULL if there is no such thing, '' if it is nobody's (a partner).
CREATE FUNCTION app.merchant_of_subject(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN what LIKE 'waiver.%' THEN (SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject)
        WHEN what LIKE 'partner.%' THEN (SELECT '' FROM app.partner t WHERE t.code = subject)
        WHEN what = 'case.resolve' THEN (SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        WHEN what LIKE 'instruction.%' THEN (
            SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject)
        WHEN what LIKE 'merchant.%' THEN (SELECT m.id FROM app.merchant m WHERE m.id = subject)
        WHEN what LIKE 'user.%' THEN (SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject)
        ELSE (SELECT m.id FROM app.merchant m WHERE m.id = subject
              UNION ALL SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject) END;

-- Takes the locks that acceptances and send claims take. What is written about a user or an instruction refers to its merchant,
-- and would lock it then, after the user: it is locked first, as by everybody.
CREATE FUNCTION app.lock_subject(subject text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject
            UNION ALL SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject
            UNION ALL SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject
            UNION ALL SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        FOR KEY SHARE;
    PERFORM 1 FROM app.payment p WHERE p.id = coalesce(
        (SELECT r.payment_id FROM app.refund r WHERE r.id = subject), subject) FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.refund WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner WHERE code = subject FOR UPDATE;
    PERFORM 1 FROM app.waiver_application WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.case_record WHERE id = subject FOR UPDATE;
END $$;

-- The step at a bank that only people can bring on: its request number, or its kind where nothing was sent under any; NULL if
-- nothing of the instruction is parked. A conclusion is about this one, and about no other that is parked after it.
CREATE FUNCTION app.parked_step(subject text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce((SELECT e.request_number FROM app.effect e WHERE e.subject_id = subject AND e.step = s.step
            ORDER BY e.claimed_at DESC, e.request_number DESC LIMIT 1), s.step)
        FROM (SELECT CASE p.state WHEN 'unknown' THEN 'DB' ELSE 'LR' END AS step FROM app.payment p
                WHERE p.id = subject AND p.state IN ('unknown', 'late_refunding') AND p.wait_reason = 'operator'
              UNION ALL SELECT 'RF' FROM app.refund r
                WHERE r.id = subject AND r.state = 'unknown' AND r.wait_reason = 'operator') s);

-- Whether people have decided what became of the step that is parked, and its process has not done it yet.
CREATE FUNCTION app.is_concluded(decision_id text, subject text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN EXISTS (SELECT 1 FROM app.decision d WHERE d.id = decision_id AND d.kind = 'instruction.conclude'
        AND d.detail->>'request_number' = app.parked_step(subject)
        AND NOT EXISTS (SELECT 1 FROM app.operation o WHERE o.key = subject || ':decision:' || d.id));

-- What a lifting decision lifts: all of its kind that there were when it was asked for, or the one that it names.
CREATE FUNCTION app.in_force(what text, subject text, more jsonb) RETURNS SETOF app.restriction LANGUAGE sql STABLE
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT r.* FROM app.restriction r WHERE r.subject_id = subject AND r.lifted_at IS NULL
            AND (more->>'restriction_id' IS NULL OR r.id = more->>'restriction_id')
            AND (NOT more ? 'restrictions' OR more->'restrictions' ? r.id)
            AND r.kind = ANY (CASE WHEN what = 'funds.release' THEN ARRAY['freeze']
                WHEN what = 'authority_order.register' THEN ARRAY['freeze', 'authority_order']
                ELSE ARRAY['suspension'] END);
    END;

-- What a decision is about, as it was when it was asked for: who approves it approves this, and not what came up later.
CREATE FUNCTION app.fixed_subject(what text, subject text, more jsonb) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN more || CASE
        WHEN what = 'instruction.conclude' THEN jsonb_build_object('request_number', app.parked_step(subject))
        WHEN what IN ('user.resume', 'merchant.resume', 'funds.release') OR more->>'demands' = 'release' THEN
            jsonb_build_object('restrictions', (SELECT coalesce(jsonb_agg(x.id), '[]')
                FROM (SELECT f.id FROM app.in_force(what, subject, more) f ORDER BY f.placed_at, f.id LIMIT 40) x))
        ELSE '{}' END;

-- Why a decision cannot take place now, or NULL; looked at when it is requested and again when it is committed.
CREATE FUNCTION app.why_not(what text, subject text, more jsonb, at timestamptz, longest int) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    s record;
    named timestamptz := coalesce(more->>'review_at', more->>'expires_at')::timestamptz;
BEGIN
    PERFORM app.lock_subject(subject);
    IF app.merchant_of_subject(what, subject) IS NULL THEN RETURN 'subject_not_found'; END IF;
    IF what IN ('funds.freeze', 'authority_order.register') AND (named IS NULL OR named <= at
            OR named > at + make_interval(secs => longest)) THEN
        RETURN 'decision_date_invalid';
    END IF;
    IF what IN ('user.suspend', 'merchant.suspend') AND named <= at THEN RETURN 'decision_date_invalid'; END IF;
    IF what LIKE 'instruction.%' THEN
        SELECT p.state, p.claimed_at, p.withdrawn_by INTO s FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.state, r.claimed_at, r.withdrawn_by FROM app.refund r WHERE r.id = subject;
        RETURN CASE
            WHEN what = 'instruction.withdraw' THEN CASE
                WHEN s.claimed_at IS NOT NULL THEN 'already_sent'
                WHEN s.withdrawn_by IS NOT NULL OR s.state NOT IN ('awaiting_code', 'ready')
                    THEN 'decision_not_applicable' END
            -- Parked: its bank has no trace of it, or will not give back what came too late.
            WHEN app.parked_step(subject) IS NULL
                OR app.parked_step(subject) <> coalesce(more->>'request_number', app.parked_step(subject))
                THEN 'decision_not_applicable' END;
    END IF;
    RETURN CASE WHEN NOT CASE
        WHEN what LIKE 'waiver.%' THEN
            EXISTS (SELECT 1 FROM app.waiver_application w WHERE w.id = subject AND w.state = 'pending')
        WHEN what = 'case.resolve' THEN
            EXISTS (SELECT 1 FROM app.case_record c WHERE c.id = subject AND c.state = 'open')
        WHEN what = 'partner.disable' THEN EXISTS (SELECT 1 FROM app.partner t WHERE t.code = subject AND t.enabled)
        WHEN what = 'partner.enable' THEN EXISTS (SELECT 1 FROM app.partner t WHERE t.code = subject AND NOT t.enabled)
        WHEN what IN ('user.suspend', 'merchant.suspend') THEN NOT EXISTS (
                SELECT 1 FROM app.restriction r WHERE r.subject_id = subject AND r.lifted_at IS NULL
                AND r.kind = 'suspension' AND r.function IS NOT DISTINCT FROM more->>'function')
            AND NOT EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = subject AND u.state = 'closed')
        WHEN what = 'funds.freeze' THEN true
        WHEN what IN ('user.resume', 'merchant.resume', 'funds.release') THEN
            EXISTS (SELECT 1 FROM app.in_force(what, subject, more))
        WHEN what = 'authority_order.register' THEN NOT EXISTS (
            SELECT 1 FROM app.authority_order o WHERE o.issuer = more->>'issuer' AND o.number = more->>'number'
            AND o.subject_id = subject AND o.demands = more->>'demands')
        ELSE false END THEN 'decision_not_applicable' END;
END $$;

CREATE FUNCTION app.place_restriction(d app.decision, what text, until timestamptz) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at, review_at,
                ends_at)
            VALUES ('rst_' || split_part(d.id, '_', 2), what, d.subject_id, d.merchant_id, d.detail->>'function', d.ground,
                d.id, d.decided_at, CASE what WHEN 'authority_order' THEN NULL ELSE until END,
                CASE what WHEN 'authority_order' THEN until END);
    END;

-- Whole suspensions are also a state, which everything that is accepted looks at.
CREATE FUNCTION app.lift_restrictions(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.restriction r SET lifted_by = d.id, lifted_at = d.decided_at
        WHERE r.id IN (SELECT f.id FROM app.in_force(d.kind, d.subject_id, d.detail) f);
    IF NOT EXISTS (SELECT 1 FROM app.restriction r WHERE r.subject_id = d.subject_id AND r.lifted_at IS NULL
            AND r.kind = 'suspension' AND r.function IS NULL) THEN
        UPDATE app.end_user SET state = 'active' WHERE id = d.subject_id AND state = 'suspended'
            AND d.kind = 'user.resume';
        UPDATE app.merchant SET state = 'active' WHERE id = d.subject_id AND d.kind = 'merchant.resume';
    END IF;
END $$;

CREATE FUNCTION app.register_authority_order(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.authority_order (id, decision_id, issuer, number, demands, subject_id, function, expires_at,
            registered_at)
        VALUES ('ord_' || split_part(d.id, '_', 2), d.id, d.detail->>'issuer', d.detail->>'number', d.detail->>'demands',
            d.subject_id, d.detail->>'function', (d.detail->>'expires_at')::timestamptz, d.decided_at);
    IF d.detail->>'demands' = 'hold' THEN
        PERFORM app.place_restriction(d, 'authority_order', (d.detail->>'expires_at')::timestamptz);
    ELSIF d.detail->>'demands' = 'release' THEN
        PERFORM app.lift_restrictions(d);
    END IF;
END $$;

CREATE FUNCTION app.decide_waiver(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF d.kind = 'waiver.approve' THEN
        UPDATE app.waiver_application SET state = 'superseded'
            WHERE merchant_id = d.merchant_id AND state = 'approved';
    END IF;
    UPDATE app.waiver_application SET state = CASE d.kind WHEN 'waiver.approve' THEN 'approved' ELSE 'rejected' END,
        decided_at = d.decided_at, decided_by = d.decided_by WHERE id = d.subject_id;
END $$;

-- What follows from a decision in the transaction that commits it. What a process has to do, it does when it is told.
CREATE FUNCTION app.carry_out(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    CASE d.kind
    WHEN 'waiver.approve', 'waiver.reject' THEN PERFORM app.decide_waiver(d);
    WHEN 'user.suspend' THEN
        PERFORM app.place_restriction(d, 'suspension', (d.detail->>'review_at')::timestamptz);
        UPDATE app.end_user SET state = 'suspended' WHERE id = d.subject_id AND d.detail->>'function' IS NULL;
    WHEN 'merchant.suspend' THEN
        PERFORM app.place_restriction(d, 'suspension', (d.detail->>'review_at')::timestamptz);
        UPDATE app.merchant SET state = 'suspended' WHERE id = d.subject_id AND d.detail->>'function' IS NULL;
    WHEN 'user.resume', 'merchant.resume', 'funds.release' THEN PERFORM app.lift_restrictions(d);
    WHEN 'funds.freeze' THEN
        -- A further one prolongs the first: it takes its place, with its own approval and reason (A8.3).
        UPDATE app.restriction r SET lifted_by = d.id, lifted_at = d.decided_at
            WHERE r.subject_id = d.subject_id AND r.kind = 'freeze' AND r.lifted_at IS NULL;
        PERFORM app.place_restriction(d, 'freeze', (d.detail->>'review_at')::timestamptz);
    WHEN 'authority_order.register' THEN PERFORM app.register_authority_order(d);
    WHEN 'partner.disable', 'partner.enable' THEN
        UPDATE app.partner SET enabled = d.kind = 'partner.enable', changed_at = d.decided_at WHERE code = d.subject_id;
    WHEN 'case.resolve' THEN
        UPDATE app.case_record SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at
            WHERE id = d.subject_id;
    WHEN 'instruction.withdraw' THEN
        UPDATE app.payment SET withdrawn_by = d.id WHERE id = d.subject_id;
        UPDATE app.refund SET withdrawn_by = d.id WHERE id = d.subject_id;
    WHEN 'instruction.conclude' THEN
        UPDATE app.payment SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.refund SET concluded_by = d.id WHERE id = d.subject_id;
    END CASE;
END $$;
