"""By when a request is answered: fifteen working days of the mainland after the day of receipt (P3.4, P4.4b, Q3)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from calendars.library import library_calendar
from config.policy import read_policy
from domain.business_time import SHANGHAI
from domain.calendars import Calendar, working_day_after, working_day_before
from domain.closing import ClosingRules
from domain.due_dates import DueDate, due_date
from domain.policy import Policy

CHINA = library_calendar("CN")
RULES = Policy.model_validate(read_policy()).closing


def received(text: str) -> DueDate:
    """Of a request received at noon of a day."""
    return due_date(datetime.fromisoformat(f"{text} 12:00:00").replace(tzinfo=SHANGHAI), RULES, CHINA)


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("received_on", "due_on", "escalate_on"),
    [
        # Three ordinary weeks, from a Monday, and from a weekend to the same day as from the Friday before it.
        ("2026-07-06", "2026-07-27", "2026-07-22"),
        ("2026-07-10", "2026-07-31", "2026-07-28"),
        ("2026-07-11", "2026-07-31", "2026-07-28"),
        ("2026-07-12", "2026-07-31", "2026-07-28"),
        # National Day 2026: off 09-25 to 09-27 and 10-01 to 10-07; Sunday 09-20 and Saturday 10-10 are worked.
        # 09-20 to 24 are five, 09-28 to 30 three, 10-08 to 10 three, 10-12 to 15 four.
        ("2026-09-18", "2026-10-15", "2026-10-12"),
        # Received on the make-up Sunday itself: it does not count.
        ("2026-09-20", "2026-10-16", "2026-10-13"),
        # Due on a make-up Saturday, and escalated before the holiday; due behind it, and escalated on it.
        ("2026-09-14", "2026-10-10", "2026-09-30"),
        ("2026-09-16", "2026-10-13", "2026-10-09"),
        ("2026-09-17", "2026-10-14", "2026-10-10"),
        # Received in the holidays: the first day is 10-08.
        ("2026-10-01", "2026-10-27", "2026-10-22"),
        ("2026-10-07", "2026-10-27", "2026-10-22"),
        # Spring Festival 2026: off 02-15 to 02-23; Saturdays 02-14 and 02-28 are worked.
        # 02-09 to 14 are six, 02-24 to 28 five, 03-02 to 05 four.
        ("2026-02-06", "2026-03-05", "2026-03-02"),
        # From one published year into the next: 2026-01-01 to 03 off, Sunday 01-04 worked.
        ("2025-12-22", "2026-01-13", "2026-01-08"),
    ],
)  # fmt: skip
def test_a_request_is_due_after_fifteen_working_days_and_escalated_three_before(
    received_on: str, due_on: str, escalate_on: str
) -> None:
    found = received(received_on)
    assert (found.due_on, found.escalate_on) == (day(due_on), day(escalate_on))
    assert not found.provisional


def test_the_day_of_receipt_is_that_of_shanghai() -> None:
    # 23:59:59 and 00:00:00 in Shanghai; both on the same day in UTC.
    last = datetime(2026, 9, 18, 15, 59, 59, tzinfo=UTC)
    assert due_date(last, RULES, CHINA).due_on == day("2026-10-15")
    assert due_date(datetime(2026, 9, 20, 16, tzinfo=UTC), RULES, CHINA).due_on == day("2026-10-19")
    assert due_date(datetime(2026, 9, 20, 15, 59, 59, tzinfo=UTC), RULES, CHINA).due_on == day("2026-10-16")
    with pytest.raises(ValueError, match="zone"):
        due_date(datetime(2026, 9, 18), RULES, CHINA)  # noqa: DTZ001 - that is the point


def test_it_is_escalated_from_the_first_moment_of_its_day_and_overdue_when_the_due_day_is_over() -> None:
    found = received("2026-09-18")
    assert found.escalates_at == datetime(2026, 10, 11, 16, tzinfo=UTC)
    assert found.overdue_from == datetime(2026, 10, 15, 16, tzinfo=UTC)


def test_what_reaches_into_an_unpublished_year_is_provisional_and_says_why() -> None:
    guessed = Calendar("CN", CHINA.days, frozenset({2026}))
    found = due_date(datetime(2026, 12, 21, 4, tzinfo=UTC), RULES, guessed)
    assert found.provisional
    assert found.rests_on == ("CN:2027",)
    # As soon as the year is published, the date is another one and firm.
    published = guessed.corrected({day("2027-01-01"): False, day("2027-01-04"): False}, [2027])
    again = due_date(datetime(2026, 12, 21, 4, tzinfo=UTC), RULES, published)
    assert (again.due_on, again.rests_on) == (day("2027-01-13"), ())


def test_the_rules_are_those_of_the_agreement_and_escalate_before_it_is_too_late() -> None:
    assert (RULES.due_working_days, RULES.escalate_working_days_before) == (15, 3)
    with pytest.raises(ValidationError, match="before it is due"):
        ClosingRules.model_validate(RULES.model_dump() | {"escalate_working_days_before": 15})


def test_days_are_counted_from_one_on() -> None:
    for count in (0, -1):
        with pytest.raises(ValueError, match="one"):
            working_day_after(day("2026-07-06"), count, CHINA)
        with pytest.raises(ValueError, match="one"):
            working_day_before(day("2026-07-06"), count, CHINA)


DAYS = st.dates(day("2025-01-01"), day("2027-12-31"))
CALENDARS = st.dictionaries(DAYS, st.booleans(), max_size=60).map(lambda days: Calendar("CN", days))


@given(DAYS, st.integers(1, 40), CALENDARS)
def test_exactly_so_many_working_days_lie_behind_the_day_up_to_and_with_the_last(
    start: date, count: int, calendar: Calendar
) -> None:
    found = working_day_after(start, count, calendar)
    passed = [start + timedelta(days=n) for n in range(1, (found - start).days + 1)]
    assert calendar.is_working(found)
    assert sum(calendar.is_working(each) for each in passed) == count


@given(DAYS, st.integers(1, 40), CALENDARS)
def test_back_from_a_working_day_leads_to_where_one_came_from(start: date, count: int, calendar: Calendar) -> None:
    first = working_day_after(start, 1, calendar)
    assert working_day_before(working_day_after(first, count, calendar), count, calendar) == first


@given(DAYS, DAYS, CALENDARS)
def test_who_asks_earlier_is_never_answered_later(one: date, other: date, calendar: Calendar) -> None:
    earlier, later = sorted((one, other))
    assert working_day_after(earlier, 15, calendar) <= working_day_after(later, 15, calendar)
