DROP FUNCTION app.claim_one_payout(jsonb), app.lacks_the_banks_word(app.settlement, text), app.payout_standing(text, timestamptz), app.nothing_is_at_the_bank(text, text),
    app.what_holds_up(app.payout, timestamptz), app.settle_payouts(app.settlement[]),
    app.with_payout_transfers(app.settlement[]), app.event_of_payout(app.settlement, app.payout),
    app.confirm_payout(jsonb), app.accept_payouts(jsonb),
    app.accept_one_payout(jsonb), app.confirmation_grounds(app.payee, timestamptz), app.place_payout(app.payout, jsonb),
    app.hold_payout(app.payout), app.remove_payee(jsonb), app.accept_payee(jsonb), app.data_export_missing(text, text, text),
    app.obstacle_to_payouts(app.end_user, text, jsonb, timestamptz),
    app.end_payout(app.payout, text, text, timestamptz, text, text),
    app.note_payout(app.payout, text, timestamptz, text, text, text), app.tell_of_payout(app.payout, text, timestamptz),
    app.lock_payout(text), app.release_payout_limits(text[]), app.lock_payout_limits(text[]),
    app.payout_transfers(app.payout, text, timestamptz),
    app.payout_movement(app.payout, text, text, text, text, text, text, bigint, timestamptz),
    app.payout_view(app.payout), app.payee_view(app.payee);
DROP FUNCTION app.payout_obstacle(app.payout, timestamptz), app.transfers_with_freezes(app.settlement, jsonb),
    app.lock_freezes_of(app.settlement[]),
    app.screening_obstacle(app.payout), app.slot_obstacle(app.payout, timestamptz),
    app.merchant_of_screening(text, text), app.why_not_screening(text, text, jsonb, timestamptz),
    app.carry_out_screening(app.decision), app.merchant_of_review(text, text),
    app.why_not_review(text, text, jsonb, timestamptz), app.carry_out_review(app.decision), app.amount_of_review(text),
    app.merchant_of_settlement(text, text), app.why_not_settlement(text, text, jsonb, timestamptz),
    app.carry_out_settlement(app.decision);
DROP TABLE app.payout, app.payee;
ALTER TYPE app.settlement DROP ATTRIBUTE return_reference, DROP ATTRIBUTE returned_at;
DELETE FROM app.legal_step WHERE subject = 'payout';
DELETE FROM app.effect WHERE step = 'PO';
ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR'));
ALTER TABLE app.restriction DROP CONSTRAINT restriction_function_check;
ALTER TABLE app.restriction DISABLE TRIGGER lifted_once;
DELETE FROM app.restriction WHERE function = 'payout';
ALTER TABLE app.restriction ENABLE TRIGGER lifted_once;
ALTER TABLE app.restriction ADD CONSTRAINT restriction_function_check CHECK (function IN ('bind', 'collect', 'refund'));
ALTER TABLE app.consent DROP CONSTRAINT consent_kind_check;
ALTER TABLE app.consent DISABLE TRIGGER append_only;
DELETE FROM app.consent WHERE kind = 'data_export';
ALTER TABLE app.consent ENABLE TRIGGER append_only;
ALTER TABLE app.consent ADD CONSTRAINT consent_kind_check CHECK (kind IN
    ('agreement', 'capacity_statement', 'waiver_authorisation', 'waiver_notice', 'waiver_objection'));
ALTER TABLE vault.item DROP CONSTRAINT item_field_is_registered;
ALTER TABLE vault.item ADD CONSTRAINT item_field_is_registered
    CHECK (field IN ('name', 'id_number', 'card_number', 'mobile', 'agreement_number')) NOT VALID;
ALTER TABLE vault.disclosure DROP CONSTRAINT disclosure_fields_check;
ALTER TABLE vault.disclosure ADD CONSTRAINT disclosure_fields_check CHECK (cardinality(fields) > 0
    AND fields <@ ARRAY['name', 'id_number', 'card_number', 'mobile', 'agreement_number']) NOT VALID;
ALTER TABLE app.api_key DROP CONSTRAINT api_key_scopes_check;
ALTER TABLE app.api_key ADD CONSTRAINT api_key_scopes_check CHECK (cardinality(scopes) BETWEEN 1 AND 20) NOT VALID;
