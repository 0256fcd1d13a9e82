"""Is the process there, and can it do its work?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.services import services_of

router = APIRouter(include_in_schema=False)
_PATIENCE_SECONDS = 2.0


@router.get("/health")
async def health() -> Response:
    """200 as long as the process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/ready")
async def ready(request: Request) -> Response:
    """200 if the database and Temporal answer, else 503; says which does not."""
    checks = services_of(request).ready
    states = await asyncio.gather(*(_state(check) for check in checks.values()))
    parts = dict(zip(checks, states, strict=True))
    well = all(state == "ok" for state in parts.values())
    return JSONResponse({"status": "ok" if well else "failing", "parts": parts}, 200 if well else 503)


async def _state(check: Callable[[], Awaitable[bool]]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return "ok" if await check() else "failing"
    except Exception:  # whatever it could not do, it is not ready
        return "failing"
