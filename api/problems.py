"""The one place that turns errors into HTTP: RFC 9457 problem documents with the institution's stable codes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from domain.error_codes import ERROR_TEXTS, ErrorCode, ErrorKind
from domain.errors import DomainError, FieldError, UnavailableError
from storage.batcher import BatcherClosedError, StorageUnavailableError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS_OF_KIND = {
    ErrorKind.MALFORMED: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.REFUSED: 422,
    ErrorKind.TOO_MANY: 429,
    ErrorKind.UNAVAILABLE: 503,
}
_STATUS_OF_CODE = {ErrorCode.METHOD_NOT_ALLOWED: 405}
# What a caller waits before it asks again, unless the error says better.
_RETRY_AFTER_SECONDS = {
    ErrorCode.SERVICE_UNAVAILABLE: 2,
    ErrorCode.IDEMPOTENCY_IN_PROGRESS: 1,
    ErrorCode.CODE_ATTEMPT_IN_PROGRESS: 2,
}
_WHAT_IS_NEEDED = {ErrorCode.SCOPE_MISSING: "scope", ErrorCode.PERMISSION_MISSING: "permission"}
_HTTP_ERRORS = {404: ErrorCode.ROUTE_NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}
_OUTAGES = (StorageUnavailableError, BatcherClosedError, SQLAlchemyError, OSError, TimeoutError)


class RecordedAs(NamedTuple):
    """What goes on record of a refusal, where an error says more than its code (as `recorded_as`)."""

    action: str
    reason: str
    partner: str | None = None


def status_of(code: ErrorCode) -> int:
    """The HTTP status of a code; it never depends on anything else."""
    return _STATUS_OF_CODE.get(code) or _STATUS_OF_KIND[ERROR_TEXTS[code].kind]


def error_of(error: Exception) -> DomainError:
    """The domain error that an exception amounts to. What nobody expected is an outage of ours, logged by its type."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, HTTPException):
        return DomainError(_HTTP_ERRORS.get(error.status_code, ErrorCode.REQUEST_INVALID))
    if isinstance(error, ClientDisconnect):
        # The caller hung up in the middle of its body: nobody reads the answer, and nothing of ours has failed.
        return DomainError(ErrorCode.REQUEST_INVALID)
    expected = isinstance(error, _OUTAGES)
    log.log(logging.WARNING if expected else logging.ERROR, "request failed", extra={"reason": type(error).__name__})
    return UnavailableError(ErrorCode.SERVICE_UNAVAILABLE)


def answer_of(error: DomainError) -> dict[str, Any]:
    """An error as it is kept for replays: `{"ok": false, "error": snake_code, …}`."""
    answer: dict[str, Any] = {"ok": False, "error": error.code.value.lower(), "subject_id": error.subject_id}
    answer["fields"] = [{"field": item.field, "code": item.code} for item in fields_of(error)]
    answer["retry_after_seconds"] = error.retry_after_seconds
    answer["attempts_left"] = getattr(error, "attempts_left", None)
    return {name: value for name, value in answer.items() if value not in (None, [])}


def fields_of(error: DomainError) -> Sequence[FieldError]:
    """Which fields were wrong, with a code each."""
    if error.fields or error.field is None:
        return error.fields
    return (FieldError(error.field, error.code.value.lower()),)


def problem(answer: Mapping[str, Any], request_id: str, *, scope: str | None = None) -> JSONResponse:
    """The problem document of an error as `answer_of` or an accepting function states it."""
    code = ErrorCode(str(answer["error"]).upper())
    status = status_of(code)
    retry_after = answer.get("retry_after_seconds") or _RETRY_AFTER_SECONDS.get(code)
    body = document(code, scope=scope) | {
        # Named one by one, because what was kept comes back in another order.
        "errors": [{"field": item["field"], "code": item["code"]} for item in answer.get("fields", ())],
        "subject_id": answer.get("subject_id"),
        "request_id": request_id,
    }
    if "attempts_left" in answer:
        body["attempts_left"] = answer["attempts_left"]
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def document(code: ErrorCode, *, scope: str | None = None) -> dict[str, Any]:
    """What is the same in every problem of a code."""
    text = ERROR_TEXTS[code]
    word = _WHAT_IS_NEEDED.get(code)
    needed = f" The {word} {scope} is needed." if scope and word else ""
    return {
        "type": f"/docs#{code.value}",
        "title": text.title_en,
        "title_zh": text.title_zh,
        "status": status_of(code),
        "code": code.value,
        "detail": f"{text.title_en}.{needed} {text.title_zh}。",
        "action": text.action_en,
        "action_zh": text.action_zh,
    }
