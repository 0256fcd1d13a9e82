-- Who asks: a merchant over the API, or an operator who records what came by telephone or email. And disputes.

-- The event of a closure, as its merchant sees it then, and the record.
CREATE FUNCTION app.tell_of_closure(c app.closure, type text, at timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.closure n SET event_sequence = n.event_sequence + 1 WHERE n.id = c.id RETURNING n.* INTO c;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (c.merchant_id, c.id, c.event_sequence, type, at, app.closure_view(c, at));
END $$;

-- The one under way that another of the scope has to wait for.
CREATE FUNCTION app.open_closure_of(who text, scope_ text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT c.id FROM app.closure c WHERE c.user_id = who AND (c.scope = 'deletion') = (scope_ = 'deletion')
        AND c.state NOT IN ('completed', 'refused'));

-- A new closure, whoever asks; the user's row is locked. Answers the error, or NULL.
CREATE FUNCTION app.closure_obstacle_to_asking(u app.end_user, scope_ text, fields text[]) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN CASE
        WHEN u.id IS NULL THEN 'user_not_found'
        WHEN app.open_closure_of(u.id, scope_) IS NOT NULL THEN 'closure_exists'
        -- Who has left is answered what is still kept, and why.
        WHEN u.state = 'closed' THEN CASE WHEN scope_ <> 'deletion' THEN 'user_not_active' END
        WHEN scope_ = 'quick_pay' AND NOT EXISTS (SELECT 1 FROM app.binding b WHERE b.user_id = u.id AND b.state IN
            ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding')) THEN 'quick_pay_not_open'
        WHEN scope_ = 'deletion' AND NOT EXISTS (SELECT 1 FROM vault.item x WHERE x.user_id = u.id AND x.field = ANY (fields)
            AND x.erased_at IS NULL) THEN 'nothing_to_delete' END;

-- item: {request, now, id, user_id, scope, identity_method, identity_checked_at, identity_evidence_ref, due_on, escalate_on,
-- due_is_provisional}. The merchant has made sure who asks, and says how (P4.4a).
CREATE FUNCTION app.accept_closure(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    c app.closure;
    error text;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO c FROM app.closure WHERE id = i->>'id';
    IF c.id IS NULL THEN
        error := app.closure_obstacle_to_asking(u, i->>'scope', '{}');
    END IF;
    IF error IS NULL AND c.id IS NULL THEN
        INSERT INTO app.closure (id, merchant_id, user_id, scope, channel, asked_by, state, state_since, identity_method,
                identity_checked_at, identity_checked_by, identity_evidence_ref, received_at, recorded_at, due_on, escalate_on,
                due_is_provisional)
            VALUES (i->>'id', whose, u.id, i->>'scope', 'merchant', i->'request'->>'key_id', 'closing', instant,
                i->>'identity_method', (i->>'identity_checked_at')::timestamptz, 'merchant', i->>'identity_evidence_ref',
                instant, instant, (i->>'due_on')::date, (i->>'escalate_on')::date, (i->>'due_is_provisional')::boolean)
            RETURNING * INTO c;
        PERFORM app.tell_of_closure(c, 'closure.accepted', instant);
    END IF;
    answer := CASE WHEN error IS NULL THEN jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant))
        ELSE jsonb_build_object('ok', false, 'error', error, 'subject_id', app.open_closure_of(u.id, i->>'scope')) END;
    RETURN app.answered(i, 'accept_closure', i->>'id', answer);
END $$;

-- The merchant's records of where the user's funds came from (A4.4c); they are in the retention store by then.
-- item: {request, now, closure_id, count, complete}: more than fit into one request come in several, and the last one says so.
CREATE FUNCTION app.hand_over_records(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    c app.closure;
    error text;
BEGIN
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id' AND merchant_id = whose FOR UPDATE;
    error := CASE WHEN c.id IS NULL THEN 'closure_not_found'
        WHEN c.scope <> 'account' OR c.state NOT IN ('received', 'closing', 'unsigning') THEN 'records_not_awaited' END;
    IF error IS NULL THEN
        UPDATE app.closure n SET records_at = CASE WHEN (i->>'complete')::boolean THEN coalesce(n.records_at, instant) ELSE n.records_at END,
            records_count = coalesce(n.records_count, 0) + (i->>'count')::int WHERE n.id = c.id RETURNING n.* INTO c;
        RETURN app.answered(i, 'hand_over_records', c.id, jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant)));
    END IF;
    RETURN app.answered(i, 'hand_over_records', i->>'closure_id', jsonb_build_object('ok', false, 'error', error));
