"""The codec server: shows encrypted payloads to operators who may see them (`python -m runtime.codec_server`).

`POST /decode` takes and gives protobuf JSON `{"payloads": […]}` with an `X-Namespace` header. A browser is known by
the cookie of our own login page and is answered on a page of exactly the UI's origin; the Temporal CLI by
`--codec-auth "Bearer lso_…"`. The operators' API is asked each time, before anything is shown, and keeps the record
(A4.2b, P3.1b): no yes, no payload. There is no `/encode`: who reads a process cannot write to it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import urlsplit

import httpx
import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from config.settings import CodecServerSettings, load_or_exit
from runtime.clock import SystemClock
from runtime.codec import MADE_FOR, EncryptionCodec, PayloadRefusedError, is_encrypted
from runtime.codec_login import LoginPages, caller_of
from runtime.codec_requests import RefusedError, read_body
from runtime.codec_session import SessionCookie
from runtime.logging import configure_logging
from runtime.operators_api import OperatorRefusedError, OperatorsApi, connect
from runtime.temporal import connection

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_PAYLOADS = 2000
# Of one payload in JSON; ours have 2 braces that open and 18 quotation marks, and base64 has neither.
_MOST_BRACES, _MOST_QUOTES = 4, 60
# Each is named in a record of the operators' API; whoever asks about more asks twice.
MAX_SUBJECTS = 200
_LOOPBACK = ["127.0.0.1", "localhost"]
_TOKEN = re.compile(r"Bearer (lso_[A-Za-z0-9_-]{1,200})")
# What a decoded payload is about goes into the record: payments, refunds, bindings, users, decisions.
_SUBJECT = re.compile(rb"\b(?:pay|rfd|bnd|usr|dec)_[0-9A-HJKMNP-TV-Z]{26}\b")


@dataclass(frozen=True)
class _Decoder:
    """`POST /decode` for one namespace."""

    codec: EncryptionCodec
    operators: OperatorsApi
    cookie: SessionCookie
    namespace: str
    ui_origin: str
    login_page: str
    now: Callable[[], datetime]

    async def handle(self, request: Request) -> Response:
        token = self._token(request)
        if request.headers.get("x-namespace") != self.namespace:
            raise RefusedError(403, "namespace_refused", "the X-Namespace header names no namespace of this server")
        payloads = _parsed(await read_body(request, MAX_BODY_BYTES))
        if token is None:
            await self._ask(request, None, payloads, ())
            raise RefusedError(401, "login_required", self._where_to_log_in())
        shown = await self._opened(payloads)
        subjects = _subjects(payloads, shown)
        await self._ask(request, token, payloads, subjects[:MAX_SUBJECTS])
        if len(subjects) > MAX_SUBJECTS:
            raise RefusedError(
                413, "too_many_subjects", f"payloads about at most {MAX_SUBJECTS} things are shown at once"
            )
        if isinstance(shown, PayloadRefusedError):
            raise shown
        return Response(
            json_format.MessageToJson(Payloads(payloads=shown), indent=None),
            media_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    def _token(self, request: Request) -> str | None:
        """The caller's token: a cookie counts only on the UI's own page, a header from whoever is not a web page."""
        origin = request.headers.get("origin")
        if origin is not None and origin != self.ui_origin:
            raise RefusedError(403, "origin_refused", "only the Temporal UI may ask")
        if origin is None:
            named = _TOKEN.fullmatch(request.headers.get("authorization", ""))
            return named.group(1) if named else None
        session = self.cookie.take(request, self.now())
        return session.token if session else None

    async def _opened(self, payloads: Sequence[Payload]) -> list[Payload] | PayloadRefusedError:
        # An event holds markers of Temporal itself beside our payloads; the UI sends all, and those stay as they are.
        # What cannot be opened is told after the operator is known, so that a stranger learns nothing by trying.
        try:
            return [(await self.codec.decode([item]))[0] if is_encrypted(item) else item for item in payloads]
        except PayloadRefusedError as error:
            return error

    async def _ask(
        self, request: Request, token: str | None, payloads: Sequence[Payload], subjects: Sequence[str]
    ) -> None:
        try:
            await self.operators.record_decode(token, self.namespace, len(payloads), subjects, caller_of(request))
        except OperatorRefusedError as refusal:
            said = self._where_to_log_in() if refusal.status == 401 else f"{refusal.title} {refusal.title_zh}"
            raise RefusedError(refusal.status, refusal.code, said, refusal.retry_after) from None

    def _where_to_log_in(self) -> str:
        return f"Log in at {self.login_page} and reload this page. 请先在 {self.login_page} 登录，再刷新本页。"


def create_app(
    settings: CodecServerSettings,
    namespace: str,
    *,
    now: Callable[[], datetime],
    operators: httpx.AsyncClient | None = None,
) -> Starlette:
    """The server for one namespace; `operators` stands in for the connection to the operators' API."""
    http = operators or connect(settings.ops_url)
    api = OperatorsApi(http)
    cookie = SessionCookie(settings.payload_keys, secure=settings.codec_origin.startswith("https://"))
    pages = LoginPages(api, cookie, settings.codec_origin, settings.ui_origin, now)
    login_page = f"{settings.codec_origin}/login"
    codec = EncryptionCodec(settings.payload_keys, namespace)
    decoder = _Decoder(codec, api, cookie, namespace, settings.ui_origin, login_page, now)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with http:
            yield

    return Starlette(
        routes=[
            Route("/decode", decoder.handle, methods=["POST"]),
            Route("/encode", _refuse_to_encode, methods=["POST"]),
            Route("/health", _health, methods=["GET"]),
            *pages.routes(),
        ],
        middleware=_middleware(settings),
        exception_handlers={RefusedError: _refused, PayloadRefusedError: _payload_refused},
        lifespan=lifespan,
    )


