"""What of foreign currency a crash left unattended is found in the books and handed on, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from tests.conftest import Database
from tests.storage.fx_books import OVERSEAS
from tests.workflows.fx_house import MORNING, STATE, WAITS, FxHouse, open_fx_house
from tests.workflows.test_open_receiving_account import ACCOUNT, accepted, consent
from workflows.names import Process

K = DecisionKind


@pytest.fixture
async def house(database: Database) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, MORNING) as opened:
        yield opened


async def test_a_conversion_that_was_accepted_and_not_started_is_started_once_it_is_old_enough(house: FxHouse) -> None:
    fx = await house.funded()
    assert await house.sweep(timedelta(0)) == 0
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])
    assert await house.sweep() == 0


async def test_a_return_and_a_receiving_account_that_were_not_started_are_started(house: FxHouse) -> None:
    await consent(house)
    house.desk.weather.append(DeclineReason.FX_REFUSED_BY_POLICY)
    fx = await house.mandated()
    await house.begin(fx, "refused")
    return_id = (await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"]
    account = await accepted(house)
    assert await house.sweep() == 2
    await house.until("SELECT state FROM app.inbound_return WHERE id = :id", "succeeded", id=return_id)
    await house.until(ACCOUNT, "open", id=account["id"])
    assert await house.sweep() == 0


async def test_what_was_announced_and_never_asked_about_is_asked_about(house: FxHouse) -> None:
    await house.remittance("IN0000009001")
    assert await house.announce("IN0000009001")
    assert await house.sweep() == 1
    await house.until("SELECT state FROM app.inbound", "credited")
    assert await house.sweep() == 0


async def test_a_conversion_that_began_with_its_remittance_and_was_not_started_is_started(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    fx = await house.mandated()
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])


async def test_a_decision_that_its_lost_process_never_heard_is_carried_out_by_another(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    await house.planned(fx)
    await house.lose(Process.SETTLE_FX, fx["id"])
    await house.decide_by_two(K.INSTRUCTION_WITHDRAW, fx["id"])
    assert await house.sweep() == 1
    await house.until(STATE, "released", id=fx["id"])
    assert await house.held() == 0


@pytest.mark.parametrize("noun", ["fx", "inbound_return"])
async def test_a_conclusion_that_its_process_never_heard_is_told(house: FxHouse, noun: str) -> None:
    if noun == "fx":
        house.desk.weather.append("processing")
        subject = str((await house.funded())["id"])
        await house.begin({"id": subject})
    else:
        house.desk.weather.append(DeclineReason.FX_REFUSED_BY_POLICY)
        fx = await house.mandated()
        await house.begin(fx, "refused")
        subject = str((await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"])
        house.overseas.weather.append("processing")
        await house.begin_return(subject)
    await house.come_to(f"SELECT wait_reason FROM app.{noun} WHERE id = :id", "operator", {"id": subject})  # noqa: S608
    detail = {"outcome": "failed", "evidence_ref": "scan:1"}
    await house.decide_by_two(K.INSTRUCTION_CONCLUDE, subject, detail=detail)
    assert await house.sweep() >= 1
    state = f"SELECT state FROM app.{noun} WHERE id = :id"  # noqa: S608
    await house.until(state, "refused" if noun == "fx" else "failed", id=subject)


async def test_what_waits_by_an_old_calendar_is_planned_anew_by_the_sweeper(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    fx = await house.funded()
    before = await house.planned(fx)
    await house.load_days("CN", d2026_11_24=False)
    await house.sweep()
    await house.until("SELECT slot_at > :before FROM app.fx WHERE id = :id", True, before=before, id=fx["id"])


async def test_what_runs_well_is_left_alone(house: FxHouse) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    assert await house.revive() == 0


async def test_many_sweepers_at_once_do_nothing_twice(house: FxHouse) -> None:
    conversions = [await house.funded(10_000) for _ in range(5)]
    house.clock[0] = await house.now() + timedelta(minutes=1)
    await asyncio.gather(*(house.sweeper.one() for _ in range(4)))
    for fx in conversions:
        await house.until(STATE, "settled", id=fx["id"])
    assert len(house.desk.requests) == 5


async def test_one_thing_that_cannot_be_handed_on_keeps_no_other_from_it(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.remittance("IN0000009001")
    await house.announce("IN0000009001")
    fx = await house.funded()

    async def broken(*what: Any) -> bool:
        raise ValueError("a defect of ours")

    monkeypatch.setattr(house.processes, "receive_inbound", broken)
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])


async def test_whom_a_process_was_lost_of_while_it_was_stopped_goes_on_when_it_may(house: FxHouse) -> None:
    later = (await house.now() + timedelta(days=20)).isoformat()
    fx = await house.funded()
    await house.decide(K.FUNDS_FREEZE, house.books.user_id, review_at=later)
    await house.begin(fx)
    await house.until(WAITS, "freeze", id=fx["id"])
    await house.lose(Process.SETTLE_FX, fx["id"])
    assert await house.revive() == 1
    await house.until(WAITS, "freeze", id=fx["id"])
    # That it was stopped is told once, whichever process it goes on in.
    await house.decide(K.FUNDS_RELEASE, house.books.user_id)
    await house.sweep()
    await house.until(STATE, "settled", id=fx["id"])
    assert (await house.events(fx["id"])).count("fx.stopped") == 1


async def test_a_switched_off_bank_overseas_is_still_asked_what_arrived(house: FxHouse) -> None:
    await house.switch(OVERSEAS, on=False)
    await house.remittance("IN0000009001")
    await house.announce("IN0000009001")
    assert await house.sweep() == 1
    await house.until("SELECT state FROM app.inbound", "credited")
