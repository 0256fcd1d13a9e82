"""What stops a conversion before its desk, for a while or for good: freezes, orders, its withdrawal (A8)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from domain.errors import DomainError
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.workflows.fx_house import MORNING, STATE, WAITS, FxHouse, begins, open_fx_house
from workflows.names import Process

K = DecisionKind
STOPS = {
    "fx_suspended": "freeze", "user_suspended": "freeze", "frozen": "freeze", "held": "authority_order",
    "frozen_by_order": "authority_order",
}  # fmt: skip


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, getattr(request, "param", MORNING)) as opened:
        yield opened


async def stop(house: FxHouse, how: str) -> None:
    later = (await house.now() + timedelta(days=20)).isoformat()
    order = {"issuer": "公安局", "number": "1", "expires_at": later}
    kind, detail = {
        "fx_suspended": (K.USER_SUSPEND, {"function": "fx"}), "user_suspended": (K.USER_SUSPEND, {}),
        "frozen": (K.FUNDS_FREEZE, {"review_at": later}),
        "held": (K.AUTHORITY_ORDER_REGISTER, order | {"demands": "hold"}),
        "frozen_by_order": (K.AUTHORITY_ORDER_REGISTER, order | {"demands": "freeze"}),
    }[how]  # fmt: skip
    await house.decide(kind, house.books.user_id, **detail)


async def lift(house: FxHouse, how: str) -> None:
    later = (await house.now() + timedelta(days=20)).isoformat()
    release = {"issuer": "公安局", "number": "2", "demands": "release", "expires_at": later}
    kind, detail = {
        "fx_suspended": (K.USER_RESUME, {}), "user_suspended": (K.USER_RESUME, {}), "frozen": (K.FUNDS_RELEASE, {}),
        "held": (K.AUTHORITY_ORDER_REGISTER, release), "frozen_by_order": (K.AUTHORITY_ORDER_REGISTER, release),
    }[how]  # fmt: skip
    await house.decide(kind, house.books.user_id, **detail)


@begins("2026-11-23 17:00:00")
@pytest.mark.parametrize("how", STOPS)
async def test_what_is_placed_while_it_sleeps_stops_it_until_it_is_lifted(house: FxHouse, how: str) -> None:
    fx = await house.funded()
    await house.planned(fx)
    await stop(house, how)
    await house.at("2026-11-24 10:00:00")
    await house.until(WAITS, STOPS[how], id=fx["id"])
    assert house.desk.requests == []
    assert await house.sweep() == 0
    await lift(house, how)
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])
    assert await house.money() == (712_340, 0)
    events = await house.events(fx["id"])
    assert (events.count("fx.stopped"), events.count("fx.resumed")) == (1, 1)
    assert events.index("fx.stopped") < events.index("fx.resumed") < events.index("fx.settled")


async def test_one_that_nobody_told_of_the_release_looks_for_itself(house: FxHouse) -> None:
    fx = await house.funded()
    await stop(house, "frozen")
    await house.begin(fx)
    await house.until(WAITS, "freeze", id=fx["id"])
    await lift(house, "frozen")
    assert (await house.end(fx)).state == "settled"


@pytest.mark.long
async def test_a_stop_that_lasts_for_days_is_looked_at_in_fresh_histories_and_told_once(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    fx = await house.funded()
    await stop(house, "frozen")
    await house.begin(fx)
    await house.until(WAITS, "freeze", id=fx["id"])
    await house.at("2026-11-26 10:00:00")
    await stop(house, "held")
    await house.at("2026-11-26 12:00:00")
    await house.until(WAITS, "authority_order", id=fx["id"])
    await lift(house, "frozen")
    await lift(house, "held")
    assert (await house.end(fx)).state == "settled"
    assert (await house.events(fx["id"])).count("fx.stopped") == 1


# Withdrawal


@pytest.mark.parametrize("when", ["asleep", "stopped", "without_desk", "without_rate", "turned_away"])
async def test_two_people_withdraw_it_before_it_is_sent_and_its_money_is_free(house: FxHouse, when: str) -> None:
    if when == "asleep":
        await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    if when == "stopped":
        await stop(house, "frozen")
    elif when == "without_desk":
        await house.switch("HBRB", on=False)
        await house.switch("WLWB", on=False)
    house.desk.gives_no_rate = when == "without_rate"
    if when == "turned_away":
        house.desk.weather.append(DeclineReason.DESK_CLOSED)
    await house.begin(fx)
    waits = {"asleep": "fx_desk_window", "stopped": "freeze", "without_desk": "partner", "without_rate": "fx_quote"}
    if when == "turned_away":
        await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 1)
        await house.until("SELECT count(*) FROM app.fx WHERE state = 'waiting' AND slot_at IS NOT NULL", 1)
    else:
        await house.until(WAITS, waits[when], id=fx["id"])
    assert await house.withdraw(fx)
    ended = await house.end(fx)
    assert (ended.state, ended.reason) == ("released", "withdrawn")
    assert await house.money() == (0, 100_000)
    assert await house.held() == 0
    assert house.desk.dealt == {}
    assert await house.fx.quota() in (None, (0, 0))


async def test_a_withdrawal_that_its_process_was_never_told_of_is_told_by_the_sweeper(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    await house.planned(fx)
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    assert await house.sweep() == 1
    await house.until(STATE, "released", id=fx["id"])


async def test_a_withdrawal_that_is_met_when_it_is_planned_ends_it_at_once(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    # Nobody told the process, which has just begun.
    await house.begin(fx, "released")
    assert await house.held() == 0
    assert await house.slot(fx) is None


async def test_a_withdrawal_in_the_very_moment_of_sending_is_seen_by_the_claim(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    await house.planned(fx)
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    # Nobody told the process.
    ended = await house.end(fx)
    assert (ended.state, ended.reason) == ("released", "withdrawn")
    assert house.desk.requests == []


@pytest.mark.parametrize("state", ["unknown", "converted", "settled"])
async def test_what_was_sent_cannot_be_withdrawn(house: FxHouse, state: str) -> None:
    if state == "unknown":
        house.desk.weather.append("processing")
    house.desk.delivers_after = None if state == "converted" else timedelta(0)
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, state, fx)
    with pytest.raises(DomainError) as refused:
        await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    assert refused.value.code in ("ALREADY_SENT", "already_sent")
    assert await house.books.value(STATE, id=fx["id"]) == state


async def test_a_signal_or_a_decision_about_another_changes_nothing(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx, other = await house.funded(), await house.funded()
    await house.planned(fx)
    await house.planned(other)
    decision = await house.decide_by_two(K.INSTRUCTION_WITHDRAW, other["id"])
    await house.told("fx", fx["id"], decision)
    assert await house.processes.tell_fx(fx["id"])
    assert await house.processes.tell_bank_notice(Process.SETTLE_FX, fx["id"])
    await house.at("2026-11-24 09:31:00")
    await house.until(STATE, "settled", id=fx["id"])
    await house.until(STATE, "released", id=other["id"])
    assert await house.dealt_at(fx) >= shanghai("2026-11-24 09:30:00")


async def test_an_excess_of_what_a_desk_turned_away_is_for_people_first(house: FxHouse) -> None:
    """A desk that turned a number away and says since that it dealt it contradicts itself: nothing more is sent."""
    house.desk.weather.append(DeclineReason.DESK_CLOSED)
    fx = await house.funded()
    await house.begin(fx)
    await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 1)
    notice = {
        "now": (await house.now()).isoformat(), "bank_code": "HBRB", "notice_id": "N1",
        "request_number": house.number(fx), "announces": "succeeded",
    }  # fmt: skip
    await _callback(house, notice)
    await house.come_to(WAITS, "operator", fx)
    assert len(house.desk.requests) == 1
    case = await house.books.value("SELECT id FROM app.case_record WHERE state = 'open'")
    await house.decide(K.CASE_RESOLVE, case)
    assert (await house.end(fx)).state == "settled"


async def _callback(house: FxHouse, notice: dict[str, Any]) -> None:
    await house.books.run("SELECT app.record_callback(CAST(:n AS jsonb))", n=json.dumps(notice))
