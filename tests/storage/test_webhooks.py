"""Events are read and handed out completely whatever order they commit in; the sender's role can do nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import create_engine
from storage.webhooks import DeliveryQueue, EndpointCommand, SealedSecret, Webhooks
from tests.conftest import Database
from tests.storage.books import NOW, Books

_INSERT = sa.text(
    "INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)"
    " VALUES (:m, :o, :s, 'payment.accepted', :at, '{}') RETURNING id"
)


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[DeliveryQueue]:
    engine = create_engine(database.webhooks_url)
    yield DeliveryQueue(engine)
    await engine.dispose()


async def write(connection: AsyncConnection, books: Books, object_id: str, sequence: int = 1) -> str:
    row = {"m": books.merchant_id, "o": object_id, "s": sequence, "at": NOW}
    found: str = (await connection.execute(_INSERT, row)).scalar_one()
    return found


async def listed(books: Books, after: str | None = None, limit: int = 100) -> list[tuple[str, str]]:
    """Places and ids of events, as `GET /v1/events` reads them."""
    found = await Webhooks(books.app).events(books.merchant_id, after, limit, event_type=None, object_id=None)
    return [(place, event["id"]) for place, event in found]


async def endpoint(books: Books) -> str:
    command = EndpointCommand(request=books.context(), now=NOW, id=books.new_id("whe"))
    secret = SealedSecret(id=books.new_id("whs"), sealed=b"x" * 40)
    await Webhooks(books.app).create(command, "https://shop.example/", (), "", secret)
    return command.id


@asynccontextmanager
async def begun(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that has its number: everything that begins later has a higher one."""
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT pg_current_xact_id()"))
        yield connection


async def test_a_poller_misses_nothing_that_commits_late(books: Books) -> None:
    async with begun(books.owner) as late:
        held = await write(late, books, "pay_held")
        async with books.owner.begin() as quick:
            first = await write(quick, books, "pay_quick")
        # Its position is higher, it is committed, and it is not shown: something may yet appear in front of it.
        assert await listed(books) == []
        await late.commit()
    assert [event for _, event in await listed(books)] == [held, first]


async def test_a_poller_misses_nothing_that_draws_its_position_early_and_begins_late(books: Books) -> None:
    # The younger transaction writes first: by position alone the older one's event, once read, would hide it.
    async with begun(books.owner) as older, begun(books.owner) as younger:
        early_position = await write(younger, books, "pay_younger")
        late_position = await write(older, books, "pay_older")
        await older.commit()
        [(place, seen)] = await listed(books)
        assert seen == late_position
        await younger.commit()
    assert [event for _, event in await listed(books, place)] == [early_position]


async def test_pages_of_any_size_give_every_event_once(books: Books) -> None:
    made = set()
    for number in range(7):
        async with books.owner.begin() as connection:
            made |= {await write(connection, books, f"pay_{number}", s) for s in (1, 2)}
    seen: list[str] = []
    place = None
    while page := await listed(books, place, 3):
        seen += [event for _, event in page]
        place = page[-1][0]
    assert len(seen) == len(set(seen)) == 14
    assert set(seen) == made


async def test_what_commits_late_is_handed_out_too(books: Books, queue: DeliveryQueue) -> None:
    await endpoint(books)
    async with begun(books.owner) as late:
        await write(late, books, "pay_held")
        async with books.owner.begin() as quick:
            await write(quick, books, "pay_quick")
        assert await queue.fan_out(NOW) == 0
        await late.commit()
    assert await queue.fan_out(NOW) == 2
    assert await queue.fan_out(NOW) == 0


