-- What stands in the way of a closure, and what a closure stands in the way of (P4.5b, A4.4c, A8.4). Former body of app.restricted:
-- 0009_2_reach.sql.

-- Instructions of a user that have not come to an end, and processes of banks that are under way. Quick pay alone: those that touch
-- a card.
CREATE FUNCTION app.pending_instructions(who text, quick_pay_only boolean) RETURNS TABLE (id text, what text, since timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT p.id, 'payment ' || p.state, p.accepted_at FROM app.payment p WHERE p.user_id = who
            AND p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding')
        UNION ALL
        SELECT r.id, 'refund ' || r.state, r.accepted_at FROM app.payment p JOIN app.refund r ON r.payment_id = p.id
            WHERE p.user_id = who AND r.state IN ('ready', 'sending', 'unknown')
        UNION ALL
        SELECT b.id, 'binding ' || b.state, b.accepted_at FROM app.binding b WHERE b.user_id = who
            AND b.state IN ('accepted', 'applying', 'awaiting_code')
        UNION ALL
        SELECT o.id, 'payout ' || o.state, o.accepted_at FROM app.payout o WHERE o.user_id = who AND NOT quick_pay_only
            AND o.state NOT IN ('succeeded', 'returned', 'failed', 'refused', 'closed')
        UNION ALL
        SELECT f.id, 'conversion ' || f.state, f.accepted_at FROM app.fx f WHERE f.user_id = who AND NOT quick_pay_only
            AND f.state IN ('waiting', 'sending', 'unknown', 'converted', 'returning')
        UNION ALL
        SELECT n.id, 'return ' || n.state, n.accepted_at FROM app.inbound_return n JOIN app.inbound i ON i.id = n.inbound_id
            WHERE i.user_id = who AND NOT quick_pay_only AND n.state IN ('ready', 'sending', 'unknown')
        UNION ALL
        SELECT a.id, 'receiving account ' || a.state, a.accepted_at FROM app.receiving_account a
            WHERE a.user_id = who AND NOT quick_pay_only AND a.state = 'opening'
        UNION ALL
        -- It came to the user's number, and people have not said yet whose it is: afterwards it could not be the user's any more.
        SELECT i.id, 'remittance ' || i.state, i.received_at FROM app.receiving_account a JOIN app.inbound i ON i.receiving_account_id = a.id
            WHERE a.user_id = who AND NOT quick_pay_only AND i.user_id IS NULL AND i.state IN ('suspense', 'returning');
    END;

-- Whether anything was ever booked for the user: only then there are records of where funds came from.
CREATE FUNCTION app.has_transactions(who text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN EXISTS (SELECT 1 FROM app.payment p WHERE p.user_id = who
            AND p.state IN ('succeeded', 'late_refunding', 'late_refunded'))
        OR EXISTS (SELECT 1 FROM app.payout o WHERE o.user_id = who AND o.state IN ('succeeded', 'returned'))
        OR EXISTS (SELECT 1 FROM app.inbound b WHERE b.user_id = who);

-- What uses a field that is to be deleted: a card that is bound, a payee or a receiving account that is in use.
CREATE FUNCTION app.uses_of(who text, wanted text[]) RETURNS TABLE (id text, what text, since timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT b.id, 'binding ' || b.state, b.accepted_at FROM app.binding b WHERE b.user_id = who
            AND b.state IN ('accepted', 'applying', 'awaiting_code', 'open', 'unbinding')
            AND wanted && ARRAY['name', 'id_number', 'card_number', 'mobile', 'agreement_number']
        UNION ALL
        SELECT y.id, 'payee ' || y.state, y.created_at FROM app.payee y WHERE y.user_id = who AND y.state <> 'removed'
            AND wanted && ARRAY['name', 'account_number']
        UNION ALL
        SELECT a.id, 'receiving account ' || a.state, a.accepted_at FROM app.receiving_account a
            WHERE a.user_id = who AND a.state IN ('opening', 'open') AND wanted && ARRAY['name', 'account_number']
        UNION ALL
        -- A payee that was removed is paid all the same what was accepted before.
        SELECT o.id, 'payout ' || o.state, o.accepted_at FROM app.payout o WHERE o.user_id = who
            AND o.state NOT IN ('succeeded', 'returned', 'failed', 'refused', 'closed')
            AND wanted && ARRAY['name', 'account_number']
        UNION ALL
        SELECT u.id, 'account', u.created_at FROM app.end_user u WHERE u.id = who AND u.state <> 'closed'
            AND wanted && ARRAY['name', 'id_number'] AND u.person_index IS NOT NULL;
    END;

-- The fields that a closure erases item by item; of a whole account, the key goes.
CREATE FUNCTION app.fields_to_forget(c app.closure) RETURNS text[] LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN CASE c.scope WHEN 'quick_pay' THEN ARRAY['card_number', 'mobile', 'agreement_number'] WHEN 'deletion' THEN c.fields
        ELSE '{}'::text[] END;

-- Everything in the way of a closure at an instant, what people have to see to first: [{kind, subject_id, since, detail}].
CREATE FUNCTION app.closure_obstacles(c app.closure, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', x.kind, 'subject_id', x.subject_id,
            'since', app.instant(x.since), 'detail', x.detail) ORDER BY x.rank, x.since, x.subject_id, x.detail), '[]')
        FROM (
            SELECT 1 AS rank, 'identity' AS kind, NULL::text AS subject_id, c.received_at AS since, NULL::text AS detail
                WHERE c.state = 'received'
            UNION ALL
            SELECT 2, 'decision', NULL, c.state_since, NULL WHERE c.state = 'deciding'
            UNION ALL
            SELECT 3, 'dispute', d.id, d.opened_at, d.reason FROM app.dispute d
                WHERE d.user_id = c.user_id AND d.state = 'open' AND c.scope <> 'deletion'
            UNION ALL
            SELECT 4, 'freeze', r.id, r.placed_at, NULL FROM app.restriction r
                WHERE r.subject_id = c.user_id AND c.scope = 'account' AND r.lifted_at IS NULL
                  AND (r.ends_at IS NULL OR r.ends_at > at) AND r.kind = 'freeze'
            UNION ALL
            SELECT 5, 'authority_order', r.id, r.placed_at, NULL FROM app.restriction r
                WHERE r.subject_id = c.user_id AND c.scope = 'account' AND r.lifted_at IS NULL
                  AND (r.ends_at IS NULL OR r.ends_at > at) AND r.kind = 'authority_order'
            UNION ALL
            (SELECT 6, 'instruction', p.id, p.since, p.what
                FROM app.pending_instructions(c.user_id, c.scope = 'quick_pay') p
                WHERE c.scope <> 'deletion' ORDER BY p.since LIMIT 50)
            UNION ALL
            SELECT 7, CASE a.kind WHEN 'user' THEN 'balance' ELSE 'frozen_funds' END, NULL, b.changed_at,
                a.currency || ' ' || b.posted
                FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
                WHERE a.owner_reference = c.user_id AND c.scope = 'account' AND b.posted <> 0
            UNION ALL
            -- Who is suspended cannot be paid out.
            SELECT 8, 'suspension', r.id, r.placed_at, r.function FROM app.restriction r
                WHERE r.subject_id = c.user_id AND c.scope = 'account' AND r.lifted_at IS NULL AND r.kind = 'suspension'
                  AND coalesce(r.function, 'payout') = 'payout'
                  AND EXISTS (SELECT 1 FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
                      WHERE a.owner_reference = c.user_id AND b.posted <> 0)
            UNION ALL
            SELECT 9, 'records', NULL, c.state_since, NULL
                WHERE c.scope = 'account' AND c.state IN ('closing', 'unsigning') AND c.records_at IS NULL
                  AND c.records_waived_by IS NULL AND app.has_transactions(c.user_id)
            UNION ALL
            SELECT 10, 'data_in_use', s.id, s.since, s.what FROM app.uses_of(c.user_id, c.fields) s
                WHERE c.scope = 'deletion' AND c.state IN ('deciding', 'closing')
            UNION ALL
            -- The agreement at an issuer that has not said that it has ended.
            SELECT 11, 'agreement', b.id, b.state_since, b.bank_code FROM app.binding b
                WHERE b.user_id = c.user_id AND c.scope <> 'deletion' AND c.state = 'unsigning'
                  AND b.state IN ('open', 'unbinding')) x);

