"""Windows of conversions in general: whatever the calendars, hours and closures are (A5.1a)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business_time import SHANGHAI, business_date
from domain.calendars import LONGEST_CLOSURE, BankHours, Calendar, Closure, HoursOnDays
from domain.fx_planning import FxOpening, plan_fx
from domain.planning import HORIZON, WINDOWS_A_PLAN, NoWindowError, Opening

_FIRST = date(2026, 1, 1)
_YEAR = frozenset({2026, 2027})
_DAYS = st.integers(min_value=0, max_value=120).map(lambda n: _FIRST + timedelta(days=n))
_MOMENTS = st.datetimes(
    min_value=datetime(2026, 1, 1),  # noqa: DTZ001 - the zone is drawn apart
    max_value=datetime(2026, 5, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, SHANGHAI]),
)
_CALENDARS = st.dictionaries(_DAYS, st.booleans(), max_size=40).map(lambda days: Calendar("CN", days, _YEAR))


@st.composite
def _hours(draw: st.DrawFn) -> BankHours:
    """Two ranges or one, on the working days; they may follow upon each other without a break."""
    minutes = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=4, unique=True).map(sorted))
    clock = [time(minute // 60, minute % 60) for minute in minutes]
    pairs = [clock[:2]] if len(clock) < 4 else [clock[:2], [clock[1 + draw(st.integers(0, 1))], clock[3]]]
    week = (1, 2, 3, 4, 5)
    return BankHours(ranges=tuple(HoursOnDays(weekdays=week, opens=first, closes=last) for first, last in pairs))


@st.composite
def _closures(draw: st.DrawFn) -> tuple[Closure, ...]:
    starts = draw(st.lists(_MOMENTS, max_size=3))
    return tuple(
        Closure(bank_code="FX-HBRB", from_at=at, until_at=at + timedelta(minutes=draw(st.integers(1, 5000))))
        for at in starts
    )


_OFFICES = st.builds(Opening, st.tuples(_CALENDARS), _hours(), _closures())
_OPENINGS = st.builds(FxOpening, _OFFICES, _OFFICES, st.tuples(_CALENDARS))


def _is_open(office: Opening, at: datetime) -> bool:
    """Written apart from the code under test: whether an office is open at one moment."""
    local = at.astimezone(SHANGHAI)
    return (
        all(calendar.is_working(local.date()) for calendar in office.calendars)
        and any(each.opens <= local.time() < each.closes for each in office.hours.on(local.date()))
        and not any(each.from_at <= at < each.until_at for each in office.closures)
    )


def _is_good(opening: FxOpening, value_date: date | None, at: datetime) -> bool:
    """Whether the centre has worked on some day from the value date to that of `at`."""
    today = business_date(at)
    first = value_date or today
    days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
    return value_date is None or any(all(each.is_working(day) for each in opening.value) for day in days)


def _may_convert(opening: FxOpening, value_date: date | None, at: datetime) -> bool:
    return _is_good(opening, value_date, at) and _is_open(opening.desk, at) and _is_open(opening.authority, at)


def _windows(opening: FxOpening, earliest: datetime, value_date: date | None) -> list[tuple[datetime, datetime]]:
    try:
        return [(each.opens_at, each.closes_at) for each in plan_fx(opening, earliest, value_date).windows]
    except NoWindowError:  # hours of desk and authority may have nothing in common
        return []


@given(_OPENINGS, _MOMENTS, st.none() | _DAYS)
def test_windows_are_in_order_apart_and_never_before_they_are_asked_for(
    opening: FxOpening, earliest: datetime, value_date: date | None
) -> None:
    found = _windows(opening, earliest, value_date)
    assert len(found) in (0, WINDOWS_A_PLAN)
    assert all(earliest <= opens < closes for opens, closes in found)
    assert all(closes < later for (_, closes), (later, _) in pairwise(found))


@given(_OPENINGS, _MOMENTS, st.none() | _DAYS, st.integers(0, 10**6))
def test_within_a_window_all_is_open_and_good_and_not_at_its_edges(
    opening: FxOpening, earliest: datetime, value_date: date | None, part: int
) -> None:
    for opens, closes in _windows(opening, earliest, value_date):
        inside = opens + (closes - opens) * part // (10**6 + 1)
        assert _may_convert(opening, value_date, inside)
        assert opens == earliest or not _may_convert(opening, value_date, opens - timedelta(microseconds=1))
        assert not _may_convert(opening, value_date, closes)


@given(_OPENINGS, _MOMENTS, st.none() | _DAYS, st.integers(0, 60 * 24 * 30))
def test_no_moment_at_which_it_may_be_converted_is_left_out(
    opening: FxOpening, earliest: datetime, value_date: date | None, minutes: int
) -> None:
    at = earliest + timedelta(minutes=minutes)
    found = _windows(opening, earliest, value_date)
    if _may_convert(opening, value_date, at):
        assert found
        assert at >= found[-1][1] or any(opens <= at < closes for opens, closes in found)


@given(_OPENINGS, _MOMENTS, st.none() | _DAYS, st.integers(min_value=1, max_value=5_000_000))
def test_who_comes_later_is_not_converted_earlier(
    opening: FxOpening, earliest: datetime, value_date: date | None, seconds: int
) -> None:
    first = _windows(opening, earliest, value_date)
    second = _windows(opening, earliest + timedelta(seconds=seconds), value_date)
    assert not first or not second or first[0][0] <= second[0][0]


@given(_OPENINGS, _MOMENTS, st.none() | _DAYS)
def test_it_waits_for_nothing_exactly_when_it_is_open(
    opening: FxOpening, earliest: datetime, value_date: date | None
) -> None:
    try:
        found = plan_fx(opening, earliest, value_date).windows
    except NoWindowError:
        return
    assert (found[0].waits_for is None) == _may_convert(opening, value_date, earliest)
    assert all(each.waits_for in ("fx_desk_window", "fx_authority_window") for each in found[1:])


@given(_OPENINGS, _MOMENTS, _DAYS)
def test_it_waits_for_its_value_date_exactly_when_it_would_be_converted_earlier_without_one(
    opening: FxOpening, earliest: datetime, value_date: date
) -> None:
    try:
        first = plan_fx(opening, earliest, value_date).first
    except NoWindowError:
        return
    without = plan_fx(opening, earliest).first
    assert without.opens_at <= first.opens_at
    assert (first.waits_for == "value_date") == (without.opens_at < first.opens_at)


@given(_OPENINGS, _MOMENTS, _DAYS, _CALENDARS)
def test_the_centre_does_not_matter_any_more_once_the_money_is_good(
    opening: FxOpening, earliest: datetime, value_date: date, other: Calendar
) -> None:
    if _is_good(opening, value_date, earliest):
        assert _windows(opening, earliest, value_date) == _windows(opening, earliest, None)
    assert _windows(opening, earliest, None) == _windows(replace(opening, value=(other,)), earliest, None)


_NINE_TO_FIVE = BankHours(ranges=(HoursOnDays(weekdays=(1, 2, 3, 4, 5), opens=time(9), closes=time(17)),))
_MAINLAND = Calendar("CN", {}, frozenset({2026}))


def _opening(*closures: Closure, hours: BankHours = _NINE_TO_FIVE, value: Calendar = _MAINLAND) -> FxOpening:
    return FxOpening(Opening((_MAINLAND,), hours, closures), Opening((_MAINLAND,), _NINE_TO_FIVE), (value,))


def test_nothing_open_within_the_horizon_is_said_and_not_guessed() -> None:
    start = datetime(2026, 3, 10, tzinfo=SHANGHAI)
    closures = tuple(
        Closure(bank_code="FX-HBRB", from_at=start + n * LONGEST_CLOSURE, until_at=start + (n + 1) * LONGEST_CLOSURE)
        for n in range(HORIZON // LONGEST_CLOSURE + 1)
    )
    with pytest.raises(NoWindowError):
        plan_fx(_opening(*closures), start)
    at_night = BankHours(ranges=(HoursOnDays(weekdays=(1,), opens=time(18), closes=time(20)),))
    with pytest.raises(NoWindowError):
        plan_fx(_opening(hours=at_night), start)
    with pytest.raises(NoWindowError):
        plan_fx(_opening(), start, start.date() + HORIZON)
    never = Calendar("US", {start.date() + timedelta(days=n): False for n in range(HORIZON.days)})
    with pytest.raises(NoWindowError):
        plan_fx(_opening(value=never), start, start.date())


def test_a_year_is_named_once_however_many_calendars_lack_it() -> None:
    value = Calendar("US", {date(2026, 12, 31): False})
    found = plan_fx(_opening(value=value), datetime(2026, 12, 31, 17, tzinfo=SHANGHAI), date(2026, 12, 31))
    assert found.first.rests_on == ("CN:2027", "US:2026", "US:2027")
    assert found.first.provisional


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        plan_fx(_opening(), datetime(2026, 3, 10, 9))  # noqa: DTZ001 - what is refused
