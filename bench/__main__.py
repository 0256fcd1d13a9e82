"""`python -m bench`: measures everything in one run and prints the tables of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from statistics import median

import httpx
from temporalio.client import Client

from bench import ledger
from bench.load import Round, drive, summarise
from bench.payers import open_merchant, open_payers
from bench.payments import Drivers, Kind, sign_agreements
from bench.processor import processor_seconds
from bench.stage import floor_worker, own_server, running_stack
from config.settings import WorkerSettings, load
from runtime.postgres import EmbeddedPostgres
from runtime.stack import LocalStack
from runtime.temporal import connect, connection
from storage.provision import Passwords, provision
from wiring import open_banks

IN_FLIGHT = (1, 16, 64)
PAYERS = 64
# Callbacks of one round are not to be served in the next.
_PAUSE_SECONDS = 0.8
_BEGAN = time.monotonic()


def say(sentence: str) -> None:
    """Progress, beside the tables."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {sentence}", file=sys.stderr, flush=True)


async def measure_ledger(server: EmbeddedPostgres, seconds: float) -> list[ledger.Row]:
    """The ledger alone, in a database of its own, before anything else runs."""
    say("Measuring the ledger against pgbench …")
    urls = await provision(server.admin_url, "bench", "bench_keys", Passwords.generate())
    return await ledger.measure(server, urls, seconds=seconds)


async def measure_payments(stack: LocalStack, in_flight: Sequence[int], rounds: int, seconds: float) -> list[str]:
    """The lines of the table of payments."""
    async with AsyncExitStack() as opened:
        drivers = await _set_the_scene(stack, opened)
        family = (os.getpid(), stack.pids["postgres"])
        lines: list[str] = []
        for number in in_flight:
            lines += await _compare(drivers.kinds(), _Rounds(number, rounds, seconds, family))
    return lines


async def _set_the_scene(stack: LocalStack, opened: AsyncExitStack) -> Drivers:
    settings, addresses = load(WorkerSettings), stack.addresses
    # The API closes a connection that has been idle for five seconds, as between two rounds.
    limits = httpx.Limits(max_connections=128, max_keepalive_connections=128, keepalive_expiry=3)
    http = httpx.AsyncClient(base_url=addresses["api"], timeout=30, limits=limits, trust_env=False)
    await opened.enter_async_context(http)
    banks = open_banks(settings)
    opened.push_async_callback(banks.close)
    say("Setting the scene (not timed) …")
    merchant = await open_merchant(stack.environment["migrations"]["LIUSHUI_OWNER_DATABASE_URL"], http)
    payers = await open_payers(merchant, addresses["simulator"], PAYERS, say)
    agreements = await sign_agreements(banks, addresses["simulator"], PAYERS)
    client = await connect(settings.payload_keys, environment="local")
    drivers = Drivers(client, await Client.connect(**connection()), merchant, payers, agreements)
    await drivers.read_terms()
    return drivers


@dataclass(frozen=True)
class _Rounds:
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


async def _compare(kinds: Sequence[Kind], rounds: _Rounds) -> list[str]:
    """One line a kind. All kinds take turns, there and back, so that what else the machine does hits them alike."""
    for kind in kinds:
        await drive(kind.work, min(rounds.in_flight, 16), 1.0)
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


def _print_payments(lines: Sequence[str]) -> None:
    heads = ("in flight", "a second", "p50 ms", "p99 ms", "processor ms", "history events", "to the floor")
    print(f"\n| from request to end | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    print("\n".join(lines))


def _print_ledger(rows: Sequence[ledger.Row]) -> None:
    heads = ("callers", "a second", "p50 ms", "p99 ms", "to pgbench random")
    print(f"\n| ledger postings | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for row in rows:
        print(
            f"| {row.name} | {row.callers} | {row.per_second:,.0f} | {row.p50_milliseconds:.1f} "
            f"| {row.p99_milliseconds:.1f} | {row.ratio:.2f} |"
        )


def main() -> None:
    """Ends by itself; leaves no process and no folder behind."""
    reader = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    reader.add_argument("--rounds", type=int, default=4, help="how often the kinds take turns at each concurrency")
    reader.add_argument("--seconds", type=float, default=2.5, help="of one round")
    reader.add_argument("--in-flight", type=int, nargs="+", default=IN_FLIGHT)
    reader.add_argument("--without-ledger", action="store_true")
    given = reader.parse_args()
    with own_server() as server:
        rows = [] if given.without_ledger else asyncio.run(measure_ledger(server, given.seconds))
        say("Starting the stack …")
        with running_stack(server) as stack, floor_worker(stack):
            os.environ.update(stack.environment["worker"])
            lines = asyncio.run(measure_payments(stack, given.in_flight, given.rounds, given.seconds))
    print(
        f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    _print_payments(lines)
    if rows:
        _print_ledger(rows)
    say("Done.")


if __name__ == "__main__":
    main()
