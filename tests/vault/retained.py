"""A retention store over a test's books, with people who decide, a key pair of its own, and a clock set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from pyrage import x25519
from ulid import ULID

from domain.business_time import SHANGHAI
from domain.retention import PurgeReport, RetainedKind, RetentionRules
from storage.database import create_engine
from tests.conftest import Database
from tests.storage.books import NOW, Books, open_books
from tests.storage.deciders import Deciders, enrol_deciders
from vault.erasures import ErasureList
from vault.forgetting import Forgetting
from vault.purging import RetentionPurge
from vault.retention import RetainedRecord, RetentionStore
from vault.retention_reading import RetentionReader

RULES = RetentionRules()
NAME = "欧阳留存"


@dataclass
class Clock:
    """The instant that it is set to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def set(self, day: date) -> None:
        """Twenty to four in the morning of a day, when the purge runs."""
        self.now = datetime.combine(day, time(3, 40), SHANGHAI)


@dataclass
class Retained:
    """The store, whoever may open it, the purge, and the books behind them."""

    database: Database
    books: Books
    deciders: Deciders
    identity: x25519.Identity = field(default_factory=x25519.Identity.generate)
    clock: Clock = field(default_factory=Clock)

    @property
    def store(self) -> RetentionStore:
        public = str(self.identity.to_public())
        return RetentionStore(self.database.app_engine, self.database.key_app_engine, public, self.clock, RULES)

    @property
    def reader(self) -> RetentionReader:
        return RetentionReader(
            self.database.retention_engine, self.database.key_ops_engine, str(self.identity), self.clock
        )

    @property
    def erasures(self) -> ErasureList:
        return ErasureList(self.database.erasure_app_engine)

    @property
    def forgetting(self) -> Forgetting:
        return Forgetting(self.database.app_engine, self.books.vault, self.store, self.erasures)

    @property
    def purge(self) -> RetentionPurge:
        return RetentionPurge(self.database.app_engine, self.forgetting, self.clock)

    def record(
        self, kind: RetainedKind, event_on: date, content: dict[str, Any] | None = None, **changes: Any
    ) -> RetainedRecord:
        values = {
            "record_id": f"ret_{ULID()}", "user_id": self.books.user_id, "merchant_id": self.books.merchant_id,
            "person_index": "person-1", "kind": kind, "source_id": f"pay_{ULID()}", "event_on": event_on,
            "content": content or {"name": NAME},
        }  # fmt: skip
        return RetainedRecord.model_validate(values | changes)

    async def kept(self, kind: RetainedKind, event_on: date, **changes: Any) -> str:
        """The id of a record that is kept."""
        record = self.record(kind, event_on, **changes)
        assert await self.store.keep([record]) == 1
        return record.record_id

    async def run_on(self, day: date, rules: RetentionRules = RULES) -> PurgeReport:
        """The purge of a day, when it has come."""
        self.clock.set(day)
        return await self.purge.purge_due(day, rules)

    async def is_there(self, record_id: str) -> bool:
        found = await self.books.value("SELECT ciphertext FROM retention.record WHERE record_id = :id", id=record_id)
        return found is not None

    async def order(self, subject_id: str | None = None, now: datetime = NOW, **changes: Any) -> str:
        """A registered order of an authority, by default to be told; a year long."""
        detail = {
            "issuer": "示例市公安局", "number": f"X-{ULID()}", "demands": "query",
            "expires_at": (now + timedelta(days=365)).isoformat(),
        }  # fmt: skip
        whose = subject_id or self.books.user_id
        made = await self.deciders.decide("authority_order.register", whose, detail=detail | changes, now=now)
        return "ord_" + str(made["id"]).removeprefix("dec_")

    async def disclosure(self, order_id: str, now: datetime = NOW, **changes: Any) -> str:
        """What two people have decided to open."""
        detail = {"order_id": order_id, "kinds": ["identity", "transaction"]} | changes
        made = await self.deciders.decide(
            "retention.disclose", self.books.user_id, detail=detail, ground="authority", now=now
        )
        return str(made["id"])


@asynccontextmanager
async def open_retained(database: Database) -> AsyncIterator[Retained]:
    ops = create_engine(database.ops_url)
    async with open_books(database) as books:
        yield Retained(database, books, await enrol_deciders(database, ops))
    await ops.dispose()
