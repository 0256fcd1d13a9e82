-- Freezes of amounts, which reach what is already waiting, and decisions on payouts: what they add to the tables.

-- Some kinds need a second person only above an amount of what is decided about, in minor units: strictly above.
ALTER TABLE app.decision_kind ADD COLUMN second_person_above_minor bigint CHECK (second_person_above_minor >= 0);

-- A freeze is about all funds, or about an amount of them; it has a date on which somebody looks again, or one on which it
-- ends by itself (A8.3). An authority's order is about functions, or about funds alone: then it is a freeze that only an
-- order prolongs or lifts (A3.9e, L12). `scope`: one relation of a user with a merchant, or all that the same person has.
ALTER TABLE app.restriction ADD COLUMN of_funds boolean NOT NULL DEFAULT false;
ALTER TABLE app.restriction ADD COLUMN amount_minor bigint CHECK (amount_minor > 0);
ALTER TABLE app.restriction ADD COLUMN currency text CHECK (currency ~ '^[A-Z]{3}$');
ALTER TABLE app.restriction ADD COLUMN scope text NOT NULL DEFAULT 'relation' CHECK (scope IN ('relation', 'all'));
ALTER TABLE app.restriction DROP CONSTRAINT restriction_check1;
ALTER TABLE app.restriction DROP CONSTRAINT restriction_check2;
ALTER TABLE app.restriction DROP CONSTRAINT restriction_placed_by_key;
ALTER TABLE app.restriction ADD CONSTRAINT freeze_has_a_date CHECK (kind <> 'freeze'
    OR coalesce(review_at, ends_at) IS NOT NULL AND (review_at IS NULL OR review_at > placed_at));
ALTER TABLE app.restriction ADD CONSTRAINT ends_by_itself CHECK (CASE kind WHEN 'authority_order' THEN ends_at IS NOT NULL
    WHEN 'suspension' THEN ends_at IS NULL ELSE true END);
ALTER TABLE app.restriction ADD CONSTRAINT amount_is_of_funds CHECK ((amount_minor IS NULL) = (currency IS NULL)
    AND (amount_minor IS NULL OR function IS NULL AND scope = 'relation' AND (kind = 'freeze' OR of_funds)));
ALTER TABLE app.restriction ADD CONSTRAINT freeze_stops_what_leaves CHECK (
    NOT (kind = 'freeze' OR of_funds) OR function IS NULL OR function IN ('payout', 'refund'));
-- One decision may place several: one in each relation of a person, one on each function that a report suspends.
CREATE UNIQUE INDEX restriction_placed_once ON app.restriction (placed_by, subject_id, coalesce(function, ''));
DROP INDEX app.one_restriction_of_a_kind;
CREATE UNIQUE INDEX one_restriction_of_a_kind ON app.restriction (subject_id, kind, coalesce(function, ''))
    WHERE lifted_at IS NULL AND kind <> 'authority_order' AND amount_minor IS NULL;
CREATE INDEX restriction_of_amount ON app.restriction (subject_id, placed_at) WHERE amount_minor IS NOT NULL;
CREATE INDEX restriction_lacking ON app.restriction (id) WHERE amount_minor IS NOT NULL AND lifted_at IS NULL;
CREATE INDEX restriction_to_end ON app.restriction (ends_at) WHERE lifted_at IS NULL AND ends_at IS NOT NULL;
CREATE INDEX restriction_of_person ON app.restriction (placed_by) WHERE scope = 'all' AND lifted_at IS NULL;

ALTER TABLE app.authority_order DROP CONSTRAINT authority_order_demands_check;
ALTER TABLE app.authority_order ADD CONSTRAINT authority_order_demands_check
    CHECK (demands IN ('hold', 'query', 'release', 'freeze', 'temporary_freeze'));

-- What is left of the holds of a payout that a freeze took, where it needed less than there was: the hold that keeps it for
-- this payout until that is held anew.
ALTER TABLE app.payout ADD COLUMN rest_hold text;
CREATE INDEX payout_with_rest ON app.payout (id) WHERE rest_hold IS NOT NULL;
-- What a freeze can still reach, by whose money it is.
CREATE INDEX payout_unsent ON app.payout (coalesce(user_id, merchant_id), accepted_at)
    WHERE state IN ('awaiting_confirmation', 'checking', 'under_review', 'cooling_off', 'scheduled');

-- Payouts that may go on: their processes are told, again and again until one has heard.
CREATE TABLE app.payout_to_tell (
    payout_id text PRIMARY KEY REFERENCES app.payout,
    since timestamptz NOT NULL
);

-- The account of nobody's money: what is frozen is held on its owner's account against this one of the owner's own, so that
-- a freeze takes no lock that anybody else's money needs. Nothing is ever posted to it before an authority says where to.
CREATE OR REPLACE FUNCTION ledger.normal_side_of(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind IN ('reserve', 'in_transit', 'receivable') THEN 'debit'
        WHEN kind IN ('merchant_pending', 'merchant_available', 'user', 'fee_income', 'suspense', 'frozen') THEN 'credit'
    END
$$;

CREATE OR REPLACE FUNCTION ledger.kind_is_known(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(kind IN (
        'collection', 'payout', 'payout_return', 'merchant_settlement', 'bank_settlement', 'suspense',
        'fee', 'fee_refund', 'refund', 'late_refund', 'reversal', 'adjustment', 'freeze'
    ), false)
$$;
