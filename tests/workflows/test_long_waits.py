"""A wait that outgrows its history goes on in a fresh one, and a process that is started again does nothing twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow

from domain.banking import BankAnswer, DeclineReason
from tests.storage.books import BANK
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names


@pytest.fixture
def short_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server would suggest a fresh history after some thousand events."""
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )


async def booked(house: House) -> tuple[int, int]:
    return await house.books.balance(f"reserve:{BANK}:CNY"), await house.books.balance("suspense:CNY")


async def runs_of(house: House, process: names.Process, subject_id: str) -> int:
    """How many histories a process has been through."""
    handle = house.handle(process, subject_id)
    run_ids = [(await handle.describe()).run_id]
    while True:
        history = await house.env.client.get_workflow_handle(handle.id, run_id=run_ids[-1]).fetch_history()
        before = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not before:
            return len(run_ids)
        run_ids.append(before)


@pytest.mark.usefixtures("short_histories")
async def test_a_debit_that_stays_unknown_for_long_is_sent_once_over_all_its_histories(house: House) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 25, SUCCEEDED)
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "succeeded"
    assert await runs_of(house, names.Process.COLLECT_PAYMENT, payment["id"]) > 2
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (10_000, 0)
    assert await house.events(payment["id"]) == ["payment.accepted", "payment.unknown", "payment.succeeded"]


@pytest.mark.usefixtures("short_histories")
async def test_a_late_refund_that_stays_unknown_for_long_is_paid_once_over_all_its_histories(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("refund", UNKNOWN)
    questions = 0

    async def query(number: str) -> BankAnswer:
        """The debit is known once the order is over; the refund of it only after many questions more."""
        nonlocal questions
        questions += 1
        return SUCCEEDED if questions > (8 if number.startswith("DB") else 40) else PROCESSING

    monkeypatch.setattr(house.bank, "query", query)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(seconds=10))
    assert (await house.collect(payment)).state == "late_refunded"
    assert await runs_of(house, names.Process.COLLECT_PAYMENT, payment["id"]) > 2
    assert (len(house.bank.asked("debit")), len(house.bank.asked("refund"))) == (1, 1)
    assert await booked(house) == (0, 0)


@pytest.mark.usefixtures("short_histories")
async def test_a_refund_that_stays_unknown_for_long_is_paid_once_over_all_its_histories(house: House) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    house.bank.script("refund", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 25, SUCCEEDED)
    refund = await house.accept_refund(payment["id"], 10_000)
    assert (await house.refund(refund)).state == "succeeded"
    assert await runs_of(house, names.Process.REFUND_PAYMENT, refund["id"]) > 2
    assert len(house.bank.asked("refund")) == 1
    assert await booked(house) == (0, 0)


@pytest.mark.usefixtures("short_histories")
async def test_an_unbinding_that_stays_unknown_for_long_ends_one_agreement(house: House) -> None:
    house.bank.script("unsign", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 25, SUCCEEDED)
    binding = await house.accept_unbinding(house.books.binding_id)
    assert (await house.unbind(binding)).state == "unbound"
    assert await runs_of(house, names.Process.UNBIND_CARD, binding["id"]) > 2
    assert len(house.bank.asked("unsign")) == 1


@pytest.mark.usefixtures("short_histories")
async def test_a_correction_that_waits_long_for_the_bank_books_once(house: House) -> None:
    house.bank.script("debit", declined(DeclineReason.OTHER))
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "failed"
    house.bank.script("query", *[PROCESSING] * 25, SUCCEEDED)
    assert (await house.correct(payment)).state == "late_refunded"
    assert await runs_of(house, names.Process.CORRECT_PAYMENT, payment["id"]) > 2
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (0, 0)


async def sent_and_terminated(house: House) -> dict[str, Any]:
    """A payment whose debit was sent, whose bank is silent, and whose process is gone."""
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payment = await house.accept_waived()
    await house.processes.collect_payment(house.order(payment))
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    await house.handle(names.Process.COLLECT_PAYMENT, payment["id"]).terminate()
    return payment


async def test_a_resumed_process_asks_about_the_debit_that_was_sent_before_it(house: House) -> None:
    payment = await sent_and_terminated(house)
    house.bank.script("query", SUCCEEDED)
    assert await house.processes.collect_payment(house.order(payment).model_copy(update={"resumed": True}))
    await house.until("SELECT state FROM app.payment", "succeeded")
    assert len(house.bank.asked("debit")) == 1
    assert await booked(house) == (10_000, 0)


async def run_again(house: House, payment: dict[str, Any], *, resumed: bool) -> tuple[str, str | None]:
    """A second run of a process that has ended, as after a reset in Temporal."""
    order = house.order(payment).model_copy(update={"resumed": resumed})
    result = await house.env.client.execute_workflow(
        names.Process.COLLECT_PAYMENT.value,
        order,
        id=f"again/{payment['id']}/{resumed}",
        task_queue=names.TASK_QUEUE,
        result_type=dict,
    )
    return result["state"], result["reason"]


@pytest.mark.parametrize("resumed", [True, False])
async def test_a_second_run_of_a_payment_that_succeeded_changes_nothing(house: House, resumed: bool) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    before = await house.payment(payment["id"])
    assert (await run_again(house, payment, resumed=resumed))[0] == "succeeded"
    assert await house.payment(payment["id"]) == before
    assert (len(house.bank.asked("debit")), len(house.bank.asked("refund"))) == (1, 0)
    assert await booked(house) == (10_000, 0)


@pytest.mark.parametrize("resumed", [True, False])
async def test_a_second_run_long_after_the_order_expired_gives_nothing_back_that_is_the_merchants(
    house: House, resumed: bool
) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    over = payment | {"order_expires_at": "2020-01-01T00:00:00.000Z"}
    assert (await run_again(house, over, resumed=resumed))[0] == "succeeded"
    assert house.bank.asked("refund") == []
    assert await booked(house) == (10_000, 0)
