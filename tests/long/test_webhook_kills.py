"""The sender is killed between a commit and its webhook, and between a webhook and its record: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from typing import Any

import pytest

from runtime.parts import PartFailedError
from runtime.stack import LocalStack
from tests.end_to_end.play import Payer
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.webhooks.receiver import Arrived, Receiver, Reply

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SECONDS = float(os.environ.get("LIUSHUI_WEBHOOK_KILL_SECONDS", "60"))
ALL_WITHIN_SECONDS = 120


async def shop(world: World, receiver: Receiver, payers: int = 1) -> tuple[list[Payer], str]:
    """Payers who need no code, and the endpoint of their merchant, which is told of their payments."""
    merchant = await world.merchant(patience_seconds=120)
    waiver = await world.waiver(merchant)
    people = [await merchant.payer(waiver=waiver) for _ in range(payers)]
    body = {"url": receiver.url, "event_types": ["payment.*"]}
    endpoint = await merchant.done("POST", "/v1/webhook_endpoints", body)
    return people, endpoint["id"]


async def all_delivered(world: World, endpoint_id: str) -> list[dict[str, Any]]:
    """Waits until every payment event has been delivered; answers the events, by object and sequence."""
    statement = """
        SELECT e.id, e.object_id, e.sequence, d.state FROM app.event e
        LEFT JOIN app.webhook_delivery d ON d.event_id = e.id AND d.endpoint_id = :e
        WHERE e.type LIKE 'payment.%' ORDER BY e.object_id, e.sequence"""
    deadline = time.monotonic() + ALL_WITHIN_SECONDS
    while True:
        rows = await world.rows(statement, e=endpoint_id)
        open_ = [row for row in rows if row["state"] != "delivered"]
        if rows and not open_:
            return rows
        assert time.monotonic() < deadline, f"{len(open_)} of {len(rows)} not delivered: {open_[:3]}"
        await asyncio.sleep(0.5)


def agrees(arrived: list[Arrived], events: list[dict[str, Any]]) -> None:
    """Every event came; what came twice is the same to the byte; of each object nothing overtook what was before."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    first_seen: dict[str, list[int]] = defaultdict(list)
    for request in arrived:
        event = request.event
        if request.headers["webhook-id"] not in bodies:
            first_seen[event["object_id"]].append(event["sequence"])
        bodies[request.headers["webhook-id"]].add(request.body)
    assert set(bodies) == {event["id"] for event in events}
    assert {len(versions) for versions in bodies.values()} == {1}
    for object_id, sequences in first_seen.items():
        assert sequences == list(range(1, len(sequences) + 1)), object_id


async def test_an_event_that_was_committed_while_the_sender_was_dead_arrives(
    stack: LocalStack, receiver: Receiver
) -> None:
    async with world_on(stack) as world:
        [payer], endpoint_id = await shop(world, receiver)
        await asyncio.to_thread(stack.kill, "webhooks")
        payment = await payer.pay_to_the_end()
        assert (payment["state"], receiver.arrived) == ("succeeded", [])
        await asyncio.to_thread(stack.restart, "webhooks")
        begun = time.monotonic()
        events = await all_delivered(world, endpoint_id)
        say(f"{len(events)} events arrived {time.monotonic() - begun:.1f} s after the restart")
        agrees(receiver.arrived, events)
        assert len(receiver.arrived) == len(events)


async def test_a_sender_killed_between_sending_and_recording_sends_again_under_the_same_id(
    stack: LocalStack, receiver: Receiver
) -> None:
    async with world_on(stack) as world:
        [payer], endpoint_id = await shop(world, receiver)
        released = asyncio.Event()

        async def hold(_: Arrived) -> Reply:
            await released.wait()
            return Reply()

        receiver.behaviour = hold
        await payer.pay_to_the_end()
        [held] = await receiver.has(1)
        await asyncio.to_thread(stack.kill, "webhooks")
        released.set()
        await asyncio.to_thread(stack.restart, "webhooks")
        begun = time.monotonic()
        events = await all_delivered(world, endpoint_id)
        say(f"sent again, and the rest after it, {time.monotonic() - begun:.1f} s after the restart")
        agrees(receiver.arrived, events)
        again = [a for a in receiver.arrived if a.headers["webhook-id"] == held.headers["webhook-id"]]
        assert (len(again), len(receiver.arrived)) == (2, len(events) + 1)
        lost = await world.rows("SELECT error FROM app.webhook_attempt WHERE status IS NULL")
        assert [row["error"] for row in lost] == ["sender_stopped"]


async def test_after_random_kills_every_event_has_arrived(stack: LocalStack, receiver: Receiver, seed: int) -> None:
    chance, refused = random.Random(seed), set[str]()

    async def moody(arrived: Arrived) -> Reply:
        """Takes its time, and refuses some at their first coming."""
        await asyncio.sleep(chance.uniform(0, 0.4))
        event_id = arrived.headers["webhook-id"]
        if event_id in refused or chance.random() < 0.75:
            return Reply()
        refused.add(event_id)
        return Reply(500)

    async with world_on(stack) as world:
        receiver.behaviour = moody
        payers, endpoint_id = await shop(world, receiver, payers=3)
        closing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for payer in payers:
                group.create_task(_shop(payer, closing))
            kills = await _kill(stack, chance)
            closing.set()
        say(f"{kills} kills; the shop is closed")
        receiver.answers(204)
        events = await all_delivered(world, endpoint_id)
        twice = len(receiver.arrived) - len(events)
        say(f"{len(events)} events arrived, and {twice} requests were repetitions or failures; seed {seed}")
        agrees(receiver.arrived, events)
        assert await world.wrong() == []
        assert len(events) > kills


async def _shop(payer: Payer, closing: asyncio.Event) -> None:
    while not closing.is_set():
        await payer.pay_to_the_end(1_000, within_seconds=120)


async def _kill(stack: LocalStack, chance: random.Random) -> int:
    kills, deadline = 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(chance.uniform(0.2, 4))
        victims = ["webhooks"] if chance.random() < 0.8 else ["webhooks", "postgres"]
        for victim in victims:
            await asyncio.to_thread(stack.kill, victim)
        kills += len(victims)
        for victim in reversed(victims):
            await _up(stack, victim)
    return kills


async def _up(stack: LocalStack, part: str) -> None:
    for _ in range(3):
        try:
            await asyncio.to_thread(stack.restart, part)
            return
        except PartFailedError as error:
            say(f"not up yet: {error}")
    raise AssertionError(f"{part} did not come up")
