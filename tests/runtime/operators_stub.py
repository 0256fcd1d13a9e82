"""The operators' API as far as the codec server knows it: one operator, and a record of what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretBytes

from config.settings import CodecServerSettings
from runtime.codec_server import create_app

KEYS = (("k1", SecretBytes(b"k" * 32)),)
UI = "http://127.0.0.1:8233"
CODEC = "http://127.0.0.1:8002"
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TOKEN = "lso_01JD0000000000000000000000_abcdefABCDEF0123456789"
TYPED = {"login": "li.lei", "password": "correct horse 电池", "totp": "123456"}


@dataclass
class OperatorsStub:
    """Says yes to one token; `refusal` is what it says instead, and `reached` whether it can be reached at all."""

    asked: list[tuple[str, dict[str, Any], httpx.Headers]] = field(default_factory=list)
    refusal: httpx.Response | None = None
    reached: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.reached:
            raise httpx.ConnectError("nobody there")
        body = json.loads(request.content)
        self.asked.append((request.url.path, body, request.headers))
        if self.refusal is not None:
            return self.refusal
        if request.url.path == "/ops/v1/login":
            return self._login(body)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "SESSION_INVALID", "The session is not valid", "会话无效")
        return httpx.Response(200, json={"object": "decode"})

    def decodes(self) -> list[dict[str, Any]]:
        return [body for path, body, _ in self.asked if path == "/ops/v1/decodes"]

    @staticmethod
    def _login(body: dict[str, Any]) -> httpx.Response:
        if body != TYPED:
            return problem(401, "LOGIN_REFUSED", "Login refused", "登录被拒绝")
        return httpx.Response(201, json={"token": TOKEN, "expires_at": (NOW + timedelta(hours=1)).isoformat()})


def problem(status: int, code: str, title: str, title_zh: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "title": title, "title_zh": title_zh}, headers=headers)


@asynccontextmanager
async def codec_client(
    stub: OperatorsStub, *, now: datetime = NOW, codec: str = CODEC, ui: str = UI
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a codec server whose operators' API is the stub."""
    settings = CodecServerSettings(
        environment="local", payload_keys=KEYS, codec_port=8002, codec_origin=codec, ui_origin=ui, ops_url=CODEC
    )
    operators = httpx.AsyncClient(transport=httpx.MockTransport(stub.answer), base_url="http://ops.test")
    app = create_app(settings, "liushui", operators=operators, now=lambda: now)
    async with operators, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=codec) as client:
        yield client


async def logged_in(client: httpx.AsyncClient, **typed: str) -> httpx.Response:
    """The login form as the browser sends it."""
    return await client.post("/login", data={**TYPED, **typed}, headers={"Origin": str(client.base_url).rstrip("/")})


@contextmanager
def serving(stub: OperatorsStub, address: str) -> Iterator[None]:
    """The stub as a server of its own, for a codec server in another process."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            answer = stub.answer(
                httpx.Request("POST", f"{address}{self.path}", headers=dict(self.headers), content=content)
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Nothing on the screen of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", urlsplit(address).port or 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
