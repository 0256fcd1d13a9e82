"""The merchant: an HTTP client with an API key, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import httpx

Resource = dict[str, Any]
_PAUSE_SECONDS = 0.3
PATIENCE_SECONDS = 60.0


class RefusedError(Exception):
    """The API said no; `code` says why (RFC 9457 problem)."""

    def __init__(self, problem: Resource) -> None:
        self.code: str = problem.get("code", "unknown")
        self.title_zh: str = problem.get("title_zh", "")
        self.attempts_left: int | None = problem.get("attempts_left")
        fields = ", ".join(f"{found['field']} {found['code']}" for found in problem.get("errors", []))
        super().__init__(f"refused: {self.code}{f' ({fields})' if fields else ''}")


class StillWaitingError(Exception):
    """What was waited for did not come in time; the message says what the resource looks like."""


class Merchant:
    """One merchant's way to the API."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self._http, self._key = http, key

    async def get(self, path: str, **query: str) -> Resource:
        """Reads. Raises RefusedError."""
        return _read(await self._http.get(path, params=query, headers={"Authorization": f"Bearer {self._key}"}))

    async def post(self, path: str, body: Resource | None = None) -> Resource:
        """Instructs, under an Idempotency-Key of its own. Raises RefusedError."""
        return _read(await self.send("POST", path, body, new_key()))

    async def delete(self, path: str) -> Resource:
        """Ends. Raises RefusedError."""
        return _read(await self.send("DELETE", path, None, new_key()))

    async def send(self, method: str, path: str, body: Resource | None, idempotency_key: str) -> httpx.Response:
        """The answer as it came, whatever it is."""
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": idempotency_key}
        return await self._http.request(method, path, json=body, headers=headers)

    async def until(
        self, path: str, seen: Callable[[Resource], bool], within_seconds: float = PATIENCE_SECONDS
    ) -> Resource:
        """Reads again and again until it is `seen`. Raises StillWaitingError."""
        latest: Resource = {}
        try:
            async with asyncio.timeout(within_seconds):
                while True:
                    latest = await self.get(path)
                    if seen(latest):
                        return latest
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            waiting = (latest.get("waiting_for") or {}).get("reason")
            raise StillWaitingError(
                f"still {latest.get('state')} after {within_seconds:g} s, waiting for {waiting}"
            ) from None


def new_key() -> str:
    """A fresh Idempotency-Key."""
    return f"demo-{secrets.token_hex(12)}"


def _read(answer: httpx.Response) -> Resource:
    body: Resource = answer.json()
    if answer.is_error:
        raise RefusedError(body)
    return body
