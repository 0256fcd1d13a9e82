-- The send claim of a payout: the last moment at which anything can stop it. What stands in its way: its withdrawal, an
-- authority's order, a freeze or a suspended function, a suspended user, a bank that is switched off, lists that have changed
-- since it was screened, and its release slot. A suspended merchant's accepted payouts are finished (A0.3).
-- Former body of app.claim_effects: 0007_4_claims.sql.

-- What keeps a payout where it is for now, and passes: a bank that is switched off, a suspended user or function, a freeze, an
-- authority's order; or a bank that turned it away and has said since that it paid it all the same, until the case of that is
-- resolved, because what was perhaps paid is not sent once more. NULL if nothing does.
CREATE FUNCTION app.what_holds_up(p app.payout, instant timestamptz) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = p.bank_code AND t.enabled) THEN 'partner_not_available'
        WHEN EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = p.user_id AND u.state <> 'active') THEN 'user_not_active'
        WHEN EXISTS (SELECT 1 FROM app.effect e JOIN app.case_record c ON c.id = 'case_' || e.request_number
            WHERE e.subject_id = p.id AND e.step = 'PO' AND e.outcome = 'declined' AND c.state = 'open')
            THEN 'bank_contradicts_itself'
        ELSE coalesce(
            app.restricted('payout', p.user_id, p.merchant_id, coalesce(p.user_id, p.merchant_id), instant, false),
            app.payout_obstacle(p, instant),
            -- Its money is in a freeze, so that nothing is held for it.
            CASE WHEN p.stopped_by IS NOT NULL THEN 'funds_frozen' END) END;

-- Whether every number under which a payout was sent, but for one, has the bank's definite no.
CREATE FUNCTION app.nothing_is_at_the_bank(payout_id text, but_for text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN NOT EXISTS (SELECT 1 FROM app.effect e WHERE e.subject_id = payout_id AND e.step = 'PO'
        AND e.request_number IS DISTINCT FROM but_for AND e.outcome IS DISTINCT FROM 'declined');

-- Where a payout stands, for its process: {state, reason, obstacle, cool_until, review_id}.
CREATE FUNCTION app.payout_standing(payout_id text, at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('state', p.state, 'reason', p.reason, 'obstacle', app.what_holds_up(p, at),
            'cool_until', app.instant(p.cool_until), 'review_id', p.review_id)
        FROM app.payout p WHERE p.id = payout_id);

-- item: {item, now, kind: payout, id, step: PO, request_number, attempt, resend, remembered_since, disclosures}
-- answers: {ok, already, ...what the sender needs} or {ok: false, error, state, sent_before, slot_at}; `user_id` is whose key
-- the payee is sealed under: the user's, or for its own settlement the merchant's.
CREATE FUNCTION app.claim_one_payout(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout;
    y app.payee;
    prior app.effect;
    role text;
    again boolean;
    refusal text;
    opened jsonb;
    out jsonb;
BEGIN
    SELECT * INTO p FROM app.payout WHERE id = i->>'id' FOR NO KEY UPDATE;
    IF NOT FOUND OR i->>'step' <> 'PO' THEN RETURN '{"ok": false, "error": "not_found"}'; END IF;
    SELECT * INTO y FROM app.payee WHERE id = p.payee_id;
    PERFORM 1 FROM app.end_user u WHERE u.id = p.user_id FOR SHARE;
    SELECT t.role INTO role FROM app.partner t WHERE t.code = p.bank_code FOR KEY SHARE;
    SELECT * INTO prior FROM app.effect e WHERE e.request_number = i->>'request_number';
    out := jsonb_build_object('ok', true, 'already', prior.request_number IS NOT NULL, 'bank_code', p.bank_code,
        'user_id', coalesce(p.user_id, p.merchant_id), 'claimed_at', app.instant(coalesce(prior.claimed_at, instant)),
        'amount_minor', p.amount_minor, 'currency', p.currency, 'region', p.region, 'bank_id_kind', y.bank_id_kind,
        'bank_id', y.bank_id);
    IF prior.request_number IS NOT NULL AND NOT coalesce((i->>'resend')::boolean, false) THEN
        RETURN out || jsonb_build_object('state', p.state);
    END IF;
    again := prior.request_number IS NOT NULL;
    refusal := CASE
        WHEN p.withdrawn_by IS NOT NULL AND p.claimed_at IS NULL
            AND p.state NOT IN ('succeeded', 'returned', 'failed', 'refused', 'closed') THEN 'withdrawn'
        WHEN p.concluded_by IS NOT NULL AND app.is_concluded(p.concluded_by, p.id) THEN 'concluded_by_operators'
        -- A second number only after the bank's definite no to the first: it was closed, and booked nothing.
        WHEN NOT CASE WHEN again THEN p.state IN ('sending', 'unknown')
            ELSE p.state = 'scheduled' AND app.nothing_is_at_the_bank(p.id, NULL) END THEN 'state_conflict'
        WHEN again AND prior.claimed_at <= (i->>'remembered_since')::timestamptz THEN 'resend_window_over'
        ELSE coalesce(app.what_holds_up(p, instant), app.screening_obstacle(p),
            CASE WHEN NOT again THEN app.slot_obstacle(p, instant) END) END;
    IF refusal IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', refusal, 'state', p.state, 'sent_before', again,
            'slot_at', app.instant(p.slot_at));
    END IF;

    opened := vault.open_one(jsonb_build_object('user_id', coalesce(p.user_id, p.merchant_id), 'actor', 'process:' || p.id,
        'at', instant, 'tokens', (SELECT jsonb_agg(t.value) FROM jsonb_each_text(y.element_tokens) t), 'purpose', 'payout',
        'allowed_fields', '["name", "account_number"]'::jsonb));
    IF NOT (opened->>'ok')::boolean THEN
        RETURN jsonb_build_object('ok', false, 'error', 'personal_data_erased', 'state', p.state, 'sent_before', again);
    END IF;
    out := out || jsonb_build_object('sealed', opened->'items', 'state', 'sending');
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, partner, partner_role, request_number)
        VALUES (instant, 'process', CASE WHEN again THEN 'send_again_po' ELSE 'send_po' END, 'received', p.id, p.merchant_id,
            p.bank_code, role, i->>'request_number');
    IF again THEN RETURN out || jsonb_build_object('state', p.state); END IF;
    UPDATE app.payout SET state = 'sending', state_since = CASE state WHEN 'sending' THEN state_since ELSE instant END,
        claimed_at = coalesce(claimed_at, instant), wait_reason = 'bank_answer', wait_until = NULL, wait_deadline = NULL,
        process_started_at = coalesce(process_started_at, instant) WHERE id = p.id;
    INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)
        VALUES (i->>'request_number', p.id, 'PO', p.bank_code, role, instant);
    IF i->'disclosures' IS NOT NULL AND i->'disclosures' <> 'null' THEN
        PERFORM vault.record_disclosures(i->'disclosures');
    END IF;
    RETURN out;
