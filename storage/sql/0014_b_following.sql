-- What banks say of foreign currency, what people decide about it, and what of it nobody looks after. Former bodies:
-- 0008_6_following.sql (app.record_callback), 0009_4_decisions.sql, 0009_5_carrying_out.sql (app.carry_out),
-- 0009_6_following.sql (app.check_decision).

CREATE OR REPLACE FUNCTION app.record_callback(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    e app.effect;
    fresh boolean;
BEGIN
    INSERT INTO app.bank_callback (bank_code, notice_id, request_number, received_at)
        VALUES (i->>'bank_code', i->>'notice_id', i->>'request_number', (i->>'now')::timestamptz)
        ON CONFLICT DO NOTHING;
    fresh := FOUND;
    SELECT * INTO e FROM app.effect WHERE request_number = i->>'request_number' AND bank_code = i->>'bank_code';
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, partner, request_number)
        VALUES ((i->>'now')::timestamptz, 'bank', 'bank_callback',
            CASE WHEN fresh AND e.request_number IS NOT NULL THEN 'done' ELSE 'refused' END,
            CASE WHEN NOT fresh THEN 'duplicate' WHEN e.request_number IS NULL THEN 'request_number_unknown' END,
            e.subject_id, i->>'bank_code', CASE WHEN e.request_number IS NOT NULL THEN e.request_number END);
    -- What was paid out may well come back days later; what was never paid out cannot.
    IF fresh AND (e.step IN ('RF', 'LR', 'PO', 'FX', 'FR', 'IR') AND e.outcome = 'declined' AND i->>'announces' IN ('succeeded', 'returned')
                  OR e.step IN ('DB', 'RF', 'LR', 'PO', 'FX', 'FR', 'IR') AND e.outcome = 'succeeded' AND i->>'announces' = 'declined') THEN
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || e.request_number, 'operator_needed', e.subject_id, x.merchant_id, (i->>'now')::timestamptz
            FROM (SELECT p.id, p.merchant_id FROM app.payment p UNION ALL SELECT r.id, r.merchant_id FROM app.refund r
                  UNION ALL SELECT o.id, o.merchant_id FROM app.payout o UNION ALL SELECT f.id, f.merchant_id FROM app.fx f
                  UNION ALL SELECT n.id, n.merchant_id FROM app.inbound_return n) x
            WHERE x.id = e.subject_id ON CONFLICT DO NOTHING;
    END IF;
    RETURN jsonb_build_object('fresh', fresh, 'subject_id', e.subject_id, 'step', e.step, 'outcome', e.outcome,
        'state', (SELECT p.state FROM app.payment p WHERE p.id = e.subject_id
                  UNION ALL SELECT r.state FROM app.refund r WHERE r.id = e.subject_id
                  UNION ALL SELECT o.state FROM app.payout o WHERE o.id = e.subject_id
                  UNION ALL SELECT f.state FROM app.fx f WHERE f.id = e.subject_id
                  UNION ALL SELECT n.state FROM app.inbound_return n WHERE n.id = e.subject_id
                  UNION ALL SELECT a.state FROM app.receiving_account a WHERE a.id = e.subject_id));
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
            UNION ALL SELECT c.merchant_id FROM app.case_record c WHERE c.id = subject)
        FOR KEY SHARE;
    PERFORM 1 FROM app.payment p WHERE p.id = coalesce(
        (SELECT r.payment_id FROM app.refund r WHERE r.id = subject), subject) FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user u WHERE u.id = coalesce(
        (SELECT o.user_id FROM app.payout o WHERE o.id = subject), (SELECT f.user_id FROM app.fx f WHERE f.id = subject), subject)
        FOR NO KEY UPDATE;
    PERFORM 1 FROM app.refund WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.payout WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.fx WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.inbound_return WHERE id = subject FOR NO KEY UPDATE;
    PERFORM 1 FROM app.partner WHERE code = subject FOR UPDATE;
    PERFORM 1 FROM app.waiver_application WHERE id = subject FOR UPDATE;
    PERFORM 1 FROM app.case_record WHERE id = subject FOR UPDATE;