-- What a closure has not let through: nothing new is accepted for whoever is leaving, but what empties the account. A refund helps to
-- settle a dispute, so it is accepted until the banks are told.
CREATE FUNCTION app.closing_obstacle(function_ text, who text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT CASE
            WHEN c.scope = 'quick_pay' THEN CASE WHEN function_ IN ('bind', 'collect') THEN 'quick_pay_closing'
                WHEN function_ = 'refund' AND c.state <> 'closing' THEN 'quick_pay_closing' END
            WHEN function_ IN ('bind', 'collect') THEN 'account_closing'
            WHEN function_ = 'refund' AND c.state <> 'closing' THEN 'account_closing'
            WHEN c.state = 'forgetting' THEN 'account_closing'
            -- Only what is there already may still be converted.
            WHEN function_ = 'fx' AND NOT EXISTS (SELECT 1 FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
                WHERE a.owner_reference = who AND a.kind = 'user' AND a.currency <> 'CNY' AND b.posted > 0)
                THEN 'account_closing' END
        FROM app.closure c WHERE c.user_id = who AND c.scope <> 'deletion' AND c.state IN ('closing', 'unsigning', 'forgetting'));

CREATE FUNCTION app.is_leaving(who text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN EXISTS (SELECT 1 FROM app.closure c WHERE c.user_id = who AND c.scope = 'account' AND c.state IN ('closing', 'unsigning'));

CREATE OR REPLACE FUNCTION app.restricted(
    function_ text, who text, whose text, source text, at timestamptz, accepting boolean
) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN coalesce((SELECT CASE r.kind WHEN 'authority_order' THEN 'authority_hold' WHEN 'freeze' THEN 'funds_frozen'
                ELSE 'function_suspended' END
        FROM app.restriction r
        WHERE r.subject_id IN (who, whose) AND r.lifted_at IS NULL AND (r.ends_at IS NULL OR r.ends_at > at) AND CASE
            WHEN app.is_freeze(r) THEN function_ IN ('refund', 'payout') AND r.subject_id = source
                AND coalesce(r.function, function_) = function_
                AND (r.amount_minor IS NULL OR accepting AND r.amount_minor > app.frozen_minor(r.id))
            WHEN r.kind = 'authority_order' THEN coalesce(r.function, function_) = function_
            ELSE r.function = function_ AND (accepting OR r.subject_id = who) END
        ORDER BY r.kind LIMIT 1),
        CASE WHEN accepting AND who <> whose THEN CASE
            WHEN EXISTS (SELECT 1 FROM app.end_user u WHERE u.id = who AND u.state = 'closed') THEN 'user_not_active'
            ELSE app.closing_obstacle(function_, who) END END);

-- Why an instruction of a user would be refused because of who gives it, for whoever asks before one is given: as acceptances judge.
CREATE FUNCTION app.obstacle_beforehand(function_ text, who text, whose text, at timestamptz) RETURNS text LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog
    RETURN (SELECT CASE WHEN u.state <> 'active' THEN 'user_not_active'
            ELSE app.restricted(function_, u.id, whose, CASE WHEN function_ <> 'collect' THEN u.id END, at, true) END
        FROM app.end_user u WHERE u.id = who AND u.merchant_id = whose);

-- Who is leaving is paid out, whatever has become of the merchant's contract and of the agreement's version since: it is the user's
-- own money, and what is accepted for it empties the account (A0.3, P4.5b). Former body: 0008_3_accepting.sql.
CREATE OR REPLACE FUNCTION app.obstacle_to_payouts(u app.end_user, whose text, blocked jsonb, instant timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN CASE
        WHEN NOT app.is_leaving(u.id) AND NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = whose AND m.state = 'active'
            AND m.contract_until > instant) THEN 'merchant_suspended'
        WHEN u.id IS NULL THEN 'user_not_found'
        WHEN u.state <> 'active' THEN 'user_not_active'
        WHEN blocked ? u.region THEN 'region_not_served'
        WHEN NOT app.is_leaving(u.id) AND NOT EXISTS (
            SELECT 1 FROM app.consent c JOIN app.agreement_version a ON a.version = c.version
            WHERE c.user_id = u.id AND c.kind = 'agreement' AND a.content_hash = c.content_hash
              AND a.in_force_from <= instant AND (a.in_force_until IS NULL OR a.in_force_until > instant))
            THEN 'agreement_required'
        ELSE app.restricted('payout', u.id, whose, u.id, instant, true) END;

-- What the merchant sees of what is in the way: of a freeze, an order or a suspension, that there is one.
CREATE FUNCTION app.obstacles_shown(obstacles jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce(jsonb_agg(CASE WHEN o.value->>'kind' IN ('freeze', 'authority_order', 'suspension')
            THEN jsonb_build_object('kind', o.value->>'kind', 'subject_id', NULL, 'since', NULL, 'detail', NULL)
            ELSE o.value END ORDER BY o.ordinality), '[]')
        FROM jsonb_array_elements(obstacles) WITH ORDINALITY o);

-- Once a recipient, in however many notices it was told: told when all have reached it, and no further than with the one that it is
-- least far with. Of two reasons the law's comes first.
CREATE FUNCTION app.notices_of(closure text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', n.recipient, 'kind', n.kind,
            'name_zh', coalesce(t.name_zh, m.name, n.recipient), 'name_en', coalesce(t.name_en, m.name, n.recipient),
            'told_at', app.instant(n.told_at), 'reply', n.reply,
            'reply_reason', CASE WHEN n.reply = 'kept' THEN n.reply_reason END,
            'replied_at', app.instant(n.replied_at)) ORDER BY n.kind DESC, n.recipient), '[]')
        FROM (SELECT e.recipient, e.kind, min(e.reply_reason) AS reply_reason,
                CASE WHEN bool_and(e.told_at IS NOT NULL) THEN max(e.told_at) END AS told_at,
                CASE WHEN bool_and(e.replied_at IS NOT NULL) THEN max(e.replied_at) END AS replied_at,
                CASE WHEN bool_or(e.reply = 'none') THEN 'none' WHEN bool_or(e.reply = 'received') THEN 'received'
                    WHEN bool_or(e.reply = 'kept') THEN 'kept' ELSE 'erased' END AS reply
            FROM app.erasure_notice e WHERE e.closure_id = closure GROUP BY e.recipient, e.kind) n
        LEFT JOIN app.partner t ON n.kind = 'bank' AND t.code = n.recipient
        LEFT JOIN app.merchant m ON n.kind = 'merchant' AND m.id = n.recipient);

