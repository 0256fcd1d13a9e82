"""`python -m bench`: measures everything in one run and prints the tables of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx
from temporalio.client import Client

from bench import closings, foreign_currency, gates, ledger, waiting
from bench.comparison import Kind, Rounds, compare, print_comparison
from bench.conversions_in_flight import ConversionDrivers
from bench.desk_worker import desk_worker
from bench.payees import give_money, open_destinations
from bench.payers import open_merchant, open_payers
from bench.payments import Drivers, sign_agreements
from bench.payouts import PayoutDrivers
from bench.stage import floor_worker, own_server, running_stack
from config.settings import WorkerSettings, load
from runtime.postgres import EmbeddedPostgres
from runtime.stack import ALL_PARTS, LocalStack
from runtime.temporal import connect, connection
from storage.provision import Passwords, provision
from wiring import open_banks

PARTS = ("ledger", "gates", "payments", "payouts", "closings", "waiting", "conversions", "fx")
# Of the stack for conversions; its worker is started beside it, with a desk's rate of its own.
PARTS_FOR_CONVERSIONS = tuple(part for part in ALL_PARTS if part not in ("codec", "ops", "worker"))
WAITING_PAYOUTS, WAITING_CONVERSIONS = 1000, 10_000
IN_FLIGHT = (1, 16, 64)
FEW_IN_FLIGHT = (1, 16)
PAYERS = 64
# Prepared beforehand: more than two processors pay out in this time.
_PAYOUTS_A_SECOND = 22
_BEGAN = time.monotonic()


def say(sentence: str) -> None:
    """Progress, beside the tables."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {sentence}", file=sys.stderr, flush=True)


async def measure_ledger(server: EmbeddedPostgres, seconds: float) -> list[ledger.Row]:
    """The ledger alone, in a database of its own, before anything else runs."""
    say("Measuring the ledger against pgbench …")
    urls = await provision(server.admin_url, "bench", "bench_keys", Passwords.generate())
    return await ledger.measure(server, urls, seconds=seconds)


async def measure_gates(server: EmbeddedPostgres, rounds: int, seconds: float) -> list[gates.Compared]:
    """What the gates of closing cost acceptances, in a database of its own and a copy of it."""
    say("Measuring acceptance with and without the gates of closing …")
    await provision(server.admin_url, "bench_gates", "bench_gates_keys", Passwords.generate())
    return await gates.measure(server.admin_url, "bench_gates", rounds, seconds, say)


async def measure_closings(stack: LocalStack, number: int) -> closings.Found:
    """Accounts that close, beside their floor."""
    async with AsyncExitStack() as opened:
        return await closings.measure(stack, _owner_url(stack), await _http(stack, opened), number, say)


async def measure_payments(stack: LocalStack, in_flight: Sequence[int], rounds: int, seconds: float) -> list[str]:
    """The lines of the table of payments."""
    async with AsyncExitStack() as opened:
        drivers = await _set_the_scene(stack, opened)
        return await _compare_at(drivers.kinds(), stack, in_flight, rounds, seconds)


async def measure_payouts(stack: LocalStack, in_flight: Sequence[int], rounds: int, seconds: float) -> list[str]:
    """The lines of the table of payouts."""
    async with AsyncExitStack() as opened:
        http, owner_url = await _http(stack, opened), _owner_url(stack)
        say("Setting the scene of payouts (not timed) …")
        merchant = await open_merchant(owner_url, http, signs=True)
        payers = await open_payers(merchant, stack.addresses["simulator"], PAYERS, say, first_serial=10_001)
        await give_money(owner_url, stack.addresses["simulator"], payers)
        needed = math.ceil(len(in_flight) * (rounds * seconds + 1) * _PAYOUTS_A_SECOND) + 2 * sum(in_flight) * rounds
        destinations = await open_destinations(merchant, payers, needed, say)
        client = await connect(load(WorkerSettings).payload_keys, environment="local")
        drivers = PayoutDrivers(client, merchant, payers, destinations)
        return await _compare_at(drivers.kinds(), stack, in_flight, rounds, seconds)


