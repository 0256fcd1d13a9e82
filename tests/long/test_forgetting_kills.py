"""Plugs are pulled while a person is forgotten: afterwards that is complete, done once, and nothing kept is lost.

What the worker does next is held up by a lock of ours; then it is killed, so that each moment is the one that is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from runtime.stack import LocalStack
from tests.end_to_end.play import NotInTimeError
from tests.end_to_end.staff import Staff
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.crowd import Crowd, Member
from tests.long.leavers import Leaving, opened_for_an_order
from tests.long.places import database_url
from tests.long.test_kills import all_up

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

MAIN, KEYS, ERASURES = "liushui", "liushui_keys", "liushui_erasures"
# What a dead worker was at is begun again by another after so long (workflows.policies.RETAIN_TIMEOUT), and a little.
PATIENCE_SECONDS = 360.0
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@dataclass(frozen=True)
class Moment:
    """Between what and what; the next step wants to write to `table` of `database`, and cannot."""

    name: str
    database: str
    table: str
    # What is there by then: copies, an entry in the list, a key; and whether the rows still say who it was.
    kept: bool
    listed: bool
    has_key: bool
    known: bool


MOMENTS = (
    Moment("while copies are made", MAIN, "retention.record", kept=False, listed=False, has_key=True, known=True),
    Moment(
        "between copies and the list", ERASURES, "erasures.entry", kept=True, listed=False, has_key=True, known=True
    ),
    Moment("between the list and the key", KEYS, "keys.user_key", kept=True, listed=True, has_key=True, known=True),
    Moment("between the key and what it sealed", MAIN, "vault.item", kept=True, listed=True, has_key=False, known=True),
    Moment("between the key and the rows", MAIN, "app.consent", kept=True, listed=True, has_key=False, known=True),
    Moment("before it counts", MAIN, "app.applied_erasure", kept=True, listed=True, has_key=False, known=False),
)
VICTIMS = ("worker", "postgres")


async def test_wherever_forgetting_is_killed_it_goes_on_and_is_done_once(stack: LocalStack) -> None:
    async with world_on(stack) as world:
        staff = await Staff(world).arrive()
        merchants = (await world.merchant("海棠书店", patience_seconds=60), await world.merchant("晚钟茶庄"))
        crowd, leaving = Crowd(world, merchants, staff), Leaving(world, staff)
        plan = [(moment, victim) for victim in VICTIMS for moment in MOMENTS]
        members, closures = await crowd.with_payouts(len(plan)), list[str]()
        for (moment, victim), member in zip(plan, members, strict=True):
            closures.append(await _killed(world, leaving, member, moment, victim))
            say(f"{victim} killed {moment.name}")
        for closure_id, member in zip(closures, members, strict=True):
            await leaving.completed(closure_id, PATIENCE_SECONDS)
            await _is_forgotten_once(world, member)
            await _what_is_kept_is_complete(world, staff, member)
        say(f"{len(members)} are forgotten once, and what is kept of them is complete")
        assert await world.wrong() == []


async def _killed(world: World, leaving: Leaving, member: Member, moment: Moment, victim: str) -> str:
    """Answers which closure goes on by itself from then on: at once, or when the dead worker's time is up."""
    closure_id = await leaving.ask(member)
    await leaving.clear(member, closure_id)
    # The banks are told in between, which takes some seconds.
    async with _held_up(world.stack, moment) as held:
        await _has_come_to(world, held, member, moment)
        assert (await leaving.standing(closure_id))["state"] == "forgetting"
        await asyncio.to_thread(world.stack.kill, victim)
        # What the dead have asked for already must not be done when we let go.
        with suppress(*_LOST):
            await held.admin.execute(_END_WAITING, held.database)
    await all_up(world.stack, (victim,))
    return closure_id


@dataclass(frozen=True)
class Held:
    admin: asyncpg.Connection
    database: str


_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename LIKE '%\\_app' AND wait_event_type = 'Lock'"""
_END_WAITING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = $1 AND usename LIKE '%\\_app' AND wait_event_type = 'Lock'"""


