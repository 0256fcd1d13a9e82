"""`python -m bench`: measures everything in one run and prints the tables of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

import httpx
from temporalio.client import Client

from bench import ledger
from bench.load import Round, drive, summarise
from bench.payers import open_merchant, open_payers
from bench.payments import Drivers, Kind, sign_agreements
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
        lines: list[str] = []
        for number in in_flight:
            lines += await _compare(drivers.kinds(), number, rounds, seconds)
    return lines


async def _set_the_scene(stack: LocalStack, opened: AsyncExitStack) -> Drivers:
    settings, addresses = load(WorkerSettings), stack.addresses
    limits = httpx.Limits(max_connections=128, max_keepalive_connections=128)
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


async def _compare(kinds: Sequence[Kind], in_flight: int, rounds: int, seconds: float) -> list[str]:
    """One line a kind. Rounds of all kinds take turns, so that what else the machine does hits all of them alike."""
    for kind in kinds:
        await drive(kind.work, min(in_flight, 16), 1.0)
    taken: list[list[Round]] = [[] for _ in kinds]
    for number in range(1, rounds + 1):
        for kind, mine in zip(kinds, taken, strict=True):
            await asyncio.sleep(_PAUSE_SECONDS)
            mine.append(await drive(kind.work, in_flight, seconds))
        rates = ", ".join(f"{mine[-1].per_second:.1f}" for mine in taken)
        ratio = taken[-1][-1].per_second / taken[-2][-1].per_second
        say(f"  {in_flight} in flight, round {number} of {rounds}: {rates} a second; ours/floor {ratio:.2f}")
    return [await _line(kind, in_flight, mine, taken[-2]) for kind, mine in zip(kinds, taken, strict=True)]


async def _line(kind: Kind, in_flight: int, mine: Sequence[Round], floor: Sequence[Round]) -> str:
    found = summarise(mine)
    ratio = median(own.per_second / raw.per_second for own, raw in zip(mine, floor, strict=True))
    return (
        f"| {kind.title} | {in_flight} | {found.per_second:.1f} | {found.p50_milliseconds:.0f} "
        f"| {found.p99_milliseconds:.0f} | {await kind.history_events()} | {ratio:.2f} |"
    )


def _print_payments(lines: Sequence[str]) -> None:
    print("\n| from request to end | in flight | a second | p50 ms | p99 ms | history events | to the floor |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print("\n".join(lines))


def _print_ledger(rows: Sequence[ledger.Row]) -> None:
    print("\n| ledger postings | callers | a second | p50 ms | p99 ms | to pgbench random |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.name} | {row.callers} | {row.per_second:,.0f} | {row.p50_milliseconds:.1f} "
            f"| {row.p99_milliseconds:.1f} | {row.ratio:.2f} |"
        )


def main() -> None:
    """Ends by itself; leaves no process and no folder behind."""
    reader = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    reader.add_argument("--rounds", type=int, default=4, help="how often the kinds take turns at each concurrency")
    reader.add_argument("--seconds", type=float, default=3.0, help="of one round")
    reader.add_argument("--in-flight", type=int, nargs="+", default=IN_FLIGHT)
    reader.add_argument("--without-ledger", action="store_true")
    given = reader.parse_args()
    with own_server() as server:
        rows = [] if given.without_ledger else asyncio.run(measure_ledger(server, given.seconds))
        say("Starting the stack …")
        with running_stack(server) as stack, floor_worker(stack):
            os.environ.update(stack.environment["worker"])
            lines = asyncio.run(measure_payments(stack, given.in_flight, given.rounds, given.seconds))
    _print_payments(lines)
    if rows:
        _print_ledger(rows)
    say("Done.")


if __name__ == "__main__":
    main()
