"""The API's document, made once a test process: to describe all routes takes half a second."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

from api.application import build


@cache
def api_document() -> dict[str, Any]:
    """OpenAPI as the API serves it; the same for every policy and stage. Not to be changed."""
    return build(nullcontext, needs_tls=False).openapi()  # type: ignore[arg-type]
