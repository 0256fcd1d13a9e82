"""The lists as they are in force, kept ready for comparison, and whether they may be relied on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from domain.screening import Facts, ListedEntry, Match, ScreeningRules, ScreeningUnavailableError
from screening.matcher import Matcher

log = logging.getLogger(__name__)


class Standing(Protocol):
    """The last version of a list (`storage.screening.ListStanding`)."""

    @property
    def code(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def confirmed_at(self) -> datetime: ...


class ListSource(Protocol):
    """Where the lists are (`storage.screening.ScreeningBook`)."""

    async def lists(self) -> Sequence[Standing]: ...

    async def entries(self) -> tuple[int, list[ListedEntry]]: ...


class ListScreening:
    """Compares names with the lists as they are in force; one a process.

    `clock` answers the present: whether a list is stale is a question of today, whatever instant a process asks about.
    """

    def __init__(self, source: ListSource, rules: ScreeningRules, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._rules = rules
        self._clock = clock
        self._version = -1
        self._matcher: Matcher | None = None
        self._loading = asyncio.Lock()

    async def ready(self) -> Screen:
        """The lists of this moment. Raises ScreeningUnavailableError."""
        standings = await self._source.lists()
        self._refuse_stale(standings)
        version = max(standing.version for standing in standings)
        async with self._loading:
            if self._matcher is None or self._version != version:
                await self._load()
            assert self._matcher is not None  # noqa: S101 - it was loaded
            return Screen(self._matcher, self._version)

    def _refuse_stale(self, standings: Sequence[Standing]) -> None:
        confirmed = {standing.code: standing.confirmed_at for standing in standings}
        now = self._clock()
        for code, rule in self._rules.lists.items():
            if code not in confirmed:
                raise ScreeningUnavailableError(f"{code} was never loaded")
            if now - confirmed[code] > timedelta(hours=rule.fresh_hours):
                raise ScreeningUnavailableError(f"{code} was not confirmed for {rule.fresh_hours} hours")

    async def _load(self) -> None:
        version, entries = await self._source.entries()
        # Reading ten thousand names takes a second or so, which nothing else should have to wait for.
        self._matcher = await asyncio.to_thread(
            Matcher, entries, self._rules.thresholds, most_matches=self._rules.most_matches
        )
        self._version = version
        log.info("screening lists are ready", extra={"version": version, "entries": len(entries)})


class Screen:
    """One state of the lists, by which all names of one question are compared."""

    def __init__(self, matcher: Matcher, version: int) -> None:
        self._matcher = matcher
        self.version = version

    def matches(self, name: str, facts: Facts) -> list[Match]:
        """What a name hits, those that were cleared included."""
        return self._matcher.matches(name, facts)
