-- What follows from a decision in the transaction that commits it. Former bodies: 0007_2_effects.sql, 0007_3_decisions.sql
-- (app.request_decision).

-- When what a decision places ends by itself, or NULL. A regulator's temporary freeze lapses 48 hours after it was placed, to
-- the second, and nothing but a new order prolongs it (L12).
CREATE FUNCTION app.end_of_restriction(d app.decision) RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE WHEN d.detail->>'demands' = 'temporary_freeze' THEN d.decided_at + interval '48 hours'
        ELSE coalesce(d.detail->>'ends_at', d.detail->>'expires_at')::timestamptz END;

-- The id of what a decision places in one relation: like the decision's for its subject, and derived for the others.
CREATE FUNCTION app.restriction_id(placed_by text, subject text, relation text) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN 'rst_' || CASE WHEN relation = subject THEN split_part(placed_by, '_', 2)
        ELSE left(split_part(placed_by, '_', 2), 10) || upper(left(md5(placed_by || relation), 16)) END;

-- Places a restriction in the relation that a decision is about, or in every one of that person. A freeze of all funds takes
-- the place of the one there was, with its own approval and reason (A8.3); one of an amount stands beside others, unless it
-- says which one it prolongs.
CREATE OR REPLACE FUNCTION app.place_restriction(d app.decision, what text, until timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    amount bigint := (d.detail->>'amount_minor')::bigint;
    relation record;
BEGIN
    UPDATE app.restriction r SET lifted_by = d.id, lifted_at = d.decided_at
        WHERE r.id = app.prolonged(d.kind, d.subject_id, d.detail, d.decided_at);
    FOR relation IN SELECT x.* FROM app.relations_of(d.subject_id, d.detail->>'scope') x ORDER BY x.id LOOP
        UPDATE app.restriction r SET lifted_by = d.id, lifted_at = d.decided_at
            WHERE what = 'freeze' AND amount IS NULL AND r.kind = 'freeze' AND r.amount_minor IS NULL
              AND r.subject_id = relation.id AND r.function IS NOT DISTINCT FROM d.detail->>'function'
              AND r.lifted_at IS NULL;
        INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at, review_at,
                ends_at, of_funds, amount_minor, currency, scope)
            VALUES (app.restriction_id(d.id, d.subject_id, relation.id), what, relation.id, relation.merchant_id,
                d.detail->>'function', d.ground, d.id, d.decided_at,
                CASE what WHEN 'authority_order' THEN NULL ELSE (d.detail->>'review_at')::timestamptz END,
                CASE what WHEN 'suspension' THEN NULL ELSE app.end_of_restriction(d) END,
                what = 'authority_order' AND d.detail->>'demands' IN ('freeze', 'temporary_freeze'), amount,
                d.detail->>'currency', coalesce(d.detail->>'scope', 'relation'));
    END LOOP;
    IF amount IS NOT NULL THEN
        PERFORM ledger.open_accounts(ARRAY['frozen:' || d.subject_id || ':' || (d.detail->>'currency')]);
        PERFORM app.rearrange_funds(d.subject_id, d.decided_at, 'decision:' || d.id);
    END IF;
END $$;

-- Payouts of an owner that waited for what is over now: their processes are told.
CREATE FUNCTION app.tell_waiting_payouts(owner text, at timestamptz) RETURNS void LANGUAGE sql SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.payout_to_tell (payout_id, since) SELECT o.id, at FROM app.payout o
            WHERE coalesce(o.user_id, o.merchant_id) = owner AND o.state = 'scheduled' AND o.stopped_by IS NULL
              AND o.wait_reason IN ('freeze', 'authority_order') ON CONFLICT DO NOTHING;
    END;

