-- Closures go, and what they left: forgotten users keep empty names and digests, for there is nothing to put back.
DROP TRIGGER known_again ON app.end_user;
DROP FUNCTION app.fail_due_erasure, app.finish_due_erasure, app.claim_due_erasures, app.due_erasures, app.erasure_held_by;
DROP INDEX app.binding_without_purpose, app.binding_without_use, app.payee_without_use, app.inbound_gone_back;
DROP FUNCTION app.catch_up_with_erasure, app.is_of_items, app.end_closure_again, app.open_unknown_closure_case;
DROP FUNCTION app.open_lost_copies_case;
DROP INDEX app.webhook_delivery_of_object, app.idempotency_of_resource, ledger.account_of_owner, app.receiving_account_of_user,
    app.inbound_of_receiving_account, app.fx_mandate_of_user;
DROP FUNCTION app.carry_out_closure, app.why_not_closure, app.closure_facts, app.end_following, app.complete_closure, app.record_reply,
    app.claim_notice, app.notices_to_give, app.erasures_missing, app.erasure_applied, app.forget_items, app.forget_user,
    app.objects_of, app.without_digits, app.without_cards, app.escalate_closures, app.items_to_forget, app.items_of_closure,
    app.fields_to_forget, app.keys_of_user, app.identity_to_retain,
    app.transactions_to_retain, app.open_late_money_cases, app.unfinished_closures, app.claim_telling,
    app.unattended_closures, app.is_to_be_told, app.obstacle_beforehand,
    app.closure_print, app.look_at_closure, app.end_agreement, app.open_notices, app.bring_back_marks, app.keep_marks, app.unsign_all,
    app.open_closure_case, app.verify_identity, app.record_closure, app.work_on_closure, app.open_dispute, app.new_dispute,
    app.user_of_subject, app.reply_to_erasure, app.closure_of_merchant, app.hand_over_records, app.accept_closure,
    app.closure_obstacle_to_asking, app.open_closure_of, app.tell_of_closure, app.dispute_view, app.closure_view, app.notices_of, app.obstacles_shown,
    app.is_leaving, app.inbounds_of, app.records_clock, app.closing_obstacle, app.closure_obstacles, app.uses_of, app.has_transactions, app.pending_instructions;
DROP TABLE app.applied_erasure, app.carried_limit, app.person_mark, app.erasure_notice, app.closure, app.dispute;
DELETE FROM app.legal_step WHERE subject IN ('closure', 'dispute');
DELETE FROM app.effect WHERE step = 'EN';
ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check
    CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR', 'PO', 'FX', 'FR', 'IR', 'RA'));
DROP TRIGGER append_only ON app.consent;
DROP TRIGGER append_only ON app.user_report;
DROP TRIGGER append_only ON app.instruction_signature;
DROP TRIGGER decided_once ON app.decision;
DROP TRIGGER never_deleted ON app.decision;
CREATE TRIGGER decided_once BEFORE UPDATE OR DELETE ON app.decision
    FOR EACH ROW EXECUTE FUNCTION app.guard_decision();
DROP FUNCTION app.forbid_change_but_forgetting;
DELETE FROM app.consent WHERE kind = 'longer_retention';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.consent
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.user_report
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.instruction_signature
    FOR EACH ROW EXECUTE FUNCTION app.forbid_change();
ALTER TABLE app.consent DROP CONSTRAINT longer_retention_ends, DROP CONSTRAINT consent_kind_check, DROP COLUMN until_on;
ALTER TABLE app.consent ADD CONSTRAINT consent_kind_check CHECK (kind IN ('agreement', 'capacity_statement',
    'waiver_authorisation', 'waiver_notice', 'waiver_objection', 'data_export'));
UPDATE app.end_user SET merchant_user_ref = 'forgotten:' || id WHERE merchant_user_ref IS NULL;
ALTER TABLE app.end_user DROP CONSTRAINT only_the_forgotten_have_no_name, ALTER COLUMN merchant_user_ref SET NOT NULL;
UPDATE app.binding SET card_index = coalesce(card_index, ''), card_last4 = coalesce(card_last4, '0000'),
    person_index = coalesce(person_index, '') WHERE card_index IS NULL OR card_last4 IS NULL OR person_index IS NULL;
ALTER TABLE app.binding ALTER COLUMN card_index SET NOT NULL, ALTER COLUMN card_last4 SET NOT NULL,
    ALTER COLUMN person_index SET NOT NULL;
UPDATE app.payee SET account_index = coalesce(account_index, ''), account_last4 = coalesce(account_last4, '0000'),
    name_index = coalesce(name_index, '') WHERE account_index IS NULL OR account_last4 IS NULL OR name_index IS NULL;
ALTER TABLE app.payee ALTER COLUMN account_index SET NOT NULL, ALTER COLUMN account_last4 SET NOT NULL,
    ALTER COLUMN name_index SET NOT NULL;
UPDATE app.receiving_account SET holder_index = coalesce(holder_index, ''), account_index = CASE state WHEN 'closed'
    THEN coalesce(account_index, '') ELSE account_index END WHERE holder_index IS NULL OR account_index IS NULL;
ALTER TABLE app.receiving_account ALTER COLUMN holder_index SET NOT NULL, DROP CONSTRAINT receiving_account_check,
    ADD CONSTRAINT receiving_account_check CHECK (state NOT IN ('open', 'closed') OR account_index IS NOT NULL);
UPDATE app.inbound SET account_index = coalesce(account_index, ''), receiver_index = coalesce(receiver_index, '')
    WHERE account_index IS NULL OR receiver_index IS NULL;
ALTER TABLE app.inbound ALTER COLUMN account_index SET NOT NULL, ALTER COLUMN receiver_index SET NOT NULL;
