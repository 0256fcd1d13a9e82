"""The simulator as a web application: the banks' protocol, the control endpoints and the page of phones and
books.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response

from banks.signatures import milliseconds, read_private_key, read_public_key
from banks.simulator import erasure_control, fx_control, page
from banks.simulator.books import open_house_accounts
from banks.simulator.cards import BANK_NAMES
from banks.simulator.control import Bank, get_gateway
from banks.simulator.control import router as control_router
from banks.simulator.erasure_notices import finish_due_notices
from banks.simulator.fx_desk import finish_due_deals
from banks.simulator.fx_routes import add_fx_readings
from banks.simulator.gateway import Gateway, seconds_until
from banks.simulator.inbound import finish_due_returns
from banks.simulator.notices import NoticeSender
from banks.simulator.operations import BODIES
from banks.simulator.payments import finish_due
from banks.simulator.payouts import finish_due_payouts
from banks.simulator.protocol import Answer, Declarations, Operation
from banks.simulator.requests import forget_nonces
from banks.simulator.settings import SimulatorSettings
from banks.simulator.tables import open_books

logger = logging.getLogger("banks.simulator")

BankCodePath = Annotated[str, Path(examples=["HBRB"])]
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": Answer,
        "description": "`REQUEST_INVALID`: a field is wrong, missing or unknown. Nothing was recorded.",
    },
    401: {"model": Answer, "description": "`SIGNATURE_REFUSED` or `NONCE_REPLAYED`. Nothing was recorded."},
    409: {
        "model": Answer,
        "description": "`REQUEST_NUMBER_REUSED`: this number came with other content before.",
    },
    413: {"model": Answer, "description": "`REQUEST_TOO_LARGE`: over 16 KiB, a notice of erasure over 64 KiB."},
}


def create_app(settings: SimulatorSettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Builds the application; it opens its books when it starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine, connection = open_books(settings.database)
        with connection.begin():
            open_house_accounts(connection, BANK_NAMES)
        signing_key = read_private_key(settings.signing_key.get_secret_value())
        institution_key = read_public_key(settings.institution_public_key)
        gateway = Gateway(connection, settings, signing_key, institution_key, clock)
        app.state.gateway = gateway
        async with httpx.AsyncClient(timeout=5, trust_env=False, follow_redirects=False) as client:
            sender = NoticeSender(connection, settings, signing_key, settings.notify_url, clock, client)
            loops = (lambda: _finish_on_time(gateway), lambda: sender.run(gateway.queued))
            tasks = [asyncio.create_task(_keep_running(loop)) for loop in loops]
            yield
            await _end(tasks)
        connection.close()
        engine.dispose()

    app = FastAPI(
        title="Agreement payment protocol of the simulated banks",
        version="1",
        description="Signed both ways; see docs/bank_protocol.md. `/control` and the page are for the simulator only.",
        lifespan=lifespan,
        # FastAPI's page runs a script from elsewhere, on the same origin as `/control`.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_protocol_router())
    app.include_router(control_router)
    app.include_router(fx_control.router)
    app.include_router(erasure_control.router)
    app.include_router(page.router)
    return app


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


async def _keep_running(loop: Callable[[], Awaitable[None]]) -> None:
    """A background loop that fails is told of, by kind only, and starts again: a bank does not forget its duties."""
    while True:
        try:
            await loop()
        except Exception as error:
            logger.error("background work failed: %s", type(error).__name__)
            await asyncio.sleep(1)


async def _finish_on_time(gateway: Gateway) -> None:
    """Ends instructions that were answered PROCESSING when their time comes, and drops old nonces."""
    while True:
        gateway.due.clear()
        now = gateway.clock()
        with gateway.connection.begin():
            finish = (finish_due, finish_due_payouts, finish_due_deals, finish_due_returns, finish_due_notices)
            ends = [end(gateway.connection, gateway.behaviour, milliseconds(now)) for end in finish]
            due_at = min((at for at in ends if at is not None), default=None)
            # A timestamp may lie in the future by the whole window, so its nonce is kept for two windows.
            kept = (2 * gateway.behaviour.request_validity_seconds + 60) * 1000
            forget_nonces(gateway.connection, milliseconds(now) - kept)
        gateway.queued.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_until(due_at, now) + 0.001):
                await gateway.due.wait()


def _protocol_router() -> APIRouter:
    router = APIRouter(prefix="/banks/{bank_code}/v1", tags=["bank"])
    for operation, body in BODIES.items():
        _add_instruction(router, operation, body)

    @router.get("/requests/{request_number}", responses={200: {"model": Answer}, 404: {"model": Answer}})
    async def query(
        request: Request,
        bank: Bank,
        bank_code: BankCodePath,
        request_number: Annotated[str, Path(max_length=40)],
    ) -> Response:
        """What became of a request number; a signed 404 `REQUEST_NOT_FOUND` says that the bank does not
        know it.
        """
        return await bank.query(request, bank_code, request_number)

    add_fx_readings(router)

    @router.get("/statements/{day}", responses={200: {"content": {"text/csv": {}}}, 404: {"model": Answer}})
    async def statement(request: Request, bank: Bank, bank_code: BankCodePath, day: date) -> Response:
        """The statement of one Asia/Shanghai date: what was booked on the institution's reserve account."""
        return await bank.statement(request, bank_code, datetime.combine(day, time()))

    @router.get("/declarations", responses={200: {"model": Declarations}})
    async def declarations(request: Request, bank: Bank, bank_code: BankCodePath) -> Response:
        """How long the bank remembers request numbers, how long a request is valid, and its limits."""
        return await bank.declare(request, bank_code)

    return router


def _add_instruction(router: APIRouter, operation: Operation, body: type[Any]) -> None:
    async def endpoint(
        request: Request, bank_code: BankCodePath, bank: Annotated[Gateway, Depends(get_gateway)]
    ) -> Response:
        return await bank.instruct(request, bank_code, operation)

    # The signature covers the raw bytes, so the body is read and checked by hand; the document still shows
    # its schema.
    schema = {"content": {"application/json": {"schema": body.model_json_schema()}}, "required": True}
    router.add_api_route(
        f"/{operation.value}",
        endpoint,
        methods=["POST"],
        name=operation.value,
        description=body.__doc__,
        responses={200: {"model": Answer}, **_REFUSALS},
        openapi_extra={"requestBody": schema},
    )