END $$;

-- Whether records may be handed over now: asked before they are sealed.
CREATE FUNCTION app.closure_of_merchant(closure text, whose text) RETURNS app.closure LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT c FROM app.closure c WHERE c.id = closure AND c.merchant_id = whose);

-- From when what explains a user's funds is kept, at the earliest: from the last booking that it may explain; and the user's longer
-- consent, if there is one.
CREATE FUNCTION app.records_clock(closure text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('booked_on', (SELECT max(x.at AT TIME ZONE 'Asia/Shanghai')::date FROM (
            SELECT coalesce(p.booked_at, p.state_since) AS at FROM app.payment p WHERE p.user_id = c.user_id
                AND p.state IN ('succeeded', 'late_refunding', 'late_refunded')
            UNION ALL SELECT coalesce(o.booked_at, o.state_since) FROM app.payout o WHERE o.user_id = c.user_id
                AND o.state IN ('succeeded', 'returned')
            UNION ALL SELECT i.booked_at FROM app.inbound i WHERE i.user_id = c.user_id) x),
        'consent_until', (SELECT max(k.until_on) FROM app.consent k WHERE k.user_id = c.user_id AND k.kind = 'longer_retention'))
        FROM app.closure c WHERE c.id = closure);

-- What a merchant has done about the notice of erasure (P4.2b). item: {request, now, closure_id, outcome, reason}
CREATE FUNCTION app.reply_to_erasure(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    c app.closure;
    n app.erasure_notice;
    error text;
BEGIN
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO n FROM app.erasure_notice x WHERE x.closure_id = c.id AND x.recipient = whose FOR UPDATE;
    error := CASE WHEN c.id IS NULL THEN 'closure_not_found' WHEN n.told_at IS NULL THEN 'erasure_not_asked'
        WHEN n.reply IN ('erased', 'kept') AND (n.reply, n.reply_reason) IS DISTINCT FROM (i->>'outcome', i->>'reason')
            THEN 'erasure_replied' END;
    IF error IS NULL THEN
        UPDATE app.erasure_notice x SET reply = i->>'outcome', reply_reason = i->>'reason',
            replied_at = coalesce(x.replied_at, instant) WHERE x.closure_id = c.id AND x.recipient = whose;
        RETURN app.answered(i, 'reply_to_erasure', c.id, jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant)));
    END IF;
    RETURN app.answered(i, 'reply_to_erasure', i->>'closure_id', jsonb_build_object('ok', false, 'error', error));
END $$;

-- Whose an instruction is, for a dispute about it; the user's own id is about the account.
CREATE FUNCTION app.user_of_subject(subject text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT u.id FROM app.end_user u WHERE u.id = subject
        UNION ALL SELECT p.user_id FROM app.payment p WHERE p.id = subject
        UNION ALL SELECT p.user_id FROM app.refund r JOIN app.payment p ON p.id = r.payment_id WHERE r.id = subject
        UNION ALL SELECT o.user_id FROM app.payout o WHERE o.id = subject
        UNION ALL SELECT f.user_id FROM app.fx f WHERE f.id = subject);

