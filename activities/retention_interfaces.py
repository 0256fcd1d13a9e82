"""What the activities of the purge take and answer: days and counts, never what was kept."""

from __future__ import annotations

from datetime import date, datetime

from activities.interfaces import Message


class PurgePage(Message):
    """Purge what the next keys keep of what is due on a day; what was begun before comes first.

    When no key is left, erase the items of the next users who stay.
    """

    run_on: date
    now: datetime


class PurgedPage(Message):
    """`is_last`: there was nothing left to purge."""

    is_last: bool
    records: int = 0
    keys: int = 0
    items: int = 0


class PurgeReportRequest(Message):
    """Write down what the run of a day came to."""

    run_on: date
    now: datetime


class PurgeReported(Message):
    """The day's totals, of all its runs. `held`: due, and stopped by a hold or an order; `unfinished`: begun only.

    `erased`: items of users who stay, which no purpose needs any longer.
    """

    purged: int
    held: int
    unfinished: int
    erased: int = 0
