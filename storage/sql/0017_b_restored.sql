-- On data of before (docs/decisions/0018): the list of erasures knows that something was forgotten that these data still think is on its
-- way; or a process knows of a closure that they have never heard of.

CREATE FUNCTION app.is_of_items(b app.binding, tokens text[]) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN coalesce(b.agreement_token = ANY (tokens), false)
        OR EXISTS (SELECT 1 FROM jsonb_each_text(b.element_tokens) e WHERE e.value = ANY (tokens));

-- Before an entry of the list is carried out: what these data have not come to is made up for, in one commit. What outlives the person is
-- kept while the rows still say who it is; the closure goes on from where the list says that it was, so that it comes to its answer and
-- its recipients are told again; a card or a payee whose data are gone is in use no more. Where the data are as far as the list it does
-- nothing. item: {entry_id, kind: person | items, user_id, subject_id, tokens, ended_on, at}
CREATE FUNCTION app.catch_up_with_erasure(i jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
    whole boolean := i->>'kind' = 'person';
    gone text[] := ARRAY(SELECT jsonb_array_elements_text(i->'tokens'));
    u app.end_user;
    c app.closure;
BEGIN
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' FOR NO KEY UPDATE;
    IF NOT FOUND OR whole AND u.state = 'closed' THEN RETURN; END IF;
    SELECT * INTO c FROM app.closure x WHERE x.user_id = u.id AND CASE WHEN whole AND x.id <> i->>'subject_id'
            THEN x.scope <> 'deletion' AND x.state IN ('closing', 'unsigning')
            ELSE x.id = i->>'subject_id' AND x.state IN ('received', 'deciding', 'closing', 'unsigning') END FOR UPDATE;
    IF c.id IS NOT NULL THEN PERFORM app.end_closure_again(c, i, gone); END IF;
    IF NOT whole THEN
        UPDATE app.closure n SET erases = ARRAY(SELECT DISTINCT e FROM unnest(n.erases || gone) e ORDER BY 1)
            WHERE n.id = i->>'subject_id' AND n.forgotten_by IS NOT NULL AND NOT n.erases @> gone;
        -- Of a card that was in use or being bound nothing was ever erased: it had ended before.
        UPDATE app.binding b SET state = CASE b.state WHEN 'open' THEN 'unbinding' ELSE 'expired' END, state_since = instant, wait_reason = NULL
            WHERE b.user_id = u.id AND b.state IN ('accepted', 'applying', 'awaiting_code', 'open') AND app.is_of_items(b, gone);
        UPDATE app.binding b SET state = 'unbound', state_since = instant, wait_reason = NULL
            WHERE b.user_id = u.id AND b.state = 'unbinding' AND app.is_of_items(b, gone);
        UPDATE app.payee y SET state = 'removed', removed_at = instant WHERE y.user_id = u.id AND y.state <> 'removed'
            AND EXISTS (SELECT 1 FROM jsonb_each_text(y.element_tokens) e WHERE e.value = ANY (gone));
        RETURN;
    END IF;
    IF c.scope IS DISTINCT FROM 'account' THEN
        c.user_id := u.id;
        c.merchant_id := u.merchant_id;
        PERFORM app.keep_marks(c, instant);
        UPDATE app.end_user SET state = 'closed' WHERE id = u.id;
    END IF;
END $$;

-- Whoever was verified, and whatever was decided and handed over since, is not in these data; that it ended is in the list.
CREATE FUNCTION app.end_closure_again(c app.closure, i jsonb, gone text[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'at')::timestamptz;
BEGIN
    PERFORM app.end_agreement(c, instant);
    -- In legal steps. Its process may be done with it: it is started anew, or told, as nobody has told it.
    UPDATE app.closure n SET state = 'closing', forgotten_by = i->>'entry_id'
        WHERE n.id = c.id AND n.state IN ('received', 'deciding');
    -- Of the whole person the process puts into the list what is there already, word for word. Of items these data may have fewer than
    -- it names, so that would be another entry: it is a second later.
    UPDATE app.closure n SET state = 'forgetting', forgotten_by = i->>'entry_id', told = NULL, told_at = NULL,
        process_started_at = coalesce(n.process_started_at, instant),
        state_since = CASE WHEN i->>'kind' = 'person' THEN instant ELSE instant + interval '1 second' END,
        ended_on = CASE WHEN n.scope <> 'deletion'
            THEN coalesce((i->>'ended_on')::date, (instant AT TIME ZONE 'Asia/Shanghai')::date) END,
        erases = CASE WHEN i->>'kind' = 'person' THEN app.items_of_closure(n) ELSE gone END WHERE n.id = c.id RETURNING n.* INTO c;
    PERFORM app.tell_of_closure(c, 'closure.ended', instant);
    UPDATE app.case_record k SET state = 'resolved', resolved_at = instant
        WHERE k.kind = 'identity_unverified' AND k.subject_id = c.id AND k.state = 'open';
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id)
        VALUES (c.id || ':' || (i->>'entry_id'), instant, 'erasure_list', 'close_account', 'done', 'forgetting', c.id, c.merchant_id)
        ON CONFLICT (key) DO NOTHING;
END $$;

-- The process of a closure that these data do not know: it was asked after the backup, and its clock runs (P3.4). People have to have it
-- asked again; of who is gone already there is nothing to ask.
CREATE FUNCTION app.open_unknown_closure_case(closure text, who text, at timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || split_part(closure, '_', 2) || 'UNKNOWN', 'closure_unknown', coalesce(u.id, closure), coalesce(u.merchant_id, ''), at
            FROM (SELECT 1) one LEFT JOIN app.end_user u ON u.id = who
            WHERE u.state IS DISTINCT FROM 'closed' ON CONFLICT DO NOTHING;
    END;

REVOKE ALL ON FUNCTION app.is_of_items(app.binding, text[]), app.catch_up_with_erasure(jsonb), app.end_closure_again(app.closure, jsonb, text[]),
    app.open_unknown_closure_case(text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.catch_up_with_erasure(jsonb), app.open_unknown_closure_case(text, text, timestamptz) TO {app};
