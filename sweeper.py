"""Looks after what a crash left unattended: accepted and not started, judged and not told, asked and not answered; and
after what has not ended and has no process any more; and after payouts that wait by calendars that have changed since.

Everything it does is idempotent, so that any number of workers may sweep at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.identifiers import IdPrefix, identifier
from runtime.id_source import UlidSource
from runtime.logging import current_request_id, request_id
from storage.calendars import version_to_replan
from storage.freezes import look_after_funds, payouts_to_tell, payouts_told
from storage.reviews import approved_payouts, open_payout_cases
from storage.unattended import (
    Unattended,
    find_unattended,
    find_unfinished,
    lapse_decisions,
    open_reviews,
    record_abandoned,
    record_revival,
)
from workflows import names
from workflows.messages import BindingOrder, CodeVerdictMessage
from workflows.starting import Processes, binding_order, payment_order, payout_order, process_of, refund_order

log = logging.getLogger(__name__)

# Long enough that a request under way is never overtaken, short enough that nobody waits long after a crash.
OLDER_THAN = timedelta(seconds=8)
PAUSE_SECONDS = 4.0
# What has not moved for so long is seen to: whether its process still runs is asked in Temporal, some in each round.
UNFINISHED_AFTER = timedelta(minutes=10)
UNFINISHED_A_ROUND = 25


class Sweeper:
    """One round finds and hands on; `run` does rounds until it is cancelled.

    `rounds`: what else is done once in each, a page at a time; one that fails is logged and keeps nobody else waiting.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        processes: Processes,
        clock: Callable[[], datetime],
        binding_deadline: timedelta,
        *,
        unfinished_after: timedelta = UNFINISHED_AFTER,
        rounds: Sequence[Callable[[], Awaitable[int]]] = (),
    ) -> None:
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._binding_deadline = binding_deadline
        self._unfinished_after = unfinished_after
        self._rounds = rounds
        self._ids = UlidSource()
        self._seen_to = ""

    async def run(self) -> None:
        """Never ends by itself; a round that fails is logged and the next one tries again."""
        while True:
            try:
                await self.sweep()
            except Exception as error:
                log.warning("a sweep failed", extra={"reason": type(error).__name__})
            await self._do_rounds()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _do_rounds(self) -> None:
        for one in self._rounds:
            try:
                await one()
            except Exception as error:
                log.warning("a round failed", extra={"reason": type(error).__name__})

    async def sweep(self) -> int:
        """Answers how many things were handed on."""
        now = self._clock()
        abandoned = await record_abandoned(self._engine, now)
        await lapse_decisions(self._engine, now)
        await open_reviews(self._engine, now)
        await self._free_funds(now)
        await open_payout_cases(self._engine, now)
        for payout_id in await approved_payouts(self._engine, now, OLDER_THAN):
            await self._processes.tell_payout(payout_id)
        if (version := await version_to_replan(self._engine, now, OLDER_THAN)) is not None:
            await self._processes.replan_payouts(version)
        found = await find_unattended(self._engine, now, OLDER_THAN)
        done = await asyncio.gather(*(self._hand_on(item) for item in found))
        if found or abandoned:
            log.info("swept", extra={"found": len(found), "handed_on": sum(done), "abandoned_requests": abandoned})
        return sum(done) + await self._revive(now)

    async def _free_funds(self, now: datetime) -> None:
        """Money whose freeze is over is free again, and payouts that waited hear of it, if need be the next time."""
        await look_after_funds(self._engine, now)
        waiting = await payouts_to_tell(self._engine)
        told = await asyncio.gather(*(self._processes.tell_payout(payout_id) for payout_id in waiting))
        done = [payout_id for payout_id, heard in zip(waiting, told, strict=True) if heard or not waiting[payout_id]]
        if done:
            await payouts_told(self._engine, done)

    async def _revive(self, now: datetime) -> int:
        """Runs the processes that are gone of a few instructions, and of the next few in the next round."""
        found = await find_unfinished(self._engine, now, self._unfinished_after, self._seen_to, UNFINISHED_A_ROUND)
        self._seen_to = found[-1].id if len(found) == UNFINISHED_A_ROUND else ""
        revived = 0
        for item in found:
            with request_id(self._new_request_id()):
                revived += await self._revive_one(item, now)
        return revived

    async def _revive_one(self, item: Unattended, now: datetime) -> bool:
        try:
            process = names.Process(item.kind.replace("_", "-"))
            if not await self._processes.revive(process, item.id, self._order(item)):
                return False
        except Exception as error:
            log.warning("not revived", extra={"subject_id": item.id, "reason": type(error).__name__})
            return False
        log.warning("its process was gone and runs again", extra={"subject_id": item.id})
        await record_revival(self._engine, now, item.id, current_request_id())
        return True

    async def _hand_on(self, item: Unattended) -> bool:
        """A defect of ours with one thing must not keep the others from their turn."""
        with request_id(self._new_request_id()):
            try:
                return await self._to_its_process(item)
            except Exception as error:
                log.warning("not handed on", extra={"subject_id": item.id, "reason": type(error).__name__})
                return False

    def _new_request_id(self) -> str:
        """Nobody asks for what is swept up; its log lines are to be found by one id all the same."""
        return identifier(IdPrefix.REQUEST, self._ids.ulid())

    async def _to_its_process(self, item: Unattended) -> bool:
        match item.kind:
            case "confirmed_payout":
                return await self._tell_payout(item)
            case "decision":
                return await self._tell_decision(item)
            case "code_attempt" | "confirmed_payment":
                kind: Literal["payment", "binding"] = "payment" if item.id.startswith("pay_") else "binding"
                message = CodeVerdictMessage(attempt_id=item.attempt_id or "swept")
                return await self._processes.tell_verdict(kind, item.id, message)
            case _:
                return await self._start(item)

    async def _start(self, item: Unattended) -> bool:
        """What was accepted, and whose process was not started yet."""
        match item.kind:
            case "collect_payment":
                return await self._processes.collect_payment(payment_order(item.resource, item.merchant_id))
            case "correct_payment":
                return await self._processes.correct_payment(payment_order(item.resource, item.merchant_id))
            case "refund_payment":
                return await self._processes.refund_payment(refund_order(item.resource, item.merchant_id))
            case "send_payout":
                return await self._processes.send_payout(payout_order(item.resource, item.merchant_id))
            case _:
                begin = self._processes.bind_card if item.kind == "bind_card" else self._processes.unbind_card
                return await begin(self._binding(item))

    async def _tell_decision(self, item: Unattended) -> bool:
        """A decision that its process has not carried out; a process that is gone runs again first."""
        decision_id = item.attempt_id or ""
        if await self._processes.tell_decision(item.resource, decision_id):
            return True
        await self._processes.revive(process_of(item.resource), item.id, self._order(item))
        return await self._processes.tell_decision(item.resource, decision_id)

    async def _tell_payout(self, item: Unattended) -> bool:
        """A payout that was confirmed, whose process has not looked; one that is gone runs again."""
        if await self._processes.tell_payout(item.id):
            return True
        return await self._processes.revive(names.Process.SEND_PAYOUT, item.id, self._order(item))

    def _order(self, item: Unattended) -> BaseModel:
        if item.id.startswith("pay_"):
            return payment_order(item.resource, item.merchant_id)
        if item.id.startswith("rfd_"):
            return refund_order(item.resource, item.merchant_id)
        if item.id.startswith("po_"):
            return payout_order(item.resource, item.merchant_id)
        return self._binding(item)

    def _binding(self, item: Unattended) -> BindingOrder:
        accepted = datetime.fromisoformat(item.resource["accepted_at"])
        return binding_order(item.resource, item.merchant_id, accepted + self._binding_deadline)
