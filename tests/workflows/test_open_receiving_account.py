"""A receiving account: opened once, its number kept by whoever learned it, and never in a process (P6a-b)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from domain.errors import DomainError
from domain.fx import AcceptReceivingAccount
from domain.identifiers import BankStep, request_number
from domain.personal_data import PersonalField
from tests.conftest import Database
from tests.storage.fx_books import HOLDER, OVERSEAS
from tests.storage.fx_people import add_fx_user, add_merchant
from tests.workflows.fx_house import MORNING, Fx, FxHouse, open_fx_house
from tests.workflows.scripted_desk import NUMBER, Weather
from workflows.names import Process

ACCOUNT = "SELECT state FROM app.receiving_account WHERE id = :id"
WAITS = "SELECT wait_reason FROM app.receiving_account WHERE id = :id"


@pytest.fixture
async def house(database: Database) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, MORNING) as opened:
        await consent(opened)
        yield opened


async def consent(house: FxHouse) -> None:
    await house.books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, channel, acted_at)"
        " VALUES (:u, :m, 'data_export', '1.0', 'app', '2026-11-22Z')",
        u=house.books.user_id, m=house.books.merchant_id,
    )  # fmt: skip


async def accepted(house: FxHouse, **changes: Any) -> Fx:
    [name] = await house.books.vault.seal(house.books.user_id, {PersonalField.NAME: HOLDER})
    values = {
        "request": house.books.context(), "now": await house.now(), "id": house.books.new_id("rca"),
        "user_id": house.books.user_id, "bank_code": OVERSEAS, "currency": "HKD",
        "holder_index": house.fx.vault.name_index(HOLDER), "sealed": (name.model_dump(mode="json"),),
        "element_tokens": {"name": name.token}, "blocked_regions": ("KP",), "cross_border": True,
        "data_export_version": "1.0",
    }  # fmt: skip
    return await house.fx.acceptance.accept_receiving_account(AcceptReceivingAccount.model_validate(values | changes))


async def assert_open(house: FxHouse, account: Fx) -> None:
    found = await house.view("receiving_account", account["id"])
    assert (found["state"], found["account_last4"], found["reason"]) == ("open", NUMBER[-4:], None)
    assert (await house.events(account["id"]))[-1] == "receiving_account.opened"
    # What arrives under it is the user's.
    await house.fx.receive(50_000, "HKD", await house.now(), account_number=NUMBER)
    assert await house.books.balance(f"user:{house.books.user_id}:HKD") == 50_000
    history = (await house.handle(Process.OPEN_RECEIVING_ACCOUNT, account["id"]).fetch_history()).to_json()
    assert NUMBER not in history
    disclosed = "SELECT json_build_array(recipient, fields, cross_border) FROM vault.disclosure"
    assert await house.books.value(disclosed) == [OVERSEAS, ["name"], True]


@pytest.mark.parametrize("weather", ["fair", "unheard", "lost", "killed_before", "killed_after", "processing"])
async def test_it_is_opened_once_and_its_number_is_kept(house: FxHouse, weather: Weather) -> None:
    house.overseas.weather.append(weather)
    account = await accepted(house)
    await house.begin_account(account)
    if weather == "processing":
        await house.come_to(WAITS, "bank_answer", account)
        await house.env.sleep(timedelta(hours=3))
        await house.overseas.decide(request_number(BankStep.RECEIVING_ACCOUNT, account["id"]))
        assert await house.processes.tell_bank_notice(Process.OPEN_RECEIVING_ACCOUNT, account["id"])
    await house.come_to(ACCOUNT, "open", account)
    assert sum(house.overseas.dealt.values()) == 1
    [sent] = house.overseas.requests
    assert (sent.holder_name, sent.currency) == (HOLDER, "HKD")
    assert "holder" not in repr(sent)
    await assert_open(house, account)
    assert (await house.end_of(Process.OPEN_RECEIVING_ACCOUNT, account["id"])).state == "open"


async def test_a_number_that_was_learned_and_not_booked_is_learned_again(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = house.fx.book.settle, 2

    async def flaky(entry: Any) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError
        return await real(entry)

    monkeypatch.setattr(house.fx.book, "settle", flaky)
    account = await accepted(house)
    await house.begin_account(account)
    await house.come_to(ACCOUNT, "open", account)
    assert len(house.overseas.requests) == 1
    await assert_open(house, account)


async def test_one_whose_process_was_lost_is_revived_and_opened_once(house: FxHouse) -> None:
    house.overseas.weather.append("dealt_then_silent")
    account = await accepted(house)
    await house.begin_account(account)
    await house.come_to(WAITS, "bank_answer", account)
    await house.env.sleep(timedelta(minutes=2))
    await house.lose(Process.OPEN_RECEIVING_ACCOUNT, account["id"])
    house.overseas.silent = False
    assert await house.revive() == 1
    await house.until(ACCOUNT, "open", id=account["id"])
    await assert_open(house, account)


async def test_a_definite_no_is_told(house: FxHouse) -> None:
    house.overseas.weather.append(DeclineReason.NAME_MISMATCH)
    account = await accepted(house)
    await house.begin_account(account)
    await house.until(ACCOUNT, "declined", id=account["id"])
    assert await house.events(account["id"]) == ["receiving_account.accepted", "receiving_account.declined"]
    # And it may be asked for anew.
    again = await accepted(house)
    await house.begin_account(again)
    await house.until(ACCOUNT, "open", id=again["id"])
    ended = await house.end_of(Process.OPEN_RECEIVING_ACCOUNT, account["id"])
    assert (ended.state, ended.reason) == ("declined", "name_mismatch")


async def test_a_contract_that_ran_out_since_keeps_the_name_at_home(house: FxHouse) -> None:
    account = await accepted(house)
    await house.books.run("UPDATE app.export_contract SET valid_until = '2026-11-23'")
    await house.begin_account(account)
    ended = await house.end_of(Process.OPEN_RECEIVING_ACCOUNT, account["id"])
    assert (ended.state, ended.reason) == ("declined", "data_export_not_allowed")
    assert house.overseas.requests == []
    assert await house.books.value("SELECT count(*) FROM vault.disclosure") == 0


async def test_without_the_users_consent_nothing_is_accepted(house: FxHouse) -> None:
    with pytest.raises(DomainError) as refused:
        await accepted(house, data_export_version="2.0")
    assert refused.value.code.lower() == "data_export_not_allowed"


async def test_what_stops_it_is_shown_and_it_goes_on_by_itself(house: FxHouse) -> None:
    account = await accepted(house)
    await house.switch(OVERSEAS, on=False)
    await house.begin_account(account)
    await house.until(WAITS, "partner", id=account["id"])
    # It has a process: the sweeper leaves it alone.
    assert await house.sweep() == 0
    await house.switch(OVERSEAS, on=True)
    await house.decide(DecisionKind.USER_SUSPEND, house.books.user_id)
    await house.come_to(WAITS, "freeze", account)
    await house.decide(DecisionKind.USER_RESUME, house.books.user_id)
    await house.come_to(ACCOUNT, "open", account)
    await assert_open(house, account)


@pytest.mark.long
async def test_one_that_is_stopped_for_days_goes_on_in_fresh_histories(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 40
    )
    account = await accepted(house)
    await house.switch(OVERSEAS, on=False)
    await house.begin_account(account)
    await house.env.sleep(timedelta(hours=40))
    history = await house.handle(Process.OPEN_RECEIVING_ACCOUNT, account["id"]).fetch_history()
    assert len(history.events) < 80
    await house.switch(OVERSEAS, on=True)
    await house.come_to(ACCOUNT, "open", account)
    assert len(house.overseas.requests) == 1


async def give_to_another(house: FxHouse) -> str:
    """Another user of another merchant has the number already."""
    other = await add_fx_user(house.fx, await add_merchant(house.fx), "person-9")
    await house.fx.open_account(other.user_id, "HKD", NUMBER)
    return other.user_id


@pytest.mark.long
@pytest.mark.parametrize("weather", ["fair", "unheard", "killed_after", "processing", "dealt_then_silent"])
async def test_a_number_of_another_user_ends_it_and_a_person_asks_the_bank(house: FxHouse, weather: Weather) -> None:
    other = await give_to_another(house)
    house.overseas.weather.append(weather)
    account = await accepted(house, currency="EUR" if weather == "fair" else "HKD")
    await house.begin_account(account)
    if weather in ("processing", "dealt_then_silent"):
        await house.come_to(WAITS, "operator", account)
        house.overseas.silent = False
        if weather == "processing":
            await house.overseas.decide(request_number(BankStep.RECEIVING_ACCOUNT, account["id"]))
    ended = await house.end_of(Process.OPEN_RECEIVING_ACCOUNT, account["id"])
    assert (ended.state, ended.reason) == ("declined", "number_in_use")
    found = await house.view("receiving_account", account["id"])
    assert (found["state"], found["reason"], found["account_last4"]) == ("declined", "number_in_use", None)
    assert found["waiting_for"] is None
    assert (await house.events(account["id"]))[-1] == "receiving_account.declined"
    assert sum(house.overseas.dealt.values()) == 1
    assert await house.books.value("SELECT array_agg(kind) FROM app.case_record") == ["receiving_number_in_use"]
    # What arrives under it is nobody's but the other's.
    await house.fx.receive(50_000, "HKD", await house.now(), account_number=NUMBER)
    assert await house.books.balance(f"user:{other}:HKD") == 50_000
    assert await house.sweep() == 0


async def test_a_bank_with_one_number_for_each_user_opens_it_for_every_currency(house: FxHouse) -> None:
    for currency in ("HKD", "EUR"):
        account = await accepted(house, currency=currency)
        await house.begin_account(account)
        await house.until(ACCOUNT, "open", id=account["id"])
        await house.fx.receive(50_000, currency, await house.now(), account_number=NUMBER)
        assert await house.books.balance(f"user:{house.books.user_id}:{currency}") == 50_000


@pytest.mark.long
async def test_without_an_answer_in_time_a_person_looks(house: FxHouse) -> None:
    house.overseas.weather.append("processing")
    account = await accepted(house)
    await house.begin_account(account)
    await house.come_to(WAITS, "operator", account)
    await house.overseas.decide(request_number(BankStep.RECEIVING_ACCOUNT, account["id"]), DeclineReason.OTHER)
    assert (await house.end_of(Process.OPEN_RECEIVING_ACCOUNT, account["id"])).state == "declined"
