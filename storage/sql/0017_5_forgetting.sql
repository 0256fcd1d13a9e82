-- Forgetting: what goes to the retention store, what is taken out of every row, whom we told, and the answer (P3.3b, P3.4, P4.2b-c,
-- P4.5d-e).

-- The remittances of a user: credited, or come to a number of the user's and gone back since. What is still nobody's, people decide.
CREATE FUNCTION app.inbounds_of(who text) RETURNS SETOF app.inbound LANGUAGE sql STABLE ROWS 10 SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT i.* FROM app.inbound i WHERE i.user_id = who
        UNION ALL
        SELECT i.* FROM app.receiving_account a JOIN app.inbound i ON i.receiving_account_id = a.id
            WHERE a.user_id = who AND i.user_id IS NULL AND i.state NOT IN ('suspense', 'returning');
    END;

-- What the law keeps of a user, as references: what is behind the tokens is opened by whoever seals it anew. One page of booked
-- transactions by id: {id, kind, event_on, content, tokens: {label: token}, sealed_under}.
CREATE FUNCTION app.transactions_to_retain(who text, after text, most int) RETURNS SETOF jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT jsonb_build_object('id', x.id, 'event_on', (x.booked_at AT TIME ZONE 'Asia/Shanghai')::date, 'content', x.content,
            'tokens', coalesce(x.tokens, '{}'), 'sealed_under', x.sealed_under,
            'signatures', (SELECT coalesce(jsonb_agg(jsonb_build_object('request_id', s.request_id, 'key_id', s.key_id,
                'action', s.action, 'created', app.instant(s.created), 'signature', encode(s.signature, 'hex'),
                'sealed_base', encode(s.sealed_base, 'base64'), 'seal_key_id', s.seal_key_id) ORDER BY s.request_id), '[]')
                FROM app.instruction_signature s WHERE s.subject_id = x.id AND s.signature IS NOT NULL))
        FROM (
            SELECT p.id, coalesce(p.booked_at, p.state_since) AS booked_at, app.payment_view(p) AS content, b.element_tokens - 'name' - 'id_number' AS tokens,
                p.user_id AS sealed_under
                FROM app.payment p JOIN app.binding b ON b.id = p.binding_id WHERE p.user_id = who
                  AND p.state IN ('succeeded', 'late_refunding', 'late_refunded')
            UNION ALL
            SELECT r.id, coalesce(r.booked_at, r.state_since), app.refund_view(r), NULL, p.user_id FROM app.payment p JOIN app.refund r ON r.payment_id = p.id
                WHERE p.user_id = who AND r.state = 'succeeded'
            UNION ALL
            SELECT o.id, coalesce(o.booked_at, o.state_since), app.payout_row_view(o), y.element_tokens, o.user_id FROM app.payout o
                JOIN app.payee y ON y.id = o.payee_id WHERE o.user_id = who AND o.state IN ('succeeded', 'returned')
            UNION ALL
            SELECT f.id, coalesce(f.delivered_at, f.state_since), app.fx_view(f), NULL, f.user_id FROM app.fx f
                WHERE f.user_id = who AND f.state = 'settled'
            UNION ALL
            SELECT i.id, i.booked_at, app.inbound_view(i), i.element_tokens, i.sealed_under FROM app.inbounds_of(who) i
            UNION ALL
            SELECT n.id, coalesce(n.booked_at, n.state_since), app.inbound_return_view(n), NULL, i.user_id FROM app.inbound_return n
                JOIN app.inbounds_of(who) i ON i.id = n.inbound_id WHERE n.state = 'succeeded') x
        WHERE x.id > after ORDER BY x.id LIMIT most;
    END;

-- Who the user was: {merchant_id, person_index, content, tokens: [..], consent_until}. Age and capacity are part of it (L1).
CREATE FUNCTION app.identity_to_retain(who text) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('merchant_id', u.merchant_id, 'person_index', u.person_index,
        'content', jsonb_build_object('user_id', u.id, 'merchant_user_ref', u.merchant_user_ref, 'type', u.type, 'region', u.region,
            'since', app.instant(u.created_at),
            'consents', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', k.kind, 'version', k.version, 'channel', k.channel,
                'evidence_ref', k.evidence_ref, 'acted_at', app.instant(k.acted_at), 'until_on', k.until_on) ORDER BY k.id), '[]')
                FROM app.consent k WHERE k.user_id = u.id),
            'bindings', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'bank_code', b.bank_code, 'card_type', b.card_type,
                'state', b.state, 'accepted_at', app.instant(b.accepted_at)) ORDER BY b.id), '[]')
                FROM app.binding b WHERE b.user_id = u.id)),
        'bindings', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'tokens', b.element_tokens) ORDER BY b.id), '[]')
            FROM app.binding b WHERE b.user_id = u.id AND b.element_tokens <> '{}'),
        'consent_until', (SELECT max(k.until_on) FROM app.consent k WHERE k.user_id = u.id AND k.kind = 'longer_retention'))
        FROM app.end_user u WHERE u.id = who);

