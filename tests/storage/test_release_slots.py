"""Release slots: in order of acceptance, under each bank's rate, by plans of the calendars in force (A6.4b)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from domain.slots import PlanRefusedError
from tests.storage.backlog import Backlog, open_backlog
from tests.storage.books import BANK, NOW, Books


@pytest.fixture
async def backlog(books: Books) -> Backlog:
    return await open_backlog(books)


async def test_what_waits_goes_out_in_order_of_acceptance_whoever_is_planned_first(backlog: Backlog) -> None:
    await backlog.accept(500)
    in_any_order = random.Random(4).sample(backlog.ids, len(backlog.ids))
    # The first hundred wait when the others come, in any order: each finds its place, and those behind it give way.
    for payout_id in in_any_order:
        await backlog.plan(payout_id)
    assert await backlog.seconds() == [n // 10 for n in range(500)]
    assert await backlog.books.value("SELECT sum(taken) FROM app.release_second") == 500
    # A place in the queue moved by seconds, and nobody is told of seconds.
    assert await backlog.events(backlog.ids[300]) == ["payout.scheduled"]


async def test_plans_made_at_the_same_time_never_take_more_than_a_second_has(backlog: Backlog) -> None:
    await backlog.accept(60)
    backlog.rate = 7
    await asyncio.gather(*(backlog.plan(payout_id) for payout_id in random.Random(5).sample(backlog.ids, 60)))
    seconds = await backlog.seconds()
    assert len(seconds) == 60
    assert max(Counter(seconds).values()) == 7
    assert max(seconds) == 60 // 7
    assert seconds == sorted(seconds)


async def test_a_plan_that_holds_is_kept_and_nothing_is_told_twice(backlog: Backlog) -> None:
    [first, second] = await backlog.accept(2)
    slot = await backlog.plan(first)
    again = await backlog.plan(first, why="look_again", now=NOW + timedelta(minutes=5))
    assert (slot.state, again.slot_at, again.predicted_arrival_at) == (
        "scheduled",
        slot.slot_at,
        slot.predicted_arrival_at,
    )
    assert slot.slot_at == backlog.opens_at
    assert await backlog.events(first) == ["payout.scheduled"]
    view = await backlog.books.value("SELECT app.payout_view(p) FROM app.payout p WHERE id = :id", id=first)
    assert view["waiting_for"]["reason"] == "bank_window"
    assert view["predicted_arrival"]["provisional"] is False
    # One whose slot went by gets another, and is told when that makes a difference.
    missed = await backlog.plan(first, why="bank_closed", now=backlog.opens_at + timedelta(minutes=10))
    assert missed.slot_at == backlog.opens_at + timedelta(minutes=10)
    assert await backlog.events(first) == ["payout.scheduled", "payout.rescheduled"]
    assert (await backlog.plan(second)).slot_at == backlog.opens_at


async def test_who_gave_way_beyond_its_window_is_planned_anew_before_it_is_sent(backlog: Backlog) -> None:
    backlog.rate, backlog.closes_at = 1, backlog.opens_at + timedelta(seconds=2)
    [early, middle, late] = await backlog.accept(3)
    await backlog.plan(middle)
    assert (await backlog.plan(late)).slot_at == backlog.opens_at + timedelta(seconds=1)
    assert (await backlog.plan(early)).moved == 2
    assert await backlog.seconds() == [0, 1, 2]
    obstacle = "SELECT app.slot_obstacle(p, :at) FROM app.payout p WHERE id = :id"
    assert await backlog.books.value(obstacle, id=late, at=backlog.opens_at + timedelta(seconds=2)) == "too_early"
    anew = await backlog.plan(late, why="too_early", now=backlog.opens_at + timedelta(seconds=1))
    assert anew.slot_at == backlog.opens_at + timedelta(days=1)
    assert await backlog.events(late) == ["payout.scheduled", "payout.rescheduled"]


async def test_a_full_window_leads_into_the_next_and_a_full_plan_says_so(backlog: Backlog) -> None:
    backlog.rate, backlog.closes_at = 1, backlog.opens_at + timedelta(seconds=1)
    await backlog.accept(4)
    slots = [await backlog.plan(payout_id) for payout_id in backlog.ids[:3]]
    assert [each.slot_at for each in slots] == [backlog.opens_at + timedelta(days=n) for n in range(3)]
    with pytest.raises(PlanRefusedError, match="no_slot"):
        await backlog.plan(backlog.ids[3])


async def test_only_the_slot_of_a_plan_in_force_lets_a_payout_go(backlog: Backlog) -> None:
    [payout_id] = await backlog.accept(1)
    await backlog.plan(payout_id)
    obstacle = "SELECT app.slot_obstacle(p, :at) FROM app.payout p WHERE id = :id"

    async def at(after: timedelta) -> object:
        return await backlog.books.value(obstacle, id=payout_id, at=backlog.opens_at + after)

    assert await at(-timedelta(seconds=1)) == "too_early"
    assert await at(timedelta()) is None
    assert await at(timedelta(minutes=5)) is None
    assert await at(timedelta(minutes=5, seconds=1)) == "too_early"
    assert await at(backlog.closes_at - backlog.opens_at) == "too_early"
    await backlog.books.run("UPDATE app.partner SET enabled = false WHERE code = :bank", bank=BANK)
    assert await at(timedelta()) == "too_early"


async def test_a_plan_by_calendars_that_are_over_is_not_taken(backlog: Backlog) -> None:
    [first, second] = await backlog.accept(2)
    await backlog.plan(first)
    await backlog.books.run("UPDATE app.partner SET enabled = false WHERE code = :bank", bank=BANK)
    await backlog.books.run("UPDATE app.partner SET enabled = true WHERE code = :bank", bank=BANK)
    with pytest.raises(PlanRefusedError, match="stale_plan"):
        await backlog.plan(second)
    assert [each.payout_id for each in await backlog.slots.to_replan(2, None, 10)] == [first]
    backlog.version, backlog.opens_at = 2, backlog.opens_at - timedelta(minutes=30)
    moved = await backlog.plan(first, why="calendar_changed")
    assert (moved.earlier, moved.slot_at) == (True, backlog.opens_at)
    assert await backlog.slots.to_replan(2, None, 10) == []
    assert await backlog.slots.planned(2, None, 10) == [first]
    assert await backlog.events(first) == ["payout.scheduled", "payout.rescheduled"]


async def test_what_has_ended_or_still_cools_off_gets_no_slot(backlog: Backlog) -> None:
    [ended, cooling] = await backlog.accept(2)
    await backlog.books.run("UPDATE app.payout SET state = 'refused' WHERE id = :id", id=ended)
    await backlog.books.run(
        "UPDATE app.payout SET state = 'cooling_off', cool_until = :until WHERE id = :id",
        id=cooling, until=NOW + timedelta(hours=2),
    )  # fmt: skip
    assert (await backlog.plan(ended)).slot_at is None
    assert (await backlog.plan(cooling)).state == "cooling_off"
    assert (await backlog.plan(cooling, now=NOW + timedelta(hours=2))).state == "scheduled"
    with pytest.raises(PlanRefusedError, match="payout_not_found"):
        await backlog.plan("po_00000000000000000000000000")


async def test_what_stands_still_for_another_reason_keeps_it_when_calendars_change(backlog: Backlog) -> None:
    [payout_id] = await backlog.accept(1)
    await backlog.plan(payout_id)
    await backlog.books.run("UPDATE app.payout SET wait_reason = 'freeze' WHERE id = :id", id=payout_id)
    await backlog.books.run("UPDATE app.partner SET enabled = false WHERE code = :bank", bank=BANK)
    backlog.version, backlog.opens_at = 1, backlog.opens_at + timedelta(hours=1)
    assert (await backlog.plan(payout_id, why="calendar_changed")).earlier is False
    row = "SELECT wait_reason FROM app.payout WHERE id = :id"
    assert await backlog.books.value(row, id=payout_id) == "freeze"
