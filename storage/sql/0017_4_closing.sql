-- The process of a closure: one look at what is in the way, and the step that follows from it, under the locks that acceptances take.

-- A case for people about a closure, once a kind; under an id by which people can decide it, as of every case.
CREATE FUNCTION app.open_closure_case(kind_ text, c app.closure, at timestamptz) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            VALUES ('case_' || split_part(c.id, '_', 2) || CASE kind_ WHEN 'closure_due' THEN 'DUE' WHEN 'closure_overdue' THEN 'OVERDUE'
                WHEN 'identity_unverified' THEN 'IDENTITY' ELSE 'REPLY' END, kind_, c.id, c.merchant_id, at) ON CONFLICT DO NOTHING;
    END;

-- The banks are to be told that the agreements end: each open binding has a process for it, which the sweeper starts.
CREATE FUNCTION app.unsign_all(c app.closure, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    b app.binding;
BEGIN
    FOR b IN UPDATE app.binding n SET state = 'unbinding', state_since = at, wait_reason = 'process_start',
            process_started_at = NULL, event_sequence = n.event_sequence + 1
            WHERE n.user_id = c.user_id AND n.state = 'open' RETURNING n.* LOOP
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (b.merchant_id, b.id, b.event_sequence, 'binding.unbinding', at, app.binding_view(b));
    END LOOP;
END $$;

-- What outlives the person, under the keyed pseudonym: what was decided about misconduct in this relation, and what is used of
-- limits whose window is not over. A quota used is under it already. A mark that came back with the user goes or stays as people
-- have decided since; those of another user who is the same person stay, and what both have used adds up.
CREATE FUNCTION app.keep_marks(c app.closure, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    person text := (SELECT u.person_index FROM app.end_user u WHERE u.id = c.user_id);
    today date := (at AT TIME ZONE 'Asia/Shanghai')::date;
BEGIN
    IF person IS NULL THEN RETURN; END IF;
    DELETE FROM app.person_mark m WHERE m.person_index = person AND m.merchant_id = c.merchant_id AND EXISTS (
        SELECT 1 FROM app.restriction r WHERE r.subject_id = c.user_id AND r.placed_by = 'mark:' || m.id);
    -- Under a name of its own: nothing of it leads back to the rows of who has left.
    INSERT INTO app.person_mark (id, person_index, merchant_id, function, ground, placed_at)
        SELECT 'mrk_' || replace(gen_random_uuid()::text, '-', ''), person, c.merchant_id, r.function, r.ground, r.placed_at FROM app.restriction r
        WHERE r.subject_id = c.user_id AND r.kind = 'suspension' AND r.lifted_at IS NULL;
    INSERT INTO app.carried_limit AS l (person_index, merchant_id, window_kind, window_start, currency, used_minor)
        SELECT person, c.merchant_id, u.window_kind, u.window_start, u.currency, u.used_minor FROM app.limit_usage u
        WHERE u.subject = 'user:' || c.user_id AND u.used_minor > 0
          AND u.window_start >= CASE u.window_kind WHEN 'day' THEN today ELSE date_trunc('month', today)::date END
        ON CONFLICT (person_index, merchant_id, window_kind, window_start, currency)
            DO UPDATE SET used_minor = l.used_minor + excluded.used_minor;
END $$;

-- Who is back is known by the document that a bank has confirmed: what was said then holds again.
CREATE FUNCTION app.bring_back_marks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    m app.person_mark;
BEGIN
    FOR m IN SELECT x.* FROM app.person_mark x WHERE x.person_index = NEW.person_index AND x.merchant_id = NEW.merchant_id
            ORDER BY x.id LOOP
        INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at)
            VALUES ('rst_' || upper(substr(md5(m.id || NEW.id), 1, 26)), 'suspension', NEW.id, NEW.merchant_id, m.function, m.ground,
                'mark:' || m.id, m.placed_at) ON CONFLICT DO NOTHING;
        IF m.function IS NULL THEN
            UPDATE app.end_user SET state = 'suspended' WHERE id = NEW.id AND state = 'active';
        END IF;
        INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
            VALUES (m.placed_at, 'process', 'bring_back_mark', 'done', m.ground, NEW.id, NEW.merchant_id);
    END LOOP;
    INSERT INTO app.limit_usage AS u (subject, window_kind, window_start, currency, used_minor)
        SELECT 'user:' || NEW.id, l.window_kind, l.window_start, l.currency, l.used_minor FROM app.carried_limit l
        WHERE l.person_index = NEW.person_index AND l.merchant_id = NEW.merchant_id
        ON CONFLICT (subject, window_kind, window_start, currency) DO UPDATE SET used_minor = u.used_minor + excluded.used_minor;
    DELETE FROM app.carried_limit l WHERE l.person_index = NEW.person_index AND l.merchant_id = NEW.merchant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER known_again AFTER UPDATE OF person_index ON app.end_user
    FOR EACH ROW WHEN (OLD.person_index IS NULL AND NEW.person_index IS NOT NULL) EXECUTE FUNCTION app.bring_back_marks();

-- Everybody who got data of the user: the merchant, and each bank to which some were disclosed, by the numbers under which it got
-- them, the latest first, a thousand a notice.
CREATE FUNCTION app.open_notices(c app.closure) RETURNS void LANGUAGE sql SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.erasure_notice (closure_id, recipient, kind) VALUES (c.id, c.merchant_id, 'merchant')
            ON CONFLICT DO NOTHING;
        INSERT INTO app.erasure_notice (closure_id, recipient, part, kind, disclosed_under, request_number)
            SELECT c.id, d.code, d.part, 'bank', array_agg(d.request_number ORDER BY d.place),
                'EN' || split_part(c.id, '_', 2) || to_char(row_number() OVER (ORDER BY d.code, d.part), 'FM999999900')
            FROM (SELECT x.code, x.request_number, x.place, (x.place - 1) / 1000 + 1 AS part FROM (
                SELECT t.code, v.request_number,
                    row_number() OVER (PARTITION BY t.code ORDER BY max(v.at) DESC, v.request_number) AS place
                FROM vault.disclosure v JOIN app.partner t ON t.code = v.recipient
                    OR t.code = (SELECT e.bank_code FROM app.export_contract e WHERE e.recipient = v.recipient LIMIT 1)
                WHERE v.user_id = c.user_id AND (c.scope = 'account' OR v.fields && app.fields_to_forget(c))
                GROUP BY t.code, v.request_number) x) d
            GROUP BY d.code, d.part ON CONFLICT DO NOTHING;
    END;

-- The agreement ends on this day, in this transaction (P4.5c). Its bindings are unbound by then.
CREATE FUNCTION app.end_agreement(c app.closure, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    a app.receiving_account;
BEGIN
    PERFORM app.open_notices(c);
    IF c.scope <> 'account' THEN RETURN; END IF;
    PERFORM app.keep_marks(c, at);
    UPDATE app.end_user SET state = 'closed' WHERE id = c.user_id;
    FOR a IN UPDATE app.receiving_account n SET state = 'closed', state_since = at, wait_reason = NULL,
            event_sequence = n.event_sequence + 1 WHERE n.user_id = c.user_id AND n.state = 'open' RETURNING n.* LOOP
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (a.merchant_id, a.id, a.event_sequence, 'receiving_account.closed', at, app.receiving_account_view(a));
    END LOOP;
    UPDATE app.fx_mandate SET state = 'ended', ended_at = at WHERE user_id = c.user_id AND state = 'active';
    UPDATE app.payee SET state = 'removed', removed_at = at WHERE user_id = c.user_id AND state <> 'removed';
    DELETE FROM app.user_waiver WHERE user_id = c.user_id;
END $$;

-- Where a closure stands, and the next step if nothing is in its way. item: {closure_id, now, due_on, escalate_on,
-- due_is_provisional}. Answers {found, state, scope, user_id, merchant_id, obstacles, look_at}: when to look again at the latest.
CREATE FUNCTION app.look_at_closure(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    today date := (instant AT TIME ZONE 'Asia/Shanghai')::date;
    c app.closure;
    obstacles jsonb;
    next text;
    before text;
BEGIN
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id';
    IF NOT FOUND THEN RETURN '{"found": false}'; END IF;
    PERFORM 1 FROM app.merchant WHERE id = c.merchant_id FOR KEY SHARE;
    PERFORM 1 FROM app.end_user WHERE id = c.user_id FOR NO KEY UPDATE;
    SELECT * INTO c FROM app.closure WHERE id = c.id FOR UPDATE;
    UPDATE app.closure n SET due_on = coalesce((i->>'due_on')::date, n.due_on),
        escalate_on = coalesce((i->>'escalate_on')::date, n.escalate_on),
        due_is_provisional = coalesce((i->>'due_is_provisional')::boolean, n.due_is_provisional),
        process_started_at = coalesce(n.process_started_at, instant) WHERE n.id = c.id;
    UPDATE app.closure n SET escalated_at = CASE WHEN n.state NOT IN ('completed', 'refused') AND today >= n.escalate_on THEN coalesce(n.escalated_at, instant)
            ELSE n.escalated_at END,
        overdue_at = CASE WHEN n.state NOT IN ('completed', 'refused') AND today > n.due_on THEN coalesce(n.overdue_at, instant)
            ELSE n.overdue_at END
        WHERE n.id = c.id RETURNING n.* INTO c;
    IF c.state NOT IN ('completed', 'refused') THEN
        IF c.escalated_at IS NOT NULL THEN PERFORM app.open_closure_case('closure_due', c, instant); END IF;
        IF c.overdue_at IS NOT NULL THEN PERFORM app.open_closure_case('closure_overdue', c, instant); END IF;
    END IF;
    FOR round IN 1..3 LOOP
        before := c.state;
        obstacles := CASE WHEN c.state IN ('forgetting', 'completed', 'refused') THEN '[]' ELSE app.closure_obstacles(c, instant) END;
        next := CASE
            WHEN c.state = 'closing' AND obstacles = '[]' AND c.scope = 'deletion' THEN 'forgetting'
            WHEN c.state = 'closing' AND obstacles = '[]' THEN 'unsigning'
            WHEN c.state = 'unsigning' AND obstacles = '[]' THEN 'forgetting'
            -- Something came in while the banks were being told: its turn is first.
            WHEN c.state = 'unsigning' AND EXISTS (SELECT 1 FROM jsonb_array_elements(obstacles) o WHERE o.value->>'kind' <> 'agreement')
                THEN 'closing' END;
        EXIT WHEN next IS NULL;
        IF next = 'unsigning' THEN PERFORM app.unsign_all(c, instant); END IF;
        IF next = 'forgetting' THEN PERFORM app.end_agreement(c, instant); END IF;
        UPDATE app.closure n SET state = next, state_since = instant,
            erases = CASE WHEN next = 'forgetting' THEN app.items_of_closure(n) ELSE n.erases END,
            ended_on = CASE WHEN next = 'forgetting' AND n.scope <> 'deletion' THEN today END WHERE n.id = c.id RETURNING n.* INTO c;
        PERFORM app.tell_of_closure(c, CASE next WHEN 'forgetting' THEN 'closure.ended' ELSE 'closure.' || next END, instant);
        INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id)
            VALUES (c.id || ':' || next || ':' || c.event_sequence, instant, 'process', 'close_account', 'done', next, c.id, c.merchant_id)
            ON CONFLICT (key) DO NOTHING;
        EXIT WHEN next = 'closing';
        SELECT * INTO c FROM app.closure WHERE id = c.id;
    END LOOP;
    obstacles := CASE WHEN c.state IN ('forgetting', 'completed', 'refused') THEN '[]' ELSE app.closure_obstacles(c, instant) END;
    UPDATE app.closure n SET seen = app.closure_print(c.state, obstacles), told = NULL, told_at = NULL,
        followed_at = CASE c.state WHEN 'refused' THEN coalesce(n.followed_at, instant) ELSE n.followed_at END WHERE n.id = c.id;
    RETURN jsonb_build_object('found', true, 'state', c.state, 'scope', c.scope, 'user_id', c.user_id,
        'merchant_id', c.merchant_id, 'obstacles', obstacles, 'ended_on', c.ended_on, 'since', app.instant(c.state_since),
        'look_at', app.instant((SELECT min(x.at) FROM (VALUES
            (CASE WHEN c.escalated_at IS NULL THEN c.escalate_on::timestamp AT TIME ZONE 'Asia/Shanghai' END),
            (CASE WHEN c.overdue_at IS NULL THEN (c.due_on + 1)::timestamp AT TIME ZONE 'Asia/Shanghai' END)) AS x (at)
            WHERE x.at > instant)));
END $$;

-- By what a process is told that something has changed: the state, and what is in the way.
CREATE FUNCTION app.closure_print(state text, obstacles jsonb) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN md5(state || (SELECT coalesce(string_agg(concat_ws(' ', o.value->>'kind', o.value->>'subject_id', o.value->>'detail'), ','
        ORDER BY o.ordinality), '') FROM jsonb_array_elements(obstacles) WITH ORDINALITY o));

-- Whether a process that is to be started or told has not been of just this for a while: it may be at it, or its look at the books may
-- fail, and a word every few seconds would do nothing but fill its history.
CREATE FUNCTION app.is_to_be_told(c app.closure, print text, at timestamptz, again_after interval) RETURNS boolean LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog
    RETURN c.told IS DISTINCT FROM print OR c.told_at <= at - again_after;

-- Closures that nobody looks after: accepted and not started (`start`), or what is in the way has changed since its process has
-- looked (`tell`). Rejected by nobody, each is told until its process has seen it, at once of what is new and then now and again.
CREATE FUNCTION app.unattended_closures(at timestamptz, older_than interval, again_after interval, most int)
    RETURNS TABLE (kind text, id text, merchant_id text, user_id text, print text) LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        (SELECT 'start', c.id, c.merchant_id, c.user_id, 'start' FROM app.closure c WHERE c.process_started_at IS NULL
            AND c.state NOT IN ('completed', 'refused') AND c.recorded_at < at - older_than
            AND app.is_to_be_told(c, 'start', at, again_after) ORDER BY c.recorded_at LIMIT most)
        UNION ALL
        -- Of very many some in each round, whichever: looking at all of them at once would take longer than a round.
        (SELECT 'tell', (y.c).id, (y.c).merchant_id, (y.c).user_id, y.print FROM (
                SELECT x.c, app.closure_print((x.c).state, app.closure_obstacles(x.c, at)) AS print FROM (SELECT c FROM app.closure c
                    WHERE c.process_started_at IS NOT NULL AND c.state NOT IN ('forgetting', 'completed', 'refused')
                    ORDER BY random() LIMIT 500) x OFFSET 0) y
            WHERE y.print IS DISTINCT FROM (y.c).seen AND app.is_to_be_told(y.c, y.print, at, again_after)
            ORDER BY (y.c).received_at LIMIT most)
        UNION ALL
        -- On restored data, what goes on where the list of erasures says that it was.
        (SELECT 'tell', c.id, c.merchant_id, c.user_id, 'forgotten' FROM app.closure c WHERE c.state = 'forgetting'
            AND c.forgotten_by IS NOT NULL AND c.process_started_at IS NOT NULL AND app.is_to_be_told(c, 'forgotten', at, again_after)
            ORDER BY c.received_at LIMIT most)
        UNION ALL
        -- What people refuse, the process hears of.
        (SELECT 'tell', c.id, c.merchant_id, c.user_id, 'refused' FROM app.closure c WHERE c.state = 'refused'
            AND c.process_started_at IS NOT NULL AND c.followed_at IS NULL AND app.is_to_be_told(c, 'refused', at, again_after)
            ORDER BY c.answered_at LIMIT most);
    END;

-- One of those is about to be told, by whoever calls this first: answers whether that is the caller. Without a print nobody has been:
-- it is to be told in the next round. Who is looking at it just now needs no word.
CREATE FUNCTION app.claim_telling(closure text, print text, at timestamptz, again_after interval) RETURNS boolean LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.closure n SET told = print, told_at = CASE WHEN print IS NOT NULL THEN at END
        WHERE n.id = (SELECT c.id FROM app.closure c WHERE c.id = closure
            AND (print IS NULL OR app.is_to_be_told(c, print, at, again_after)) FOR NO KEY UPDATE SKIP LOCKED);
    RETURN FOUND;
END $$;

-- Those whose process should run and has not moved for long; the sweeper asks Temporal for each.
CREATE FUNCTION app.unfinished_closures(at timestamptz, older_than interval, after text, most int)
    RETURNS TABLE (id text, merchant_id text, user_id text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT c.id, c.merchant_id, c.user_id FROM app.closure c WHERE c.process_started_at IS NOT NULL
            AND (c.state NOT IN ('completed', 'refused') OR c.state = 'completed' AND c.followed_at IS NULL)
            AND c.state_since < at - older_than AND c.id > after ORDER BY c.id LIMIT most;
    END;

-- Whatever a closure is at and however long it is at it, people hear of it before it is due and when it is over (P3.4): also where
-- its process cannot look any more, as while it forgets. Answers how many heard of it for the first time.
CREATE FUNCTION app.escalate_closures(at timestamptz) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    today date := (at AT TIME ZONE 'Asia/Shanghai')::date;
    c app.closure;
    n int := 0;
BEGIN
    FOR c IN SELECT x.* FROM app.closure x WHERE x.state NOT IN ('completed', 'refused')
            AND (x.escalated_at IS NULL AND today >= x.escalate_on OR x.overdue_at IS NULL AND today > x.due_on)
            ORDER BY x.id FOR UPDATE SKIP LOCKED LOOP
        UPDATE app.closure x SET escalated_at = coalesce(x.escalated_at, at),
            overdue_at = CASE WHEN today > x.due_on THEN coalesce(x.overdue_at, at) ELSE x.overdue_at END WHERE x.id = c.id;
        PERFORM app.open_closure_case('closure_due', c, at);
        IF today > c.due_on THEN PERFORM app.open_closure_case('closure_overdue', c, at); END IF;
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;

-- Money that came to a user who has left, such as a payout sent back: it is the user's, and people have to find a way (A8.4). What
-- comes after they have is a case again.
CREATE FUNCTION app.open_late_money_cases(at timestamptz) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    n int;
BEGIN
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        SELECT 'case_' || split_part(u.id, '_', 2) || 'LATE' || count(DISTINCT k.id), 'money_after_closing', u.id, u.merchant_id, at
        FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id AND b.posted <> 0
        JOIN app.end_user u ON u.id = a.owner_reference AND u.state = 'closed'
        LEFT JOIN app.case_record k ON k.kind = 'money_after_closing' AND k.subject_id = u.id
        WHERE a.kind IN ('user', 'frozen') GROUP BY u.id
        HAVING coalesce(bool_and(k.state = 'resolved') AND max(b.changed_at) > max(k.resolved_at), true) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT;
    -- What a desk takes back of somebody who has left can take nothing any more: what becomes of it, people decide.
    INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
        SELECT 'case_' || split_part(f.id, '_', 2) || 'LEFT', 'operator_needed', f.id, f.merchant_id, at
        FROM app.fx f JOIN app.end_user u ON u.id = f.user_id AND u.state = 'closed' WHERE f.state = 'waiting' ON CONFLICT DO NOTHING;
    RETURN n;
END $$;