END $$;

CREATE OR REPLACE FUNCTION app.parked_step(subject text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce((SELECT e.request_number FROM app.effect e WHERE e.subject_id = subject AND e.step = s.step
            ORDER BY e.claimed_at DESC, e.request_number DESC LIMIT 1), s.step)
        FROM (SELECT CASE p.state WHEN 'unknown' THEN 'DB' ELSE 'LR' END AS step FROM app.payment p
                WHERE p.id = subject AND p.state IN ('unknown', 'late_refunding') AND p.wait_reason = 'operator'
              UNION ALL SELECT 'RF' FROM app.refund r
                WHERE r.id = subject AND r.state = 'unknown' AND r.wait_reason = 'operator'
              UNION ALL SELECT 'PO' FROM app.payout o
                WHERE o.id = subject AND o.state = 'unknown' AND o.wait_reason = 'operator'
              UNION ALL SELECT CASE f.kind WHEN 'conversion' THEN 'FX' ELSE 'FR' END FROM app.fx f
                WHERE f.id = subject AND f.state = 'unknown' AND f.wait_reason = 'operator'
              UNION ALL SELECT 'IR' FROM app.inbound_return n
                WHERE n.id = subject AND n.state = 'unknown' AND n.wait_reason = 'operator') s);

-- A reversal cannot be withdrawn either once it was sent; before that it can, like every conversion.
CREATE OR REPLACE FUNCTION app.why_not_instruction(what text, subject text, more jsonb) RETURNS text LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog AS $$
DECLARE
    s record;
BEGIN
    -- A bank that was closed and has said no has booked nothing: such a payout is queued again, and not sent.
    SELECT p.state, p.claimed_at IS NOT NULL AS sent, p.withdrawn_by INTO s FROM app.payment p WHERE p.id = subject
        UNION ALL SELECT r.state, r.claimed_at IS NOT NULL, r.withdrawn_by FROM app.refund r WHERE r.id = subject
        UNION ALL SELECT o.state, o.claimed_at IS NOT NULL, o.withdrawn_by FROM app.payout o WHERE o.id = subject
        UNION ALL SELECT f.state, f.claimed_at IS NOT NULL, f.withdrawn_by FROM app.fx f WHERE f.id = subject;
    RETURN CASE
        WHEN what = 'instruction.withdraw' THEN CASE
            -- What is no instruction that can be withdrawn, such as a return, is not.
            WHEN s.state IS NULL THEN 'decision_not_applicable'
            WHEN s.sent THEN 'already_sent'
            WHEN s.withdrawn_by IS NOT NULL OR s.state NOT IN ('awaiting_code', 'ready', 'awaiting_confirmation', 'checking',
                'under_review', 'cooling_off', 'scheduled', 'waiting') THEN 'decision_not_applicable' END
        -- That it was dealt, and at what, is for the desk alone to say.
        WHEN more->>'outcome' = 'succeeded' AND subject LIKE 'fx%' THEN 'decision_not_applicable'
        -- Parked: its bank has no trace of it, or will not give back what came too late.
        WHEN app.parked_step(subject) IS NULL
            OR app.parked_step(subject) <> coalesce(more->>'request_number', app.parked_step(subject))
            THEN 'decision_not_applicable' END;
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

CREATE OR REPLACE FUNCTION app.check_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    d app.decision;
    s record;
    refused text;
