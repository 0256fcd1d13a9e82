"""Limits per transaction, day and month (A2.5c): who is limited to what, and what a payment takes of it.

The windows are days and months in Asia/Shanghai of a passed instant. The database adds up and refuses atomically;
this module says only what is to be counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.business_time import business_date, month_start
from domain.errors import ErrorCode, RefusedError


class LimitSet(BaseModel):
    """Caps in minor units of one currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_transaction_minor: int = Field(gt=0)
    per_day_minor: int = Field(gt=0)
    per_month_minor: int = Field(gt=0)


class LimitWindow(BaseModel):
    """One counter that a payment takes from: `subject` such as `user:usr_…`, and the cap it may not pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    window_kind: Literal["day", "month"]
    window_start: date
    cap_minor: int


def windows_to_take(limits: Sequence[tuple[str, LimitSet]], amount_minor: int, instant: datetime) -> list[LimitWindow]:
    """The counters of a payment; refuses an amount that is over a limit of one transaction."""
    today = business_date(instant)
    windows: list[LimitWindow] = []
    for subject, caps in limits:
        if amount_minor > caps.per_transaction_minor:
            raise RefusedError(ErrorCode.LIMIT_PER_TRANSACTION, field="amount_minor")
        windows.append(
            LimitWindow(subject=subject, window_kind="day", window_start=today, cap_minor=caps.per_day_minor)
        )
        windows.append(
            LimitWindow(
                subject=subject,
                window_kind="month",
                window_start=month_start(today),
                cap_minor=caps.per_month_minor,
            )
        )
    return windows
