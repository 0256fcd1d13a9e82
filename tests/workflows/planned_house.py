"""A house whose payouts are planned by real calendars, which a treasurer loads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from activities.planning import Planning
from calendars.book import CalendarBook
from config.policy import read_policy
from domain.business_time import business_date
from domain.calendars import CalendarFile
from domain.routes import RouteBook
from storage.administration import Act
from storage.calendars import Calendars, ReleaseSlots
from storage.database import create_engine
from tests.conftest import Database
from tests.storage.books import Books
from tests.storage.deciders import enrol_deciders
from tests.workflows.conftest import House, open_house
from workflows import names
from workflows.messages import ReplanOrder
from workflows.starting import Processes

ROUTES = RouteBook.model_validate(read_policy()["payout_routes"])


@dataclass
class PlannedHouse:
    """`load` is what a treasurer does; it only makes a version, and starts nothing."""

    house: House
    calendars: Calendars
    planning: Planning
    treasurer: str

    async def load(self, *, closed_for: int, days: int = 14) -> int:
        """Has the mainland closed for so many days from today on, and working on all of the days after them."""
        now = await self.house.now()
        stated = [
            {
                "calendar": "CN",
                "day": business_date(now) + timedelta(days=n),
                "working": n >= closed_for,
                "name": "测试",
            }
            for n in range(days)
        ]
        file = CalendarFile.model_validate({"note": "更正", "corrections": stated})
        loaded = await self.calendars.load_file(Act("operator:tian", now, None), self.treasurer, file)
        return int(loaded["version"])

    async def accept(self, **changes: Any) -> dict[str, Any]:
        return await self.house.accept_payout(route="CN-CNY", speed="next_working_day", **changes)

    async def replan(self, version: int) -> ReplanOrder:
        """Has everything planned that waits, and answers how much it was."""
        assert await self.house.processes.replan_payouts(version)
        handle = self.house.env.client.get_workflow_handle(
            names.workflow_id(names.Process.REPLAN_PAYOUTS, str(version)), result_type=ReplanOrder
        )
        return await handle.result()

    async def slot(self, payout_id: str) -> datetime:
        found: datetime = await self.house.books.value("SELECT slot_at FROM app.payout WHERE id = :id", id=payout_id)
        return found


@asynccontextmanager
async def open_planned_house(database: Database) -> AsyncIterator[PlannedHouse]:
    made: list[Planning] = []

    def planning(books: Books, processes: Processes) -> list[Callable[..., Any]]:
        made.append(Planning(ReleaseSlots(books.app), CalendarBook(Calendars(books.app)), ROUTES, processes))
        return [made[0].plan_payout, made[0].replan_page]

    ops = create_engine(database.ops_url, pool_size=2)
    try:
        deciders = await enrol_deciders(database, ops)
        treasurer = await deciders.enrol("tian", "treasury")
        async with open_house(database, planning=planning) as house:
            yield PlannedHouse(house, Calendars(ops), made[0], treasurer)
    finally:
        await ops.dispose()
