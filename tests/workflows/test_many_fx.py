"""Many conversions wait for one opening: they leave in order, under their desk's rate, each once (A6.4b)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.planning import NoWindowError
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.fx_books import RULES
from tests.workflows.fx_house import Fx, FxHouse, begins, open_fx_house
from workflows.names import Process

RATE = RULES.desks["HBRB"].conversions_per_second
SLOTS = "SELECT array_agg(slot_at ORDER BY accepted_at, id) FROM app.fx"


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, request.param) as opened:
        yield opened


async def waiting(house: FxHouse, many: int) -> list[Fx]:
    now = await house.now()
    await house.fx.receive(many * 1_000, now=now)
    conversions = []
    for n in range(many):
        at = now + timedelta(milliseconds=n)
        conversions.append(await house.fx.accept(1_000, now=at))
    for fx in conversions:
        await house.begin(fx)
    await house.until("SELECT count(*) FROM app.fx WHERE slot_at IS NOT NULL", many)
    return conversions


@begins("2026-11-27 17:00:00")
@pytest.mark.parametrize("many", [50, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
async def test_a_backlog_is_released_in_order_at_opening_under_the_desks_rate(house: FxHouse, many: int) -> None:
    conversions = await waiting(house, many)
    slots = await house.books.value(SLOTS)
    opens = shanghai("2026-11-30 09:30:00")
    assert slots == sorted(slots)
    assert slots[0] == opens
    assert slots[-1] <= opens + timedelta(seconds=many // RATE)
    assert max(Counter(slot.replace(microsecond=0) for slot in slots).values()) <= RATE
    await house.at("2026-11-30 09:31:00")
    await house.until("SELECT count(*) FROM app.fx WHERE state = 'settled'", many)
    assert house.desk.dealt == {house.number(fx): 1 for fx in conversions}
    dealt = await house.books.value("SELECT array_agg(dealt_at ORDER BY accepted_at, id) FROM app.fx")
    for at, slot in zip(dealt, slots, strict=True):
        assert slot <= at
    assert await house.money() == (many * 7_123, 0)
    await house.assert_positions_are_back_at_nought()


@pytest.mark.long
@begins("2026-11-27 17:00:00")
async def test_a_backlog_is_planned_anew_in_order_of_acceptance_and_only_who_goes_earlier_is_told(
    house: FxHouse,
) -> None:
    many = 45
    await waiting(house, many)
    later = await house.replan(await house.load_days("CN", d2026_11_30=False))
    assert (later.planned, later.told, later.failed) == (many, 0, 0)
    slots = await house.books.value(SLOTS)
    assert slots == sorted(slots)
    assert slots[0] == shanghai("2026-12-01 09:30:00")
    earlier = await house.replan(await house.load_hours("FX-HBRB", ((1, 2, 3, 4, 5), "09:15", "16:30")))
    assert (earlier.planned, earlier.told, earlier.failed) == (many, many, 0)
    slots = await house.books.value(SLOTS)
    assert slots == sorted(slots)
    assert slots[0] == shanghai("2026-12-01 09:15:00")
    assert max(Counter(slot.replace(microsecond=0) for slot in slots).values()) <= RATE
    await house.at("2026-12-01 09:16:00")
    await house.until("SELECT count(*) FROM app.fx WHERE state = 'settled'", many)
    assert len(house.desk.requests) == many


@pytest.mark.long
@begins("2026-11-27 17:00:00")
async def test_what_cannot_be_planned_by_what_is_known_is_tried_again_and_keeps_nobody_waiting(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    [unplannable, *_] = await waiting(house, 5)
    real, failures = house.planner.plan_fx, 1

    async def plan_fx(*what: object) -> object:
        nonlocal failures
        failures -= 1
        if failures == 0:
            raise NoWindowError("fx")
        return await real(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(house.planner, "plan_fx", plan_fx)
    version = await house.load_days("CN", d2026_11_30=False)
    assert await house.processes.replan_fx(version)
    await house.until("SELECT count(*) FROM app.fx WHERE plan_version = :v", 4, v=version)
    assert await house.books.value("SELECT plan_version FROM app.fx WHERE id = :id", id=unplannable["id"]) < version
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await house.until("SELECT count(*) FROM app.fx WHERE plan_version = :v", 5, v=version)
    handle = house.handle(Process.REPLAN_FX, str(version))
    assert (await handle.describe()).status is not None
