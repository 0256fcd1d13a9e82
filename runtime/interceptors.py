"""What goes along with every message to and from a process, and what a process refuses to be told.

`RequestIds` carries the id of the API's request in a header from the client through the workflow to its activities, so
that every log line about it can be found by one id. `MessageGuard` lets no message wedge a process: one that its
handler cannot take is refused, one that no handler is there for is forgotten.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from temporalio import activity, client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from runtime.logging import current_request_id, log_as

HEADER = "liushui-request-id"
MESSAGE_REFUSED = "MESSAGE_REFUSED"
# Headers stand in plain and anybody who reaches Temporal can write one: nothing but the shape of our ids goes to a log.
_SENT = re.compile(rb'"(req_[0-9A-Z]{26})"')

log = logging.getLogger(__name__)
Headers = Mapping[str, Payload]


def with_request_id(headers: Headers, request_id: str | None) -> Headers:
    """The headers, with the id where there is one."""
    if request_id is None:
        return headers
    sent = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(request_id).encode())
    return {**headers, HEADER: sent}


def read_request_id(headers: Headers) -> str | None:
    """The id that came along, if it is one."""
    found = _SENT.fullmatch(headers[HEADER].data) if HEADER in headers else None
    return found.group(1).decode() if found else None


class RequestIds(client.Interceptor, worker.Interceptor):
    """Given to a client; workers of that client take part by themselves."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return _ClientSends(next)

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        return _ActivityTakes(next)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _WorkflowTakes


class _ClientSends(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        input.headers = with_request_id(input.headers, current_request_id())
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        input.headers = with_request_id(input.headers, current_request_id())
        await super().signal_workflow(input)

    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> client.WorkflowUpdateHandle[Any]:
        input.headers = with_request_id(input.headers, current_request_id())
        return await super().start_workflow_update(input)


class _ActivityTakes(worker.ActivityInboundInterceptor):
    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        workflow_id = activity.info().workflow_id or ""
        log_as(read_request_id(input.headers), workflow_id=workflow_id, subject_id=workflow_id.rpartition("/")[2])
        return await super().execute_activity(input)


class _WorkflowTakes(worker.WorkflowInboundInterceptor):
    """Remembers who moved the process last: its next steps are done for them."""

    def __init__(self, next: worker.WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self.request_id: str | None = None

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_WorkflowSends(outbound, lambda: self.request_id))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        # A message that came with the start has been taken already, and is the later one.
        self.request_id = self.request_id or read_request_id(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        self.request_id = read_request_id(input.headers) or self.request_id
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        self.request_id = read_request_id(input.headers) or self.request_id
        return await super().handle_update_handler(input)


class _WorkflowSends(worker.WorkflowOutboundInterceptor):
    def __init__(self, next: worker.WorkflowOutboundInterceptor, request_id: Callable[[], str | None]) -> None:
        super().__init__(next)
        self._request_id = request_id

    def start_activity(self, input: worker.StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = with_request_id(input.headers, self._request_id())
        return super().start_activity(input)

    def start_local_activity(self, input: worker.StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = with_request_id(input.headers, self._request_id())
        return super().start_local_activity(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        input.headers = with_request_id(input.headers, self._request_id())
        super().continue_as_new(input)


class MessageGuard(worker.Interceptor):
    """Given to a worker."""

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _Guarded


class _Guarded(worker.WorkflowInboundInterceptor):
    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        # Without a handler for it a signal is kept for as long as the process lives.
        workflow.set_dynamic_signal_handler(_forget)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        if workflow.get_signal_handler(input.signal) is not None and _fits(input.signal, input.args):
            return await super().handle_signal(input)
        _log("a signal that nothing here takes was dropped", input.signal)
        return None

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        if _fits(input.update, input.args):
            return await super().handle_update_handler(input)
        _log("an update that does not fit its handler was refused", input.update)
        raise ApplicationError("the update does not fit its handler", type=MESSAGE_REFUSED, non_retryable=True)


def _forget(name: str, payloads: Sequence[RawValue]) -> None:
    """Takes signals of any other name."""


def _fits(name: str, arguments: Sequence[Any]) -> bool:
    """Whether the method that handles this message takes so many arguments; it bears the name of the message."""
    method = getattr(type(workflow.instance()), name, None)
    if method is None:
        return True
    try:
        inspect.signature(method).bind(None, *arguments)
    except TypeError:
        return False
    return True


def _log(sentence: str, name: str) -> None:
    if not workflow.unsafe.is_replaying():
        log.warning(sentence, extra={"workflow_id": workflow.info().workflow_id, "message_name": name[:64]})
