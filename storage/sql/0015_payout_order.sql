-- The instant of acceptance is read before the user's lock is had, so of two payouts that race for it the later in time may be
-- the earlier in the books. A rule that counts what was ordered before would then count each for neither: eleven payouts got past
-- a limit of ten. Whoever has the lock comes after all that it sees: that order is a number. The times stay what the clocks said.
CREATE SEQUENCE app.payout_accepted_number;
ALTER TABLE app.payout ADD COLUMN accepted_number bigint;
UPDATE app.payout o SET accepted_number = n.number
    FROM (SELECT p.id, row_number() OVER (ORDER BY p.accepted_at, p.id) AS number FROM app.payout p) n WHERE n.id = o.id;
SELECT setval('app.payout_accepted_number', coalesce(max(o.accepted_number), 0) + 1, false) FROM app.payout o;
ALTER TABLE app.payout ALTER COLUMN accepted_number SET NOT NULL;
ALTER SEQUENCE app.payout_accepted_number OWNED BY app.payout.accepted_number;

-- No default: a row is inserted whole, under the user's lock.
CREATE FUNCTION app.number_in_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    NEW.accepted_number := nextval('app.payout_accepted_number');
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION app.number_in_order() FROM PUBLIC;

CREATE TRIGGER numbered_in_order BEFORE INSERT ON app.payout FOR EACH ROW EXECUTE FUNCTION app.number_in_order();

-- The facts by which rules judge a payout (`domain/risk.py`, RiskInputs): identifiers, amounts and instants, of the last 30
-- days and of at most so many rows. Who is linked (A1.4): the same person at another merchant, and who is paid to the same
-- account.
CREATE OR REPLACE FUNCTION app.risk_inputs(payout_id text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog AS $$
    WITH p AS MATERIALIZED (SELECT o.* FROM app.payout o WHERE o.id = payout_id),
    y AS MATERIALIZED (SELECT e.* FROM app.payee e JOIN p ON p.payee_id = e.id),
    account AS MATERIALIZED (
        SELECT DISTINCT e.user_id, coalesce(u.person_index, u.id) AS person
        FROM y JOIN app.payee e ON e.account_index = y.account_index AND e.state <> 'removed'
        JOIN app.end_user u ON u.id = e.user_id ORDER BY 1 LIMIT 50),
    linked AS MATERIALIZED (
        SELECT x.user_id, min(x.by) AS by FROM (
            SELECT p.user_id, '0self' AS by FROM p WHERE p.user_id IS NOT NULL
            UNION ALL
            (SELECT o.id, '1person' FROM p JOIN app.end_user u ON u.id = p.user_id
                JOIN app.end_user o ON o.person_index = u.person_index AND o.id <> u.id LIMIT 20)
            UNION ALL
            SELECT a.user_id, '2account' FROM account a) x
        GROUP BY x.user_id),
    collected AS (
        SELECT c.id, c.amount_minor, c.currency, c.state_since AS at_, b.card_type, substr(l.by, 2) AS by
        FROM linked l CROSS JOIN p CROSS JOIN LATERAL (
            SELECT m.* FROM app.payment m WHERE m.user_id = l.user_id ORDER BY m.id DESC LIMIT 200) c
        JOIN app.binding b ON b.id = c.binding_id
        WHERE c.state = 'succeeded' AND c.state_since > at - interval '30 days' AND c.state_since <= at
          AND c.payee_kind = CASE p.kind WHEN 'merchant_settlement' THEN 'merchant' ELSE 'user' END
          AND (p.kind <> 'merchant_settlement' OR c.merchant_id = p.merchant_id)
          AND c.refunded_minor + c.refunding_minor < c.amount_minor
        ORDER BY c.state_since DESC LIMIT 100),
    -- What the payer ordered before this one, in the order of the books; none of it counts as later, whatever its clock said.
    before AS (
        SELECT q.id, q.amount_minor, q.currency, least(q.accepted_at, coalesce(p.confirmed_at, p.accepted_at)) AS accepted_at,
            q.payee_id = p.payee_id AS same_payee
        FROM p CROSS JOIN LATERAL (
            SELECT o.* FROM app.payout o WHERE o.user_id = p.user_id ORDER BY o.id DESC LIMIT 200) q
        WHERE q.accepted_number < p.accepted_number AND q.state NOT IN ('failed', 'refused', 'closed')
          AND q.accepted_at > p.accepted_at - interval '30 days'
        ORDER BY q.accepted_number DESC LIMIT 100)
    SELECT jsonb_build_object(
        'payout_id', p.id, 'at', at, 'kind', p.kind, 'amount_minor', p.amount_minor, 'currency', p.currency,
        'accepted_at', coalesce(p.confirmed_at, p.accepted_at),
        'payee_created_at', coalesce((SELECT min(e.created_at) FROM app.payee e
            WHERE e.account_index = y.account_index AND e.user_id = p.user_id), y.created_at),
        'payee_first_paid_at', (SELECT min(o.booked_at) FROM app.payee e JOIN app.payout o ON o.payee_id = e.id
            WHERE e.account_index = y.account_index AND e.user_id IS NOT DISTINCT FROM p.user_id
              AND o.state = 'succeeded'),
        'relation', y.relation, 'name_match', y.name_match,
        'recipient', CASE
            WHEN p.kind <> 'merchant_settlement' AND (y.relation = 'own' OR y.name_match = 'match') THEN 'same'
            WHEN EXISTS (SELECT 1 FROM account a WHERE a.user_id IS DISTINCT FROM p.user_id) THEN 'linked'
            ELSE 'other' END,
        'payouts', (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.accepted_at DESC, f.id), '[]') FROM before f),
        'collections', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'amount_minor', c.amount_minor,
            'currency', c.currency, 'collected_at', c.at_, 'card_type', c.card_type, 'by', c.by)
            ORDER BY c.at_ DESC, c.id), '[]') FROM collected c),
        'users_of_account', (SELECT count(DISTINCT a.person) FROM account a),
        'linked_users', (SELECT coalesce(jsonb_agg(l.user_id ORDER BY l.user_id), '[]') FROM linked l
            WHERE l.user_id IS DISTINCT FROM p.user_id),
        'reported_at', (SELECT max(r.received_at) FROM app.user_report r WHERE r.user_id = p.user_id
            AND r.received_at > at - interval '30 days'))
    FROM p CROSS JOIN y
$$;