END $$;

CREATE OR REPLACE FUNCTION app.claim_effects(items jsonb) RETURNS TABLE (item int, result jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    i jsonb;
    ids text[];
    payouts text[];
BEGIN
    -- One order of locks for everyone: merchants, payments, users, refunds, payouts, bindings; each by id. A decision on a
    -- merchant takes a lock that even this lightest one conflicts with.
    SELECT coalesce(array_agg(value->>'id') FILTER (WHERE value->>'kind' <> 'payout'), '{}'),
           coalesce(array_agg(value->>'id') FILTER (WHERE value->>'kind' = 'payout'), '{}')
        INTO ids, payouts FROM jsonb_array_elements(items);
    PERFORM 1 FROM app.merchant m WHERE m.id IN (
            SELECT p.merchant_id FROM app.payment p WHERE p.id = ANY (ids)
            UNION SELECT r.merchant_id FROM app.refund r WHERE r.id = ANY (ids)
            UNION SELECT b.merchant_id FROM app.binding b WHERE b.id = ANY (ids)
            UNION SELECT o.merchant_id FROM app.payout o WHERE o.id = ANY (payouts))
        ORDER BY m.id FOR KEY SHARE;
    PERFORM 1 FROM app.payment p WHERE p.id = ANY (ids) OR p.id IN (
            SELECT r.payment_id FROM app.refund r WHERE r.id = ANY (ids))
        ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM 1 FROM app.end_user u WHERE u.id IN (
            SELECT p.user_id FROM app.payment p WHERE p.id = ANY (ids)
            UNION SELECT p.user_id FROM app.refund r JOIN app.payment p ON p.id = r.payment_id WHERE r.id = ANY (ids)
            UNION SELECT b.user_id FROM app.binding b WHERE b.id = ANY (ids)
            UNION SELECT o.user_id FROM app.payout o WHERE o.id = ANY (payouts))
        ORDER BY u.id FOR SHARE;
    PERFORM 1 FROM app.refund r WHERE r.id = ANY (ids) ORDER BY r.id FOR NO KEY UPDATE;
    IF cardinality(payouts) > 0 THEN
        PERFORM 1 FROM app.payout o WHERE o.id = ANY (payouts) ORDER BY o.id FOR NO KEY UPDATE;
    END IF;
    PERFORM 1 FROM app.binding b WHERE b.id = ANY (ids) ORDER BY b.id FOR NO KEY UPDATE;
    FOR i IN SELECT value FROM jsonb_array_elements(items) LOOP
        item := (i->>'item')::int;
        IF i->>'kind' = 'payout' THEN
            result := app.claim_one_payout(i);
        ELSE
            result := app.claim_one_effect(i);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