def _middleware(settings: CodecServerSettings) -> list[Middleware]:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[settings.ui_origin],
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace"],
        allow_credentials=True,
    )
    own_host = urlsplit(settings.codec_origin).hostname or ""
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[own_host, *_LOOPBACK], www_redirect=False)
    return [hosts, cors]


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refuse_to_encode(_: Request) -> Response:
    raise RefusedError(403, "encode_refused", "nothing is encrypted for a browser: decisions are made with bin/liushui")


async def _refused(request: Request, error: Exception) -> Response:
    refusal = cast("RefusedError", error)
    log.info("refused", extra={"reason": refusal.code, "path": request.url.path})
    headers = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"code": refusal.code, "message": str(refusal)}, refusal.status, headers)


async def _payload_refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"code": "payload_refused", "message": str(error)}, 400)


def _subjects(sealed: Sequence[Payload], shown: list[Payload] | PayloadRefusedError) -> list[str]:
    """What the payloads were made for and are about, each once. The place a payload was made for is sealed with it.

    What came in plain shows nothing to anybody, and could name whatever the caller likes.
    """
    if isinstance(shown, PayloadRefusedError):
        return []
    opened = [(before, after) for before, after in zip(sealed, shown, strict=True) if is_encrypted(before)]
    texts = [text for before, after in opened for text in (before.metadata.get(MADE_FOR, b""), after.data)]
    return list(dict.fromkeys(match.group().decode() for text in texts for match in _SUBJECT.finditer(text)))


def _parsed(body: bytes) -> Sequence[Payload]:
    # Counted before it is read: a few megabytes of empty payloads take seconds and hundreds of megabytes to build, and
    # whoever sends them is not known yet.
    if body.count(b"{") > _MOST_BRACES * MAX_PAYLOADS or body.count(b'"') > _MOST_QUOTES * MAX_PAYLOADS:
        raise _too_many_payloads()
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        payloads = json_format.ParseDict(document, Payloads()).payloads
    except (json_format.ParseError, ValueError, RecursionError):
        raise RefusedError(400, "body_invalid", 'the body must be JSON of the form {"payloads": […]}') from None
    if len(payloads) > MAX_PAYLOADS:
        raise _too_many_payloads()
    return payloads


def _too_many_payloads() -> RefusedError:
    return RefusedError(413, "too_many_payloads", f"at most {MAX_PAYLOADS} payloads are taken")


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    settings = load_or_exit(CodecServerSettings)
    configure_logging("codec", settings.log_level)
    uvicorn.run(
        create_app(settings, connection()["namespace"], now=SystemClock().now),
        host="127.0.0.1",
        port=settings.codec_port,
        log_config=None,
        access_log=False,
        server_header=False,
        # The TLS terminator on this machine names the caller's address for the record; nobody else is believed.
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
    )


if __name__ == "__main__":
    main()
