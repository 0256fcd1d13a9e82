"""Hundreds of payouts wait while the plan changes: each looks once, each is paid once, in its new slot."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain.limits import LimitSet
from tests.workflows.conftest import House, result_of
from tests.workflows.payouts import RATE
from workflows.names import Process

RICH = LimitSet(per_transaction_minor=10**12, per_day_minor=10**12, per_month_minor=10**12)


@pytest.mark.parametrize("many", [30, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
async def test_payouts_that_wait_while_the_plan_changes_leave_in_their_new_slots(house: House, many: int) -> None:
    now = await house.now()
    late, soon = now + timedelta(days=9), now + timedelta(days=1)
    house.checks.open_bank(late)
    await house.books.fund(many * 300)
    payee_id = await house.books.known_payee()
    payouts = []
    for _ in range(many):
        command = house.books.payout(payee_id, 100, now=now, limit_sets=[(f"user:{house.books.user_id}", RICH)])
        payouts.append(await house.books.instructions.accept_payout(command))
        if payouts[-1]["state"] == "awaiting_confirmation":
            # A second payout to the same account within a day.
            confirmation = house.books.confirmation(payouts[-1]["id"], now)
            payouts[-1] = await house.books.instructions.confirm_payout(confirmation)
    for payout in payouts:
        await house.begin_payout(payout)
    await house.until("SELECT count(*) FROM app.payout WHERE state = 'scheduled'", many)

    house.checks.open_bank(soon)
    await house.books.run("UPDATE app.payout SET plan_version = -1")
    assert all([await house.processes.tell_payout(payout["id"]) for payout in payouts])
    await house.until("SELECT count(*) FROM app.payout WHERE slot_at < :late", many, late=late)

    handles = [house.handle(Process.SEND_PAYOUT, payout["id"]) for payout in payouts]
    # Many results awaited at once would stop the server's skipping: the last one is, and then the rest are there.
    await house.end_of(Process.SEND_PAYOUT, payouts[-1]["id"])
    with house.env.auto_time_skipping_disabled():
        ended = await asyncio.gather(*(result_of(handle) for handle in handles))
    assert {one.state for one in ended} == {"succeeded"}
    assert (
        len({sent.request_number for sent in house.bank.asked("pay_out")}) == len(house.bank.asked("pay_out")) == many
    )
    left = "SELECT bool_and(claimed_at >= :soon AND claimed_at < :late) FROM app.payout"
    assert await house.books.value(left, soon=soon, late=late)
    rate = "SELECT max(n) FROM (SELECT count(*) AS n FROM app.payout GROUP BY date_trunc('second', slot_at)) x"
    assert await house.books.value(rate) <= RATE
    assert (await house.money())[0] == 0
