"""The whole of Liushui in a folder of its own, and the institution's staff, who give keys and decide applications."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cli.stack import local_stack
from client import SigningKey
from domain.decisions import DecisionKind
from domain.identifiers import IdPrefix, identifier
from runtime.id_source import UlidSource
from runtime.stack import LocalStack
from storage import signing_keys
from storage.administration import SCOPES, Act, create_merchant, issue_key, revoke_key
from storage.decisions import decide_directly
from tests.end_to_end.audit import settled_findings
from tests.end_to_end.play import Merchant

# Every wait of a fault that a test would otherwise sit through. A bank is given 5 s (config/banks.toml), so what is to
# run into that takes longer.
QUICK_FAULTS = {
    "SIMULATOR_PROCESSING_SECONDS": "2",
    "SIMULATOR_HANG_SECONDS": "7",
    "SIMULATOR_ARRIVES_LATE_SECONDS": "7",
    "SIMULATOR_SLOW_SECONDS": "2",
    "SIMULATOR_LATE_SUCCESS_SECONDS": "62",
    "SIMULATOR_OPENING_BALANCE_MINOR": "100000000",
}


@contextmanager
def running_stack(overrides: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[LocalStack]:
    """A stack that is up; afterwards nothing of it is left, but its logs in the folder `LIUSHUI_KEEP_LOGS` if named."""
    folder = Path(tempfile.mkdtemp(prefix="liushui-whole-"))
    folder.chmod(0o755)  # PostgreSQL under root keeps its data here as another account
    stack = local_stack(folder, overrides=overrides or {"simulator": QUICK_FAULTS})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        if kept := os.environ.get("LIUSHUI_KEEP_LOGS"):
            shutil.copytree(folder / "log", Path(kept) / folder.name)
        shutil.rmtree(folder)


@dataclass
class World:
    """A running stack as one test sees it."""

    stack: LocalStack
    owner: AsyncEngine
    http: httpx.AsyncClient
    ids: UlidSource = field(default_factory=UlidSource)

    @property
    def simulator(self) -> str:
        return self.stack.addresses["simulator"]

    async def merchant(self, name: str = "海棠书店", *, patience_seconds: float = 0, signs: bool = True) -> Merchant:
        """A merchant of the institution with a key for everything, which signs all its instructions."""
        merchant_id, act = identifier(IdPrefix.MERCHANT, self.ids.ulid()), self._act()
        await create_merchant(self.owner, act, merchant_id, name, act.at + timedelta(days=365))
        key = await issue_key(self.owner, act, self.ids.ulid(), merchant_id, SCOPES)
        signing_key = await self.signing_key(merchant_id) if signs else None
        return Merchant(merchant_id, key, self.http, self.simulator, patience_seconds, signing_key)

    async def signing_key(self, merchant_id: str) -> SigningKey:
        """A new one, which the institution registers."""
        ulid = self.ids.ulid()
        key = SigningKey(identifier(IdPrefix.SIGNING_KEY, ulid), Ed25519PrivateKey.generate())
        await signing_keys.register(self.owner, self._act(), ulid, merchant_id, key.public_key_pem)
        return key

    async def with_new_key(self, merchant: Merchant) -> Merchant:
        """The same merchant with another API key."""
        key = await issue_key(self.owner, self._act(), self.ids.ulid(), merchant.id, SCOPES)
        return dataclasses.replace(merchant, key=key)

    async def revoke(self, merchant: Merchant) -> None:
        await revoke_key(self.owner, self._act(), f"key_{merchant.key.split('_')[1]}")

    async def waiver(self, merchant: Merchant, limit_minor: int = 20_000) -> str:
        """Payment without a code up to a limit: applied for, approved; answers the version to authorise."""
        application = await merchant.done(
            "POST", "/v1/waiver/applications", {"limit_minor": limit_minor, "currency": "CNY"}
        )
        await decide_directly(self.owner, DecisionKind.WAIVER_APPROVE, application["id"], datetime.now(UTC))
        version: str = (await merchant.get("/v1/waiver"))["version"]
        return version

    async def control(self, path: str, body: Any) -> None:
        """Makes the simulator misbehave."""
        (await self.http.post(f"{self.simulator}/control/{path}", json=body)).raise_for_status()

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.owner.connect() as connection:
            found = await connection.execute(sa.text(statement), parameters)
            return [dict(row) for row in found.mappings()]

    async def wrong(self) -> list[str]:
        """What does not agree between instructions, ledger, records and the banks' books."""
        return await settled_findings(self.owner, self.simulator)

    @staticmethod
    def _act() -> Act:
        return Act("operator:test", datetime.now(UTC))


@asynccontextmanager
async def world_on(stack: LocalStack) -> AsyncIterator[World]:
    """A test's own connections to the stack."""
    url = stack.environment["migrations"]["LIUSHUI_OWNER_DATABASE_URL"]
    async with AsyncExitStack() as exits:
        owner = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
        exits.push_async_callback(owner.dispose)
        limits = httpx.Limits(max_connections=128)
        http = await exits.enter_async_context(
            httpx.AsyncClient(base_url=stack.addresses["api"], timeout=30, trust_env=False, limits=limits)
        )
        yield World(stack, owner, http)
