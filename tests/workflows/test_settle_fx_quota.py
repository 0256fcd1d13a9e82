"""A person's yearly quota as processes meet it: at planning, at the desk, at year end, after the deal (A5.2, L9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.banking import DeclineReason
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.fx_books import DESK, OTHER_DESK, add_user
from tests.workflows.fx_house import MORNING, STATE, WAITS, Fx, FxHouse, begins, open_fx_house
from workflows.names import Process

R = DeclineReason
# 50,000 USD a year.
QUOTA = 5_000_000


@pytest.fixture
async def house(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[FxHouse]:
    async with open_fx_house(database, getattr(request, "param", MORNING)) as opened:
        yield opened


async def of_another_merchant(house: FxHouse, amount_minor: int) -> Fx:
    """Of the same person, in a relation of its own, on money that has arrived for it."""
    merchant, now = house.books.new_id("mch"), await house.now()
    await house.books.run(
        "INSERT INTO app.merchant VALUES (:m, '另一商户', 'active', 'infinity', :at)", m=merchant, at=now
    )
    user = await add_user(house.fx, merchant)
    number = f"8800000{next(house.fx.numbers):05d}"
    await house.fx.open_account(user, number=number)
    await house.fx.receive(amount_minor, now=now, account_number=number)
    context = house.books.context().model_copy(update={"merchant_id": merchant})
    return await house.fx.accept(amount_minor, now=now, user_id=user, request=context)


async def test_what_is_beyond_the_quota_is_split_off_and_stays_held(house: FxHouse) -> None:
    fx = await house.funded(6_000_000)
    assert (await house.settle(fx)).state == "settled"
    found = await house.found(fx)
    assert (found["amount_minor"], found["quota"]["usd_minor"]) == (QUOTA, QUOTA)
    rest = await house.view("fx", found["rest_id"])
    assert (rest["state"], rest["reason"], rest["amount_minor"]) == ("refused", "quota_exceeded", 1_000_000)
    assert await house.held() == 1_000_000
    assert await house.fx.quota() == (0, QUOTA)
    [sent] = house.desk.requests
    assert sent.foreign_minor == QUOTA
    assert "fx.split" in await house.events(fx["id"])


async def test_a_split_one_without_an_answer_is_asked_about_by_what_is_left_of_it(house: FxHouse) -> None:
    house.desk.weather.append("unheard")
    fx = await house.funded(6_000_000)
    assert (await house.settle(fx)).state == "settled"


async def test_what_is_to_be_held_beyond_the_quota_is_refused_whole_and_not_asked_about(house: FxHouse) -> None:
    fx = await house.funded(6_000_000, over_quota="hold")
    ended = await house.settle(fx)
    assert (ended.state, ended.reason) == ("refused", "quota_exceeded")
    assert house.desk.requests == house.desk.quotes == []
    assert await house.held() == 6_000_000


async def test_a_desks_word_of_the_quota_is_learned_and_nobody_asks_again_until_the_year_is_over(
    house: FxHouse,
) -> None:
    house.desk.weather.append(R.FX_QUOTA_EXCEEDED)
    fx = await house.funded()
    await house.begin(fx, "refused")
    assert (await house.found(fx))["reason"] == "fx_quota_exceeded"
    # Of the same person at another merchant: refused without a word to the desk (A5.2b).
    other = await of_another_merchant(house, 50_000)
    await house.begin(other, "refused")
    assert (await house.found(other))["reason"] == "quota_known_exceeded"
    assert len(house.desk.requests) == 1
    # Trade with evidence is exempt; a flag alone is not (A5.2d).
    flagged = await house.funded(is_trade=True)
    await house.begin(flagged, "refused")
    trade = await house.funded(is_trade=True, evidence=({"kind": "invoice", "reference": "s3:1"},))
    await house.begin(trade, "settled")
    assert (await house.found(trade))["quota"]["decision"] == "exempt_trade"
    await house.at("2026-12-31 17:00:00")
    fresh = await house.funded()
    await house.begin(fresh)
    await house.at("2027-01-04 09:31:00")
    await house.until(STATE, "settled", id=fresh["id"])


async def test_one_that_learns_while_another_sleeps_stops_that_at_its_send_claim(house: FxHouse) -> None:
    await house.at("2026-11-23 17:00:00")
    sleeping = await house.funded()
    first = await of_another_merchant(house, 50_000)
    house.desk.weather.append(R.FX_QUOTA_EXCEEDED)
    await house.planned(first)
    await house.planned(sleeping)
    # Accepted earlier, and sent ten seconds later.
    await house.books.run(
        "UPDATE app.fx SET slot_at = slot_at + interval '10 seconds' WHERE id = :id", id=sleeping["id"]
    )
    await house.at("2026-11-24 09:31:00")
    states = "SELECT array_agg(reason ORDER BY reason) FROM app.fx WHERE state = 'refused'"
    await house.until(states, ["fx_quota_exceeded", "quota_known_exceeded"])
    assert len(house.desk.requests) == 1


# Year end


@begins("2026-12-31 16:30:01")
async def test_what_is_converted_in_january_counts_for_the_new_year(house: FxHouse) -> None:
    fx = await house.funded()
    await house.planned(fx)
    assert await house.fx.quota(2026) in (None, (0, 0))
    assert await house.fx.quota(2027) == (100_000, 0)
    assert (await house.end(fx)).state == "settled"
    assert await house.fx.quota(2027) == (0, 100_000)


@begins("2026-12-31 15:59:00")
async def test_what_was_planned_in_december_and_is_dealt_in_january_takes_the_quota_of_then(house: FxHouse) -> None:
    """The desk turns it away until it closes; another merchant's conversion has what is left of the old year."""
    fx = await house.funded(3_000_000)
    house.desk.weather.extend([R.DESK_CLOSED] * 4)
    await house.begin(fx)
    await house.at("2026-12-31 16:10:00")
    await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 4)
    assert await house.fx.quota(2026) == (3_000_000, 0)
    other = await of_another_merchant(house, 3_000_000)
    await house.begin(other, "settled")
    assert await house.fx.quota(2026) == (3_000_000, 2_000_000)
    # Once more at 16:14; 16 minutes later it is closed.
    house.desk.weather.append(R.DESK_CLOSED)
    assert (await house.end(fx)).state == "settled"
    assert await house.dealt_at(fx) >= shanghai("2027-01-04 09:30:00")
    assert await house.fx.quota(2026) == (0, 2_000_000)
    assert await house.fx.quota(2027) == (0, 3_000_000)
    # What the old year lacked for the other one is not given to it afterwards.
    rest = await house.books.value("SELECT state FROM app.fx WHERE rest_of = :id", id=other["id"])
    assert rest == "refused"


