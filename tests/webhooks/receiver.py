"""A merchant's server: real sockets on this machine, and whatever behaviour a test wants of it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Arrived"], Awaitable["Reply"]]


@dataclass(frozen=True)
class Arrived:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Receiver:
    """Answers 204 until `behaviour` says otherwise; counts how many requests it holds at once."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.behaviour: Behaviour = self._well
        self.most_at_once = 0
        self._held = 0
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def open(self, tls: ssl.SSLContext | None = None) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        return self

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def answers(self, *statuses: int, **headers: str) -> None:
        """These, one after the other; the last one for ever."""
        waiting = list(statuses)

        async def behave(_: Arrived) -> Reply:
            status = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"said so")

        self.behaviour = behave

    async def has(self, number: int) -> list[Arrived]:
        """Waits until so many requests have come."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.arrived) >= number)
        return self.arrived

    @staticmethod
    async def _well(_: Arrived) -> Reply:
        return Reply()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held += 1
        self.most_at_once = max(self.most_at_once, self._held)
        try:
            arrived = await _read(reader)
            async with self._news:
                self.arrived.append(arrived)
                self._news.notify_all()
            reply = await self.behaviour(arrived)
            lines = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(reply.body)}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._held -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Arrived:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Arrived(first.split()[1], headers, body)
