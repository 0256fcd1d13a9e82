"""Accounts that close: all of them asked for at once, through API, worker and bank, beside bare Temporal.

Who leaves has one bound card, two payments to the merchant and nothing on the own balance. The merchant asks, hands
over where the funds came from, and replies as soon as the answer is given; on the way the bank ends the agreement, what
the law keeps is copied, the key is destroyed and the bank is told to delete. The floor has the same two processes with
as many activities, words and timers, and none of them does anything.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from bench.closing_steps import Step, read_steps
from bench.conversions import all_at_once
from bench.floor import QUEUE, Bare, BareClosing, BareWaiting
from bench.payers import Merchant, Payer, SetUpError, open_merchant, open_payers
from bench.payments import AMOUNT_MINOR, Drivers
from bench.processor import processor_seconds
from config.settings import WorkerSettings, load
from domain.business_time import SHANGHAI
from runtime.id_source import UlidSource
from runtime.stack import LocalStack
from runtime.temporal import connect
from storage.database import create_engine
from workflows.messages import ProcessResult
from workflows.names import Process, workflow_id

COUNT, TURNS = 400, 2
_PAYMENTS_OF_A_PAYER, _FIRST_SERIAL = 2, 20_001
_AT_ONCE, _WARM_UP = 16, 32
_HEADS = (
    "a second",
    "answered after p50 s",
    "p99 s",
    "processor ms",
    "history events",
    "to the floor",
    "by processor time",
)
# As many activities as ours has before the first word (of the records), the second (the card is unbound) and the third
# (the merchant's reply), and after it.
_REMOTE_AND_WORDS = (1, 1, 5, 2)
_LOOKS_EVERY_SECONDS, _A_CLOSING_WITHIN_SECONDS, _AT_LEAST_SECONDS = 0.25, 5, 120.0
_ANSWERED = sa.text("SELECT id FROM app.closure WHERE id = ANY(:ids) AND state = 'completed'")
_WITHIN = sa.text(
    "SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - received_at))"
    " FROM app.closure WHERE id = ANY(:ids)"
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Turn:
    """So many of a kind: closed a second, from the first request to the end of the last process, and what they used."""

    per_second: float
    processor_milliseconds: float | None


@dataclass(frozen=True)
class Found:
    """Turns of the floor and ours; events of both processes of one, of each kind; request to answer, p50 and p99."""

    turns: Sequence[tuple[Turn, Turn]]
    events: tuple[int, int]
    within_seconds: tuple[float, float]
    steps: Sequence[Step]


@dataclass
class Closers:
    """The stack and who leaves in it."""

    engine: AsyncEngine
    client: Client
    merchant: Merchant
    family: Collection[int]
    ids: UlidSource = field(default_factory=UlidSource)
    closures: dict[str, Payer] = field(default_factory=dict)
    last_bare: tuple[str, str] = ("", "")

    async def ours(self, leavers: Sequence[Payer]) -> Turn:
        """All ask at once."""
        asked: list[str] = []
        waiting = iter(leavers)

        async def one_after_the_other() -> None:
            for payer in waiting:
                asked.append(await self._ask(payer))

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(asked, len(leavers)))
                group.create_task(all_at_once(one_after_the_other, _AT_ONCE))

        return await self._timed(work, len(leavers))

    async def bare(self, number: int) -> Turn:
        """As many of the floor."""
        numbers = iter([self.ids.ulid() for _ in range(number)])
        return await self._timed(lambda: all_at_once(lambda: self._bare(numbers), _AT_ONCE), number)

    async def _timed(self, work: Callable[[], Awaitable[None]], number: int) -> Turn:
        before, began = processor_seconds(self.family), time.monotonic()
        await work()
        taken, after = time.monotonic() - began, processor_seconds(self.family)
        used = None if before is None or after is None else 1000 * (after - before) / number
        return Turn(number / taken, used)

    async def _bare(self, numbers: Iterator[str]) -> None:
        """The closing, and between its first two words the unbinding."""
        for each in numbers:
            closing, unbinding = f"bench-bare/{each}", f"bench-bare/{each}/unbinding"
            order = BareWaiting(number=closing, remote=_REMOTE_AND_WORDS)
            handle = await self.client.start_workflow(BareClosing.run, order, id=closing, task_queue=QUEUE)
            await handle.signal(BareClosing.word)
            await self.client.execute_workflow(Bare.run, unbinding, id=unbinding, task_queue=QUEUE)
            await handle.signal(BareClosing.word)
            await handle.signal(BareClosing.word)
            await handle.result()
            self.last_bare = (closing, unbinding)

    async def _ask(self, payer: Payer) -> str:
        checked = {"method": "login", "checked_at": datetime.now(UTC).isoformat()}
        path = f"/v1/users/{payer.user_id}/closures"
        closure = await self.merchant.post(path, {"scope": "account", "identity_check": checked})
        number = str(closure["id"])
        self.closures[number] = payer
        records = [_record(payer, at) for at in range(_PAYMENTS_OF_A_PAYER)]
        await self.merchant.post(f"/v1/closures/{number}/records", {"records": records, "complete": True})
        return number

    async def _follow(self, asked: Sequence[str], number: int) -> None:
        """The merchant says that it has deleted as soon as an answer is given; returns when all have ended."""
        until = time.monotonic() + _AT_LEAST_SECONDS + _A_CLOSING_WITHIN_SECONDS * number
        replied: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while len(replied) < number:
                if time.monotonic() > until:
                    raise SetUpError(f"{len(replied)} of {number} accounts have closed, and it takes too long")
                for each in await self._answered(set(asked) - replied):
                    replied.add(each)
                    group.create_task(self._reply(each))
                await asyncio.sleep(_LOOKS_EVERY_SECONDS)

    async def _answered(self, ids: Collection[str]) -> list[str]:
        async with self.engine.connect() as connection:
            return list((await connection.execute(_ANSWERED, {"ids": list(ids)})).scalars())

    async def _reply(self, closure_id: str) -> None:
        await self.merchant.post(f"/v1/closures/{closure_id}/erasure_reply", {"outcome": "erased"})
        number = workflow_id(Process.CLOSE_ACCOUNT, closure_id)
        ended = await self.client.get_workflow_handle(number, result_type=ProcessResult).result()
        if ended.state != "completed":
            raise RuntimeError(f"a closing of the benchmark ended as {ended.state}")

    async def within_seconds(self) -> tuple[float, float]:
        """From the request to the answer: p50 and p99."""
        async with self.engine.connect() as connection:
            p50, p99 = await connection.scalar(_WITHIN, {"ids": list(self.closures)})
        return float(p50), float(p99)

    async def history_events(self, numbers: Sequence[str]) -> int:
        """Of these processes together."""
        described = [await self.client.get_workflow_handle(number).describe() for number in numbers]
        return sum(int(each.history_length) for each in described)


def _record(payer: Payer, at: int) -> dict[str, Any]:
    return {
        "order_number": f"record-{payer.user_id}-{at}", "amount_minor": AMOUNT_MINOR, "currency": "CNY",
        "traded_on": datetime.now(SHANGHAI).date().isoformat(), "description": "书", "counterparty": "海棠书店",
    }  # fmt: skip


async def measure(stack: LocalStack, owner_url: str, http: httpx.AsyncClient, number: int, say: Say) -> Found:
    """So many accounts in some turns, with as many of the floor in each."""
    async with AsyncExitStack() as opened:
        say("Setting the scene of closings (not timed) …")
        merchant = await open_merchant(owner_url, http, signs=True)
        client = await connect(load(WorkerSettings).payload_keys, environment="local")
        leavers = await open_payers(
            merchant, stack.addresses["simulator"], number, say, first_serial=_FIRST_SERIAL, each_a_person=True
        )
        await _pay(client, merchant, leavers)
        engine = create_engine(owner_url, pool_size=2)
        opened.push_async_callback(engine.dispose)
        closers = Closers(engine, client, merchant, (os.getpid(), stack.pids["postgres"]))
        await closers.bare(_WARM_UP)
        turns = [
            await _turn(closers, some, say, ours_first=turn % 2 == 1) for turn, some in enumerate(_shared_out(leavers))
        ]
        say("All have closed. Reading their histories …")
        return await _found(closers, turns)


async def _pay(client: Client, merchant: Merchant, leavers: Sequence[Payer]) -> None:
    """Two payments each, to the merchant."""
    drivers = Drivers(client, client, merchant, leavers, ())
    await drivers.read_terms()
    pay, left = drivers.kinds()[-1], iter(range(_PAYMENTS_OF_A_PAYER * len(leavers)))

    async def one_after_the_other() -> None:
        for _ in left:
            await pay.work()

    await all_at_once(one_after_the_other, _AT_ONCE)


def _shared_out(leavers: Sequence[Payer]) -> list[Sequence[Payer]]:
    turns = min(TURNS, len(leavers))
    return [leavers[turn::turns] for turn in range(turns)]


async def _turn(closers: Closers, leavers: Sequence[Payer], say: Say, *, ours_first: bool) -> tuple[Turn, Turn]:
    if ours_first:
        mine, floor = await closers.ours(leavers), await closers.bare(len(leavers))
    else:
        floor, mine = await closers.bare(len(leavers)), await closers.ours(leavers)
    say(f"  {len(leavers)} have closed: {mine.per_second:.2f} a second, the floor {floor.per_second:.2f}")
    return floor, mine


async def _found(closers: Closers, turns: Sequence[tuple[Turn, Turn]]) -> Found:
    bindings = {closure: payer.binding_id for closure, payer in closers.closures.items()}
    last, binding = list(bindings.items())[-1]
    ours = (workflow_id(Process.CLOSE_ACCOUNT, last), workflow_id(Process.UNBIND_CARD, binding))
    return Found(
        turns=turns,
        events=(await closers.history_events(closers.last_bare), await closers.history_events(ours)),
        within_seconds=await closers.within_seconds(),
        steps=await read_steps(closers.client, bindings),
    )


def show(found: Found) -> None:
    """Tables as docs/benchmarks.md has them."""
    print(f"\n| an account closed, from request to end | {' | '.join(_HEADS)} |\n|---|{'---:|' * len(_HEADS)}")
    for kind, title in enumerate(("bare Temporal, both processes", "ours, through the API")):
        rate = statistics.median(turn[kind].per_second for turn in found.turns)
        ratio = statistics.median(turn[kind].per_second / turn[0].per_second for turn in found.turns)
        within = "– | –" if kind == 0 else " | ".join(f"{seconds:.1f}" for seconds in found.within_seconds)
        used, saved = _processor(found.turns, kind)
        print(f"| {title} | {rate:.2f} | {within} | {used} | {found.events[kind]} | {ratio:.2f} | {saved} |")
    print("\n| where the time of a closing goes | median s | share % |\n|---|---:|---:|")
    for step in found.steps:
        print(f"| {step.title} | {step.median_seconds:.2f} | {step.percent:.0f} |")


def _processor(turns: Sequence[tuple[Turn, Turn]], kind: int) -> tuple[str, str]:
    """Milliseconds of one, and the floor's to it; a dash where they are not known."""
    pairs = [(turn[0].processor_milliseconds, turn[kind].processor_milliseconds) for turn in turns]
    known = [(floor, mine) for floor, mine in pairs if floor and mine]
    if not known:
        return "–", "–"
    ratio = statistics.median(floor / mine for floor, mine in known)
    return f"{statistics.median(mine for _, mine in known):.0f}", f"{ratio:.2f}"