@begins("2026-12-31 16:29:30")
async def test_two_merchants_race_for_the_last_of_a_quota_in_the_last_minute_of_the_year(house: FxHouse) -> None:
    fx, other = await house.funded(3_000_000), await of_another_merchant(house, 3_000_000)
    await asyncio.gather(house.begin(fx), house.begin(other))
    for each in (fx, other):
        await house.until(STATE, "settled", id=each["id"])
    assert await house.fx.quota(2026) == (0, QUOTA)
    parts = "SELECT array_agg(amount_minor ORDER BY amount_minor) FROM app.fx WHERE state = :state"
    assert await house.books.value(parts, state="settled") == [2_000_000, 3_000_000]
    assert await house.books.value(parts, state="refused") == [1_000_000]


# Refused


async def test_what_was_refused_is_released_when_its_merchant_says_so(house: FxHouse) -> None:
    fx = await house.refused()
    assert (await house.found(fx))["reason"] == "fx_refused_by_policy"
    assert await house.held() == 100_000
    await house.fx.dispose(fx["id"], "release", await house.now())
    assert await house.held() == 0
    assert await house.money() == (0, 100_000)
    assert (await house.end(fx)).state == "refused"


async def refused_remittance(house: FxHouse) -> tuple[Fx, str]:
    house.desk.weather.append(R.FX_REFUSED_BY_POLICY)
    fx = await house.mandated()
    await house.begin(fx, "refused")
    return fx, str((await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"])


async def test_what_was_refused_goes_back_to_where_it_came_from(house: FxHouse) -> None:
    fx, return_id = await refused_remittance(house)
    assert (await house.return_(return_id)).state == "succeeded"
    assert (await house.found(fx))["state"] == "returned"
    assert await house.money() == (0, 0)
    [sent] = house.overseas.requests
    assert (sent.amount_minor, sent.currency) == (100_000, "USD")
    assert (await house.events(fx["id"]))[-3:] == ["fx.refused", "fx.returning", "fx.returned"]


async def test_what_its_bank_does_not_send_back_is_held_again(house: FxHouse) -> None:
    fx, return_id = await refused_remittance(house)
    house.overseas.weather.append(R.OTHER)
    ended = await house.return_(return_id)
    assert (ended.state, ended.reason) == ("failed", "other")
    assert (await house.found(fx))["state"] == "refused"
    assert await house.money() == (0, 100_000)
    assert await house.held() == 100_000
    # And may be asked for once more, under a number of its own.
    again = str((await house.fx.dispose(fx["id"], "return", await house.now()))["return_id"])
    assert again != return_id


# Above the quota after all


async def reversal_of(house: FxHouse, fx: Fx, excess_minor: int) -> Fx:
    """The desk has found so much, in total, and has said so."""
    house.desk.found_excess[house.number(fx)] = excess_minor
    assert await house.processes.learn_excess(fx["id"])
    found = "SELECT id FROM app.fx WHERE reversal_of = :id AND excess_minor = :n"
    await house.until(f"SELECT EXISTS ({found})", True, id=fx["id"], n=excess_minor)
    return await house.found({"id": await house.books.value(found, id=fx["id"], n=excess_minor)})


async def test_exactly_the_excess_is_taken_back_at_a_rate_of_its_own(house: FxHouse) -> None:
    fx = await house.dealt()
    reversal = await reversal_of(house, fx, 40_000)
    await house.until(STATE, "settled", id=reversal["id"])
    found = await house.found(reversal)
    # 400 USD came to 2849.36 CNY, and cost 2853.36 at the rate of now: the difference is the user's.
    assert (found["amount_minor"], found["cny_minor"]) == (40_000, 285_336)
    assert (found["rate_e8"], found["rate_difference_minor"], found["shortfall_minor"]) == (713_340_000, -400, 0)
    assert await house.money() == (712_340 - 285_336, 40_000)
    assert await house.fx.quota() == (0, 60_000)
    assert (await house.found(fx))["reversed_minor"] == 40_000
    await house.assert_positions_are_back_at_nought()
    [_, back] = house.desk.requests
    assert (back.kind, back.reverses, back.request_number) == ("reversal", house.number(fx), house.number(reversal))
    # What a partner said of the quota holds until the year is over.
    following = await house.funded()
    await house.begin(following, "refused")


async def test_an_excess_that_grows_is_taken_back_in_parts(house: FxHouse) -> None:
    fx = await house.dealt()
    first = await reversal_of(house, fx, 40_000)
    await house.until(STATE, "settled", id=first["id"])
    second = await reversal_of(house, fx, 60_000)
    assert second["amount_minor"] == 20_000
    await house.until(STATE, "settled", id=second["id"])
    assert (await house.found(fx))["reversed_minor"] == 60_000
    assert await house.fx.quota() == (0, 40_000)
    await house.assert_positions_are_back_at_nought()


async def others_money(house: FxHouse) -> None:
    """What lies at the desk's bank besides."""
    stranger = await add_user(house.fx, house.books.merchant_id, "person-2")
    await house.books.fund(10_000_000, user_id=stranger)


async def take_out(house: FxHouse, amount_minor: int) -> None:
    """What the user has paid out meanwhile; others have money at the bank besides."""
    await others_money(house)
    await pay_out(house, amount_minor)


async def pay_out(house: FxHouse, amount_minor: int) -> None:
    """Of the user's CNY, from the desk's bank."""
    user, key = f"user:{house.books.user_id}:CNY", house.books.new_id("po")
    transfer = {
        "action": "post", "key": f"{key}:payout", "kind": "payout", "direction": "out", "debit": user,
        "credit": "reserve:HBRB:CNY", "currency": "CNY", "amount": amount_minor, "instruction": key, "reference": key,
        "booked_at": (await house.now()).isoformat(),
    }  # fmt: skip
    items = json.dumps([{"item": 0, "transfers": [transfer]}])
    assert await house.books.value("SELECT error FROM ledger.apply(CAST(:items AS jsonb))", items=items) is None
    await house.books.run("SELECT ledger.apply(CAST(:items AS jsonb))", items=items)


async def test_what_the_user_has_taken_out_already_is_owed_and_no_balance_goes_below_nought(house: FxHouse) -> None:
    fx = await house.dealt()
    await take_out(house, 700_000)
    reversal = await reversal_of(house, fx, 40_000)
    await house.until(STATE, "settled", id=reversal["id"])
    found = await house.found(reversal)
    assert found["shortfall_minor"] == 285_336 - 12_340
    assert await house.money() == (0, 40_000)
    owed = await house.books.value("SELECT amount_minor FROM app.user_receivable WHERE fx_id = :id", id=reversal["id"])
    assert owed == 285_336 - 12_340
    assert await house.books.balance("receivable:CNY") == owed
    await house.assert_positions_are_back_at_nought()


@begins("2026-11-27 15:00:00")
async def test_an_excess_that_is_found_over_a_weekend_is_taken_back_when_the_desk_opens(house: FxHouse) -> None:
    fx = await house.dealt()
    await others_money(house)
    await house.at("2026-11-28 12:00:00")
    reversal = await reversal_of(house, fx, 100_000)
    await house.until(WAITS, "fx_desk_window", id=reversal["id"])
    # What is left of it on the user's balance cannot be taken out meanwhile.
    assert await house.held("CNY") == 712_340
    assert (await house.end(reversal)).state == "settled"
    assert await house.dealt_at(reversal) >= shanghai("2026-11-30 09:30:00")
    assert (await house.found(reversal))["shortfall_minor"] == 1_000
    assert await house.fx.quota() == (0, 0)


async def test_a_reversal_waits_for_the_desk_that_made_the_deal_and_for_no_other(house: FxHouse) -> None:
    fx = await house.dealt()
    await house.switch(DESK, on=False)
    reversal = await reversal_of(house, fx, 40_000)
    await house.until(WAITS, "partner", id=reversal["id"])
    assert await house.sweep() == 0
    assert await house.books.value("SELECT enabled FROM app.partner WHERE code = :c", c=OTHER_DESK)
    await house.switch(DESK, on=True)
    assert await house.sweep() == 1
    await house.until(STATE, "settled", id=reversal["id"])
    assert house.other.requests == []


async def test_a_kill_around_a_reversal_takes_back_once(house: FxHouse) -> None:
    fx = await house.dealt()
    house.desk.weather.append("killed_after")
    reversal = await reversal_of(house, fx, 40_000)
    assert (await house.end(reversal)).state == "settled"
    assert house.desk.dealt[house.number(reversal)] == 1


async def test_a_reversal_that_its_desk_refuses_is_for_people(house: FxHouse) -> None:
    fx = await house.dealt()
    house.desk.weather.append(R.REVERSAL_EXCEEDS_DEAL)
    reversal = await reversal_of(house, fx, 40_000)
    await house.until(STATE, "refused", id=reversal["id"])
    kinds: Any = await house.books.value(
        "SELECT array_agg(kind) FROM app.case_record WHERE subject_id = :id", id=reversal["id"]
    )
    assert kinds == ["reversal_refused"]


@pytest.mark.parametrize("shows_after", ["at_once", "later", "never"])
async def test_an_excess_that_was_announced_may_show_later_or_never(house: FxHouse, shows_after: str) -> None:
    fx = await house.dealt()
    if shows_after == "at_once":
        house.desk.found_excess[house.number(fx)] = 40_000
    assert await house.processes.learn_excess(fx["id"])
    if shows_after == "later":
        await house.env.sleep(_minutes(20))
        house.desk.found_excess[house.number(fx)] = 40_000
    ended = await house.end_of(Process.LEARN_EXCESS, fx["id"])
    expected = ("nothing_new", "desk_says_of_no_excess") if shows_after == "never" else ("reversing", None)
    assert (ended.state, ended.reason) == expected
    denied = "SELECT count(*) FROM app.operation WHERE subject_id = :id AND reason = 'desk_says_of_no_excess'"
    assert await house.books.value(denied, id=fx["id"]) == (shows_after == "never")


async def test_a_second_excess_whose_announcement_is_quicker_than_the_answer_is_waited_for(house: FxHouse) -> None:
    fx = await house.dealt()
    first = await reversal_of(house, fx, 40_000)
    await house.until(STATE, "settled", id=first["id"])
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(_minutes(5))
    house.desk.found_excess[house.number(fx)] = 60_000
    assert (await house.end_of(Process.LEARN_EXCESS, fx["id"])).state == "reversing"
    second = "SELECT amount_minor FROM app.fx WHERE excess_minor = 60000"
    assert await house.books.value(second) == 20_000


async def test_an_excess_announced_once_more_while_it_is_asked_about_is_asked_about_longer(house: FxHouse) -> None:
    fx = await house.dealt()
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(_minutes(40))
    assert await house.processes.learn_excess(fx["id"])
    await house.env.sleep(_minutes(50))
    house.desk.found_excess[house.number(fx)] = 10_000
    assert (await house.end_of(Process.LEARN_EXCESS, fx["id"])).state == "reversing"


def _minutes(count: int) -> timedelta:
    return timedelta(minutes=count)
