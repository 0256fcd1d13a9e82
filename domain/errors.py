"""The tree of what can go wrong, one stable code each, with what to do about it in English and Chinese.

A code never changes its meaning. `api/problems.py` alone maps codes to HTTP. Messages hold no personal data:
they name a field, never its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.error_codes import ErrorCode

__all__ = [
    "ConflictError",
    "DomainError",
    "EffectRefusedError",
    "ErrorCode",
    "FieldError",
    "NotAllowedError",
    "NotFoundError",
    "RefusedError",
    "SettlementRefusedError",
    "UnavailableError",
    "ValidationRefusedError",
]


class Severity(StrEnum):
    """Who has to act on an error."""

    CALLER = "caller"
    INSTITUTION = "institution"


@dataclass(frozen=True)
class FieldError:
    """One wrong field: its path in the request and a stable code; never its value."""

    field: str
    code: str


class DomainError(Exception):
    """Anything the institution refuses or cannot do now; `code` is stable, `field` names one wrong field, if any."""

    def __init__(
        self,
        code: ErrorCode,
        *,
        field: str | None = None,
        fields: Sequence[FieldError] = (),
        retry_after_seconds: int | None = None,
        subject_id: str | None = None,
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.field = field
        self.fields = tuple(fields)
        self.retry_after_seconds = retry_after_seconds
        self.subject_id = subject_id


class RefusedError(DomainError):
    """A rule says no (A3.4): nothing was moved and no partner was called."""


class ValidationRefusedError(RefusedError):
    """The request itself is wrong; `fields` says where."""


class NotAllowedError(DomainError):
    """Who asks is not known, or may not ask this."""


class NotFoundError(DomainError):
    """There is no such thing for this merchant; another merchant's things do not exist for it either."""


class ConflictError(DomainError):
    """It contradicts what is already there or under way."""


class UnavailableError(DomainError):
    """A part of ours did not answer; nothing is known to be wrong with the request. Try again with the same key."""


class SettlementRefusedError(Exception):
    """A settlement did not fit what the books hold; `error` is the snake_case code, `state` what was found."""

    def __init__(self, error: str, state: str | None) -> None:
        super().__init__(error)
        self.error = error
        self.state = state


class EffectRefusedError(Exception):
    """A send claim was refused: something stands in the way, and nothing was sent now.

    `sent_before`: under the same number something may have been sent earlier, so the refusal says nothing about that.
    """

    def __init__(self, error: str, state: str | None, *, sent_before: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.state = state
        self.sent_before = sent_before