BEGIN
    SELECT * INTO d FROM app.decision WHERE id = i->>'decision_id';
    SELECT p.merchant_id, p.withdrawn_by, p.concluded_by, p.state INTO s
        FROM app.payment p WHERE p.id = i->>'subject_id'
        UNION ALL SELECT r.merchant_id, r.withdrawn_by, r.concluded_by, r.state
        FROM app.refund r WHERE r.id = i->>'subject_id'
        UNION ALL SELECT o.merchant_id, o.withdrawn_by, o.concluded_by, o.state
        FROM app.payout o WHERE o.id = i->>'subject_id'
        UNION ALL SELECT f.merchant_id, f.withdrawn_by, f.concluded_by, f.state
        FROM app.fx f WHERE f.id = i->>'subject_id'
        UNION ALL SELECT nullif(n.merchant_id, ''), NULL, n.concluded_by, n.state
        FROM app.inbound_return n WHERE n.id = i->>'subject_id';
    refused := CASE WHEN d.id IS NULL THEN 'decision_not_found'
        WHEN d.subject_id <> i->>'subject_id' THEN 'decision_of_another'
        WHEN d.state <> 'committed' THEN 'decision_not_committed'
        WHEN d.kind = 'instruction.withdraw' AND s.withdrawn_by = d.id THEN
            CASE WHEN s.state NOT IN ('awaiting_code', 'ready', 'awaiting_confirmation', 'checking', 'under_review',
                'cooling_off', 'scheduled', 'waiting') THEN 'state_conflict' END
        WHEN d.kind = 'instruction.conclude' AND s.concluded_by = d.id THEN
            CASE WHEN NOT app.is_concluded(d.id, d.subject_id) THEN 'state_conflict' END
        ELSE 'decision_of_another_kind' END;
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, detail)
        VALUES ('check:' || (i->>'subject_id') || ':' || left(i->>'decision_id', 40) || ':' || coalesce(refused, 'holds'),
            (i->>'now')::timestamptz, 'process', 'check_decision', CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END,
            refused, i->>'subject_id', s.merchant_id, jsonb_build_object('decision_id', left(i->>'decision_id', 40)))
        ON CONFLICT (key) DO NOTHING;
    RETURN jsonb_build_object('holds', refused IS NULL, 'refusal', refused,
        'kind', CASE WHEN refused IS NULL THEN d.kind END, 'detail', CASE WHEN refused IS NULL THEN d.detail END);
END $$;

