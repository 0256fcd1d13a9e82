"""Dates of the business are dates in Asia/Shanghai, whatever the clock's zone."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def business_date(instant: datetime) -> date:
    """The business date of an aware instant."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(SHANGHAI).date()


def month_start(day: date) -> date:
    """The first day of a date's month."""
    return day.replace(day=1)
