"""A vault on fresh databases, with a clock that stands still until it is told to move."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from domain.personal_data import PersonalField
from tests.conftest import Database
from vault.sealing import MasterKeys, SealedItem
from vault.user_keys import UserKeys
from vault.vault import Vault

MASTER_KEY = bytes(range(32))
INDEX_KEY = bytes(range(100, 132))
ELEMENTS = {
    PersonalField.NAME: "欧阳娜娜",
    PersonalField.ID_NUMBER: "310101199001011237",
    PersonalField.CARD_NUMBER: "6217001234567890122",
    PersonalField.MOBILE: "13800001234",
}


@dataclass
class StandingClock:
    """Answers the same instant until `advance`; also counts seconds for caches."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 22, 4, tzinfo=UTC))
    seconds: float = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class VaultCase:
    """A vault, its databases, and the ways in which a test looks behind it."""

    database: Database
    clock: StandingClock

    def open_vault(self, *, master_keys: Sequence[bytes] = (MASTER_KEY,), cache_size: int = 4096) -> Vault:
        """A further process's view: the same databases, nothing in memory."""
        keys = MasterKeys(master_keys)
        return Vault(
            main=self.database.app_engine,
            keys=self.database.key_app_engine,
            master_keys=keys,
            index_key=INDEX_KEY,
            clock=self.clock,
            user_keys=UserKeys(
                self.database.key_app_engine, keys, monotonic=self.clock.monotonic, cache_size=cache_size
            ),
        )

    async def enrol(
        self, vault: Vault, values: Mapping[PersonalField, str] | None = None
    ) -> tuple[str, list[SealedItem]]:
        """A new user whose values are sealed and stored."""
        user_id = f"usr_{ULID()}"
        await vault.ensure_user_key(user_id)
        items = await vault.seal(user_id, ELEMENTS if values is None else values)
        await self.call("vault.store_items", [item.model_dump(mode="json") for item in items])
        return user_id, items

    async def call(self, function: str, rows: object) -> Any:
        """Calls a function of one JSON argument as the app role."""
        async with self.database.app_engine.begin() as connection:
            statement = sa.text(f"SELECT {function}(CAST(:rows AS jsonb))")
            return (await connection.execute(statement, {"rows": json.dumps(rows)})).scalar_one()

    async def rows(self, statement: str, engine: AsyncEngine | None = None) -> list[dict[str, Any]]:
        """What a statement answers, by default to the owner of the main database."""
        async with (engine or self.database.owner_engine).begin() as connection:
            return [dict(row) for row in (await connection.execute(sa.text(statement))).mappings()]

    async def run(self, statement: str, engine: AsyncEngine) -> None:
        """Runs one statement in a transaction of its own."""
        async with engine.begin() as connection:
            await connection.execute(sa.text(statement))


@pytest.fixture
def case(database: Database) -> VaultCase:
    return VaultCase(database, StandingClock())


@pytest.fixture
def vault(case: VaultCase) -> Vault:
    return case.open_vault()
