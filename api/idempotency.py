"""The same request twice is answered once: its key, its fingerprint, and the wait for a first that is still at work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers

from domain.errors import ErrorCode, ValidationRefusedError
from storage.requests import Requests

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
_PATIENCE_SECONDS = 3.0
_PAUSES_SECONDS = (0.02, 0.05, 0.1, 0.2)


def read_key(headers: Headers) -> str:
    """Raises ValidationRefusedError unless there is exactly one, 8 to 64 characters of [A-Za-z0-9_-]."""
    given = headers.getlist(HEADER)
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise ValidationRefusedError(ErrorCode.IDEMPOTENCY_KEY_REQUIRED)
    return given[0]


def stored_key(digest: Callable[[object], str], key: str) -> str:
    """What of a key is stored: a keyed digest, because a merchant might use a card number as its key (A4.2b)."""
    return digest({"idempotency_key": key})


def fingerprint(digest: Callable[[object], str], method: str, path: str, body: object | None) -> str:
    """A keyed digest of what is asked; codes do not count, and a body that may not be kept is None."""
    return digest({"method": method, "path": path, "body": body})


async def wait_for_answer(requests: Requests, merchant_id: str, key: str) -> tuple[str, dict[str, Any]] | None:
    """The first request's id and answer, if it comes within three seconds."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    attempt = 0
    while True:
        request_id, answer = await requests.stored_answer(merchant_id, key)
        if answer is not None:
            return request_id, answer
        pause = _PAUSES_SECONDS[min(attempt, len(_PAUSES_SECONDS) - 1)]
        if asyncio.get_running_loop().time() + pause > deadline:
            return None
        await asyncio.sleep(pause)
        attempt += 1
