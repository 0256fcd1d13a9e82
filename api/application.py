"""The application from its routes, without any wiring: `api/app.py` and the tests hand it the services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from api import (
    agreement,
    balances,
    bindings,
    callbacks,
    closures,
    disputes,
    documentation,
    events,
    fx,
    fx_mandates,
    health,
    inbounds,
    payees,
    payments,
    payouts,
    receiving_accounts,
    refunds,
    reports,
    settlements,
    signing_keys,
    users,
    waiver,
    webhook_endpoints,
)
from api.envelope import BindRequestId, Envelope
from api.limits_on_size import SizeLimits
from api.services import Services
from api.unknown_addresses import refusal_among

TITLE, VERSION = "Liushui merchant API", "v1"
_DESCRIPTION = (
    "Bind bank cards, collect payments, refund them, pay out to bank accounts, receive foreign currency and convert it "
    "into CNY, close accounts. Amounts are integers of minor units. "
    "Every refusal is an RFC 9457 problem with a stable `code`. Every resource that is not final says what it waits "
    "for in `waiting_for`."
)
_ROUTERS = (
    users,
    bindings,
    payments,
    refunds,
    payees,
    payouts,
    receiving_accounts,
    inbounds,
    fx_mandates,
    fx,
    reports,
    disputes,
    closures,
    settlements,
    balances,
    waiver,
    signing_keys,
    agreement,
    events,
    webhook_endpoints,
    callbacks,
    health,
    documentation,
)


def build(
    open_services: Callable[[], AbstractAsyncContextManager[Services]],
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
    app.add_middleware(SizeLimits)
    app.add_middleware(Envelope, bind_request_id=bind_request_id, needs_tls=needs_tls)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = documentation.complete(
            get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        )
    return app.openapi_schema
