"""Calendars that change while payouts wait: all are planned anew, in order of acceptance, and leave by the new plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sweeper import OLDER_THAN, Sweeper
from tests.conftest import Database
from tests.storage.backlog import Backlog
from tests.storage.books import NOW
from tests.workflows.conftest import BINDING_LIFE
from tests.workflows.planned_house import ROUTES, PlannedHouse, open_planned_house
from workflows.names import Process

STATE = "SELECT state FROM app.payout WHERE id = :id"
_WAITING = "SELECT count(*) FROM app.payout WHERE state = 'scheduled' AND plan_version < :version"


@pytest.fixture
async def planned(database: Database) -> AsyncIterator[PlannedHouse]:
    async with open_planned_house(database) as opened:
        yield opened


async def a_backlog(planned: PlannedHouse, count: int) -> Backlog:
    """So many payouts without a process, accepted before all others, that wait by the calendars of version 1."""
    backlog = Backlog(planned.house.books, await planned.house.books.known_payee())
    await backlog.accept(count)
    now = await planned.house.now()
    await planned.house.books.run(
        "UPDATE app.payout SET accepted_at = accepted_at + make_interval(secs => :by), state = 'scheduled',"
        " slot_at = :slot, predicted_arrival_at = :slot, release_until = :slot, plan_version = 1",
        by=(now - NOW - timedelta(hours=1)).total_seconds(), slot=now + timedelta(days=10),
    )  # fmt: skip
    return backlog


@pytest.mark.long
async def test_a_calendar_corrected_while_500_wait_sends_them_earlier_and_in_order(planned: PlannedHouse) -> None:
    house = planned.house
    assert await planned.load(closed_for=10) == 1
    backlog = await a_backlog(planned, 500)
    payouts = [await planned.accept() for _ in range(3)]
    for payout in payouts:
        await house.begin_payout(payout, "scheduled")
    before = [await planned.slot(payout["id"]) for payout in payouts]
    assert min(before) > await house.now() + timedelta(days=9)
    version = await planned.load(closed_for=0)
    done = await planned.replan(version)
    assert (done.planned, done.told, done.failed) == (503, 3, 0)
    assert await house.books.value(_WAITING, version=version) == 0
    rows = await house.books.value(
        "SELECT json_agg(date_trunc('second', slot_at) ORDER BY accepted_at, id) FROM app.payout"
    )
    rate = ROUTES.banks["HBRB"].releases_per_second
    assert rows == sorted(rows)
    assert max(rows.count(second) for second in set(rows)) <= rate
    assert len(set(rows)) <= 503 // rate + 2
    for payout, was in zip(payouts, before, strict=True):
        ended = await house.end_of(Process.SEND_PAYOUT, payout["id"])
        assert ended.state == "succeeded"
        assert await house.events(payout["id"]) == [
            "payout.accepted", "payout.scheduled", "payout.rescheduled", "payout.succeeded",
        ]  # fmt: skip
        assert await planned.slot(payout["id"]) < was - timedelta(days=5)
    told = await house.books.value(
        "SELECT count(*) FROM app.event WHERE type = 'payout.rescheduled' AND object_id = ANY (:ids)", ids=backlog.ids
    )
    assert told == 500


async def test_a_later_opening_wakes_nobody_and_sends_nobody_early(planned: PlannedHouse) -> None:
    house = planned.house
    await planned.load(closed_for=2)
    payout = await planned.accept()
    await house.begin_payout(payout, "scheduled")
    early = await planned.slot(payout["id"])
    version = await planned.load(closed_for=5)
    assert (await planned.replan(version)).told == 0
    late = await planned.slot(payout["id"])
    assert late == early + timedelta(days=3)
    assert (await house.end_of(Process.SEND_PAYOUT, payout["id"])).state == "succeeded"
    claimed = await house.books.value("SELECT claimed_at FROM app.payout WHERE id = :id", id=payout["id"])
    assert claimed >= late


async def test_what_nobody_started_the_sweeper_starts(planned: PlannedHouse) -> None:
    house = planned.house
    await planned.load(closed_for=10)
    payout = await planned.accept()
    await house.begin_payout(payout, "scheduled")
    version = await planned.load(closed_for=0)
    later = await house.now() + OLDER_THAN + timedelta(seconds=1)
    await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep()
    await house.until(_WAITING, 0, version=version)
    assert (await house.end_of(Process.SEND_PAYOUT, payout["id"])).state == "succeeded"
