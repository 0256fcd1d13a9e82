"""Bodies as JSON objects, strictly: what two readers could read differently, or PostgreSQL could not store, is refused.

Refused are other encodings than UTF-8, duplicate names, NaN and infinities, NUL characters, lone surrogates and deep
nesting. Numbers of absurd length become numbers that no field accepts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from domain.errors import ErrorCode, FieldError, ValidationRefusedError

MAX_DEPTH = 8
_LONGEST_INTEGER = 30
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


class NotJsonError(ValidationRefusedError):
    """The body is not one strict JSON object."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.BODY_NOT_JSON)


def parse_object(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises NotJsonError, or ValidationRefusedError with the fields that cannot be stored."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded_integer,
        )
    except (ValueError, RecursionError):
        raise NotJsonError from None
    if not isinstance(value, dict):
        raise NotJsonError
    _check_content(value)
    return value


def field_name(*path: str | int) -> str:
    """A path in a body that is safe to repeat: what is not a plain name stands as `*`."""
    return ".".join(_safe(part) for part in path)


def _safe(part: str | int) -> str:
    text = str(part)
    if isinstance(part, int) or (_PLAIN_NAME.fullmatch(text) and not re.search(r"[0-9]{4}", text)):
        return text
    return "*"


def _check_content(value: dict[str, Any]) -> None:
    for path, item in _walk(value):
        if len(path) > MAX_DEPTH:
            raise NotJsonError
        if isinstance(item, str) and _UNSTORABLE.search(item):
            raise ValidationRefusedError(
                ErrorCode.REQUEST_INVALID, fields=[FieldError(field_name(*path), "unstorable_character")]
            )


def _walk(value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value and every name, with where it is; without recursion."""
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while stack:
        path, item = stack.pop()
        yield path, item
        if len(path) > MAX_DEPTH:
            continue
        if isinstance(item, dict):
            for name, child in item.items():
                yield (*path, name), name
                stack.append(((*path, name), child))
        elif isinstance(item, list):
            stack += [((*path, number), child) for number, child in enumerate(item)]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("out of range")
    return number


def _bounded_integer(text: str) -> int:
    # Longer than any field takes, and no work to convert.
    return int(text[: _LONGEST_INTEGER + 1])
