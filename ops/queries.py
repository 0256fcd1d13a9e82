"""What stands in the query of an address: read once, refused clearly."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from api.calls import DEFAULT_PAGE, MAX_PAGE
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.identity import holds_id_number
from ops.calls import Call

LONGEST_TEXT = 128


def text_of(call: Call, name: str, pattern: str = r"[^\x00-\x1f\x7f]{1,128}") -> str | None:
    """A parameter that fits a pattern, or None. Raises ValidationRefusedError; an ID number is never looked up."""
    given = call.query.getlist(name)
    if not given:
        return None
    if len(given) > 1 or re.fullmatch(pattern, given[0]) is None or holds_id_number(given[0]):
        raise _wrong(name, "wrong_format")
    return given[0]


def instant_of(call: Call, name: str) -> datetime | None:
    """An RFC 3339 instant with a zone."""
    given = text_of(call, name)
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
        if found.tzinfo is None:
            raise _wrong(name, "wrong_format")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(name, "wrong_format") from None


def limit_of(call: Call) -> int:
    """How many items a page has."""
    given = text_of(call, "limit", r"[1-9][0-9]{0,2}")
    if given is not None and int(given) > MAX_PAGE:
        raise _wrong("limit", "out_of_range")
    return int(given) if given else DEFAULT_PAGE


def _wrong(name: str, code: str) -> ValidationRefusedError:
    return ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=[FieldError(name, code)])
