-- What is done with operators. Every function takes one jsonb and the instant in it, records what it did or refused, and
-- answers {ok, …} or {ok: false, error}.

-- Whether a person may do something now: active, credentials not expired, one of the roles has the permission, and for
-- personal data a current training mark (P3.1c).
CREATE FUNCTION app.operator_may(who text, wanted text, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT 1 FROM app.operator o JOIN app.role_permission p ON p.role = ANY (o.roles)
        WHERE o.id = who AND p.permission = wanted AND o.state = 'active' AND o.credentials_expire_at > at
          AND (wanted NOT LIKE 'personal_data:%' OR o.trained_until > at));
END;

-- What an operator did, or was refused (A4.1a). item: {now, actor, action, outcome, reason, subject_id, merchant_id,
-- request_id, detail}
CREATE FUNCTION app.record_act(i jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id, detail)
        VALUES ((i->>'now')::timestamptz, i->>'actor', i->>'action', i->>'outcome', i->>'reason', i->>'subject_id',
                i->>'merchant_id', i->>'request_id', nullif(i->'detail', 'null'));
END;

CREATE FUNCTION app.operator_view(o app.operator) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', o.id, 'object', 'operator', 'login', o.login, 'name', o.name, 'roles', to_jsonb(o.roles),
        'state', o.state, 'credentials_expire_at', app.instant(o.credentials_expire_at),
        'trained_until', app.instant(o.trained_until), 'enrolled_at', app.instant(o.enrolled_at),
        'enrolled_by', o.enrolled_by);

CREATE FUNCTION app.end_sessions(whose text, why text, at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    UPDATE app.operator_session SET ended_at = at, end_reason = why WHERE operator_id = whose AND ended_at IS NULL;
END;

-- Why these roles may not be given to one person, or null.
CREATE FUNCTION app.fault_of_roles(wanted text[]) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT CASE
        WHEN cardinality(wanted) = 0 OR EXISTS (SELECT 1 FROM unnest(wanted) w WHERE NOT EXISTS (
            SELECT 1 FROM app.role r WHERE r.name = w)) THEN 'role_unknown'
        WHEN EXISTS (SELECT 1 FROM app.role_conflict c WHERE c.role = ANY (wanted) AND c.other = ANY (wanted))
            THEN 'roles_incompatible' END;
END;

-- Who asks, and may they? item: {now, request_id, action, permission, subject_id, session_id, token_hash, record,
-- idle_seconds}; without a permission any session will do. `record`: before it is done, not only if it is denied.
-- The hashes compared are SHA-256 of high-entropy secrets, so the time of the comparison tells nothing of a secret.
CREATE FUNCTION app.begin_act(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    wanted text := i->>'permission';
    o app.operator;
    error text;
BEGIN
    SELECT p.* INTO o FROM app.operator_session s JOIN app.operator p ON p.id = s.operator_id
        WHERE s.id = i->>'session_id' AND s.token_hash = decode(i->>'token_hash', 'hex') AND s.ended_at IS NULL
          AND s.expires_at > instant AND p.state = 'active'
          AND s.last_used_at + make_interval(secs => (i->>'idle_seconds')::float8) > instant;
    IF NOT FOUND THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id)
            VALUES (instant, 'unknown', i->>'action', 'denied', 'session_invalid', i->>'subject_id', i->>'request_id');
        RETURN '{"ok": false, "error": "session_invalid"}';
    END IF;
    UPDATE app.operator_session SET last_used_at = greatest(last_used_at, instant) WHERE id = i->>'session_id';
    error := CASE
        WHEN wanted IS NULL OR app.operator_may(o.id, wanted, instant) THEN NULL
        WHEN o.credentials_expire_at <= instant THEN 'credentials_expired'
        WHEN NOT EXISTS (SELECT 1 FROM app.role_permission p WHERE p.role = ANY (o.roles) AND p.permission = wanted)
            THEN 'permission_missing'
        ELSE 'training_expired' END;
    IF error IS NOT NULL OR (i->>'record')::boolean THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id, detail)
            VALUES (instant, 'operator:' || o.login, i->>'action', CASE WHEN error IS NULL THEN 'received' ELSE 'denied' END,
                error, i->>'subject_id', i->>'request_id',
                CASE WHEN error IS NOT NULL THEN jsonb_build_object('permission', wanted, 'roles', o.roles) END);
    END IF;
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error);
    END IF;
    RETURN jsonb_build_object('ok', true, 'operator_id', o.id, 'login', o.login, 'name', o.name, 'roles', o.roles,
        'session_id', i->>'session_id', 'credentials_expire_at', o.credentials_expire_at, 'trained_until', o.trained_until);
