"""Looks after what a crash left unattended: accepted and not started, judged and not told, asked and not answered.

Everything it does is idempotent, so that any number of workers may sweep at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from storage.unattended import Unattended, find_unattended, record_abandoned
from workflows.messages import BindingOrder, CodeVerdictMessage
from workflows.starting import Processes, binding_order, payment_order, refund_order

log = logging.getLogger(__name__)

# Long enough that a request under way is never overtaken, short enough that nobody waits long after a crash.
OLDER_THAN = timedelta(seconds=8)
PAUSE_SECONDS = 4.0


class Sweeper:
    """One round finds and hands on; `run` does rounds until it is cancelled."""

    def __init__(
        self, engine: AsyncEngine, processes: Processes, clock: Callable[[], datetime], binding_deadline: timedelta
    ) -> None:
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._binding_deadline = binding_deadline

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
        return sum(done)

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
            case "bind_card":
                return await self._processes.bind_card(self._binding(item))
            case "unbind_card":
                return await self._processes.unbind_card(self._binding(item))
            case "refund_payment":
                return await self._processes.refund_payment(refund_order(item.resource, item.merchant_id))
            case "code_attempt":
                kind: Literal["payment", "binding"] = "payment" if item.id.startswith("pay_") else "binding"
                message = CodeVerdictMessage(attempt_id=str(item.attempt_id))
                return await self._processes.tell_verdict(kind, item.id, message)
            case "confirmed_payment":
                return await self._processes.tell_verdict("payment", item.id, CodeVerdictMessage(attempt_id="swept"))

    def _binding(self, item: Unattended) -> BindingOrder:
        accepted = datetime.fromisoformat(item.resource["accepted_at"])
        return binding_order(item.resource, item.merchant_id, accepted + self._binding_deadline)
