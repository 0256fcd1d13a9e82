"""A conversion waits for the right hours: by time skipping over the real calendars, to instants written down by hand.

The desk of HBRB deals from 09:30 to 16:30 and is shut on every weekend; that of WLWB from 09:00 to 11:30 and from 13:30
to 16:00, on make-up days, too (A5.1a, A6.4b, Q4). Desks deal at the rate of then (A5.1b).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import workflow

from domain.fx_banking import QuoteSide
from domain.planning import NoWindowError
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.books import ELEMENTS
from tests.storage.fx_books import DESK, OTHER_DESK
from tests.workflows.fx_house import MORNING, SLOT, STATE, WAITS, FxHouse, begins, open_fx_house
from workflows.names import TASK_QUEUE, Process
from workflows.starting_fx import fx_order


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, getattr(request, "param", MORNING)) as opened:
        yield opened


async def test_what_arrives_while_all_is_open_is_dealt_at_once_and_its_positions_are_back_at_nought(
    house: FxHouse,
) -> None:
    fx = await house.funded(123_457)
    await house.begin(fx, "settled")
    found = await house.found(fx)
    # 1234.57 USD at 7.1234 is 8794.335938 CNY.
    assert (found["cny_minor"], found["remainder_e8"], found["desk"]) == (879_434, -40_620_000, DESK)
    assert await house.money() == (879_434, 0)
    assert await house.held() == 0
    await house.assert_positions_are_back_at_nought()
    assert await house.events(fx["id"]) == ["fx.accepted", "fx.scheduled", "fx.settled"]
    [sent] = house.desk.requests
    assert (sent.request_number, sent.foreign_minor, sent.kind) == (house.number(fx), 123_457, "conversion")
    assert (sent.name, sent.id_number) == (ELEMENTS["name"], ELEMENTS["id_number"])
    assert found["rate"]["publisher"] == "HBRB FX desk"
    assert found["rate"]["used_at"] < found["rate"]["valid_until"]
    assert await house.dealt_at(fx) < shanghai(MORNING) + timedelta(minutes=1)


HARBOUR = [
    ("2026-11-23 16:30:01", "2026-11-24 09:30:00", "one second after closing"),
    ("2026-11-28 12:00:00", "2026-11-30 09:30:00", "a Saturday"),
    ("2026-10-01 10:00:00", "2026-10-08 09:30:00", "the first day of a holiday"),
    ("2026-10-09 16:30:01", "2026-10-12 09:30:00", "before a make-up Saturday, on which this desk is shut"),
    ("2026-10-10 10:00:00", "2026-10-12 09:30:00", "on a make-up Saturday"),
    ("2026-02-13 16:30:01", "2026-02-24 09:30:00", "before Spring Festival"),
    ("2025-12-31 23:59:59", "2026-01-05 09:30:00", "the last second of the year, before a Sunday that is worked"),
    ("2026-12-31 16:30:01", "2027-01-04 09:30:00", "into a year that nobody has published"),
]
WILLOW = [
    ("2026-11-23 11:30:01", "2026-11-23 13:30:00", "lunch"),
    ("2026-10-09 16:00:01", "2026-10-10 09:00:00", "before a make-up Saturday, on which this desk is open"),
    ("2026-02-13 16:00:01", "2026-02-14 09:00:00", "the Saturday before Spring Festival"),
    ("2026-02-14 16:00:01", "2026-02-24 09:00:00", "after that Saturday"),
    ("2025-12-31 16:00:01", "2026-01-04 09:00:00", "the Sunday that is worked"),
]


async def sleeps_until(house: FxHouse, opens_at: str, desk: str) -> None:
    fx = await house.funded()
    assert await house.planned(fx, "fx_desk_window") == shanghai(opens_at)
    found = await house.found(fx)
    assert found["waiting_for"]["reason"] == "fx_desk_window"
    assert datetime.fromisoformat(found["waiting_for"]["until"]) == shanghai(opens_at)
    assert house.desks[desk].quotes == []
    assert (await house.settle(fx)).state == "settled"
    assert shanghai(opens_at) <= await house.dealt_at(fx) < shanghai(opens_at) + timedelta(seconds=30)
    [quote] = house.desks[desk].quotes
    assert quote.published_at >= shanghai(opens_at)
    assert house.desks[desk].numbers == [house.number(fx)]


@pytest.mark.parametrize(("house", "opens_at", "why"), HARBOUR, indirect=["house"])
async def test_what_arrives_out_of_hours_is_dealt_when_harbours_desk_opens(
    house: FxHouse, opens_at: str, why: str
) -> None:
    await sleeps_until(house, opens_at, DESK)


@pytest.mark.parametrize(("house", "opens_at", "why"), WILLOW, indirect=["house"])
async def test_what_arrives_out_of_hours_is_dealt_when_willows_desk_opens(
    house: FxHouse, opens_at: str, why: str
) -> None:
    await house.switch(DESK, on=False)
    await sleeps_until(house, opens_at, OTHER_DESK)


@begins("2027-02-04 16:30:01")
async def test_spring_festival_of_an_unpublished_year_is_planned_provisionally_and_again_when_it_is_published(
    house: FxHouse,
) -> None:
    fx = await house.funded()
    # What the law says of it: 5 to 8 February, and two working days for its Saturday and its Sunday.
    assert await house.planned(fx, "fx_desk_window") == shanghai("2027-02-11 09:30:00")
    assert (await house.found(fx))["planned"]["provisional"] is True
    off = {f"d2027_02_{day:02}": False for day in range(5, 12)}
    await house.replan(await house.load_days("CN", **off, d2027_02_14=True))
    await house.until(SLOT, shanghai("2027-02-12 09:30:00"), id=fx["id"])
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2027-02-12 09:30:00")
    assert "fx.rescheduled" in await house.events(fx["id"])


@begins("2026-12-24 16:31:00")
async def test_money_that_is_not_good_yet_waits_for_its_value_date(house: FxHouse) -> None:
    """Under a mandate, received on the eve of Christmas with Christmas as its value date: a Friday, then Monday."""
    await house.fx.acceptance.accept_mandate(house.fx.mandate(now=await house.now()))
    await house.remittance("IN0000009001", value_date="2026-12-25")
    assert await house.announce("IN0000009001")
    assert await house.processes.receive_inbound("OSPB", "IN0000009001")
    await house.until("SELECT count(*) FROM app.fx WHERE wait_reason = 'value_date'", 1)
    fx_id = await house.books.value("SELECT id FROM app.fx")
    assert await house.books.value(SLOT, id=fx_id) == shanghai("2026-12-28 09:30:00")
    assert (await house.end_of(Process.SETTLE_FX, fx_id)).state == "settled"
    assert await house.dealt_at({"id": fx_id}) >= shanghai("2026-12-28 09:30:00")
    assert (await house.view("fx", fx_id))["origin"] == "standing_mandate"


@begins("2026-11-27 16:30:01")
async def test_the_rate_is_that_of_the_conversion_and_never_that_of_the_receipt(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    house.desk.rates[QuoteSide.BUYS] = "7.0001"
    assert (await house.settle(fx)).state == "settled"
    assert await house.money() == (700_010, 0)
    rate = (await house.found(fx))["rate"]
    assert rate["rate_e8"] == 700_010_000
    assert datetime.fromisoformat(rate["published_at"]) >= shanghai("2026-11-30 09:30:00")
    # The difference is the user's: nobody else has anything of it.
    balances = await house.fx.balances()
    assert {code for code, at in balances.items() if at != (0, 0)} == {
        "reserve:HBRB:CNY", f"user:{house.books.user_id}:CNY",
    }  # fmt: skip


# What changes while it waits


@begins("2026-11-23 17:00:00")
async def test_a_calendar_that_is_corrected_twice_puts_it_off_and_brings_it_forward(house: FxHouse) -> None:
    fx = await house.funded()
    assert await house.planned(fx) == shanghai("2026-11-24 09:30:00")
    later = await house.load_days("CN", d2026_11_24=False, d2026_11_25=False)
    done = await house.replan(later)
    assert (done.planned, done.told, done.failed) == (1, 0, 0)
    assert await house.slot(fx) == shanghai("2026-11-26 09:30:00")
    # Nobody was told; it finds out at the send claim, and sends nothing.
    await house.at("2026-11-24 12:00:00")
    assert house.desk.requests == []
    assert (await house.found(fx))["state"] == "waiting"
    earlier = await house.load_days("CN", d2026_11_24=False, d2026_11_25=True)
    done = await house.replan(earlier)
    assert (done.planned, done.told) == (1, 1)
    assert await house.slot(fx) == shanghai("2026-11-25 09:30:00")
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) < shanghai("2026-11-25 09:31:00")
    assert house.desk.numbers == [house.number(fx)]
    assert (await house.events(fx["id"])).count("fx.rescheduled") == 2


@begins("2026-11-23 17:00:00")
async def test_hours_that_are_loaded_while_it_waits_hold(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    await house.replan(await house.load_hours("FX-HBRB", ((1, 2, 3, 4, 5), "09:00", "20:00")))
    await house.until(SLOT, shanghai("2026-11-24 09:00:00"), id=fx["id"])
    await house.replan(await house.load_hours("FX-SAFE", ((1, 2, 3, 4, 5), "11:00", "16:00")))
    await house.until(SLOT, shanghai("2026-11-24 11:00:00"), id=fx["id"])
    await house.until(WAITS, "fx_authority_window", id=fx["id"])
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2026-11-24 11:00:00")


@begins("2026-11-23 17:00:00")
async def test_a_closure_that_nobody_told_it_of_holds_all_the_same(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    await house.close_office("FX-HBRB", "2026-11-24 00:00:00", "2026-11-24 14:00:00")
    assert (await house.end(fx)).state == "settled"
    assert shanghai("2026-11-24 14:00:00") <= await house.dealt_at(fx) < shanghai("2026-11-24 14:01:00")
    assert len(house.desk.requests) == 1


@begins("2026-11-23 17:00:00")
async def test_a_desk_that_is_switched_off_while_it_waits_is_taken_over_from(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    await house.switch(DESK, on=False)
    assert (await house.end(fx)).state == "settled"
    found = await house.found(fx)
    assert (found["desk"], found["rate"]["publisher"]) == (OTHER_DESK, "WLWB FX desk")
    assert house.desk.requests == []
    assert await house.fx.balances() == {
        "reserve:WLWB:CNY": (712_340, 0), f"user:{house.books.user_id}:CNY": (712_340, 0), "reserve:OSPB:USD": (0, 0),
        f"user:{house.books.user_id}:USD": (0, 0), "fx_position:WLWB:CNY": (0, 0), "fx_position:WLWB:USD": (0, 0),
    }  # fmt: skip


@begins("2026-11-23 17:00:00")
async def test_a_desk_that_a_new_plan_gives_it_to_is_the_one_that_deals(house: FxHouse) -> None:
    """Planned anew to the other desk with a slot that is not earlier: its process is told all the same."""
    fx = await house.funded()
    await house.planned(fx)
    await house.switch(DESK, on=False)
    await house.load_hours("FX-WLWB", ((1, 2, 3, 4, 5), "09:30", "16:00"))
    done = await house.replan(await house.load_days("CN", d2026_11_30=True))
    assert (done.planned, done.told) == (1, 1)
    assert await house.slot(fx) == shanghai("2026-11-24 09:30:00")
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) < shanghai("2026-11-24 09:30:30")
    assert house.other.numbers == [house.number(fx)]


@pytest.mark.parametrize("how", ["swept", "replanned", "by_itself"])
async def test_without_a_desk_it_waits_for_one_and_goes_on_when_it_is_switched_on(house: FxHouse, how: str) -> None:
    for bank in (DESK, OTHER_DESK):
        await house.switch(bank, on=False)
    fx = await house.funded()
    await house.begin(fx)
    await house.until(WAITS, "partner", id=fx["id"])
    assert await house.sweep() == 0
    await house.switch(OTHER_DESK, on=True)
    if how == "swept":
        assert await house.sweep() == 1
    elif how == "replanned":
        assert (await house.replan(await house.calendars.current_version())).told == 1
    if how == "by_itself":
        assert (await house.end(fx)).state == "settled"
    else:
        await house.until(STATE, "settled", id=fx["id"])
    assert house.other.numbers == [house.number(fx)]


@begins("2026-11-23 17:00:00")
async def test_one_that_was_planned_and_lost_both_desks_goes_on_at_the_one_that_comes_back(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    for bank in (DESK, OTHER_DESK):
        await house.switch(bank, on=False)
    await house.at("2026-11-24 10:00:00")
    await house.until(WAITS, "partner", id=fx["id"])
    version = await house.load_days("CN", d2026_12_02=True)
    assert await house.books.value("SELECT app.current_plan_version()") == version
    # Nothing can be planned: that its plan is old is no reason to try again and again.
    assert await house.sweep() == 0
    describing = house.env.client.get_workflow_handle(f"replan-fx/{version}").describe()
    with pytest.raises(Exception, match="not found"):
        await describing
    await house.switch(OTHER_DESK, on=True)
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])


async def test_one_that_can_be_dealt_at_no_time_is_shown_to_people_and_can_be_withdrawn(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an office that has no hours in common with the other, or a value date beyond all that is known."""
    real = house.planner.plan_fx

    async def plan_fx(*_: object) -> object:
        raise NoWindowError("fx")

    monkeypatch.setattr(house.planner, "plan_fx", plan_fx)
    fx, other = await house.funded(), await house.funded()
    for each in (fx, other):
        await house.begin(each)
        await house.until(WAITS, "operator", id=each["id"])
    cases = await house.books.value("SELECT array_agg(subject_id ORDER BY subject_id) FROM app.case_record")
    assert cases == sorted([fx["id"], other["id"]])
    await house.withdraw(fx)
    await house.until(STATE, "released", id=fx["id"])
    monkeypatch.setattr(house.planner, "plan_fx", real)
    assert (await house.end(other)).state == "settled"


