"""How every request is served: who asks, was it asked before, then validate, then decide; and a record of all of it.

The first commit (`Requests.begin`) records the attempt, authenticates and recognises a repetition. What follows either
is decided by an accepting function, which records its outcome itself, or is recorded here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api import idempotency
from api.admission import admit
from api.authentication import Credentials, read_credentials
from api.problems import answer_of, error_of, problem
from api.services import Services, services_of
from api.strict_json import NotJsonError, field_name, parse_object
from domain.errors import DomainError, ErrorCode, FieldError, RefusedError, ValidationRefusedError
from domain.forbidden_card_data import contains_forbidden_card_data
from domain.identifiers import IdPrefix
from domain.instructions import RequestContext
from storage.requests import Begun, KnownRequest, StartedRequest

Command = TypeVar("Command")
DEFAULT_PAGE, MAX_PAGE = 20, 100


@dataclass(frozen=True)
class Operation:
    """One thing a merchant can ask for. `status` is that of success; `makes` names the new resource's id.

    `body_counts` is False where the body is, or may hide, a one-time code: two requests are then the same by address.
    """

    action: str
    scope: str
    status: int = 200
    makes: IdPrefix | None = None
    body_counts: bool = True
    # Adds to a resource what no stored answer holds, such as a masked name, also when it is answered again.
    complete: Callable[[Services, Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None

    async def shown(self, services: Services, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        """A resource as it goes out."""
        return resource if self.complete is None else await self.complete(services, resource)


@dataclass(frozen=True)
class Done:
    """What was done: the resource as it now is, and a status other than the operation's where it differs."""

    resource: Mapping[str, Any]
    status: int | None = None


class Call:
    """One authenticated request of a merchant."""

    def __init__(
        self, services: Services, request: Request, now: datetime, started: StartedRequest, known: KnownRequest
    ) -> None:
        self.services = services
        self.now = now
        self.merchant_id = known.merchant_id
        self.merchant_name = known.merchant_name
        self.resource_id = known.resource_id or ""
        self.query = request.query_params
        self.context = RequestContext(
            merchant_id=known.merchant_id,
            key_id=started.key_id,
            request_id=started.request_id,
            idempotency_key=started.idempotency_key,
        )
        self.is_recorded = False

    async def accept(
        self, function: Callable[[Command], Awaitable[dict[str, Any]]], command: Command
    ) -> dict[str, Any]:
        """Has an accepting function decide; it records its decision and keeps it for replays."""
        try:
            resource = await function(command)
        except DomainError:
            self.is_recorded = True
            raise
        self.is_recorded = True
        return resource

    def page(self, cursor_of: Callable[[str], bool]) -> tuple[str | None, int]:
        """`cursor` and `limit` of the query. Raises ValidationRefusedError."""
        return read_cursor(self.query.get("cursor"), cursor_of), _read_limit(self.query.get("limit"))


Handler = Callable[[Call, dict[str, Any]], Awaitable[Done]]
# A whole file comes as a response of its own.
Reader = Callable[[Call], Awaitable[Mapping[str, Any] | Response]]


async def run_command(request: Request, operation: Operation, handle: Handler) -> Response:
    """Serves a request that changes something; with an Idempotency-Key, and finished though the caller hangs up."""
    services, now, request_id = services_of(request), _now(request), request.state.request_id
    body = await request.body()
    credentials = read_credentials(request.headers)
    payload, fault = _read_body(request, body)
    key, fault = _read_key(request, fault or unknown_parameters(request))
    counted = payload if operation.body_counts and fault is None else None
    path = request.url.path
    started = _started(operation, credentials, now, request_id, record=True).model_copy(
        update={
            "idempotency_key": key,
            "fingerprint": idempotency.fingerprint(services.vault.fingerprint, request.method, path, counted),
            "resource_id": services.new_id(operation.makes or IdPrefix.REQUEST),
        }
    )
    begun = await admit(request, started, body, keeps_evidence=operation.body_counts)
    if begun.known is None:
        return await _turned_away(services, operation, started, begun)
    if begun.known.replay is not None:
        return await _replayed(services, operation, begun.known.first_request_id or request_id, begun.known.replay)
    call = Call(services, request, now, started, begun.known)
    return await services.work.finish(_decide(call, operation, payload, fault, handle))


async def run_read(request: Request, operation: Operation, read: Reader) -> Response:
    """Serves a request that changes nothing; it leaves a record only when it is refused."""
    services, now, request_id = services_of(request), _now(request), request.state.request_id
    started = _started(operation, read_credentials(request.headers), now, request_id, record=False)
    begun = await admit(request, started, await request.body())
    if begun.known is None:
        return await _turned_away(services, operation, started, begun)
    call = Call(services, request, now, started, begun.known)
    try:
        if (fault := unknown_parameters(request)) is not None:
            raise fault
        answer = await read(call)
        return answer if isinstance(answer, Response) else JSONResponse(answer, operation.status)
    except Exception as error:
        return await _refused(call, operation, error_of(error))


async def run_preview(
    request: Request, operation: Operation, read: Callable[[Call, dict[str, Any]], Awaitable[Mapping[str, Any]]]
) -> Response:
    """Serves a question that comes with a body: as a read, so without an Idempotency-Key."""
    payload, fault = _read_body(request, await request.body())

    async def look(call: Call) -> Mapping[str, Any]:
        if fault is not None:
            raise fault
        return await read(call, payload)

    return await run_read(request, operation, look)


