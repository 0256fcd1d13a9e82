-- What people decide about closures, disputes and what is retained. Former bodies: 0014_b_following.sql.

-- Why it cannot take place now, or NULL; the rows are locked.
CREATE FUNCTION app.why_not_closure(what text, subject text, more jsonb, at timestamptz) RETURNS text LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog AS $$
DECLARE
    c app.closure;
BEGIN
    IF what LIKE 'closure.%' THEN
        SELECT * INTO c FROM app.closure WHERE id = subject;
        RETURN CASE WHEN NOT CASE what
            WHEN 'closure.refuse' THEN c.state IN ('received', 'deciding', 'closing')
            WHEN 'closure.grant' THEN c.state = 'deciding'
            ELSE c.scope = 'account' AND c.state IN ('received', 'closing', 'unsigning') AND c.records_at IS NULL
                AND c.records_waived_by IS NULL END THEN 'decision_not_applicable' END;
    END IF;
    IF what = 'dispute.resolve' THEN
        RETURN CASE WHEN NOT EXISTS (SELECT 1 FROM app.dispute d WHERE d.id = subject AND d.state = 'open')
            THEN 'decision_not_applicable' END;
    END IF;
    IF what = 'retention.disclose' THEN
        RETURN CASE WHEN NOT EXISTS (SELECT 1 FROM app.authority_order o WHERE o.id = more->>'order_id' AND o.subject_id = subject
            AND o.demands = 'query' AND o.expires_at > at) THEN 'order_not_in_force' END;
    END IF;
    -- An order that asks for a hold is this user's.
    IF more->>'order_id' IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM app.authority_order o WHERE o.id = more->>'order_id' AND o.subject_id = subject) THEN
        RETURN 'order_not_in_force';
    END IF;
    -- A hold that keeps what is kept already, or lifts what is not held.
    RETURN CASE WHEN (what = 'retention.hold') = EXISTS (
        SELECT 1 FROM retention.hold h WHERE h.user_id = subject AND h.lifted_at IS NULL) THEN 'decision_not_applicable' END;
END $$;

