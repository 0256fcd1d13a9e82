"""Many at once: nothing is spent twice, nothing deadlocks, nothing happens twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from tests.conftest import Database
from tests.ledger.conftest import ALICE, BOB, RESERVE, Books, end, hold, pay_in, post

CONNECTIONS = 16


async def race(database: Database, items: list[list[dict[str, Any]]]) -> Counter[str | None]:
    """Each item in a transaction of its own, sixteen at a time; counts the errors, None for none."""
    url = make_url(database.owner_url).set(drivername="postgresql").render_as_string(hide_password=False)
    pool = await asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS)
    try:

        async def one(transfers: list[dict[str, Any]]) -> str | None:
            batch = json.dumps([{"item": 0, "transfers": transfers}])
            return await pool.fetchval("SELECT error FROM ledger.apply($1::jsonb)", batch)

        return Counter(await asyncio.gather(*(one(item) for item in items)))
    finally:
        await pool.close()


async def test_of_300_racing_debits_against_funds_for_100_exactly_100_succeed(books: Books, database: Database) -> None:
    await books.must(pay_in("in", 100))
    outcome = await race(database, [[post(f"d{number}", 1)] for number in range(300)])
    assert outcome == {None: 100, "insufficient_funds": 200}
    assert (await books.balances())[ALICE] == (0, 0)


async def test_2000_opposite_transfers_do_not_deadlock(books: Books, database: Database) -> None:
    await books.must(pay_in("a", 10_000), pay_in("b", 10_000, BOB))
    pairs = [(ALICE, BOB), (BOB, ALICE)]
    outcome = await race(database, [[post(f"x{number}", 1, *pairs[number % 2])] for number in range(2000)])
    assert outcome == {None: 2000}
    assert await books.balances() == {RESERVE: (20_000, 0), ALICE: (10_000, 0), BOB: (10_000, 0)}


async def test_one_key_fifty_times_at_once_moves_money_once(books: Books, database: Database) -> None:
    await books.must(pay_in("in", 100))
    outcome = await race(database, [[post("same", 7)] for _ in range(50)])
    assert outcome == {None: 50}
    assert (await books.balances())[BOB] == (7, 0)


async def test_one_key_with_different_contents_at_once_is_taken_once(books: Books, database: Database) -> None:
    await books.must(pay_in("in", 1000))
    await books.must(pay_in("in2", 1000, BOB))
    contents = [post("same", 1), post("same", 2), post("same", 1, BOB, RESERVE), post("same", 1, BOB, ALICE)]
    outcome = await race(database, [[contents[number % 4]] for number in range(40)])
    assert outcome == {None: 10, "key_reused": 30}
    assert await books.count() == 3


async def test_of_forty_racing_ends_of_one_hold_one_wins(books: Books, database: Database) -> None:
    await books.must(pay_in("in", 100))
    await books.must(hold("h", 60))
    actions = ["post_hold", "release_hold"]
    outcome = await race(database, [[end(actions[number % 2], f"e{number}", "h")] for number in range(40)])
    assert outcome == {None: 1, "hold_already_ended": 39}
    assert (await books.balances())[ALICE] in ((40, 0), (100, 0))
