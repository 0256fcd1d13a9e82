-- What a process checks, what a report stops, and what is looked after when people and processes do nothing. Former
-- bodies: 0007_6_following.sql.

-- A user's report stops the user's payments and payouts at once, also those that wait: they meet it at the send claim (A3.9a).
CREATE OR REPLACE FUNCTION app.report_user(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    whose text := i->'request'->>'merchant_id';
    instant timestamptz := (i->>'now')::timestamptz;
    u app.end_user;
    p app.payment;
    r app.user_report;
    answer jsonb;
BEGIN
    PERFORM 1 FROM app.merchant WHERE id = whose FOR KEY SHARE;
    SELECT * INTO u FROM app.end_user WHERE id = i->>'user_id' AND merchant_id = whose FOR NO KEY UPDATE;
    SELECT * INTO p FROM app.payment WHERE id = i->>'payment_id' AND user_id = u.id;
    SELECT * INTO r FROM app.user_report WHERE case_id = i->>'id';
    IF u.id IS NULL THEN
        answer := '{"ok": false, "error": "user_not_found"}';
    ELSIF i->>'payment_id' IS NOT NULL AND p.id IS NULL THEN
        answer := '{"ok": false, "error": "payment_not_found"}';
    ELSE
        IF r.case_id IS NULL THEN
            INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at, payments)
                VALUES (i->>'id', i->>'kind', u.id, whose, instant,
                    CASE WHEN p.id IS NULL THEN '{}' ELSE ARRAY[p.id] END);
            INSERT INTO app.user_report AS n (case_id, user_id, merchant_id, kind, payment_id, channel, evidence_ref,
                    discovered_at, received_at, parties)
                VALUES (i->>'id', u.id, whose, i->>'kind', p.id, i->>'channel', i->>'evidence_ref',
                    (i->>'discovered_at')::timestamptz, instant,
                    ARRAY(SELECT DISTINCT b.bank_code FROM app.binding b WHERE b.user_id = u.id
                          AND (b.id = p.binding_id OR p.id IS NULL AND b.state IN ('open', 'unbinding')) ORDER BY 1)
                    || whose || 'institution'::text)
                RETURNING n.* INTO r;
            INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at)
                SELECT app.restriction_id(i->>'id', 'collect', f.function), 'suspension', u.id, whose, f.function,
                    'user_report', i->>'id', instant
                FROM unnest(ARRAY['collect', 'payout']) AS f (function)
                ON CONFLICT (subject_id, kind, coalesce(function, ''))
                    WHERE lifted_at IS NULL AND kind <> 'authority_order' AND amount_minor IS NULL DO NOTHING;
        END IF;
        answer := jsonb_build_object('ok', true, 'resource', jsonb_build_object('id', r.case_id, 'object', 'report',
            'user_id', r.user_id, 'kind', r.kind, 'payment_id', r.payment_id, 'channel', r.channel,
            'discovered_at', app.instant(r.discovered_at), 'received_at', app.instant(r.received_at),
            'parties', to_jsonb(r.parties), 'suspended', '["collect", "payout"]'::jsonb));
    END IF;
    PERFORM app.finish_request(whose, i->'request'->>'idempotency_key', i->'request'->>'request_id',
        i->'request'->>'key_id', 'report_user', instant, i->>'user_id', answer);
    RETURN answer;
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
        FROM app.payout o WHERE o.id = i->>'subject_id';
    refused := CASE WHEN d.id IS NULL THEN 'decision_not_found'
        WHEN d.subject_id <> i->>'subject_id' THEN 'decision_of_another'
        WHEN d.state <> 'committed' THEN 'decision_not_committed'
        WHEN d.kind = 'instruction.withdraw' AND s.withdrawn_by = d.id THEN
            CASE WHEN s.state NOT IN ('awaiting_code', 'ready', 'awaiting_confirmation', 'checking', 'under_review',
                'cooling_off', 'scheduled') THEN 'state_conflict' END
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

