"""What can go wrong, as one tree. Decide by `code`, which never changes its meaning; no message holds personal data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class FaultyField(BaseModel):
    """One wrong field: its path in the request, and a stable code; never its value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    field: str
    code: str


class _Problem(BaseModel):
    """RFC 9457, as the API fills it; what a later version adds is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    code: str
    title: str = ""
    title_zh: str = ""
    detail: str = ""
    action: str = ""
    action_zh: str = ""
    errors: tuple[FaultyField, ...] = ()
    subject_id: str | None = None
    request_id: str | None = None
    attempts_left: int | None = None


class LiushuiError(Exception):
    """Anything that a call can end with but its answer.

    `code` is stable; `title`, `action` and their Chinese twins are for people; `errors` names wrong fields;
    `subject_id` is what stands in the way; `retry_after` is in seconds; `attempts_left` is of a wrong code.
    `idempotency_key` is the key of the call. `may_have_been_done` is True where an attempt got no answer that would
    settle it: call again with this key, with no other, to learn what became of it.
    """

    def __init__(
        self,
        code: str,
        *,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        may_have_been_done: bool = False,
    ) -> None:
        said = _read(code, problem)
        self.code, self.status = said.code, status
        self.title, self.title_zh = said.title, said.title_zh
        self.detail, self.action, self.action_zh = said.detail, said.action, said.action_zh
        self.errors, self.subject_id, self.request_id = said.errors, said.subject_id, said.request_id
        self.attempts_left, self.retry_after = said.attempts_left, retry_after
        self.idempotency_key, self.may_have_been_done = idempotency_key, may_have_been_done
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        fields = ", ".join(f"{found.field} {found.code}" for found in self.errors)
        parts = [self.code + (f" ({fields})" if fields else ""), self.title, self.action]
        if self.may_have_been_done:
            parts.append(f"It may have been done: call again with idempotency_key={self.idempotency_key!r}")
        return ". ".join(part.rstrip(".") for part in parts if part)


def _read(code: str, problem: Mapping[str, Any] | None) -> _Problem:
    try:
        return _Problem.model_validate(problem or {"code": code})
    except ValidationError:
        return _Problem(code=code)


class RequestInvalidError(LiushuiError):
    """The request itself is wrong (400, 405, 413 …): a mistake in the program that made it."""


class AuthenticationError(LiushuiError):
    """The API key or the signature is not accepted (401)."""


class NotAllowedError(LiushuiError):
    """The key may not do this (403)."""


class NotFoundError(LiushuiError):
    """You have no such thing (404)."""


class ConflictError(LiushuiError):
    """It contradicts what is there or under way (409)."""


class RefusedError(LiushuiError):
    """A rule says no (422): nothing was moved."""


class TooManyRequestsError(LiushuiError):
    """Too fast (429); `retry_after` says how long to wait."""


class NoAnswerError(LiushuiError):
    """There was no answer, or none that counts (5xx), in all the time that the retries had."""


class UnexpectedAnswerError(LiushuiError):
    """The answer is not one of the API's: something else is at this address, or this client is too old."""


_BY_STATUS: dict[int, type[LiushuiError]] = {
    401: AuthenticationError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    422: RefusedError,
    429: TooManyRequestsError,
}


def error_class(status: int) -> type[LiushuiError]:
    """The class of a problem by its HTTP status."""
    if status >= 500:
        return NoAnswerError
    return _BY_STATUS.get(status, RequestInvalidError)


class StillWaitingError(Exception):
    """What was waited for did not come in time. `resource` is as it was last read; nothing about it is wrong."""

    def __init__(self, resource: Any, within_seconds: float) -> None:
        self.resource = resource
        waiting = getattr(resource, "waiting_for", None)
        reason = f", waiting for {waiting.reason}" if waiting else ""
        super().__init__(f"still {getattr(resource, 'state', 'there')} after {within_seconds:g} s{reason}")


class WebhookRejectedError(Exception):
    """A message that did not come from Liushui, is too old, or is no event; `reason` is a stable word."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
