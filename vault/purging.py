"""The purge of what no clock keeps any longer, in steps that a crash may part (P3.3b).

Claimed in the books, so that a hold comes before or too late; put into the erasure list; the keys destroyed; the
records taken away. Whatever was begun is finished by the next page, today's or tomorrow's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.business_time import SHANGHAI, business_date
from domain.retention import PurgeReport, PurgeTooEarlyError, RetentionRules
from vault.due_erasures import DueErasures
from vault.erasures import MOST_IDS, Erasure, ErasureDetail, erasure_id
from vault.forgetting import Forgets
from vault.retention import RECORDS_A_KEY

KEYS_A_PAGE = MOST_IDS // RECORDS_A_KEY

_CLAIM = sa.text("SELECT record_id, key_id, purge_on FROM retention.claim(:on, CAST(:rules AS jsonb), :most)")
_REPORT = sa.text("SELECT retention.report(:on, CAST(:rules AS jsonb), :at)")


class PagePurged(NamedTuple):
    """How much one page took away; nothing: there is no more. `items`: of users who stay."""

    records: int
    keys: int
    items: int = 0


class RetentionPurge:
    """Purges by days; `main` is an engine of the app role. May be run again at any time, also by two at once."""

    def __init__(self, main: AsyncEngine, forgets: Forgets, clock: Callable[[], datetime]) -> None:
        self._main = main.execution_options(isolation_level="AUTOCOMMIT")
        self._forgets, self._clock = forgets, clock
        self._due = DueErasures(main, forgets)

    async def purge_due(self, on: date, rules: RetentionRules) -> PurgeReport:
        """All of what is due on a day, and the report of it. Raises PurgeTooEarlyError."""
        while any(await self.page(on, rules, self._clock())):
            pass
        return await self.report(on, rules, self._clock())

    async def page(self, on: date, rules: RetentionRules, at: datetime, most: int = KEYS_A_PAGE) -> PagePurged:
        """The records of the next keys, then the items of the next users who stay.

        Raises PurgeTooEarlyError if the day has not come at `at`.
        """
        if on > business_date(at):
            raise PurgeTooEarlyError("a purge is run for a day that has come")
        claimed = await self._claim(on, rules, most)
        if not claimed:
            return PagePurged(0, 0, await self._due.page(on, rules, at))
        await self._forgets.apply(_entry(at, claimed))
        return PagePurged(len(claimed), len({row.key_id for row in claimed}))

    async def report(self, on: date, rules: RetentionRules, at: datetime) -> PurgeReport:
        """Writes down what the day's run came to, and what is due and held."""
        asked = {"on": on, "rules": _clocks(rules), "at": at}
        async with self._main.connect() as connection:
            answer = (await connection.execute(_REPORT, asked)).scalar_one()
        return PurgeReport.model_validate(json.loads(answer) if isinstance(answer, str) else answer)

    async def _claim(self, on: date, rules: RetentionRules, most: int) -> Sequence[sa.Row[Any]]:
        asked = {"on": on, "rules": _clocks(rules), "most": min(most, KEYS_A_PAGE)}
        async with self._main.connect() as connection:
            return (await connection.execute(_CLAIM, asked)).all()


def _entry(at: datetime, claimed: Sequence[sa.Row[Any]]) -> Erasure:
    """The same for the same records, claimed on the same day: a second attempt adds no second entry."""
    on: date = claimed[0].purge_on
    record_ids = sorted(row.record_id for row in claimed)
    key_ids = sorted({row.key_id for row in claimed})
    digest = hashlib.sha256("\x00".join(record_ids).encode("ascii")).hexdigest()
    return Erasure(
        entry_id=erasure_id(datetime.combine(on, time(), SHANGHAI), "retention", digest),
        kind="retention",
        subject_id=f"purge-retained/{on.isoformat()}",
        detail=ErasureDetail(record_ids=tuple(record_ids), key_ids=tuple(key_ids)),
        at=at,
    )


def _clocks(rules: RetentionRules) -> str:
    return rules.model_dump_json()
