"""What people decide about an instruction under way, and that nothing else moves its process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from domain.banking import BankAnswer, DeclineReason
from domain.decisions import DecisionKind
from storage.decisions import decide_directly
from sweeper import OLDER_THAN, Sweeper
from tests.storage.books import BANK
from tests.workflows.conftest import BINDING_LIFE, House, result_of
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.messages import CodeResendMessage, DecisionMessage, ProcessResult
from workflows.names import Process

K = DecisionKind
MADE_UP = "dec_00000000000000000000000000"


async def decide(house: House, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
    """Committed; nobody is told."""
    return await decide_directly(house.books.owner, kind, subject_id, await house.now(), detail=detail)


async def tell(house: House, kind: str, subject_id: str, decision_id: str) -> bool:
    return await house.processes.tell_decision(await house.view(kind, subject_id), decision_id)


async def sweep(house: House, after: timedelta = OLDER_THAN) -> int:
    later = await house.now() + after + timedelta(seconds=1)
    return await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep()


async def awaiting_code(house: House) -> str:
    payment = await house.accept()
    assert await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment WHERE id = :id", "payer_code", id=payment["id"])
    return str(payment["id"])


async def ended(house: House, process: Process, subject_id: str) -> ProcessResult:
    return await asyncio.wait_for(result_of(house.handle(process, subject_id)), 20)


async def used(house: House) -> int:
    return int(await house.books.value("SELECT coalesce(sum(used_minor), 0) FROM app.limit_usage"))


async def checks(house: House, subject_id: str) -> list[tuple[str, str | None]]:
    found = await house.books.value(
        "SELECT json_agg(json_build_array(outcome, reason) ORDER BY id) FROM app.operation"
        " WHERE action = 'check_decision' AND subject_id = :id", id=subject_id,
    )  # fmt: skip
    return [tuple(item) for item in found or []]


# Withdrawal


async def test_a_payment_that_waits_for_its_code_is_withdrawn_at_once_and_frees_its_limits(house: House) -> None:
    payment_id = await awaiting_code(house)
    assert await used(house) > 0
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    assert await tell(house, "payment", payment_id, decision)
    result = await ended(house, Process.COLLECT_PAYMENT, payment_id)
    assert (result.state, result.reason) == ("closed", "withdrawn")
    found = await house.payment(payment_id)
    assert (found["state"], found["reason"], found["waiting_for"]) == ("closed", "withdrawn", None)
    assert (await house.events(payment_id))[-1] == "payment.closed"
    assert await used(house) == 0
    assert house.bank.asked("debit") == []
    assert await checks(house, payment_id) == [("done", None)]


async def test_a_payment_whose_code_was_never_heard_of_again_is_withdrawn_though_its_bank_is_silent(
    house: House,
) -> None:
    house.bank.script("send_payment_code", UNKNOWN)
    house.bank.script("query", UNKNOWN)
    payment = await house.accept()
    assert await house.processes.collect_payment(house.order(payment))
    await house.bank.was_asked("query")
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment["id"])
    assert await tell(house, "payment", payment["id"], decision)
    result = await ended(house, Process.COLLECT_PAYMENT, payment["id"])
    assert (result.state, result.reason) == ("closed", "withdrawn")


async def test_a_payment_is_withdrawn_after_its_code_was_confirmed_and_before_its_debit(house: House) -> None:
    payment_id = await awaiting_code(house)
    await house.type_code("payment", payment_id, "confirmed", authorisation="AUTH-1")
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    assert await tell(house, "payment", payment_id, decision)
    result = await ended(house, Process.COLLECT_PAYMENT, payment_id)
    assert (result.state, result.reason) == ("closed", "withdrawn")
    assert house.bank.asked("debit") == []
    assert await used(house) == 0


async def test_a_code_that_its_bank_is_judging_is_judged_before_the_withdrawal_is_carried_out(house: House) -> None:
    payment_id = await awaiting_code(house)
    await house.type_code("payment", payment_id, None)
    house.bank.script("query", SUCCEEDED.model_copy(update={"authorisation": "AUTH-1"}))
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    assert await tell(house, "payment", payment_id, decision)
    result = await ended(house, Process.COLLECT_PAYMENT, payment_id)
    assert (result.state, result.reason) == ("closed", "withdrawn")
    assert await house.books.value("SELECT verdict FROM app.code_attempt") == "confirmed"
    assert house.bank.asked("debit") == []


async def test_a_waived_payment_that_was_withdrawn_before_its_process_began_is_never_sent(house: House) -> None:
    payment = await house.accept_waived()
    await decide(house, K.INSTRUCTION_WITHDRAW, payment["id"])
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("closed", "withdrawn")
    assert house.bank.calls == []
    assert await used(house) == 0


async def test_another_code_for_what_was_withdrawn_closes_it_as_withdrawn(house: House) -> None:
    payment_id = await awaiting_code(house)
    await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    await house.processes.tell_resend("payment", payment_id, CodeResendMessage(attempt=1))
    result = await ended(house, Process.COLLECT_PAYMENT, payment_id)
    assert (result.state, result.reason) == ("closed", "withdrawn")
    assert len(house.bank.asked("send_payment_code")) == 1


async def test_another_code_for_a_suspended_user_fails_the_payment_for_that_reason(house: House) -> None:
    payment_id = await awaiting_code(house)
    await decide(house, K.USER_SUSPEND, house.books.user_id, function="collect")
    await house.processes.tell_resend("payment", payment_id, CodeResendMessage(attempt=1))
    result = await ended(house, Process.COLLECT_PAYMENT, payment_id)
    assert (result.state, result.reason) == ("failed", "function_suspended")


async def paid(house: House) -> dict[str, Any]:
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    return payment


async def test_a_refund_that_was_withdrawn_is_never_sent_and_its_holds_are_free_again(house: House) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 4_000)
    await decide(house, K.INSTRUCTION_WITHDRAW, refund["id"])
    result = await house.refund(refund)
    assert (result.state, result.reason) == ("failed", "withdrawn")
    assert house.bank.asked("refund") == []
    assert await house.books.value("SELECT sum(held) FROM ledger.balance") == 0
    assert (await house.payment(payment["id"]))["refundable_minor"] == 10_000


async def test_a_refund_that_could_not_be_claimed_and_whose_bank_is_silent_is_withdrawn_when_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 4_000)

    async def away(_: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(house.books.instructions, "claim_effect", away)
        house.bank.script("query", UNKNOWN)
        assert await house.processes.refund_payment(house.refund_order(refund))
        await house.bank.was_asked("query")
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, refund["id"])
    assert await tell(house, "refund", refund["id"], decision)
    result = await ended(house, Process.REFUND_PAYMENT, refund["id"])
    assert (result.state, result.reason) == ("failed", "withdrawn")
    assert house.bank.asked("refund") == []


async def test_what_was_sent_cannot_be_withdrawn_any_more(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    assert await house.processes.collect_payment(house.order(payment))
    await house.bank.was_asked("query")
    with pytest.raises(ValueError, match="cannot take place"):
        await decide(house, K.INSTRUCTION_WITHDRAW, payment["id"])
    house.bank.script("query", SUCCEEDED)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment["id"])).state == "succeeded"


# Redelivery


async def test_a_decision_that_nobody_told_of_is_delivered_by_the_sweeper(house: House) -> None:
    payment_id = await awaiting_code(house)
    await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    assert await sweep(house) == 1
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).reason == "withdrawn"
    assert await sweep(house) == 0


async def test_a_withdrawn_payment_whose_process_is_gone_ends_as_withdrawn_all_the_same(house: House) -> None:
    payment_id = await awaiting_code(house)
    await house.handle(Process.COLLECT_PAYMENT, payment_id).terminate()
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    assert not await tell(house, "payment", payment_id, decision)
    for _ in range(3):
        await sweep(house)
    await house.until("SELECT state FROM app.payment WHERE id = :id", "closed", id=payment_id)
    assert (await house.payment(payment_id))["reason"] == "withdrawn"
    assert house.bank.asked("debit") == []


async def test_a_decision_is_checked_for_as_long_as_the_books_are_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await awaiting_code(house)
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    real, failures = house.books.instructions.check_decision, 1

    async def flaky(*arguments: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError
        return await real(*arguments)

    monkeypatch.setattr(house.books.instructions, "check_decision", flaky)
    assert await tell(house, "payment", payment_id, decision)
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).reason == "withdrawn"
    assert failures < 0


async def test_between_its_check_and_its_settlement_a_withdrawal_survives_the_books_being_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await awaiting_code(house)
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, payment_id)
    real, failures = house.books.instructions.settle, 5

    async def flaky(settlement: Any) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError
        return await real(settlement)

    monkeypatch.setattr(house.books.instructions, "settle", flaky)
    assert await tell(house, "payment", payment_id, decision)
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment_id)).reason == "withdrawn"
    assert (await house.events(payment_id)).count("payment.closed") == 1


# What is no decision about this instruction


@pytest.mark.parametrize("word", [MADE_UP, "", "'; DROP TABLE app.decision; --", "x" * 5000])
async def test_a_made_up_decision_changes_nothing_and_is_on_record(house: House, word: str) -> None:
    payment_id = await awaiting_code(house)
    handle = house.handle(Process.COLLECT_PAYMENT, payment_id)
    answer = await handle.execute_update(names.DECISION_UPDATE, DecisionMessage(decision_id=word))
    assert answer["holds"] is False
    assert (await house.payment(payment_id))["state"] == "awaiting_code"
    assert await checks(house, payment_id) == [("refused", "decision_not_found")]


async def test_a_decision_about_another_payment_changes_nothing(house: House) -> None:
    mine, other = await awaiting_code(house), await awaiting_code(house)
    decision = await decide(house, K.INSTRUCTION_WITHDRAW, other)
    assert await tell(house, "payment", mine, decision)
    assert (await house.payment(mine))["state"] == "awaiting_code"
    assert await checks(house, mine) == [("refused", "decision_of_another")]


@pytest.mark.parametrize("state", ["requested", "rejected", "expired"])
async def test_a_decision_that_was_not_committed_changes_nothing(house: House, state: str) -> None:
    payment_id = await awaiting_code(house)
    await house.books.run(
        "INSERT INTO app.decision (id, kind, subject_id, ground, reason, second_person, requested_by, requested_at,"
        " expires_at, state, decided_by, decided_at)"
        " VALUES (:id, 'instruction.withdraw', :subject, 'x', 'x', true, 'a',"
        " now(), now() + interval '1 day', :state, CASE :state WHEN 'requested' THEN NULL ELSE 'b' END,"
        " CASE :state WHEN 'requested' THEN NULL ELSE now() END)", id=MADE_UP, subject=payment_id, state=state,
    )  # fmt: skip
    assert await tell(house, "payment", payment_id, MADE_UP)
    assert (await house.payment(payment_id))["state"] == "awaiting_code"
    assert await checks(house, payment_id) == [("refused", "decision_not_committed")]


async def test_a_bare_signal_and_an_update_without_a_decision_change_nothing(house: House) -> None:
    payment_id = await awaiting_code(house)
    handle = house.handle(Process.COLLECT_PAYMENT, payment_id)
    await handle.signal(names.DECISION_UPDATE, {"decision_id": MADE_UP})
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(names.DECISION_UPDATE)
    assert (await house.payment(payment_id))["state"] == "awaiting_code"


# Concluding what is parked


def forgetful(house: House) -> None:
    """A bank that is silent for longer than it remembers a number, and then finds nothing."""
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("query", *[UNKNOWN] * 80, NOT_FOUND)


async def parked_debit(house: House, **changes: Any) -> str:
    """The bank has no trace of the debit and may have forgotten it."""
    forgetful(house)
    house.bank.script("debit", UNKNOWN)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(days=3650), **changes)
    assert await house.processes.collect_payment(house.order(payment))
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await house.until("SELECT wait_reason FROM app.payment WHERE id = :id", "operator", id=payment["id"])
    return str(payment["id"])


async def test_a_parked_payment_is_concluded_as_succeeded_on_evidence(house: House) -> None:
    payment_id = await parked_debit(house)
    decision = await decide(
        house, K.INSTRUCTION_CONCLUDE, payment_id, outcome="succeeded", bank_reference="PAPER-1", evidence_ref="scan:1"
    )
    assert await tell(house, "payment", payment_id, decision)
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "succeeded"
    found = await house.payment(payment_id)
    assert (found["state"], found["reason"], found["bank_reference"]) == (
        "succeeded", "concluded_by_operators", "PAPER-1",
    )  # fmt: skip
    assert await house.books.balance(f"reserve:{BANK}:CNY") == 10_000
    assert len(house.bank.asked("debit")) == 1
    assert await house.books.value("SELECT outcome FROM app.effect WHERE step = 'DB'") == "succeeded"


@pytest.mark.long
async def test_a_payment_concluded_as_failed_is_corrected_by_the_banks_later_word(house: House) -> None:
    payment_id = await parked_debit(house)
    decision = await decide(house, K.INSTRUCTION_CONCLUDE, payment_id, outcome="failed", evidence_ref="scan:1")
    assert await tell(house, "payment", payment_id, decision)
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "failed"
    assert await house.books.balance(f"reserve:{BANK}:CNY") == 0
    assert await used(house) == 0
    house.bank.script("query", SUCCEEDED)
    assert (await house.correct(await house.payment(payment_id))).state == "late_refunded"
    assert await house.books.balance("suspense:CNY") == 0


async def test_a_payment_that_its_bank_still_answers_for_cannot_be_concluded(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    assert await house.processes.collect_payment(house.order(payment))
    await house.bank.was_asked("query")
    with pytest.raises(ValueError, match="cannot take place"):
        await decide(house, K.INSTRUCTION_CONCLUDE, payment["id"], outcome="failed", evidence_ref="scan:1")


async def test_a_conclusion_that_the_bank_was_quicker_than_is_left_aside(house: House) -> None:
    payment_id = await parked_debit(house)
    decision = await decide(house, K.INSTRUCTION_CONCLUDE, payment_id, outcome="failed", evidence_ref="scan:1")
    house.bank.script("query", SUCCEEDED)
    await house.processes.tell_bank_notice(Process.COLLECT_PAYMENT, payment_id)
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "succeeded"
    assert not await tell(house, "payment", payment_id, decision)
    assert await sweep(house) == 0
    assert (await house.payment(payment_id))["state"] == "succeeded"


async def test_a_parked_refund_is_concluded_either_way(house: House) -> None:
    for outcome, reference in (("succeeded", "PAPER-2"), ("failed", None)):
        house.bank.script("debit", SUCCEEDED)
        payment = await paid(house)
        house.bank.script("refund", UNKNOWN)
        forgetful(house)
        refund = await house.accept_refund(payment["id"], 4_000)
        assert await house.processes.refund_payment(house.refund_order(refund))
        async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
            await house.until("SELECT wait_reason FROM app.refund WHERE id = :id", "operator", id=refund["id"])
        detail = {"outcome": outcome, "evidence_ref": "scan:1"} | ({"bank_reference": reference} if reference else {})
        await decide(house, K.INSTRUCTION_CONCLUDE, refund["id"], **detail)
        assert await sweep(house) == 1
        assert (await ended(house, Process.REFUND_PAYMENT, refund["id"])).state == outcome
        assert (await house.view("refund", refund["id"]))["bank_reference"] == reference
    assert await house.books.value("SELECT sum(held) FROM ledger.balance") == 0


# Late successes on their way back


async def late_success(house: House, monkeypatch: pytest.MonkeyPatch, refund: BankAnswer) -> str:
    """The debit came late and is booked; the bank answers `refund` to giving it back."""
    house.bank.script("debit", UNKNOWN)
    house.bank.script("refund", refund)

    async def query(number: str) -> BankAnswer:
        return PROCESSING if number.startswith("LR") else SUCCEEDED

    monkeypatch.setattr(house.bank, "query", query)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(seconds=3))
    order = house.order(payment).model_copy(update={"order_expires_at": await house.now() - timedelta(minutes=5)})
    assert await house.processes.collect_payment(order)
    return str(payment["id"])


async def test_a_late_refund_that_the_bank_refuses_is_concluded_as_paid_by_other_means(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await late_success(house, monkeypatch, declined(DeclineReason.OTHER))
    await house.until("SELECT wait_reason FROM app.payment", "operator")
    decision = await decide(
        house, K.INSTRUCTION_CONCLUDE, payment_id, outcome="succeeded", bank_reference="WIRE-1", evidence_ref="scan:1"
    )
    assert await tell(house, "payment", payment_id, decision)
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "late_refunded"
    assert await house.books.balance("suspense:CNY") == 0


async def test_a_late_refund_concluded_as_unpaid_is_tried_at_once_under_another_number(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await late_success(house, monkeypatch, declined(DeclineReason.OTHER))
    await house.until("SELECT wait_reason FROM app.payment", "operator")
    house.bank.script("refund", SUCCEEDED)
    await decide(house, K.INSTRUCTION_CONCLUDE, payment_id, outcome="failed", evidence_ref="scan:1")
    assert await sweep(house) == 1
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "late_refunded"
    numbers = [request.request_number for request in house.bank.asked("refund")]
    assert (len(numbers), len(set(numbers))) == (2, 2)
    assert await sweep(house) == 0


async def test_an_authority_holds_a_late_refund_until_its_order_is_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = await house.now() + timedelta(days=2)
    order = {"issuer": "公安局", "number": "1", "demands": "hold", "function": "refund"}
    await decide(house, K.AUTHORITY_ORDER_REGISTER, house.books.user_id, expires_at=expires_at.isoformat(), **order)
    payment_id = await late_success(house, monkeypatch, SUCCEEDED)
    await house.until("SELECT wait_reason FROM app.payment", "authority_order")
    assert (await house.payment(payment_id))["state"] == "late_refunding"
    assert (await house.end_of(Process.COLLECT_PAYMENT, payment_id)).state == "late_refunded"
    assert await house.now() >= expires_at
    assert len(house.bank.asked("refund")) == 1