async def _decide(
    call: Call,
    operation: Operation,
    payload: dict[str, Any],
    fault: DomainError | None,
    handle: Handler,
) -> Response:
    try:
        if fault is not None:
            raise fault
        done = await handle(call, payload)
        if not call.is_recorded:
            answer = {"ok": True, "resource": dict(done.resource), "status": done.status or operation.status}
            await _record(call, operation, answer)
        shown = await operation.shown(call.services, done.resource)
    except Exception as error:
        return await _refused(call, operation, error_of(error))
    return JSONResponse(shown, done.status or operation.status)


async def _refused(call: Call, operation: Operation, error: DomainError) -> Response:
    answer, request_id = answer_of(error), call.context.request_id
    if error.code is ErrorCode.SERVICE_UNAVAILABLE:
        await record_failure(call.services, call.now, call.context.key_id, operation.action, request_id)
    elif not call.is_recorded:
        await _record(call, operation, answer)
    return problem(answer, request_id, scope=operation.scope)


async def _record(call: Call, operation: Operation, answer: dict[str, Any]) -> None:
    subject = answer.get("subject_id") or (answer.get("resource") or {}).get("id")
    await call.services.requests.record_answer(call.context, call.now, operation.action, subject, answer)


async def record_failure(services: Services, now: datetime, actor: str, action: str, request_id: str) -> None:
    """Records an operation that ended in an outage, unless the outage is that of the record itself."""
    try:
        await services.requests.record_operation(
            now, actor, action, "failed", "service_unavailable", request_id=request_id
        )
    except Exception as error:
        # The sweeper records it as abandoned once its lease is over.
        error_of(error)


async def _turned_away(services: Services, operation: Operation, started: StartedRequest, begun: Begun) -> Response:
    """What the first commit refused; or the answer of the first request with its key, if that is about to come."""
    refusal = begun.refusal or DomainError(ErrorCode.SERVICE_UNAVAILABLE)
    if refusal.code is ErrorCode.IDEMPOTENCY_IN_PROGRESS:
        key = started.idempotency_key or ""
        first = await idempotency.wait_for_answer(services.requests, begun.merchant_id or "", key)
        if first is not None:
            return await _replayed(services, operation, *first)
    return problem(answer_of(refusal), started.request_id, scope=operation.scope)


async def _replayed(
    services: Services, operation: Operation, first_request_id: str, answer: Mapping[str, Any]
) -> Response:
    if answer["ok"]:
        shown = await operation.shown(services, answer["resource"])
        response: Response = JSONResponse(shown, answer.get("status") or operation.status)
    else:
        response = problem(answer, first_request_id)
    response.headers[idempotency.REPLAYED_HEADER] = "true"
    return response


def _started(
    operation: Operation, credentials: Credentials, now: datetime, request_id: str, *, record: bool
) -> StartedRequest:
    return StartedRequest(
        now=now,
        request_id=request_id,
        action=operation.action,
        scope=operation.scope,
        key_id=credentials.key_id,
        secret_hash=credentials.secret_hash,
        record=record,
    )


def _read_body(request: Request, body: bytes) -> tuple[dict[str, Any], DomainError | None]:
    """The parsed body, or why it is refused. Of what is forbidden nothing is kept."""
    if not body:
        return {}, None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return {}, NotJsonError()
    try:
        payload = parse_object(body)
    except DomainError as error:
        return {}, error
    if contains_forbidden_card_data(payload) is not None:
        return {}, RefusedError(ErrorCode.FORBIDDEN_CARD_DATA)
    return payload, None


def unknown_parameters(request: Request) -> ValidationRefusedError | None:
    """Why the address's query is refused: a misspelt parameter that is ignored answers another question."""
    declared = getattr(request.scope["route"], "openapi_extra", None) or {}
    known = {item["name"] for item in declared.get("parameters", ()) if item["in"] == "query"}
    given = [name for name, _ in request.query_params.multi_items()]
    faults = [FieldError(field_name(name), "unknown_parameter") for name in dict.fromkeys(given) if name not in known]
    faults += [FieldError(name, "repeated") for name in sorted(known) if given.count(name) > 1]
    return ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=faults[:20]) if faults else None


def _read_key(request: Request, fault: DomainError | None) -> tuple[str | None, DomainError | None]:
    digest = services_of(request).vault.fingerprint
    try:
        return idempotency.stored_key(digest, idempotency.read_key(request.headers)), fault
    except DomainError as error:
        return None, error


def _now(request: Request) -> datetime:
    return services_of(request).clock.now()


# Pages


def cursor(last: str | int) -> str:
    """An opaque cursor after an item."""
    return base64.urlsafe_b64encode(json.dumps(["after", str(last)]).encode()).decode().rstrip("=")


def page_of(items: list[Any], limit: int, key: Callable[[Any], str | int]) -> dict[str, Any]:
    """A page from `limit` items and perhaps one more."""
    shown = items[:limit]
    return {
        "object": "list",
        "items": shown,
        "next_cursor": cursor(key(shown[-1])) if len(items) > limit else None,
    }


def read_cursor(given: str | None, is_valid: Callable[[str], bool]) -> str | None:
    if given is None:
        return None
    try:
        if len(given) > 200:
            raise ValueError("too long")
        raw = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        word, value = json.loads(raw)
        if word != "after" or not isinstance(value, str) or not is_valid(value):
            raise ValueError("not one of ours")
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise ValidationRefusedError(ErrorCode.CURSOR_INVALID, field="cursor") from None
    return value


def _read_limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_PAGE
    if re.fullmatch(r"[1-9][0-9]{0,2}", given) is None or int(given) > MAX_PAGE:
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=[FieldError("limit", "out_of_range")])
    return int(given)
