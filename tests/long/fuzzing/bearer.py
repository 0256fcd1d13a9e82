"""What a merchant's client adds to every request at the last moment: its key, a fresh Idempotency-Key, a signature."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime
from itertools import count

import httpx
from requests import PreparedRequest
from requests.auth import AuthBase

from client.signing import SigningKey

_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Bearer(AuthBase):
    """Made-up keys repeat, and a repeated key is refused: four in five good ones are made fresh, the others stay.

    With a signing key nine in ten commands are signed as they must be; the others go as they are.
    """

    def __init__(
        self,
        token: str,
        seed: int,
        *,
        signing_key: SigningKey | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._token, self._chance, self._numbers = token, random.Random(seed), count(1)
        self._signing_key, self._now = signing_key, now

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        given = request.headers.get("Idempotency-Key")
        given = given.decode("latin-1") if isinstance(given, bytes) else given
        if given is not None and _KEY.fullmatch(given) and self._chance.random() < 0.8:
            request.headers["Idempotency-Key"] = given = f"fuzz-{next(self._numbers):010d}"
        if self._signing_key is not None and given is not None and self._chance.random() < 0.9:
            self._sign(request)
        return request

    def _sign(self, request: PreparedRequest) -> None:
        assert self._signing_key is not None
        assert self._now is not None
        for name in ("Signature", "Signature-Input", "Content-Digest"):
            request.headers.pop(name, None)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        try:
            same = httpx.Request(request.method or "GET", request.url or "", headers=_text(request), content=body)
            nonce = f"fuzz-nonce-{next(self._numbers):010d}"
            self._signing_key.sign(same, created=self._now(), nonce=nonce)
        except (ValueError, TypeError, UnicodeError, httpx.InvalidURL):
            # What no client could sign goes without a signature.
            return
        for name in ("Content-Digest", "Signature-Input", "Signature"):
            if name in same.headers:
                request.headers[name] = same.headers[name]


def _text(request: PreparedRequest) -> dict[str, str]:
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
