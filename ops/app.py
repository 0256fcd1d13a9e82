"""Entry point of the operators' API: `uvicorn ops.app:create_app --factory`. The only file of this room that wires."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from api.rate_limits import RateLimits
from config.policy import read_policy
from config.settings import OpsSettings, load_or_exit
from domain.policy import Policy
from ops.application import build
from ops.credentials import Passwords, SecondFactors
from ops.services import OpsServices
from runtime import logging, temporal
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from storage.database import create_engine
from storage.operators import ActRecords, Operators
from storage.ops_reading import OpsReading
from vault.retention_reading import RetentionReader
from wiring import forgotten_or_exit, open_stores
from workflows.starting import Processes


def create_app() -> FastAPI:
    """The application with settings from the environment; ends the process with code 2 if they are not fit."""
    settings = load_or_exit(OpsSettings)
    logging.configure_logging("ops", settings.log_level)
    forgotten_or_exit(settings)

    @asynccontextmanager
    async def open_services() -> AsyncIterator[OpsServices]:
        async with AsyncExitStack() as stack:
            yield await _wire(settings, stack)

    return build(open_services, needs_tls=settings.environment == "production", bind_request_id=logging.request_id)


async def _wire(settings: OpsSettings, stack: AsyncExitStack) -> OpsServices:
    stores = await stack.enter_async_context(open_stores(settings))
    client = await temporal.connect(settings.payload_keys, environment=settings.environment)
    policy = Policy.model_validate(read_policy())
    return OpsServices(
        clock=SystemClock(),
        ids=UlidSource(),
        engine=stores.engine,
        operators=Operators(stores.engine),
        records=ActRecords(stores.engine),
        reading=OpsReading(stores.engine),
        vault=stores.vault,
        processes=Processes(client),
        passwords=Passwords(),
        second_factors=SecondFactors(settings.operator_key.get_secret_value()),
        rate_limits=RateLimits(policy.rate_limits),
        fx_rules=policy.fx,
        closing_rules=policy.closing,
        retention_rules=policy.retention,
        contact=policy.contact,
        retained=_open_retained(settings, stores.keys, stack),
        temporal_namespace=client.namespace,
        ready={"database": stores.database_answers, "temporal": client.service_client.check_health},
    )


def _open_retained(settings: OpsSettings, keys: AsyncEngine, stack: AsyncExitStack) -> RetentionReader:
    """What is retained is opened by a role of its own and with a key that no other process has (P4.5e)."""
    main = create_engine(settings.retention_database_url.get_secret_value(), pool_size=2)
    stack.push_async_callback(main.dispose)
    return RetentionReader(main, keys, settings.retention_key.get_secret_value(), SystemClock().now)
