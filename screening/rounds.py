"""Screens users and payees outside of payouts: new ones, and all of them after a list has changed (P1.1.3, L11).

In small pages, the longest behind first, each committed by itself: a crash loses nothing, several workers do no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from domain.screening import MatchRow, ScreeningUnavailableError
from screening.lists import Screen
from screening.screener import Screener
from storage.screening import Subject

log = logging.getLogger(__name__)
ACTOR = "process:screening"


class SubjectBook(Protocol):
    """Who is due, and what was found (`storage.screening.ScreeningBook`)."""

    async def due(self, most: int, now: datetime) -> Sequence[Subject]: ...

    async def record(self, item: dict[str, Any]) -> None: ...


class ScreeningRounds:
    """`one` is a page; the sweeper asks for one in each of its rounds, which is the rate."""

    def __init__(
        self, book: SubjectBook, screener: Screener, subjects_a_round: int, clock: Callable[[], datetime]
    ) -> None:
        self._book = book
        self._screener = screener
        self._most = subjects_a_round
        self._clock = clock

    async def one(self) -> int:
        """Answers how many were screened. Without lists nobody is, and all stay due."""
        due = await self._book.due(self._most, self._clock())
        if not due:
            return 0
        try:
            screen = await self._screener.ready()
        except ScreeningUnavailableError as error:
            log.warning("nobody is screened", extra={"reason": str(error)})
            return 0
        for subject in due:
            await self._book.record(await self._screened(screen, subject))
        return len(due)

    async def _screened(self, screen: Screen, subject: Subject) -> dict[str, Any]:
        rows: list[MatchRow] = []
        fault: str | None = None
        if subject.token is not None:
            try:
                rows = await self._screener.compare(screen, subject, ACTOR)
            except ScreeningUnavailableError:
                fault = "not_compared"
        return {
            "now": self._clock().isoformat(),
            "subject_id": subject.subject_id,
            "changes": subject.changes,
            "version": screen.version,
            "fault": fault,
            "matches": [row.model_dump(mode="json") for row in rows],
            "stop_user": any(row.document == "agrees" for row in rows),
        }
