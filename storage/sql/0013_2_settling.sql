-- Adding up, paying out, and what becomes of it. Safe to run twice: a settlement is known by merchant, day and currency, a
-- line by what it is about, a payout by its settlement and attempt.

CREATE FUNCTION app.settlement_view(s app.settlement_report) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN jsonb_build_object('id', s.id, 'object', 'settlement', 'business_date', s.business_date::text,
        'through_date', s.through_date::text, 'currency', s.currency, 'payment_count', s.payment_count,
        'refund_count', s.refund_count, 'gross_minor', s.gross_minor, 'fees_minor', s.fees_minor,
        'refunds_minor', s.refunds_minor, 'fees_back_minor', s.fees_back_minor,
        'brought_forward_minor', s.brought_forward_minor, 'net_minor', s.net_minor,
        'payable_minor', greatest(s.net_minor, 0), 'shortfall_minor', greatest(-s.net_minor, 0),
        'state', s.state, 'state_since', app.instant(s.state_since), 'payout_id', s.payout_id,
        'created_at', app.instant(s.created_at), 'waiting_for', app.waiting_for(s.wait_reason, s.state_since, NULL, NULL));

CREATE FUNCTION app.settlement_line_view(l app.settlement_line) RETURNS jsonb LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN jsonb_build_object('kind', l.kind, 'subject_id', l.subject_id, 'order_number', l.order_number,
        'amount_minor', l.amount_minor, 'fee_minor', l.fee_minor, 'net_minor', l.net_minor, 'at', app.instant(l.at));

-- The business date (Asia/Shanghai) of an instant.
CREATE FUNCTION app.business_date(at timestamptz) RETURNS date LANGUAGE sql IMMUTABLE SET search_path = pg_catalog
    RETURN (at AT TIME ZONE 'Asia/Shanghai')::date;

-- Moves a settlement on, and tells the merchant of it.
CREATE FUNCTION app.move_settlement(whose text, new_state text, why text, payout text, event text, instant timestamptz)
RETURNS app.settlement_report LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    s app.settlement_report;
BEGIN
    UPDATE app.settlement_report n SET state = new_state,
        state_since = CASE WHEN n.state = new_state THEN n.state_since ELSE instant END,
        wait_reason = why, payout_id = coalesce(payout, n.payout_id),
        attempt = n.attempt + (payout IS NOT NULL)::int, event_sequence = n.event_sequence + (event IS NOT NULL)::int
        WHERE n.id = whose RETURNING n.* INTO s;
    IF event IS NOT NULL THEN
        INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
            VALUES (s.merchant_id, s.id, s.event_sequence, event, instant, app.settlement_view(s));
    END IF;
    RETURN s;
END $$;

-- What is to be settled with a merchant and has not been: payments by their day; the refunds of what has been settled, or
-- is now, from their acceptance on, because their money is held from then on; those that failed after all.
CREATE FUNCTION app.lines_to_settle(whose text, cur text, through date)
RETURNS TABLE (kind text, subject_id text, order_number text, amount_minor bigint, fee_minor bigint, net_minor bigint,
    at timestamptz) LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        WITH due AS (
            SELECT p.id, p.order_number, p.amount_minor, p.fee_minor, p.state_since FROM app.payment p
            WHERE p.merchant_id = whose AND p.currency = cur AND p.payee_kind = 'merchant' AND p.state = 'succeeded'
              AND p.state_since < ((through + 1)::timestamp AT TIME ZONE 'Asia/Shanghai')
              AND NOT EXISTS (SELECT 1 FROM app.settlement_line l WHERE l.kind = 'payment' AND l.subject_id = p.id))
        SELECT 'payment', d.id, d.order_number, d.amount_minor, d.fee_minor, d.amount_minor - d.fee_minor, d.state_since
            FROM due d
        UNION ALL
        SELECT 'refund', r.id, p.order_number, r.amount_minor, r.fee_back_minor, r.fee_back_minor - r.amount_minor,
               r.accepted_at
            FROM app.refund r JOIN app.payment p ON p.id = r.payment_id AND p.payee_kind = 'merchant'
            WHERE r.merchant_id = whose AND r.currency = cur AND r.state <> 'failed'
              AND (EXISTS (SELECT 1 FROM app.settlement_line l WHERE l.kind = 'payment' AND l.subject_id = p.id)
                   OR p.id IN (SELECT d.id FROM due d))
              AND NOT EXISTS (SELECT 1 FROM app.settlement_line l WHERE l.kind = 'refund' AND l.subject_id = r.id)
        UNION ALL
        SELECT 'refund_failed', r.id, l.order_number, r.amount_minor, r.fee_back_minor, r.amount_minor - r.fee_back_minor,
               r.state_since
            FROM app.refund r JOIN app.settlement_line l ON l.kind = 'refund' AND l.subject_id = r.id
            WHERE r.merchant_id = whose AND r.currency = cur AND r.state = 'failed'
              AND NOT EXISTS (SELECT 1 FROM app.settlement_line f WHERE f.kind = 'refund_failed' AND f.subject_id = r.id);
    END;