END $$;

-- Counts an attempt as failed before it is judged, so that a hundred at once get no more guesses than one after another.
-- brake: {subjects: {subject: free attempts}, pause_seconds, longest_pause_seconds, forget_seconds}; answers seconds to
-- wait, or 0 if the attempt may be judged. Each failure beyond the free ones doubles the pause.
CREATE FUNCTION app.take_attempt(brake jsonb, at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    s record;
    b app.login_brake;
    wait int := 0;
BEGIN
    FOR s IN SELECT e.key AS subject FROM jsonb_each_text(brake->'subjects') e ORDER BY 1 LOOP
        INSERT INTO app.login_brake AS l VALUES (s.subject, 0, at, NULL) ON CONFLICT (subject) DO UPDATE
            SET subject = l.subject RETURNING * INTO b;
        wait := greatest(wait, ceil(extract(epoch FROM coalesce(b.blocked_until, at) - at))::int);
    END LOOP;
    IF wait > 0 THEN
        -- An address that has to wait and goes on typing logins leaves none of them here.
        DELETE FROM app.login_brake l WHERE l.subject IN (SELECT k FROM jsonb_object_keys(brake->'subjects') k)
            AND l.failures = 0 AND l.blocked_until IS NULL;
        RETURN wait;
    END IF;
    FOR s IN SELECT e.key AS subject, e.value::int AS free FROM jsonb_each_text(brake->'subjects') e ORDER BY 1 LOOP
        UPDATE app.login_brake l SET
            failures = CASE WHEN l.last_attempt_at + make_interval(secs => (brake->>'forget_seconds')::float8) < at
                THEN 1 ELSE l.failures + 1 END,
            last_attempt_at = at
            WHERE l.subject = s.subject RETURNING * INTO b;
        UPDATE app.login_brake l SET blocked_until = CASE WHEN b.failures >= s.free THEN at + make_interval(secs => least(
                (brake->>'longest_pause_seconds')::float8,
                (brake->>'pause_seconds')::float8 * 2 ^ least(b.failures - s.free, 20))) END
            WHERE l.subject = s.subject;
    END LOOP;
    -- What is being counted elsewhere is left alone: two that clean up must not wait for each other.
    DELETE FROM app.login_brake l WHERE l.subject IN (
        SELECT old.subject FROM app.login_brake old
        WHERE old.last_attempt_at < at - 2 * make_interval(secs => (brake->>'forget_seconds')::float8)
        ORDER BY old.subject LIMIT 100 FOR UPDATE SKIP LOCKED);
    RETURN 0;
END $$;

-- An attempt that was right after all: the login starts afresh, the address gets this one back.
CREATE FUNCTION app.return_attempt(brake jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    UPDATE app.login_brake l SET blocked_until = NULL,
        failures = CASE WHEN l.subject LIKE 'login:%' THEN 0 ELSE greatest(l.failures - 1, 0) END
        WHERE l.subject IN (SELECT k FROM jsonb_object_keys(brake->'subjects') k);
END;

-- item: {now, request_id, action, login, brake}; answers {ok, operator: {id, password_phc, sealed_totp}}, and null as
-- operator where there is none that may log in, which only the caller learns.
CREATE FUNCTION app.begin_login(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    o app.operator;
    wait int := app.take_attempt(i->'brake', instant);
BEGIN
    SELECT * INTO o FROM app.operator WHERE login = i->>'login';
    IF wait > 0 THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id)
            VALUES (instant, 'unknown', i->>'action', 'denied', 'login_locked', o.id, i->>'request_id');
        RETURN jsonb_build_object('ok', false, 'error', 'login_locked', 'retry_after_seconds', wait);
    END IF;
    RETURN jsonb_build_object('ok', true, 'operator', CASE WHEN o.state = 'active' THEN jsonb_build_object(
        'id', o.id, 'password_phc', o.password_phc, 'sealed_totp', encode(o.sealed_totp, 'hex')) END);
END $$;

-- item: {now, request_id, login, verified, brake, operator_id, password_phc, totp_step, session_id, token_hash,
-- session_seconds}. A step of the second factor's counter is good once; a password changed meanwhile is not the one judged.
CREATE FUNCTION app.finish_login(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    until timestamptz := instant + make_interval(secs => (i->>'session_seconds')::float8);
    o app.operator;
BEGIN
    SELECT * INTO o FROM app.operator WHERE login = i->>'login' FOR UPDATE;
    IF o.id IS DISTINCT FROM i->>'operator_id' OR o.password_phc IS DISTINCT FROM i->>'password_phc'
        OR o.state IS DISTINCT FROM 'active' OR NOT coalesce(o.last_totp_step < (i->>'totp_step')::bigint, false)
        OR NOT (i->>'verified')::boolean THEN
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id)
            VALUES (instant, 'unknown', 'log_in', 'denied', 'login_failed', o.id, i->>'request_id');
        RETURN '{"ok": false, "error": "login_failed"}';
    END IF;
    UPDATE app.operator SET last_totp_step = (i->>'totp_step')::bigint WHERE id = o.id;
    INSERT INTO app.operator_session (id, operator_id, token_hash, started_at, expires_at, last_used_at)
        VALUES (i->>'session_id', o.id, decode(i->>'token_hash', 'hex'), instant, until, instant);
    PERFORM app.return_attempt(i->'brake');
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, request_id)
        VALUES (instant, 'operator:' || o.login, 'log_in', 'done', o.id, i->>'request_id');
    RETURN jsonb_build_object('ok', true, 'expires_at', app.instant(until), 'operator', app.operator_view(o));
END $$;

-- item: {now, actor, request_id, session_id}
CREATE FUNCTION app.end_session(i jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.operator_session SET ended_at = (i->>'now')::timestamptz, end_reason = 'logged_out'
        WHERE id = i->>'session_id' AND ended_at IS NULL;
END $$;

-- The second half of a change of password; the first is `begin_login`, so that a stolen session has no more guesses than a
-- stranger. item: {now, request_id, verified, brake, operator_id, old_phc, new_phc, credentials_expire_at}
CREATE FUNCTION app.change_password(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
BEGIN
    UPDATE app.operator SET password_phc = i->>'new_phc', credentials_expire_at = (i->>'credentials_expire_at')::timestamptz
        WHERE id = i->>'operator_id' AND password_phc = i->>'old_phc' AND state = 'active' AND (i->>'verified')::boolean;
    IF NOT FOUND THEN
        RETURN '{"ok": false, "error": "password_wrong"}';
    END IF;
    PERFORM app.return_attempt(i->'brake');
    PERFORM app.end_sessions(i->>'operator_id', 'password_changed', instant);
    RETURN '{"ok": true}';
END $$;

-- item: {now, actor, request_id, id, login, name, roles, token_hash, token_expires_at}
CREATE FUNCTION app.enrol_operator(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    wanted text[] := ARRAY(SELECT DISTINCT r FROM jsonb_array_elements_text(i->'roles') r ORDER BY 1);
    error text := app.fault_of_roles(wanted);
    o app.operator;
BEGIN
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error);
    END IF;
    INSERT INTO app.operator (id, login, name, roles, state, enrolment_hash, enrolment_expires_at, enrolled_at, enrolled_by)
        VALUES (i->>'id', i->>'login', i->>'name', wanted, 'invited', decode(i->>'token_hash', 'hex'),
            (i->>'token_expires_at')::timestamptz, (i->>'now')::timestamptz, i->>'actor')
        ON CONFLICT (login) DO NOTHING RETURNING * INTO o;
    IF NOT FOUND THEN
        RETURN '{"ok": false, "error": "operator_exists"}';
    END IF;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, request_id, detail)
        VALUES (o.enrolled_at, i->>'actor', 'enrol_operator', 'done', o.id, i->>'request_id',
            jsonb_build_object('login', o.login, 'roles', o.roles));
    RETURN jsonb_build_object('ok', true, 'resource', app.operator_view(o));
END $$;

-- The login that an enrolment token is for, or null.
CREATE FUNCTION app.invited_login(whose text, hash bytea, at timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT o.login FROM app.operator o WHERE o.id = whose AND o.state = 'invited' AND o.enrolment_hash = hash
        AND o.enrolment_expires_at > at;
END;

-- A token is good once. item: {now, request_id, operator_id, token_hash, password_phc, sealed_totp, credentials_expire_at}
CREATE FUNCTION app.redeem_enrolment(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    o app.operator;
BEGIN
    UPDATE app.operator SET state = 'active', password_phc = i->>'password_phc', last_totp_step = 0,
            sealed_totp = decode(i->>'sealed_totp', 'hex'), enrolment_hash = NULL, enrolment_expires_at = NULL,
            credentials_expire_at = (i->>'credentials_expire_at')::timestamptz
        WHERE id = i->>'operator_id' AND state = 'invited' AND enrolment_hash = decode(i->>'token_hash', 'hex')
          AND enrolment_expires_at > instant AND i->>'password_phc' LIKE '$argon2id$%' RETURNING * INTO o;
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, request_id)
        VALUES (instant, CASE WHEN o.id IS NULL THEN 'unknown' ELSE 'operator:' || o.login END, 'redeem_enrolment',
            CASE WHEN o.id IS NULL THEN 'denied' ELSE 'done' END, CASE WHEN o.id IS NULL THEN 'enrolment_invalid' END,
            o.id, i->>'request_id');
    IF o.id IS NULL THEN
        RETURN '{"ok": false, "error": "enrolment_invalid"}';
    END IF;
    RETURN jsonb_build_object('ok', true, 'resource', app.operator_view(o));
END $$;

-- What is done to another person: nobody changes themselves. item: {now, actor, actor_id, request_id, id, change, roles,
-- trained_until, token_hash, token_expires_at}; change: roles | training | suspend | resume | leave | reset
CREATE FUNCTION app.change_operator(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    change text := i->>'change';
    wanted text[] := ARRAY(SELECT DISTINCT r FROM jsonb_array_elements_text(coalesce(nullif(i->'roles', 'null'), '[]')) r
        ORDER BY 1);
    o app.operator;
    error text;
BEGIN
    SELECT * INTO o FROM app.operator WHERE id = i->>'id' FOR UPDATE;
    error := CASE
        WHEN o.id IS NULL THEN 'operator_not_found'
        WHEN o.id = i->>'actor_id' THEN 'operator_is_oneself'
        WHEN o.state = 'left' THEN 'operator_has_left'
        WHEN change = 'roles' THEN app.fault_of_roles(wanted)
        WHEN change = 'suspend' AND o.state <> 'active' OR change = 'resume' AND o.state <> 'suspended'
            THEN 'operator_state_differs' END;
    IF error IS NOT NULL THEN
        RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id', o.id);
    END IF;
    UPDATE app.operator SET
        roles = CASE change WHEN 'roles' THEN wanted ELSE roles END,
        trained_until = CASE change WHEN 'training' THEN (i->>'trained_until')::timestamptz ELSE trained_until END,
        state = CASE change WHEN 'suspend' THEN 'suspended' WHEN 'resume' THEN 'active' WHEN 'leave' THEN 'left'
            WHEN 'reset' THEN 'invited' ELSE state END,
        password_phc = CASE WHEN change IN ('reset', 'leave') THEN NULL ELSE password_phc END,
        credentials_expire_at = CASE WHEN change IN ('reset', 'leave') THEN NULL ELSE credentials_expire_at END,
        sealed_totp = CASE WHEN change IN ('reset', 'leave') THEN NULL ELSE sealed_totp END,
        enrolment_hash = CASE change WHEN 'reset' THEN decode(i->>'token_hash', 'hex') WHEN 'leave' THEN NULL
            ELSE enrolment_hash END,
        enrolment_expires_at = CASE change WHEN 'reset' THEN (i->>'token_expires_at')::timestamptz WHEN 'leave' THEN NULL
            ELSE enrolment_expires_at END
        WHERE id = o.id RETURNING * INTO o;
    IF change NOT IN ('training', 'resume') THEN
        PERFORM app.end_sessions(o.id, change, instant);
    END IF;
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, request_id, detail)
        VALUES (instant, i->>'actor', 'operator_' || change, 'done', o.id, i->>'request_id',
            jsonb_build_object('login', o.login, 'roles', o.roles, 'trained_until', app.instant(o.trained_until)));
    RETURN jsonb_build_object('ok', true, 'resource', app.operator_view(o));
END $$;

-- A person asks for somebody to look at something. item: {now, actor, request_id, id, subject_id, reason_text}
CREATE FUNCTION app.open_case(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text;
BEGIN
    SELECT x.merchant_id INTO whose FROM (
        SELECT p.id, p.merchant_id FROM app.payment p UNION ALL SELECT r.id, r.merchant_id FROM app.refund r
        UNION ALL SELECT b.id, b.merchant_id FROM app.binding b UNION ALL SELECT u.id, u.merchant_id FROM app.end_user u
        UNION ALL SELECT m.id, m.id FROM app.merchant m) x WHERE x.id = i->>'subject_id';
    IF whose IS NULL THEN
        RETURN '{"ok": false, "error": "instruction_not_found"}';
    END IF;
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        VALUES (i->>'id', 'operator_needed', i->>'subject_id', whose, (i->>'now')::timestamptz);
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, request_id, detail)
        VALUES ((i->>'now')::timestamptz, i->>'actor', 'open_case', 'done', i->>'id', whose, i->>'request_id',
            jsonb_build_object('subject_id', i->>'subject_id', 'reason_text', i->>'reason_text'));
    RETURN jsonb_build_object('ok', true, 'merchant_id', whose);
END $$;
