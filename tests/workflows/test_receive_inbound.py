"""Foreign currency arrives: asked about until its bank answers, booked once, or decided by people (A2.3)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow

from banks.agreement_pay.fx_translate import read_remittance
from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from domain.errors import DomainError
from domain.fx_banking import InboundRemittance
from domain.identifiers import IdPrefix, derived_ulid, identifier
from tests.conftest import Database
from tests.storage.fx_books import NUMBER, OVERSEAS
from tests.workflows.fx_house import MORNING, FxHouse, open_fx_house
from workflows.names import Process

K = DecisionKind
REFERENCE = "IN0000009001"
PROCESS = f"{OVERSEAS}-{REFERENCE}"
INBOUND = "SELECT state FROM app.inbound WHERE reference = :r"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, MORNING) as opened:
        yield opened


async def announced(house: FxHouse, **changes: Any) -> None:
    await house.remittance(REFERENCE, **changes)
    assert await house.announce(REFERENCE)
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)


async def ended(house: FxHouse) -> str:
    return (await house.end_of(Process.RECEIVE_INBOUND, PROCESS)).state


async def inbound_id(house: FxHouse) -> str:
    return str(await house.books.value("SELECT id FROM app.inbound WHERE reference = :r", r=REFERENCE))


async def in_suspense(house: FxHouse, **changes: Any) -> str:
    await announced(house, **changes)
    await house.until(INBOUND, "suspense", r=REFERENCE)
    return await inbound_id(house)


async def test_what_arrives_without_a_mandate_is_on_the_users_balance(house: FxHouse) -> None:
    await announced(house)
    assert await ended(house) == "credited"
    assert await house.books.balance(f"user:{house.books.user_id}:USD") == 100_000
    assert await house.events(await inbound_id(house)) == ["inbound.credited"]
    assert await house.books.value("SELECT count(*) FROM app.fx") == 0


async def test_what_arrives_under_a_mandate_is_converted_at_once(house: FxHouse) -> None:
    await house.fx.acceptance.accept_mandate(house.fx.mandate(now=await house.now()))
    await announced(house, value_date="2026-11-23")
    await house.until("SELECT state FROM app.fx", "settled")
    assert await house.money() == (712_340, 0)


async def test_a_bank_that_does_not_answer_for_hours_is_asked_until_it_does(house: FxHouse) -> None:
    house.overseas.silent = True
    await announced(house)
    await house.env.sleep(timedelta(hours=5))
    assert len(house.overseas.queries) > 100
    assert await house.books.value("SELECT count(*) FROM app.inbound") == 0
    house.overseas.silent = False
    assert await ended(house) == "credited"
    # It was waited for without a word in its history.
    history = await house.handle(Process.RECEIVE_INBOUND, PROCESS).fetch_history()
    assert len(history.events) < 15


CASES = "SELECT array_agg(kind || ':' || subject_id || ':' || state) FROM app.case_record"


async def asked_again(house: FxHouse, times: int = 2) -> None:
    """So often as that, after what has been asked so far."""
    wanted = len(house.overseas.queries) + times
    while len(house.overseas.queries) < wanted:
        await house.env.sleep(timedelta(minutes=1))


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "AUD"},
        {"currency": "CNY"},
        {"purpose_code": "12101"},
        {"remitter_name": "A" * 141},
        {"value_date": "2036-01-01"},
        {"value_date": "2025-01-01"},
    ],
)
async def test_what_a_bank_says_of_money_and_nobody_can_believe_is_told_to_people_once_and_booked_when_it_is_corrected(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    right, real = await house.remittance(REFERENCE), house.overseas.inbound
    body = json.dumps({"status": "SUCCESS", "code": "OK"} | right.model_dump(mode="json") | change).encode()

    async def garbled(reference: str) -> InboundRemittance:
        await real(reference)
        return read_remittance(200, body, reference)

    monkeypatch.setattr(house.overseas, "inbound", garbled)
    await announced(house)
    await house.until(CASES, [f"inbound_unreadable:{PROCESS}:open"])
    await asked_again(house)
    assert await house.books.value(CASES) == [f"inbound_unreadable:{PROCESS}:open"]
    assert await house.books.value("SELECT count(*) FROM app.inbound") == 0
    found = await house.books.value(
        "SELECT json_build_array(reason, detail) FROM app.operation WHERE subject_id = :p", p=PROCESS
    )
    assert (found[0], found[1]["fields"]) == ("unreadable", list(change))
    monkeypatch.setattr(house.overseas, "inbound", real)
    assert await ended(house) == "credited"
    assert await house.books.balance(f"user:{house.books.user_id}:USD") == 100_000
    assert await house.books.value(CASES) == [f"inbound_unreadable:{PROCESS}:resolved"]


async def test_a_bank_without_a_usable_answer_for_a_day_is_told_to_people_and_asked_on(house: FxHouse) -> None:
    house.overseas.silent = True
    await announced(house)
    await house.books.run("UPDATE app.inbound_notice SET received_at = received_at - interval '23 hours 50 minutes'")
    await asked_again(house)
    assert await house.books.value(CASES) is None
    await house.env.sleep(timedelta(minutes=11))
    assert await house.books.value(CASES) == [f"inbound_unreadable:{PROCESS}:open"]
    house.overseas.silent = False
    assert await ended(house) == "credited"
    assert await house.books.value(CASES) == [f"inbound_unreadable:{PROCESS}:resolved"]


async def test_what_is_booked_and_is_described_absurdly_afterwards_is_a_case_and_not_asked_about_for_ever(
    house: FxHouse,
) -> None:
    await announced(house)
    assert await ended(house) == "credited"
    await house.remittance(REFERENCE, value_date="2036-01-01")
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    assert await ended(house) == "differs"
    assert await house.books.value(CASES) == [f"inbound_differs:{await inbound_id(house)}:open"]


async def test_what_its_bank_does_not_know_is_booked_when_it_is_announced_anew_and_known(house: FxHouse) -> None:
    assert await house.announce(REFERENCE)
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    outcome = "SELECT outcome FROM app.inbound_notice WHERE reference = :r"
    await house.until(outcome, "unknown_to_the_bank", r=REFERENCE)
    assert await ended(house) == "unknown_to_the_bank"
    await announced(house)
    await house.until(outcome, "received", r=REFERENCE)
    await house.until(INBOUND, "credited", r=REFERENCE)


async def test_a_reference_of_which_the_bank_says_something_else_than_before_is_a_case_and_not_asked_about_for_ever(
    house: FxHouse,
) -> None:
    await announced(house)
    assert await ended(house) == "credited"
    await house.remittance(REFERENCE, 100_001)
    assert await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    assert await ended(house) == "differs"
    assert await house.books.value("SELECT array_agg(kind) FROM app.case_record") == ["inbound_differs"]
    assert await house.books.balance(f"user:{house.books.user_id}:USD") == 100_000


@pytest.mark.long
async def test_what_is_booked_after_days_is_booked_at_the_moment_at_which_its_bank_answered(house: FxHouse) -> None:
    house.overseas.silent = True
    began = await house.now()
    await announced(house)
    await house.env.sleep(timedelta(days=2))
    house.overseas.silent = False
    assert await ended(house) == "credited"
    booked = await house.books.value("SELECT received_at FROM app.inbound")
    assert abs(booked - began - timedelta(days=2)) < timedelta(minutes=5)
    # Its number is of when it was first asked about, so that no attempt makes a second.
    at_most = identifier(IdPrefix.INBOUND, derived_ulid(began + timedelta(minutes=1)))
    assert await inbound_id(house) < at_most


async def test_what_is_announced_five_times_at_once_is_booked_once(house: FxHouse) -> None:
    await house.fx.acceptance.accept_mandate(house.fx.mandate(now=await house.now()))
    await house.remittance(REFERENCE)
    await asyncio.gather(*(house.announce(REFERENCE) for _ in range(5)))
    await asyncio.gather(*(house.processes.receive_inbound(OVERSEAS, REFERENCE) for _ in range(5)))
    await house.until("SELECT state FROM app.fx", "settled")
    assert await house.books.value("SELECT count(*) FROM app.inbound") == 1
    # What was booked before is found, also when all of it is begun once more.
    await house.processes.receive_inbound(OVERSEAS, REFERENCE)
    assert await ended(house) == "credited"
    assert await house.books.value("SELECT count(*) FROM app.fx") == 1
    assert len(house.desk.requests) == 1


async def test_a_number_that_is_opened_between_the_look_and_the_booking_is_looked_at_again(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks = house.fx.book.receiver_of, 0

    async def too_early(*what: Any) -> str | None:
        nonlocal looks
        looks += 1
        return None if looks == 1 else await real(*what)

    monkeypatch.setattr(house.fx.book, "receiver_of", too_early)
    await announced(house)
    assert await ended(house) == "credited"
    assert looks == 2
    assert await house.books.value("SELECT sealed_under FROM app.inbound") == house.books.user_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"receiver_name": "TEST YI"}, "receiver_name_differs"),
        ({"account_number": "889999999999"}, "receiver_unknown"),
        ({"currency": "HKD"}, "currency_differs"),
    ],
)
async def test_what_cannot_be_its_users_is_in_suspense_with_a_task_for_people(
    house: FxHouse, changes: dict[str, Any], reason: str
) -> None:
    found = await in_suspense(house, **changes)
    assert await house.books.value("SELECT reason FROM app.inbound") == reason
    assert await house.books.balance(f"suspense:{changes.get('currency', 'USD')}") == 100_000
    cases = await house.books.value("SELECT array_agg(kind || ':' || subject_id) FROM app.case_record")
    assert cases == [f"inbound_unmatched:{found}"]


async def test_what_two_people_assign_is_converted_under_the_mandate(house: FxHouse) -> None:
    await house.fx.acceptance.accept_mandate(house.fx.mandate(now=await house.now()))
    found = await in_suspense(house, receiver_name="TEST YI")
    detail = {"user_id": house.books.user_id, "evidence_ref": "scan:1"}
    await house.decide_by_two(K.INBOUND_ASSIGN, found, ground="evidence", detail=detail)
    assert await house.books.value(INBOUND, r=REFERENCE) == "credited"
    # Nobody has started it: the sweeper does.
    assert await house.sweep() == 1
    await house.until("SELECT state FROM app.fx", "settled")
    assert await house.money() == (712_340, 0)
    assert await house.books.balance("suspense:USD") == 0
    assert await house.books.value("SELECT state FROM app.case_record") == "resolved"


async def returning(house: FxHouse) -> str:
    found = await in_suspense(house, receiver_name="TEST YI")
    await house.decide_by_two(K.INBOUND_RETURN, found, ground="suspected_fraud")
    return str(await house.books.value("SELECT id FROM app.inbound_return"))


async def test_what_two_people_return_goes_back_to_where_it_came_from(house: FxHouse) -> None:
    return_id = await returning(house)
    assert await house.books.held("suspense:USD") == 100_000
    assert await house.sweep() == 1
    assert (await house.end_of(Process.RETURN_INBOUND, return_id)).state == "succeeded"
    assert await house.books.value(INBOUND, r=REFERENCE) == "returned"
    assert await house.books.balance("suspense:USD") == 0
    [sent] = house.overseas.requests
    assert (sent.inbound_reference, sent.amount_minor) == (REFERENCE, 100_000)


async def test_a_return_that_its_bank_refuses_is_back_in_suspense_for_people(house: FxHouse) -> None:
    return_id = await returning(house)
    house.overseas.weather.append(DeclineReason.REMITTANCE_NOT_FOUND)
    assert (await house.return_(return_id)).reason == "remittance_not_found"
    assert await house.books.value(INBOUND, r=REFERENCE) == "suspense"
    assert await house.books.held("suspense:USD") == 100_000
    kinds = await house.books.value("SELECT array_agg(kind ORDER BY kind) FROM app.case_record WHERE state = 'open'")
    assert "inbound_return_failed" in kinds


async def test_a_return_without_an_answer_is_parked_and_two_people_conclude_that_it_failed(house: FxHouse) -> None:
    return_id = await returning(house)
    house.overseas.weather.append("processing")
    await house.begin_return(return_id)
    waits = "SELECT wait_reason FROM app.inbound_return WHERE id = :id"
    await house.come_to(waits, "operator", {"id": return_id})
    assert await house.conclude("inbound_return", return_id)
    ended_as = await house.end_of(Process.RETURN_INBOUND, return_id)
    assert (ended_as.state, ended_as.reason) == ("failed", "concluded_by_operators")
    assert await house.books.value(INBOUND, r=REFERENCE) == "suspense"


@pytest.mark.parametrize("weather", ["unheard", "lost", "killed_before", "killed_after", "dealt_then_silent"])
async def test_a_return_is_sent_once_whatever_becomes_of_its_answer(house: FxHouse, weather: Any) -> None:
    return_id = await returning(house)
    house.overseas.weather.append(weather)
    await house.begin_return(return_id)
    state = "SELECT state FROM app.inbound_return WHERE id = :id"
    if weather == "dealt_then_silent":
        await house.come_to(state, "unknown", {"id": return_id})
        await house.lose(Process.RETURN_INBOUND, return_id)
        house.overseas.silent = False
        assert await house.revive() >= 1
    await house.come_to(state, "succeeded", {"id": return_id})
    assert sum(house.overseas.dealt.values()) == 1
    assert await house.books.balance("suspense:USD") == 0


@pytest.mark.parametrize("how", ["partner", "frozen"])
async def test_a_return_that_is_stopped_says_so_and_goes_on_by_itself(house: FxHouse, how: str) -> None:
    house.desk.weather.append(DeclineReason.FX_REFUSED_BY_POLICY)
    fx = await house.mandated()
    await house.begin(fx, "refused")
    return_id = str((await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"])
    later = (await house.now() + timedelta(days=20)).isoformat()
    if how == "partner":
        await house.switch(OVERSEAS, on=False)
    else:
        await house.decide(K.FUNDS_FREEZE, house.books.user_id, review_at=later)
    await house.begin_return(return_id)
    waits = "SELECT wait_reason FROM app.inbound_return WHERE id = :id"
    await house.until(waits, {"partner": "partner", "frozen": "freeze"}[how], id=return_id)
    if how == "partner":
        await house.switch(OVERSEAS, on=True)
    else:
        await house.decide(K.FUNDS_RELEASE, house.books.user_id)
    assert (await house.end_of(Process.RETURN_INBOUND, return_id)).state == "succeeded"
    found = await house.view("inbound_return", return_id)
    assert (found["state"], found["reason"]) == ("succeeded", None)
    assert (await house.found(fx))["state"] == "returned"


@pytest.mark.long
async def test_a_return_that_is_stopped_for_days_goes_on_in_fresh_histories_and_is_sent_once(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 40
    )
    return_id = await returning(house)
    await house.switch(OVERSEAS, on=False)
    await house.begin_return(return_id)
    await house.env.sleep(timedelta(hours=20))
    assert await house.processes.tell_bank_notice(Process.RETURN_INBOUND, return_id)
    await house.env.sleep(timedelta(hours=20))
    history = await house.handle(Process.RETURN_INBOUND, return_id).fetch_history()
    assert len(history.events) < 80
    await house.switch(OVERSEAS, on=True)
    assert (await house.end_of(Process.RETURN_INBOUND, return_id)).state == "succeeded"
    assert len(house.overseas.requests) == 1


async def test_what_was_assigned_cannot_be_returned_as_well(house: FxHouse) -> None:
    found = await in_suspense(house, receiver_name="TEST YI")
    detail = {"user_id": house.books.user_id, "evidence_ref": "scan:1"}
    await house.decide_by_two(K.INBOUND_ASSIGN, found, ground="evidence", detail=detail)
    with pytest.raises(DomainError):
        await house.decide_by_two(K.INBOUND_RETURN, found, ground="suspected_fraud")
    assert await house.books.balance(f"user:{house.books.user_id}:USD") == 100_000


async def test_no_name_and_no_number_of_a_remittance_is_in_its_process(house: FxHouse) -> None:
    await announced(house)
    assert await ended(house) == "credited"
    history = (await house.handle(Process.RECEIVE_INBOUND, PROCESS).fetch_history()).to_json()
    texts = [base64.b64decode(found).decode() for found in re.findall(r'"data": "([A-Za-z0-9+/=]+)"', history)]
    assert texts
    assert not any(secret in text for text in texts for secret in (NUMBER, "TEST JIA", "ACME"))
