"""The register of refusals: for each code, how a request comes to be refused with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import sqlalchemy as sa

from domain.error_codes import ErrorCode
from tests.api.conftest import Merchant, Stage

C = ErrorCode
Ask = Callable[[], Awaitable[httpx.Response]]
Scenario = Callable[[Stage], Awaitable[Ask]]
SCENARIOS: dict[ErrorCode, Scenario] = {}


def refused_with(code: ErrorCode) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS[code] = scenario
        return scenario

    return register


async def change(stage: Stage, statement: str) -> None:
    async with stage.database.owner_engine.begin() as connection:
        await connection.exec_driver_sql(statement)
        await connection.execute(sa.text("SELECT true"))


async def signing_merchant(stage: Stage) -> Merchant:
    """One that has a signing key in use: from then on every command is signed."""
    merchant = await stage.merchant()
    await stage.sign(merchant)
    return merchant