CREATE FUNCTION app.new_dispute(i jsonb, whose text, who text) RETURNS jsonb LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    d app.dispute;
    error text;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO d FROM app.dispute WHERE id = i->>'id';
    IF d.id IS NOT NULL THEN RETURN jsonb_build_object('ok', true, 'resource', app.dispute_view(d)); END IF;
    error := CASE WHEN u.id IS NULL THEN 'user_not_found'
        WHEN app.user_of_subject(i->>'subject_id') IS DISTINCT FROM u.id THEN 'dispute_subject_not_found'
        WHEN EXISTS (SELECT 1 FROM app.dispute o WHERE o.subject_id = i->>'subject_id' AND o.state = 'open')
            THEN 'dispute_exists' END;
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id',
            (SELECT o.id FROM app.dispute o WHERE o.subject_id = i->>'subject_id' AND o.user_id = u.id AND o.state = 'open'));
    END IF;
    INSERT INTO app.dispute (id, merchant_id, user_id, subject_id, reason, evidence_ref, opened_by, opened_at, event_sequence)
        VALUES (i->>'id', whose, u.id, i->>'subject_id', i->>'reason', i->>'evidence_ref', who, instant, 1) RETURNING * INTO d;
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (whose, d.id, 1, 'dispute.opened', instant, app.dispute_view(d));
    RETURN jsonb_build_object('ok', true, 'resource', app.dispute_view(d));
END $$;

-- item: {request, now, id, user_id, subject_id, reason, evidence_ref}
CREATE FUNCTION app.open_dispute(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    RETURN app.answered(i, 'open_dispute', i->>'id',
        app.new_dispute(i, i->'request'->>'merchant_id', i->'request'->>'key_id'));
END $$;

-- What operators do about closures and disputes: permitted, carried out, and recorded, also when it is refused. `what`: record_closure |
-- verify_identity | record_dispute. item: {what, now, request_id, operator_id, …}
--   record_closure   {id, user_id, scope, channel, ground, fields, evidence_ref, received_at, due_on, escalate_on, due_is_provisional}
--   verify_identity  {closure_id, method, holds, person_index, evidence_ref, most}: by the number that was said, its digest is compared
--   record_dispute   {id, user_id, subject_id, reason, evidence_ref}
CREATE FUNCTION app.work_on_closure(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    o app.operator;
    answer jsonb;
    whose text;
BEGIN
    SELECT * INTO o FROM app.operator WHERE id = i->>'operator_id' FOR SHARE;
    IF o.id IS NULL OR NOT app.operator_may(o.id, CASE i->>'what' WHEN 'verify_identity' THEN 'closures:verify'
            WHEN 'record_dispute' THEN 'disputes:write' ELSE 'closures:write' END, instant) THEN
        answer := '{"ok": false, "error": "permission_missing"}';
    ELSE
        answer := CASE i->>'what' WHEN 'record_closure' THEN app.record_closure(i, 'operator:' || o.login)
            WHEN 'verify_identity' THEN app.verify_identity(i, 'operator:' || o.login)
            ELSE app.new_dispute(i, (SELECT u.merchant_id FROM app.end_user u WHERE u.id = i->>'user_id'), 'operator:' || o.login) END;
    END IF;
    whose := (SELECT u.merchant_id FROM app.end_user u WHERE u.id = coalesce(i->>'user_id',
        (SELECT c.user_id FROM app.closure c WHERE c.id = i->>'closure_id')));
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id)
        VALUES (instant, coalesce('operator:' || o.login, 'unknown'), i->>'what', CASE WHEN (answer->>'ok')::boolean THEN 'done'
            WHEN answer->>'error' = 'permission_missing' THEN 'denied' ELSE 'refused' END, answer->>'error',
            coalesce(i->>'closure_id', answer->'resource'->>'id', i->>'user_id'), whose, i->>'request_id');
    RETURN answer;
END $$;

CREATE FUNCTION app.record_closure(i jsonb, who text) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    wanted text[] := ARRAY(SELECT jsonb_array_elements_text(coalesce(i->'fields', '[]')));
    u app.end_user;
    c app.closure;
    error text;
BEGIN
    PERFORM 1 FROM app.merchant m WHERE m.id = (SELECT x.merchant_id FROM app.end_user x WHERE x.id = i->>'user_id') FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' FOR NO KEY UPDATE;
    SELECT * INTO c FROM app.closure WHERE id = i->>'id';
    IF c.id IS NOT NULL THEN RETURN jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant, true)); END IF;
    error := app.closure_obstacle_to_asking(u, i->>'scope', wanted);
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id', app.open_closure_of(u.id, i->>'scope'));
    END IF;
    INSERT INTO app.closure (id, merchant_id, user_id, scope, channel, ground, fields, evidence_ref, asked_by, state, state_since,
            received_at, recorded_at, due_on, escalate_on, due_is_provisional)
        VALUES (i->>'id', u.merchant_id, u.id, i->>'scope', i->>'channel', i->>'ground', wanted, i->>'evidence_ref', who,
            'received', instant, (i->>'received_at')::timestamptz, instant, (i->>'due_on')::date, (i->>'escalate_on')::date,
            (i->>'due_is_provisional')::boolean)
        RETURNING * INTO c;
    -- Both are told: the merchant by this event (P4.5a).
    PERFORM app.tell_of_closure(c, 'closure.accepted', instant);
    SELECT * INTO c FROM app.closure WHERE id = c.id;
    RETURN jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant, true));
