"""The process of a closure, and books that were put back to a time before its answer (docs/decisions/0018)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Database
from tests.workflows.closing_house import ClosingHouse, open_closing_house
from workflows.messages import ClosureOrder
from workflows.names import Process

# What a backup from before has: the request, the person, and nothing of what came of it.
_PUT_BACK = (
    "ALTER TABLE app.closure DISABLE TRIGGER legal_step",
    "UPDATE app.closure SET state = 'closing', answer = NULL, answered_at = NULL, ended_on = NULL, followed_at = NULL",
    "ALTER TABLE app.closure ENABLE TRIGGER legal_step",
    "DELETE FROM app.erasure_notice",
    "DELETE FROM app.applied_erasure",
    "UPDATE app.end_user SET state = 'active', merchant_user_ref = 'ref-1'",
)


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        yield opened


async def put_back(at: ClosingHouse) -> None:
    """And forgotten again, as before anything starts."""
    for statement in _PUT_BACK:
        await at.books.run(statement)
    assert await at.vaults.forgetting.apply_missing() == 1


async def run_of(at: ClosingHouse, closure: str) -> Any:
    return (await at.house.handle(Process.CLOSE_ACCOUNT, closure).describe()).run_id


async def replied(at: ClosingHouse, closure: str) -> None:
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]


async def test_a_process_that_follows_replies_gives_the_answer_once_more(at: ClosingHouse) -> None:
    closure = await at.begun()
    await at.until(closure, "completed")
    first, run, entries = await at.answer(closure), await run_of(at, closure), await at.entries()
    await put_back(at)
    assert await at.closures.state(closure) == "forgetting"
    await at.until(closure, "completed")
    again = await at.answer(closure)
    for what in ("agreement_ended_on", "received_at", "kept", "outcome"):
        assert again[what] == first[what]
    assert await run_of(at, closure) == run
    assert await at.entries() == entries
    await replied(at, closure)
    assert (await at.end(closure)).state == "completed"


async def test_a_process_that_has_ended_runs_anew_and_nothing_is_destroyed_twice(at: ClosingHouse) -> None:
    closure = await at.begun()
    await at.until(closure, "completed")
    await replied(at, closure)
    assert (await at.end(closure)).state == "completed"
    first, run, entries = await at.answer(closure), await run_of(at, closure), await at.entries()
    await put_back(at)
    await at.until(closure, "completed")
    assert (await at.answer(closure))["agreement_ended_on"] == first["agreement_ended_on"]
    assert await run_of(at, closure) != run
    assert await at.entries() == entries


async def test_a_closure_that_the_books_do_not_know_ends_its_process_and_is_a_case(at: ClosingHouse) -> None:
    books = at.books
    unknown = books.new_id("cls")
    order = ClosureOrder(closure_id=unknown, merchant_id=books.merchant_id, user_id=books.user_id)
    assert await at.house.processes.close_account(order)
    assert (await at.end(unknown)).state == "unknown_to_the_books"
    assert await at.closures.cases(books.user_id) == ["closure_unknown"]
