"""Looks after foreign currency that a crash left unattended: a round of the worker's sweeper (`sweeper.py`).

What was accepted and not started, announced and not asked about, decided and not done; what may go on; what waits by
calendars that have changed; what has not ended and has no process any more. Any number of workers may do it at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.logging import current_request_id
from storage.fx import version_to_replan_fx
from storage.fx_reading import FxReading
from storage.fx_unattended import UnattendedFx, find_unattended_fx, find_unfinished_fx
from storage.unattended import record_revival
from workflows import names
from workflows.starting import Processes
from workflows.starting_fx import fx_order, inbound_return_order, receiving_order

log = logging.getLogger(__name__)


class FxLauncher:
    """Starts the process of a conversion by its id."""

    def __init__(self, reading: FxReading, processes: Processes) -> None:
        self._reading = reading
        self._processes = processes

    async def begin_fx(self, fx_id: str) -> bool:
        """True once it runs; False if Temporal did not answer and the sweeper has to do it."""
        found = await self._reading.for_process(fx_id)
        return found is not None and await self._processes.settle_fx(fx_order(found, found["merchant_id"]))


class FxSweeper:
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
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._older_than = older_than
        self._unfinished_after = unfinished_after
        self._most = unfinished_a_round
        self._seen_to = ""

    async def one(self) -> int:
        """Answers how many things were handed on."""
        now = self._clock()
        if (version := await version_to_replan_fx(self._engine, now, self._older_than)) is not None:
            await self._processes.replan_fx(version)
        done = 0
        for item in await find_unattended_fx(self._engine, now, self._older_than):
            try:
                done += await self._hand_on(item)
            except Exception as error:
                # A defect of ours with one thing must not keep the others from their turn.
                log.warning("not handed on", extra={"subject_id": item.id, "reason": type(error).__name__})
        return done + await self._revive(now)

    async def _hand_on(self, item: UnattendedFx) -> bool:
        match item.kind:
            case "receive_inbound":
                bank_code, _, reference = item.id.partition("-")
                return await self._processes.receive_inbound(bank_code, reference)
            case "tell_fx":
                return await self._processes.tell_fx(item.id)
            case "decision":
                return await self._tell_decision(item)
            case "settle_fx":
                return await self._processes.settle_fx(fx_order(item.known, item.merchant_id))
            case "return_inbound":
                return await self._processes.return_inbound(inbound_return_order(item.known, item.merchant_id))
            case "open_receiving_account":
                return await self._processes.open_receiving_account(receiving_order(item.known, item.merchant_id))

    async def _tell_decision(self, item: UnattendedFx) -> bool:
        """A decision that its process has not carried out; a process that is gone runs again first."""
        decision_id = item.decision_id or ""
        if await self._processes.tell_decision(item.known, decision_id):
            return True
        await self._processes.revive(*_process(item))
        return await self._processes.tell_decision(item.known, decision_id)

    async def _revive(self, now: datetime) -> int:
        """Runs the processes that are gone of a few, and of the next few in the next round."""
        found = await find_unfinished_fx(self._engine, now, self._unfinished_after, self._seen_to, self._most)
        self._seen_to = found[-1].id if len(found) == self._most else ""
        revived = 0
        for item in found:
            if await self._processes.revive(*_process(item)):
                log.warning("its process was gone and runs again", extra={"subject_id": item.id})
                await record_revival(self._engine, now, item.id, current_request_id())
                revived += 1
        return revived


def _process(item: UnattendedFx) -> tuple[names.Process, str, BaseModel]:
    """Which process an instruction goes on in, its id and its order."""
    if item.id.startswith("fx_"):
        return names.Process.SETTLE_FX, item.id, fx_order(item.known, item.merchant_id)
    if item.id.startswith("inr_"):
        return names.Process.RETURN_INBOUND, item.id, inbound_return_order(item.known, item.merchant_id)
    return names.Process.OPEN_RECEIVING_ACCOUNT, item.id, receiving_order(item.known, item.merchant_id)
