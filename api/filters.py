"""What lists are filtered by, as the address's query names it."""

from __future__ import annotations

from api.calls import Call
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier


def user_filter(call: Call) -> str | None:
    """A user; what can be nobody's id finds nothing."""
    given = call.query.get("user_id")
    return given if given is None or is_identifier(given, IdPrefix.USER) else ""


def state_filter(call: Call, states: frozenset[str]) -> str | None:
    """A state. Raises ValidationRefusedError for what is none."""
    given = call.query.get("state")
    if given is not None and given not in states:
        faults = [FieldError("state", "not_one_of_the_values")]
        raise ValidationRefusedError(ErrorCode.REQUEST_INVALID, fields=faults)
    return given
