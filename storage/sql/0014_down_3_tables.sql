-- Foreign currency goes: its functions, its tables, and the words for it.
DROP FUNCTION app.export_counts, app.unfinished_fx, app.unattended_fx, app.free_on, app.open_reversal, app.settle_fx,
    app.settle_receiving_account, app.number_in_use, app.settle_inbound_return, app.settle_one_fx, app.follow_reversal, app.deal_fx,
    app.lock_reversal, app.user_can_give, app.record_fx, app.judge_fx, app.claim_fx_effect, app.claim_receiving_account,
    app.claim_inbound_return, app.claim_fx, app.opened_tokens, app.claim_refused, app.begin_effect, app.fx_person_tokens,
    app.nothing_was_dealt, app.record_quote, app.hold_for_reversal, app.reserve_obstacle, app.quote_obstacle, app.fx_slot_obstacle, app.version_to_replan_fx,
    app.fx_to_replan, app.fx_has_stopped, app.plan_fx, app.show_fx_wait, app.refuse_fx, app.fx_planned, app.post_all, app.split_off,
    app.find_fx_slot, app.fx_slot_in_turn, app.fx_planning_facts, app.carry_out_inbound, app.why_not_inbound,
    app.inbound_of_case,
    app.announce_inbound, app.no_such_inbound, app.doubt_inbound, app.open_fx_case, app.receive_inbound, app.credit_inbound,
    app.fx_of_inbound, app.receiver_of, app.account_of_number, app.why_in_suspense, app.dispose_of_fx, app.accept_fx, app.new_fx,
    app.end_fx_mandate, app.residency_obstacle, app.accept_fx_mandate, app.export_obstacle, app.accept_receiving_account,
    app.lock_user_of, app.answered, app.obstacle_to_fx, app.fx_standing, app.fx_obstacle, app.value_date_ahead, app.frozen_by, app.post_fx, app.lock_fx,
    app.fx_delivered, app.fx_dealt, app.fx_leg_out, app.fx_release, app.fx_hold, app.end_hold, app.fx_movement,
    app.note_fx, app.tell_of_fx, app.fx_view, app.fx_mandate_view, app.inbound_return_view, app.inbound_view,
    app.receiving_account_view, app.use_quota, app.reserve_quota, app.quota_is_current, app.release_quota,
    app.has_reservation, app.move_quota, app.lock_quota, app.person_of, app.quota_exemption, app.authority_rate_at,
    app.year_of, app.most_within, app.usd_of, app.cny_of, app.exact_e8, app.minor_digits;
DROP TABLE app.user_receivable, app.fx_quota_entry, app.fx_quota, app.inbound_return;
ALTER TABLE app.fx DROP CONSTRAINT fx_desk_quote_id_fkey;
DROP TABLE app.fx, app.fx_quote, app.fx_mandate, app.inbound, app.inbound_notice, app.receiving_account, app.export_contract,
    app.authority_rate, app.fx_office, app.fx_rule;
DELETE FROM app.legal_step WHERE subject IN ('receiving_account', 'inbound', 'inbound_return', 'fx');
DELETE FROM app.effect WHERE step IN ('FX', 'FR', 'IR', 'RA');
ALTER TABLE app.effect DROP CONSTRAINT effect_step_check;
ALTER TABLE app.effect ADD CONSTRAINT effect_step_check
    CHECK (step IN ('SG', 'US', 'PC', 'VC', 'DB', 'RF', 'LR', 'PO'));
ALTER TABLE app.restriction DROP CONSTRAINT restriction_function_check;
ALTER TABLE app.restriction DISABLE TRIGGER lifted_once;
DELETE FROM app.restriction WHERE function = 'fx';
ALTER TABLE app.restriction ENABLE TRIGGER lifted_once;
ALTER TABLE app.restriction ADD CONSTRAINT restriction_function_check
    CHECK (function IN ('bind', 'collect', 'refund', 'payout'));
DELETE FROM app.bank_slots WHERE bank_code LIKE 'FX-%';
DELETE FROM app.release_second WHERE bank_code LIKE 'FX-%';
ALTER TABLE app.bank_slots ADD CONSTRAINT bank_slots_bank_code_fkey FOREIGN KEY (bank_code) REFERENCES app.partner;