-- What of foreign currency nobody looks after: accepted and not started, decided and not done, announced and not asked about; and
-- what may go on, because what was in its way is gone.
CREATE FUNCTION app.unattended_fx(at timestamptz, older_than interval, most int)
    RETURNS TABLE (kind text, id text, decision_id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        (SELECT 'settle_fx', f.id, NULL::text FROM app.fx f WHERE f.process_started_at IS NULL AND f.state = 'waiting'
            AND f.accepted_at < at - older_than ORDER BY f.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'return_inbound', r.id, NULL FROM app.inbound_return r WHERE r.process_started_at IS NULL AND r.state = 'ready'
            AND r.accepted_at < at - older_than ORDER BY r.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'open_receiving_account', a.id, NULL FROM app.receiving_account a WHERE a.process_started_at IS NULL
            AND a.state = 'opening' AND a.accepted_at < at - older_than ORDER BY a.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'receive_inbound', n.bank_code || '-' || n.reference, NULL FROM app.inbound_notice n WHERE n.outcome IS NULL
            AND n.received_at < at - older_than ORDER BY n.received_at LIMIT most)
        UNION ALL
        (SELECT 'decision', f.id, d.id FROM app.fx f JOIN app.decision d ON d.id = coalesce(f.concluded_by, f.withdrawn_by)
            WHERE f.state IN ('waiting', 'unknown') AND d.decided_at < at - older_than
              AND (d.kind <> 'instruction.conclude' OR app.is_concluded(d.id, f.id)) ORDER BY d.decided_at LIMIT most)
        UNION ALL
        (SELECT 'decision', r.id, d.id FROM app.inbound_return r JOIN app.decision d ON d.id = r.concluded_by
            WHERE r.state = 'unknown' AND d.decided_at < at - older_than AND app.is_concluded(d.id, r.id)
            ORDER BY d.decided_at LIMIT most)
        UNION ALL
        (SELECT 'tell_fx', f.id, NULL FROM app.fx f WHERE f.state = 'waiting'
            AND f.wait_reason IN ('freeze', 'authority_order', 'partner', 'authority_rate') AND f.process_started_at IS NOT NULL
            AND (f.wait_reason <> 'authority_rate' OR (app.authority_rate_at(f.currency, at)).usd_e8 IS NOT NULL)
            AND CASE f.wait_reason WHEN 'partner' THEN EXISTS (
                    -- Any desk will do, but for what takes back a deal: that takes the desk that made it.
                    SELECT 1 FROM app.fx_office o JOIN app.partner t ON t.code = o.bank_code AND t.enabled
                    WHERE f.currency = ANY (o.currencies) AND (f.kind = 'conversion' OR o.bank_code = f.desk))
                ELSE app.fx_obstacle(f, at) IS NULL END ORDER BY f.accepted_at LIMIT most);
    END;

-- What has not ended and has not moved for long, by id; what sleeps until an instant is overdue only after it.
CREATE FUNCTION app.unfinished_fx(at timestamptz, older_than interval, after text, most int)
    RETURNS TABLE (kind text, id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT x.kind, x.id FROM (
            SELECT 'settle_fx' AS kind, f.id FROM app.fx f WHERE f.state IN ('waiting', 'sending', 'unknown', 'converted')
                AND f.process_started_at IS NOT NULL
                AND greatest(f.state_since, CASE f.state WHEN 'waiting' THEN f.slot_at END) < at - older_than
            UNION ALL
            SELECT 'return_inbound', r.id FROM app.inbound_return r WHERE r.state IN ('ready', 'sending', 'unknown')
                AND r.process_started_at IS NOT NULL AND r.state_since < at - older_than
            UNION ALL
            SELECT 'open_receiving_account', a.id FROM app.receiving_account a WHERE a.state = 'opening'
                AND a.process_started_at IS NOT NULL AND a.state_since < at - older_than) x
        WHERE x.id > after ORDER BY x.id LIMIT most;
    END;

-- What has left the mainland, by recipient, in a calendar year: persons, disclosures, and which fields (P6b, L7).
CREATE FUNCTION app.export_counts(of_year int) RETURNS TABLE (recipient text, persons bigint, disclosures bigint, fields text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT d.recipient, count(DISTINCT coalesce(u.person_index, d.user_id)), count(DISTINCT d.disclosure_id),
            array_agg(DISTINCT x.field ORDER BY x.field)
        FROM vault.disclosure d CROSS JOIN LATERAL unnest(d.fields) AS x (field) LEFT JOIN app.end_user u ON u.id = d.user_id
        WHERE d.cross_border AND app.year_of(d.at) = of_year GROUP BY d.recipient ORDER BY d.recipient;
    END;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.receiving_account_view(app.receiving_account), app.inbound_view(app.inbound),
    app.inbound_return_view(app.inbound_return), app.fx_mandate_view(app.fx_mandate), app.fx_view(app.fx) TO {app}, {ops};
GRANT EXECUTE ON FUNCTION app.accept_receiving_account(jsonb), app.accept_fx_mandate(jsonb), app.end_fx_mandate(jsonb),
    app.accept_fx(jsonb), app.dispose_of_fx(jsonb), app.receiver_of(text, text, text, text), app.receive_inbound(jsonb),
    app.no_such_inbound(text, text, timestamptz), app.doubt_inbound(jsonb), app.announce_inbound(text, text, text, timestamptz),
    app.fx_planning_facts(text), app.plan_fx(jsonb), app.fx_to_replan(bigint, timestamptz, text, int),
    app.version_to_replan_fx(timestamptz, interval), app.claim_fx_effect(jsonb), app.settle_fx(jsonb), app.open_reversal(jsonb),
    app.fx_standing(text, timestamptz), app.value_date_ahead(text, text, timestamptz), app.unattended_fx(timestamptz, interval, int),
    app.unfinished_fx(timestamptz, interval, text, int) TO {app};
GRANT EXECUTE ON FUNCTION app.export_counts(int) TO {ops};
