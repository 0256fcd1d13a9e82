"""The codec server: shows encrypted payloads in the Temporal UI (`python -m runtime.codec_server`).

`POST /decode` and `POST /encode` take and give protobuf JSON `{"payloads": […]}` with an `X-Namespace`
header. It listens on the loopback address, and a browser gets answers only on a page of exactly the UI's
origin.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from config.settings import CodecServerSettings, load_or_exit
from runtime.codec import EncryptionCodec, PayloadRefusedError, is_encrypted
from runtime.logging import configure_logging
from runtime.temporal import connection

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_PAYLOADS = 2000

Work = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code


def create_app(settings: CodecServerSettings, namespace: str) -> Starlette:
    """The server for one namespace."""
    codec = EncryptionCodec(settings.payload_keys, namespace)

    async def show(payloads: Sequence[Payload]) -> list[Payload]:
        # An event holds markers of Temporal itself beside our payloads; the UI sends all, and those stay as
        # they are.
        return [(await codec.decode([payload]))[0] if is_encrypted(payload) else payload for payload in payloads]

    def endpoint(work: Work) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            return await _answer(request, work, settings.ui_origin, namespace)

        return handle

    routes = [
        Route("/decode", endpoint(show), methods=["POST"]),
        Route("/encode", endpoint(codec.encode), methods=["POST"]),
        Route("/health", _health, methods=["GET"]),
    ]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[settings.ui_origin],
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
    )
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts, cors])


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _answer(request: Request, work: Work, ui_origin: str, namespace: str) -> Response:
    try:
        if request.headers.get("origin", ui_origin) != ui_origin:
            raise _RefusedError(403, "origin_refused", "only the Temporal UI may ask")
        if request.headers.get("x-namespace") != namespace:
            raise _RefusedError(403, "namespace_refused", "the X-Namespace header names no namespace of this server")
        payloads = await _read(request)
        result = Payloads(payloads=await work(payloads.payloads))
    except _RefusedError as error:
        return JSONResponse({"code": error.code, "message": str(error)}, status_code=error.status)
    except PayloadRefusedError as error:
        return JSONResponse({"code": "payload_refused", "message": str(error)}, status_code=400)
    return Response(json_format.MessageToJson(result, indent=None), media_type="application/json")


async def _read(request: Request) -> Payloads:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _RefusedError(413, "body_too_large", f"at most {MAX_BODY_BYTES} bytes are taken")
        document = json.loads(bytes(body))
        if not isinstance(document, dict):
            raise ValueError("not an object")
        payloads = json_format.ParseDict(document, Payloads())
    except (json_format.ParseError, ValueError, RecursionError):
        raise _RefusedError(400, "body_invalid", 'the body must be JSON of the form {"payloads": […]}') from None
    except ClientDisconnect:
        raise _RefusedError(400, "body_incomplete", "the body ended early") from None
    if len(payloads.payloads) > MAX_PAYLOADS:
        raise _RefusedError(413, "too_many_payloads", f"at most {MAX_PAYLOADS} payloads are taken")
    return payloads


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    settings = load_or_exit(CodecServerSettings)
    configure_logging("codec", settings.log_level)
    app = create_app(settings, connection()["namespace"])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=settings.codec_port,
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
