-- What a decision is about and what keeps it from taking place, with payouts, amounts and persons. Former bodies:
-- 0007_2_effects.sql. Decisions on screening, reviews and settlements have functions of their own (0008_1_tables.sql).

CREATE OR REPLACE FUNCTION app.restriction_view(r app.restriction) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('id', r.id, 'object', 'restriction', 'kind', r.kind, 'subject_id', r.subject_id,
        'merchant_id', r.merchant_id, 'function', r.function, 'scope', r.scope, 'of_funds', app.is_freeze(r),
        'amount_minor', r.amount_minor, 'currency', r.currency,
        'frozen_minor', CASE WHEN r.amount_minor IS NOT NULL THEN app.frozen_minor(r.id) END,
        'ground', r.ground, 'placed_by', r.placed_by,
        'placed_at', app.instant(r.placed_at), 'review_at', app.instant(r.review_at), 'ends_at', app.instant(r.ends_at),
        'lifted_by', r.lifted_by, 'lifted_at', app.instant(r.lifted_at));

CREATE OR REPLACE FUNCTION app.merchant_of_subject(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN what LIKE 'waiver.%' THEN (SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject)
        WHEN what LIKE 'partner.%' THEN (SELECT '' FROM app.partner t WHERE t.code = subject)
        WHEN what = 'case.resolve' THEN (SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        WHEN what LIKE 'screening.%' THEN app.merchant_of_screening(what, subject)
        WHEN what LIKE 'review.%' THEN app.merchant_of_review(what, subject)
        WHEN what LIKE 'settlement.%' THEN app.merchant_of_settlement(what, subject)
        WHEN what LIKE 'instruction.%' THEN (
            SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject
            UNION ALL SELECT o.merchant_id FROM app.payout o WHERE o.id = subject)
        WHEN what LIKE 'merchant.%' THEN (SELECT m.id FROM app.merchant m WHERE m.id = subject)
        WHEN what LIKE 'user.%' THEN (SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject)
        ELSE (SELECT m.id FROM app.merchant m WHERE m.id = subject
              UNION ALL SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject) END;

CREATE OR REPLACE FUNCTION app.lock_subject(subject text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject
            UNION ALL SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject
            UNION ALL SELECT o.merchant_id FROM app.payout o WHERE o.id = subject
            UNION ALL SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject
            UNION ALL SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        FOR KEY SHARE;
    PERFORM 1 FROM app.payment p WHERE p.id = coalesce(
        (SELECT r.payment_id FROM app.refund r WHERE r.id = subject), subject) FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user u WHERE u.id = coalesce(
        (SELECT o.user_id FROM app.payout o WHERE o.id = subject), subject) FOR NO KEY UPDATE;
    PERFORM 1 FROM app.refund WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.payout WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner WHERE code = subject FOR UPDATE;
    PERFORM 1 FROM app.waiver_application WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.case_record WHERE id = subject FOR UPDATE;
END $$;

-- Whose relations a restriction is placed in: the subject's own, or those of the same person at every merchant, as far as
-- they are known to be one: by the keyed index of the identity document that a bank has confirmed.
CREATE FUNCTION app.relations_of(subject text, scope text) RETURNS TABLE (id text, merchant_id text) LANGUAGE sql STABLE
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT m.id, m.id FROM app.merchant m WHERE m.id = subject
        UNION ALL
        SELECT u.id, u.merchant_id FROM app.end_user u WHERE u.id = subject
        UNION ALL
        SELECT u.id, u.merchant_id FROM app.end_user u JOIN app.end_user s ON s.id = subject AND s.id <> u.id
            AND s.person_index = u.person_index WHERE scope = 'all';
    END;

-- All relations of a person at once: merchants first, then users, each by id.
CREATE FUNCTION app.lock_relations(subject text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT x.merchant_id FROM app.relations_of(subject, 'all') x WHERE x.id <> x.merchant_id)
        ORDER BY m.id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user u WHERE u.id IN (SELECT x.id FROM app.relations_of(subject, 'all') x)
        ORDER BY u.id FOR NO KEY UPDATE;
END $$;

CREATE OR REPLACE FUNCTION app.parked_step(subject text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce((SELECT e.request_number FROM app.effect e WHERE e.subject_id = subject AND e.step = s.step
            ORDER BY e.claimed_at DESC, e.request_number DESC LIMIT 1), s.step)
        FROM (SELECT CASE p.state WHEN 'unknown' THEN 'DB' ELSE 'LR' END AS step FROM app.payment p
                WHERE p.id = subject AND p.state IN ('unknown', 'late_refunding') AND p.wait_reason = 'operator'
              UNION ALL SELECT 'RF' FROM app.refund r
                WHERE r.id = subject AND r.state = 'unknown' AND r.wait_reason = 'operator'
              UNION ALL SELECT 'PO' FROM app.payout o
                WHERE o.id = subject AND o.state = 'unknown' AND o.wait_reason = 'operator') s);

-- What a lifting decision lifts: all of its kind that there were when it was asked for, or the one that it names; in one
-- relation, or what was placed on a person in all of them. An authority's order lifts freezes of the institution, too; the
-- institution lifts none of an authority.
CREATE OR REPLACE FUNCTION app.in_force(what text, subject text, more jsonb) RETURNS SETOF app.restriction LANGUAGE sql STABLE
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT r.* FROM app.restriction r WHERE r.lifted_at IS NULL
            AND r.subject_id IN (SELECT x.id FROM app.relations_of(subject, more->>'scope') x)
            AND (more->>'scope' IS DISTINCT FROM 'all' OR r.scope = 'all')
            AND (more->>'restriction_id' IS NULL OR r.id = more->>'restriction_id')
            AND (NOT more ? 'restrictions' OR more->'restrictions' ? r.id)
            AND r.kind = ANY (CASE WHEN what = 'funds.release' THEN ARRAY['freeze']
                WHEN what = 'authority_order.register' THEN ARRAY['freeze', 'authority_order']
                ELSE ARRAY['suspension'] END);
    END;

-- The freeze that a further one takes the place of, or NULL: the institution prolongs its own, an authority's order any.
CREATE FUNCTION app.prolonged(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT r.id FROM app.restriction r WHERE r.id = more->>'prolongs' AND r.subject_id = subject
        AND r.lifted_at IS NULL AND (r.ends_at IS NULL OR r.ends_at > at) AND r.amount_minor IS NOT NULL
        AND (r.kind = 'freeze' OR r.of_funds AND what = 'authority_order.register'));

-- Whether a date that a decision names lies ahead, and not too far.
CREATE FUNCTION app.is_ahead(named text, at timestamptz, longest int) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN named IS NULL OR named::timestamptz > at AND named::timestamptz <= at + make_interval(secs => longest);

-- Why an instruction can be neither withdrawn nor concluded now, or NULL.
CREATE FUNCTION app.why_not_instruction(what text, subject text, more jsonb) RETURNS text LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog AS $$
DECLARE
    s record;
BEGIN
    -- A bank that was closed and has said no has booked nothing: such a payout is queued again, and not sent.
    SELECT p.state, p.claimed_at IS NOT NULL AS sent, p.withdrawn_by INTO s FROM app.payment p WHERE p.id = subject
        UNION ALL SELECT r.state, r.claimed_at IS NOT NULL, r.withdrawn_by FROM app.refund r WHERE r.id = subject
        UNION ALL SELECT o.state, o.claimed_at IS NOT NULL, o.withdrawn_by FROM app.payout o WHERE o.id = subject;
    RETURN CASE
        WHEN what = 'instruction.withdraw' THEN CASE
            WHEN s.sent THEN 'already_sent'
            WHEN s.withdrawn_by IS NOT NULL OR s.state NOT IN ('awaiting_code', 'ready', 'awaiting_confirmation', 'checking',
                'under_review', 'cooling_off', 'scheduled') THEN 'decision_not_applicable' END
        -- Parked: its bank has no trace of it, or will not give back what came too late.
        WHEN app.parked_step(subject) IS NULL
            OR app.parked_step(subject) <> coalesce(more->>'request_number', app.parked_step(subject))
            THEN 'decision_not_applicable' END;
END $$;

-- Why funds cannot be frozen so, by the institution or by an authority's order, or NULL.
CREATE FUNCTION app.why_not_frozen(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog AS $$
BEGIN
    RETURN CASE
        -- Whose bank has confirmed no identity is not known to be the same person as anybody.
        WHEN more->>'scope' = 'all' AND NOT EXISTS (
            SELECT 1 FROM app.end_user u WHERE u.id = subject AND u.person_index IS NOT NULL) THEN 'decision_not_applicable'
        WHEN more ? 'prolongs' AND app.prolonged(what, subject, more, at) IS NULL THEN 'decision_not_applicable' END;
END $$;

CREATE OR REPLACE FUNCTION app.why_not(what text, subject text, more jsonb, at timestamptz, longest int) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF more->>'scope' = 'all' THEN PERFORM app.lock_relations(subject); END IF;
    PERFORM app.lock_subject(subject);
    IF app.merchant_of_subject(what, subject) IS NULL THEN RETURN 'subject_not_found'; END IF;
    IF what LIKE 'screening.%' THEN RETURN app.why_not_screening(what, subject, more, at); END IF;
    IF what LIKE 'review.%' THEN RETURN app.why_not_review(what, subject, more, at); END IF;
    IF what LIKE 'settlement.%' THEN RETURN app.why_not_settlement(what, subject, more, at); END IF;
    IF what LIKE 'instruction.%' THEN RETURN app.why_not_instruction(what, subject, more); END IF;
    IF what = 'funds.freeze' AND (coalesce(more->>'review_at', more->>'ends_at') IS NULL
            OR NOT app.is_ahead(more->>'review_at', at, longest) OR NOT app.is_ahead(more->>'ends_at', at, longest)) THEN
        RETURN 'decision_date_invalid';
    END IF;
    -- Only the order that ends after 48 hours names no date.
    IF what = 'authority_order.register' AND (more->>'expires_at' IS NULL AND more->>'demands' <> 'temporary_freeze'
            OR NOT app.is_ahead(more->>'expires_at', at, longest)) THEN
        RETURN 'decision_date_invalid';
    END IF;
    IF what IN ('user.suspend', 'merchant.suspend') AND (more->>'review_at')::timestamptz <= at THEN
        RETURN 'decision_date_invalid';
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
        WHEN what = 'funds.freeze' THEN app.why_not_frozen(what, subject, more, at) IS NULL
        WHEN what IN ('user.resume', 'merchant.resume', 'funds.release') THEN
            EXISTS (SELECT 1 FROM app.in_force(what, subject, more))
        WHEN what = 'authority_order.register' THEN NOT EXISTS (
            SELECT 1 FROM app.authority_order o WHERE o.issuer = more->>'issuer' AND o.number = more->>'number'
            AND o.subject_id = subject AND o.demands = more->>'demands')
            AND app.why_not_frozen(what, subject, more, at) IS NULL
        ELSE false END THEN 'decision_not_applicable' END;
END $$;
