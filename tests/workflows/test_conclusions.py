"""A conclusion is about one step at a bank, and about no other that is parked after it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, SUCCEEDED, UNKNOWN, declined
from tests.workflows.test_decisions import decide, ended, forgetful, late_success, sweep, tell
from workflows.names import Process
from workflows.policies import PAUSE_WHILE_OPERATOR_ACTS

CONCLUDE = DecisionKind.INSTRUCTION_CONCLUDE
PAID = {"outcome": "succeeded", "bank_reference": "B-1", "evidence_ref": "scan:1"}
UNPAID = {"outcome": "failed", "evidence_ref": "scan:1"}
REFUSED = declined(DeclineReason.OTHER)


async def waits_for_people(house: House, payment_id: str, state: str) -> None:
    found = "SELECT state || ':' || wait_reason FROM app.payment WHERE id = :id"
    await house.until(found, f"{state}:operator", id=payment_id)


async def parked_after_its_order(house: House) -> str:
    """A debit that is parked when its order has long been over."""
    forgetful(house)
    house.bank.script("debit", UNKNOWN)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(minutes=1))
    assert await house.processes.collect_payment(house.order(payment))
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await waits_for_people(house, payment["id"], "unknown")
    return str(payment["id"])


async def run_again(house: House, process: Process, payment_id: str) -> None:
    """Its process is gone, and the sweeper runs it again and tells it what it knows."""
    await house.handle(process, payment_id).terminate()
    for _ in range(3):
        await sweep(house, timedelta(minutes=11))
    await asyncio.sleep(0.5)


async def test_a_debit_concluded_as_booked_says_nothing_of_giving_it_back_when_its_process_runs_again(
    house: House,
) -> None:
    payment_id = await parked_after_its_order(house)
    house.bank.script("refund", REFUSED)
    assert await tell(house, "payment", payment_id, await decide(house, CONCLUDE, payment_id, **PAID))
    await waits_for_people(house, payment_id, "late_refunding")
    house.bank.script("query", REFUSED)
    await run_again(house, Process.COLLECT_PAYMENT, payment_id)
    assert (await house.payment(payment_id))["state"] == "late_refunding"
    assert await house.books.balance("suspense:CNY") == 10_000


async def test_a_debit_concluded_as_unpaid_says_nothing_of_giving_it_back_after_the_banks_later_word(
    house: House,
) -> None:
    payment_id = await parked_after_its_order(house)
    assert await tell(house, "payment", payment_id, await decide(house, CONCLUDE, payment_id, **UNPAID))
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "failed"
    house.bank.script("query", SUCCEEDED, *[UNKNOWN] * 80, NOT_FOUND)
    house.bank.script("refund", UNKNOWN)
    assert await house.processes.correct_payment(house.order(await house.payment(payment_id)))
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await waits_for_people(house, payment_id, "late_refunding")
    for _ in range(3):
        await sweep(house)
    await asyncio.sleep(0.5)
    assert len(house.bank.asked("refund")) == 1
    assert (await house.payment(payment_id))["waiting_for"]["reason"] == "operator"


async def test_a_conclusion_that_is_still_being_looked_up_does_not_reach_the_step_after_its_own(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await parked_after_its_order(house)
    decision = await decide(house, CONCLUDE, payment_id, **PAID)
    real, may_answer = house.books.instructions.check_decision, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        found = await real(*arguments)
        await may_answer.wait()
        return found

    monkeypatch.setattr(house.books.instructions, "check_decision", slow)
    house.bank.script("refund", REFUSED)
    telling = asyncio.create_task(tell(house, "payment", payment_id, decision))
    await house.until("SELECT count(*) FROM app.operation WHERE action = 'check_decision'", 1)
    house.bank.script("query", SUCCEEDED, REFUSED)
    await house.processes.tell_bank_notice(Process.COLLECT_PAYMENT, payment_id)
    await waits_for_people(house, payment_id, "late_refunding")
    may_answer.set()
    await telling
    await asyncio.sleep(0.5)
    assert (await house.payment(payment_id))["state"] == "late_refunding"
    assert await house.books.balance("suspense:CNY") == 10_000


async def test_what_people_say_was_paid_back_is_not_tried_again_before_its_process_has_heard_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await late_success(house, monkeypatch, REFUSED)
    await waits_for_people(house, payment_id, "late_refunding")
    house.bank.script("refund", SUCCEEDED)
    await decide(house, CONCLUDE, payment_id, **PAID)
    await house.env.sleep(PAUSE_WHILE_OPERATOR_ACTS + timedelta(minutes=1))
    await house.until("SELECT reason FROM app.payment", "concluded_by_operators")
    assert len(house.bank.asked("refund")) == 1
    assert await sweep(house) == 1
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "late_refunded"
    assert len(house.bank.asked("refund")) == 1


@pytest.mark.long
async def test_a_bank_that_speaks_up_before_its_process_has_taken_a_conclusion_prevails(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its booking announced meanwhile would be lost: nobody corrects what ended after the announcement."""
    real, may_go_on = house.books.instructions.settle, asyncio.Event()

    async def slow(settlement: Any) -> Any:
        state = await real(settlement)
        if settlement.key.endswith(":parked"):
            await may_go_on.wait()
        return state

    monkeypatch.setattr(house.books.instructions, "settle", slow)
    payment_id = await parked_after_its_order(house)
    decision = await decide(house, CONCLUDE, payment_id, **UNPAID)
    telling = asyncio.create_task(tell(house, "payment", payment_id, decision))
    await house.until("SELECT count(*) FROM app.operation WHERE action = 'check_decision'", 1)
    house.bank.script("query", SUCCEEDED)
    await house.processes.tell_bank_notice(Process.COLLECT_PAYMENT, payment_id)
    may_go_on.set()
    await telling
    assert (await ended(house, Process.COLLECT_PAYMENT, payment_id)).state == "late_refunded"
    assert await house.books.balance("suspense:CNY") == 0