@asynccontextmanager
async def _held_up(stack: LocalStack, moment: Moment) -> AsyncIterator[Held]:
    """Reading goes on, writing to the table waits."""
    admin = await asyncpg.connect(database_url(stack, moment.database))
    try:
        transaction = admin.transaction()
        await transaction.start()
        await admin.execute(f"LOCK TABLE {moment.table} IN SHARE ROW EXCLUSIVE MODE")
        yield Held(admin, moment.database)
        with suppress(*_LOST):
            await transaction.rollback()
    finally:
        admin.terminate()


async def _has_come_to(world: World, held: Held, member: Member, moment: Moment) -> None:
    expected = {"kept": moment.kept, "listed": moment.listed, "has_key": moment.has_key, "known": moment.known}
    standing: dict[str, bool] = {}
    try:
        async with asyncio.timeout(60):
            while standing != expected or not await held.admin.fetchval(_WAITING, held.database):
                await asyncio.sleep(0.1)
                standing = await _standing(world.stack, member)
    except TimeoutError:
        raise NotInTimeError(f"{moment.name}: {standing}") from None


async def _standing(stack: LocalStack, member: Member) -> dict[str, bool]:
    queries = {
        "kept": (MAIN, "SELECT EXISTS (SELECT FROM retention.record WHERE user_id = $1 AND kind = 'transaction')"),
        "listed": (ERASURES, "SELECT EXISTS (SELECT FROM erasures.entry WHERE user_id = $1)"),
        "has_key": (KEYS, "SELECT wrapped_key IS NOT NULL FROM keys.user_key WHERE user_id = $1"),
        "known": (MAIN, "SELECT merchant_user_ref IS NOT NULL FROM app.end_user WHERE id = $1"),
    }
    return {name: bool(await _value(stack, where, query, member.user_id)) for name, (where, query) in queries.items()}


async def _is_forgotten_once(world: World, member: Member) -> None:
    assert await _standing(world.stack, member) == {"kept": True, "listed": True, "has_key": False, "known": False}
    counts = {
        (ERASURES, "SELECT count(*) FROM erasures.entry WHERE user_id = $1"): 1,
        (MAIN, "SELECT count(*) FROM vault.item WHERE user_id = $1 AND ciphertext IS NOT NULL"): 0,
        (MAIN, "SELECT count(*) FROM app.closure WHERE user_id = $1 AND state = 'completed'"): 1,
        (MAIN, "SELECT count(*) FROM app.consent WHERE user_id = $1 AND evidence_ref IS NOT NULL"): 0,
        (MAIN, "SELECT count(*) FROM app.event e JOIN app.closure c ON c.id = e.object_id"
            " WHERE c.user_id = $1 AND e.type = 'closure.completed'"): 1,
    }  # fmt: skip
    for (where, query), expected in counts.items():
        assert await _value(world.stack, where, query, member.user_id) == expected, query
    [entry] = [
        await _value(world.stack, ERASURES, "SELECT entry_id FROM erasures.entry WHERE user_id = $1", member.user_id)
    ]
    assert await _value(world.stack, MAIN, "SELECT count(*) FROM app.applied_erasure WHERE entry_id = $1", entry) == 1


async def _what_is_kept_is_complete(world: World, staff: Staff, member: Member) -> None:
    """Every booked instruction and the identity once, and all of it can be opened for an order."""
    statement = """
        SELECT id FROM app.payment WHERE user_id = :u AND state = 'succeeded'
        UNION SELECT id FROM app.payout WHERE user_id = :u AND state = 'succeeded'
        UNION SELECT id FROM app.closure WHERE user_id = :u"""
    expected = {row["id"] for row in await world.rows(statement, u=member.user_id)}
    kept = await world.rows("SELECT kind, source_id FROM retention.record WHERE user_id = :u", u=member.user_id)
    sources = [row["source_id"] for row in kept if row["kind"] != "source_of_funds"]
    assert sorted(sources) == sorted(expected)
    assert len(kept) == len(expected) + 1
    opened: Any = await opened_for_an_order(staff, member.user_id)
    assert len(opened) == len(kept) + 1
    shown = str(opened)
    for what in ("name", "ID number", "card", "mobile", "goods", "counterparty", "account for the rest"):
        assert member.personal[what] in shown, what


async def _value(stack: LocalStack, database: str, query: str, *parameters: object) -> Any:
    admin = await asyncpg.connect(database_url(stack, database))
    try:
        return await admin.fetchval(query, *parameters)
    finally:
        await admin.close()