-- The merchants with something to settle on a day, by id and currency after those two.
CREATE FUNCTION app.merchants_to_settle(on_date date, through date, after text, after_currency text, most int)
RETURNS TABLE (merchant_id text, currency text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT DISTINCT x.merchant_id, x.currency FROM (
            SELECT p.merchant_id, p.currency FROM app.payment p
                WHERE p.payee_kind = 'merchant' AND p.state = 'succeeded'
                  AND p.state_since < ((through + 1)::timestamp AT TIME ZONE 'Asia/Shanghai')
                  AND NOT EXISTS (SELECT 1 FROM app.settlement_line l WHERE l.kind = 'payment' AND l.subject_id = p.id)
            UNION
            SELECT r.merchant_id, r.currency FROM app.refund r
                JOIN app.settlement_line m ON m.kind = 'payment' AND m.subject_id = r.payment_id
                LEFT JOIN app.settlement_line l ON l.kind = 'refund' AND l.subject_id = r.id
                LEFT JOIN app.settlement_line f ON f.kind = 'refund_failed' AND f.subject_id = r.id
                WHERE r.state <> 'failed' AND l.subject_id IS NULL
                   OR r.state = 'failed' AND l.subject_id IS NOT NULL AND f.subject_id IS NULL) x
        WHERE (x.merchant_id, x.currency) > (after, after_currency)
          AND NOT EXISTS (SELECT 1 FROM app.settlement_report s WHERE s.merchant_id = x.merchant_id
                AND s.business_date = on_date AND s.currency = x.currency)
        ORDER BY 1, 2 LIMIT most;
    END;

-- One merchant's settlement of one business day. item: {now, id, merchant_id, business_date, through_date, currency};
-- answers {ok, resource}, the same again, or resource NULL where there is nothing to settle.
CREATE FUNCTION app.report_settlement(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    whose text := i->>'merchant_id';
    cur text := i->>'currency';
    day date := (i->>'business_date')::date;
    through date := (i->>'through_date')::date;
    s app.settlement_report;
    lines app.settlement_line[];
    t record;
BEGIN
    IF day > app.business_date(instant) OR through >= day THEN
        RETURN '{"ok": false, "error": "settlement_date_invalid"}';
    END IF;
    -- One settlement of a merchant at a time; its payments go on meanwhile.
    PERFORM 1 FROM app.merchant WHERE id = whose FOR NO KEY UPDATE;
    SELECT * INTO s FROM app.settlement_report r WHERE r.merchant_id = whose AND r.business_date = day AND r.currency = cur;
    IF s.id IS NOT NULL THEN
        RETURN jsonb_build_object('ok', true, 'resource', app.settlement_view(s));
    END IF;
    -- Read once: what is booked in this very moment belongs to the next settlement as a whole.
    SELECT array_agg(ROW(i->>'id', l.*)::app.settlement_line) INTO lines FROM app.lines_to_settle(whose, cur, through) l;
    IF lines IS NULL THEN RETURN '{"ok": true, "resource": null}'; END IF;
    SELECT count(*) FILTER (WHERE l.kind = 'payment') AS payments, count(*) FILTER (WHERE l.kind <> 'payment') AS refunds,
           coalesce(sum(l.amount_minor) FILTER (WHERE l.kind = 'payment'), 0) AS gross,
           coalesce(sum(l.fee_minor) FILTER (WHERE l.kind = 'payment'), 0) AS fees,
           coalesce(sum(CASE l.kind WHEN 'refund' THEN l.amount_minor WHEN 'refund_failed' THEN -l.amount_minor END), 0) AS back,
           coalesce(sum(CASE l.kind WHEN 'refund' THEN l.fee_minor WHEN 'refund_failed' THEN -l.fee_minor END), 0) AS fees_back,
           sum(l.net_minor) AS net,
           (SELECT coalesce(sum(r.amount_minor), 0) FROM app.merchant_receivable r WHERE r.merchant_id = whose
                AND r.currency = cur AND r.cleared_by IS NULL) AS brought
        INTO t FROM unnest(lines) l;
    INSERT INTO app.settlement_report AS n (id, merchant_id, business_date, through_date, currency, payment_count,
            refund_count, gross_minor, fees_minor, refunds_minor, fees_back_minor, brought_forward_minor, net_minor, state,
            state_since, wait_reason, created_at, event_sequence)
        VALUES (i->>'id', whose, day, through, cur, t.payments, t.refunds, t.gross, t.fees, t.back, t.fees_back, t.brought,
            t.net - t.brought, CASE WHEN t.net > t.brought THEN 'reported' ELSE 'carried' END, instant,
            CASE WHEN t.net > t.brought THEN 'process_start' END, instant, 1)
        RETURNING n.* INTO s;
    INSERT INTO app.settlement_line SELECT l.* FROM unnest(lines) l;
    -- What was short before is borne by this settlement, and what this one is short of by the next.
    UPDATE app.merchant_receivable r SET cleared_by = s.id, cleared_at = instant
        WHERE r.merchant_id = whose AND r.currency = cur AND r.cleared_by IS NULL;
    INSERT INTO app.merchant_receivable (settlement_id, merchant_id, currency, amount_minor, opened_at)
        SELECT s.id, whose, cur, -s.net_minor, instant WHERE s.net_minor < 0;
    INSERT INTO app.operation (key, at, actor, action, outcome, subject_id, merchant_id)
        VALUES (s.id || ':reported', instant, 'process', 'report_settlement', 'done', s.id, whose);
    INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)
        VALUES (whose, s.id, 1, 'settlement.reported', instant, app.settlement_view(s));
    RETURN jsonb_build_object('ok', true, 'resource', app.settlement_view(s));
END $$;

-- Settlements whose money has not been paid out, and is to be: by id from `after` on. A failed one waits for a person.
CREATE FUNCTION app.settlements_to_pay(after text, most int) RETURNS TABLE (settlement_id text) LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT s.id FROM app.settlement_report s WHERE s.state = 'reported' AND s.id > after ORDER BY s.id LIMIT most;
    END;

-- The payout of a settlement, held at once out of what was collected for the merchant; once for each attempt.
-- item: {now, settlement_id, payout_id, route: {code, region, banks, speed}, agreement_version}
-- Answers {ok, resource}; what it waits for stays on the settlement. One whose payout failed waits for app.reopen_settlement.
CREATE FUNCTION app.pay_settlement(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s app.settlement_report;
    y app.payee;
    p app.payout;
    obstacle text;
BEGIN
    SELECT * INTO s FROM app.settlement_report r WHERE r.id = i->>'settlement_id';
    IF s.id IS NULL THEN RETURN '{"ok": false, "error": "settlement_not_found"}'; END IF;
    PERFORM 1 FROM app.merchant WHERE id = s.merchant_id FOR KEY SHARE;
    SELECT * INTO s FROM app.settlement_report r WHERE r.id = s.id FOR NO KEY UPDATE;
    IF s.state <> 'reported' THEN
        RETURN jsonb_build_object('ok', s.state IN ('paying', 'paid'), 'error', 'settlement_not_payable',
            'resource', app.settlement_view(s));
    END IF;
    SELECT * INTO y FROM app.payee o WHERE o.merchant_id = s.merchant_id AND o.user_id IS NULL AND o.state = 'active';
    obstacle := CASE WHEN y.id IS NULL THEN 'no_settlement_account'
        WHEN y.region <> i->'route'->>'region' THEN 'account_not_on_route'
        WHEN NOT EXISTS (SELECT 1 FROM app.merchant m WHERE m.id = s.merchant_id AND m.state = 'active')
            THEN 'merchant_suspended'
        ELSE app.restricted('payout', s.merchant_id, s.merchant_id, s.merchant_id, instant, true) END;
    IF obstacle IS NULL THEN
        p.id := i->>'payout_id'; p.merchant_id := s.merchant_id; p.payee_id := y.id; p.kind := 'merchant_settlement';
        p.order_number := s.id || '-' || (s.attempt + 1); p.region := y.region; p.route := i->'route'->>'code';
        p.amount_minor := s.net_minor; p.currency := s.currency;
        p.source_account := 'merchant_pending:' || s.merchant_id || ':' || s.currency;
        p.fee_minor := 0; p.fee_rule := 'none';
        p.confirmation_hash := encode(sha256(convert_to(s.id || '|' || s.net_minor || '|' || y.id, 'UTF8')), 'hex');
        p.agreement_version := i->>'agreement_version'; p.origin := 'standing_mandate'; p.mandate_reference := s.id;
        p.speed := i->'route'->>'speed'; p.limit_reservations := '[]'; p.state := 'checking';
        p.wait_reason := 'process_start'; p.accepted_at := instant; p.confirmation_grounds := '{}';
        BEGIN
            p := app.place_payout(p, i->'route'->'banks');
        EXCEPTION WHEN SQLSTATE 'LS001' THEN
            obstacle := SQLERRM;
        END;
    END IF;
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id)
        SELECT instant, 'process', 'pay_settlement', CASE WHEN obstacle IS NULL THEN 'done' ELSE 'refused' END,
            obstacle, s.id, s.merchant_id WHERE obstacle IS NULL OR obstacle IS DISTINCT FROM s.wait_reason;
    IF obstacle IS NOT NULL THEN
        s := app.move_settlement(s.id, s.state, obstacle, NULL, NULL, instant);
        RETURN jsonb_build_object('ok', false, 'error', obstacle, 'resource', app.settlement_view(s));
    END IF;
    s := app.move_settlement(s.id, 'paying', 'payout', p.id, NULL, instant);
    RETURN jsonb_build_object('ok', true, 'resource', app.settlement_view(s));
END $$;

-- A person has looked at a settlement whose payout failed or came back: it is to be paid anew. item: {now, operator_id, actor,
-- request_id, settlement_id, reason}; one that is to be paid already is left as it is.
CREATE FUNCTION app.reopen_settlement(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    s app.settlement_report;
    error text;
BEGIN
    SELECT * INTO s FROM app.settlement_report r WHERE r.id = i->>'settlement_id' FOR NO KEY UPDATE;
    error := CASE
        WHEN NOT app.operator_may(i->>'operator_id', 'settlements:write', instant) THEN 'permission_missing'
        WHEN s.id IS NULL THEN 'settlement_not_found'
        WHEN s.state NOT IN ('reported', 'failed') THEN 'settlement_not_payable' END;
    INSERT INTO app.operation (at, actor, action, outcome, reason, subject_id, merchant_id, request_id, detail)
        VALUES (instant, i->>'actor', 'pay_settlement', CASE WHEN error IS NULL THEN 'done' ELSE 'refused' END, error, s.id,
            s.merchant_id, i->>'request_id', jsonb_build_object('said', i->>'reason'));
    IF error IS NOT NULL THEN RETURN jsonb_build_object('ok', false, 'error', error, 'subject_id', s.id); END IF;
    IF s.state = 'failed' THEN
        s := app.move_settlement(s.id, 'reported', 'process_start', NULL, NULL, instant);
    END IF;
    RETURN jsonb_build_object('ok', true, 'resource', app.settlement_view(s));
END $$;

-- What becomes of the payout becomes of its settlement, in the same transaction. What failed or came back is with the merchant's
-- money again, and a person has it paid anew.
CREATE FUNCTION app.follow_settlement_payout() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
DECLARE
    now_ timestamptz := NEW.state_since;
BEGIN
    PERFORM app.move_settlement(s.id, CASE NEW.state WHEN 'succeeded' THEN 'paid' ELSE 'failed' END,
            CASE WHEN NEW.state <> 'succeeded' THEN 'operator' END, NULL,
            CASE NEW.state WHEN 'succeeded' THEN 'settlement.paid' ELSE 'settlement.failed' END, now_)
        FROM app.settlement_report s WHERE s.payout_id = NEW.id;
    IF NEW.state <> 'succeeded' THEN
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || split_part(NEW.id, '_', 2), 'settlement_unpaid', s.id, NEW.merchant_id, now_
            FROM app.settlement_report s WHERE s.payout_id = NEW.id ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow_settlement AFTER UPDATE OF state ON app.payout FOR EACH ROW
    WHEN (NEW.kind = 'merchant_settlement' AND NEW.state <> OLD.state
          AND NEW.state IN ('succeeded', 'failed', 'refused', 'closed', 'returned'))
    EXECUTE FUNCTION app.follow_settlement_payout();