async def measure_foreign_currency(stack: LocalStack, given: argparse.Namespace, parts: Sequence[str]) -> None:
    """Prints the tables of conversions: one at a time beside its floor, and those that wait for the desk to open."""
    number = given.count or WAITING_CONVERSIONS
    async with AsyncExitStack() as opened:
        with desk_worker(stack, foreign_currency.UNBOUND_RATE) as worker:
            waiters = await foreign_currency.set_the_scene(stack, _owner_url(stack), number, say, opened)
            waiters.worker = worker
            if "conversions" in parts:
                made = waiters.conversions
                kinds = ConversionDrivers(made.client, made.merchant, made.payers).kinds()
                how = (given.in_flight or FEW_IN_FLIGHT, given.rounds, given.seconds)
                print_comparison("a conversion, from request to end", await _compare_at(kinds, stack, *how))
            if "fx" in parts:
                rows = await foreign_currency.measure_waiting(waiters, number)
                foreign_currency.show("conversions that wait for their desk to open", rows)
        if "fx" in parts:
            say("The same with fewer, at the configured rate …")
            with desk_worker(stack, None) as worker:
                waiters.worker = worker
                rows = await foreign_currency.measure_rate(waiters, min(number // 2, foreign_currency.BOUND_COUNT))
                foreign_currency.show("the same at the configured rate", rows)


async def _compare_at(
    kinds: Sequence[Kind], stack: LocalStack, in_flight: Sequence[int], rounds: int, seconds: float
) -> list[str]:
    family = (os.getpid(), stack.pids["postgres"])
    lines: list[str] = []
    for number in in_flight:
        lines += await compare(kinds, Rounds(number, rounds, seconds, family), say)
    return lines


async def _http(stack: LocalStack, opened: AsyncExitStack) -> httpx.AsyncClient:
    # The API closes a connection that has been idle for five seconds, as between two rounds.
    limits = httpx.Limits(max_connections=128, max_keepalive_connections=128, keepalive_expiry=3)
    http = httpx.AsyncClient(base_url=stack.addresses["api"], timeout=30, limits=limits, trust_env=False)
    return await opened.enter_async_context(http)


def _owner_url(stack: LocalStack) -> str:
    return stack.environment["migrations"]["LIUSHUI_OWNER_DATABASE_URL"]


async def _set_the_scene(stack: LocalStack, opened: AsyncExitStack) -> Drivers:
    settings, addresses = load(WorkerSettings), stack.addresses
    http = await _http(stack, opened)
    banks = open_banks(settings)
    opened.push_async_callback(banks.close)
    say("Setting the scene of payments (not timed) …")
    merchant = await open_merchant(_owner_url(stack), http)
    payers = await open_payers(merchant, addresses["simulator"], PAYERS, say)
    agreements = await sign_agreements(banks, addresses["simulator"], PAYERS)
    client = await connect(settings.payload_keys, environment="local")
    drivers = Drivers(client, await Client.connect(**connection()), merchant, payers, agreements)
    await drivers.read_terms()
    return drivers


def _print_ledger(rows: Sequence[ledger.Row]) -> None:
    heads = ("callers", "a second", "p50 ms", "p99 ms", "to pgbench random")
    print(f"\n| ledger postings | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for row in rows:
        print(
            f"| {row.name} | {row.callers} | {row.per_second:,.0f} | {row.p50_milliseconds:.1f} "
            f"| {row.p99_milliseconds:.1f} | {row.ratio:.2f} |"
        )


def _compare_on_a_stack(given: argparse.Namespace, parts: Sequence[str]) -> None:
    with own_server() as server:
        if "ledger" in parts:
            _print_ledger(asyncio.run(measure_ledger(server, given.seconds)))
        if "gates" in parts:
            gates.show(asyncio.run(measure_gates(server, given.rounds, given.seconds)))
        if not {"payments", "payouts", "closings"} & set(parts):
            return
        say("Starting the stack …")
        with running_stack(server) as stack, floor_worker(stack):
            os.environ.update(stack.environment["worker"])
            how = (given.rounds, given.seconds)
            if "payments" in parts:
                lines = asyncio.run(measure_payments(stack, given.in_flight or IN_FLIGHT, *how))
                print_comparison("a payment, from request to end", lines)
            if "payouts" in parts:
                lines = asyncio.run(measure_payouts(stack, given.in_flight or FEW_IN_FLIGHT, *how))
                print_comparison("a payout, from request to end", lines)
            if "closings" in parts:
                closings.show(asyncio.run(measure_closings(stack, given.count or closings.COUNT)))


def _wait_on_a_stack(count: int, asleep_within: float | None) -> None:
    with own_server() as server:
        say("Starting a stack for payouts that wait …")
        with running_stack(server) as stack:
            os.environ.update(stack.environment["worker"])
            waiting.show(asyncio.run(waiting.measure(stack, _owner_url(stack), count, asleep_within, say)))


def _convert_on_a_stack(given: argparse.Namespace, parts: Sequence[str]) -> None:
    with own_server() as server:
        say("Starting a stack for conversions …")
        with running_stack(server, parts=PARTS_FOR_CONVERSIONS) as stack, floor_worker(stack):
            os.environ.update(stack.environment["worker"])
            asyncio.run(measure_foreign_currency(stack, given, parts))


def main() -> None:
    """Ends by itself; leaves no process and no folder behind."""
    reader = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    reader.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all of them unless named")
    reader.add_argument("--rounds", type=int, default=4, help="how often the kinds take turns at each concurrency")
    reader.add_argument("--seconds", type=float, default=2.5, help="of one round")
    reader.add_argument("--in-flight", type=int, nargs="+", default=None)
    what_waits = (
        f"of accounts that close ({closings.COUNT:,}), of payouts that wait ({WAITING_PAYOUTS:,}), and of conversions"
        f" ({WAITING_CONVERSIONS:,})"
    )
    reader.add_argument("--count", type=int, help=what_waits)
    reader.add_argument("--asleep-within", type=float, help="seconds after which payouts wake up; enough, by default")
    given = reader.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        reader.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = given.parts or PARTS
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    _compare_on_a_stack(given, parts)
    if "waiting" in parts:
        _wait_on_a_stack(given.count or WAITING_PAYOUTS, given.asleep_within)
    if {"conversions", "fx"} & set(parts):
        _convert_on_a_stack(given, parts)
    say("Done.")


if __name__ == "__main__":
    main()