CREATE FUNCTION app.carry_out_closure(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    c app.closure;
    x app.dispute;
BEGIN
    CASE d.kind
    WHEN 'closure.refuse' THEN
        UPDATE app.closure n SET state = 'refused', state_since = d.decided_at, reason = d.ground, refused_by = d.id,
            answered_at = d.decided_at WHERE n.id = d.subject_id RETURNING n.* INTO c;
        PERFORM app.tell_of_closure(c, 'closure.refused', d.decided_at);
        -- That it could not be verified who asks, people were told in order to refuse it.
        UPDATE app.case_record k SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at
            WHERE k.kind = 'identity_unverified' AND k.subject_id = c.id AND k.state = 'open';
    WHEN 'closure.grant' THEN
        UPDATE app.closure n SET state = 'closing', state_since = d.decided_at, granted_by = d.id
            WHERE n.id = d.subject_id RETURNING n.* INTO c;
        PERFORM app.tell_of_closure(c, 'closure.granted', d.decided_at);
    WHEN 'closure.waive_records' THEN
        UPDATE app.closure n SET records_waived_by = d.id WHERE n.id = d.subject_id;
    WHEN 'dispute.resolve' THEN
        UPDATE app.dispute n SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at,
            event_sequence = n.event_sequence + 1 WHERE n.id = d.subject_id RETURNING n.* INTO x;
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (x.merchant_id, x.id, x.event_sequence, 'dispute.resolved', d.decided_at, app.dispute_view(x));
    WHEN 'retention.hold' THEN
        PERFORM retention.place_hold('rth_' || split_part(d.id, '_', 2), d.subject_id, d.ground, d.detail->>'order_id', d.id,
            d.decided_at);
    WHEN 'retention.release' THEN
        PERFORM retention.lift_holds(d.subject_id, d.id, d.decided_at);
    -- The committed decision itself is what opens the store.
    WHEN 'retention.disclose' THEN NULL;
    END CASE;
END $$;

CREATE OR REPLACE FUNCTION app.merchant_of_subject(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN what LIKE 'waiver.%' THEN (SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject)
        WHEN what LIKE 'partner.%' THEN (SELECT '' FROM app.partner t WHERE t.code = subject)
        WHEN what = 'case.resolve' THEN (SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        WHEN what LIKE 'screening.%' THEN app.merchant_of_screening(what, subject)
        WHEN what LIKE 'review.%' THEN app.merchant_of_review(what, subject)
        WHEN what LIKE 'settlement.%' THEN app.merchant_of_settlement(what, subject)
        WHEN what LIKE 'inbound.%' THEN (SELECT coalesce(b.merchant_id, '') FROM app.inbound b WHERE b.id = subject)
        WHEN what LIKE 'instruction.%' THEN (
            SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject
            UNION ALL SELECT o.merchant_id FROM app.payout o WHERE o.id = subject
            UNION ALL SELECT f.merchant_id FROM app.fx f WHERE f.id = subject
            UNION ALL SELECT n.merchant_id FROM app.inbound_return n WHERE n.id = subject)
        WHEN what LIKE 'closure.%' THEN (SELECT c.merchant_id FROM app.closure c WHERE c.id = subject)
        WHEN what LIKE 'dispute.%' THEN (SELECT d.merchant_id FROM app.dispute d WHERE d.id = subject)
        WHEN what LIKE 'retention.%' THEN (SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject)
        WHEN what LIKE 'merchant.%' THEN (SELECT m.id FROM app.merchant m WHERE m.id = subject)
        WHEN what LIKE 'user.%' THEN (SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject)
        ELSE (SELECT m.id FROM app.merchant m WHERE m.id = subject
              UNION ALL SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject) END;

CREATE OR REPLACE FUNCTION app.lock_subject(subject text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    -- A partner that is switched on or off makes a new version of all plans: that lock comes first, as with whoever plans.
    IF EXISTS (SELECT 1 FROM app.partner t WHERE t.code = subject) THEN PERFORM app.lock_plan_version(true); END IF;
    PERFORM 1 FROM app.merchant WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT u.merchant_id FROM app.end_user u WHERE u.id = subject
            UNION ALL SELECT p.merchant_id FROM app.payment p WHERE p.id = subject
            UNION ALL SELECT r.merchant_id FROM app.refund r WHERE r.id = subject
            UNION ALL SELECT o.merchant_id FROM app.payout o WHERE o.id = subject
            UNION ALL SELECT f.merchant_id FROM app.fx f WHERE f.id = subject
            UNION ALL SELECT w.merchant_id FROM app.waiver_application w WHERE w.id = subject
            UNION ALL SELECT k.merchant_id FROM app.closure k WHERE k.id = subject
            UNION ALL SELECT d.merchant_id FROM app.dispute d WHERE d.id = subject
            UNION ALL SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        FOR KEY SHARE;
    PERFORM 1 FROM app.payment p WHERE p.id = coalesce(
        (SELECT r.payment_id FROM app.refund r WHERE r.id = subject), subject) FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user u WHERE u.id = coalesce(
        (SELECT o.user_id FROM app.payout o WHERE o.id = subject), (SELECT f.user_id FROM app.fx f WHERE f.id = subject),
        (SELECT k.user_id FROM app.closure k WHERE k.id = subject), (SELECT d.user_id FROM app.dispute d WHERE d.id = subject), subject)
        FOR NO KEY UPDATE;
    PERFORM 1 FROM app.refund WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.payout WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.fx WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.inbound_return WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner WHERE code = subject FOR UPDATE;
    PERFORM 1 FROM app.waiver_application WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.case_record WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.closure WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.dispute WHERE id = subject FOR UPDATE;
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
    IF what LIKE 'inbound.%' THEN RETURN app.why_not_inbound(what, subject, more, at); END IF;
    IF what LIKE 'closure.%' OR what LIKE 'dispute.%' OR what LIKE 'retention.%' THEN
        RETURN app.why_not_closure(what, subject, more, at);
    END IF;
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
            -- Money that is nobody's is not put aside by a note: it is assigned, or goes back.
            EXISTS (SELECT 1 FROM app.case_record c WHERE c.id = subject AND c.state = 'open' AND NOT EXISTS (
                SELECT 1 FROM app.inbound b WHERE b.id = app.inbound_of_case(c) AND b.state IN ('suspense', 'returning')))
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

CREATE OR REPLACE FUNCTION app.carry_out(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    CASE
    WHEN d.kind LIKE 'screening.%' THEN PERFORM app.carry_out_screening(d);
    WHEN d.kind LIKE 'review.%' THEN PERFORM app.carry_out_review(d);
    WHEN d.kind LIKE 'settlement.%' THEN PERFORM app.carry_out_settlement(d);
    WHEN d.kind LIKE 'inbound.%' THEN PERFORM app.carry_out_inbound(d);
    WHEN d.kind LIKE 'closure.%' OR d.kind LIKE 'dispute.%' OR d.kind LIKE 'retention.%' THEN PERFORM app.carry_out_closure(d);
    WHEN d.kind IN ('waiver.approve', 'waiver.reject') THEN PERFORM app.decide_waiver(d);
    WHEN d.kind = 'user.suspend' THEN
        PERFORM app.place_restriction(d, 'suspension', NULL);
        UPDATE app.end_user SET state = 'suspended' WHERE id = d.subject_id AND d.detail->>'function' IS NULL;
    WHEN d.kind = 'merchant.suspend' THEN
        PERFORM app.place_restriction(d, 'suspension', NULL);
        UPDATE app.merchant SET state = 'suspended' WHERE id = d.subject_id AND d.detail->>'function' IS NULL;
    WHEN d.kind IN ('user.resume', 'merchant.resume', 'funds.release') THEN PERFORM app.lift_restrictions(d);
    WHEN d.kind = 'funds.freeze' THEN PERFORM app.place_restriction(d, 'freeze', NULL);
    WHEN d.kind = 'authority_order.register' THEN PERFORM app.register_authority_order(d);
    WHEN d.kind IN ('partner.disable', 'partner.enable') THEN
        UPDATE app.partner SET enabled = d.kind = 'partner.enable', changed_at = d.decided_at WHERE code = d.subject_id;
    WHEN d.kind = 'case.resolve' THEN
        UPDATE app.case_record SET state = 'resolved', resolved_by = d.id, resolved_at = d.decided_at
            WHERE id = d.subject_id;
    WHEN d.kind = 'instruction.withdraw' THEN
        UPDATE app.payment SET withdrawn_by = d.id WHERE id = d.subject_id;
        UPDATE app.refund SET withdrawn_by = d.id WHERE id = d.subject_id;
        UPDATE app.payout SET withdrawn_by = d.id WHERE id = d.subject_id;
        UPDATE app.fx SET withdrawn_by = d.id WHERE id = d.subject_id;
    WHEN d.kind = 'instruction.conclude' THEN
        UPDATE app.payment SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.refund SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.payout SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.fx SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.inbound_return SET concluded_by = d.id WHERE id = d.subject_id;
    END CASE;
END $$;
