"""A health endpoint for a process that serves no HTTP otherwise: `GET /health` on the loopback address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

Check = Callable[[], Awaitable[bool]]

_READ_LIMIT_BYTES = 8192
_READ_TIMEOUT_SECONDS = 5.0


async def always_healthy() -> bool:
    """For a process whose being there is all there is to know."""
    return True


@asynccontextmanager
async def serve_health(port: int, check: Check = always_healthy) -> AsyncIterator[None]:
    """Answers 200 `{"status": "ok"}`, or 503 `{"status": "failing"}` when the check is false or raises."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _response(request, check))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or did not speak HTTP
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=_READ_LIMIT_BYTES)
    async with server:
        yield


async def _response(request: bytes, check: Check) -> bytes:
    if not request.startswith(b"GET /health "):
        return _http(HTTPStatus.NOT_FOUND, "not_found")
    try:
        healthy = await check()
    except Exception:  # whatever the check could not do, the process is not healthy
        healthy = False
    return _http(HTTPStatus.OK, "ok") if healthy else _http(HTTPStatus.SERVICE_UNAVAILABLE, "failing")


def _http(status: HTTPStatus, word: str) -> bytes:
    body = json.dumps({"status": word})
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
