"""The operators' API from its routes, without any wiring: `ops/app.py` and the tests hand it the services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from api import documentation as shared_documentation
from api import health
from api.envelope import BindRequestId, Envelope
from api.limits_on_size import SizeLimits
from api.unknown_addresses import refusal_among
from ops import (
    calendars,
    closures,
    decisions,
    decodes,
    disputes,
    documentation,
    fx,
    inbounds,
    instructions,
    matters,
    merchants,
    operators,
    payouts,
    records,
    retention,
    reviews,
    screening,
    sessions,
    settlements,
    users,
)
from ops.services import OpsServices

TITLE, VERSION = "Liushui operators' API", "v1"
_DESCRIPTION = (
    "For the institution's own people. Everybody logs in with password and second factor; roles say who may do what; "
    "every request is recorded with the person behind it. Refusals are RFC 9457 problems with a stable `code`."
)
_ROUTERS = (
    sessions, instructions, payouts, reviews, screening, settlements, fx, inbounds, closures, disputes,
    retention, decisions, matters, users, records,
    merchants, operators, calendars, decodes, shared_documentation, health,
)  # fmt: skip


def build(
    open_services: Callable[[], AbstractAsyncContextManager[OpsServices]],
    *,
    needs_tls: bool,
    bind_request_id: BindRequestId = lambda _: nullcontext(),
) -> FastAPI:
    """The application; its services are opened at start-up, and closed when all work that was begun is done."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            try:
                yield
            finally:
                await services.work.wait_until_done()

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: refusal_among(route for room in _ROUTERS for route in room.router.routes)},
    )
    for room in _ROUTERS:
        app.include_router(room.router)
    app.add_middleware(SizeLimits, larger={screening.LISTS_PATH: screening.MAX_LIST_BYTES})
    app.add_middleware(Envelope, bind_request_id=bind_request_id, needs_tls=needs_tls)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = documentation.complete(
            get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        )
    return app.openapi_schema
