"""The batcher against a real server: what it coalesces, isolates, repeats and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from runtime.postgres import EmbeddedPostgres
from storage.batcher import Batcher, BatcherClosedError, BatchItemError, StorageUnavailableError
from storage.database import create_engine
from storage.provision import Passwords, provision
from tests.conftest import Database
from tests.ledger.conftest import ALICE, BOB, RESERVE, pay_in, post

# A batched function of the test's own: it counts its calls, raises on demand, and is idempotent by key.
FUNCTION = """
CREATE SCHEMA batch;
CREATE TABLE batch.call (size int);
CREATE TABLE batch.done (key text PRIMARY KEY);
CREATE TABLE batch.gate (open boolean);
CREATE FUNCTION batch.note(items jsonb) RETURNS TABLE (item int, result jsonb) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    INSERT INTO batch.call VALUES (jsonb_array_length(items));
    INSERT INTO batch.done SELECT i->>'key' FROM jsonb_array_elements(items) i ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT (i->>'item')::int, jsonb_build_object('ok', true, 'number', (i->>'number')::int)
        FROM jsonb_array_elements(items) i WHERE i->>'key' <> 'silent';
END $$;
"""


@pytest.fixture
async def batcher(database: Database) -> AsyncIterator[Batcher]:
    async with database.owner_engine.begin() as connection:
        for statement in FUNCTION.strip().split(";\nCREATE"):
            await connection.execute(sa.text(statement if statement.startswith("CREATE") else f"CREATE{statement}"))
    async with Batcher(database.owner_engine, "batch.note", give_up_after_seconds=5) as batcher:
        yield batcher


async def calls(database: Database) -> list[int]:
    async with database.owner_engine.connect() as connection:
        return list((await connection.execute(sa.text("SELECT size FROM batch.call"))).scalars())


async def keys_done(database: Database) -> set[str]:
    async with database.owner_engine.connect() as connection:
        return set((await connection.execute(sa.text("SELECT key FROM batch.done"))).scalars())


def item(number: Any) -> dict[str, Any]:
    return {"key": f"k{number}", "number": number}


async def test_what_arrives_at_once_is_written_by_few_statements_and_each_gets_its_own_answer(
    batcher: Batcher, database: Database
) -> None:
    answers = await asyncio.gather(*(batcher.submit(item(number)) for number in range(300)))
    assert [answer["number"] for answer in answers] == list(range(300))
    sizes = await calls(database)
    assert sum(sizes) == 300
    assert len(sizes) <= 3


async def test_a_caller_alone_does_not_wait_for_others(batcher: Batcher, database: Database) -> None:
    for number in range(3):
        await batcher.submit(item(number))
    assert await calls(database) == [1, 1, 1]


async def test_items_for_which_the_function_raises_hurt_no_other(batcher: Batcher, database: Database) -> None:
    bad = [item("x") | {"key": "bad1"}, item("y") | {"key": "bad2"}, {"key": "nul", "number": 1, "text": "\0"}]
    work = [batcher.submit(one) for one in [*map(item, range(20)), *bad, *map(item, range(20, 40))]]
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert [type(answer) for answer in answers[20:23]] == [BatchItemError] * 3
    assert {answer.sqlstate for answer in answers[20:23]} == {"22P02", "22P05"}  # type: ignore[union-attr]
    assert all(isinstance(answer, dict) for answer in [*answers[:20], *answers[23:]])
    assert await keys_done(database) == {f"k{number}" for number in range(40)}


async def test_an_item_without_a_result_is_an_error_of_its_own(batcher: Batcher) -> None:
    good, silent = await asyncio.gather(
        batcher.submit(item(1)), batcher.submit({"key": "silent"}), return_exceptions=True
    )
    assert good == {"ok": True, "number": 1}
    assert isinstance(silent, BatchItemError)


@pytest.mark.parametrize("wrong", [{"key": float("nan")}, {"key": "k" * 300_000}, {"key": object()}])
async def test_what_is_not_json_or_too_large_is_refused_at_once(batcher: Batcher, wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        await batcher.submit(wrong)
    assert (await batcher.submit(item(1)))["ok"]


async def test_an_item_cannot_choose_another_items_number(batcher: Batcher) -> None:
    first, second = await asyncio.gather(batcher.submit(item(1) | {"item": 1}), batcher.submit(item(2) | {"item": 0}))
    assert (first["number"], second["number"]) == (1, 2)


async def test_a_lost_connection_in_the_middle_is_repaired_and_nothing_happens_twice(
    batcher: Batcher, database: Database
) -> None:
    await batcher.submit(item("0"))
    async with database.owner_engine.connect() as gate:
        await gate.execute(sa.text("SELECT pg_advisory_lock(1)"))
        work = asyncio.gather(*(batcher.submit(item(number)) for number in range(1, 50)))
        await terminate_when_waiting(database)
        await gate.execute(sa.text("SELECT pg_advisory_unlock(1)"))
        answers = await work
    assert [answer["number"] for answer in answers] == list(range(1, 50))
    assert await keys_done(database) == {f"k{number}" for number in range(50)}


async def terminate_when_waiting(database: Database) -> None:
    """Ends the batcher's backend once it waits for the gate."""
    query = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'advisory' AND query LIKE '%batch.note%'"""
    async with database.owner_engine.connect() as connection:
        while not (await connection.execute(sa.text(query))).scalars().all():
            await connection.rollback()
            await asyncio.sleep(0.01)


async def test_a_cancelled_caller_stops_waiting_and_its_item_is_written(batcher: Batcher, database: Database) -> None:
    async with database.owner_engine.connect() as gate:
        await gate.execute(sa.text("SELECT pg_advisory_lock(1)"))
        leaving = asyncio.create_task(batcher.submit(item(1)))
        staying = asyncio.create_task(batcher.submit(item(2)))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await gate.execute(sa.text("SELECT pg_advisory_unlock(1)"))
        assert (await staying)["number"] == 2
    assert await keys_done(database) == {"k1", "k2"}


async def test_close_writes_what_waits_and_then_refuses(batcher: Batcher, database: Database) -> None:
    work = [asyncio.create_task(batcher.submit(item(number))) for number in range(10)]
    await asyncio.sleep(0)
    await batcher.close()
    assert [one.result()["number"] for one in work] == list(range(10))
    with pytest.raises(BatcherClosedError):
        await batcher.submit(item(11))


async def test_a_server_that_stays_away_makes_storage_unavailable_in_bounded_time() -> None:
    engine = create_async_engine("postgresql+asyncpg://nobody:nothing@127.0.0.1:1/none")
    async with Batcher(engine, "batch.note", give_up_after_seconds=0.2, max_waiting=3) as batcher:
        answers = await asyncio.gather(*(batcher.submit(item(number)) for number in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailableError] * 8
    await engine.dispose()


async def test_the_ledger_is_written_through_a_batcher_with_refusals_as_results(database: Database) -> None:
    async with database.owner_engine.begin() as connection:
        await connection.execute(sa.text("SELECT ledger.open_accounts(:codes)"), {"codes": [RESERVE, ALICE, BOB]})
    async with Batcher(database.owner_engine, "ledger.apply_batch") as ledger:
        assert await ledger.submit({"transfers": [pay_in("in", 30)]}) == {"ok": True}
        answers = await asyncio.gather(*(ledger.submit({"transfers": [post(f"p{n}", 1)]}) for n in range(100)))
    refused = [answer for answer in answers if not answer["ok"]]
    assert len(refused) == 70
    assert {answer["error"] for answer in refused} == {"insufficient_funds"}


@pytest.mark.long
async def test_every_acknowledged_posting_survives_kills_of_the_server(
    durable_postgres_server: EmbeddedPostgres,
) -> None:
    server = durable_postgres_server
    urls = await provision(server.admin_url, "killed", "killed_keys", Passwords.generate())
    engine = create_engine(make_url(urls.owner).render_as_string(hide_password=False))
    async with engine.begin() as connection:
        await connection.execute(sa.text("SELECT ledger.open_accounts(:codes)"), {"codes": [RESERVE, ALICE]})
    acknowledged: list[str] = []
    progress = asyncio.Semaphore(0)
    stop = asyncio.Event()

    async def keep_posting(batcher: Batcher, name: str) -> None:
        number = 0
        while not stop.is_set():
            assert (await batcher.submit({"transfers": [pay_in(f"{name}-{number}", 1)]}))["ok"]
            acknowledged.append(f"{name}-{number}")
            progress.release()
            number += 1

    async with Batcher(engine, "ledger.apply_batch", give_up_after_seconds=60) as batcher:
        posting = [asyncio.create_task(keep_posting(batcher, f"c{caller}")) for caller in range(16)]
        for _ in range(5):
            for _ in range(300):
                await progress.acquire()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        stop.set()
        await asyncio.gather(*posting)
    async with engine.connect() as connection:
        stored = list((await connection.execute(sa.text("SELECT key FROM ledger.transfer"))).scalars())
    await engine.dispose()
    assert set(acknowledged) == set(stored)
    assert len(stored) == len(set(stored))