-- Ends what freezes had stopped, where those who lift them say so: it was withdrawn, before it was sent, by two persons.
CREATE FUNCTION app.end_stopped_payouts(stopped_by_any text[], at timestamptz, actor text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    p app.payout;
    ids text[];
BEGIN
    SELECT coalesce(array_agg(o.id ORDER BY o.id), '{}') INTO ids FROM app.payout o WHERE o.stopped_by = ANY (stopped_by_any)
        AND o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled');
    PERFORM 1 FROM app.payout o WHERE o.id = ANY (ids) ORDER BY o.id FOR NO KEY UPDATE;
    PERFORM app.lock_payout_limits(ids);
    PERFORM app.release_payout_limits(ids);
    -- Their holds are the freeze's; what was kept for them goes with the rest of the owner's money, in one posting.
    FOR p IN UPDATE app.payout o SET state = 'failed', state_since = at, reason = 'withdrawn', wait_reason = NULL,
            wait_until = NULL, wait_deadline = NULL, limits_released = true WHERE o.id = ANY (ids) RETURNING o.* LOOP
        PERFORM app.note_payout(p, 'payout.failed', at, actor, 'end_payout', 'withdrawn');
        INSERT INTO app.payout_to_tell VALUES (p.id, at) ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- The same for freezes of all funds. Those took nothing of the holds, and stood in the way of everything that was not sent.
CREATE FUNCTION app.end_held_up_payouts(lifted app.restriction[], at timestamptz, actor text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    p app.payout;
    ids text[];
BEGIN
    SELECT coalesce(array_agg(DISTINCT o.id), '{}') INTO ids FROM app.payout o
        JOIN unnest(lifted) l ON l.subject_id = coalesce(o.user_id, o.merchant_id) AND app.is_freeze(l)
            AND l.amount_minor IS NULL AND coalesce(l.function, 'payout') = 'payout'
        WHERE o.state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled')
          AND o.stopped_by IS NULL;
    PERFORM 1 FROM app.payout o WHERE o.id = ANY (ids) ORDER BY o.id FOR NO KEY UPDATE;
    PERFORM app.lock_payout_limits(ids);
    -- In the order of accounts, of which each end posts on its own.
    FOR p IN SELECT o.* FROM app.payout o LEFT JOIN ledger.account a ON a.code = o.source_account
            WHERE o.id = ANY (ids) AND o.claimed_at IS NULL ORDER BY a.id, o.id LOOP
        PERFORM app.end_payout(p, 'failed', 'withdrawn', at, actor, 'payout.failed');
        INSERT INTO app.payout_to_tell VALUES (p.id, at) ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- Whole suspensions are also a state, which everything that is accepted looks at.
CREATE OR REPLACE FUNCTION app.lift_restrictions(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    lifted app.restriction[];
    owner text;
BEGIN
    WITH ended AS (
        UPDATE app.restriction r SET lifted_by = d.id, lifted_at = d.decided_at
        WHERE r.id IN (SELECT f.id FROM app.in_force(d.kind, d.subject_id, d.detail) f) RETURNING r.*)
    SELECT coalesce(array_agg(e::app.restriction), '{}') INTO lifted FROM ended e;
    IF NOT EXISTS (SELECT 1 FROM app.restriction r WHERE r.subject_id = d.subject_id AND r.lifted_at IS NULL
            AND r.kind = 'suspension' AND r.function IS NULL) THEN
        UPDATE app.end_user SET state = 'active' WHERE id = d.subject_id AND state = 'suspended'
            AND d.kind = 'user.resume';
        UPDATE app.merchant SET state = 'active' WHERE id = d.subject_id AND d.kind = 'merchant.resume';
    END IF;
    IF d.detail->>'stopped_payouts' = 'end' THEN
        PERFORM app.end_held_up_payouts(lifted, d.decided_at, 'decision:' || d.id);
    END IF;
    -- Amounts are frozen in one relation at a time, so that there is one owner and one posting.
    IF EXISTS (SELECT 1 FROM unnest(lifted) l WHERE l.amount_minor IS NOT NULL) THEN
        IF d.detail->>'stopped_payouts' = 'end' THEN
            PERFORM app.end_stopped_payouts(ARRAY(SELECT l.id FROM unnest(lifted) l), d.decided_at, 'decision:' || d.id);
        END IF;
        PERFORM app.rearrange_funds(d.subject_id, d.decided_at, 'decision:' || d.id);
    END IF;
    FOR owner IN SELECT DISTINCT l.subject_id FROM unnest(lifted) l ORDER BY 1 LOOP
        PERFORM app.tell_waiting_payouts(owner, d.decided_at);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION app.register_authority_order(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.authority_order (id, decision_id, issuer, number, demands, subject_id, function, expires_at,
            registered_at)
        VALUES ('ord_' || split_part(d.id, '_', 2), d.id, d.detail->>'issuer', d.detail->>'number', d.detail->>'demands',
            d.subject_id, d.detail->>'function', app.end_of_restriction(d), d.decided_at);
    IF d.detail->>'demands' IN ('hold', 'freeze', 'temporary_freeze') THEN
        PERFORM app.place_restriction(d, 'authority_order', NULL);
    ELSIF d.detail->>'demands' = 'release' THEN
        PERFORM app.lift_restrictions(d);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION app.carry_out(d app.decision) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    CASE
    WHEN d.kind LIKE 'screening.%' THEN PERFORM app.carry_out_screening(d);
    WHEN d.kind LIKE 'review.%' THEN PERFORM app.carry_out_review(d);
    WHEN d.kind LIKE 'settlement.%' THEN PERFORM app.carry_out_settlement(d);
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
    WHEN d.kind = 'instruction.conclude' THEN
        UPDATE app.payment SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.refund SET concluded_by = d.id WHERE id = d.subject_id;
        UPDATE app.payout SET concluded_by = d.id WHERE id = d.subject_id;
    END CASE;
END $$;

-- Whether a decision takes a second person: always, or above an amount. An amount that nobody can tell is above it.
CREATE FUNCTION app.takes_two(k app.decision_kind, subject text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN k.second_person OR k.second_person_above_minor IS NOT NULL
        AND coalesce(app.amount_of_review(subject) > k.second_person_above_minor, true);

-- item: {now, request_id, operator_id, id, kind, subject_id, ground, reason, detail}
CREATE OR REPLACE FUNCTION app.request_decision(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    who text := i->>'operator_id';
    k app.decision_kind;
    d app.decision;
    prior app.decision;
    obstacle text;
    two boolean;
BEGIN
    d.id := i->>'id'; d.kind := i->>'kind'; d.subject_id := i->>'subject_id'; d.ground := i->>'ground';
    d.detail := coalesce(i->'detail', '{}');
    d.merchant_id := app.merchant_of_subject(d.kind, d.subject_id);
    SELECT * INTO k FROM app.decision_kind WHERE kind = d.kind;
    two := app.takes_two(k, d.subject_id);
    PERFORM 1 FROM app.operator WHERE id = who FOR SHARE;
    IF k.kind IS NULL THEN
        obstacle := 'decision_kind_unknown';
    ELSIF NOT app.operator_may(who, k.request_permission, instant)
        OR NOT two AND NOT app.operator_may(who, k.approve_permission, instant) THEN
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
            VALUES (d.id, d.kind, d.subject_id, d.merchant_id, d.ground, i->>'reason', d.detail, two, who,
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
    IF prior.second_person THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.decision_view(prior));
    END IF;
    RETURN app.end_decision(prior, i, who, k.longest_seconds);
END $$;
