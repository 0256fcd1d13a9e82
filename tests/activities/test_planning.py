"""The activities that plan payouts, over books and calendars that a test writes down."""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.interfaces import PlanRequest, ReplanPage
from activities.planning import Planning, PlanningFailedError
from config.policy import read_policy
from domain.planning import NoWindowError, ReleasePlan, ReleaseWindow
from domain.routes import Route, RouteBook
from domain.slots import AllocatedSlot, PayoutToPlan, PlanRefusedError, SlotRequest

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
ROUTES = RouteBook.model_validate(read_policy()["payout_routes"])
PAYOUT = PayoutToPlan(payout_id="po_1", route="CN-CNY", bank_code="HBRB", speed="real_time", accepted_at=NOW)


class Calendars:
    """Always open, from `earliest` for an hour; `versions` come one after another."""

    def __init__(self, *versions: int) -> None:
        self.versions = deque(versions or (1,))
        self.asked: list[datetime] = []
        self.is_shut = False

    async def plan(self, route: Route, bank_code: str, speed: str, earliest: datetime) -> tuple[int, ReleasePlan]:
        if self.is_shut:
            raise NoWindowError(route.code)
        self.asked.append(earliest)
        window = ReleaseWindow(earliest, earliest + timedelta(hours=1), arrives_after=timedelta(minutes=1))
        version = self.versions.popleft() if len(self.versions) > 1 else self.versions[0]
        return version, ReleasePlan(earliest, window.arrival(earliest), (), (window,))


class Slots:
    """Books at version 2 that take the plan of a later window than `full_until`."""

    def __init__(self, *payouts: PayoutToPlan, full_until: datetime = NOW) -> None:
        self.payouts = {payout.payout_id: payout for payout in payouts}
        self.full_until = full_until
        self.earlier: set[str] = set()
        self.allocated: list[SlotRequest] = []

    async def payout(self, payout_id: str) -> PayoutToPlan | None:
        return self.payouts.get(payout_id)

    async def to_replan(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[PayoutToPlan]:
        waiting = [payout for payout in self.payouts.values() if after is None or payout.payout_id > after[1]]
        return waiting[:most]

    async def planned(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[str]:
        return ["po_0"]

    async def allocate(self, request: SlotRequest) -> AllocatedSlot:
        if request.version != 2:
            raise PlanRefusedError("stale_plan")
        if request.plan.send_at < self.full_until:
            raise PlanRefusedError("no_slot")
        self.allocated.append(request)
        return AllocatedSlot(
            state="scheduled", slot_at=request.plan.send_at, predicted_arrival_at=request.plan.arrives_at,
            earlier=request.payout_id in self.earlier,
        )  # fmt: skip


class Teller:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def tell_payout(self, payout_id: str) -> bool:
        self.told.append(payout_id)
        return True


def planning(slots: Slots, calendars: Calendars, teller: Teller | None = None) -> Planning:
    return Planning(slots, calendars, ROUTES, teller or Teller())


async def test_a_plan_by_calendars_that_are_over_is_computed_again() -> None:
    slots = Slots(PAYOUT)
    plan = await planning(slots, Calendars(1, 1, 2)).plan_payout(PlanRequest(payout_id="po_1", now=NOW))
    assert (plan.state, plan.slot_at, plan.predicted_arrival_at) == ("scheduled", NOW, NOW + timedelta(minutes=1))
    assert plan.answer_within_seconds == 24 * 3600
    [request] = slots.allocated
    assert (request.version, request.rate) == (2, ROUTES.banks["HBRB"].releases_per_second)


async def test_a_bank_that_is_full_is_planned_beyond_its_full_windows() -> None:
    calendars = Calendars(2)
    slots = Slots(PAYOUT, full_until=NOW + timedelta(hours=2))
    plan = await planning(slots, calendars).plan_payout(PlanRequest(payout_id="po_1", now=NOW))
    assert plan.slot_at == NOW + timedelta(hours=2)
    assert calendars.asked == [NOW + timedelta(hours=n) for n in range(3)]


async def test_what_a_closed_bank_turned_away_is_planned_from_when_it_is_tried_again() -> None:
    calendars, later = Calendars(2), NOW + timedelta(minutes=5)
    slots = Slots(PAYOUT.model_copy(update={"earliest_at": later}))
    plan = await planning(slots, calendars).plan_payout(PlanRequest(payout_id="po_1", now=NOW, why="bank_closed"))
    assert (plan.slot_at, plan.predicted_arrival_at) == (later, later + timedelta(minutes=1))
    # What is over by now holds nothing up.
    over = Slots(PAYOUT.model_copy(update={"earliest_at": NOW - timedelta(days=1)}))
    assert (await planning(over, Calendars(2)).plan_payout(PlanRequest(payout_id="po_1", now=NOW))).slot_at == NOW


async def test_calendars_that_never_stand_still_are_left_to_the_next_attempt() -> None:
    with pytest.raises(PlanningFailedError, match="po_1"):
        await planning(Slots(PAYOUT), Calendars(1)).plan_payout(PlanRequest(payout_id="po_1", now=NOW))


async def test_a_route_that_was_taken_out_of_the_file_is_named() -> None:
    gone = PAYOUT.model_copy(update={"route": "XX"})
    with pytest.raises(PlanningFailedError, match="no route XX"):
        await planning(Slots(gone), Calendars(2)).plan_payout(PlanRequest(payout_id="po_1", now=NOW))


async def test_a_payout_that_is_not_there_has_no_plan() -> None:
    plan = await planning(Slots(), Calendars(2)).plan_payout(PlanRequest(payout_id="po_9", now=NOW))
    assert (plan.state, plan.slot_at) == ("not_found", None)


async def test_a_page_wakes_those_that_go_earlier_and_those_that_wait_for_the_bank_itself() -> None:
    payouts = [PAYOUT.model_copy(update={"payout_id": f"po_{n}"}) for n in range(1, 5)]
    payouts[3] = payouts[3].model_copy(update={"wait_reason": "partner"})
    slots, teller = Slots(*payouts), Teller()
    slots.earlier = {"po_2"}
    page = ReplanPage(version=2, now=NOW, per_second=10_000)
    done = await ActivityEnvironment().run(planning(slots, Calendars(2), teller).replan_page, page)
    assert (done.planned, done.told, done.failed, done.is_last) == (4, 2, 0, True)
    assert teller.told == ["po_2", "po_4"]
    assert (done.after_at, done.after_id) == (NOW, "po_4")


async def test_a_page_leaves_what_cannot_be_planned_and_goes_on_with_the_rest() -> None:
    lost = PAYOUT.model_copy(update={"route": "XX"})
    other = PAYOUT.model_copy(update={"payout_id": "po_2"})
    page = ReplanPage(version=2, now=NOW, most=2, per_second=10_000)
    done = await ActivityEnvironment().run(planning(Slots(lost, other), Calendars(2)).replan_page, page)
    assert (done.planned, done.failed, done.is_last) == (1, 1, False)
    shut = Calendars(2)
    shut.is_shut = True
    done = await ActivityEnvironment().run(planning(Slots(other), shut).replan_page, page)
    assert (done.planned, done.failed) == (0, 1)


async def test_after_a_crash_whoever_was_planned_already_is_told_again() -> None:
    teller, env = Teller(), ActivityEnvironment()
    env.info = dataclasses.replace(env.info, attempt=2)
    page = ReplanPage(version=2, now=NOW, per_second=10_000)
    await env.run(planning(Slots(PAYOUT), Calendars(2), teller).replan_page, page)
    assert teller.told == ["po_0"]
