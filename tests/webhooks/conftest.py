"""A merchant with endpoints, a sender with a clock that a test moves, and servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
import sqlalchemy as sa

from domain.webhooks import Address, secret_place
from storage.database import create_engine
from storage.webhooks import DeliveryQueue, EndpointCommand, SealedSecret, Webhooks
from tests.conftest import Database
from tests.storage.books import NOW, Books, open_books
from tests.webhooks.receiver import Receiver
from vault.sealing import encrypt
from webhooks.calling import Caller, plain_transport
from webhooks.sender import Sender

KEY = b"w" * 32
SECRET = b"s" * 32
_INSERT_EVENT = sa.text(
    "INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)"
    " VALUES (:m, :o, :s, :t, :at, CAST(:b AS jsonb)) RETURNING id"
)


@dataclass
class Stand:
    """Everything on which a test plays."""

    books: Books
    webhooks: Webhooks
    queue: DeliveryQueue
    stack: AsyncExitStack
    now: datetime = NOW
    names: dict[str, list[str]] = field(default_factory=dict)
    timeout_seconds: float = 5.0
    _sequences: dict[str, int] = field(default_factory=dict)

    def clock(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by

    def sender(self, queue: DeliveryQueue | None = None, *, private_networks: bool = True) -> Sender:
        """A sender process as it would be started now."""
        transport = plain_transport()
        self.stack.push_async_callback(transport.aclose)
        caller = Caller(
            transport, self.resolve, private_networks=private_networks, timeout_seconds=self.timeout_seconds
        )
        return Sender(queue or self.queue, caller, KEY, self.clock)

    async def resolve(self, host: str, port: int) -> list[Address]:
        if host not in self.names:
            raise OSError("no such name")
        return [ip_address(text) for text in self.names[host]]

    async def receiver(self) -> Receiver:
        receiver = await Receiver().open()
        self.stack.push_async_callback(receiver.close)
        return receiver

    def command(self, endpoint_id: str) -> EndpointCommand:
        return EndpointCommand(request=self.books.context(), now=self.now, id=endpoint_id)

    async def endpoint(self, url: str, *event_types: str, secret: bytes = SECRET) -> str:
        endpoint_id = self.books.new_id("whe")
        sealed = self.sealed(endpoint_id, secret)
        await self.webhooks.create(self.command(endpoint_id), url, event_types, "", sealed)
        return endpoint_id

    def sealed(self, endpoint_id: str, secret: bytes) -> SealedSecret:
        secret_id = self.books.new_id("whs")
        return SealedSecret(id=secret_id, sealed=encrypt(KEY, secret, secret_place(endpoint_id, secret_id)))

    async def event(self, object_id: str = "", event_type: str = "payment.accepted", **body: Any) -> str:
        """The next event of an object, or the first of a new one; answers its id."""
        object_id = object_id or self.books.new_id("pay")
        sequence = self._sequences[object_id] = self._sequences.get(object_id, 0) + 1
        row = {"m": self.books.merchant_id, "o": object_id, "s": sequence, "t": event_type, "at": self.now}
        async with self.books.owner.begin() as connection:
            made = await connection.scalar(_INSERT_EVENT, row | {"b": json.dumps({"id": object_id} | body)})
        return str(made)

    async def settle(self, sender: Sender) -> int:
        """Rounds at this instant until nothing is due; answers how many attempts were made."""
        made = 0
        while begun := await sender.round():
            await sender.finish()
            made += begun
        return made

    async def until_nothing_is_left(self, sender: Sender) -> int:
        """Jumps from one due instant to the next, through days; answers how many attempts were made."""
        made = await self.settle(sender)
        while (due := await self.next_due()) is not None:
            self.now = max(self.now, due)
            made += await self.settle(sender)
        return made

    async def next_due(self) -> datetime | None:
        found: datetime | None = await self.books.value(
            "SELECT min(next_attempt_at) FROM app.webhook_delivery WHERE state = 'pending'"
        )
        return found

    async def states(self, endpoint_id: str) -> dict[str, int]:
        """How many deliveries there are in which state."""
        async with self.books.owner.connect() as connection:
            rows = await connection.execute(
                sa.text("SELECT state, count(*) AS n FROM app.webhook_delivery WHERE endpoint_id = :e GROUP BY state"),
                {"e": endpoint_id},
            )
            return {row.state: row.n for row in rows}

    async def log(self, endpoint_id: str) -> list[dict[str, Any]]:
        """Every attempt at an endpoint, in the order in which they began."""
        async with self.books.owner.connect() as connection:
            rows = await connection.execute(
                sa.text(
                    "SELECT a.*, d.event_id, d.sequence, d.kind FROM app.webhook_attempt a"
                    " JOIN app.webhook_delivery d ON d.position = a.delivery"
                    " WHERE d.endpoint_id = :e ORDER BY a.started_at, a.delivery, a.number"
                ),
                {"e": endpoint_id},
            )
            return [dict(row) for row in rows.mappings()]

    async def state(self, endpoint_id: str) -> tuple[str, str | None]:
        found = await self.webhooks.endpoint(self.books.merchant_id, endpoint_id)
        assert found is not None
        return found["state"], found["reason"]


@pytest.fixture
async def stand(database: Database) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(open_books(database))
        engine = create_engine(database.webhooks_url)
        stack.push_async_callback(engine.dispose)
        yield Stand(books, Webhooks(books.app), DeliveryQueue(engine), stack)
