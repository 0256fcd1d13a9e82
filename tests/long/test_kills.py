"""Plugs are pulled at random moments while people shop: afterwards nothing is lost, nothing doubled, all is final."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections import Counter

import httpx
import pytest

from runtime.parts import PartFailedError
from runtime.stack import LocalStack
from tests.end_to_end.audit import books_of_the_banks, live
from tests.end_to_end.play import FINAL_PAYMENT, Merchant, Payer
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.shoppers import Shopper, Told

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

# In the order in which they are started again: what others need comes first.
PARTS = ("postgres", "temporal", "simulator", "api", "worker")
SECONDS = float(os.environ.get("LIUSHUI_KILL_SECONDS", "180"))
SHOPPERS = 8
QUIET_WITHIN_SECONDS = 300


async def test_after_random_kills_all_is_final_and_the_books_agree(stack: LocalStack, seed: int) -> None:
    chance = random.Random(seed)
    async with world_on(stack) as world:
        told, closing = Told(), asyncio.Event()
        people = await _people(world, chance, told, closing)
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(person.shop())
            kills = await _pull_plugs(stack, chance, told)
            closing.set()
            say(f"{sum(kills.values())} kills {dict(kills)}; nobody starts anything new")
        say(f"the last customer has gone home: {dict(sorted(told.counts.items()))}")
        await _wait_until_quiet(world)
        assert await world.wrong() == []
        await _what_was_told_is_true(world, told)
        assert told.counts["payments succeeded"] > SHOPPERS
        say(f"{len(told.payments)} payments, {len(told.refunds)} refunds; seed {seed}: the books agree")


async def _people(world: World, chance: random.Random, told: Told, closing: asyncio.Event) -> list[Shopper]:
    people = []
    for number in range(SHOPPERS):
        merchant = await world.merchant(f"商户{number}", patience_seconds=200)
        waiver = await world.waiver(merchant)
        people.append(Shopper(merchant, waiver, random.Random(chance.random()), told, closing))
    return people


async def _pull_plugs(stack: LocalStack, chance: random.Random, told: Told) -> Counter[str]:
    """Kills one part, or two at once, every few seconds; starts them again a moment later."""
    kills: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(chance.uniform(0.5, 8))
        victims = chance.sample(PARTS, chance.choice((1, 1, 1, 2)))
        for victim in victims:
            await asyncio.to_thread(stack.kill, victim)
        kills.update(victims)
        await asyncio.sleep(chance.choice((0.0, chance.uniform(0, 2), chance.uniform(0, 6))))
        say(f"killed {' and '.join(victims)}; so far {len(told.payments)} payments, {len(told.final)} final")
        await all_up(stack, victims)
    await all_up(stack, ())
    return kills


async def all_up(stack: LocalStack, killed: tuple[str, ...] | list[str]) -> None:
    """As the supervisor of `make up` does it: whatever is down is started again."""
    for _ in range(3):
        down = [name for name in PARTS if stack.how_it_ended(name) is not None]
        for name in down:
            if name not in killed:
                say(f"the {name} had ended by itself ({stack.how_it_ended(name)})")
            try:
                await asyncio.to_thread(stack.restart, name)
            except PartFailedError as error:
                say(f"not up yet: {error}")
        if not down:
            return
    assert not [name for name in PARTS if stack.how_it_ended(name) is not None]


async def _wait_until_quiet(world: World) -> None:
    """No payment or refund is under way any more; bindings may wait for a code that nobody is going to type."""
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    while waiting := await live(world.owner):
        waiting = {name: state for name, state in waiting.items() if (name[:3], state) != ("bnd", "awaiting_code")}
        if not waiting:
            break
        assert time.monotonic() < deadline, f"still under way: {waiting}"
        await asyncio.sleep(1)
    say("nothing is under way any more")


async def _what_was_told_is_true(world: World, told: Told) -> None:
    """Every accepted request is on record under the id and with the amount that the merchant was told."""
    payments = {row["id"]: row for row in await world.rows("SELECT id, state, amount_minor FROM app.payment")}
    assert {name: payments[name]["amount_minor"] for name in told.payments} == told.payments
    assert {name: payments[name]["state"] for name in told.final} == told.final
    assert {row["state"] for row in payments.values()} <= set(FINAL_PAYMENT)
    assert set(payments) == set(told.payments), "a payment was accepted under an id that nobody was told"
    refunds = {row["id"]: row["amount_minor"] for row in await world.rows("SELECT id, amount_minor FROM app.refund")}
    assert refunds == told.refunds
    bindings = {row["id"] for row in await world.rows("SELECT id FROM app.binding")}
    assert bindings == told.bindings
    unanswered = await world.rows("""
        SELECT d.key, d.action, d.resource_id FROM app.idempotency d WHERE d.answer IS NULL
            AND NOT EXISTS (SELECT 1 FROM app.operation o WHERE o.key = 'abandoned:' || d.request_id)""")
    assert unanswered == []


async def test_an_api_that_dies_between_accepting_a_payment_and_starting_it_leaves_it_to_the_sweeper(
    stack: LocalStack,
) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payer = await merchant.payer(waiver=await world.waiver(merchant))
        order = await payer.order(12_800)
        await asyncio.to_thread(stack.kill, "temporal")
        paying = asyncio.create_task(merchant.send("POST", "/v1/payments", order))
        [row] = await _rows_when_there(world, "SELECT id, process_started_at FROM app.payment")
        await asyncio.to_thread(stack.kill, "api")
        assert row["process_started_at"] is None
        assert not paying.done()
        await all_up(stack, ("api", "temporal"))
        begun = time.monotonic()
        assert (await merchant.ended(row["id"], 60))["state"] == "succeeded"
        say(f"the sweeper had it done {time.monotonic() - begun:.1f} s after the restart")
        assert (await paying).json()["id"] == row["id"]
        assert await world.wrong() == []


@pytest.mark.parametrize("what", ["payment", "binding"])
async def test_an_api_that_dies_between_the_banks_word_on_a_code_and_its_record_loses_neither(
    stack: LocalStack, what: str
) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payer = await merchant.register()
        operation = "payment-code-verifications" if what == "payment" else "sign-confirmations"
        typing = await _type_code_while_the_bank_is_slow(world, merchant, payer, operation)
        statement = "SELECT request_number FROM app.code_attempt WHERE verdict IS NULL"
        [attempt] = await _rows_when_there(world, statement)
        await _bank_knows(world, attempt["request_number"])
        await asyncio.to_thread(stack.kill, "api")
        await all_up(stack, ("api",))
        begun = time.monotonic()
        answer = await typing
        assert answer.is_success, answer.text
        if what == "payment":
            ended = await merchant.ended(answer.json()["id"], 60)
            assert ended["state"] == "succeeded"
        else:
            async with asyncio.timeout(60):
                while (await payer.binding())["state"] != "open":  # noqa: ASYNC110 - another process opens it
                    await asyncio.sleep(0.2)
        say(f"the {what} was where it belongs {time.monotonic() - begun:.1f} s after the restart")
        assert await world.wrong() == []


async def _type_code_while_the_bank_is_slow(
    world: World, merchant: Merchant, payer: Payer, operation: str
) -> asyncio.Task[httpx.Response]:
    fault = {"operation": operation, "kind": "time_out_after"}
    if operation == "sign-confirmations":
        await payer.apply()
        code = await payer.texted("SG", payer.binding_id)
        await world.control("faults", fault)
        return asyncio.create_task(payer.send_code(code))
    await payer.bind()
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    code = await payer.texted("PC", payment["id"])
    await world.control("faults", fault)
    return asyncio.create_task(payer.enter_code(payment["id"], code))


@pytest.mark.parametrize("moment", ["before the bank has booked it", "after the bank has booked it"])
async def test_a_worker_killed_in_the_middle_of_a_debit_leaves_it_final_within_a_minute(
    stack: LocalStack, moment: str
) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payer = await merchant.payer(waiver=await world.waiver(merchant))
        kind = "arrives_late" if moment.startswith("before") else "time_out_after"
        await world.control("faults", {"operation": "debits", "kind": kind})
        payment = await payer.pay()
        await _rows_when_there(world, "SELECT 1 FROM app.payment WHERE state = 'sending'")
        number = f"DB{payment['id'].removeprefix('pay_')}"
        if kind == "time_out_after":
            await _bank_knows(world, number)
        await asyncio.to_thread(stack.kill, "worker")
        begun = time.monotonic()
        await all_up(stack, ("worker",))
        ended = await merchant.ended(payment["id"], 60)
        say(f"final {time.monotonic() - begun:.1f} s after the kill {moment}")
        assert ended["state"] == "succeeded"
        assert (await books_of_the_banks(world.simulator))["banks"]["HBRB"]["debits_per_request_number"] == {number: 1}
        assert await world.wrong() == []


async def _rows_when_there(world: World, statement: str) -> list[dict[str, object]]:
    async with asyncio.timeout(20):
        while not (found := await world.rows(statement)):  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.02)
    return found


async def _bank_knows(world: World, number: object) -> None:
    """Its books have the request, whoever else knows of it."""
    path = world.stack.environment["simulator"]["SIMULATOR_DATABASE"]
    statement = "SELECT 1 FROM requests WHERE request_number = ?"
    async with asyncio.timeout(20):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
            while books.execute(statement, (number,)).fetchone() is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
