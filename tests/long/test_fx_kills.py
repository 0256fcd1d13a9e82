"""Plugs are pulled while foreign currency arrives and is converted: each is dealt once or never, within the quota."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runtime.stack import LocalStack
from tests.end_to_end.audit import live
from tests.end_to_end.foreign import (
    DESK,
    Holder,
    holder,
    number_of,
    open_offices,
    open_positions,
    times_dealt,
)
from tests.end_to_end.staff import Staff
from tests.end_to_end.world import QUICK_FAULTS, World, running_stack, world_on
from tests.long.conftest import say
from tests.long.test_kills import PARTS, all_up

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

# Of two persons five remittances each come to more than their quota; of two others what is instructed is far from it.
REMITTANCES, INSTRUCTIONS = 5, 15
REMITTED_MINOR, INSTRUCTED_MINOR, QUOTA_MINOR = 1_200_000, 10_000, 5_000_000
EXCESS_MINOR = 4_000
# A desk now and then that is difficult as well; none of these ends without having dealt.
FAULTS = ("time_out_after", "time_out_before", "error_after", "processing_then_success", "duplicate_callbacks")
SPREAD_SECONDS, PATIENCE_SECONDS = 45.0, 400.0


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """Both currencies move two seconds after the deal, so that a kill comes between them now and then."""
    slow = {"SIMULATOR_SLOW_SECONDS": "4", "SIMULATOR_FX_DELIVERY_SECONDS": "2"}
    with running_stack({"simulator": QUICK_FAULTS | slow}) as running:
        yield running


async def test_of_forty_conversions_on_their_way_each_is_dealt_once_or_never_whatever_is_killed(
    stack: LocalStack, seed: int
) -> None:
    chance = random.Random(seed)
    async with world_on(stack) as world:
        await open_offices(await Staff(world).arrive())
        merchants = [await world.merchant(f"商户{number}", patience_seconds=PATIENCE_SECONDS) for number in range(2)]
        receiving = [await holder(world, merchant) for merchant in merchants]
        instructing = [await holder(world, merchant, mandate=False) for merchant in merchants]
        for who in instructing:
            await who.funded(INSTRUCTIONS * INSTRUCTED_MINOR)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            pulling = group.create_task(_pull_plugs(world, chance, done))
            making_trouble = group.create_task(_make_trouble(world, chance, done))
            ended = await _play(world, receiving, instructing, chance)
            done.set()
        await making_trouble
        states = Counter(fx["state"] for fx in ended)
        say(f"{dict(pulling.result())} kills; {dict(states)}; seed {seed}")
        reversals = await _take_back(world, chance, [fx for fx in ended if fx["state"] == "settled"])
        await _wait_until_quiet(world)
        assert states["settled"] >= 2 * INSTRUCTIONS
        assert set(states) <= {"settled", "refused"}
        everything = [*ended, *reversals]
        dealt = [await times_dealt(world, fx) for fx in everything]
        assert dealt == [int(fx["state"] == "settled") for fx in everything]
        for who in receiving:
            await _quota_is_right(world, who)
        assert await open_positions(world) == []
        assert await world.wrong() == []


async def _play(
    world: World, receiving: list[Holder], instructing: list[Holder], chance: random.Random
) -> list[dict[str, Any]]:
    """All conversions where they rest; what was split off of one is refused with it."""
    arrivals = [
        _arrive(world, who, f"OSPBKILL{place:02d}{number:02d}", chance.uniform(0, SPREAD_SECONDS))
        for place, who in enumerate(receiving)
        for number in range(REMITTANCES)
    ]
    orders = [_instruct(who, chance.uniform(0, SPREAD_SECONDS)) for who in instructing for _ in range(INSTRUCTIONS)]
    instructed, _ = await asyncio.gather(asyncio.gather(*orders), asyncio.gather(*arrivals))
    begun = [await who.conversions(REMITTANCES, PATIENCE_SECONDS) for who in receiving]
    return [
        await who.ended(fx["id"], within_seconds=PATIENCE_SECONDS)
        for who, some in [*zip(receiving, begun, strict=True), *((who, [fx]) for who, fx in instructed)]
        for fx in some
    ]


async def _instruct(who: Holder, after_seconds: float) -> tuple[Holder, dict[str, Any]]:
    await asyncio.sleep(after_seconds)
    return who, await who.convert(INSTRUCTED_MINOR)


async def _arrive(world: World, who: Holder, reference: str, after_seconds: float) -> None:
    """The simulator may be down; what has arrived under a reference does not arrive again."""
    await asyncio.sleep(after_seconds)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await who.remit(REMITTED_MINOR, reference=reference)
            except httpx.HTTPStatusError as refused:
                if refused.response.status_code == httpx.codes.CONFLICT:
                    return
            except httpx.HTTPError:
                pass
            else:
                return
            await asyncio.sleep(0.5)


async def _make_trouble(world: World, chance: random.Random, done: asyncio.Event) -> None:
    """A restarted simulator has forgotten its faults: it gets new ones again and again."""
    while not done.is_set():
        with contextlib.suppress(httpx.HTTPError):
            await world.control("faults", {"operation": "fx-deals", "kind": chance.choice(FAULTS)})
        await asyncio.sleep(chance.uniform(1, 4))
    with contextlib.suppress(httpx.HTTPError):
        await world.http.delete(f"{world.simulator}/control/faults")


async def _pull_plugs(world: World, chance: random.Random, done: asyncio.Event) -> Counter[str]:
    """Kills part after part until all is done, and starts each again a moment later."""
    stack, kills = world.stack, Counter[str]()
    while not done.is_set() or len(kills) < len(PARTS):
        victim = chance.choice([part for part in PARTS if kills[part] == min(kills[name] for name in PARTS)])
        await asyncio.sleep(chance.uniform(0.2, 4))
        kills[victim] += 1
        await asyncio.to_thread(stack.kill, victim)
        say(f"killed {victim}")
        await all_up(stack, [victim])
    await all_up(stack, ())
    return kills


async def _take_back(world: World, chance: random.Random, settled: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of three conversions a part was above the quota after all; the worker is killed when the desk says so."""
    chosen = chance.sample(settled, 3)
    for fx in chosen:
        order = {"bank_code": DESK, "request_number": await _dealt_under(world, fx), "excess_minor": EXCESS_MINOR}
        await world.control("fx-excess", order)
    await asyncio.to_thread(world.stack.kill, "worker")
    await all_up(world.stack, ["worker"])
    statement = "SELECT id, 'reversal' AS kind, state FROM app.fx WHERE reversal_of = ANY(:ids) AND state = 'settled'"
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < len(chosen):
            await asyncio.sleep(0.5)
            found = await world.rows(statement, ids=[fx["id"] for fx in chosen])
    return found


