"""Branches of foreign currency; registered like the others. Hours are scripted: they are recorded at any hour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from tests.replay.branches import BRANCHES, P
from tests.storage.fx_books import DESK, OTHER_DESK
from tests.workflows.conftest import House
from tests.workflows.fx_house import STATE, WAITS, Fx, FxHouse
from tests.workflows.test_kills import Plugs
from tests.workflows.test_settle_fx_quota import others_money, pay_out
from workflows import names

K, R = DecisionKind, DeclineReason
FxBranch = Callable[[FxHouse], Awaitable[str]]


def branch(process: names.Process) -> Callable[[FxBranch], FxBranch]:
    def register(run: FxBranch) -> FxBranch:
        async def in_house(house: House) -> str:
            assert isinstance(house, FxHouse)
            house.planner.script(lambda now: now)
            return await run(house)

        BRANCHES[process, run.__name__] = in_house
        return run

    return register


async def _settled(house: FxHouse, *weather: Any, amount_minor: int = 100_000) -> str:
    house.desk.weather.extend(weather)
    fx = await house.funded(amount_minor)
    await house.settle(fx)
    return str(fx["id"])


async def _asleep(house: FxHouse, duration: timedelta = timedelta(days=9)) -> Fx:
    opens = await house.now() + duration
    house.planner.script(opens)
    fx = await house.funded()
    await house.planned(fx, "fx_desk_window")
    return fx


async def _ended(house: FxHouse, fx: Fx) -> str:
    await house.end(fx)
    return str(fx["id"])


@contextmanager
def _short_histories() -> Iterator[None]:
    real = workflow.Info.is_continue_as_new_suggested
    workflow.Info.is_continue_as_new_suggested = (  # type: ignore[method-assign]
        lambda info: info.get_current_history_length() > 60
    )
    try:
        yield
    finally:
        workflow.Info.is_continue_as_new_suggested = real  # type: ignore[method-assign]


@branch(P.SETTLE_FX)
async def dealt_and_delivered_at_once(house: FxHouse) -> str:
    return await _settled(house)


@branch(P.SETTLE_FX)
async def slept_until_all_windows_were_open(house: FxHouse) -> str:
    return await _ended(house, await _asleep(house))


@branch(P.SETTLE_FX)
async def planned_anew_while_it_slept(house: FxHouse) -> str:
    fx = await _asleep(house)
    sooner = await house.now() + timedelta(hours=2)
    house.planner.script(sooner)
    await house.books.run("UPDATE app.fx SET plan_version = -1")
    assert await house.processes.tell_fx(fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def put_off_while_it_slept(house: FxHouse) -> str:
    fx = await _asleep(house, timedelta(hours=2))
    later: datetime = await house.now() + timedelta(days=2)
    house.planner.script(later)
    await house.books.run("UPDATE app.fx SET plan_version = -1")
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def without_a_desk_and_taken_over(house: FxHouse) -> str:
    fx = await _asleep(house, timedelta(hours=2))
    house.planner.script(lambda now: now)
    for bank in (DESK, OTHER_DESK):
        await house.switch(bank, on=False)
    await house.come_to(WAITS, "partner", fx)
    await house.switch(OTHER_DESK, on=True)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def without_a_fresh_rate_for_long(house: FxHouse) -> str:
    house.desk.quoting.extend(["none", "stale", "expired", *["none"] * 9])  # type: ignore[list-item]
    return await _settled(house)


@branch(P.SETTLE_FX)
async def turned_away_and_dealt_under_another_number(house: FxHouse) -> str:
    return await _settled(house, R.DESK_CLOSED, R.QUOTE_EXPIRED, R.DESK_CLOSED)


@branch(P.SETTLE_FX)
async def never_arrived_and_dealt_under_another_number(house: FxHouse) -> str:
    return await _settled(house, "lost")


@branch(P.SETTLE_FX)
async def never_claimed_and_dealt_under_its_number(house: FxHouse) -> str:
    house.fx.book.claim = Plugs(house.fx.book.claim, ["killed_before"])  # type: ignore[method-assign]
    return await _settled(house)


@branch(P.SETTLE_FX)
async def at_it_and_then_not_known_and_concluded(house: FxHouse) -> str:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "bank_processing", fx)
    await house.env.sleep(timedelta(minutes=30))
    house.desk.forget(house.number(fx))
    await house.come_to(WAITS, "operator", fx)
    assert await house.conclude("fx", fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def thought_lost_and_at_the_desk_after_all(house: FxHouse) -> str:
    house.desk.weather.append("lost_then_silent")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    house.desk.arrive_late(house.number(fx))
    house.desk.silent = False
    await house.come_to(WAITS, "bank_processing", fx)
    house.desk.forget(house.number(fx))
    await house.come_to(WAITS, "operator", fx)
    assert await house.conclude("fx", fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def settled_with_an_excess_in_the_answer(house: FxHouse) -> str:
    fx = await house.funded()
    house.desk.found_excess[house.number(fx)] = 40_000
    await house.begin(fx)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def unknown_and_then_dealt(house: FxHouse) -> str:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.env.sleep(timedelta(hours=1))
    await house.desk.decide(house.number(fx))
    assert await house.processes.tell_bank_notice(P.SETTLE_FX, fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def unknown_and_then_refused(house: FxHouse) -> str:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.desk.decide(house.number(fx), R.FX_REFUSED_BY_POLICY)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def parked_and_concluded(house: FxHouse) -> str:
    house.desk.capabilities = house.desk.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.env.sleep(timedelta(hours=2))
    house.desk.forget(house.number(fx))
    await house.come_to(WAITS, "operator", fx)
    assert await house.conclude("fx", fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def delivered_after_it_was_overdue(house: FxHouse) -> str:
    house.desk.delivers_after = timedelta(hours=80)
    return await _settled(house)


@branch(P.SETTLE_FX)
async def refused_by_policy(house: FxHouse) -> str:
    return await _settled(house, R.FX_REFUSED_BY_POLICY)


@branch(P.SETTLE_FX)
async def the_quota_learned(house: FxHouse) -> str:
    return await _settled(house, R.FX_QUOTA_EXCEEDED)


@branch(P.SETTLE_FX)
async def the_quota_known_to_be_exceeded(house: FxHouse) -> str:
    house.desk.weather.append(R.FX_QUOTA_EXCEEDED)
    await house.begin(await house.funded(), "refused")
    return await _settled(house)


@branch(P.SETTLE_FX)
async def split_at_the_quota(house: FxHouse) -> str:
    return await _settled(house, "unheard", amount_minor=6_000_000)


@branch(P.SETTLE_FX)
async def withdrawn_while_it_slept(house: FxHouse) -> str:
    fx = await _asleep(house)
    assert await house.withdraw(fx)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def withdrawn_and_seen_by_the_claim(house: FxHouse) -> str:
    fx = await _asleep(house)
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def withdrawn_and_seen_by_its_plan(house: FxHouse) -> str:
    fx = await house.funded()
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    await house.begin(fx)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def stopped_and_resumed(house: FxHouse) -> str:
    fx = await house.funded()
    later = (await house.now() + timedelta(days=20)).isoformat()
    await house.decide(K.FUNDS_FREEZE, house.books.user_id, review_at=later)
    await house.begin(fx)
    await house.until(WAITS, "freeze", id=fx["id"])
    await house.env.sleep(timedelta(minutes=10))
    await house.decide(K.FUNDS_RELEASE, house.books.user_id)
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def books_away_for_a_while(house: FxHouse) -> str:
    real, failures = house.fx.book.settle, 5

    async def flaky(entry: Any) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError
        return await real(entry)

    house.fx.book.settle = flaky  # type: ignore[method-assign]
    return await _settled(house)


@branch(P.SETTLE_FX)
async def gone_on_in_the_state_that_another_left(house: FxHouse) -> str:
    house.desk.weather.append("dealt_then_silent")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.lose(P.SETTLE_FX, fx["id"])
    house.desk.silent = False
    assert await house.revive() == 1
    return await _ended(house, fx)


@branch(P.SETTLE_FX)
async def continued_in_fresh_histories(house: FxHouse) -> str:
    with _short_histories():
        # Known to have arrived or not within one of them.
        house.desk.capabilities = house.desk.capabilities.model_copy(update={"request_validity_seconds": 10})
        house.desk.delivers_after = timedelta(hours=40)
        house.desk.quoting.extend(["none"] * 8)  # type: ignore[list-item]
        return await _settled(house, R.DESK_CLOSED, R.DESK_CLOSED, "lost")


async def _reversal(house: FxHouse, *weather: Any) -> str:
    fx = await house.dealt()
    house.desk.weather.extend(weather)
    house.desk.found_excess[house.number(fx)] = 40_000
    assert await house.processes.learn_excess(fx["id"])
    found = "SELECT id FROM app.fx WHERE reversal_of = :id"
    await house.until(f"SELECT EXISTS ({found})", True, id=fx["id"])
    reversal = await house.books.value(found, id=fx["id"])
    return await _ended(house, {"id": reversal})


@branch(P.SETTLE_FX)
async def an_excess_taken_back(house: FxHouse) -> str:
    return await _reversal(house, "unheard")


@branch(P.SETTLE_FX)
async def a_reversal_without_funds_at_its_bank(house: FxHouse) -> str:
    fx = await house.dealt()
    await pay_out(house, 700_000)
    house.desk.found_excess[house.number(fx)] = 40_000
    assert await house.processes.learn_excess(fx["id"])
    found = "SELECT id FROM app.fx WHERE reversal_of = :id"
    await house.until("SELECT wait_reason FROM app.fx WHERE reversal_of = :id", "operator", id=fx["id"])
    await house.env.sleep(timedelta(minutes=20))
    await others_money(house)
    return await _ended(house, {"id": await house.books.value(found, id=fx["id"])})


@branch(P.SETTLE_FX)
async def a_reversal_that_its_desk_refuses(house: FxHouse) -> str:
    return await _reversal(house, R.REVERSAL_EXCEEDS_DEAL)


@branch(P.REPLAN_FX)
async def planned_anew(house: FxHouse) -> str:
    await _asleep(house)
    sooner = await house.now() + timedelta(hours=2)
    house.planner.script(sooner)
    version = await house.load_days("CN", d2026_11_24=True)
    assert (await house.replan(version)).planned == 1
    return str(version)
