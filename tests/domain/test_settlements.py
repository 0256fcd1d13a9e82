"""Which day is settled when, by the working days of the mainland."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from calendars.library import library_calendar
from domain.calendars import Calendar
from domain.settlements import date_of_run, harmless_cell, through_date

CHINA = library_calendar("CN")


def day(text: str) -> date:
    return date.fromisoformat(f"2026-{text}")


@pytest.mark.parametrize(
    ("on", "n", "through"),
    [
        # Friday settles Thursday; Monday Friday and the weekend.
        ("11-20", 1, "11-19"), ("11-23", 1, "11-22"), ("11-21", 1, None), ("11-22", 1, None),
        # National Day 2026: off 10-01 to 10-07, and people work on Sunday 09-20 and Saturday 10-10.
        ("09-30", 1, "09-29"), ("10-01", 1, None), ("10-07", 1, None), ("10-08", 1, "10-07"), ("10-09", 1, "10-08"),
        ("10-10", 1, "10-09"), ("10-11", 1, None), ("10-12", 1, "10-11"), ("09-20", 1, "09-19"), ("09-21", 1, "09-20"),
        # T+2: of 10-08 and 09-30 is the second working day after 09-29; 10-09 settles until the end of the holiday.
        ("10-08", 2, "09-29"), ("10-09", 2, "10-07"), ("11-23", 2, "11-19"), ("11-24", 2, "11-22"),
    ],
)  # fmt: skip
def test_the_last_day_that_is_due(on: str, n: int, through: str | None) -> None:
    assert through_date(day(on), n, CHINA) == (None if through is None else day(through))


def test_every_day_is_settled_once_whatever_the_calendar() -> None:
    for n in (1, 2, 5):
        found = [
            through_date(date(2026, 1, 1 + i % 28).replace(month=1 + i // 28), n, Calendar("CN")) for i in range(300)
        ]
        due = [each for each in found if each is not None]
        assert due == sorted(set(due))


def test_a_run_knows_its_date_from_its_id_or_from_the_schedule() -> None:
    # 02:10 in Shanghai is the evening before in UTC.
    at = datetime(2026, 11, 22, 18, 10, tzinfo=UTC)
    assert date_of_run("settle-merchants/2026-11-20", at) == day("11-20")
    assert date_of_run("settle-merchants/scheduled-2026-11-22T18:10:00Z", at) == day("11-23")
    assert date_of_run("settle-merchants/2026-13-40", None) is None
    assert date_of_run("settle-merchants/x", None) is None


@pytest.mark.parametrize("text", ["=1+1", "+86", "-2", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert harmless_cell(text) == f"'{text}"
    assert harmless_cell("order-1=2") == "order-1=2"
