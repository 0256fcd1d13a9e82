"""Slots of desks: in order of acceptance, under the desk's rate, by plans of what is in force (A5.1a, A6.4b)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from domain.fx import AllocatedFxSlot, FxPlanRefusedError
from domain.fx_planning import FxPlan
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import DESK, OTHER_DESK, FxBooks
from tests.storage.fx_people import first_user
from tests.storage.fx_steps import new_version, sent, sound_fx_books, turned_away, windows

OPENS = NOW + timedelta(hours=1)


@dataclass
class Backlog:
    """Conversions that were accepted a millisecond apart, and wait for a desk that opens in an hour."""

    fx: FxBooks
    rate: int = 10
    closes: timedelta = timedelta(hours=1)
    days: int = 3
    ids: list[str] = field(default_factory=list)

    async def accept(self, number: int, **changes: Any) -> list[str]:
        user = first_user(self.fx)
        await user.hold(number * 100)
        new = []
        for n in range(number):
            at = NOW + timedelta(milliseconds=len(self.ids) + n)
            new.append((await user.instruct(100, now=at, **changes))["id"])
        self.ids += new
        return new

    async def plan(self, fx_id: str, now: datetime = NOW, **changes: Any) -> AllocatedFxSlot:
        opens_at: datetime = changes.pop("opens_at", OPENS)
        times = [(opens_at + timedelta(days=n), opens_at + timedelta(days=n) + self.closes) for n in range(self.days)]
        values = {"rate": self.rate, "plan": FxPlan(windows(*times))} | changes
        slot: AllocatedFxSlot = await self.fx.plan(fx_id, now, **values)
        return slot

    async def slots(self, ids: list[str] | None = None) -> list[datetime]:
        """Of all that wait, in order of acceptance."""
        statement = sa.text("SELECT id, slot_at FROM app.fx WHERE state = 'waiting' ORDER BY accepted_at, id")
        async with self.fx.books.owner.connect() as connection:
            found = {row.id: row.slot_at for row in await connection.execute(statement)}
        return [at for fx_id, at in found.items() if at is not None and (ids is None or fx_id in ids)]

    async def seconds(self) -> list[int]:
        return [int((at - OPENS).total_seconds()) for at in await self.slots()]


@pytest.fixture
async def backlog(database: Database) -> AsyncIterator[Backlog]:
    async with sound_fx_books(database) as opened:
        yield Backlog(opened)


async def test_what_waits_for_a_desk_goes_out_in_order_of_acceptance_whoever_is_planned_first(backlog: Backlog) -> None:
    await backlog.accept(120)
    for fx_id in random.Random(4).sample(backlog.ids, len(backlog.ids)):
        await backlog.plan(fx_id)
    assert await backlog.seconds() == [n // 10 for n in range(120)]
    assert await backlog.fx.books.value("SELECT sum(taken) FROM app.release_second") == 120
    view = await backlog.fx.view(backlog.ids[-1])
    assert (view["waiting_for"]["reason"], view["waiting_for"]["until"]) == ("fx_queue", view["planned"]["at"])
    assert (await backlog.fx.view(backlog.ids[0]))["waiting_for"]["reason"] == "fx_desk_window"


async def test_forty_planners_at_once_never_give_a_second_more_than_the_rate(backlog: Backlog) -> None:
    await backlog.accept(40)
    backlog.rate = 3
    await asyncio.gather(*(backlog.plan(fx_id) for fx_id in random.Random(5).sample(backlog.ids, 40)))
    seconds = await backlog.seconds()
    assert sorted(Counter(seconds).values(), reverse=True) == [3] * 13 + [1]
    assert (min(seconds), max(seconds)) == (0, 13)


async def test_windows_that_are_full_lead_into_the_next_and_a_full_plan_says_so(backlog: Backlog) -> None:
    backlog.rate, backlog.closes = 2, timedelta(seconds=1)
    await backlog.accept(7)
    slots = [(await backlog.plan(fx_id)).slot_at for fx_id in backlog.ids[:6]]
    assert slots == [OPENS + timedelta(days=n // 2) for n in range(6)]
    with pytest.raises(FxPlanRefusedError, match="no_slot"):
        await backlog.plan(backlog.ids[6])
    assert await backlog.fx.quota() == (600, 0)


async def test_one_accepted_earlier_goes_before_those_accepted_later_who_keep_their_order(backlog: Backlog) -> None:
    backlog.rate = 1
    first, *others = await backlog.accept(6)
    for fx_id in others:
        await backlog.plan(fx_id)
    assert (await backlog.plan(first)).slot_at == OPENS
    assert await backlog.seconds() == list(range(6))
    # One of them is being sent, and is left alone.
    [sent] = backlog.ids[1:2]
    await backlog.fx.claim(await backlog.fx.view(sent), OPENS + timedelta(seconds=1))
    assert await backlog.seconds() == [0, 2, 3, 4, 5]


async def test_nobody_who_gives_way_gets_an_earlier_second_than_it_had(backlog: Backlog) -> None:
    """One that a desk turned away until later has a reason not to go before that."""
    backlog.rate = 1
    first, turned_away, *others = await backlog.accept(5)
    after = OPENS + timedelta(seconds=3)
    await backlog.plan(turned_away, opens_at=after)
    for fx_id in others:
        await backlog.plan(fx_id)
    assert await backlog.slots([turned_away]) == [after]
    assert (await backlog.plan(first)).slot_at == OPENS
    assert (await backlog.slots([turned_away]))[0] >= after
    assert len(set(await backlog.slots())) == 5


async def test_a_plan_of_another_version_is_made_again_in_the_same_order(backlog: Backlog) -> None:
    await backlog.accept(30)
    backlog.rate = 4
    for fx_id in backlog.ids:
        await backlog.plan(fx_id)
    version = await new_version(backlog.fx)
    assert [each.fx_id for each in await backlog.fx.slots.to_replan(version, None, 100)] == backlog.ids
    page = await backlog.fx.slots.to_replan(version, None, 10)
    rest = await backlog.fx.slots.to_replan(version, (page[-1].accepted_at, page[-1].fx_id), 100)
    assert [each.fx_id for each in page + rest] == backlog.ids
    with pytest.raises(FxPlanRefusedError, match="stale_plan"):
        await backlog.plan(backlog.ids[0], version=version - 1)
    for fx_id in random.Random(6).sample(backlog.ids, 30):
        slot = await backlog.plan(fx_id, why="calendar_changed", opens_at=OPENS - timedelta(minutes=10))
        assert slot.earlier
    assert await backlog.seconds() == [n // 4 - 600 for n in range(30)]
    assert await backlog.fx.slots.to_replan(version, None, 100) == []
    assert await backlog.fx.slots.planned(version, None, 100) == backlog.ids


async def test_a_plan_that_holds_is_kept_and_nothing_is_told_twice(backlog: Backlog) -> None:
    [fx_id] = await backlog.accept(1)
    first = await backlog.plan(fx_id)
    again = await backlog.plan(fx_id, OPENS - timedelta(minutes=5), why="look_again")
    assert (again.slot_at, again.desk, again.earlier) == (first.slot_at, DESK, False)
    assert await backlog.fx.quota() == (100, 0)
    missed = await backlog.plan(fx_id, OPENS + timedelta(minutes=10))
    assert missed.slot_at == OPENS + timedelta(minutes=10)
    told = "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id"
    assert await backlog.fx.books.value(told, id=fx_id) == ["fx.accepted", "fx.scheduled", "fx.rescheduled"]


async def test_what_waits_for_a_desk_that_is_switched_off_goes_to_another_that_is_not(backlog: Backlog) -> None:
    [fx_id] = await backlog.accept(1)
    await backlog.plan(fx_id)
    switch = "UPDATE app.partner SET enabled = :on WHERE code = :bank"
    await backlog.fx.books.run(switch, on=False, bank=DESK)
    facts = await backlog.fx.slots.to_plan(fx_id)
    assert facts is not None
    assert (facts.desk, facts.desks) == (DESK, (OTHER_DESK,))
    for desk in (DESK, None):
        slot = await backlog.plan(fx_id, desk=desk)
        assert (slot.slot_at, slot.obstacle, slot.waits_for) == (None, "partner_not_available", "partner")
    assert (await backlog.plan(fx_id, desk=OTHER_DESK)).slot_at == OPENS
    view = await backlog.fx.view(fx_id)
    assert (view["desk"], view["waiting_for"]["reason"]) == (OTHER_DESK, "fx_desk_window")
    assert await backlog.fx.quota() == (100, 0)


async def test_conversions_of_one_desk_do_not_wait_for_those_of_another(backlog: Backlog) -> None:
    here, there = await backlog.accept(2)
    await backlog.plan(here)
    user = first_user(backlog.fx)
    async with backlog.fx.books.owner.connect() as planning:
        await planning.execute(sa.text("SELECT 1 FROM app.bank_slots WHERE bank_code = 'FX-HBRB' FOR UPDATE"))
        slot = await asyncio.wait_for(backlog.plan(there, desk=OTHER_DESK), 5)
        await planning.rollback()
    assert slot.slot_at == OPENS
    assert await backlog.slots([here, there]) == [OPENS, OPENS]
    assert user.merchant_id == backlog.fx.books.merchant_id


async def test_what_has_ended_gets_no_slot(backlog: Backlog) -> None:
    [fx_id] = await backlog.accept(1)
    await backlog.fx.books.run("UPDATE app.fx SET state = 'refused' WHERE id = :id", id=fx_id)
    slot = await backlog.plan(fx_id)
    assert (slot.state, slot.slot_at) == ("refused", None)
    with pytest.raises(FxPlanRefusedError, match="fx_not_found"):
        await backlog.plan("fx_00000000000000000000000000")


async def test_what_one_desk_has_turned_away_goes_to_another_with_a_rate_of_that_one(backlog: Backlog) -> None:
    fx = backlog.fx
    one = await sent(fx)
    await fx.book.settle(turned_away(one))
    await fx.plan(one["id"], desk=OTHER_DESK)
    again = await fx.view(one["id"])
    await fx.claim(again, attempt=1, quote=fx.quote(again, bank_code=OTHER_DESK))
    assert await fx.book.settle(fx.dealt(again, attempt=1)) == "settled"
    settled = await fx.view(one["id"])
    assert (settled["desk"], settled["rate"]["rate_e8"]) == (OTHER_DESK, 712_340_000)
