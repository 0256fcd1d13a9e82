"""Looks after closures that a crash left unattended, and tells those whose obstacles have changed.

A round of the sweeper. Money that came to users who have left becomes a case. Any number of workers may do it at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.logging import current_request_id
from storage.closures import ClosureBook, UnattendedClosure
from storage.unattended import record_revival
from workflows import names
from workflows.messages import ClosureOrder
from workflows.starting import Processes

log = logging.getLogger(__name__)

LATE_MONEY_EVERY = timedelta(minutes=10)


class ClosureSweeper:
    """`one` is a round."""

    def __init__(
        self,
        engine: AsyncEngine,
        processes: Processes,
        clock: Callable[[], datetime],
        *,
        older_than: timedelta,
        unfinished_after: timedelta,
        unfinished_a_round: int,
    ) -> None:
        self._engine, self._book = engine, ClosureBook(engine)
        self._processes = processes
        self._clock = clock
        self._older_than = older_than
        self._unfinished_after = unfinished_after
        self._most = unfinished_a_round
        self._seen_to = ""
        self._late_money_after: datetime | None = None

    async def one(self) -> int:
        """Answers how many closures were handed on."""
        now = self._clock()
        await self._look_for_late_money(now)
        await self._book.escalate(now)
        done = 0
        for item in await self._book.unattended(now, self._older_than):
            try:
                done += await self._hand_on(item, now)
            except Exception as error:
                # A defect of ours with one closure must not keep the others from their turn.
                log.warning("not handed on", extra={"subject_id": item.id, "reason": type(error).__name__})
        return done + await self._revive(now)

    async def _look_for_late_money(self, now: datetime) -> None:
        """It goes through the accounts of everybody who has left, and nobody waits for it by the second."""
        if self._late_money_after is None or now >= self._late_money_after:
            await self._book.open_late_money_cases(now)
            self._late_money_after = now + LATE_MONEY_EVERY

    async def _hand_on(self, item: UnattendedClosure, now: datetime) -> bool:
        """Once for each change, then only after minutes again: who cannot look hears no better for being told more."""
        if not await self._book.claim_telling(item, now):
            return False
        handed_on = False
        try:
            handed_on = await self._start_or_tell(item)
        finally:
            if not handed_on:
                await self._book.give_up_telling(item, now)
        return handed_on

    async def _start_or_tell(self, item: UnattendedClosure) -> bool:
        if item.kind == "start":
            return await self._processes.close_account(_order(item))
        if await self._processes.tell_closure(item.id):
            return True
        return await self._processes.revive(names.Process.CLOSE_ACCOUNT, item.id, _order(item))

    async def _revive(self, now: datetime) -> int:
        """Runs the processes that are gone of a few, and of the next few in the next round."""
        found = await self._book.unfinished(now, self._unfinished_after, self._seen_to, self._most)
        self._seen_to = found[-1].id if len(found) == self._most else ""
        revived = 0
        for item in found:
            if await self._processes.revive(names.Process.CLOSE_ACCOUNT, item.id, _order(item)):
                log.warning("its process was gone and runs again", extra={"subject_id": item.id})
                await record_revival(self._engine, now, item.id, current_request_id())
                revived += 1
        return revived


def _order(item: UnattendedClosure) -> ClosureOrder:
    return ClosureOrder(closure_id=item.id, merchant_id=item.merchant_id, user_id=item.user_id)