async def _dealt_under(world: World, fx: dict[str, Any]) -> str:
    statement = "SELECT request_number FROM app.effect WHERE subject_id = :id AND outcome = 'succeeded'"
    [row] = await world.rows(statement, id=fx["id"])
    assert row["request_number"].startswith(number_of(fx))
    number: str = row["request_number"]
    return number


async def _quota_is_right(world: World, who: Holder) -> None:
    """All of it is used, but for what was taken back; what is beyond it was refused, and is held."""
    [sums] = await world.rows(
        "SELECT coalesce(sum(amount_minor - reversed_minor) FILTER (WHERE state = 'settled'), 0)::bigint AS kept,"
        " coalesce(sum(amount_minor) FILTER (WHERE state = 'refused'), 0)::bigint AS refused,"
        " coalesce(sum(reversed_minor), 0)::bigint AS reversed FROM app.fx WHERE user_id = :id AND kind = 'conversion'",
        id=who.user_id,
    )
    assert sums["kept"] + sums["reversed"] == QUOTA_MINOR
    assert sums["refused"] == REMITTANCES * REMITTED_MINOR - QUOTA_MINOR
    [quota] = await world.rows(
        "SELECT q.used_usd_minor, q.reserved_usd_minor FROM app.fx_quota q JOIN app.end_user u USING (person_index)"
        " WHERE u.id = :id",
        id=who.user_id,
    )
    assert quota == {"used_usd_minor": sums["kept"], "reserved_usd_minor": 0}
    assert await who.balance("USD") == (sums["reversed"], sums["refused"])


async def _wait_until_quiet(world: World) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await live(world.owner, "fx", "inbound_return"):  # noqa: ASYNC110 - another process ends them
            await asyncio.sleep(0.5)
