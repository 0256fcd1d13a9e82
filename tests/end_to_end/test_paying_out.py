"""From a balance to a bank account on the whole stack: every answer of a bank, freezes, withdrawals, many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from banks.simulator.cards import FAULT_ACCOUNTS
from banks.simulator.payee_accounts import example_account
from demo.banks import Banks
from tests.end_to_end.play import FINAL_PAYOUT, Merchant, Payer
from tests.end_to_end.staff import COMPLIANCE, Staff
from tests.end_to_end.world import World

DECLINED = {70: "name_mismatch", 71: "account_closed", 72: "account_number_invalid", 74: "other"}
# Processing, then no; and two that somebody tried to forge into a success.
FAIL_IN_THE_END = dict.fromkeys((76, 84, 85), "other")
PAID_IN_THE_END = (75, 77, 78, 79, 80, 83, 86)
RETURNED = (81, 82)
# A definite no for now: it is sent again when the bank is open, so it has no end of its own.
TURNED_AWAY = 73
FEE_MINOR = 100
_serials = count(1)


@pytest.fixture
async def staff(world: World) -> Staff:
    return await Staff(world).arrive()


def test_every_fault_account_is_tried() -> None:
    tried = [*DECLINED, *FAIL_IN_THE_END, *PAID_IN_THE_END, *RETURNED, TURNED_AWAY]
    assert sorted(tried) == sorted(FAULT_ACCOUNTS)


@pytest.mark.long
async def test_every_answer_of_a_bank_ends_a_payout_as_it_must_and_pays_it_once_or_never(
    world: World, merchant: Merchant
) -> None:
    numbers = [*DECLINED, *FAIL_IN_THE_END, *PAID_IN_THE_END, *RETURNED, None]
    groups = [numbers[place::2] for place in range(2)]  # few of one user, who would become conspicuous
    async with _quick_faults(world):
        payers = await asyncio.gather(*(_with_balance(merchant, 200_000) for _ in groups))
        found = await asyncio.gather(
            *(_paid_to(world, payer, number) for payer, group in zip(payers, groups, strict=True) for number in group)
        )
    expected: dict[int | None, tuple[Any, ...]] = {
        number: ("failed", reason, (0, 0)) for number, reason in (DECLINED | FAIL_IN_THE_END).items()
    }
    expected |= dict.fromkeys((*PAID_IN_THE_END, None), ("succeeded", None, (1, 0)))
    expected |= dict.fromkeys(RETURNED, ("returned", "account_closed", (1, 1)))
    assert dict(found) == expected
    for payer, group in zip(payers, groups, strict=True):
        paid = sum(number is None or number in PAID_IN_THE_END for number in group)
        returned = sum(number in RETURNED for number in group)
        # A fee is kept for what left, also for what came back.
        left = 200_000 - paid * (10_000 + FEE_MINOR) - returned * FEE_MINOR
        assert await merchant.balance(payer.user_id) == (left, 0, 0)
    assert await world.wrong() == []


async def test_a_bank_that_says_that_it_is_closed_has_paid_nothing_and_the_institution_can_still_withdraw(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    payer = await _with_balance(merchant, 50_000)
    payout = await payer.pay_out(_account(TURNED_AWAY), 10_000)
    await _when(world, "SELECT 1 FROM app.effect WHERE subject_id = :id AND reason = 'bank_closed'", id=payout["id"])
    waiting = await merchant.payout_ended(payout["id"], ("scheduled",))
    assert waiting["waiting_for"]["reason"] == "bank_window"
    assert await merchant.balance(payer.user_id) == (50_000 - 10_000 - FEE_MINOR, 10_000 + FEE_MINOR, 0)
    await staff.decide("instruction.withdraw", payout["id"])
    ended = await merchant.payout_ended(payout["id"])
    assert (ended["state"], ended["reason"]) == ("failed", "withdrawn")
    assert await merchant.balance(payer.user_id) == (50_000, 0, 0)
    assert await _times_paid(world, payout) == (0, 0)
    paid = await payer.pay_out(_account(), 10_000)
    assert (await merchant.payout_ended(paid["id"]))["state"] == "succeeded"
    assert await staff.refusal("instruction.withdraw", paid["id"]) == "ALREADY_SENT"
    assert await world.wrong() == []


@pytest.mark.long
async def test_payouts_that_are_frozen_while_their_bank_is_closed_wait_and_leave_when_they_are_released(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    stopped, ended, free = await asyncio.gather(*(_with_balance(merchant, 50_000) for _ in range(3)))
    opens_at = await staff.close_bank("HBRB", 600)
    payouts = [await payer.pay_out(_account(), 20_000) for payer in (stopped, ended, free)]
    for payout in payouts:
        await merchant.payout_ended(payout["id"], ("scheduled",))
    for payer in (stopped, ended):
        await staff.decide("funds.freeze", payer.user_id, review_at=_in_a_week())
    shown = await merchant.payout(payouts[2]["id"])
    assert datetime.fromisoformat(shown["predicted_arrival"]["at"]) > opens_at
    assert await _times_paid(world, payouts[2]) == (0, 0)
    await staff.open_bank("HBRB")
    assert (await merchant.payout_ended(payouts[2]["id"]))["state"] == "succeeded"
    for payout, payer in zip(payouts, (stopped, ended), strict=False):
        await _when(world, "SELECT 1 FROM app.event WHERE object_id = :id AND type = 'payout.stopped'", id=payout["id"])
        held = await merchant.payout(payout["id"])
        assert (held["state"], held["waiting_for"]["reason"]) == ("scheduled", "freeze")
        assert await merchant.balance(payer.user_id) == (0, 20_000 + FEE_MINOR, 30_000 - FEE_MINOR)
    await staff.decide("funds.release", stopped.user_id, approved_by=COMPLIANCE)
    await staff.decide("funds.release", ended.user_id, approved_by=COMPLIANCE, stopped_payouts="end")
    assert (await merchant.payout_ended(payouts[0]["id"]))["state"] == "succeeded"
    given_up = await merchant.payout_ended(payouts[1]["id"])
    assert (given_up["state"], given_up["reason"]) == ("failed", "withdrawn")
    assert await merchant.balance(stopped.user_id) == (50_000 - 20_000 - FEE_MINOR, 0, 0)
    assert await merchant.balance(ended.user_id) == (50_000, 0, 0)
    assert await world.wrong() == []


@pytest.mark.long
async def test_of_a_hundred_payouts_at_once_exactly_as_many_are_accepted_as_the_balance_covers(
    world: World, merchant: Merchant
) -> None:
    """Two to each of fifty accounts: of each pair the second is asked about once more."""
    each = 10_000 + FEE_MINOR
    payer = await _with_balance(merchant, 60 * each)
    payees = await asyncio.gather(*(payer.name_account(_account()) for _ in range(50)))
    orders = await asyncio.gather(*(payer.payout_order(payee, 10_000) for payee in payees * 2))
    answers = await asyncio.gather(*(merchant.send("POST", "/v1/payouts", order) for order in orders))
    assert Counter(answer.status_code for answer in answers) == {201: 60, 422: 40}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"INSUFFICIENT_FUNDS"}
    accepted = [answer.json() for answer in answers if answer.status_code == 201]
    seen = await asyncio.gather(
        *(
            merchant.payout_ended(one["id"], ("awaiting_confirmation", "under_review", "succeeded"), 60)
            for one in accepted
        )
    )
    states = Counter(payout["state"] for payout in seen)
    twice = 60 - len({payout["payee_id"] for payout in seen})
    # The first ten of a day leave by themselves; whatever is more is looked at by a person.
    assert states["awaiting_confirmation"] == twice >= 10
    assert states["succeeded"] <= 10
    assert await merchant.balance(payer.user_id) == (0, (60 - states["succeeded"]) * each, 0)
    assert [await _times_paid(world, one) for one in seen] == [(int(one["state"] == "succeeded"), 0) for one in seen]
    assert await world.wrong() == []


async def _with_balance(merchant: Merchant, amount_minor: int) -> Payer:
    payer = await merchant.payer()
    await payer.top_up(amount_minor)
    return payer


def _account(fault: int | None = None) -> str:
    """One that no other payout of these tests goes to."""
    return example_account("CN", fault, 700_000 + next(_serials))


async def _paid_to(world: World, payer: Payer, number: int | None) -> tuple[int | None, tuple[Any, ...]]:
    """`number: (state, reason, (times paid, times taken back))`"""
    payout = await payer.pay_out(_account(number), 10_000)
    states: Collection[str] = ("returned", "failed") if number in RETURNED else FINAL_PAYOUT
    ended = await payer.merchant.payout_ended(payout["id"], states, 60)
    return number, (ended["state"], ended["reason"], await _times_paid(world, payout))


async def _times_paid(world: World, payout: dict[str, Any]) -> tuple[int, int]:
    async with httpx.AsyncClient(base_url=world.simulator, trust_env=False) as http:
        return await Banks(http).times_paid_out(payout["bank_code"], payout["id"])


@asynccontextmanager
async def _quick_faults(world: World) -> AsyncIterator[None]:
    """What a bank is late with for a minute comes at once."""
    async with (
        httpx.AsyncClient(base_url=world.simulator, trust_env=False) as http,
        Banks(http).set_to(late_success_seconds=3.0, return_seconds=1.0),
    ):
        yield


async def _when(world: World, statement: str, within_seconds: float = 30, **parameters: Any) -> None:
    """Once the books say so."""
    async with asyncio.timeout(within_seconds):
        while not await world.rows(statement, **parameters):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


def _in_a_week() -> str:
    return (datetime.now(UTC) + timedelta(days=7)).isoformat()
