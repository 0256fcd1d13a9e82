"""A process that was cancelled, terminated or lost leaves nothing behind for ever: another one goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow

from domain.banking import BankAnswer, DeclineReason
from sweeper import UNFINISHED_AFTER, Sweeper
from tests.storage.books import BANK
from tests.workflows.conftest import BINDING_LIFE, House, result_of
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.collect_payment import CollectPayment
from workflows.messages import PaymentOrder
from workflows.names import Process

End = Callable[[House, Process, str], Awaitable[None]]
STATE = "SELECT state FROM app.{kind} WHERE id = :id"


async def cancel(house: House, process: Process, subject_id: str) -> None:
    await house.handle(process, subject_id).cancel()
    await closed(house, process, subject_id)


async def terminate(house: House, process: Process, subject_id: str) -> None:
    await house.handle(process, subject_id).terminate()
    await closed(house, process, subject_id)


async def closed(house: House, process: Process, subject_id: str) -> None:
    with pytest.raises(Exception, match="Workflow execution failed"):
        await result_of(house.handle(process, subject_id))


async def sweep_after(house: House, duration: timedelta = UNFINISHED_AFTER) -> int:
    later = await house.now() + duration + timedelta(seconds=1)
    return await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep()


async def state_is(house: House, kind: str, object_id: str, state: str) -> None:
    await house.until(STATE.format(kind=kind), state, id=object_id)


async def begun(house: House, payment: dict[str, Any], state: str) -> None:
    assert await house.processes.collect_payment(house.order(payment))
    await state_is(house, "payment", payment["id"], state)


async def booked(house: House) -> tuple[int, int]:
    return await house.books.balance(f"reserve:{BANK}:CNY"), await house.books.balance("suspense:CNY")


@pytest.mark.parametrize("end", [cancel, terminate])
async def test_a_debit_whose_process_was_ended_is_asked_about_by_another(house: House, end: End) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    await begun(house, payment, "sending")
    await house.bank.was_asked("query")
    await end(house, Process.COLLECT_PAYMENT, payment["id"])
    house.bank.script("query", SUCCEEDED)
    assert await sweep_after(house) == 1
    await state_is(house, "payment", payment["id"], "succeeded")
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (10_000, 0)
    revived = "SELECT count(*) FROM app.operation WHERE action = 'revive_process' AND subject_id = :id"
    assert await house.books.value(revived, id=payment["id"]) == 1


@pytest.mark.parametrize("end", [cancel, terminate])
async def test_a_payment_that_waited_for_a_code_frees_its_limits_though_its_process_was_ended(
    house: House, end: End
) -> None:
    payment = await house.accept(order_expires_at=await house.now() + timedelta(seconds=2))
    await begun(house, payment, "awaiting_code")
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await end(house, Process.COLLECT_PAYMENT, payment["id"])
    assert await sweep_after(house) == 1
    await state_is(house, "payment", payment["id"], "closed")
    assert await house.books.value("SELECT sum(used_minor) FROM app.limit_usage") == 0
    assert house.bank.asked("debit") == []


async def test_a_confirmed_payment_whose_process_was_ended_is_debited_without_another_code(house: House) -> None:
    payment = await house.accept()
    await begun(house, payment, "awaiting_code")
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await terminate(house, Process.COLLECT_PAYMENT, payment["id"])
    await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
    assert await sweep_after(house) >= 1
    await state_is(house, "payment", payment["id"], "succeeded")
    assert [debit.authorisation for debit in house.bank.asked("debit")] == ["AUTH-1"]
    assert len(house.bank.asked("send_payment_code")) == 1


async def waiting_for_a_late_refund(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The debit came late and is booked; the bank is silent about giving it back."""
    house.bank.script("debit", UNKNOWN)
    house.bank.script("refund", UNKNOWN)

    async def query(number: str) -> BankAnswer:
        return PROCESSING if number.startswith("LR") else SUCCEEDED

    monkeypatch.setattr(house.bank, "query", query)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(seconds=3))
    order = house.order(payment).model_copy(update={"order_expires_at": await house.now() - timedelta(minutes=5)})
    assert await house.processes.collect_payment(order)
    await state_is(house, "payment", payment["id"], "late_refunding")
    return payment


async def debit_forgotten(number: str) -> BankAnswer:
    return SUCCEEDED if number.startswith("LR") else NOT_FOUND


async def test_a_late_success_goes_back_though_its_process_was_ended_and_the_bank_forgot_the_debit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await waiting_for_a_late_refund(house, monkeypatch)
    await terminate(house, Process.COLLECT_PAYMENT, payment["id"])
    monkeypatch.setattr(house.bank, "query", debit_forgotten)
    assert await sweep_after(house) == 1
    await state_is(house, "payment", payment["id"], "late_refunded")
    assert len(house.bank.asked("refund")) == 1
    assert await booked(house) == (0, 0)


