-- Users, what they agreed to, and their cards.

-- item: {request, now, id, merchant_user_ref, type, region, blocked_regions}
CREATE FUNCTION app.accept_user(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    answer jsonb;
BEGIN
    SELECT * INTO u FROM app.end_user WHERE merchant_id = whose AND merchant_user_ref = i->>'merchant_user_ref';
    IF u.id = i->>'id' THEN
        answer := jsonb_build_object('ok', true, 'resource', app.user_view(u));
    ELSIF u.id IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', 'merchant_user_exists', 'subject_id', u.id);
    ELSIF NOT EXISTS (SELECT 1 FROM app.merchant WHERE id = whose AND state = 'active' AND contract_until > instant) THEN
        answer := '{"ok": false, "error": "merchant_suspended"}';
    ELSIF i->'blocked_regions' ? (i->>'region') THEN
        answer := '{"ok": false, "error": "region_not_served"}';
    ELSE
        INSERT INTO app.end_user (id, merchant_id, merchant_user_ref, type, region, created_at)
            VALUES (i->>'id', whose, i->>'merchant_user_ref', i->>'type', i->>'region', instant)
            ON CONFLICT DO NOTHING RETURNING * INTO u;
        IF NOT FOUND THEN
            SELECT * INTO u FROM app.end_user WHERE merchant_id = whose AND merchant_user_ref = i->>'merchant_user_ref';
            answer := jsonb_build_object('ok', false, 'error', 'merchant_user_exists', 'subject_id', u.id);
        ELSE
            PERFORM ledger.open_accounts(ARRAY['user:' || u.id || ':CNY']);
            answer := jsonb_build_object('ok', true, 'resource', app.user_view(u));
        END IF;
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'accept_user', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- Any consent, statement, notice or objection of a user. item: {request, now, user_id, kind, version, content_hash,
-- channel, evidence_ref, acted_at, case_id}
CREATE FUNCTION app.record_consent(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    what text := i->>'kind';
    answer jsonb;
    error text;
    waived text[];
BEGIN
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    IF NOT FOUND THEN error := 'user_not_found';
    ELSIF what = 'agreement' AND NOT EXISTS (
        SELECT 1 FROM app.agreement_version a WHERE a.version = i->>'version' AND a.content_hash = i->>'content_hash'
            AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant)) THEN
        error := 'agreement_version_unknown';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w WHERE w.merchant_id = whose AND w.state = 'approved') THEN
        error := 'waiver_not_enabled';
    ELSIF what IN ('waiver_authorisation', 'waiver_notice') AND NOT EXISTS (
        SELECT 1 FROM app.waiver_application w
        WHERE w.merchant_id = whose AND w.state = 'approved' AND w.id = i->>'version') THEN
        error := 'waiver_version_unknown';
    END IF;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error);
    ELSE
        INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, evidence_ref, acted_at)
            VALUES (u.id, whose, what, i->>'version', i->>'content_hash', i->>'channel', i->>'evidence_ref',
                    (i->>'acted_at')::timestamptz);
        IF what LIKE 'waiver%' THEN
            INSERT INTO app.user_waiver AS w (user_id, authorised_version, noticed_version, objected_at)
                VALUES (u.id, CASE what WHEN 'waiver_authorisation' THEN i->>'version' END,
                        CASE what WHEN 'waiver_notice' THEN i->>'version' END,
                        CASE what WHEN 'waiver_objection' THEN instant END)
                ON CONFLICT (user_id) DO UPDATE SET
                    authorised_version = CASE what WHEN 'waiver_authorisation' THEN i->>'version'
                        WHEN 'waiver_objection' THEN NULL ELSE w.authorised_version END,
                    noticed_version = CASE what WHEN 'waiver_notice' THEN i->>'version' ELSE w.noticed_version END,
                    objected_at = CASE what WHEN 'waiver_objection' THEN instant
                        WHEN 'waiver_authorisation' THEN NULL ELSE w.objected_at END;
        END IF;
        IF what = 'waiver_objection' THEN
            SELECT coalesce(array_agg(p.id ORDER BY p.id), '{}') INTO waived
                FROM app.payment p WHERE p.user_id = u.id AND p.verification = 'waived';
            INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
                VALUES (i->>'case_id', 'waiver_objection', u.id, whose, instant, waived) ON CONFLICT DO NOTHING;
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', jsonb_build_object('object', 'consent', 'user_id', u.id,
            'kind', what, 'version', i->>'version', 'acted_at', app.instant((i->>'acted_at')::timestamptz),
            'recorded_at', app.instant(instant),
            'case_id', CASE what WHEN 'waiver_objection' THEN i->>'case_id' END));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'record_' || what, instant, i->>'user_id', answer);
    RETURN answer;
