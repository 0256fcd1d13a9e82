"""How every request of an operator is served: who asks and may they, then do it; and a record of all of it (A4.1a).

Commands are recorded before they are done and again with their outcome; reads once, when they are answered. What is
denied is recorded by the function that denies it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.calls import Done, unknown_parameters
from api.problems import answer_of, error_of, problem
from api.rate_limits import Quota, RateLimitedError, address_of
from api.strict_json import NotJsonError, parse_object
from domain.errors import DomainError, ErrorCode, RefusedError
from domain.forbidden_card_data import contains_forbidden_card_data
from ops.authentication import read_session
from ops.services import OpsServices, services_of
from storage.administration import Act
from storage.operators import KnownOperator, StartedAct

Result = TypeVar("Result")
# What may stand in a record as the subject of a request: an identifier or a bank's code, never what else was typed. A
# bank's code begins with a letter: a mobile number is no code.
SUBJECT = r"[a-z]{2,5}_[0-9A-Z]{20,40}|[A-Z][A-Z0-9]{2,11}"
_SUBJECT = re.compile(SUBJECT)


@dataclass(frozen=True)
class Operation:
    """One thing that an operator can ask for; without a permission every session will do. `status` is success's.

    `keeps_quiet`: a read that only shows people themselves leaves no record. `has_password`: its body is not looked
    through for card data, among which passwords count. `announced` is False where the handler itself records, before it
    acts, what it is about to do and why.
    """

    action: str
    permission: str | None
    status: int = 200
    keeps_quiet: bool = False
    has_password: bool = False
    announced: bool = True


class Call:
    """One request of a known person who may ask it."""

    def __init__(
        self, services: OpsServices, request: Request, now: datetime, known: KnownOperator, subject_id: str | None
    ) -> None:
        self.services = services
        self.now = now
        self.operator = known
        self.operator_id = known.operator_id
        self.login = known.login
        self.actor = known.actor
        self.request_id: str = request.state.request_id
        self.query: QueryParams = request.query_params
        self.subject_id = subject_id
        self.merchant_id: str | None = None
        self.detail: dict[str, Any] = {}
        self.is_recorded = False
        # Where the operation itself asks for no permission, but what it is about does.
        self.needed: str | None = None

    @property
    def act(self) -> Act:
        """For functions that record what is done in their own transaction; set `is_recorded` after them."""
        return Act(self.actor, self.now, self.request_id)

    async def record(self, operation: Operation, outcome: str, reason: str | None = None) -> None:
        """Records an outcome of this request, with what the handler put into `detail`."""
        await self.services.records.record_act(
            self.now,
            self.actor,
            operation.action,
            outcome,
            reason,
            request_id=self.request_id,
            subject_id=self.subject_id,
            merchant_id=self.merchant_id,
            detail=self.detail or None,
        )

    async def recorded(self, act: Awaitable[Result]) -> Result:
        """Of a function that records itself what it does and what it refuses; once, not here as well."""
        try:
            result = await act
        except DomainError:
            self.is_recorded = True
            raise
        self.is_recorded = True
        return result


Handler = Callable[[Call, dict[str, Any]], Awaitable[Done]]
# A page to be read comes as a response of its own.
Reader = Callable[[Call], Awaitable[Mapping[str, Any] | Response]]


async def run_command(request: Request, operation: Operation, handle: Handler) -> Response:
    """Serves a request that changes something, or shows what only few may see; finished though the caller hangs up."""
    body = await request.body()
    payload, fault = read_body(request, body, has_password=operation.has_password)
    call = await _begin(request, operation, record=operation.announced)
    if isinstance(call, Response):
        return call
    fault = fault or unknown_parameters(request)
    return await call.services.work.finish(_decide(call, operation, payload, fault, handle))


async def run_read(request: Request, operation: Operation, read: Reader) -> Response:
    """Serves a request that changes nothing."""
    call = await _begin(request, operation, record=False)
    if isinstance(call, Response):
        return call
    try:
        if (fault := unknown_parameters(request)) is not None:
            raise fault
        resource = await read(call)
        if not operation.keeps_quiet:
            await call.record(operation, "done")
    except Exception as error:
        return await _refused(call, operation, error_of(error))
    return resource if isinstance(resource, Response) else JSONResponse(resource, operation.status)


async def _begin(request: Request, operation: Operation, *, record: bool) -> Call | Response:
    services, now, request_id = services_of(request), services_of(request).clock.now(), request.state.request_id
    token = read_session(request.headers)
    subject_id = _subject(request)
    if not services.acquaintances.knows(token.hash):
        await count_stranger(request, operation)
    act = StartedAct(
        now=now,
        request_id=request_id,
        action=operation.action,
        permission=operation.permission,
        subject_id=subject_id,
        session_id=f"ses_{token.ulid}",
        token_hash=token.hash,
        record=record,
        idle_seconds=int(services.rules.idle.total_seconds()),
    )
    try:
        known = await services.operators.begin_act(act)
    except DomainError as error:
        services.acquaintances.forget(token.hash)
        return problem(answer_of(error), request_id, scope=operation.permission)
    services.acquaintances.learn(token.hash)
    return Call(services, request, now, known, subject_id)


async def count_stranger(request: Request, operation: Operation) -> None:
    """A flood of those who are nobody leaves one record in each window. Raises RateLimitedError."""
    services = services_of(request)
    standing = await services.rate_limits.take(Quota.UNAUTHENTICATED, address_of(request))
    if standing.is_within:
        return
    if standing.is_first_refusal:
        await services.records.record_operation(
            services.clock.now(),
            "unknown",
            operation.action,
            "refused",
            "rate_limited",
            request_id=request.state.request_id,
        )
    raise RateLimitedError(standing)


async def _decide(
    call: Call, operation: Operation, payload: dict[str, Any], fault: DomainError | None, handle: Handler
) -> Response:
    try:
        if fault is not None:
            raise fault
        done = await handle(call, payload)
        if not call.is_recorded:
            call.subject_id = call.subject_id or done.resource.get("id")
            await call.record(operation, "done")
    except Exception as error:
        return await _refused(call, operation, error_of(error))
    return JSONResponse(done.resource, done.status or operation.status)


async def _refused(call: Call, operation: Operation, error: DomainError) -> Response:
    answer = answer_of(error)
    outcome = "failed" if error.code is ErrorCode.SERVICE_UNAVAILABLE else "refused"
    try:
        if not call.is_recorded or outcome == "failed":
            await call.record(operation, outcome, error.code.value.lower())
    except Exception as failure:
        # What was begun stands in the record; the answer is an outage whatever was refused.
        answer = answer_of(error_of(failure))
    return problem(answer, call.request_id, scope=operation.permission or call.needed)


def read_body(request: Request, body: bytes, *, has_password: bool) -> tuple[dict[str, Any], DomainError | None]:
    """The parsed body, or why it is refused."""
    if not body:
        return {}, None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return {}, NotJsonError()
    try:
        payload = parse_object(body)
    except DomainError as error:
        return {}, error
    if not has_password and contains_forbidden_card_data(payload) is not None:
        return {}, RefusedError(ErrorCode.FORBIDDEN_CARD_DATA)
    return payload, None


def _subject(request: Request) -> str | None:
    given = str(next(iter(request.path_params.values()), ""))
    return given if _SUBJECT.fullmatch(given) else None
