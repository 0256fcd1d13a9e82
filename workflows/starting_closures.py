"""Starts the process of a closure, and tells it that there is something to look at."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio.common import WorkflowIDReusePolicy

from workflows import names
from workflows.messages import ClosureOrder


class ClosureProcesses:
    """What `Processes` does about closures."""

    async def _start(
        self, process: names.Process, subject_id: str, order: BaseModel | None, summary: str, *,
        order_number: str | None = None,
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        signal: str | None = None,
    ) -> bool:  # fmt: skip
        raise NotImplementedError

    async def _signal(self, process: names.Process, subject_id: str, signal: str) -> bool:
        raise NotImplementedError

    async def close_account(self, order: ClosureOrder) -> bool:
        """True once the process runs (or has run); False if Temporal did not answer and the sweeper has to do it."""
        return await self._start(names.Process.CLOSE_ACCOUNT, order.closure_id, order, f"Close for {order.user_id}")

    async def tell_closure(self, closure_id: str) -> bool:
        """What is in the way of a closure has changed: it looks for itself. False if nobody was told."""
        return await self._signal(names.Process.CLOSE_ACCOUNT, closure_id, names.LOOK_AGAIN_SIGNAL)
