"""What the worker and the API both need, opened once and closed in good order; used by entry points only."""

from __future__ import annotations

import asyncio
import base64
import sys
import tomllib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from banks.agreement_pay.config import BankConnection
from banks.directory import BankDirectory, BankRegister, build_directory
from config.policy import read_policy
from config.settings import ApplicationSettings, StoreSettings
from domain.retention import RetentionRules
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from storage.batcher import Batcher
from storage.closures import ClosureBook
from storage.database import create_engine
from vault.erasures import ErasureList
from vault.forgetting import Forgetting, KeepFirst, MissingErasures, NotForgottenYetError
from vault.leaving import Retaining
from vault.retention import RetentionStore
from vault.sealing import MasterKeys
from vault.vault import Vault
from workflows import policies

CONFIG = Path(__file__).resolve().parent / "config"
# Two of them in one statement would post to the ledger twice in one transaction, out of its order of locks.
ONE_AT_A_TIME = frozenset({"app.accept_refunds", "app.accept_payouts"})
# So long a process that serves waits for the worker, which starts beside it, to forget again on restored data.
FORGETTING_PATIENCE_SECONDS = 25.0


@dataclass(frozen=True)
class Stores:
    """The open engines on the books and the keys, the vault, what is retained by law, and the erasure list."""

    engine: AsyncEngine
    vault: Vault
    keys: AsyncEngine
    retention: RetentionStore
    erasures: ErasureList

    def retaining(self) -> Retaining:
        """What copies into the retention store what the law keeps."""
        return Retaining(ClosureBook(self.engine), self.vault, self.retention, UlidSource().ulid)

    def forgetting(self, keep_first: KeepFirst | None = None) -> Forgetting:
        """What carries out the erasure list here, as the app roles; what the law keeps of a person is kept first."""
        keep = keep_first or self.retaining().everything
        return Forgetting(self.engine, self.vault, self.retention, self.erasures, keep)

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
    """Engines on the three databases, the vault and the retention store."""
    engine = create_engine(settings.database_url.get_secret_value())
    keys = create_engine(settings.key_database_url.get_secret_value(), pool_size=4)
    erasures = create_engine(settings.erasure_database_url.get_secret_value(), pool_size=2)
    clock = SystemClock().now
    vault = Vault(
        main=engine,
        keys=keys,
        master_keys=MasterKeys([settings.master_key.get_secret_value()]),
        index_key=settings.index_key.get_secret_value(),
        clock=clock,
    )
    rules = RetentionRules.model_validate(read_policy()["retention"])
    retention = RetentionStore(engine, keys, settings.retention_public_key, clock, rules)
    try:
        yield Stores(engine, vault, keys, retention, ErasureList(erasures))
    finally:
        await engine.dispose()
        await keys.dispose()
        await erasures.dispose()


def forgotten_or_exit(settings: StoreSettings, *, patience_seconds: float = FORGETTING_PATIENCE_SECONDS) -> None:
    """For entry points that serve: returns once all of the erasure list is carried out on the data that are there.

    Else, also if that cannot be found out, it prints a sentence and ends the process with code 2 (P3.3, P4.5).
    """
    with ThreadPoolExecutor(1) as beside:  # the server that calls this has an event loop running already
        try:
            beside.submit(lambda: asyncio.run(_until_forgotten(settings, patience_seconds))).result()
        except NotForgottenYetError as error:
            print(error, file=sys.stderr)
        except (OSError, DBAPIError) as error:
            cause = getattr(error.orig, "__cause__", None) or error.orig if isinstance(error, DBAPIError) else error
            why = f"the database or the erasure list cannot be read: {type(cause).__name__}"
            print(f"Whether all is forgotten that has to be cannot be found out ({why}).", file=sys.stderr)
        else:
            return
    raise SystemExit(2)


async def _until_forgotten(settings: StoreSettings, patience_seconds: float) -> None:
    main = create_engine(settings.database_url.get_secret_value(), pool_size=1)
    erasures = create_engine(settings.erasure_database_url.get_secret_value(), pool_size=1)
    try:
        await MissingErasures(main, ErasureList(erasures)).refuse_until_none(patience_seconds=patience_seconds)
    finally:
        await main.dispose()
        await erasures.dispose()


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
            yield Adapters(stores.engine, stores.vault, stores.keys, stores.retention, stores.erasures, batchers, banks)
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
