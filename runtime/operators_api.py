"""The operators' API as the codec server sees it: who logs in, who may decode, and that each decode is on record.

The codec server has no database. Whether a session is valid, what its operator may do, second factors, lock-outs and
the record are the operators' API's affair; whatever is not a plain yes from it is a no.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
# As many as the operators' API keeps of one record.
SUBJECTS_A_RECORD = 20
_PASSED_ON = frozenset({401, 403, 423, 429})


class OperatorRefusedError(Exception):
    """No from the operators' API, or no answer: an HTTP status, a stable code, a sentence in two languages."""

    def __init__(self, status: int, code: str, title: str, title_zh: str, retry_after: str | None = None) -> None:
        super().__init__(title)
        self.status, self.code, self.title, self.title_zh = status, code, title, title_zh
        self.retry_after = retry_after


@dataclass(frozen=True)
class Caller:
    """Where a request came from, for the record of the operators' API."""

    address: str
    user_agent: str


@dataclass(frozen=True)
class OperatorSession:
    """Somebody who has logged in; the token opens the operators' API and shows nowhere."""

    token: str = field(repr=False)
    login: str
    expires_at: datetime


class OperatorsApi:
    """Raises OperatorRefusedError from every call that is not answered with a yes."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def log_in(self, login: str, password: str, totp: str, caller: Caller) -> OperatorSession:
        """A session of the operator's own."""
        body = {"login": login, "password": password, "totp": totp}
        answer = await self._post("/ops/v1/login", body, headers=_told(caller))
        try:
            expires_at = datetime.fromisoformat(answer["expires_at"]).astimezone(UTC)
            return OperatorSession(str(answer["token"]), login, expires_at)
        except (KeyError, TypeError, ValueError):
            raise _unavailable() from None

    async def log_out(self, token: str) -> None:
        """Ends the session."""
        await self._post("/ops/v1/logout", {}, headers=_bearer(token))

    async def record_decode(
        self, token: str | None, namespace: str, payloads: int, subjects: Sequence[str], caller: Caller
    ) -> None:
        """Asks for `payloads:decode` and leaves the record (A4.2b); without a token, the record of the refusal.

        Every subject stands in a record, in a further one if need be: the one that is left out is the one that matters.
        """
        for first in range(0, max(len(subjects), 1), SUBJECTS_A_RECORD):
            named = list(subjects[first : first + SUBJECTS_A_RECORD])
            body = {"namespace": namespace, "payloads": payloads, "subjects": named}
            await self._post("/ops/v1/decodes", body, headers=_bearer(token) | _told(caller))

    async def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            answer = await self._http.post(path, json=body, headers=headers)
            document = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            log.warning("the operators' API cannot be asked", extra={"reason": type(error).__name__})
            raise _unavailable() from None
        if answer.is_success and isinstance(document, dict):
            return document
        raise _refusal(answer, document if isinstance(document, dict) else {})


def connect(ops_url: str) -> httpx.AsyncClient:
    """Redirects are not followed: a token goes to the configured address only."""
    return httpx.AsyncClient(base_url=ops_url, timeout=TIMEOUT_SECONDS, trust_env=False)


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _told(caller: Caller) -> dict[str, str]:
    return {"X-Forwarded-For": caller.address, "User-Agent": f"liushui-codec {caller.user_agent}".strip()}


def _refusal(answer: httpx.Response, document: Mapping[str, Any]) -> OperatorRefusedError:
    status, code = answer.status_code, str(document.get("code", "")).lower()
    if status in _PASSED_ON or (400 <= status < 500 and code):
        title, title_zh = document.get("title", "refused"), document.get("title_zh", "被拒绝")
        return OperatorRefusedError(
            status, code or "refused", str(title), str(title_zh), answer.headers.get("retry-after")
        )
    log.warning("the operators' API did not answer as it should", extra={"status": status})
    return _unavailable()


def _unavailable() -> OperatorRefusedError:
    return OperatorRefusedError(
        503,
        "operators_unavailable",
        "The operators' API cannot be reached; nothing is shown",
        "操作员接口不可用，不予显示",
        "2",
    )
