"""Bodies of up to 64 KiB and headers of up to 16 KiB, also when the length is not announced, and no endless trickle of
them; pure ASGI.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import DomainError, ErrorCode, FieldError

MAX_BODY_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_ADDRESS_BYTES = 2 * 1024
# Long enough for 64 KiB over a bad line; without an end, idle senders would use up the connections.
MAX_BODY_SECONDS = 20.0


class RequestTooLargeError(DomainError):
    """More was sent than is read."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.REQUEST_TOO_LARGE)


class SizeLimits:
    """Raises RequestTooLargeError into whoever reads the body, as soon as it is too long.

    A caller whose body does not end in time is taken for one that hung up.
    """

    def __init__(self, app: ASGIApp, larger: Mapping[str, int] | None = None) -> None:
        self._app = app
        # Addresses that take more, and how much.
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._larger.get(scope["path"], MAX_BODY_BYTES)
        if _head_is_too_large(scope, most):
            raise RequestTooLargeError
        if _length_is_ambiguous(scope):
            raise DomainError(ErrorCode.REQUEST_INVALID, fields=[FieldError("Content-Length", "ambiguous")])
        taken, is_complete = 0, False
        deadline = asyncio.get_running_loop().time() + MAX_BODY_SECONDS

        async def limited() -> Message:
            nonlocal taken, is_complete
            try:
                async with asyncio.timeout_at(None if is_complete else deadline):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            is_complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > most:
                raise RequestTooLargeError
            return message

        await self._app(scope, limited, send)


def _head_is_too_large(scope: Scope, most: int) -> bool:
    headers = scope["headers"]
    address = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES or address > MAX_ADDRESS_BYTES:
        return True
    announced = [value for name, value in headers if name == b"content-length"]
    return any(not re.fullmatch(rb"[0-9]{1,12}", value) or int(value) > most for value in announced)


def _length_is_ambiguous(scope: Scope) -> bool:
    """Two lengths, or a length beside chunks: a server in front may have seen another body (RFC 9112, 6.3)."""
    names = [name for name, _ in scope["headers"]]
    return names.count(b"content-length") > 1 or (b"content-length" in names and b"transfer-encoding" in names)
