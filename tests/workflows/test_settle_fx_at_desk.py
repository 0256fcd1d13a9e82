"""A conversion at its desk: quotes that are no rate, a window that is lost, answers that do not come, and kills.

It is dealt once, whatever happens in between, and asked about until it is known (A5.1b, P2.1.3-1c).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio import activity

from domain.banking import DeclineReason
from domain.fx_banking import FxAnswer, QuoteSide
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.workflows.fx_house import MORNING, SLOT, STATE, WAITS, FxHouse, begins, open_fx_house
from tests.workflows.scripted_desk import Quoting, Weather
from tests.workflows.test_kills import PLUGS, Plugs
from workflows import policies
from workflows.names import Process

R = DeclineReason


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, getattr(request, "param", MORNING)) as opened:
        yield opened


async def assert_dealt_once(house: FxHouse, fx: dict[str, Any], attempt: int = 0) -> None:
    assert house.desk.dealt == {house.number(fx, attempt): 1}
    assert await house.money() == (712_340, 0)
    assert await house.held() == 0
    await house.assert_positions_are_back_at_nought()
    assert (await house.events(fx["id"])).count("fx.settled") == 1


# Rates


@pytest.mark.parametrize("how", ["stale", "expired", "none"])
async def test_a_quote_that_is_no_rate_is_refused_and_another_one_asked_for(house: FxHouse, how: Quoting) -> None:
    fx = await house.funded()
    house.desk.quoting.extend([how, how])
    assert (await house.settle(fx)).state == "settled"
    await assert_dealt_once(house, fx)
    # Refused before anything was sent: under the first number, and only the quote that was dealt at is kept.
    assert await house.books.value("SELECT array_agg(quote_id) FROM app.fx_quote") == [house.desk.quotes[-1].quote_id]
    assert await house.books.value("SELECT count(*) FROM app.effect") == 1
    waited = "SELECT count(*) FROM app.operation WHERE subject_id = :id AND reason = 'no_fresh_quote'"
    assert await house.books.value(waited, id=fx["id"]) == 1


async def test_while_there_is_no_rate_it_says_so(house: FxHouse) -> None:
    fx = await house.funded()
    house.desk.gives_no_rate = True
    await house.begin(fx)
    await house.until(WAITS, "fx_quote", id=fx["id"])
    house.desk.gives_no_rate = False
    assert (await house.end(fx)).state == "settled"


async def test_a_quote_of_the_moment_holds_however_much_time_was_skipped(house: FxHouse) -> None:
    """Each claim's instant is the process's, and so is the quote's: a minute's validity is never lost in between."""
    for day in ("2026-11-28 12:00:00", "2026-12-05 12:00:00", "2026-12-12 12:00:00"):
        await house.at(day)
        fx = await house.funded()
        await house.planned(fx)
        await house.at(f"{day[:8]}{int(day[8:10]) + 2:02} 09:31:00")
        await house.until(STATE, "settled", id=fx["id"])
    assert len(house.desk.quotes) == len(house.desk.requests) == 3


# A window that is lost


@begins("2026-11-27 15:00:00")
async def test_without_a_rate_until_closing_it_moves_to_the_next_window_and_deals_at_the_rate_of_then(
    house: FxHouse,
) -> None:
    fx = await house.funded()
    house.desk.gives_no_rate = True
    await house.begin(fx)
    await house.at("2026-11-27 16:31:00")
    await house.until(SLOT, shanghai("2026-11-30 09:30:00"), id=fx["id"])
    assert (await house.found(fx))["waiting_for"]["reason"] == "fx_desk_window"
    house.desk.gives_no_rate, house.desk.rates[QuoteSide.BUYS] = False, "7.2000"
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2026-11-30 09:30:00")
    assert await house.money() == (720_000, 0)
    # Nothing was sent on Friday, so that the first number is still its own.
    assert house.desk.numbers == [house.number(fx)]


@begins("2026-11-27 16:00:00")
async def test_a_desk_that_closes_early_is_tried_less_and_less_often_and_then_in_its_next_window(
    house: FxHouse,
) -> None:
    fx = await house.funded()
    house.desk.weather.extend([R.DESK_CLOSED] * 6)
    assert (await house.settle(fx)).state == "settled"
    # 16:00, and 1, 2, 4 and 8 minutes after each other; 16 later it has closed.
    numbers = [house.number(fx, attempt) for attempt in range(7)]
    assert house.desk.numbers == numbers
    claims = await house.books.value("SELECT array_agg(claimed_at ORDER BY claimed_at) FROM app.effect")
    pauses = [later - earlier for earlier, later in pairwise(claims)]
    assert [round(pause / timedelta(minutes=1)) for pause in pauses[:4]] == [1, 2, 4, 8]
    assert claims[4] < shanghai("2026-11-27 16:30:00")
    assert shanghai("2026-11-30 09:30:00") <= claims[5] < shanghai("2026-11-30 09:31:00")
    await assert_dealt_once(house, fx, attempt=6)
    declined = await house.books.value("SELECT count(*) FROM app.effect WHERE outcome = 'declined'")
    assert declined == 6


async def test_a_quote_that_expired_on_the_way_is_followed_by_another_under_the_next_number(house: FxHouse) -> None:
    fx = await house.funded()
    house.desk.weather.append(R.QUOTE_EXPIRED)
    assert (await house.settle(fx)).state == "settled"
    assert house.desk.numbers == [house.number(fx), house.number(fx, 1)]
    assert len({sent.quote_id for sent in house.desk.requests}) == 2
    await assert_dealt_once(house, fx, attempt=1)


async def test_a_desk_that_is_closed_whenever_it_is_tried_has_said_no(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.policies.MOST_FX_ATTEMPTS", 3)
    house.desk.weather.extend([R.DESK_CLOSED] * 3)
    fx = await house.funded()
    ended = await house.settle(fx)
    assert (ended.state, ended.reason) == ("refused", "desk_closed")
    assert await house.held() == 100_000


@begins("2026-11-27 16:25:00")
async def test_what_a_worker_takes_only_after_the_closing_is_not_sent_and_waits_for_monday(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim is made at the instant at which a worker takes it, not at that at which its process wanted it."""
    back_at = shanghai("2026-11-27 16:40:00")

    def waited() -> timedelta:
        return max(back_at - (activity.info().current_attempt_scheduled_time + house.ahead), timedelta(0))

    monkeypatch.setattr("activities.fx_steps.waited_for_a_worker", waited)
    fx = await house.funded()
    assert (await house.settle(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2026-11-30 09:30:00")
    await assert_dealt_once(house, fx)


# Unknown


async def test_days_without_an_answer_end_in_what_the_desk_then_says(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    rarely = policies.PATIENTLY.__class__(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(hours=1))
    monkeypatch.setattr("workflows.policies.PATIENTLY", rarely)
    house.desk.weather.append("dealt_then_silent")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.env.sleep(timedelta(days=3))
    assert await house.books.value(WAITS, id=fx["id"]) == "operator"
    assert await house.money() == (0, 100_000)
    assert await house.held() == 100_000
    house.desk.silent = False
    assert (await house.end(fx)).state == "settled"
    await assert_dealt_once(house, fx)
    events = await house.events(fx["id"])
    assert events == ["fx.accepted", "fx.scheduled", "fx.unknown", "fx.waits_for_operator", "fx.settled"]
    # The rate and the moment are those of the deal, and not those of the answer.
    assert await house.dealt_at(fx) < shanghai("2026-11-23 10:01:00")


async def test_what_the_desk_was_thinking_about_for_hours_may_end_in_its_no(house: FxHouse) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "bank_processing", fx)
    await house.env.sleep(timedelta(hours=2))
    await house.desk.decide(house.number(fx), R.FX_REFUSED_BY_POLICY)
    ended = await house.end(fx)
    assert (ended.state, ended.reason) == ("refused", "fx_refused_by_policy")
    assert await house.money() == (0, 100_000)
    assert await house.held() == 100_000
    assert await house.fx.quota() == (0, 0)
    assert house.desk.numbers == [house.number(fx)]


async def test_a_notice_of_the_desks_ends_the_wait_at_once(house: FxHouse) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "bank_processing", fx)
    await house.env.sleep(timedelta(minutes=30))
    await house.desk.decide(house.number(fx))
    assert await house.processes.tell_bank_notice(Process.SETTLE_FX, fx["id"])
    await house.until(STATE, "settled", id=fx["id"])


async def test_a_desk_without_an_answer_is_parked_and_two_people_conclude_that_it_failed(house: FxHouse) -> None:
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "operator", fx)
    assert (await house.found(fx))["state"] == "unknown"
    assert await house.conclude("fx", fx["id"])
    ended = await house.end(fx)
    assert (ended.state, ended.reason) == ("refused", "concluded_by_operators")
    assert await house.held() == 100_000
    assert await house.fx.quota() == (0, 0)
    assert (await house.events(fx["id"])).count("fx.waits_for_operator") == 1


