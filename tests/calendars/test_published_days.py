"""The days that the libraries hold, against the notices as they were published."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from calendars.library import library_calendar

# The State Council's notice on the holidays of 2026: days off, and the weekends worked for them.
_MAINLAND_OFF = (
    ("2026-01-01", "2026-01-03"), ("2026-02-15", "2026-02-23"), ("2026-04-04", "2026-04-06"),
    ("2026-05-01", "2026-05-05"), ("2026-06-19", "2026-06-21"), ("2026-09-25", "2026-09-27"),
    ("2026-10-01", "2026-10-07"),
)  # fmt: skip
_MAINLAND_WORKED = ("2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10")
# General holidays of Hong Kong in 2026 from Monday to Friday.
_HONG_KONG_OFF = (
    "2026-01-01", "2026-02-17", "2026-02-18", "2026-02-19", "2026-04-03", "2026-04-06", "2026-04-07", "2026-05-01",
    "2026-05-25", "2026-06-19", "2026-07-01", "2026-10-01", "2026-10-19", "2026-12-25",
)  # fmt: skip
# Public holidays of Macao in 2026 from Monday to Friday.
_MACAO_OFF = (
    "2026-01-01", "2026-02-17", "2026-02-18", "2026-02-19", "2026-04-03", "2026-05-01", "2026-06-19", "2026-10-01",
    "2026-10-02", "2026-11-02", "2026-12-08", "2026-12-22", "2026-12-24", "2026-12-25",
)  # fmt: skip
# The calendar of Taiwan's government offices for 2026, from Monday to Friday, with Labour Day, on which banks are shut.
_TAIWAN_OFF = (
    "2026-01-01", "2026-02-16", "2026-02-17", "2026-02-18", "2026-02-19", "2026-02-20", "2026-02-27", "2026-04-03",
    "2026-04-06", "2026-05-01", "2026-06-19", "2026-09-25", "2026-09-28", "2026-10-09", "2026-10-26", "2026-12-25",
)  # fmt: skip

# Days from Monday to Friday on which the Federal Reserve Banks are shut: a Sunday's holiday is kept on Monday, a
# Saturday's (4 July 2026, 19 June and 25 December 2027) on no other day.
_UNITED_STATES_OFF = {
    2026: (
        "2026-01-01", "2026-01-19", "2026-02-16", "2026-05-25", "2026-06-19", "2026-09-07", "2026-10-12", "2026-11-11",
        "2026-11-26", "2026-12-25",
    ),
    2027: (
        "2027-01-01", "2027-01-18", "2027-02-15", "2027-05-31", "2027-07-05", "2027-09-06", "2027-10-11", "2027-11-11",
        "2027-11-25",
    ),
}  # fmt: skip
# The Cabinet Office's national holidays and substitutes from Monday to Friday, and the days of banks around New Year.
_JAPAN_OFF = {
    2026: (
        "2026-01-01", "2026-01-02", "2026-01-12", "2026-02-11", "2026-02-23", "2026-03-20", "2026-04-29", "2026-05-04",
        "2026-05-05", "2026-05-06", "2026-07-20", "2026-08-11", "2026-09-21", "2026-09-22", "2026-09-23", "2026-10-12",
        "2026-11-03", "2026-11-23", "2026-12-31",
    ),
    2027: (
        "2027-01-01", "2027-01-11", "2027-02-11", "2027-02-23", "2027-03-22", "2027-04-29", "2027-05-03", "2027-05-04",
        "2027-05-05", "2027-07-19", "2027-08-11", "2027-09-20", "2027-09-23", "2027-10-11", "2027-11-03", "2027-11-23",
        "2027-12-31",
    ),
}  # fmt: skip


def days_of_2026() -> list[date]:
    return [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]


def test_the_mainland_is_closed_and_works_as_the_notice_for_2026_says() -> None:
    off = {
        date.fromisoformat(first) + timedelta(days=n)
        for first, last in _MAINLAND_OFF
        for n in range((date.fromisoformat(last) - date.fromisoformat(first)).days + 1)
    }
    worked = {date.fromisoformat(day) for day in _MAINLAND_WORKED}
    calendar = library_calendar("CN")
    expected = {day for day in days_of_2026() if day in worked or (day.isoweekday() <= 5 and day not in off)}
    assert {day for day in days_of_2026() if calendar.is_working(day)} == expected


@pytest.mark.parametrize(("code", "off"), [("HK", _HONG_KONG_OFF), ("MO", _MACAO_OFF), ("TW", _TAIWAN_OFF)])
def test_the_others_are_closed_on_their_own_holidays_and_on_every_weekend(code: str, off: tuple[str, ...]) -> None:
    calendar = library_calendar(code)
    expected = {date.fromisoformat(day) for day in off}
    closed = {day for day in days_of_2026() if day.isoweekday() <= 5 and not calendar.is_working(day)}
    assert closed == expected
    assert not any(calendar.is_working(day) for day in days_of_2026() if day.isoweekday() > 5)


@pytest.mark.parametrize(("code", "off"), [("US", _UNITED_STATES_OFF), ("JP", _JAPAN_OFF)])
@pytest.mark.parametrize("year", [2026, 2027])
def test_a_centre_of_a_currency_is_closed_when_its_banks_do_not_settle(
    code: str, off: dict[int, tuple[str, ...]], year: int
) -> None:
    calendar = library_calendar(code)
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(365)]
    closed = {day.isoformat() for day in days if day.isoweekday() <= 5 and not calendar.is_working(day)}
    assert closed == set(off[year])
    assert not any(calendar.is_working(day) for day in days if day.isoweekday() > 5)
    assert year in calendar.published


def test_a_year_that_nobody_has_published_is_a_guess_with_the_statutory_days() -> None:
    mainland = library_calendar("CN")
    assert 2026 in mainland.published
    assert 2027 not in mainland.published
    assert not mainland.is_working(date(2027, 1, 1))
    assert all(2026 in library_calendar(code).published for code in ("HK", "MO", "TW"))
    assert not any(2027 in library_calendar(code).published for code in ("HK", "MO", "TW"))


def test_a_leap_day_works_like_any_other() -> None:
    assert library_calendar("CN").is_working(date(2028, 2, 29))


def test_fifteen_working_days_pass_over_the_holidays_of_autumn_2026() -> None:
    day, left = date(2026, 9, 20), 15
    while left:
        day += timedelta(days=1)
        left -= library_calendar("CN").is_working(day)
    assert day == date(2026, 10, 16)
