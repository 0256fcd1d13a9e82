"""Processes that do their part at once, so that what is fuzzed reaches later states: codes are sent, debits booked."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.api.conftest import FakeProcesses, Stage


class LivingProcesses(FakeProcesses):
    """Stands in for the worker: what it does, it does through the same functions of the database."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._at_work: set[asyncio.Task[None]] = set()
        self.done = 0

    async def bind_card(self, order: Any) -> bool:
        self._begin(self._stage.code_sent("binding", order.binding_id))
        return True

    async def collect_payment(self, order: Any) -> bool:
        self._begin(self._collect(order.payment_id))
        return True

    async def tell_verdict(self, kind: str, subject_id: str, message: Any) -> bool:
        if kind == "payment":
            self._begin(self._debit(subject_id))
        return True

    async def rest(self) -> None:
        """Waits until all that was begun is done."""
        while self._at_work:
            await asyncio.wait(self._at_work)

    async def _collect(self, payment_id: str) -> None:
        payment = await self._payment(payment_id)
        if payment["state"] == "awaiting_code":
            await self._stage.code_sent("payment", payment_id)
        else:
            await self._debit(payment_id)

    async def _debit(self, payment_id: str) -> None:
        payment = await self._payment(payment_id)
        if payment["state"] == "ready":
            await self._stage.debit_sent(payment_id)
            merchant_id, _ = await self._found(payment_id)
            await self._stage.settle_payment(_Owner(merchant_id), payment, "succeeded")  # type: ignore[arg-type]

    async def _payment(self, payment_id: str) -> dict[str, Any]:
        return dict((await self._found(payment_id))[1])

    async def _found(self, payment_id: str) -> Any:
        found = await self._stage.services.reading.payment_of_any(payment_id)
        assert found is not None
        return found

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        # What was decided meanwhile may stand in the way; that it is kept is what the books show in the end.
        if not task.cancelled() and task.exception() is None:
            self.done += 1


class _Owner:
    def __init__(self, merchant_id: str) -> None:
        self.id = merchant_id
