DROP FUNCTION app.fixed_subject(text, text, jsonb), app.in_force(text, text, jsonb);
DROP FUNCTION app.payouts_told(text[]), app.look_after_funds(timestamptz, text), app.owner_to_look_after(timestamptz, text),
    app.spread_restriction(app.restriction, timestamptz), app.end_restriction(app.restriction, timestamptz),
    app.takes_two(app.decision_kind, text), app.end_stopped_payouts(text[], timestamptz, text),
    app.end_held_up_payouts(app.restriction[], timestamptz, text),
    app.tell_waiting_payouts(text, timestamptz), app.restriction_id(text, text, text),
    app.end_of_restriction(app.decision), app.why_not_frozen(text, text, jsonb, timestamptz),
    app.why_not_instruction(text, text, jsonb), app.is_ahead(text, timestamptz, int),
    app.prolonged(text, text, jsonb, timestamptz), app.lock_relations(text), app.relations_of(text, text),
    app.rearrange_funds(text, timestamptz, text), app.due_to_stopped(app.purse, text, jsonb),
    app.serve_stopped(app.purse, text, jsonb, timestamptz, text),
    app.resume_payout(app.purse, app.payout, timestamptz, text),
    app.keep_rest(app.purse, app.payout, bigint, timestamptz),
    app.fill_freeze(app.purse, app.restriction, timestamptz, text),
    app.stop_payout(app.purse, app.payout, app.restriction, timestamptz, text),
    app.let_go_of_ended(app.purse, text, timestamptz), app.take(app.purse, text, bigint, jsonb),
    app.let_go(app.purse, text, text, bigint, timestamptz), app.amount_in(jsonb, text), app.reserve_of(app.payout),
    app.is_unsent(app.payout),
    app.accounts_of(text, text), app.lock_freezes(text), app.balance_view(text, timestamptz), app.gains(jsonb),
    app.freeze_hold(app.restriction, text, text, bigint, text, timestamptz), app.is_freeze(app.restriction),
    app.frozen_minor(text);
DROP TYPE app.purse;
DROP TABLE app.payout_to_tell;
DROP INDEX app.payout_unsent;
ALTER TABLE app.payout DROP COLUMN rest_hold;
ALTER TABLE app.authority_order DROP CONSTRAINT authority_order_demands_check;
ALTER TABLE app.authority_order DISABLE TRIGGER append_only;
DELETE FROM app.authority_order WHERE demands IN ('freeze', 'temporary_freeze');
ALTER TABLE app.authority_order ENABLE TRIGGER append_only;
ALTER TABLE app.authority_order ADD CONSTRAINT authority_order_demands_check CHECK (demands IN ('hold', 'query', 'release'));
DROP INDEX app.restriction_placed_once, app.one_restriction_of_a_kind, app.restriction_of_amount, app.restriction_lacking,
    app.restriction_to_end, app.restriction_of_person;
-- What the tables before could not say is gone, with whatever else its decision placed.
ALTER TABLE app.restriction DISABLE TRIGGER lifted_once;
DELETE FROM app.restriction WHERE of_funds OR amount_minor IS NOT NULL OR scope = 'all' OR kind = 'freeze'
    AND (function IS NOT NULL OR review_at IS NULL OR ends_at IS NOT NULL) OR function = 'payout';
ALTER TABLE app.restriction ENABLE TRIGGER lifted_once;
ALTER TABLE app.restriction DROP COLUMN of_funds, DROP COLUMN amount_minor, DROP COLUMN currency, DROP COLUMN scope,
    DROP CONSTRAINT freeze_has_a_date, DROP CONSTRAINT ends_by_itself;
ALTER TABLE app.restriction ADD CONSTRAINT restriction_check1
    CHECK (kind <> 'freeze' OR review_at > placed_at AND function IS NULL);
ALTER TABLE app.restriction ADD CONSTRAINT restriction_check2 CHECK ((kind = 'authority_order') = (ends_at IS NOT NULL));
ALTER TABLE app.restriction ADD CONSTRAINT restriction_placed_by_key UNIQUE (placed_by);
CREATE UNIQUE INDEX one_restriction_of_a_kind ON app.restriction (subject_id, kind, coalesce(function, ''))
    WHERE lifted_at IS NULL AND kind <> 'authority_order';
ALTER TABLE app.decision_kind DROP COLUMN second_person_above_minor;
CREATE OR REPLACE FUNCTION ledger.normal_side_of(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN kind IN ('reserve', 'in_transit', 'receivable') THEN 'debit'
        WHEN kind IN ('merchant_pending', 'merchant_available', 'user', 'fee_income', 'suspense') THEN 'credit'
    END
$$;
CREATE OR REPLACE FUNCTION ledger.kind_is_known(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(kind IN (
        'collection', 'payout', 'payout_return', 'merchant_settlement', 'bank_settlement', 'suspense',
        'fee', 'fee_refund', 'refund', 'late_refund', 'reversal', 'adjustment'
    ), false)
$$;
