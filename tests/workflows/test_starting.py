"""What the API is told when Temporal does not answer: that somebody else will have to do it."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from runtime.codec import PayloadRefusedError, Refusal
from workflows.messages import CodeVerdictMessage
from workflows.starting import Processes


class ClientWithoutServer:
    """Every call ends in this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_workflow_handle(self, _: str) -> ClientWithoutServer:
        return self

    async def execute_update(self, *_: Any, **__: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        RPCError("gone", RPCStatusCode.UNAVAILABLE, b""),
        WorkflowUpdateRPCTimeoutOrCancelledError(),
        TimeoutError(),
        WorkflowUpdateFailedError(ApplicationError("refused")),
        PayloadRefusedError(Refusal.UNKNOWN_KEY),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_verdict_that_cannot_be_told_is_left_to_the_sweeper_and_raises_nothing(error: Exception) -> None:
    processes = Processes(ClientWithoutServer(error))  # type: ignore[arg-type]
    message = CodeVerdictMessage(attempt_id="att_1", verdict="confirmed")
    assert await processes.tell_verdict("payment", "pay_1", message) is False
