"""What every request to the codec server has to pass: a bounded body, and an answer that says what was wrong."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

MAX_BODY_SECONDS = 20.0


class RefusedError(Exception):
    """A status, a stable code, and a sentence for the person who asked."""

    def __init__(self, status: int, code: str, detail: str, retry_after: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.retry_after = status, code, retry_after


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body. Raises RefusedError for one that is too long, too slow, or broken off."""
    body = bytearray()
    try:
        async with asyncio.timeout(MAX_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise RefusedError(413, "body_too_large", f"at most {most_bytes} bytes are taken")
    except (ClientDisconnect, TimeoutError):
        raise RefusedError(400, "body_incomplete", "the body ended early or took too long") from None
    return bytes(body)
