"""A closed loop: so many in flight, each starting the next when it is done, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Round:
    """One short run of one kind: how many a second, how long each took, and the processor time of one."""

    per_second: float
    milliseconds: tuple[float, ...]
    processor_milliseconds: float | None = None


@dataclass(frozen=True)
class Summary:
    """Several rounds of one kind at one concurrency; the rate is their median, the times are those of all of them."""

    per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    processor_milliseconds: float | None


async def drive(work: Work, in_flight: int, seconds: float) -> Round:
    """Starts new work for `seconds`, waits for the last to end, and counts the whole time."""
    taken: list[float] = []
    began = time.perf_counter()

    async def one_after_the_other() -> None:
        while (now := time.perf_counter()) < began + seconds:
            await work()
            taken.append((time.perf_counter() - now) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(one_after_the_other())
    return Round(len(taken) / (time.perf_counter() - began), tuple(taken))


def summarise(rounds: Sequence[Round]) -> Summary:
    """The median rate and the percentiles."""
    ordered = sorted(taken for one in rounds for taken in one.milliseconds)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    used = [one.processor_milliseconds for one in rounds if one.processor_milliseconds is not None]
    return Summary(median(one.per_second for one in rounds), p50, p99, median(used) if used else None)
