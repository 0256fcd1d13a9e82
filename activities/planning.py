"""Planning payouts: the pure planner by the calendars in force, and the slot that the books allocate (A6.4b)."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Protocol

from temporalio import activity

from activities import names
from activities.interfaces import Plan, PlanRequest, ReplannedPage, ReplanPage
from domain.planning import NoWindowError, ReleasePlan
from domain.routes import Route, RouteBook
from domain.slots import AllocatedSlot, PayoutToPlan, PlanRefusedError, SlotRequest

log = logging.getLogger(__name__)

# Calendars that change again and again while one plan is made are left to the next attempt.
_MOST_COMPUTATIONS = 5
# What waits for its bank wants to know at once when that is switched on.
_WAITS_FOR_BANK = "partner"


class Planner(Protocol):
    """The calendars in force (`calendars.book.CalendarBook`)."""

    async def plan(self, route: Route, bank_code: str, speed: str, earliest: datetime) -> tuple[int, ReleasePlan]: ...


class SlotBook(Protocol):
    """Where slots are allocated (`storage.calendars.ReleaseSlots`)."""

    async def payout(self, payout_id: str) -> PayoutToPlan | None: ...

    async def to_replan(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[PayoutToPlan]: ...

    async def planned(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[str]: ...

    async def allocate(self, request: SlotRequest) -> AllocatedSlot: ...


class PayoutTeller(Protocol):
    """Wakes the process of a payout (`workflows.starting.Processes`)."""

    async def tell_payout(self, payout_id: str) -> bool: ...


class PlanningFailedError(Exception):
    """A payout cannot be planned by what is known; the message says what an operator has to see to."""


class Planning:
    """The activities that plan. `routes` are those of the worker's start."""

    def __init__(self, slots: SlotBook, planner: Planner, routes: RouteBook, teller: PayoutTeller) -> None:
        self._slots = slots
        self._planner = planner
        self._routes = routes
        self._teller = teller

    @activity.defn(name=names.PLAN_PAYOUT)
    async def plan_payout(self, request: PlanRequest) -> Plan:
        """The slot of a payout, committed; asked again, the same as long as it holds."""
        payout = await self._slots.payout(request.payout_id)
        if payout is None:
            return Plan(state="not_found")
        slot = await self._allocate(payout, request.now, request.why)
        return Plan(
            state=slot.state,
            slot_at=slot.slot_at,
            predicted_arrival_at=slot.predicted_arrival_at,
            provisional=slot.provisional,
            answer_within_seconds=self._route(payout).answer_hours * 3600,
        )

    @activity.defn(name=names.REPLAN_PAGE)
    async def replan_page(self, page: ReplanPage) -> ReplannedPage:
        """Plans the next payouts that wait by an older plan, in order of acceptance, and wakes those that go earlier.

        One that goes later than its process sleeps needs no word: its send claim is refused as too early, and it asks.
        """
        after = after_of(page)
        if activity.info().attempt > 1:
            # Whoever ran before may have died between a plan and the word of it.
            for payout_id in await self._slots.planned(page.version, after, page.most):
                await self._teller.tell_payout(payout_id)
        payouts = await self._slots.to_replan(page.version, after, page.most)
        planned = told = failed = 0
        for payout in payouts:
            try:
                slot = await self._allocate(payout, page.now, "calendar_changed")
                planned += 1
                if slot.earlier or payout.wait_reason == _WAITS_FOR_BANK:
                    told += await self._teller.tell_payout(payout.payout_id)
            except (PlanningFailedError, NoWindowError, PlanRefusedError) as error:
                failed += 1
                log.error("not planned", extra={"subject_id": payout.payout_id, "reason": str(error)})
            activity.heartbeat(planned)
            await asyncio.sleep(1 / page.per_second)
        last = payouts[-1] if payouts else None
        return ReplannedPage(
            is_last=len(payouts) < page.most,
            after_at=last and last.accepted_at,
            after_id=last and last.payout_id,
            planned=planned,
            told=told,
            failed=failed,
        )

    async def _allocate(self, payout: PayoutToPlan, now: datetime, why: str) -> AllocatedSlot:
        route, earliest = self._route(payout), max(now, payout.earliest_at or now)
        for _ in range(_MOST_COMPUTATIONS):
            version, plan = await self._planner.plan(route, payout.bank_code, payout.speed, earliest)
            rate = self._routes.banks[payout.bank_code].releases_per_second
            request = SlotRequest(payout_id=payout.payout_id, now=now, why=why, version=version, rate=rate, plan=plan)
            try:
                return await self._slots.allocate(request)
            except PlanRefusedError as refused:
                if refused.error == "payout_not_found":
                    raise
                if refused.error == "no_slot":
                    earliest = plan.windows[-1].closes_at
        raise PlanningFailedError(f"calendars change faster than {payout.payout_id} is planned, or its bank is full")

    def _route(self, payout: PayoutToPlan) -> Route:
        try:
            return self._routes.route(payout.route)
        except KeyError:
            raise PlanningFailedError(f"config/payout_routes.toml has no route {payout.route}") from None


def after_of(page: ReplanPage) -> tuple[datetime, str] | None:
    """After which one a page begins."""
    if page.after_at is None or page.after_id is None:
        return None
    return page.after_at, page.after_id