-- A closure at an instant. `obstacles`: what is in the way now; `full`: as operators see it.
CREATE FUNCTION app.closure_view(c app.closure, at timestamptz, full_ boolean DEFAULT false) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog
    RETURN jsonb_build_object('id', c.id, 'object', 'closure', 'user_id', c.user_id, 'scope', c.scope, 'channel', c.channel,
        'state', c.state, 'state_since', app.instant(c.state_since), 'received_at', app.instant(c.received_at),
        'due_on', c.due_on, 'due_is_provisional', c.due_is_provisional, 'is_escalated', c.escalated_at IS NOT NULL,
        'is_overdue', c.overdue_at IS NOT NULL,
        'identity', CASE WHEN c.identity_method IS NOT NULL THEN jsonb_build_object('method', c.identity_method,
            'checked_at', app.instant(c.identity_checked_at)) END,
        'ground', c.ground, 'fields', to_jsonb(c.fields), 'records_received_at', app.instant(c.records_at),
        'records_waived', c.records_waived_by IS NOT NULL, 'ended_on', c.ended_on,
        -- Not where to be told would be a warning (P4.4d).
        'reason', CASE WHEN full_ OR c.reason NOT IN ('national_security', 'criminal_proceedings') THEN c.reason END,
        'answered_at', app.instant(c.answered_at), 'notices', app.notices_of(c.id),
        'obstacles', CASE WHEN c.state IN ('completed', 'refused', 'forgetting') THEN '[]'
            WHEN full_ THEN app.closure_obstacles(c, at) ELSE app.obstacles_shown(app.closure_obstacles(c, at)) END,
        'waiting_for', app.waiting_for(CASE c.state WHEN 'received' THEN 'identity_check' WHEN 'deciding' THEN 'operator'
                WHEN 'closing' THEN 'obstacles' WHEN 'unsigning' THEN 'bank_answer' WHEN 'forgetting' THEN 'erasure' END,
            c.state_since, NULL, ((c.due_on + 1)::timestamp AT TIME ZONE 'Asia/Shanghai')))
        || CASE WHEN full_ THEN jsonb_build_object('merchant_id', c.merchant_id, 'asked_by', c.asked_by,
            'evidence_ref', c.evidence_ref, 'identity_attempts', c.identity_attempts,
            'identity_checked_by', c.identity_checked_by, 'escalated_at', app.instant(c.escalated_at),
            'overdue_at', app.instant(c.overdue_at), 'escalate_on', c.escalate_on,
            'records_count', c.records_count, 'records_waived_by', c.records_waived_by, 'granted_by', c.granted_by,
            'refused_by', c.refused_by, 'recorded_at', app.instant(c.recorded_at)) ELSE '{}' END;

CREATE FUNCTION app.dispute_view(d app.dispute) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', d.id, 'object', 'dispute', 'user_id', d.user_id, 'subject_id', d.subject_id,
        'reason', d.reason, 'evidence_ref', d.evidence_ref, 'state', d.state, 'opened_at', app.instant(d.opened_at),
        'resolved_at', app.instant(d.resolved_at));
