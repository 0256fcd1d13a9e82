"""The browser's session with the codec server: a cookie that holds the operator's token under a key of our own.

Cookies know no ports: on one machine the browser also sends them to the Temporal UI and to whatever else listens
there. So the token is in it as ciphertext, and the cookie is worth nothing to anybody but the codec server.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretBytes
from starlette.requests import Request
from starlette.responses import Response

from runtime.operators_api import OperatorSession

_PURPOSE = b"liushui/codec-session/1"
_LONGEST = 2048


class SessionCookie:
    """Sealed under keys derived from the payload keys: restarts and rotations do not end it, every replica reads it."""

    def __init__(self, payload_keys: Sequence[tuple[str, SecretBytes]], *, secure: bool) -> None:
        self._sealing = MultiFernet([Fernet(_derived(key)) for _, key in payload_keys])
        self._secure = secure
        self.name = "__Host-liushui_codec" if secure else "liushui_codec"

    def put(self, response: Response, session: OperatorSession, now: datetime) -> None:
        """Gives the session to the browser, until it ends."""
        content = {"token": session.token, "login": session.login, "expires_at": session.expires_at.isoformat()}
        value = self._sealing.encrypt(json.dumps(content).encode()).decode()
        seconds = max(0, int((session.expires_at - now).total_seconds()))
        response.set_cookie(
            self.name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="strict"
        )

    def take(self, request: Request, now: datetime) -> OperatorSession | None:
        """The session a browser shows; None for none, one that is over, and one that we did not make."""
        value = request.cookies.get(self.name, "")
        if not value or len(value) > _LONGEST:
            return None
        try:
            content = json.loads(self._sealing.decrypt(value))
        except InvalidToken:
            return None
        expires_at = datetime.fromisoformat(content["expires_at"]).astimezone(UTC)
        return OperatorSession(content["token"], content["login"], expires_at) if now < expires_at else None

    def drop(self, response: Response) -> None:
        """Takes it away."""
        response.delete_cookie(self.name, path="/", secure=self._secure, httponly=True, samesite="strict")


def _derived(key: SecretBytes) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE)
    return base64.urlsafe_b64encode(derivation.derive(key.get_secret_value()))
