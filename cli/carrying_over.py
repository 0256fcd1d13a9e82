"""What must not go back with the books: what the law keeps, read from the databases in place where the backup lacks it.

The rows of the retention store are carried over to what was loaded, and the keys that open them; nothing of what is
there changes. A record whose key is nowhere is left out: a copy of it may still be made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import NamedTuple

import asyncpg

from storage.provision import plain_url
from storage.replacing import Place

_AT_ONCE = 50
_READING = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_DOCUMENTS = "SELECT to_jsonb(r)::text FROM {table} r"
_INSERT = """
    INSERT INTO {table} SELECT r.* FROM jsonb_populate_recordset(NULL::{table}, $1::text::jsonb) r
    ON CONFLICT DO NOTHING"""
_KNOWN_KEYS = "SELECT key_id FROM keys.retention_key WHERE key_id = ANY ($1)"
_LIVE_KEYS = """
    SELECT k.user_id, k.kind, count(*) FROM keys.retention_key k
    WHERE k.user_id = ANY ($1) AND k.wrapped_key IS NOT NULL GROUP BY 1, 2"""
_KEPT_KINDS = "SELECT DISTINCT user_id, kind FROM retention.record WHERE user_id = ANY ($1)"
# A hold rests on decisions, and maybe on an order: those come first. One that was not decided yet when the backup was
# taken is decided as it was; and a hold without its order holds all the same.
_HELD_BY = """
    SELECT to_jsonb(d)::text FROM app.decision d WHERE d.id IN (SELECT h.placed_by FROM retention.hold h
        UNION SELECT h.lifted_by FROM retention.hold h
        UNION SELECT o.decision_id FROM retention.hold h JOIN app.authority_order o ON o.id = h.order_id)"""
_DECIDE = """
    INSERT INTO app.decision AS d SELECT r.* FROM jsonb_populate_recordset(NULL::app.decision, $1::text::jsonb) r
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, decided_by = excluded.decided_by,
        decided_at = excluded.decided_at, refusal = excluded.refusal
        WHERE d.state = 'requested' AND excluded.state <> 'requested'"""
_ORDERS = """
    SELECT to_jsonb(o)::text FROM app.authority_order o WHERE o.id IN (SELECT h.order_id FROM retention.hold h)"""
_HOLD = """
    INSERT INTO retention.hold SELECT h.* FROM jsonb_array_elements($1::text::jsonb) x
    CROSS JOIN jsonb_populate_record(NULL::retention.hold, x.value || jsonb_build_object('order_id',
        (SELECT o.id FROM app.authority_order o WHERE o.id = x.value->>'order_id'))) h
    ON CONFLICT DO NOTHING"""
_STEPS = (
    (_HELD_BY, _DECIDE),
    (_ORDERS, _INSERT.format(table="app.authority_order")),
    (_DOCUMENTS.format(table="retention.hold"), _HOLD),
    *(
        (_DOCUMENTS.format(table=table), _INSERT.format(table=table))
        for table in ("retention.access", "retention.lookup", "retention.purge_report")
    ),
)


class CarriedOver(NamedTuple):
    """How many records; and why not all could be read of what is in place, or None."""

    records: int = 0
    unreadable: str | None = None


class _UnreadableError(Exception):
    """What is in place cannot be read; what was loaded is fine."""

    def __init__(self, place: Place, cause: Exception) -> None:
        super().__init__(f"{place.name}: {type(cause).__name__}")


async def carry_over(main: Place, keys: Place) -> CarriedOver:
    """From the databases in place, if there are any, to those that were loaded."""
    async with AsyncExitStack() as stack:
        to_main, to_keys = [await _opened(stack, place.new_url) for place in (main, keys)]
        try:
            source = await _in_place(stack, main, "retention.record")
        except _UnreadableError as error:
            return CarriedOver(unreadable=str(error))
        if source is None:
            return CarriedOver()
        problems: set[str] = set()
        records = 0
        for step in _STEPS:
            with _noted(problems):
                await _carry(main, source, step, to_main)
        with _noted(problems):
            # First the snapshot of the records, then the keys: of each record that is seen the key is there.
            await _freeze(main, source)
            with _noted(problems):
                await _carry_keys(stack, keys, to_keys)
            async for rows in _read(main, source, _DOCUMENTS.format(table="retention.record")):
                records += await _carry_records(rows, to_main, to_keys)
    return CarriedOver(records, "; ".join(sorted(problems)) or None)


async def without_their_records(user_ids: Collection[str], main: Place, keys: Place) -> dict[str, int]:
    """Of these users those of whom something was kept, by its keys, and no record of the kind is there; how many keys.

    In the databases that were loaded.
    """
    async with AsyncExitStack() as stack:
        to_main, to_keys = [await _opened(stack, place.new_url) for place in (main, keys)]
        kept = {tuple(row) for row in await to_main.fetch(_KEPT_KINDS, list(user_ids))}
        found: dict[str, int] = {}
        for user_id, kind, count in await to_keys.fetch(_LIVE_KEYS, list(user_ids)):
            if (user_id, kind) not in kept:
                found[user_id] = found.get(user_id, 0) + count
    return found


@contextmanager
def _noted(problems: set[str]) -> Iterator[None]:
    """What can be read is carried over, whatever else cannot."""
    try:
        yield
    except _UnreadableError as error:
        problems.add(str(error))


async def _carry(place: Place, source: asyncpg.Connection, step: tuple[str, str], target: asyncpg.Connection) -> None:
    statement, insert = step
    async for rows in _read(place, source, statement):
        await target.execute(insert, _array(rows))


async def _freeze(place: Place, source: asyncpg.Connection) -> None:
    """From here on it shows what was there at one instant; the end of the connection ends it."""
    try:
        await source.transaction(isolation="repeatable_read", readonly=True).start()
        await source.execute("SELECT FROM retention.record LIMIT 1")
    except _READING as error:
        raise _UnreadableError(place, error) from error


async def _carry_keys(stack: AsyncExitStack, keys: Place, target: asyncpg.Connection) -> None:
    source = await _in_place(stack, keys, "keys.retention_key")
    if source is not None:
        step = (_DOCUMENTS.format(table="keys.retention_key"), _INSERT.format(table="keys.retention_key"))
        await _carry(keys, source, step, target)


async def _carry_records(rows: Sequence[str], main: asyncpg.Connection, keys: asyncpg.Connection) -> int:
    records = [json.loads(row) for row in rows]
    wanted = [record["key_id"] for record in records]
    known = {row["key_id"] for row in await keys.fetch(_KNOWN_KEYS, wanted)}
    with_key = [row for row, key_id in zip(rows, wanted, strict=True) if key_id in known]
    done = await main.execute(_INSERT.format(table="retention.record"), _array(with_key))
    return int(done.rpartition(" ")[2])


async def _opened(stack: AsyncExitStack, url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(plain_url(url))
    stack.push_async_callback(connection.close)
    return connection


async def _in_place(stack: AsyncExitStack, place: Place, table: str) -> asyncpg.Connection | None:
    """None if there is no such database, or nothing of the kind in it."""
    try:
        connection = await _opened(stack, place.owner_url)
    except asyncpg.InvalidCatalogNameError:
        return None
    except _READING as error:
        raise _UnreadableError(place, error) from error
    try:
        found = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table)
    except _READING as error:
        raise _UnreadableError(place, error) from error
    return connection if found else None


async def _read(place: Place, source: asyncpg.Connection, statement: str) -> AsyncIterator[list[str]]:
    """Page by page, whatever is there, as JSON."""
    try:
        async with source.transaction(readonly=True):
            cursor = await source.cursor(statement)
            while page := await cursor.fetch(_AT_ONCE):
                yield [row[0] for row in page]
    except _READING as error:
        raise _UnreadableError(place, error) from error


def _array(rows: Sequence[str]) -> str:
    return f"[{','.join(rows)}]"
