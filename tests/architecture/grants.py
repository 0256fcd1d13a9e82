"""Which role of the database may do what, reviewed by hand: a new grant has to be written down here (P3.1b).

By name, without arguments; what is in no list may be done by the owner alone.
"""

from __future__ import annotations

# The merchant API and the worker.
OF_APP = frozenset({
    "app.accept_binding", "app.accept_payee", "app.accept_payments", "app.accept_payouts", "app.accept_refunds",
    "app.accept_unbinding", "app.accept_user", "app.apply_for_waiver", "app.begin_requests", "app.check_decision",
    "app.claim_code_attempt", "app.claim_code_resend", "app.claim_effects", "app.confirm_payout",
    "app.create_webhook_endpoint", "app.event_horizon", "app.event_matches", "app.event_view",
    "app.balance_view", "app.lapse_decisions", "app.look_after_funds", "app.owner_to_look_after", "app.payouts_told",
    "app.open_reviews", "app.payout_standing", "app.record_abandoned", "app.record_answer", "app.record_callback",
    "app.record_consent", "app.remove_payee", "app.replay_webhook_events", "app.report_user",
    "app.resolve_code_attempt", "app.rotate_webhook_secret", "app.settle", "app.switch_webhook_endpoint",
    "app.test_webhook_endpoint", "app.unattended", "app.unfinished", "app.verification_for", "app.webhook_attempt_view",
    "app.webhook_delivery_view", "app.webhook_endpoint_view", "ledger.balance_at", "vault.erase_items",
    "vault.erase_user", "vault.record_disclosures", "vault.store_items",
    "app.approved_payouts", "app.give_evidence", "app.open_payout_cases", "app.review_standing",
    "app.begin_assessment", "app.record_assessment", "app.record_screening", "app.screening_due",
    "app.screening_entries",
    "app.plan_payout", "app.planning_facts", "app.payouts_to_replan", "app.version_to_replan",
    "app.merchants_to_settle", "app.pay_settlement", "app.propose_settlement_account", "app.report_settlement",
    "app.settlements_to_pay",
    "app.accept_fx", "app.accept_fx_mandate", "app.accept_receiving_account", "app.announce_inbound",
    "app.claim_fx_effect", "app.dispose_of_fx", "app.doubt_inbound", "app.end_fx_mandate", "app.fx_planning_facts",
    "app.fx_standing",
    "app.fx_to_replan", "app.no_such_inbound", "app.open_reversal", "app.plan_fx", "app.receive_inbound",
    "app.receiver_of", "app.settle_fx", "app.unattended_fx", "app.unfinished_fx", "app.value_date_ahead",
    "app.version_to_replan_fx",
    "retention.claim", "retention.due", "retention.keep", "retention.purge_records", "retention.report",
    "retention.unkept",
    "app.claim_due_erasures", "app.finish_due_erasure", "app.fail_due_erasure",
    "app.catch_up_with_erasure", "app.open_unknown_closure_case",
    "app.accept_closure", "app.claim_notice", "app.closure_of_merchant", "app.complete_closure", "app.records_clock",
    "app.end_following",
    "app.erasure_applied", "app.forget_items", "app.forget_user", "app.hand_over_records", "app.identity_to_retain",
    "app.items_to_forget", "app.keys_of_user", "app.look_at_closure", "app.notices_to_give", "app.open_dispute",
    "app.open_late_money_cases", "app.open_lost_copies_case", "app.escalate_closures", "app.record_reply",
    "app.reply_to_erasure",
    "app.transactions_to_retain",
    "app.claim_telling", "app.obstacle_beforehand", "app.unattended_closures", "app.unfinished_closures",
})  # fmt: skip
# The operators' API.
OF_OPS = frozenset({
    "app.approve_decision", "app.begin_act", "app.begin_login", "app.change_operator", "app.change_password",
    "app.decision_view", "app.end_session", "app.enrol_operator", "app.finish_login", "app.invited_login",
    "app.open_case", "app.record_act", "app.redeem_enrolment", "app.reject_decision", "app.request_decision",
    "app.restriction_view",
    "app.review_view", "app.work_on_review",
    "app.load_screening_list", "app.screening_match_view",
    "app.load_calendar",
    "app.reopen_settlement",
    "app.export_counts",
    "app.open_positions",
    "app.work_on_closure", "retention.search",
})  # fmt: skip
# Both: views, records, what each of them has a use for.
OF_APP_AND_OPS = frozenset({
    "app.binding_view", "app.frozen_minor", "app.instant", "app.is_freeze", "app.operator_may", "app.payee_view",
    "app.payment_view", "app.payout_row_view", "app.payout_view",
    "app.record_operation", "app.refund_view", "app.register_signing_key", "app.revoke_signing_key",
    "app.signing_key_view", "app.user_view", "app.waiting_for", "app.waiver_application_view", "ledger.open_accounts",
    "vault.items_to_mask", "vault.open_items",
    "app.screening_lists",
    "app.current_plan_version", "app.loaded_calendars",
    "app.settlement_line_view", "app.settlement_view",
    "app.fx_mandate_view", "app.fx_view", "app.inbound_return_view", "app.inbound_view", "app.receiving_account_view",
    "retention.kept",
    "app.closure_facts", "app.closure_view", "app.dispute_view", "app.erasures_missing",
})  # fmt: skip
# The webhook sender is handed what is due, and reads no table.
OF_WEBHOOKS = frozenset({
    "app.claim_webhook_deliveries", "app.fan_out_events", "app.purge_webhook_deliveries",
    "app.record_webhook_attempt",
})  # fmt: skip
# Whoever opens what the law has us keep: one function, which asks for the order and for two people.
OF_RETENTION = frozenset({"retention.open_for_order"})
# Views and words: they compute from what they are given, with the rights of whoever calls them.
WITHOUT_THE_OWNERS_RIGHTS = frozenset({
    "app.binding_view", "app.decision_view", "app.event_horizon", "app.event_matches", "app.event_view", "app.instant",
    "app.is_freeze", "app.payee_view", "app.payment_view", "app.payout_view", "app.refund_view", "app.restriction_view",
    "app.payout_row_view", "app.review_view", "app.settlement_line_view", "app.settlement_view",
    "app.signing_key_view", "app.user_view", "app.waiting_for", "app.waiver_application_view",
    "app.webhook_attempt_view", "app.webhook_delivery_view", "app.webhook_endpoint_view",
    "app.fx_mandate_view", "app.fx_view", "app.inbound_return_view", "app.inbound_view", "app.receiving_account_view",
    "app.dispute_view",
})  # fmt: skip
# All that is written to tables directly: by whoever manages merchants, never to anything of users or of money.
WRITTEN_DIRECTLY = frozenset({
    ("ops", "app.api_key", "INSERT"),
    ("ops", "app.api_key.revoked_at", "UPDATE"),
    ("ops", "app.merchant.contract_until", "INSERT"),
    ("ops", "app.merchant.created_at", "INSERT"),
    ("ops", "app.merchant.id", "INSERT"),
    ("ops", "app.merchant.name", "INSERT"),
})  # fmt: skip
# Bytes that a role reads all the same: public keys, merchants' signatures as evidence, and what a transfer's key is
# bound to.
BYTES_THAT_ARE_READ = frozenset({
    ("app", "app.signing_key.public_key"),
    ("app", "ledger.transfer.fingerprint"),
    ("ops", "app.signing_key.public_key"),
    ("ops", "app.instruction_signature.signature"),
    ("ops", "app.instruction_signature.sealed_base"),
})  # fmt: skip