-- Under which keys the user's data are: the user's own, and those of remittances whose owner nobody knew at first. Whatever a row says,
-- it is never the key of another user or of another remittance: what is destroyed does not come back.
CREATE FUNCTION app.keys_of_user(who text) RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT array_agg(DISTINCT x.id) FROM (SELECT who AS id UNION ALL
        SELECT i.sealed_under FROM app.inbounds_of(who) i WHERE i.sealed_under = i.id) x);

-- The items that a closure of quick pay or a deletion erases. They are fixed while the user's row is locked: what is accepted later
-- stays, and another attempt erases the same.
CREATE FUNCTION app.items_of_closure(c app.closure) RETURNS text[] LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN ARRAY(SELECT x.token FROM vault.item x WHERE x.user_id = c.user_id AND x.erased_at IS NULL
        AND x.field = ANY (app.fields_to_forget(c)) ORDER BY x.token);

CREATE FUNCTION app.items_to_forget(closure text) RETURNS TABLE (token text, field text) LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT x.token, x.field FROM app.closure c JOIN vault.item x ON x.token = ANY (c.erases) WHERE c.id = closure ORDER BY x.token;
    END;

CREATE FUNCTION app.without_digits(body jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN body || CASE WHEN body ? 'card_last4' THEN '{"card_last4": null}'::jsonb ELSE '{}' END
        || CASE WHEN body ? 'account_last4' THEN '{"account_last4": null}'::jsonb ELSE '{}' END
        || CASE WHEN body ? 'evidence_ref' THEN '{"evidence_ref": null}'::jsonb ELSE '{}' END
        || CASE WHEN body ? 'evidence' THEN '{"evidence": []}'::jsonb ELSE '{}' END
        || CASE WHEN body->>'mandate_reference' IS NOT NULL THEN '{"mandate_reference": "forgotten"}'::jsonb ELSE '{}' END
        || CASE WHEN body ? 'merchant_user_ref' THEN '{"merchant_user_ref": null}'::jsonb ELSE '{}' END;

-- What an instruction has taken of limits, without that of the card or the payee's account: it names them by their digest.
CREATE FUNCTION app.without_cards(reservations jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce(jsonb_agg(r.value ORDER BY r.ordinality), '[]') FROM jsonb_array_elements(reservations) WITH ORDINALITY r
        WHERE r.value->>'subject' NOT LIKE ALL ('{card:%,payee:%}'));

-- The ids of everything that is a user's: of the user, and of what the user had and instructed.
CREATE FUNCTION app.objects_of(who text) RETURNS SETOF text LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT who UNION ALL SELECT b.id FROM app.binding b WHERE b.user_id = who
        UNION ALL SELECT p.id FROM app.payment p WHERE p.user_id = who
        UNION ALL SELECT r.id FROM app.payment p JOIN app.refund r ON r.payment_id = p.id WHERE p.user_id = who
        UNION ALL SELECT o.id FROM app.payout o WHERE o.user_id = who
        UNION ALL SELECT y.id FROM app.payee y WHERE y.user_id = who
        UNION ALL SELECT a.id FROM app.receiving_account a WHERE a.user_id = who
        UNION ALL SELECT m.id FROM app.fx_mandate m WHERE m.user_id = who
        UNION ALL SELECT f.id FROM app.fx f WHERE f.user_id = who
        UNION ALL SELECT d.id FROM app.dispute d WHERE d.user_id = who
        UNION ALL SELECT c.id FROM app.closure c WHERE c.user_id = who;
    END;

-- Takes out of every row what could be about the person: names given by the merchant, digests, last digits, references, signatures,
-- answers kept for replays. Amounts, instants and ids stay: they are the institution's books, and say of nobody whom they are about.
-- On a backup from before the closure it also closes what was open then. May be repeated.
CREATE FUNCTION app.forget_user(who text, at timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    theirs text[];
BEGIN
    PERFORM 1 FROM app.end_user WHERE id = who FOR UPDATE;
    theirs := ARRAY(SELECT app.objects_of(who));
    PERFORM set_config('liushui.forgetting', 'on', true);
    UPDATE app.binding SET state = 'expired', state_since = at, wait_reason = NULL
        WHERE user_id = who AND state IN ('accepted', 'applying', 'awaiting_code');
    UPDATE app.binding SET state = 'unbinding', state_since = at WHERE user_id = who AND state = 'open';
    UPDATE app.binding SET state = 'unbound', state_since = at, wait_reason = NULL WHERE user_id = who AND state = 'unbinding';
    UPDATE app.receiving_account SET state = 'closed', state_since = at WHERE user_id = who AND state = 'open';
    UPDATE app.fx_mandate SET state = 'ended', ended_at = at WHERE user_id = who AND state = 'active';
    UPDATE app.payee SET state = 'removed', removed_at = at WHERE user_id = who AND state <> 'removed';
    UPDATE app.end_user SET state = 'closed', person_index = NULL, merchant_user_ref = NULL WHERE id = who;
    UPDATE app.binding SET card_index = NULL, card_last4 = NULL, person_index = NULL, element_tokens = '{}', agreement_token = NULL
        WHERE user_id = who;
    UPDATE app.payee SET account_index = NULL, account_last4 = NULL, name_index = NULL, element_tokens = '{}' WHERE user_id = who;
    UPDATE app.receiving_account SET holder_index = NULL, account_index = NULL, account_last4 = NULL, element_tokens = '{}'
        WHERE user_id = who;
    UPDATE app.inbound n SET account_index = NULL, receiver_index = NULL, element_tokens = '{}'
        WHERE n.id IN (SELECT i.id FROM app.inbounds_of(who) i
            UNION ALL SELECT x.id FROM app.inbound x WHERE x.id = who AND x.sealed_under = who);
    UPDATE app.payment SET limit_reservations = app.without_cards(limit_reservations)
        WHERE user_id = who AND limit_reservations <> app.without_cards(limit_reservations);
    UPDATE app.payout SET limit_reservations = app.without_cards(limit_reservations)
        WHERE user_id = who AND limit_reservations <> app.without_cards(limit_reservations);
    UPDATE app.payment SET mandate_reference = 'forgotten' WHERE user_id = who AND mandate_reference <> 'forgotten';
    UPDATE app.payout SET mandate_reference = 'forgotten' WHERE user_id = who AND mandate_reference <> 'forgotten';
    UPDATE app.fx_mandate SET mandate_reference = 'forgotten' WHERE user_id = who AND mandate_reference <> 'forgotten';
    UPDATE app.decision SET detail = detail - 'evidence_ref' WHERE subject_id = ANY (theirs) AND detail ? 'evidence_ref';
    UPDATE app.fx SET evidence = '[]' WHERE user_id = who AND evidence <> '[]';
    UPDATE app.fx_mandate SET evidence = '[]' WHERE user_id = who AND evidence <> '[]';
    UPDATE app.consent SET evidence_ref = NULL WHERE user_id = who AND evidence_ref IS NOT NULL;
    UPDATE app.user_report SET evidence_ref = NULL WHERE user_id = who AND evidence_ref IS NOT NULL;
    UPDATE app.closure SET evidence_ref = NULL, identity_evidence_ref = NULL WHERE user_id = who;
    UPDATE app.dispute SET evidence_ref = NULL WHERE user_id = who;
    UPDATE app.instruction_signature SET signature = NULL, sealed_base = NULL, seal_key_id = NULL
        WHERE subject_id = ANY (theirs) AND signature IS NOT NULL;
    UPDATE app.event SET body = app.without_digits(body) WHERE object_id = ANY (theirs) AND body <> app.without_digits(body);
    -- What merchants answered to webhooks may well say it all once more. Requests about the closure itself can still be repeated.
    UPDATE app.webhook_attempt t SET response = NULL FROM app.webhook_delivery w
        WHERE t.delivery = w.position AND w.object_id = ANY (theirs) AND t.response IS NOT NULL;
    DELETE FROM app.idempotency d WHERE d.resource_id = ANY (theirs) AND d.resource_id NOT LIKE 'cls\_%';
    DELETE FROM app.user_waiver WHERE user_id = who;
    DELETE FROM app.screening_subject WHERE subject_id = ANY (theirs);
    PERFORM set_config('liushui.forgetting', '', true);
END $$;

-- The same for some items: digests and digits of what they were of go, where nothing else of the kind is left.
CREATE FUNCTION app.forget_items(who text, tokens text[], at timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    emptied text[];
BEGIN
    UPDATE app.binding b SET card_index = CASE WHEN b.element_tokens->>'card_number' = ANY (tokens) THEN NULL ELSE b.card_index END,
            card_last4 = CASE WHEN b.element_tokens->>'card_number' = ANY (tokens) THEN NULL ELSE b.card_last4 END,
            person_index = CASE WHEN b.element_tokens->>'id_number' = ANY (tokens) THEN NULL ELSE b.person_index END,
            agreement_token = CASE WHEN b.agreement_token = ANY (tokens) THEN NULL ELSE b.agreement_token END,
            element_tokens = (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(b.element_tokens) e
                WHERE NOT e.value #>> '{}' = ANY (tokens))
        WHERE b.user_id = who AND b.state NOT IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding')
          AND (b.agreement_token = ANY (tokens) OR EXISTS (SELECT 1 FROM jsonb_each_text(b.element_tokens) e WHERE e.value = ANY (tokens)));
    UPDATE app.payment p SET limit_reservations = app.without_cards(p.limit_reservations) FROM app.binding b
        WHERE b.user_id = who AND b.card_index IS NULL AND p.user_id = who AND p.binding_id = b.id
          AND p.limit_reservations <> app.without_cards(p.limit_reservations);
    UPDATE app.payee y SET account_index = CASE WHEN y.element_tokens->>'account_number' = ANY (tokens) THEN NULL ELSE y.account_index END,
            account_last4 = CASE WHEN y.element_tokens->>'account_number' = ANY (tokens) THEN NULL ELSE y.account_last4 END,
            name_index = CASE WHEN y.element_tokens->>'name' = ANY (tokens) THEN NULL ELSE y.name_index END,
            element_tokens = (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(y.element_tokens) e
                WHERE NOT e.value #>> '{}' = ANY (tokens))
        WHERE y.user_id = who AND y.state = 'removed'
          AND EXISTS (SELECT 1 FROM jsonb_each_text(y.element_tokens) e WHERE e.value = ANY (tokens));
    emptied := ARRAY(SELECT b.id FROM app.binding b WHERE b.user_id = who AND b.card_last4 IS NULL
        UNION ALL SELECT y.id FROM app.payee y WHERE y.user_id = who AND y.account_last4 IS NULL);
    UPDATE app.event n SET body = app.without_digits(n.body)
        WHERE n.object_id = ANY (emptied) AND n.body <> app.without_digits(n.body);
    -- A request can still be repeated, and is answered without them.
    UPDATE app.idempotency d SET answer = jsonb_set(d.answer, '{resource}', app.without_digits(d.answer->'resource'))
        WHERE d.resource_id = ANY (emptied) AND jsonb_typeof(d.answer->'resource') = 'object'
          AND d.answer->'resource' <> app.without_digits(d.answer->'resource');
END $$;

-- An entry of the list of erasures is carried out in this database.
CREATE FUNCTION app.erasure_applied(entry text, position_ bigint, at timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.applied_erasure (entry_id, position, at) VALUES (entry, position_, at) ON CONFLICT DO NOTHING;
    END;

-- Of these entries, those that this database has not carried out.
CREATE FUNCTION app.erasures_missing(entries text[]) RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT coalesce(array_agg(e.id ORDER BY e.ordinality), '{}') FROM unnest(entries) WITH ORDINALITY AS e (id, ordinality)
        WHERE NOT EXISTS (SELECT 1 FROM app.applied_erasure a WHERE a.entry_id = e.id));

-- The notices of a closure that are not done: {recipient, kind, request_number, told, reply, disclosed_under}. A bank is told by the
-- numbers under which it got the data, the latest first, in as many notices as they take.
CREATE FUNCTION app.notices_to_give(closure text) RETURNS SETOF jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT jsonb_build_object('recipient', n.recipient, 'request_number', n.request_number, 'told', n.told_at IS NOT NULL,
            'reply', n.reply, 'scope', c.scope, 'fields', to_jsonb(c.fields), 'disclosed_under', to_jsonb(n.disclosed_under))
        FROM app.erasure_notice n JOIN app.closure c ON c.id = n.closure_id
        WHERE n.closure_id = closure AND n.kind = 'bank' AND n.reply NOT IN ('erased', 'kept') ORDER BY n.recipient, n.part;
    END;

-- Before it leaves, its number is here: item {request_number, now}.
CREATE FUNCTION app.claim_notice(i jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)
            SELECT n.request_number, n.closure_id, 'EN', n.recipient, t.role, (i->>'now')::timestamptz
            FROM app.erasure_notice n JOIN app.partner t ON t.code = n.recipient
            WHERE n.request_number = i->>'request_number' AND n.kind = 'bank' ON CONFLICT DO NOTHING;
    END;

-- What a bank has replied: item {request_number, now, reply: received | erased | kept, reason}
CREATE FUNCTION app.record_reply(i jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    n app.erasure_notice;
BEGIN
    SELECT * INTO n FROM app.erasure_notice x WHERE x.request_number = i->>'request_number' FOR UPDATE;
    IF n.closure_id IS NULL OR n.reply IN ('erased', 'kept') OR n.reply = i->>'reply' THEN RETURN; END IF;
    UPDATE app.erasure_notice x SET told_at = coalesce(x.told_at, instant), reply = i->>'reply', reply_reason = i->>'reason',
        replied_at = CASE WHEN i->>'reply' <> 'received' THEN instant END
        WHERE x.request_number = n.request_number;
    UPDATE app.effect e SET outcome = 'succeeded', resolved_at = instant WHERE e.request_number = n.request_number AND e.outcome IS NULL;
    INSERT INTO app.operation (key, at, actor, action, outcome, reason, subject_id, merchant_id, partner, request_number)
        SELECT n.request_number || ':' || (i->>'reply'), instant, 'process', 'notify_erasure', 'done', i->>'reply', n.closure_id,
            c.merchant_id, n.recipient, n.request_number FROM app.closure c WHERE c.id = n.closure_id ON CONFLICT (key) DO NOTHING;
END $$;

-- The answer is given: item {closure_id, now, answer}. The merchant is told to delete by the event.
CREATE FUNCTION app.complete_closure(i jsonb) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    c app.closure;
BEGIN
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id' FOR UPDATE;
    IF c.state <> 'forgetting' THEN RETURN c.state; END IF;
    UPDATE app.erasure_notice n SET told_at = coalesce(n.told_at, instant)
        WHERE n.closure_id = c.id AND n.kind = 'merchant';
    UPDATE app.closure n SET state = 'completed', state_since = instant, answer = i->'answer', answered_at = instant
        WHERE n.id = c.id RETURNING n.* INTO c;
    PERFORM app.tell_of_closure(c, 'closure.completed', instant);
    INSERT INTO app.operation (key, at, actor, action, outcome, subject_id, merchant_id)
        VALUES (c.id || ':completed', instant, 'process', 'close_account', 'done', c.id, c.merchant_id) ON CONFLICT (key) DO NOTHING;
    RETURN c.state;
END $$;

-- Nothing is left to follow, or the time for replies is over: who has not replied is a case. item: {closure_id, now}
CREATE FUNCTION app.end_following(i jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    c app.closure;
BEGIN
    SELECT * INTO c FROM app.closure WHERE id = i->>'closure_id' FOR UPDATE;
    IF c.followed_at IS NOT NULL THEN RETURN; END IF;
    IF EXISTS (SELECT 1 FROM app.erasure_notice n WHERE n.closure_id = c.id AND n.reply NOT IN ('erased', 'kept')) THEN
        PERFORM app.open_closure_case('erasure_reply_missing', c, instant);
    END IF;
    UPDATE app.closure n SET followed_at = instant, seen = app.closure_print(n.state, '[]') WHERE n.id = c.id;
END $$;

-- What an answer is made of: {closure: …, merchant_name, disclosed fields erased: …}.
CREATE FUNCTION app.closure_facts(closure text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT jsonb_build_object('closure', app.closure_view(c, at, true), 'merchant_name', m.name, 'answer', c.answer,
        'erased', (SELECT jsonb_build_object('items', count(*), 'at', app.instant(max(x.erased_at)),
            'fields', coalesce(jsonb_agg(DISTINCT x.field), '[]')) FROM vault.item x
            WHERE x.user_id = ANY (app.keys_of_user(c.user_id)) AND x.erased_at IS NOT NULL
              AND (c.scope = 'account' OR x.token = ANY (c.erases))),
        'pseudonymous', (SELECT coalesce(jsonb_agg(p.what), '[]') FROM (
            SELECT 'fx_quota' AS what WHERE EXISTS (SELECT 1 FROM app.fx_quota_entry q JOIN app.fx f ON f.id = q.fx_id WHERE f.user_id = c.user_id)
            UNION ALL SELECT 'misuse_marks' WHERE EXISTS (SELECT 1 FROM app.restriction r WHERE r.subject_id = c.user_id
                AND r.kind = 'suspension' AND r.lifted_at IS NULL)
            UNION ALL SELECT 'screening' WHERE EXISTS (SELECT 1 FROM app.screening_clearance k JOIN app.screening_match s ON s.id = k.match_id
                WHERE s.subject_id = c.user_id)) p),
        'notices', app.notices_of(c.id))
        FROM app.closure c JOIN app.merchant m ON m.id = c.merchant_id WHERE c.id = closure);
