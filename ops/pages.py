"""Cursors of the operators' lists."""

from __future__ import annotations

import re

from api.calls import read_cursor
from ops.calls import Call


def cursor_of(call: Call, pattern: str) -> str | None:
    """The item after which a page begins. Raises ValidationRefusedError(CURSOR_INVALID)."""
    return read_cursor(call.query.get("cursor"), lambda value: re.fullmatch(pattern, value) is not None)