async def test_a_late_refund_that_outgrows_its_history_asks_no_more_about_the_debit_that_the_bank_forgot(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    house.bank.script("debit", UNKNOWN)
    house.bank.script("refund", UNKNOWN)
    asked: list[str] = []

    async def query(number: str) -> BankAnswer:
        asked.append(number[:2])
        if number.startswith("LR"):
            return SUCCEEDED if asked.count("LR") > 30 else PROCESSING
        if asked.count("LR"):
            return NOT_FOUND
        return SUCCEEDED if len(asked) > 8 else PROCESSING

    monkeypatch.setattr(house.bank, "query", query)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(seconds=10))
    assert (await house.collect(payment)).state == "late_refunded"
    assert asked.count("LR") > 30
    assert asked[asked.index("LR") :].count("DB") == 0
    assert await booked(house) == (0, 0)


async def test_a_correction_goes_on_though_its_process_was_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.bank.script("debit", declined(DeclineReason.OTHER))
    payment = await house.accept_waived()
    await house.collect(payment)
    house.bank.script("refund", UNKNOWN)

    async def query(number: str) -> BankAnswer:
        return PROCESSING if number.startswith("LR") else SUCCEEDED

    monkeypatch.setattr(house.bank, "query", query)
    await house.processes.correct_payment(house.order(payment))
    await state_is(house, "payment", payment["id"], "late_refunding")
    await terminate(house, Process.CORRECT_PAYMENT, payment["id"])
    monkeypatch.setattr(house.bank, "query", debit_forgotten)
    assert await sweep_after(house) == 1
    await state_is(house, "payment", payment["id"], "late_refunded")
    assert await booked(house) == (0, 0)


async def test_a_refund_whose_process_was_ended_is_asked_about_by_another(house: House) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    house.bank.script("refund", UNKNOWN)
    house.bank.script("query", PROCESSING)
    refund = await house.accept_refund(payment["id"], 4_000)
    await house.processes.refund_payment(house.refund_order(refund))
    await house.bank.was_asked("query")
    await terminate(house, Process.REFUND_PAYMENT, refund["id"])
    house.bank.script("query", SUCCEEDED)
    assert await sweep_after(house) == 1
    await state_is(house, "refund", refund["id"], "succeeded")
    assert len(house.bank.asked("refund")) == 1
    assert await booked(house) == (6_000, 0)


async def test_an_agreement_that_opened_while_its_process_was_ended_is_not_forgotten(house: House) -> None:
    binding = await house.accept_binding()
    await house.begin_to_bind(binding)
    await state_is(house, "binding", binding["id"], "awaiting_code")
    await house.type_code("binding", binding["id"], None)
    await terminate(house, Process.BIND_CARD, binding["id"])
    await house.books.run("UPDATE app.binding SET accepted_at = accepted_at - interval '1 day'")
    house.bank.script("query", SUCCEEDED.model_copy(update={"agreement_number": "AG-9"}))
    assert await sweep_after(house) == 1
    await state_is(house, "binding", binding["id"], "open")


async def test_an_unbinding_whose_process_was_ended_is_carried_out_by_another(house: House) -> None:
    house.bank.script("unsign", UNKNOWN)
    house.bank.script("query", PROCESSING)
    binding = await house.accept_unbinding(house.books.binding_id)
    await house.processes.unbind_card(house.binding_order(binding, await house.now()))
    await house.bank.was_asked("query")
    await terminate(house, Process.UNBIND_CARD, binding["id"])
    house.bank.script("query", SUCCEEDED)
    assert await sweep_after(house) == 1
    await state_is(house, "binding", binding["id"], "unbound")


async def test_a_process_that_runs_is_left_alone(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    await begun(house, payment, "sending")
    assert await sweep_after(house) == 0
    history = await house.handle(names.Process.COLLECT_PAYMENT, payment["id"]).describe()
    assert history.status is not None
    assert history.status.name == "RUNNING"


async def test_what_runs_well_keeps_no_lost_process_from_its_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.UNFINISHED_A_ROUND", 2)
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payments = [await house.accept_waived(1_000) for _ in range(5)]
    for payment in payments:
        await begun(house, payment, "sending")
    await terminate(house, Process.COLLECT_PAYMENT, payments[-1]["id"])
    later: datetime = await house.now() + UNFINISHED_AFTER * 2
    sweeper = Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE)
    assert [await sweeper.sweep() for _ in range(4)] == [0, 0, 1, 0]


@pytest.mark.parametrize(("state", "late"), [("unknown", True), ("sending", False), (None, False)])
def test_a_revived_process_knows_that_its_payment_had_been_shown_as_unknown(state: str | None, *, late: bool) -> None:
    """What the merchant was told before the process was lost decides, not what the new process remembers."""
    expiry = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
    order = PaymentOrder(
        payment_id="pay_1", merchant_id="mch_1", user_id="usr_1", order_number="1", bank_code="HBRB", amount_minor=100,
        fee_minor=0, currency="CNY", payee_account="merchant_pending:mch_1:CNY", verification="waived",
        order_expires_at=expiry, state=state,
    )  # fmt: skip
    assert CollectPayment(order)._is_late(expiry + timedelta(seconds=5)) is late