@pytest.mark.long
async def test_what_the_desk_may_have_forgotten_is_never_sent_again(house: FxHouse) -> None:
    house.desk.capabilities = house.desk.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.desk.weather.append("processing")
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(STATE, "unknown", fx)
    await house.env.sleep(timedelta(hours=2))
    house.desk.forget(house.number(fx))
    await house.come_to(WAITS, "operator", fx)
    await house.env.sleep(timedelta(days=1))
    assert len(house.desk.requests) == 1
    assert await house.conclude("fx", fx["id"])
    assert (await house.end(fx)).state == "refused"


async def test_a_deal_whose_terms_are_not_told_is_shown_to_people_until_they_are(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = house.desk._known

    async def without_terms(number: str) -> FxAnswer:
        return (await real(number)).model_copy(update={"cny_minor": None})

    monkeypatch.setattr(house.desk, "_known", without_terms)
    fx = await house.funded()
    await house.begin(fx)
    await house.come_to(WAITS, "operator", fx)
    assert await house.money() == (0, 100_000)
    monkeypatch.setattr(house.desk, "_known", real)
    assert (await house.end(fx)).state == "settled"
    await assert_dealt_once(house, fx)


# Delivery


async def test_what_is_delivered_days_later_is_in_the_desks_position_until_then(house: FxHouse) -> None:
    house.desk.delivers_after = timedelta(days=2)
    fx = await house.funded()
    await house.begin(fx, "converted")
    assert await house.money() == (0, 0)
    balances = await house.fx.balances()
    assert balances["fx_position:HBRB:USD"] == (100_000, 100_000)
    assert balances["reserve:OSPB:USD"] == (100_000, 100_000)
    assert (await house.found(fx))["waiting_for"]["reason"] == "fx_delivery"
    # The quota is used by the deal.
    assert await house.fx.quota() == (0, 100_000)
    assert (await house.end(fx)).state == "settled"
    await assert_dealt_once(house, fx)
    assert (await house.events(fx["id"]))[-2:] == ["fx.converted", "fx.settled"]
    delivered = (await house.found(fx))["delivered_at"]
    assert delivered.startswith("2026-11-25T02:00")


async def test_what_is_not_delivered_in_time_is_shown_to_people_and_settled_when_it_is(house: FxHouse) -> None:
    house.desk.delivers_after = None
    fx = await house.funded()
    await house.begin(fx, "converted")
    await house.env.sleep(timedelta(hours=71))
    assert await house.books.value(WAITS, id=fx["id"]) == "fx_delivery"
    await house.env.sleep(timedelta(hours=2))
    await house.until(WAITS, "operator", id=fx["id"])
    house.desk.delivers_after = timedelta(hours=73, minutes=10)
    await house.env.sleep(timedelta(minutes=12))
    assert await house.processes.tell_bank_notice(Process.SETTLE_FX, fx["id"])
    await house.until(STATE, "settled", id=fx["id"])
    assert (await house.events(fx["id"])).count("fx.waits_for_operator") == 1
    await assert_dealt_once(house, fx)


@pytest.mark.long
async def test_a_desk_that_says_nothing_at_all_after_the_deal_is_shown_to_people_in_time(house: FxHouse) -> None:
    house.desk.delivers_after = None
    fx = await house.funded()
    await house.begin(fx, "converted")
    house.desk.silent = True
    await house.env.sleep(timedelta(hours=73))
    await house.until(WAITS, "operator", id=fx["id"])
    house.desk.delivers_after, house.desk.silent = timedelta(hours=74), False
    assert (await house.end(fx)).state == "settled"
    assert (await house.events(fx["id"])).count("fx.waits_for_operator") == 1
    await assert_dealt_once(house, fx)


async def test_a_process_that_was_lost_before_the_delivery_is_revived_and_settles(house: FxHouse) -> None:
    house.desk.delivers_after = timedelta(days=1)
    fx = await house.funded()
    await house.begin(fx, "converted")
    await house.lose(Process.SETTLE_FX, fx["id"])
    assert await house.revive() == 1
    assert (await house.end(fx)).state == "settled"
    await assert_dealt_once(house, fx)


# Kills


@pytest.mark.parametrize("plugs", PLUGS, ids="+".join)
@pytest.mark.parametrize("step", ["claim", "settle"])
async def test_a_kill_around_the_claim_or_the_booking_deals_once(
    house: FxHouse, monkeypatch: pytest.MonkeyPatch, step: str, plugs: list[Any]
) -> None:
    monkeypatch.setattr(house.fx.book, step, Plugs(getattr(house.fx.book, step), plugs))
    fx = await house.funded()
    assert (await house.settle(fx)).state == "settled"
    # What was claimed and never sent is followed by another number; what was never claimed goes out under its own.
    unsent = plugs.count("killed_after") if step == "claim" else 0
    await assert_dealt_once(house, fx, attempt=unsent)


@pytest.mark.parametrize("plugs", PLUGS, ids="+".join)
async def test_a_kill_around_the_sending_deals_once(house: FxHouse, plugs: list[Weather]) -> None:
    house.desk.weather.extend(plugs)
    fx = await house.funded()
    assert (await house.settle(fx)).state == "settled"
    await assert_dealt_once(house, fx, attempt=plugs.index("killed_after") if "killed_after" in plugs else len(plugs))


@pytest.mark.long
@pytest.mark.parametrize("how", ["cancelled", "terminated"])
@pytest.mark.parametrize("dealt", [True, False])
async def test_a_process_that_was_lost_between_the_deal_and_our_booking_is_revived_and_books_it(
    house: FxHouse, how: str, dealt: bool
) -> None:
    house.desk.weather.append("dealt_then_silent" if dealt else "lost_then_silent")
    # Time may not be skipped any more after it is ended.
    house.desk.capabilities = house.desk.capabilities.model_copy(update={"request_validity_seconds": 1})
    fx = await house.funded()
    await house.begin(fx)
    # A process that is ended with a task under way stops the test server's clock: it sleeps between two questions.
    await house.come_to(STATE, "unknown", fx)
    await house.lose(Process.SETTLE_FX, fx["id"], how=how)
    assert await house.money() == (0, 100_000)
    house.desk.silent = False
    assert await house.revive() == 1
    await house.until(STATE, "settled", id=fx["id"])
    await assert_dealt_once(house, fx, attempt=0 if dealt else 1)
    revived = "SELECT count(*) FROM app.operation WHERE action = 'revive_process' AND subject_id = :id"
    assert await house.books.value(revived, id=fx["id"]) == 1


@begins("2026-11-27 17:00:00")
async def test_a_process_that_was_lost_while_it_slept_is_revived_once_its_moment_has_passed(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    await house.lose(Process.SETTLE_FX, fx["id"])
    # It sleeps until Monday: nothing is overdue before.
    assert await house.revive() == 0
    await house.at("2026-11-30 09:31:00")
    assert await house.revive() == 1
    await house.until(STATE, "settled", id=fx["id"])
    await assert_dealt_once(house, fx)


async def test_one_that_was_turned_away_and_lost_goes_on_under_its_next_number(house: FxHouse) -> None:
    house.desk.weather.append(R.DESK_CLOSED)
    fx = await house.funded()
    await house.begin(fx)
    await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 1)
    await house.until("SELECT count(*) FROM app.fx WHERE state = 'waiting' AND slot_at IS NOT NULL", 1)
    await house.lose(Process.SETTLE_FX, fx["id"])
    await house.at("2026-11-23 10:30:00")
    assert await house.revive() == 1
    await house.until(STATE, "settled", id=fx["id"])
    assert house.desk.numbers == [house.number(fx), house.number(fx, 1)]
    await assert_dealt_once(house, fx, attempt=1)
