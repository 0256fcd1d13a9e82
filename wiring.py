"""What the worker and the API both need, opened once and closed in good order; used by entry points only."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from banks.agreement_pay.config import BankConnection
from banks.directory import BankDirectory, BankRegister, build_directory
from config.settings import ApplicationSettings, StoreSettings
from runtime.clock import SystemClock
from storage.batcher import Batcher
from storage.database import create_engine
from vault.sealing import MasterKeys
from vault.vault import Vault
from workflows import policies

CONFIG = Path(__file__).resolve().parent / "config"
# Two of them in one statement would post to the ledger twice in one transaction, out of its order of locks.
ONE_AT_A_TIME = frozenset({"app.accept_refunds", "app.accept_payouts"})


@dataclass(frozen=True)
class Stores:
    """The open engine on the books, and the vault."""

    engine: AsyncEngine
    vault: Vault

    async def database_answers(self) -> bool:
        """For health checks."""
        async with self.engine.connect() as connection:
            return bool(await connection.scalar(sa.text("SELECT true")))


@dataclass(frozen=True)
class Adapters(Stores):
    """The same with batchers by function, and the banks."""

    batchers: dict[str, Batcher]
    banks: BankDirectory


@asynccontextmanager
async def open_stores(settings: StoreSettings) -> AsyncIterator[Stores]:
    """Engines on both databases, and the vault."""
    engine = create_engine(settings.database_url.get_secret_value())
    keys = create_engine(settings.key_database_url.get_secret_value(), pool_size=4)
    vault = Vault(
        main=engine,
        keys=keys,
        master_keys=MasterKeys([settings.master_key.get_secret_value()]),
        index_key=settings.index_key.get_secret_value(),
        clock=SystemClock().now,
    )
    try:
        yield Stores(engine, vault)
    finally:
        await engine.dispose()
        await keys.dispose()


@asynccontextmanager
async def open_adapters(
    settings: ApplicationSettings, functions: Sequence[str], *, give_up_after_seconds: float = 30.0
) -> AsyncIterator[Adapters]:
    """The stores, one batcher for each function, the banks."""
    async with open_stores(settings) as stores:
        batchers = {
            name: Batcher(
                stores.engine,
                name,
                max_batch=1 if name in ONE_AT_A_TIME else 256,
                give_up_after_seconds=give_up_after_seconds,
            )
            for name in functions
        }
        banks = open_banks(settings)
        try:
            yield Adapters(stores.engine, stores.vault, batchers, banks)
        finally:
            for batcher in batchers.values():
                await batcher.close()
            await banks.close()


def read_bank_register() -> BankRegister:
    """`config/banks.toml`. Raises ValueError if a bank may take longer than an activity waits for it."""
    with (CONFIG / "banks.toml").open("rb") as file:
        register = BankRegister.from_toml(tomllib.load(file))
    for bank in register.banks:
        if bank.timeout_seconds >= policies.BANK_STEP_TIMEOUT.total_seconds() - 5:
            raise ValueError(f"banks.toml: timeout_seconds of {bank.code} is too long for an activity to wait")
    return register


def open_banks(settings: ApplicationSettings) -> BankDirectory:
    """The connectors, all of them to the simulator: it is the only bank this release speaks to."""
    register = read_bank_register()
    connection = BankConnection.from_encoded(
        settings.simulator_url,
        base64.b64encode(settings.bank_signing_key.get_secret_value()).decode(),
        base64.b64encode(settings.simulator_public_key.get_secret_value()).decode(),
    )
    return build_directory(register, {bank.code: connection for bank in register.banks})
