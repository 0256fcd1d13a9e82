"""Kinds of work compared with each other: they take turns in short rounds, and each becomes a line of a table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median

from temporalio.client import Client

from bench.load import Round, drive, summarise
from bench.processor import processor_seconds

Say = Callable[[str], None]
HEADS = ("in flight", "a second", "p50 ms", "p99 ms", "processor ms", "history events", "to the floor")
# Callbacks of one round are not to be served in the next.
_PAUSE_SECONDS = 0.8
_WARM_UP_SECONDS, _WARM_UP_IN_FLIGHT = 1.0, 16


@dataclass
class Kind:
    """One row of the table; `last` is the id of the process that ended last, to count its history."""

    title: str
    start: Callable[[], Awaitable[str]]
    client: Client
    last: str = ""

    async def work(self) -> None:
        self.last = await self.start()

    async def history_events(self) -> int:
        """Of the process that ended last."""
        described = await self.client.get_workflow_handle(self.last).describe()
        return int(described.history_length)


@dataclass(frozen=True)
class Rounds:
    """How the kinds of work are compared at one concurrency; `family` are the processes whose time counts."""

    in_flight: int
    number: int
    seconds: float
    family: Collection[int]

    async def one(self, kind: Kind) -> Round:
        """Callbacks are waited for, so that they count here and are not served in the next round."""
        before = processor_seconds(self.family)
        done = await drive(kind.work, self.in_flight, self.seconds)
        await asyncio.sleep(_PAUSE_SECONDS)
        after = processor_seconds(self.family)
        if before is None or after is None:
            return done
        return replace(done, processor_milliseconds=1000 * (after - before) / len(done.milliseconds))


async def compare(kinds: Sequence[Kind], rounds: Rounds, say: Say) -> list[str]:
    """One line a kind; the last but one is the floor, the last is ours.

    All kinds take turns, there and back, so that what else the machine does hits them alike.
    """
    for kind in kinds:
        await drive(kind.work, min(rounds.in_flight, _WARM_UP_IN_FLIGHT), _WARM_UP_SECONDS)
    taken: list[list[Round]] = [[] for _ in kinds]
    pairs = list(zip(kinds, taken, strict=True))
    for number in range(1, rounds.number + 1):
        for kind, mine in pairs if number % 2 else reversed(pairs):
            mine.append(await rounds.one(kind))
        rates = ", ".join(f"{mine[-1].per_second:.1f}" for mine in taken)
        ratio = taken[-1][-1].per_second / taken[-2][-1].per_second
        turn = f"{rounds.in_flight} in flight, round {number} of {rounds.number}"
        say(f"  {turn}: {rates} a second; ours/floor {ratio:.2f}")
    return [await _line(kind, rounds.in_flight, mine, taken[-2]) for kind, mine in pairs]


async def _line(kind: Kind, in_flight: int, mine: Sequence[Round], floor: Sequence[Round]) -> str:
    found = summarise(mine)
    ratio = median(own.per_second / raw.per_second for own, raw in zip(mine, floor, strict=True))
    used = "–" if found.processor_milliseconds is None else f"{found.processor_milliseconds:.0f}"
    return (
        f"| {kind.title} | {in_flight} | {found.per_second:.1f} | {found.p50_milliseconds:.0f} "
        f"| {found.p99_milliseconds:.0f} | {used} | {await kind.history_events()} | {ratio:.2f} |"
    )


def print_comparison(title: str, lines: Sequence[str]) -> None:
    """A table as docs/benchmarks.md has it."""
    print(f"\n| {title} | {' | '.join(HEADS)} |\n|---|{'---:|' * len(HEADS)}")
    print("\n".join(lines))
