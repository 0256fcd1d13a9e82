"""Answers as HTTP: signed, bare errors, and one that breaks off."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from banks.signatures import sign_response


def signed_json(key: Ed25519PrivateKey, status: int, request_nonce: str, content: BaseModel, now: datetime) -> Response:
    """A JSON answer, signed and tied to the nonce of its request."""
    body = content.model_dump_json(exclude_none=True).encode()
    headers = sign_response(key, status, request_nonce, body, now)
    return Response(body, status, headers, media_type="application/json")


def plain_error(status: int) -> Response:
    """An error as a broken front-end gives it: unsigned, so it says nothing about the request."""
    return Response(b"upstream error\n", status, media_type="text/plain")


class UnfinishedResponse(Response):
    """Promises more than it sends; the server then cuts the line."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status"', "more_body": True})
