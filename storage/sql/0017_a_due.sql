-- What no purpose needs any longer while its user stays (P3.3b), taken with the daily purge: the elements of a card that no issuer
-- confirmed, card and mobile of one that was unbound, the account of a payee that was removed, and remittances that went back to where
-- they came from, once the law keeps them no longer. What was a business relation the law has copied first, as always.

CREATE INDEX binding_without_purpose ON app.binding (state_since)
    WHERE state IN ('declined', 'expired') AND element_tokens <> '{}';
CREATE INDEX binding_without_use ON app.binding (state_since)
    WHERE state = 'unbound' AND (agreement_token IS NOT NULL OR element_tokens ?| '{card_number,mobile}');
CREATE INDEX payee_without_use ON app.payee (removed_at) WHERE state = 'removed' AND element_tokens <> '{}';
CREATE INDEX inbound_gone_back ON app.inbound (booked_at)
    WHERE state = 'returned' AND sealed_under = id AND element_tokens <> '{}';

-- What stops it: a legal hold or an order, an open dispute, a hit on a list that nobody has cleared; or a closure that is under way and
-- sees to it itself.
CREATE FUNCTION app.erasure_held_by(who text, payee text, on_ date) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
    RETURN coalesce(retention.held_by(who, on_),
        (SELECT 'dispute:' || min(d.id) FROM app.dispute d WHERE d.user_id = who AND d.state = 'open'),
        (SELECT 'closure:' || min(c.id) FROM app.closure c WHERE c.user_id = who AND c.state NOT IN ('completed', 'refused')),
        (SELECT 'screening:' || min(m.id) FROM app.screening_match m WHERE m.subject_id IN (who, payee) AND app.is_open_match(m)));

-- What is due on a day, item by item; or, with `free` and `most`, some of what nothing holds. rules: {agreement_years, law_years,
-- event_year_counts, declined_days, ended_days}. `key_owner`: whose key seals it; `whose`: which user it is about, if any is known;
-- `ended_on`: on which day a card's agreement ended, for the copy of the identity.
CREATE FUNCTION app.due_erasures(p_on date, rules jsonb, free boolean DEFAULT false, most int DEFAULT NULL)
    RETURNS TABLE (key_owner text, whose text, payee text, why text, token text, ended_on date, held_by text)
LANGUAGE sql STABLE SET search_path = pg_catalog
    BEGIN ATOMIC
        SELECT x.* FROM (SELECT d.*, app.erasure_held_by(d.whose, d.payee, p_on) AS held_by FROM (
            SELECT b.user_id AS key_owner, b.user_id AS whose, NULL::text AS payee, 'declined_binding' AS why, t.token,
                NULL::date AS ended_on
                FROM app.binding b CROSS JOIN LATERAL (SELECT e.value AS token FROM jsonb_each_text(b.element_tokens) e) t
                WHERE b.state IN ('declined', 'expired') AND b.element_tokens <> '{}'
                  AND b.state_since < (p_on - (rules->>'declined_days')::int)::timestamp AT TIME ZONE 'Asia/Shanghai'
            UNION ALL
            SELECT b.user_id, b.user_id, NULL, 'unbound_card', t.token, (b.state_since AT TIME ZONE 'Asia/Shanghai')::date
                FROM app.binding b CROSS JOIN LATERAL (
                    SELECT e.value AS token FROM jsonb_each_text(b.element_tokens) e WHERE e.key IN ('card_number', 'mobile')
                    UNION ALL SELECT b.agreement_token WHERE b.agreement_token IS NOT NULL) t
                WHERE b.state = 'unbound' AND (b.agreement_token IS NOT NULL OR b.element_tokens ?| '{card_number,mobile}')
                  AND b.state_since < (p_on - (rules->>'ended_days')::int)::timestamp AT TIME ZONE 'Asia/Shanghai'
                  -- What is at its issuer still may be asked about, and is kept by the law with its card once it is known.
                  AND NOT EXISTS (SELECT 1 FROM app.payment p WHERE p.user_id = b.user_id AND p.binding_id = b.id
                      AND p.state IN ('awaiting_code', 'ready', 'sending', 'unknown', 'late_refunding'))
            UNION ALL
            SELECT y.user_id, y.user_id, y.id, 'removed_payee', t.token, NULL
                FROM app.payee y CROSS JOIN LATERAL (SELECT e.value AS token FROM jsonb_each_text(y.element_tokens) e) t
                WHERE y.state = 'removed' AND y.element_tokens <> '{}' AND y.user_id IS NOT NULL
                  AND y.removed_at < (p_on - (rules->>'ended_days')::int)::timestamp AT TIME ZONE 'Asia/Shanghai'
                  -- What was accepted before the payee was removed is paid all the same.
                  AND NOT EXISTS (SELECT 1 FROM app.payout o WHERE o.payee_id = y.id
                      AND o.state NOT IN ('succeeded', 'returned', 'failed', 'refused', 'closed'))
            UNION ALL
            SELECT i.sealed_under, coalesce(i.user_id, a.user_id), NULL, 'returned_remittance', t.token, NULL
                FROM app.inbound i LEFT JOIN app.receiving_account a ON a.id = i.receiving_account_id
                CROSS JOIN LATERAL (SELECT e.value AS token FROM jsonb_each_text(i.element_tokens) e) t
                -- Its own key alone: what is destroyed does not come back, whatever the row says.
                WHERE i.state = 'returned' AND i.sealed_under = i.id AND i.element_tokens <> '{}'
                  AND (i.booked_at AT TIME ZONE 'Asia/Shanghai')::date < retention.due_before(p_on, rules)) d) x
        WHERE NOT free OR x.held_by IS NULL AND NOT EXISTS (SELECT 1 FROM retention.due_erasure c
            WHERE c.finished_at IS NULL AND c.key_owner = x.key_owner AND x.token = ANY (c.tokens)) LIMIT most;
    END;