async def test_without_the_authoritys_rate_it_waits_and_goes_on_when_that_is_published(house: FxHouse) -> None:
    await house.fx.open_account(currency="HKD", number="880000000002")
    await house.books.run("ALTER TABLE app.authority_rate DISABLE TRIGGER append_only")
    await house.books.run("DELETE FROM app.authority_rate WHERE currency = 'HKD'")
    now = await house.now()
    await house.fx.receive(100_000, "HKD", now, account_number="880000000002")
    fx = await house.fx.accept(100_000, "HKD", now=now)
    await house.begin(fx)
    await house.until(WAITS, "authority_rate", id=fx["id"])
    assert await house.sweep() == 0
    await house.books.run(
        "INSERT INTO app.authority_rate VALUES ('HKD', '2026-11-01', 12850000, 'a test', :at)",
        at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=fx["id"])
    assert (await house.found(fx))["quota"] == {"decision": "within", "year": 2026, "usd_minor": 12_850}


@begins("2026-11-27 16:30:01")
async def test_a_long_wait_goes_on_in_fresh_histories(house: FxHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 30
    )
    fx = await house.funded()
    await house.planned(fx)
    first = (await house.handle(Process.SETTLE_FX, fx["id"]).describe()).run_id
    for _ in range(12):
        assert await house.processes.tell_fx(fx["id"])
        await house.env.sleep(timedelta(minutes=1))
    assert (await house.handle(Process.SETTLE_FX, fx["id"]).describe()).run_id != first
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2026-11-30 09:30:00")
    assert house.desk.numbers == [house.number(fx)]
    assert (await house.events(fx["id"])) == ["fx.accepted", "fx.scheduled", "fx.settled"]


@begins("2026-11-27 16:30:01")
async def test_two_processes_of_one_conversion_deal_once(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    order = fx_order(await house.found(fx), house.books.merchant_id)
    twin = await house.env.client.start_workflow(Process.SETTLE_FX, order, id="settle-fx/twin", task_queue=TASK_QUEUE)
    await house.at("2026-11-30 09:31:00")
    await house.until(STATE, "settled", id=fx["id"])
    assert (await house.end(fx)).state == "settled"
    assert (await twin.describe()).status is not None
    assert sum(house.desk.dealt.values()) == 1
    assert (await house.events(fx["id"])).count("fx.settled") == 1
    assert await house.money() == (712_340, 0)
