-- A review from its opening to its end. Locks: merchant, user, payout (app.lock_payout), then the review.

-- Time first, so that reviews sort as they were opened.
CREATE FUNCTION app.review_id(at timestamptz) RETURNS text LANGUAGE sql VOLATILE SET search_path = pg_catalog
    RETURN 'rev_' || (SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + x.n, 1), '' ORDER BY x.place) FROM (
        SELECT place, (floor(extract(epoch FROM at) * 1000)::bigint >> (5 * (9 - place)) & 31)::int AS n
            FROM generate_series(0, 9) place
        UNION ALL
        SELECT 10 + place, get_byte(uuid_send(gen_random_uuid()), 15) & 31 FROM generate_series(0, 15) place) x);

CREATE FUNCTION app.note_review(
    r app.review, at timestamptz, who text, what text, request text, words text, more jsonb
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO app.review_entry (review_id, at, actor, action, note, detail)
        VALUES (r.id, at, who, what, words, coalesce(more, '{}'));
    INSERT INTO app.operation (at, actor, action, outcome, subject_id, merchant_id, request_id, detail)
        VALUES (at, who, 'review_' || what, 'done', r.id, r.merchant_id, request,
            jsonb_build_object('payout_id', r.payout_id));
END $$;

-- Puts a payout into the queue, or answers with the review that is open. Called by who moves it to `under_review`, in the
-- same transaction and under the payout's lock. `hits`: what the rules and lists said.
CREATE FUNCTION app.open_review(p app.payout, hits jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    rule app.review_rule;
    r app.review;
BEGIN
    SELECT * INTO r FROM app.review x WHERE x.payout_id = p.id AND x.state IN ('open', 'evidence');
    IF NOT FOUND THEN
        -- Amounts of the rules are in fen: what is in another currency is looked at as the largest are.
        SELECT * INTO rule FROM app.review_rule u WHERE u.above_minor < p.amount_minor OR p.currency <> 'CNY'
            ORDER BY u.above_minor DESC LIMIT 1;
        INSERT INTO app.review AS n (id, payout_id, merchant_id, amount_minor, currency, hits, opened_at, due_at, expires_at,
                latest_at, due_seconds, extension_seconds, most_extensions, escalation_role)
            VALUES (app.review_id(at), p.id, p.merchant_id, p.amount_minor, p.currency, hits, at,
                at + make_interval(secs => rule.due_seconds), at + make_interval(secs => rule.open_seconds),
                at + make_interval(secs => rule.longest_seconds), rule.due_seconds, rule.extension_seconds,
                rule.most_extensions, rule.escalation_role)
            RETURNING n.* INTO r;
        PERFORM app.note_review(r, at, 'process', 'opened', NULL, NULL, NULL);
    END IF;
    UPDATE app.payout SET review_id = r.id, wait_reason = 'review', wait_until = NULL, wait_deadline = r.expires_at
        WHERE id = p.id;
    RETURN jsonb_build_object('review_id', r.id, 'due_at', app.instant(r.due_at), 'expires_at', app.instant(r.expires_at));
END $$;

CREATE FUNCTION app.end_review(r app.review, how text, decision text, who text, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE app.review SET state = how, decided_by = decision, ended_at = at WHERE id = r.id;
    PERFORM app.note_review(r, at, who, how, NULL, NULL,
        CASE WHEN decision IS NOT NULL THEN jsonb_build_object('decision_id', decision) END);
END $$;

-- A payout that ends otherwise (withdrawn, or with the freeze that stopped it) needs no review any more; and nothing but an
-- approval leads from review to being sent, whoever asks.
CREATE FUNCTION app.leave_review() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    r app.review;
BEGIN
    SELECT * INTO r FROM app.review x WHERE x.payout_id = NEW.id AND x.state IN ('open', 'evidence') FOR UPDATE;
    IF NEW.state = 'scheduled' AND (r.id IS NOT NULL OR NOT EXISTS (
            SELECT 1 FROM app.review x WHERE x.id = OLD.review_id AND x.state = 'approved')) THEN
        RAISE EXCEPTION 'the review of % has not approved it', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF r.id IS NOT NULL THEN
        PERFORM app.end_review(r, 'closed', NULL, 'process', NEW.state_since);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER leave_review AFTER UPDATE OF state ON app.payout FOR EACH ROW
    WHEN (OLD.state = 'under_review' AND NEW.state <> 'under_review') EXECUTE FUNCTION app.leave_review();

-- Where a review stands now: escalated if it is due, ended if its time is over. item: {payout_id, review_id, now}
CREATE FUNCTION app.review_standing(i jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    instant timestamptz := (i->>'now')::timestamptz;
    p app.payout := app.lock_payout(i->>'payout_id');
    r app.review;
BEGIN
    SELECT * INTO r FROM app.review WHERE id = i->>'review_id' AND payout_id = p.id FOR UPDATE;
    IF r.id IS NULL THEN RETURN '{"ok": false, "error": "review_not_found"}'; END IF;
    IF r.state IN ('open', 'evidence') AND r.expires_at <= instant THEN
        PERFORM app.end_review(r, 'expired', NULL, 'process', instant);
        PERFORM app.end_payout(p, 'refused', 'review_expired', instant, 'process', 'payout.refused');
    ELSIF r.state IN ('open', 'evidence') AND r.due_at <= instant AND r.escalated_at IS NULL THEN
        UPDATE app.review SET escalated_at = instant, escalations = escalations + 1 WHERE id = r.id;
        PERFORM app.note_review(r, instant, 'process', 'escalated', NULL, NULL,
            jsonb_build_object('role', r.escalation_role));
    END IF;
    SELECT * INTO r FROM app.review WHERE id = r.id;
    RETURN jsonb_build_object('ok', true, 'state', r.state, 'due_at', app.instant(r.due_at),
        'expires_at', app.instant(r.expires_at), 'escalated', r.escalated_at IS NOT NULL);
END $$;

-- Decisions of kind review.approve and review.reject; the subject is the review.

CREATE OR REPLACE FUNCTION app.merchant_of_review(what text, subject text) RETURNS text LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT r.merchant_id FROM app.review r WHERE r.id = subject);

-- Thresholds are in fen; of an amount in another currency two people decide, whatever it is.
CREATE OR REPLACE FUNCTION app.amount_of_review(subject text) RETURNS bigint LANGUAGE sql STABLE
    SET search_path = pg_catalog
    RETURN (SELECT CASE r.currency WHEN 'CNY' THEN r.amount_minor ELSE 9223372036854775807 END
        FROM app.review r WHERE r.id = subject);

CREATE OR REPLACE FUNCTION app.why_not_review(what text, subject text, more jsonb, at timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    r app.review;
    p app.payout;
BEGIN
    p := app.lock_payout((SELECT x.payout_id FROM app.review x WHERE x.id = subject));
    SELECT * INTO r FROM app.review x WHERE x.id = subject FOR UPDATE;
    RETURN CASE
        WHEN r.id IS NULL THEN 'subject_not_found'
        WHEN r.state = 'expired' OR r.state IN ('open', 'evidence') AND r.expires_at <= at THEN 'review_expired'
        WHEN r.state NOT IN ('open', 'evidence') THEN 'review_ended'
        WHEN p.state <> 'under_review' OR p.review_id IS DISTINCT FROM r.id OR p.withdrawn_by IS NOT NULL
            THEN 'decision_not_applicable'
        -- Nothing is sent while there is one (app.screening_obstacle), so that an approval would lead nowhere.
        WHEN what = 'review.approve' AND EXISTS (SELECT 1 FROM app.open_matches(p.id)) THEN 'screening_not_cleared' END;
END $$;

CREATE OR REPLACE FUNCTION app.carry_out_review(d app.decision) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    r app.review;
    p app.payout;
    who text := coalesce('operator:' || (SELECT o.login FROM app.operator o WHERE o.id = d.decided_by), d.decided_by);
BEGIN
    SELECT * INTO r FROM app.review x WHERE x.id = d.subject_id;
    SELECT * INTO p FROM app.payout x WHERE x.id = r.payout_id;
    IF d.kind = 'review.approve' THEN
        PERFORM app.end_review(r, 'approved', d.id, who, d.decided_at);
        -- Its process finds the release slot.
        UPDATE app.payout SET wait_reason = 'process_start', wait_until = NULL, wait_deadline = NULL WHERE id = p.id;
    ELSE
        PERFORM app.end_review(r, 'rejected', d.id, who, d.decided_at);
        PERFORM app.end_payout(p, 'refused', 'review_rejected', d.decided_at, who, 'payout.refused');
    END IF;
END $$;
