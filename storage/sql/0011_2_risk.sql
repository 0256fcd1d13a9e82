-- Assessing a payout: its facts, and what follows from the verdict. Merchants learn that it waits, or that it was refused, and
-- never by what (L5).

-- The facts by which rules judge a payout (`domain/risk.py`, RiskInputs): identifiers, amounts and instants, of the last 30
-- days and of at most so many rows. Who is linked (A1.4): the same person at another merchant, and who is paid to the same
-- account.
CREATE FUNCTION app.risk_inputs(payout_id text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$
    WITH p AS MATERIALIZED (SELECT o.* FROM app.payout o WHERE o.id = payout_id),
    y AS MATERIALIZED (SELECT e.* FROM app.payee e JOIN p ON p.payee_id = e.id),
    account AS MATERIALIZED (
        SELECT DISTINCT e.user_id, coalesce(u.person_index, u.id) AS person
        FROM y JOIN app.payee e ON e.account_index = y.account_index AND e.state <> 'removed'
        JOIN app.end_user u ON u.id = e.user_id ORDER BY 1 LIMIT 50),
    linked AS MATERIALIZED (
        SELECT x.user_id, min(x.by) AS by FROM (
            SELECT p.user_id, '0self' AS by FROM p WHERE p.user_id IS NOT NULL
            UNION ALL
            (SELECT o.id, '1person' FROM p JOIN app.end_user u ON u.id = p.user_id
                JOIN app.end_user o ON o.person_index = u.person_index AND o.id <> u.id LIMIT 20)
            UNION ALL
            SELECT a.user_id, '2account' FROM account a) x
        GROUP BY x.user_id),
    collected AS (
        SELECT c.id, c.amount_minor, c.currency, c.state_since AS at_, b.card_type, substr(l.by, 2) AS by
        FROM linked l CROSS JOIN p CROSS JOIN LATERAL (
            SELECT m.* FROM app.payment m WHERE m.user_id = l.user_id ORDER BY m.id DESC LIMIT 200) c
        JOIN app.binding b ON b.id = c.binding_id
        WHERE c.state = 'succeeded' AND c.state_since > at - interval '30 days' AND c.state_since <= at
          AND c.payee_kind = CASE p.kind WHEN 'merchant_settlement' THEN 'merchant' ELSE 'user' END
          AND (p.kind <> 'merchant_settlement' OR c.merchant_id = p.merchant_id)
          AND c.refunded_minor + c.refunding_minor < c.amount_minor
        ORDER BY c.state_since DESC LIMIT 100),
    -- What the payer ordered before this one, in the order in which it was accepted.
    before AS (
        SELECT q.id, q.amount_minor, q.currency, q.accepted_at, q.payee_id = p.payee_id AS same_payee
        FROM p CROSS JOIN LATERAL (
            SELECT o.* FROM app.payout o WHERE o.user_id = p.user_id ORDER BY o.id DESC LIMIT 200) q
        WHERE q.id <> p.id AND q.state NOT IN ('failed', 'refused', 'closed') AND q.accepted_at <= p.accepted_at
          AND q.accepted_at > p.accepted_at - interval '30 days'
        ORDER BY q.accepted_at DESC LIMIT 100)
    SELECT jsonb_build_object(
        'payout_id', p.id, 'at', at, 'kind', p.kind, 'amount_minor', p.amount_minor, 'currency', p.currency,
        'accepted_at', coalesce(p.confirmed_at, p.accepted_at),
        'payee_created_at', coalesce((SELECT min(e.created_at) FROM app.payee e
            WHERE e.account_index = y.account_index AND e.user_id = p.user_id), y.created_at),
        'payee_first_paid_at', (SELECT min(o.booked_at) FROM app.payee e JOIN app.payout o ON o.payee_id = e.id
            WHERE e.account_index = y.account_index AND e.user_id IS NOT DISTINCT FROM p.user_id
              AND o.state = 'succeeded'),
        'relation', y.relation, 'name_match', y.name_match,
        'recipient', CASE
            WHEN p.kind <> 'merchant_settlement' AND (y.relation = 'own' OR y.name_match = 'match') THEN 'same'
            WHEN EXISTS (SELECT 1 FROM account a WHERE a.user_id IS DISTINCT FROM p.user_id) THEN 'linked'
            ELSE 'other' END,
        'payouts', (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.accepted_at DESC, f.id), '[]') FROM before f),
        'collections', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'amount_minor', c.amount_minor,
            'currency', c.currency, 'collected_at', c.at_, 'card_type', c.card_type, 'by', c.by)
            ORDER BY c.at_ DESC, c.id), '[]') FROM collected c),
        'users_of_account', (SELECT count(DISTINCT a.person) FROM account a),
        'linked_users', (SELECT coalesce(jsonb_agg(l.user_id ORDER BY l.user_id), '[]') FROM linked l
            WHERE l.user_id IS DISTINCT FROM p.user_id),
        'reported_at', (SELECT max(r.received_at) FROM app.user_report r WHERE r.user_id = p.user_id
            AND r.received_at > at - interval '30 days'))
    FROM p CROSS JOIN y
