"""By when a user's request is answered (P3.4, P4.4b): working days from its receipt, whatever its checks take (Q3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from domain.business_time import SHANGHAI, business_date
from domain.calendars import Calendar, working_day_after, working_day_before
from domain.closing import ClosingRules


@dataclass(frozen=True)
class DueDate:
    """The last day on which an answer is in time, and the day on which people are told that it draws near.

    `rests_on`: the unpublished years of the calendar, as in `CN:2027`, on which it rests; with any it is provisional.
    """

    due_on: date
    escalate_on: date
    rests_on: tuple[str, ...]

    @property
    def provisional(self) -> bool:
        """Whether it rests on a year that is not published."""
        return bool(self.rests_on)

    @property
    def escalates_at(self) -> datetime:
        """The first moment, in Asia/Shanghai, of the day of escalation."""
        return _start_of(self.escalate_on)

    @property
    def overdue_from(self) -> datetime:
        """The first moment that is too late."""
        return _start_of(self.due_on + timedelta(days=1))


def due_date(received_at: datetime, rules: ClosingRules, calendar: Calendar) -> DueDate:
    """Of a request that was received at an aware instant, by the general calendar in force."""
    received_on = business_date(received_at)
    due_on = working_day_after(received_on, rules.due_working_days, calendar)
    years = range(received_on.year, due_on.year + 1)
    return DueDate(
        due_on=due_on,
        escalate_on=working_day_before(due_on, rules.escalate_working_days_before, calendar),
        rests_on=tuple(f"{calendar.code}:{year}" for year in years if year not in calendar.published),
    )


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=SHANGHAI).astimezone(UTC)