END $$;

CREATE FUNCTION app.user_view(u app.end_user) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', u.id, 'object', 'user', 'merchant_user_ref', u.merchant_user_ref, 'type', u.type,
        'region', u.region, 'state', u.state, 'created_at', app.instant(u.created_at));

-- item: {request, now, id, user_id, bank_code, card_index, card_last4, card_type, person_index, age_class, sealed: [...],
--        element_tokens, blocked_regions}
CREATE FUNCTION app.accept_binding(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    b app.binding;
    other app.binding;
    error text;
    answer jsonb;
BEGIN
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO b FROM app.binding WHERE id = i->>'id';
    SELECT * INTO other FROM app.binding o WHERE o.user_id = i->>'user_id' AND o.card_index = i->>'card_index'
        AND o.state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding');
    error := CASE
        WHEN b.id IS NOT NULL THEN NULL
        WHEN u.id IS NULL THEN 'user_not_found'
        WHEN u.state <> 'active' THEN 'user_not_active'
        WHEN NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = whose AND m.state = 'active'
            AND m.contract_until > instant) THEN 'merchant_suspended'
        WHEN i->'blocked_regions' ? u.region THEN 'region_not_served'
        WHEN NOT EXISTS (
            SELECT 1 FROM app.consent c JOIN app.agreement_version a ON a.version = c.version
            WHERE c.user_id = u.id AND c.kind = 'agreement' AND a.content_hash = c.content_hash
              AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant))
            THEN 'agreement_required'
        WHEN i->>'age_class' = 'minor_16_17' AND NOT EXISTS (
            SELECT 1 FROM app.consent c WHERE c.user_id = u.id AND c.kind = 'capacity_statement')
            THEN 'capacity_statement_required'
        WHEN u.person_index IS NOT NULL AND u.person_index <> i->>'person_index' THEN 'person_differs'
        WHEN NOT EXISTS (SELECT 1 FROM app.partner t WHERE t.code = i->>'bank_code' AND t.enabled)
            THEN 'partner_not_available'
        WHEN other.state = 'open' THEN 'binding_exists'
        WHEN other.id IS NOT NULL THEN 'binding_in_progress'
        -- The user is nobody's yet, and two people may apply at once: the first one's application has to end before.
        WHEN EXISTS (SELECT 1 FROM app.binding o WHERE o.user_id = u.id AND o.person_index <> i->>'person_index'
            AND o.state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding')) THEN 'person_differs' END;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error, 'subject_id', other.id);
    ELSE
        IF b.id IS NULL THEN
            PERFORM vault.store_items(i->'sealed');
            INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,
                    element_tokens, state, state_since, wait_reason, accepted_at, event_sequence)
                VALUES (i->>'id', u.id, whose, i->>'bank_code', i->>'card_index', i->>'card_last4', i->>'card_type',
                    i->>'person_index', i->'element_tokens', 'accepted', instant, 'process_start', instant, 1)
                RETURNING * INTO b;
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, b.id, 1, 'binding.accepted', instant, app.binding_view(b));
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', app.binding_view(b));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'accept_binding', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- item: {request, now, id, user_id}
CREATE FUNCTION app.accept_unbinding(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    b app.binding;
    error text;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.end_user WHERE id = i->>'user_id' FOR NO KEY UPDATE;
    SELECT * INTO b FROM app.binding WHERE id = i->>'id' AND user_id = i->>'user_id' AND merchant_id = whose
        FOR NO KEY UPDATE;
    error := CASE
        WHEN b.id IS NULL THEN 'binding_not_found'
        WHEN b.state IN ('unbinding', 'unbound') THEN NULL
        WHEN b.state <> 'open' THEN 'binding_not_open'
        WHEN EXISTS (SELECT 1 FROM app.payment p WHERE p.binding_id = b.id
            AND p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding'))
            THEN 'binding_has_pending_payments' END;
    IF error IS NOT NULL THEN
        answer := jsonb_build_object('ok', false, 'error', error, 'subject_id', b.id);
    ELSE
        IF b.state = 'open' THEN
            UPDATE app.binding SET state = 'unbinding', state_since = instant, wait_reason = 'process_start',
                process_started_at = NULL, event_sequence = event_sequence + 1 WHERE id = b.id RETURNING * INTO b;
            INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
                VALUES (whose, b.id, b.event_sequence, 'binding.unbinding', instant, app.binding_view(b));
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', app.binding_view(b));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'accept_unbinding', instant, i->>'id', answer);
    RETURN answer;
END $$;

CREATE FUNCTION app.waiver_application_view(w app.waiver_application) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('id', w.id, 'object', 'waiver_application', 'limit_minor', w.limit_minor,
        'currency', w.currency, 'state', w.state, 'applied_at', app.instant(w.applied_at),
        'decided_at', app.instant(w.decided_at), 'waiting_for',
        CASE w.state WHEN 'pending' THEN app.waiting_for('operator', w.applied_at, NULL, NULL) END);

-- A merchant asks for verification-free payment; the institution decides (A3.11a). A new application leaves the waiver in
-- force as it is until it is approved. item: {request, now, id, limit_minor, currency}
CREATE FUNCTION app.apply_for_waiver(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    standing text;
    w app.waiver_application;
    answer jsonb;
BEGIN
    SELECT m.state INTO standing FROM app.merchant m
        WHERE m.id = whose AND m.state = 'active' AND m.contract_until > instant FOR SHARE;
    SELECT * INTO w FROM app.waiver_application WHERE id = i->>'id';
    IF w.id IS NULL AND standing IS NOT NULL THEN
        INSERT INTO app.waiver_application (id, merchant_id, limit_minor, currency, applied_at, applied_by)
            VALUES (i->>'id', whose, (i->>'limit_minor')::bigint, i->>'currency', instant, i->'request'->>'key_id')
            ON CONFLICT (merchant_id) WHERE state = 'pending' DO NOTHING RETURNING * INTO w;
    END IF;
    answer := CASE
        WHEN w.id IS NOT NULL THEN jsonb_build_object('ok', true, 'resource', app.waiver_application_view(w))
        WHEN standing IS NULL THEN '{"ok": false, "error": "merchant_suspended"}'::jsonb
        ELSE jsonb_build_object('ok', false, 'error', 'waiver_application_exists', 'subject_id',
            (SELECT a.id FROM app.waiver_application a WHERE a.merchant_id = whose AND a.state = 'pending')) END;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'apply_for_waiver', instant, i->>'id', answer);
    RETURN answer;
END $$;

-- An answer that no accepting function gave: a refusal decided before the database was asked (wrong fields, a changed
-- confirmation), or the verdict on a code. item: {request, now, action, subject_id, answer}
CREATE FUNCTION app.record_answer(i jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM app.finish_request(i->'request'->>'merchant_id', i->'request'->>'idempotency_key', i->'request'->>'request_id',
        coalesce(i->'request'->>'key_id', 'unknown'), i->>'action', (i->>'now')::timestamptz, i->>'subject_id', i->'answer');
END $$;

-- A callback of a bank: kept once, and known by its number. One that contradicts what ended for good, and that no
-- process corrects, is a case for an operator. item: {now, bank_code, notice_id, request_number, announces}
CREATE FUNCTION app.record_callback(i jsonb) RETURNS jsonb
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
    IF fresh AND (e.step IN ('RF', 'LR') AND e.outcome = 'declined' AND i->>'announces' = 'succeeded'
                  OR e.step IN ('DB', 'RF', 'LR') AND e.outcome = 'succeeded' AND i->>'announces' = 'declined') THEN
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || e.request_number, 'operator_needed', e.subject_id, x.merchant_id, (i->>'now')::timestamptz
            FROM (SELECT p.id, p.merchant_id FROM app.payment p UNION ALL SELECT r.id, r.merchant_id FROM app.refund r) x
            WHERE x.id = e.subject_id ON CONFLICT DO NOTHING;
    END IF;
    RETURN jsonb_build_object('fresh', fresh, 'subject_id', e.subject_id, 'step', e.step, 'outcome', e.outcome,
        'state', (SELECT p.state FROM app.payment p WHERE p.id = e.subject_id
                  UNION ALL SELECT r.state FROM app.refund r WHERE r.id = e.subject_id));
END $$;

CREATE FUNCTION app.record_operation(at timestamptz, actor text, action text, outcome text, reason text, subject text,
    partner text, request text DEFAULT NULL) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, partner, request_id)
            VALUES (at, actor, action, outcome, reason, subject, partner, request);
    END;

-- What was accepted and not started, and codes whose verdict nobody learned: for the sweeper.
CREATE FUNCTION app.unattended(at timestamptz, older_than interval, most int)
    RETURNS TABLE (kind text, id text, attempt_id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        (SELECT 'collect_payment', p.id, NULL::text FROM app.payment p WHERE p.process_started_at IS NULL
            AND p.state IN ('awaiting_code', 'ready') AND p.accepted_at < at - older_than ORDER BY p.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'bind_card', b.id, NULL FROM app.binding b WHERE b.process_started_at IS NULL
            AND b.state = 'accepted' AND b.accepted_at < at - older_than ORDER BY b.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'unbind_card', b.id, NULL FROM app.binding b WHERE b.process_started_at IS NULL
            AND b.state = 'unbinding' AND b.state_since < at - older_than ORDER BY b.state_since LIMIT most)
        UNION ALL
        (SELECT 'refund_payment', r.id, NULL FROM app.refund r WHERE r.process_started_at IS NULL
            AND r.state = 'ready' AND r.accepted_at < at - older_than ORDER BY r.accepted_at LIMIT most)
        UNION ALL
        (SELECT 'code_attempt', a.subject_id, a.id FROM app.code_attempt a WHERE a.verdict IS NULL
            AND a.claimed_at < at - older_than ORDER BY a.claimed_at LIMIT most)
        UNION ALL
        (SELECT 'confirmed_payment', p.id, NULL FROM app.payment p WHERE p.state = 'ready' AND p.verification = 'code'
            AND p.state_since < at - older_than ORDER BY p.state_since LIMIT most);
    END;

-- What has not come to an end for a long time. Its process should run; one that was cancelled, terminated or lost with
-- Temporal's own data does not, and nobody else would ever notice. In pages, because what runs well is among it.
CREATE FUNCTION app.unfinished(at timestamptz, older_than interval, after text, most int)
    RETURNS TABLE (kind text, id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT x.kind, x.id FROM (
            SELECT CASE WHEN p.corrected_at IS NULL THEN 'collect_payment' ELSE 'correct_payment' END AS kind, p.id
                FROM app.payment p WHERE p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding')
                AND p.state_since < at - older_than
            UNION ALL
            SELECT 'refund_payment', r.id FROM app.refund r WHERE r.state IN ('ready', 'sending', 'unknown')
                AND r.state_since < at - older_than
            UNION ALL
            SELECT CASE b.state WHEN 'unbinding' THEN 'unbind_card' ELSE 'bind_card' END, b.id FROM app.binding b
                WHERE b.state IN ('accepted', 'applying', 'awaiting_code', 'unbinding')
                AND b.state_since < at - older_than) x
        WHERE x.id > after ORDER BY x.id LIMIT most;
    END;

-- A request that was never answered: its lease ended and nobody came back for it (A4.1a: crashed operations too).
CREATE FUNCTION app.record_abandoned(at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int;
BEGIN
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, request_id)
        SELECT 'abandoned:' || d.request_id, at, 'sweeper', d.action, 'abandoned', 'no_answer', d.resource_id,
               d.merchant_id, d.request_id
        FROM app.idempotency d WHERE d.answer IS NULL AND d.lease_until < at
        ON CONFLICT (key) DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
