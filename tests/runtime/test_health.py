"""The health endpoint of a worker."""

from __future__ import annotations

import asyncio
import socket

import httpx

from runtime.health import serve_health
from runtime.ports import is_free


async def test_a_worker_says_whether_it_is_well() -> None:
    state: dict[str, bool | None] = {"well": True}

    async def check() -> bool:
        if state["well"] is None:
            raise RuntimeError("13812345678")
        return state["well"]

    port = _free_port()
    async with serve_health(port, check), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        state["well"] = False
        assert (await client.get("/health")).status_code == 503
        state["well"] = None
        failing = await client.get("/health")
        assert (failing.status_code, failing.json()) == (503, {"status": "failing"})
        assert (await client.get("/other")).status_code == 404
        await _speak_no_http(port)
        state["well"] = True
        assert (await client.get("/health")).status_code == 200
    assert is_free(port)


async def _speak_no_http(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 50_000)
    try:
        await writer.drain()
        assert await reader.read() == b""
    except ConnectionError:
        pass  # it hung up while we were talking
    writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
