"""A payout that was paid comes back, days later perhaps: booked once, by the bank's own word, and not without it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from activities.interfaces import EffectResult
from domain.banking import BankOutcome
from tests.workflows.conftest import House
from tests.workflows.payouts import number_of
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN
from tests.workflows.test_send_payout_at_bank import CLOSED, RETURNED
from workflows import payout_settlements as settlements
from workflows.names import Process

Payout = dict[str, Any]


async def paid(house: House) -> Payout:
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    return payout


async def announce(house: House, payout: Payout, attempt: int = 0) -> None:
    order = house.payout_order(await house.view("payout", payout["id"]) | {"attempt": attempt})
    assert await house.processes.return_payout(order)


async def test_a_return_five_days_after_success_is_on_the_balance_by_a_transfer_of_its_own(house: House) -> None:
    payout = await paid(house)
    await house.env.sleep(timedelta(days=5))
    house.bank.script("query", PROCESSING, RETURNED)
    await announce(house, payout)
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "returned"
    found = await house.view("payout", payout["id"])
    assert (found["state"], found["return"]["reference"]) == ("returned", "BACK1")
    assert found["return"]["at"].startswith("2026-11-28T03:00:00")
    # The amount, and not the fee.
    assert await house.money() == (10_000, 0, 10_200)
    kinds = await house.books.value(
        "SELECT array_agg(kind ORDER BY id) FROM ledger.transfer WHERE instruction = :id", id=payout["id"]
    )
    assert kinds.count("payout_return") == 1
    assert len(house.bank.asked("pay_out")) == 1
    # Announced once more, it is booked no second time.
    await announce(house, payout)
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "returned"
    assert await house.money() == (10_000, 0, 10_200)
    assert (await house.events(payout["id"])).count("payout.returned") == 1


async def test_a_return_that_the_bank_itself_does_not_know_of_changes_nothing(house: House) -> None:
    payout = await paid(house)
    house.bank.script("query", SUCCEEDED)
    await announce(house, payout)
    ended = await house.end_of(Process.RETURN_PAYOUT, payout["id"])
    assert (ended.state, ended.reason) == ("succeeded", "bank_says_of_no_return")
    # Banks do not announce twice what they were thanked for: somebody has to look.
    [case] = await house.books.value("SELECT json_agg(kind) FROM app.case_record WHERE state = 'open'")
    assert case == "return_not_confirmed"
    house.bank.script("query", NOT_FOUND)
    await announce(house, payout)
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "succeeded"
    assert await house.money() == (0, 0, 200)


async def test_a_return_that_shows_a_little_later_than_it_was_announced_is_booked(house: House) -> None:
    payout = await paid(house)
    house.bank.script("query", SUCCEEDED, SUCCEEDED, SUCCEEDED, RETURNED)
    await announce(house, payout)
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "returned"


async def test_a_payout_that_went_out_at_the_second_try_is_asked_about_by_its_second_number(house: House) -> None:
    house.bank.script("pay_out", CLOSED, SUCCEEDED)
    payout = await paid(house)
    house.bank.calls.clear()
    house.bank.script("query", RETURNED)
    await announce(house, payout, attempt=1)
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "returned"
    assert house.bank.asked("query") == [number_of(payout, 1)]


@pytest.mark.long
async def test_a_return_that_is_announced_before_the_success_is_booked_waits_for_it(house: House) -> None:
    """The answer that says "paid" is on its way to the books while the payee's bank sends the money back."""
    payout = await house.accept_payout()
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", PROCESSING)
    await house.begin_payout(payout, "unknown")
    await house.handle(Process.SEND_PAYOUT, payout["id"]).terminate()
    house.bank.script("query", RETURNED)
    await announce(house, payout)
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    assert await house.books.value("SELECT state FROM app.payout") == "unknown"
    order = house.payout_order(await house.view("payout", payout["id"]))
    now = await house.now()
    paid = EffectResult(outcome=BankOutcome.SUCCEEDED, bank_reference="REF1", booked_at=now)
    await house.books.instructions.settle(settlements.succeeded(order, number_of(payout), now, paid))
    assert (await house.end_of(Process.RETURN_PAYOUT, payout["id"])).state == "returned"
    assert await house.money() == (10_000, 0, 10_200)
    assert (await house.events(payout["id"]))[-2:] == ["payout.succeeded", "payout.returned"]
