"""What is around every request: its id, encrypted transport, and an answer where nothing else gave one; pure ASGI."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.calls import record_failure
from api.problems import RecordedAs, answer_of, error_of, problem
from api.rate_limits import Quota, RateLimitedError, address_of
from api.services import services_of
from domain.errors import DomainError, ErrorCode, NotAllowedError
from domain.identifiers import IdPrefix

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
# The probes of the machine itself come without TLS.
_PROBES = frozenset({"/health", "/ready"})
BindRequestId = Callable[[str], AbstractContextManager[None]]


class Envelope:
    """The outermost layer: no request is without an id and an answer, and no answer holds a trace."""

    def __init__(self, app: ASGIApp, bind_request_id: BindRequestId, needs_tls: bool) -> None:
        self._app = app
        self._bind_request_id = bind_request_id
        self._needs_tls = needs_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request_id = services_of(request).new_id(IdPrefix.REQUEST)
        request.state.request_id = request_id
        started = False

        async def marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
                if (standing := getattr(request.state, "rate_limit", None)) is not None:
                    headers.update(standing.headers())
            await send(message)

        with self._bind_request_id(request_id):
            try:
                if self._needs_tls and not _is_encrypted(scope):
                    raise NotAllowedError(ErrorCode.TLS_REQUIRED)
                await self._app(scope, receive, marked)
            except Exception as error:
                if started:
                    log.error("failed while answering", extra={"reason": type(error).__name__})
                    return
                response = await refuse(request, error)
                await response(scope, receive, marked)


async def refuse(request: Request, error: Exception) -> Response:
    """The answer to a request that did not get as far as an authenticated call; it is recorded (A4.1a)."""
    found = error_of(error)
    services, request_id = services_of(request), request.state.request_id
    action = getattr(request.scope.get("route"), "name", "unknown_address")
    if found.code is ErrorCode.SERVICE_UNAVAILABLE:
        await record_failure(services, services.clock.now(), "unknown", action, request_id)
    elif not isinstance(found, RateLimitedError):
        found = await _refuse_stranger(request, found, action)
    return problem(answer_of(found), request_id)


async def _refuse_stranger(request: Request, found: DomainError, action: str) -> DomainError:
    """Records a refusal, or says that this address was refused often enough: a flood leaves one record a window."""
    standing = await services_of(request).rate_limits.take(Quota.UNAUTHENTICATED, address_of(request))
    recorded: RecordedAs = getattr(found, "recorded_as", None) or RecordedAs(action, found.code.value.lower())
    if not standing.is_within:
        found, recorded = RateLimitedError(standing), recorded._replace(reason=ErrorCode.RATE_LIMITED.value.lower())
    if standing.is_within or standing.is_first_refusal:
        await _record_refusal(request, found, recorded)
    return found


async def _record_refusal(request: Request, error: DomainError, recorded: RecordedAs) -> None:
    services = services_of(request)
    try:
        await services.requests.record_operation(
            services.clock.now(),
            "unknown",
            recorded.action,
            "denied" if isinstance(error, NotAllowedError) else "refused",
            recorded.reason,
            partner=recorded.partner,
            request_id=request.state.request_id,
        )
    except Exception as failure:
        # The answer is the same whether or not it can be recorded.
        log.error("refusal not recorded", extra={"reason": type(failure).__name__})


def _is_encrypted(scope: Scope) -> bool:
    """The TLS terminator in front says so; in production the server listens on the loopback address only."""
    if scope["path"] in _PROBES or scope.get("scheme") == "https":
        return True
    return Headers(scope=scope).get("x-forwarded-proto", "").strip().lower() == "https"