-- What has ended by itself needs no review any more; it opens a case of its own (app.end_restriction).
CREATE OR REPLACE FUNCTION app.open_reviews(at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    n int;
BEGIN
    WITH opened AS (
        INSERT INTO app.case_record AS c (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || split_part(r.id, '_', 2), 'restriction_review', r.subject_id, r.merchant_id, at
            FROM app.restriction r WHERE r.lifted_at IS NULL AND r.review_at <= at
              AND (r.ends_at IS NULL OR r.ends_at > at)
              AND NOT EXISTS (SELECT 1 FROM app.case_record x WHERE x.id = 'case_' || split_part(r.id, '_', 2))
            ON CONFLICT DO NOTHING RETURNING c.id, c.subject_id, c.merchant_id
    )
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        SELECT at, 'sweeper', 'open_review', 'done', 'restriction_review', o.subject_id, o.merchant_id FROM opened o;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- A restriction that ends by itself is over: its money is free again, and what waited for it goes on (L12). A freeze of the
-- institution that ended without anybody deciding is somebody's to look at (A8.3).
CREATE FUNCTION app.end_restriction(r app.restriction, at timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.restriction x SET lifted_by = 'lapsed', lifted_at = at WHERE x.id = r.id;
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, detail)
        VALUES (at, 'sweeper', 'end_restriction', 'done', 'time_is_over', r.subject_id, r.merchant_id,
            jsonb_build_object('restriction_id', r.id, 'ends_at', app.instant(r.ends_at)));
    IF r.kind = 'freeze' THEN
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            VALUES ('case_' || split_part(r.id, '_', 2), 'restriction_review', r.subject_id, r.merchant_id, at)
            ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- A person whose relations are all restricted has opened another: it is restricted like the rest, on the same decision.
CREATE FUNCTION app.spread_restriction(r app.restriction, at timestamptz) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
BEGIN
    WITH placed AS (
        INSERT INTO app.restriction AS n (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at, review_at,
                ends_at, of_funds, scope)
            SELECT app.restriction_id(r.placed_by, '', x.id), r.kind, x.id, x.merchant_id, r.function, r.ground, r.placed_by,
                at, r.review_at, r.ends_at, r.of_funds, r.scope
            FROM app.relations_of(r.subject_id, 'all') x WHERE NOT EXISTS (SELECT 1 FROM app.restriction o
                WHERE o.placed_by = r.placed_by AND o.subject_id = x.id)
            ON CONFLICT DO NOTHING RETURNING n.id, n.subject_id, n.merchant_id)
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, detail)
        SELECT at, 'sweeper', 'spread_restriction', 'done', 'same_person', p.subject_id, p.merchant_id,
            jsonb_build_object('restriction_id', p.id) FROM placed p;
END $$;

-- The first owner whose funds are not as they should be at an instant, after one that was looked at before: a restriction has
-- ended by itself; a freeze lacks money that is there, because a settlement came in between; something is still kept for a
-- payout that has ended; the bank of one whose freeze is over has money again; a person has a relation that is not restricted
-- like the others.
CREATE FUNCTION app.owner_to_look_after(at timestamptz, after text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN (SELECT min(x.owner) FROM (
        SELECT r.subject_id AS owner FROM app.restriction r WHERE r.lifted_at IS NULL AND r.ends_at <= at
        UNION ALL
        SELECT r.subject_id FROM app.restriction r WHERE r.lifted_at IS NULL AND r.amount_minor > app.frozen_minor(r.id)
            AND EXISTS (SELECT 1 FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
                WHERE a.code = ANY (app.accounts_of(r.subject_id, r.currency)) AND b.posted > b.held)
        UNION ALL
        SELECT coalesce(o.user_id, o.merchant_id) FROM app.payout o WHERE o.rest_hold IS NOT NULL AND NOT app.is_unsent(o)
        UNION ALL
        SELECT coalesce(o.user_id, o.merchant_id) FROM app.payout o
            JOIN app.restriction r ON r.id = o.stopped_by AND r.lifted_at IS NOT NULL
            JOIN ledger.account a ON a.code = app.reserve_of(o)
            JOIN ledger.balance b ON b.account_id = a.id AND b.posted - b.held >= o.amount_minor
            WHERE app.is_unsent(o)
        UNION ALL
        SELECT r.subject_id FROM app.restriction r JOIN app.end_user s ON s.id = r.subject_id
            JOIN app.end_user u ON u.person_index = s.person_index AND u.id <> s.id
            WHERE r.scope = 'all' AND r.lifted_at IS NULL AND NOT EXISTS (SELECT 1 FROM app.restriction o
                WHERE o.subject_id = u.id AND (o.placed_by = r.placed_by
                    -- One of its own, beside which there is room for none: it is restricted by this one once that is lifted.
                    OR o.kind = r.kind AND r.kind <> 'authority_order' AND o.function IS NOT DISTINCT FROM r.function
                        AND o.amount_minor IS NULL AND o.lifted_at IS NULL))) x
        WHERE x.owner > coalesce(after, ''));

-- Sets the funds of one owner right. One owner a transaction: balances are locked once in each.
CREATE FUNCTION app.look_after_funds(at timestamptz, owner text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    r app.restriction;
BEGIN
    PERFORM app.lock_relations(owner);
    PERFORM app.lock_subject(owner);
    FOR r IN SELECT x.* FROM app.restriction x WHERE x.subject_id = owner AND x.lifted_at IS NULL ORDER BY x.placed_at, x.id
            LOOP
        IF r.ends_at <= at THEN
            PERFORM app.end_restriction(r, at);
        ELSIF r.scope = 'all' THEN
            PERFORM app.spread_restriction(r, at);
        END IF;
    END LOOP;
    PERFORM app.rearrange_funds(owner, at, 'sweeper');
    PERFORM app.tell_waiting_payouts(owner, at);
END $$;

-- A process was told that it may go on, or there is nothing left to tell it.
CREATE FUNCTION app.payouts_told(ids text[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        DELETE FROM app.payout_to_tell t WHERE t.payout_id = ANY (ids);
    END;