$$;

-- What an assessment begins with. item: {payout_id, now}; answers {state, answer, inputs, settled, user, payee}: `answer` if it
-- was given before; `settled` are rules that this payout has been through, waited out or approved by a reviewer.
CREATE FUNCTION app.begin_assessment(i jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout;
    y app.payee;
BEGIN
    SELECT * INTO p FROM app.payout WHERE id = i->>'payout_id';
    IF p.id IS NULL THEN RETURN NULL; END IF;
    SELECT * INTO y FROM app.payee WHERE id = p.payee_id;
    RETURN jsonb_build_object('state', p.state, 'merchant_id', p.merchant_id,
        'answer', (SELECT d.answer FROM app.risk_decision d WHERE d.payout_id = p.id AND d.asked_at = instant),
        'inputs', app.risk_inputs(p.id, instant),
        'settled', (SELECT coalesce(jsonb_agg(DISTINCT h.value->>'rule'), '[]') FROM app.risk_decision d
            CROSS JOIN LATERAL jsonb_array_elements(d.hits) h
            WHERE d.payout_id = p.id AND (h.value->>'outcome' = 'review' AND d.outcome = 'review'
                OR h.value->>'outcome' = 'delay' AND d.outcome = 'delay'
                   AND (d.answer->>'cool_until')::timestamptz <= instant)),
        'subjects', (SELECT coalesce(jsonb_agg(s.subject), '[]') FROM (
            SELECT app.screening_subject_of(p.user_id) AS subject WHERE p.user_id IS NOT NULL
            UNION ALL SELECT app.screening_subject_of(y.id)) s WHERE s.subject IS NOT NULL));
END $$;

-- Cases that a hit opens for a person to look at; one of a kind for one payout.
CREATE FUNCTION app.open_risk_cases(p app.payout, i jsonb, at timestamptz) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog AS $$
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
        SELECT c.id, c.kind, p.id, p.merchant_id, at, ARRAY(SELECT DISTINCT m.value
            FROM jsonb_array_elements(i->'hits') h CROSS JOIN LATERAL jsonb_array_elements_text(
                coalesce(h.value->'observed'->'payments', '[]')) m WHERE h.value->>'case' = c.kind ORDER BY 1)
        FROM jsonb_to_recordset(coalesce(i->'cases', '[]')) AS c (id text, kind text)
        WHERE NOT EXISTS (SELECT 1 FROM app.case_record k WHERE k.subject_id = p.id AND k.kind = c.kind)
        ON CONFLICT (id) DO NOTHING
$$;

-- What the verdict does to the payout (a review is opened by 0012); answers {outcome, state, cool_until, review, reason}.
CREATE FUNCTION app.follow_verdict(p app.payout, i jsonb, at timestamptz) RETURNS jsonb LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    verdict text := i->>'outcome';
    cool timestamptz;
    clock jsonb;
BEGIN
    IF p.state <> 'checking' THEN
        -- It cooled off or had its slot, and a list has changed since.
        UPDATE app.payout o SET state = 'checking', state_since = at, wait_reason = 'risk_check', wait_until = NULL,
            wait_deadline = NULL WHERE o.id = p.id RETURNING o.* INTO p;
    END IF;
    IF verdict = 'delay' THEN
        -- Counted from the first look at it, so that a second one does not begin anew.
        cool := coalesce((SELECT min(d.asked_at) FROM app.risk_decision d WHERE d.payout_id = p.id), at)
            + make_interval(hours => (i->>'delay_hours')::int);
        IF cool <= at THEN verdict := 'pass'; END IF;
    END IF;
    IF verdict = 'review' THEN
        clock := app.open_review(p, (i->'hits') || coalesce(i->'match_hits', '[]'), at);
    END IF;
    UPDATE app.payout o SET risk_decision_id = i->>'decision_id', screened_version = (i->>'screened_version')::bigint
        WHERE o.id = p.id RETURNING o.* INTO p;
    IF verdict = 'delay' THEN
        UPDATE app.payout o SET state = 'cooling_off', state_since = at, cool_until = cool, wait_reason = 'cooling_off',
            wait_until = cool, wait_deadline = NULL, predicted_arrival_at = NULL, arrival_provisional = false WHERE o.id = p.id RETURNING o.* INTO p;
        PERFORM app.note_payout(p, 'payout.delayed', at, 'process', 'assess_payout', NULL);
    ELSIF verdict = 'review' THEN
        UPDATE app.payout o SET state = 'under_review', state_since = at, review_id = clock->>'review_id',
            wait_reason = 'review', wait_until = NULL, wait_deadline = (clock->>'expires_at')::timestamptz,
            predicted_arrival_at = NULL, arrival_provisional = false
            WHERE o.id = p.id RETURNING o.* INTO p;
        PERFORM app.note_payout(p, 'payout.under_review', at, 'process', 'assess_payout', NULL);
    ELSIF verdict = 'refuse' THEN
        p := app.end_payout(p, 'refused', 'risk_refused', at, 'process', 'payout.refused');
    END IF;
    RETURN jsonb_build_object('outcome', verdict, 'state', p.state, 'cool_until', cool, 'review', clock,
        'reason', CASE verdict WHEN 'refuse' THEN 'risk_refused' END);
END $$;

-- Commits an assessment. item: {now, payout_id, again, decision_id, rules_version, rules_fingerprint, inputs, hits, outcome,
-- delay_hours, cases, screening_outcome, screened_version, screened, matches, stop_user}; the same question (payout and
-- instant) answers the same. `unavailable` as outcome moves nothing and says in the payout what it waits for.
CREATE FUNCTION app.record_assessment(i jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout;
    d app.risk_decision;
    answer jsonb;
    kept text[];
BEGIN
    p := app.lock_payout(i->>'payout_id');
    IF p.id IS NULL THEN RETURN '{"outcome": "ended", "state": "unknown"}'; END IF;
    SELECT * INTO d FROM app.risk_decision WHERE payout_id = p.id AND asked_at = instant;
    IF d.id IS NULL AND NOT coalesce((i->>'again')::boolean, false) AND p.state IN ('cooling_off', 'under_review') THEN
        -- Decided already; a process that was run anew asks where it stands.
        SELECT * INTO d FROM app.risk_decision WHERE id = p.risk_decision_id;
    END IF;
    IF d.id IS NOT NULL THEN
        RETURN CASE WHEN p.state IN ('sending', 'unknown', 'succeeded', 'returned', 'failed', 'closed')
                OR p.state = 'refused' AND d.answer->>'outcome' <> 'refuse'
            THEN jsonb_build_object('outcome', 'ended', 'state', p.state)
            ELSE d.answer || jsonb_build_object('state', p.state) END;
    END IF;
    IF NOT p.state = ANY (CASE WHEN (i->>'again')::boolean THEN ARRAY['checking', 'scheduled', 'cooling_off']
            ELSE ARRAY['checking'] END) THEN
        RETURN jsonb_build_object('outcome', 'ended', 'state', p.state);
    END IF;
    IF i->>'outcome' = 'unavailable' THEN
        IF p.wait_reason IS DISTINCT FROM 'screening' THEN
            UPDATE app.payout SET wait_reason = 'screening', wait_until = NULL WHERE id = p.id;
            PERFORM app.record_operation(instant, 'process', 'assess_payout', 'unknown', 'screening_unavailable', p.id, NULL);
        END IF;
        RETURN jsonb_build_object('outcome', 'unavailable', 'state', p.state);
    END IF;
    kept := app.keep_matches(i->'matches', (i->>'screened_version')::bigint, instant);
    PERFORM app.open_risk_cases(p, i, instant);
    IF (i->>'stop_user')::boolean THEN
        PERFORM app.stop_service(p.user_id, kept, instant);
    END IF;
    answer := app.follow_verdict(p, i || jsonb_build_object('match_hits', (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'rule', 'screening', 'kind', 'screening', 'outcome', 'review', 'match_id', f.id)), '[]') FROM unnest(kept) AS f (id))),
        instant);
    INSERT INTO app.risk_decision (id, payout_id, merchant_id, asked_at, rules_version, rules_fingerprint, inputs, hits,
            outcome, screening_outcome, screened_version, screened, matches, answer)
        VALUES (i->>'decision_id', p.id, p.merchant_id, instant, i->>'rules_version', i->>'rules_fingerprint', i->'inputs',
            i->'hits', answer->>'outcome', i->>'screening_outcome', (i->>'screened_version')::bigint,
            ARRAY(SELECT jsonb_array_elements_text(i->'screened')), kept, answer);
    INSERT INTO app.operation (key, at, actor, action, outcome, subject_id, merchant_id, detail)
        VALUES ('assessed:' || (i->>'decision_id'), instant, 'process', 'assess_payout', 'done', p.id, p.merchant_id,
            jsonb_build_object('risk_decision_id', i->>'decision_id', 'rules_version', i->>'rules_version'));
    RETURN answer;
END $$;
