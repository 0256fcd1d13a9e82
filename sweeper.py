"""Looks after what a crash left unattended: accepted and not started, judged and not told, asked and not answered; and
after what has not ended and has no process any more.

Everything it does is idempotent, so that any number of workers may sweep at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.unattended import Unattended, find_unattended, find_unfinished, record_abandoned, record_revival
from workflows import names
from workflows.messages import BindingOrder, CodeVerdictMessage
from workflows.starting import Processes, binding_order, payment_order, refund_order

log = logging.getLogger(__name__)

# Long enough that a request under way is never overtaken, short enough that nobody waits long after a crash.
OLDER_THAN = timedelta(seconds=8)
PAUSE_SECONDS = 4.0
# What has not moved for so long is seen to: whether its process still runs is asked in Temporal, some in each round.
UNFINISHED_AFTER = timedelta(minutes=10)
UNFINISHED_A_ROUND = 25


class Sweeper:
    """One round finds and hands on; `run` does rounds until it is cancelled."""

    def __init__(
        self, engine: AsyncEngine, processes: Processes, clock: Callable[[], datetime], binding_deadline: timedelta
    ) -> None:
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._binding_deadline = binding_deadline
        self._seen_to = ""

    async def run(self) -> None:
        """Never ends by itself; a round that fails is logged and the next one tries again."""
        while True:
            try:
                await self.sweep()
            except Exception as error:
                log.warning("a sweep failed", extra={"reason": type(error).__name__})
            await asyncio.sleep(PAUSE_SECONDS)

    async def sweep(self) -> int:
        """Answers how many things were handed on."""
        now = self._clock()
        abandoned = await record_abandoned(self._engine, now)
        found = await find_unattended(self._engine, now, OLDER_THAN)
        done = await asyncio.gather(*(self._hand_on(item) for item in found))
        if found or abandoned:
            log.info("swept", extra={"found": len(found), "handed_on": sum(done), "abandoned_requests": abandoned})
        return sum(done) + await self._revive(now)

    async def _revive(self, now: datetime) -> int:
        """Runs the processes that are gone of a few instructions, and of the next few in the next round."""
        found = await find_unfinished(self._engine, now, UNFINISHED_AFTER, self._seen_to, UNFINISHED_A_ROUND)
        self._seen_to = found[-1].id if len(found) == UNFINISHED_A_ROUND else ""
        revived = [item for item in found if await self._is_revived(item)]
        for item in revived:
            log.warning("its process was gone and runs again", extra={"subject_id": item.id})
            await record_revival(self._engine, now, item.id)
        return len(revived)

    async def _is_revived(self, item: Unattended) -> bool:
        try:
            return await self._processes.revive(names.Process(item.kind.replace("_", "-")), item.id, self._order(item))
        except Exception as error:
            log.warning("not revived", extra={"subject_id": item.id, "reason": type(error).__name__})
            return False

    async def _hand_on(self, item: Unattended) -> bool:
        """A defect of ours with one thing must not keep the others from their turn."""
        try:
            return await self._to_its_process(item)
        except Exception as error:
            log.warning("not handed on", extra={"subject_id": item.id, "reason": type(error).__name__})
            return False

    async def _to_its_process(self, item: Unattended) -> bool:
        match item.kind:
            case "collect_payment":
                return await self._processes.collect_payment(payment_order(item.resource, item.merchant_id))
            case "correct_payment":
                return await self._processes.correct_payment(payment_order(item.resource, item.merchant_id))
            case "bind_card":
                return await self._processes.bind_card(self._binding(item))
            case "unbind_card":
                return await self._processes.unbind_card(self._binding(item))
            case "refund_payment":
                return await self._processes.refund_payment(refund_order(item.resource, item.merchant_id))
            case "code_attempt" | "confirmed_payment":
                kind: Literal["payment", "binding"] = "payment" if item.id.startswith("pay_") else "binding"
                message = CodeVerdictMessage(attempt_id=item.attempt_id or "swept")
                return await self._processes.tell_verdict(kind, item.id, message)

    def _order(self, item: Unattended) -> BaseModel:
        if item.kind in ("collect_payment", "correct_payment"):
            return payment_order(item.resource, item.merchant_id)
        if item.kind == "refund_payment":
            return refund_order(item.resource, item.merchant_id)
        return self._binding(item)

    def _binding(self, item: Unattended) -> BindingOrder:
        accepted = datetime.fromisoformat(item.resource["accepted_at"])
        return binding_order(item.resource, item.merchant_id, accepted + self._binding_deadline)