async def test_a_later_event_takes_an_earlier_one_of_its_object_along(books: Books, queue: DeliveryQueue) -> None:
    await endpoint(books)
    # The older transaction waited for the younger one's lock, and wrote of the same object after it.
    async with begun(books.owner) as older, begun(books.owner) as between, begun(books.owner) as younger:
        await write(younger, books, "pay_same", 1)
        await younger.commit()
        await write(older, books, "pay_same", 2)
        await older.commit()
        # Only the older one's event is below the oldest open transaction.
        assert len(await listed(books)) == 1
        handed_out = await queue.fan_out(NOW)
        [claimed] = await queue.claim(NOW, 10, 10)
        assert (handed_out, claimed.event["sequence"]) == (2, 1)
        await between.commit()
    assert await queue.fan_out(NOW) == 0
    assert await books.value("SELECT count(*) FROM app.webhook_delivery") == 2


async def test_events_from_before_the_migration_are_read_first(books: Books) -> None:
    async with books.owner.begin() as connection:
        old = [await write(connection, books, f"pay_{number}") for number in range(2)]
        await connection.execute(sa.text("UPDATE app.event SET xid = '0'"))
    async with books.owner.begin() as connection:
        new = await write(connection, books, "pay_new")
    assert [event for _, event in await listed(books)] == [*old, new]


async def test_the_senders_role_reads_no_table_and_calls_three_functions_and_the_purge(database: Database) -> None:
    async with database.webhooks_engine.connect() as connection:
        readable = await connection.execute(
            sa.text(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname IN ('app', 'vault', 'ledger') AND c.relkind IN ('r', 'v', 'p', 'S', 'm')"
                " AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES')"
                " OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))"
            )
        )
        assert list(readable.scalars()) == []
        callable_ = await connection.execute(
            sa.text(
                "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
                " WHERE n.nspname IN ('app', 'vault', 'ledger', 'public') AND has_function_privilege(p.oid, 'EXECUTE')"
                " AND has_schema_privilege(n.oid, 'USAGE') ORDER BY 1"
            )
        )
        assert list(callable_.scalars()) == [
            "claim_webhook_deliveries",
            "fan_out_events",
            "purge_webhook_deliveries",
            "record_webhook_attempt",
        ]


@pytest.mark.parametrize("table", ["event", "webhook_secret", "webhook_endpoint", "payment", "api_key", "operation"])
async def test_the_sender_cannot_look_around(database: Database, table: str) -> None:
    async with database.webhooks_engine.connect() as connection:
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(sa.text(f"SELECT * FROM app.{table} LIMIT 1"))  # noqa: S608


async def test_the_app_role_reads_no_secret_and_changes_no_delivery(database: Database) -> None:
    async with database.app_engine.connect() as connection:
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(sa.text("SELECT * FROM app.webhook_secret"))
    async with database.app_engine.connect() as connection:
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(sa.text("UPDATE app.webhook_delivery SET state = 'delivered'"))


async def test_idle_rounds_read_few_pages_however_many_events_there_are(books: Books, queue: DeliveryQueue) -> None:
    await endpoint(books)
    await books.run(
        "INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)"
        " SELECT :m, 'pay_' || n, 1, 'payment.accepted', :at, '{}' FROM generate_series(1, 5000) n",
        m=books.merchant_id, at=NOW,
    )  # fmt: skip
    while await queue.fan_out(NOW):
        pass
    await books.run(
        "UPDATE app.webhook_delivery SET state = 'delivered', next_attempt_at = NULL, ended_at = :at", at=NOW
    )
    await books.run("ANALYZE app.event, app.webhook_delivery, app.webhook_endpoint")
    plan = await books.value(
        "EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS) SELECT o.id FROM app.webhook_endpoint o WHERE o.state = 'enabled' AND"
        " EXISTS (SELECT 1 FROM app.event e WHERE e.merchant_id = o.merchant_id"
        " AND (e.xid, e.position) > (o.cursor_xid, o.cursor_position) AND e.xid < app.event_horizon())"
    )
    found = plan if isinstance(plan, list) else json.loads(plan)
    assert found[0]["Plan"]["Shared Hit Blocks"] < 30
