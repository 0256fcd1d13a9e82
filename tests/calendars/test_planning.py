"""When payouts leave and arrive; every expected instant was written down by hand from the published calendars."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendars.library import library_calendar
from domain.business_time import SHANGHAI, business_date
from domain.calendars import LONGEST_CLOSURE, BankHours, CalendarFile, Closure, LoadedCalendars
from domain.errors import RefusedError
from domain.planning import HORIZON, NoWindowError
from tests.calendars.planned import NEXT_DAY, REAL_TIME, ROUTES, TWO_HOURS, planned, shanghai, words

# route, speed, accepted; leaves, arrives (all in Asia/Shanghai).
_CASES = [
    # Friday before Spring Festival 2026: the Saturday is a make-up day, the holiday lasts until 23 February.
    ("CN-CNY", NEXT_DAY, "2026-02-13 16:59:59", "2026-02-13 16:59:59", "2026-02-14 17:00:00"),
    ("CN-CNY", NEXT_DAY, "2026-02-13 17:00:00", "2026-02-14 08:30:00", "2026-02-24 17:00:00"),
    ("CN-CNY", NEXT_DAY, "2026-02-14 16:59:59", "2026-02-14 16:59:59", "2026-02-24 17:00:00"),
    ("CN-CNY", NEXT_DAY, "2026-02-14 17:00:00", "2026-02-24 08:30:00", "2026-02-25 17:00:00"),
    # National Day 2026: 1 to 7 October, and Saturday 10 October is worked.
    ("CN-CNY", NEXT_DAY, "2026-09-30 16:59:59", "2026-09-30 16:59:59", "2026-10-08 17:00:00"),
    ("CN-CNY", NEXT_DAY, "2026-09-30 17:00:00", "2026-10-08 08:30:00", "2026-10-09 17:00:00"),
    ("CN-CNY", NEXT_DAY, "2026-10-09 12:00:00", "2026-10-09 12:00:00", "2026-10-10 17:00:00"),
    # What is left of two hours at the close goes on when the bank opens again.
    ("CN-CNY", TWO_HOURS, "2026-10-09 14:59:59", "2026-10-09 14:59:59", "2026-10-09 16:59:59"),
    ("CN-CNY", TWO_HOURS, "2026-10-09 16:00:00", "2026-10-09 16:00:00", "2026-10-10 09:30:00"),
    ("CN-CNY", TWO_HOURS, "2026-09-30 16:30:00", "2026-09-30 16:30:00", "2026-10-08 10:00:00"),
    ("CN-CNY", TWO_HOURS, "2026-10-03 12:00:00", "2026-10-08 08:30:00", "2026-10-08 10:30:00"),
    # Around the clock, on a holiday at night.
    ("CN-CNY", REAL_TIME, "2026-10-01 03:00:00", "2026-10-01 03:00:00", "2026-10-01 03:01:00"),
    # Hong Kong does not work the mainland's make-up Saturday, and has Double Ninth on Monday, 19 October.
    ("HK", NEXT_DAY, "2026-10-09 14:59:59", "2026-10-09 14:59:59", "2026-10-12 16:30:00"),
    ("HK", NEXT_DAY, "2026-10-09 15:00:00", "2026-10-12 09:00:00", "2026-10-13 16:30:00"),
    ("HK", NEXT_DAY, "2026-10-16 14:00:00", "2026-10-16 14:00:00", "2026-10-20 16:30:00"),
    # Good Friday and Easter in Hong Kong, Tomb-Sweeping Day on both sides.
    ("HK", TWO_HOURS, "2026-04-02 15:30:00", "2026-04-02 15:30:00", "2026-04-08 10:00:00"),
    # All Souls' Day in Macao is a Monday; Retrocession in Taiwan is kept on Monday, 26 October.
    ("MO", NEXT_DAY, "2026-10-30 10:00:00", "2026-10-30 10:00:00", "2026-11-03 16:30:00"),
    ("TW", NEXT_DAY, "2026-10-23 10:00:00", "2026-10-23 10:00:00", "2026-10-27 15:30:00"),
    # The mainland is closed when Taiwan works, and the other way round: 9 October is Taiwan's.
    ("TW", NEXT_DAY, "2026-10-05 10:00:00", "2026-10-08 09:00:00", "2026-10-12 15:30:00"),
]


@pytest.mark.parametrize(("route", "speed", "accepted", "leaves", "arrives"), _CASES)
def test_a_payout_leaves_and_arrives_by_the_calendars_of_its_route(
    route: str, speed: str, accepted: str, leaves: str, arrives: str
) -> None:
    found = planned(route, speed, accepted)
    assert (words(found.send_at), words(found.arrives_at)) == (leaves, arrives)
    assert not found.provisional


def test_what_reaches_into_an_unpublished_year_is_provisional_and_says_why() -> None:
    found = planned("HK", NEXT_DAY, "2026-12-31 15:00:00")
    assert (words(found.send_at), words(found.arrives_at)) == ("2027-01-04 09:00:00", "2027-01-05 16:30:00")
    assert found.rests_on == ("CN:2027", "HK:2027")
    assert planned("CN-CNY", NEXT_DAY, "2026-12-31 16:59:59").provisional
    assert not planned("CN-CNY", NEXT_DAY, "2026-12-30 16:59:59").provisional
    assert not planned("CN-CNY", REAL_TIME, "2027-06-01 12:00:00").provisional


def test_a_year_that_was_loaded_is_no_longer_provisional() -> None:
    loaded = LoadedCalendars(
        1,
        days={"CN": {date(2027, 1, 1): False, date(2027, 1, 4): False, date(2027, 1, 2): True}},
        published={"CN": frozenset({2027})},
    )
    found = planned("CN-CNY", NEXT_DAY, "2026-12-31 17:00:00", loaded)
    assert (words(found.send_at), words(found.arrives_at)) == ("2027-01-02 08:30:00", "2027-01-05 17:00:00")
    assert not found.provisional
    # Stated as a whole: what the library thought of the year is gone.
    assert words(planned("CN-CNY", NEXT_DAY, "2027-05-03 09:00:00", loaded).send_at) == "2027-05-03 09:00:00"


def test_a_bank_may_be_shut_on_a_make_up_day_that_others_work() -> None:
    loaded = LoadedCalendars(1, days={"HBRB": {date(2026, 10, 10): False}})
    assert words(planned("CN-CNY", NEXT_DAY, "2026-10-09 12:00:00", loaded).arrives_at) == "2026-10-12 17:00:00"
    other = planned("CN-CNY", NEXT_DAY, "2026-10-09 12:00:00", loaded, bank="WLWB")
    assert words(other.arrives_at) == "2026-10-10 17:00:00"


def test_a_bank_has_hours_of_its_own_also_on_a_make_up_day() -> None:
    hours = BankHours.model_validate(
        {"ranges": [
            {"weekdays": [1, 2, 3, 4, 5], "opens": "09:00", "closes": "12:00"},
            {"weekdays": [1, 2, 3, 4, 5], "opens": "13:30", "closes": "16:00"},
        ]}
    )  # fmt: skip
    loaded = LoadedCalendars(1, hours={"HBRB": hours})
    lunch = planned("CN-CNY", TWO_HOURS, "2026-10-09 11:30:00", loaded)
    assert (words(lunch.send_at), words(lunch.arrives_at)) == ("2026-10-09 11:30:00", "2026-10-09 15:00:00")
    assert words(planned("CN-CNY", NEXT_DAY, "2026-10-09 16:00:00", loaded).send_at) == "2026-10-10 09:00:00"


def test_a_closed_bank_takes_nothing_at_any_speed() -> None:
    closure = Closure(
        bank_code="HBRB", from_at=shanghai("2026-10-09 12:00:00"), until_at=shanghai("2026-10-11 12:00:00")
    )
    loaded = LoadedCalendars(1, closures=(closure,))
    assert words(planned("CN-CNY", REAL_TIME, "2026-10-09 13:00:00", loaded).send_at) == "2026-10-11 12:00:00"
    assert words(planned("CN-CNY", REAL_TIME, "2026-10-09 13:00:00", loaded, "WLWB").send_at) == "2026-10-09 13:00:00"
    two = planned("CN-CNY", TWO_HOURS, "2026-10-09 11:00:00", loaded)
    assert (words(two.send_at), words(two.arrives_at)) == ("2026-10-09 11:00:00", "2026-10-12 09:30:00")
    next_day = planned("CN-CNY", NEXT_DAY, "2026-10-09 12:00:00", loaded)
    assert (words(next_day.send_at), words(next_day.arrives_at)) == ("2026-10-12 08:30:00", "2026-10-13 17:00:00")


def test_a_speed_that_a_route_does_not_offer_is_refused() -> None:
    with pytest.raises(RefusedError, match="SPEED_NOT_OFFERED"):
        planned("TW", REAL_TIME, "2026-10-09 12:00:00")


def test_nothing_open_within_the_horizon_is_said_and_not_guessed() -> None:
    start = shanghai("2026-10-09 12:00:00")
    closures = tuple(
        Closure(bank_code="HBRB", from_at=start + n * LONGEST_CLOSURE, until_at=start + (n + 1) * LONGEST_CLOSURE)
        for n in range(HORIZON // LONGEST_CLOSURE + 1)
    )
    with pytest.raises(NoWindowError):
        planned("CN-CNY", REAL_TIME, "2026-10-09 12:00:00", LoadedCalendars(1, closures=closures))


_MOMENTS = st.datetimes(
    min_value=shanghai("2025-01-01 00:00:00").replace(tzinfo=None),
    max_value=shanghai("2026-12-20 00:00:00").replace(tzinfo=None),
    timezones=st.just(SHANGHAI),
)  # fmt: skip
_OFFERS = st.sampled_from([(route.code, speed) for route in ROUTES.routes for speed in route.speeds])


@given(_MOMENTS, _OFFERS)
def test_no_payout_leaves_early_or_while_its_bank_is_shut(earliest: object, offer: tuple[str, str]) -> None:
    text = str(earliest)[:26].removesuffix("+08:00")
    found = planned(offer[0], offer[1], text)
    assert shanghai(text) <= found.send_at < found.arrives_at
    windows = found.windows
    assert all(first.closes_at <= later.opens_at for first, later in pairwise(windows))
    if offer[1] == REAL_TIME:
        return
    route = ROUTES.route(offer[0])
    for each in windows:
        day = business_date(each.opens_at)
        assert all(library_calendar(code).is_working(day) for code in route.calendars)
        local = each.opens_at.astimezone(SHANGHAI).time()
        assert route.hours.opens <= local < route.hours.closes
        assert business_date(each.closes_at - timedelta(microseconds=1)) == day


@given(_MOMENTS, _OFFERS, st.integers(min_value=1, max_value=500_000))
def test_who_is_accepted_later_does_not_arrive_earlier(earliest: object, offer: tuple[str, str], later: int) -> None:
    text = str(earliest)[:19]
    first = planned(offer[0], offer[1], text)
    second = planned(offer[0], offer[1], str(shanghai(text) + timedelta(seconds=later))[:19])
    assert first.send_at <= second.send_at
    assert first.arrives_at <= second.arrives_at


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"years": [{"calendar": "CN", "year": 2027, "days": [{"day": "2026-12-31", "working": False, "name": "x"}]}]},
         "2026-12-31 is not in 2027"),
        ({"corrections": [{"calendar": "CN", "day": "2026-12-31", "working": False, "name": "x"}] * 2}, "there twice"),
        ({"corrections": [{"calendar": "XX", "day": "2026-12-31", "working": False, "name": "x"}]}, "calendar"),
        ({"corrections": [{"calendar": "CN", "day": "2026-02-30", "working": False, "name": "x"}]}, "day"),
        ({"years": [{"calendar": "CN", "year": 2027, "days": [{"day": "2027-01-02", "working": True, "name": "x"}]}]},
         "at least one holiday"),
        ({}, "neither years nor corrections"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_right_says_what_is_wrong(change: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CalendarFile.model_validate({"note": "2027", **change})


def test_hours_that_overlap_or_lack_monday_are_refused() -> None:
    morning = {"weekdays": [1], "opens": "09:00", "closes": "12:00"}
    with pytest.raises(ValueError, match="overlap"):
        BankHours.model_validate({"ranges": [morning, {**morning, "opens": "11:59", "closes": "13:00"}]})
    with pytest.raises(ValueError, match="Monday"):
        BankHours.model_validate({"ranges": [{**morning, "weekdays": [2]}]})
