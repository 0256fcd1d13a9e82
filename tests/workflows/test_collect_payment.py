"""Every branch of collecting a payment, with the time between skipped."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain.banking import BankOutcome, DeclineReason
from domain.identifiers import BankStep, request_number
from tests.storage.books import BANK
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.messages import CodeResendMessage, CodeVerdictMessage


async def booked(house: House) -> tuple[int, int, int]:
    """What is in the reserve, owed to the merchant, and in suspense."""
    reserve = await house.books.balance(f"reserve:{BANK}:CNY")
    pending = await house.books.balance(f"merchant_pending:{house.books.merchant_id}:CNY")
    return reserve, pending, await house.books.balance("suspense:CNY")


async def limits_taken(house: House) -> int:
    return int(await house.books.value("SELECT coalesce(sum(used_minor), 0) FROM app.limit_usage"))


async def test_a_waived_payment_is_debited_once_and_booked(house: House) -> None:
    payment = await house.accept_waived()
    result = await house.collect(payment)
    assert result.state == "succeeded"
    [debit] = house.bank.asked("debit")
    assert debit.request_number == request_number(BankStep.DEBIT, payment["id"])
    assert (debit.amount_minor, debit.payee, debit.authorisation) == (10_000, "示例商户", None)
    assert await booked(house) == (10_000, 9_940, 0)
    found = await house.payment(payment["id"])
    assert (found["state"], found["bank_reference"], found["waiting_for"]) == ("succeeded", "BANKREF1", None)
    assert await house.events(payment["id"]) == ["payment.accepted", "payment.succeeded"]


async def test_a_payment_into_the_users_own_balance_is_booked_there(house: House) -> None:
    payment = await house.accept_waived(payee_kind="user", fee_minor=0)
    await house.collect(payment)
    assert await house.books.balance(f"user:{house.books.user_id}:CNY") == 10_000


async def test_a_declined_debit_fails_with_the_banks_reason_and_frees_the_limit(house: House) -> None:
    house.bank.script("debit", declined(DeclineReason.INSUFFICIENT_FUNDS))
    payment = await house.accept_waived()
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("failed", "insufficient_funds")
    assert await booked(house) == (0, 0, 0)
    assert await limits_taken(house) == 0
    assert (await house.payment(payment["id"]))["reason"] == "insufficient_funds"


async def test_a_debit_that_timed_out_after_booking_is_asked_about_and_not_sent_again(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (10_000, 9_940, 0)


async def test_a_debit_that_never_arrived_is_sent_again_under_the_same_number(house: House) -> None:
    house.bank.script("debit", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    first, second = house.bank.asked("debit")
    assert first.request_number == second.request_number
    assert await booked(house) == (10_000, 9_940, 0)


async def test_a_crash_of_the_debiting_activity_is_unknown_and_not_failed(house: House) -> None:
    house.bank.script("debit", RuntimeError("the process died"), SUCCEEDED)
    house.bank.script("query", SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert len(house.bank.asked("debit")) == 1


async def test_a_bank_that_processes_for_minutes_shows_as_unknown_and_then_succeeds(house: House) -> None:
    house.bank.script("debit", PROCESSING)
    house.bank.script("query", *[PROCESSING] * 6, SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert await house.events(payment["id"]) == ["payment.accepted", "payment.unknown", "payment.succeeded"]
    waited = await house.books.value(
        "SELECT body->'waiting_for'->>'reason' FROM app.event WHERE type = 'payment.unknown'"
    )
    assert waited == "bank_processing"
    shown = (await house.handle(names.Process.COLLECT_PAYMENT, payment["id"]).describe()).typed_search_attributes
    assert names.WAITING_FOR not in shown


async def test_a_bank_that_processes_and_then_declines_fails_the_payment(house: House) -> None:
    house.bank.script("debit", PROCESSING)
    house.bank.script("query", *[PROCESSING] * 6, declined(DeclineReason.REJECTED_BY_RISK))
    payment = await house.accept_waived()
    assert (await house.collect(payment)).reason == "rejected_by_risk"
    assert await limits_taken(house) == 0


async def test_a_bank_that_is_silent_for_a_while_is_asked_until_it_answers(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[UNKNOWN] * 8, SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert len(house.bank.asked("debit")) == 1


async def test_a_debit_that_can_no_longer_arrive_fails_only_after_the_order_and_the_requests_validity(
    house: House,
) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", NOT_FOUND)
    payment = await house.accept_waived()
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("failed", "not_received_by_bank")
    found = await house.payment(payment["id"])
    assert found["state_since"] > found["order_expires_at"]
    assert {d.request_number for d in house.bank.asked("debit")} == {request_number(BankStep.DEBIT, payment["id"])}
    assert await limits_taken(house) == 0


async def test_a_success_after_the_order_expired_is_booked_and_given_back_and_says_so(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 12, SUCCEEDED)
    payment = await house.accept_waived()
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("late_refunded", "succeeded_after_order_expired")
    assert await booked(house) == (0, 0, 0)
    assert await house.books.value("SELECT count(*) FROM ledger.transfer") == 2
    [refund] = house.bank.asked("refund")
    assert (refund.amount_minor, refund.debit_request_number) == (10_000, request_number(BankStep.DEBIT, payment["id"]))
    assert await house.events(payment["id"]) == [
        "payment.accepted", "payment.unknown", "payment.late_success", "payment.late_refunded",
    ]  # fmt: skip


async def test_a_late_success_that_the_bank_will_not_take_back_waits_for_an_operator(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 12, SUCCEEDED)
    house.bank.script("refund", declined(DeclineReason.OTHER), SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "late_refunded"
    refused = await house.books.value(
        "SELECT count(*) FROM app.operation WHERE action = 'late_refund' AND outcome = 'failed'"
    )
    assert refused == 1
    assert await booked(house) == (0, 0, 0)


async def test_a_code_confirmed_payment_spends_the_banks_authorisation(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
    await house.tell("payment", payment["id"], attempt, "confirmed")
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    [sent], [debit] = house.bank.asked("send_payment_code"), house.bank.asked("debit")
    assert sent.debit_request_number == debit.request_number
    assert (sent.amount_minor, sent.payee) == (debit.amount_minor, debit.payee)
    assert debit.authorisation == "AUTH-1"


async def test_a_payment_without_a_right_code_closes_when_its_order_expires_and_nothing_is_debited(
    house: House,
) -> None:
    payment = await house.accept()
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("closed", "order_expired")
    assert house.bank.asked("debit") == []
    assert await limits_taken(house) == 0


async def test_a_wrong_code_leaves_the_payment_waiting_for_the_right_one(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await house.tell("payment", payment["id"], await house.type_code("payment", payment["id"], "wrong"), "wrong")
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-2")
    await house.tell("payment", payment["id"], attempt, "confirmed")
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"


async def test_a_verdict_that_nobody_told_is_learned_from_the_bank(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    attempt = await house.type_code("payment", payment["id"], None)
    house.bank.script("query", UNKNOWN, SUCCEEDED.model_copy(update={"authorisation": "AUTH-3"}))
    await house.tell("payment", payment["id"], attempt, None)
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert house.bank.asked("debit")[0].authorisation == "AUTH-3"


async def test_a_code_that_was_confirmed_just_before_a_crash_counts_at_the_deadline(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await house.type_code("payment", payment["id"], None)
    house.bank.script("query", SUCCEEDED.model_copy(update={"authorisation": "AUTH-4"}))
    result = await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])
    # The authorisation came to light when the order was over: nothing is sent any more, nothing was debited.
    assert (result.state, result.reason) == ("closed", "order_expired")
    assert house.bank.asked("debit") == []


async def test_an_update_that_claims_a_verdict_which_is_not_in_the_books_changes_nothing(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await house.tell("payment", payment["id"], "att_forged", "confirmed")
    result = await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])
    assert result.state == "closed"
    assert house.bank.asked("debit") == []


async def test_another_code_is_sent_when_the_payer_asks_for_it(house: House) -> None:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    assert await house.processes.tell_resend("payment", payment["id"], CodeResendMessage(attempt=1))
    await house.until("SELECT count(*) FROM app.effect WHERE step = 'PC' AND outcome = 'succeeded'", 2)
    first, second = house.bank.asked("send_payment_code")
    assert second.request_number == first.request_number + "01"
    assert await house.books.value("SELECT code_request_number FROM app.payment") == second.request_number
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "closed"


async def test_a_code_that_the_issuer_will_not_send_fails_the_payment(house: House) -> None:
    house.bank.script("send_payment_code", declined(DeclineReason.AGREEMENT_ENDED))
    result = await house.collect(await house.accept())
    assert (result.state, result.reason) == ("failed", "agreement_ended")
    assert await limits_taken(house) == 0


async def test_a_code_of_which_nothing_was_heard_is_asked_about(house: House) -> None:
    house.bank.script("send_payment_code", UNKNOWN)
    house.bank.script("query", NOT_FOUND, SUCCEEDED)
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    assert len(house.bank.asked("send_payment_code")) == 2
    await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])


@pytest.mark.parametrize(
    ("spoil", "state", "reason"),
    [
        ("UPDATE app.end_user SET state = 'suspended'", "failed", "user_not_active"),
        ("UPDATE app.partner SET enabled = false", "failed", "partner_not_available"),
    ],
)
async def test_what_comes_in_the_way_before_the_debit_ends_the_payment_unsent(
    house: House, spoil: str, state: str, reason: str
) -> None:
    payment = await house.accept_waived()
    await house.books.run(spoil)
    result = await house.collect(payment)
    assert (result.state, result.reason) == (state, reason)
    assert house.bank.asked("debit") == []
    assert await limits_taken(house) == 0


async def test_books_that_fail_for_a_while_are_written_once_they_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = house.books.instructions.settle, 6

    async def flaky(settlement: object) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError("the database is away")
        return await real(settlement)  # type: ignore[arg-type]

    monkeypatch.setattr(house.books.instructions, "settle", flaky)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert await booked(house) == (10_000, 9_940, 0)


async def test_a_notice_of_the_bank_is_followed_by_a_question_at_once(house: House) -> None:
    house.bank.script("debit", PROCESSING)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT state FROM app.payment", "sending")
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    house.bank.script("query", SUCCEEDED)
    assert await house.processes.tell_bank_notice(names.Process.COLLECT_PAYMENT, payment["id"])
    await house.until("SELECT state FROM app.payment", "succeeded")


async def test_a_process_that_was_terminated_and_started_again_debits_nothing_twice(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT state FROM app.payment", "sending")
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    await house.handle(names.Process.COLLECT_PAYMENT, payment["id"]).terminate()
    house.bank.script("query", SUCCEEDED)
    assert await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT state FROM app.payment", "succeeded")
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (10_000, 9_940, 0)


async def test_a_second_start_of_the_same_payment_finds_the_first(house: House) -> None:
    payment = await house.accept_waived()
    assert await house.processes.collect_payment(house.order(payment))
    assert await house.processes.collect_payment(house.order(payment))
    await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])
    assert await house.processes.collect_payment(house.order(payment))
    assert len(house.bank.asked("debit")) == 1


async def test_a_not_found_beyond_the_banks_memory_is_neither_a_no_nor_sent_again(house: House) -> None:
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("debit", UNKNOWN)
    # Silent for longer than it remembers; then it finds nothing, although it had booked.
    house.bank.script("query", *[UNKNOWN] * 150, *[NOT_FOUND] * 5, SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "late_refunded"
    assert len(house.bank.asked("debit")) == 1
    told = await house.books.value(
        "SELECT body->'waiting_for'->>'reason' FROM app.event WHERE type = 'payment.waits_for_operator'"
    )
    assert told == "operator"


async def test_a_suspension_stops_the_second_sending_and_the_payment_ends_by_the_banks_word(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[UNKNOWN] * 3, NOT_FOUND)
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT state FROM app.payment", "sending")
    await house.books.run("UPDATE app.end_user SET state = 'suspended'")
    result = await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])
    assert (result.state, result.reason) == ("failed", "not_received_by_bank")
    assert len(house.bank.asked("debit")) == 1
    assert await limits_taken(house) == 0


def test_outcomes_known_to_the_process_are_all_outcomes() -> None:
    assert {o.value for o in BankOutcome} == {"succeeded", "declined", "processing", "unknown", "not_found", "returned"}
    assert CodeVerdictMessage(attempt_id="a").verdict is None
    assert timedelta(seconds=60) > timedelta(0)


async def test_a_bank_that_booked_another_amount_than_was_asked_for_ends_nothing(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", SUCCEEDED.model_copy(update={"amount_minor": 9_999}))
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    await house.bank.was_asked("query")
    await asyncio.sleep(0.5)
    assert (await house.payment(payment["id"]))["state"] == "sending"
    assert await booked(house) == (0, 0, 0)
    house.bank.script("query", SUCCEEDED.model_copy(update={"amount_minor": 10_000}))
    assert (await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"
    assert await booked(house) == (10_000, 9_940, 0)