-- Claims some of what is due and not held, by whose it is and why; what was claimed before and is not finished comes first and alone, as
-- it was claimed then, so that it goes on under the same entry of the list of erasures. What cannot be done waits for the run of another
-- day, and keeps nothing else waiting.
CREATE FUNCTION app.claim_due_erasures(p_on date, rules jsonb, most int, at timestamptz) RETURNS SETOF retention.due_erasure
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    found jsonb;
BEGIN
    IF retention.years(rules) < 5 THEN
        RAISE EXCEPTION 'remittances are kept for five years at least' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM pg_advisory_xact_lock(7301995017);
    RETURN QUERY SELECT c.* FROM retention.due_erasure c
        WHERE c.finished_at IS NULL AND (c.failed_on IS NULL OR c.failed_on < p_on) ORDER BY c.id LIMIT most;
    IF FOUND THEN RETURN; END IF;
    found := (SELECT coalesce(jsonb_agg(to_jsonb(d)), '[]') FROM app.due_erasures(p_on, rules, true, most) d);
    -- Whoever places a hold, opens a dispute or asks for a closing takes this row too: one of the two comes first. All else about
    -- what was found is final.
    PERFORM 1 FROM app.end_user u WHERE u.id IN (SELECT f->>'whose' FROM jsonb_array_elements(found) f) ORDER BY u.id FOR UPDATE;
    RETURN QUERY
    INSERT INTO retention.due_erasure (run_on, key_owner, why, tokens, ended_on, claimed_at)
    -- Of a remittance the key goes, and with it all that a page may not have found.
    SELECT p_on, d.key_owner, d.why, CASE d.why WHEN 'returned_remittance' THEN (SELECT array_agg(e.value ORDER BY e.value)
            FROM app.inbound i CROSS JOIN LATERAL jsonb_each_text(i.element_tokens) e WHERE i.id = d.key_owner)
        ELSE array_agg(d.token ORDER BY d.token) END, max(d.ended_on), at
    FROM jsonb_to_recordset(found) AS d (key_owner text, whose text, payee text, why text, token text, ended_on date)
    WHERE app.erasure_held_by(d.whose, d.payee, p_on) IS NULL GROUP BY d.key_owner, d.why ORDER BY d.key_owner, d.why
    RETURNING *;
END $$;

CREATE FUNCTION app.finish_due_erasure(claim bigint, at timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    BEGIN ATOMIC
        UPDATE retention.due_erasure SET finished_at = at WHERE id = claim AND finished_at IS NULL;
    END;

-- It cannot be done, and trying again at once does not help: the next run tries, and people hear of it.
CREATE FUNCTION app.fail_due_erasure(claim bigint, run date, at timestamptz) RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog
    BEGIN ATOMIC
        UPDATE retention.due_erasure SET failed_on = greatest(failed_on, run) WHERE id = claim AND finished_at IS NULL;
        INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)
            SELECT 'case_' || split_part(d.key_owner, '_', 2) || 'ERASURE', 'erasure_failed', d.key_owner,
                coalesce((SELECT u.merchant_id FROM app.end_user u WHERE u.id = d.key_owner), ''), at
            FROM retention.due_erasure d WHERE d.id = claim ON CONFLICT DO NOTHING;
    END;

REVOKE ALL ON FUNCTION app.erasure_held_by(text, text, date), app.due_erasures(date, jsonb, boolean, int),
    app.claim_due_erasures(date, jsonb, int, timestamptz), app.finish_due_erasure(bigint, timestamptz),
    app.fail_due_erasure(bigint, date, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.claim_due_erasures(date, jsonb, int, timestamptz), app.finish_due_erasure(bigint, timestamptz),
    app.fail_due_erasure(bigint, date, timestamptz) TO {app};