END $$;

CREATE FUNCTION app.verify_identity(i jsonb, who text) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    c app.closure;
    u app.end_user;
    holds boolean;
BEGIN
    PERFORM 1 FROM app.end_user x WHERE x.id = (SELECT y.user_id FROM app.closure y WHERE y.id = i->>'closure_id') FOR NO KEY UPDATE;
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id' FOR UPDATE;
    IF c.id IS NULL THEN RETURN '{"ok": false, "error": "closure_not_found"}'; END IF;
    IF c.state <> 'received' THEN
        RETURN jsonb_build_object('ok', false, 'error', 'identity_not_awaited', 'subject_id', c.id);
    END IF;
    IF c.identity_attempts >= (i->>'most')::int THEN
        PERFORM app.open_closure_case('identity_unverified', c, instant);
        RETURN jsonb_build_object('ok', false, 'error', 'identity_attempts_exhausted', 'subject_id', c.id);
    END IF;
    SELECT * INTO u FROM app.end_user WHERE id = c.user_id;
    -- What a person judges, another person than the one who recorded the request judges.
    IF i->>'method' <> 'id_number' AND c.asked_by = who THEN
        RETURN jsonb_build_object('ok', false, 'error', 'second_person_required', 'subject_id', c.id);
    END IF;
    -- Digests under a key: how long their comparison takes tells nothing of a number.
    holds := CASE i->>'method' WHEN 'id_number' THEN coalesce(u.person_index = i->>'person_index', false)
        ELSE coalesce((i->>'holds')::boolean, false) END;
    UPDATE app.closure n SET identity_attempts = n.identity_attempts + 1 WHERE n.id = c.id;
    IF NOT holds THEN
        -- After the last attempt only people can end it, by refusing it (P4.4a).
        IF c.identity_attempts + 1 >= (i->>'most')::int THEN PERFORM app.open_closure_case('identity_unverified', c, instant); END IF;
        RETURN jsonb_build_object('ok', false, 'error', 'identity_differs', 'subject_id', c.id);
    END IF;
    UPDATE app.closure n SET identity_method = i->>'method', identity_checked_at = instant, identity_checked_by = who,
        identity_evidence_ref = i->>'evidence_ref', state = CASE n.scope WHEN 'deletion' THEN 'deciding' ELSE 'closing' END,
        state_since = instant WHERE n.id = c.id RETURNING n.* INTO c;
    PERFORM app.tell_of_closure(c, 'closure.identity_verified', instant);
    SELECT * INTO c FROM app.closure WHERE id = c.id;
    RETURN jsonb_build_object('ok', true, 'resource', app.closure_view(c, instant, true));
END $$;
