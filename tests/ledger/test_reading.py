"""Balances at past instants, statements while others write, the trial balance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from ledger.reading import AccountNotFoundError, read_balance, read_balance_at, read_statement, read_trial_balance
from tests.conftest import Database
from tests.ledger.conftest import ALICE, BOB, RESERVE, Books, end, hold, pay_in, post


async def now(books: Books) -> datetime:
    return (await books.connection.execute(sa.text("SELECT clock_timestamp()"))).scalar_one()


async def test_the_balance_at_a_past_instant_is_what_it_was_then(books: Books, database: Database) -> None:
    expected = [(await now(books), 0, 0)]
    steps = [pay_in("in", 100), hold("h", 60), post("a", 10), end("post_hold", "p", "h", 50), pay_in("in2", 7)]
    for step, posted, held in zip(steps, (100, 100, 90, 40, 47), (0, 60, 60, 0, 0), strict=True):
        await books.must(step)
        expected.append((await now(books), posted, held))
    async with database.app_engine.connect() as connection:
        for instant, posted, held in expected:
            found = await read_balance_at(connection, ALICE, instant)
            assert (found.posted, found.held, found.available) == (posted, held, posted - held)
        assert await read_balance(connection, ALICE) == await read_balance_at(connection, ALICE, expected[-1][0])


async def test_the_instant_of_recording_belongs_to_the_past_and_the_one_before_does_not(
    books: Books, database: Database
) -> None:
    for number in range(33):
        await books.must(pay_in(f"in{number}", 1))
    async with database.app_engine.connect() as connection:
        instants = [entry.recorded_at for entry in await read_statement(connection, ALICE, order="oldest")]
        for number, instant in enumerate(instants, start=1):
            assert (await read_balance_at(connection, ALICE, instant)).posted == number
            before = instant - timedelta(microseconds=1)
            assert (await read_balance_at(connection, ALICE, before)).posted == number - 1


async def test_an_unknown_account_is_an_error_not_a_zero(database: Database) -> None:
    async with database.app_engine.connect() as connection:
        with pytest.raises(AccountNotFoundError):
            await read_balance(connection, "user:nobody:CNY")
        with pytest.raises(AccountNotFoundError):
            await read_balance_at(connection, "user:nobody:CNY", datetime.now(UTC))
        with pytest.raises(AccountNotFoundError):
            await read_statement(connection, "user:nobody:CNY")


async def test_a_statement_shows_movements_in_the_accounts_own_side_and_leaves_holds_out(
    books: Books, database: Database
) -> None:
    await books.must(pay_in("in", 100), hold("h", 60), post("a", 10), end("post_hold", "p", "h", 50))
    async with database.app_engine.connect() as connection:
        mine = await read_statement(connection, ALICE)
        bank = await read_statement(connection, RESERVE, order="oldest")
    assert [(e.key, e.change, e.posted_after, e.other_account) for e in mine] == [
        ("p", -50, 40, RESERVE),
        ("a", -10, 90, BOB),
        ("in", 100, 100, RESERVE),
    ]
    assert [(e.key, e.change, e.posted_after) for e in bank] == [("in", 100, 100), ("p", -50, 50)]


@pytest.mark.parametrize("limit", [0, 501])
async def test_a_page_has_its_limits(books: Books, database: Database, limit: int) -> None:
    async with database.app_engine.connect() as connection:
        with pytest.raises(ValueError, match="1 to 500"):
            await read_statement(connection, ALICE, limit=limit)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_neither_skip_nor_repeat_while_others_write(books: Books, database: Database, order: str) -> None:
    await books.must(*(pay_in(f"in{number}", 2) for number in range(40)))
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            await books.must(post(f"a{number}", 1), post(f"b{number}", 1, BOB, ALICE))
            number += 1

    writer = asyncio.create_task(write())
    seen: list[int] = []
    async with database.app_engine.connect() as connection:
        while len(seen) < 60 and (not seen or seen[-1] != 1 or order == "oldest"):
            page = await read_statement(
                connection,
                ALICE,
                cursor=seen[-1] if seen else None,
                limit=7,
                order=order,  # type: ignore[arg-type]
            )
            seen += [entry.version for entry in page]
            await connection.commit()
    stop.set()
    await writer
    step = 1 if order == "oldest" else -1
    assert seen == list(range(seen[0], seen[-1] + step, step))
    assert len(seen) >= 40


async def test_the_trial_balance_is_equal_on_both_sides_per_currency(books: Books, database: Database) -> None:
    await books.open("reserve:HBRB:USD")
    dollars = {"currency": "USD", "kind": "collection", "direction": "in"}
    await books.must(pay_in("in", 100), post("a", 10))
    await books.must(post("usd", 5, "reserve:HBRB:USD", "user:usr_alice:USD", **dollars))
    async with database.app_engine.connect() as connection:
        totals = await read_trial_balance(connection)
    found = [(t.currency, t.debit_total, t.credit_total, t.difference) for t in totals]
    assert found == [("CNY", 100, 100, 0), ("USD", 5, 5, 0)]
