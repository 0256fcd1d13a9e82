"""Planning conversions: the windows of desk, authority and value date by the calendars in force, and the slot that the
books allocate, within the quota (A5.1a, A6.4b, L9).
"""

from __future__ import annotations

import asyncio
import logging
from datetime import date, datetime
from typing import Protocol

from temporalio import activity

from activities import names
from activities.interfaces import FxPlanned, FxPlanRequest, ReplannedPage, ReplanPage
from activities.planning import PlanningFailedError, after_of
from domain.fx import AllocatedFxSlot, FxPlanRefusedError, FxSlotRequest, FxToPlan, WaitingFx
from domain.fx_planning import FxPlan
from domain.fx_rules import FxRules
from domain.planning import NoWindowError

log = logging.getLogger(__name__)

# Calendars that change again and again while one plan is made are left to the next attempt.
_MOST_COMPUTATIONS = 5
# What waits for a desk wants to know at once when one is switched on.
_WAITS_FOR_DESK = "partner"


class FxPlanner(Protocol):
    """The calendars in force (`calendars.book.CalendarBook`)."""

    async def plan_fx(
        self, rules: FxRules, desk_bank: str, currency: str, value_date: date | None, earliest: datetime
    ) -> tuple[int, FxPlan]: ...

    async def version(self) -> int: ...


class FxSlotBook(Protocol):
    """Where slots are allocated (`storage.fx.FxSlots`)."""

    async def to_plan(self, fx_id: str) -> FxToPlan | None: ...

    async def to_replan(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[WaitingFx]: ...

    async def planned(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[str]: ...

    async def allocate(self, request: FxSlotRequest) -> AllocatedFxSlot: ...


class FxTeller(Protocol):
    """Wakes the process of a conversion (`workflows.starting.Processes`)."""

    async def tell_fx(self, fx_id: str) -> bool: ...


class FxPlanning:
    """The activities that plan conversions. `rules` are those of the worker's start."""

    def __init__(self, slots: FxSlotBook, planner: FxPlanner, rules: FxRules, teller: FxTeller) -> None:
        self._slots = slots
        self._planner = planner
        self._rules = rules
        self._teller = teller

    @activity.defn(name=names.PLAN_FX)
    async def plan_fx(self, request: FxPlanRequest) -> FxPlanned:
        """The slot of a conversion, committed; asked again, the same as long as it holds."""
        fx = await self._slots.to_plan(request.fx_id)
        if fx is None:
            return FxPlanned(state="not_found")
        slot = await self._allocate(fx, request.now, request.why)
        within = {
            "answer_within_seconds": self._rules.answer_hours * 3600,
            "deliver_within_seconds": self._rules.delivery_hours * 3600,
        }
        return FxPlanned.model_validate(slot.model_dump() | within)

    @activity.defn(name=names.REPLAN_FX_PAGE)
    async def replan_fx_page(self, page: ReplanPage) -> ReplannedPage:
        """Plans the next that wait by an older plan, in order of acceptance; wakes those that go earlier or elsewhere.

        One that goes later than its process sleeps needs no word: its send claim is refused as too early, and it asks.
        """
        after = after_of(page)
        if activity.info().attempt > 1:
            # Whoever ran before may have died between a plan and the word of it.
            for fx_id in await self._slots.planned(page.version, after, page.most):
                await self._teller.tell_fx(fx_id)
        waiting = await self._slots.to_replan(page.version, after, page.most)
        planned = told = failed = 0
        for one in waiting:
            try:
                told += await self._plan_again(one, page.now)
                planned += 1
            except (PlanningFailedError, NoWindowError, FxPlanRefusedError) as error:
                failed += 1
                log.error("not planned", extra={"subject_id": one.fx_id, "reason": str(error)})
            activity.heartbeat(planned)
            await asyncio.sleep(1 / page.per_second)
        last = waiting[-1] if waiting else None
        return ReplannedPage(
            is_last=len(waiting) < page.most,
            after_at=last and last.accepted_at,
            after_id=last and last.fx_id,
            planned=planned,
            told=told,
            failed=failed,
        )

    async def _plan_again(self, one: WaitingFx, now: datetime) -> bool:
        """Plans one; answers whether its process was told."""
        fx = await self._slots.to_plan(one.fx_id)
        if fx is None:
            return False
        slot = await self._allocate(fx, now, "calendar_changed")
        # Its process goes to the desk, and asks about the amount, that it was told last.
        is_other = (slot.desk, slot.amount_minor) != (fx.desk, fx.amount_minor)
        is_news = slot.earlier or slot.state != "waiting" or one.wait_reason == _WAITS_FOR_DESK or is_other
        return is_news and await self._teller.tell_fx(one.fx_id)

    async def _allocate(self, fx: FxToPlan, now: datetime, why: str) -> AllocatedFxSlot:
        earliest, desk = max(now, fx.earliest_at or now), self._desk_for(fx)
        for _ in range(_MOST_COMPUTATIONS):
            request = await self._request(fx, desk, now, why, earliest)
            try:
                return await self._slots.allocate(request)
            except FxPlanRefusedError as refused:
                if refused.error == "fx_not_found":
                    raise
                if refused.error == "no_slot" and request.plan is not None:
                    earliest = request.plan.windows[-1].closes_at
        raise PlanningFailedError(f"calendars change faster than {fx.fx_id} is planned, or its desk is full")

    async def _request(
        self, fx: FxToPlan, desk: str | None, now: datetime, why: str, earliest: datetime
    ) -> FxSlotRequest:
        version = await self._planner.version()
        if desk is None:
            return FxSlotRequest(fx_id=fx.fx_id, now=now, why=why, version=version)
        try:
            version, plan = await self._planner.plan_fx(self._rules, desk, fx.currency, fx.value_date, earliest)
        except NoWindowError:
            return FxSlotRequest(fx_id=fx.fx_id, now=now, why=why, version=version, obstacle="no_window")
        office = self._rules.office_of_desk(desk)
        return FxSlotRequest(
            fx_id=fx.fx_id, now=now, why=why, version=version, desk=desk, office=office.code,
            rate=office.conversions_per_second, plan=plan,
        )  # fmt: skip

    def _desk_for(self, fx: FxToPlan) -> str | None:
        """The first that is switched on and in config/fx.toml; what takes back a deal goes to the desk that made it."""
        wanted = [fx.desk] if fx.kind == "reversal" else list(self._rules.desks_for(fx.currency))
        return next((desk for desk in wanted if desk in fx.desks and desk in self._rules.desks), None)
