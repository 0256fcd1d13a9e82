"""What it costs to let conversions of foreign currency wait until their desk opens, and how they leave when it does.

They are accepted while the desk is closed, which operators have said; they wait for the same opening. On the way the
calendar is corrected twice: to a later opening, which no process has to be told of, and to the one that then comes,
which is earlier, so that all of them have to be told. From the opening on nothing is special but the desk's rate: one
that no machine keeps up with, to find what this one does; then, with fewer, the configured one.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from bench.conversions import (
    CURRENCY,
    DESK,
    OFFICE,
    STARTS_AT_ONCE,
    Conversions,
    Offices,
    all_at_once,
    give_foreign_money,
    opening_after,
)
from bench.floor import QUEUE, Sleeper
from bench.opening import Rows, open_positions, rows_of_opening, slots_of, what_was_dealt
from bench.payers import SetUpError, open_merchant, open_payers
from bench.processor import processor_seconds, resident_bytes
from calendars.book import CalendarBook
from config.policy import read_policy
from config.settings import WorkerSettings, load
from domain.fx import FxSlotRequest
from domain.fx_rules import FxRules
from runtime.id_source import UlidSource
from runtime.secrets import load_or_create
from runtime.stack import LocalStack
from runtime.temporal import connect
from storage.calendars import Calendars
from storage.database import create_engine
from storage.fx import FxSlots
from workflows.messages import ReplanOrder
from workflows.names import WAITING_FOR, Process, workflow_id
from workflows.starting import Processes

# Faster than two processors deal, and slow enough that a later slot is another second.
UNBOUND_RATE = 200
# So many show whether the configured rate holds; of few, half.
BOUND_COUNT = 400
_PAYERS, _FEW_PAYERS, _CONVERSIONS_OF_A_PAYER = 32, 8, 25
_TURN, _RAW_CALLERS, _RAW_CALLS = 250, 8, 100
_DEALT_A_SECOND = 8  # at least
_FAR = timedelta(hours=20)
_LATER = timedelta(hours=1)
_QUIET_PERCENT, _QUIET_SECONDS = 25.0, 1.0
# Longer where there is more to wait for anyway.
_IDLE_SECONDS, _IDLE_SECONDS_OF_MANY, _MANY = 4.0, 10.0, 1000
# How much longer than it took before something may take.
_PATIENCE = 1.4
# Between the last word about the opening and the opening, beside what the processes need to take it in.
_MARGIN_SECONDS, _NEW_WORKER_SECONDS = 5.0, 60.0
_ASLEEP = f"{WAITING_FOR.name} IN ('fx_desk_window', 'fx_queue') AND ExecutionStatus = 'Running'"
_BARE_ASLEEP = f"{WAITING_FOR.name} = 'bench' AND ExecutionStatus = 'Running'"
_STATES = sa.text("SELECT f.state, count(*) FROM app.fx f WHERE f.id = ANY(:ids) GROUP BY 1")

Say = Callable[[str], None]


@dataclass
class Turns:
    """What each kind took in each turn, in seconds for one; and the bytes that a turn has added to the databases."""

    took: dict[str, list[float]] = field(default_factory=lambda: {"ours": [], "bare": [], "raw": []})
    seconds: float = 0.0
    added: dict[str, int] = field(default_factory=lambda: {"temporal": 0, "books": 0, "bare": 0})

    def rate(self, kind: str) -> float:
        """The median of all turns, a second."""
        return 1 / statistics.median(self.took[kind])

    def ratio_to(self, kind: str) -> float:
        """How many of ours go into one of these, in the same turn; the median."""
        pairs = zip(self.took["ours"], self.took[kind], strict=True)
        return statistics.median(other / mine for mine, other in pairs)


@dataclass
class Waiters:
    """The stack, its worker, and who waits in it."""

    stack: LocalStack
    engine: AsyncEngine
    client: Client
    offices: Offices
    conversions: Conversions
    say: Say
    worker: int = 0
    turns: Turns = field(default_factory=Turns)
    ids: UlidSource = field(default_factory=UlidSource)

    async def put_to_sleep(self, number: int) -> list[str]:
        """So many, a page a turn, in turns with as many bare workflows and with calls of the planner alone."""
        accepted: list[str] = []
        turns = self.turns
        for first in range(0, number, _TURN):
            page = min(_TURN, number - first)
            before = await self.sizes()
            resources = await self.conversions.accept(page)
            accepted += [resource["id"] for resource in resources]
            began = time.monotonic()
            await self.conversions.start(resources)
            await self._until_asleep(_ASLEEP, len(accepted))
            taken, after = time.monotonic() - began, await self.sizes()
            turns.seconds += taken
            turns.took["ours"].append(taken / page)
            for what in ("temporal", "books"):
                turns.added[what] += after[what] - before[what]
            turns.took["bare"].append(await self._bare(page, first + page) / page)
            turns.added["bare"] += (await self.sizes())["temporal"] - after["temporal"]
            turns.took["raw"].append(await self._raw(min(page, _RAW_CALLS)))
            self.say(f"  {first + page} of {number} sleep: {1 / turns.took['ours'][-1]:.1f} a second")
        return accepted

    async def sleep_again(self, number: int, opens_at: datetime) -> list[str]:
        """So many of ours alone; raises SetUpError if the desk opens before all of them sleep."""
        resources = await self.conversions.accept(number)
        await self.conversions.start(resources)
        await self._until_asleep(_ASLEEP, number, (opens_at - datetime.now(UTC)).total_seconds())
        return [resource["id"] for resource in resources]

    async def _until_asleep(self, query: str, number: int, within_seconds: float | None = None) -> None:
        """As Temporal's search says."""
        until = time.monotonic() + (120 + number if within_seconds is None else within_seconds)
        while (asleep := (await self.client.count_workflows(query)).count) < number:
            if time.monotonic() > until:
                raise SetUpError(f"{asleep} of {number} sleep, and it takes too long")
            await asyncio.sleep(0.1)

    async def _bare(self, number: int, asleep: int) -> float:
        """Seconds until as many workflows sleep that have one activity and a timer."""
        numbers = iter([f"bench-sleeper/{self.ids.ulid()}" for _ in range(number)])

        async def one_after_the_other() -> None:
            for each in numbers:
                await self.client.start_workflow(Sleeper.run, each, id=each, task_queue=QUEUE)

        began = time.monotonic()
        await all_at_once(one_after_the_other, STARTS_AT_ONCE)
        await self._until_asleep(_BARE_ASLEEP, asleep)
        return time.monotonic() - began

    async def _raw(self, number: int) -> float:
        """Seconds for one call of app.plan_fx, each a commit; who was planned so is refused afterwards."""
        resources, slots = await self.conversions.accept(number), FxSlots(self.engine)
        rules, now = FxRules.model_validate(read_policy()["fx"]), datetime.now(UTC)
        calendars = Calendars(self.engine)
        version, plan = await CalendarBook(calendars).plan_fx(rules, DESK, CURRENCY, None, now)
        await all_at_once(calendars.current_version, _RAW_CALLERS)  # so that all connections are open
        waiting = iter(resources)

        async def one_after_the_other() -> None:
            for each in waiting:
                await slots.allocate(
                    FxSlotRequest(
                        fx_id=each["id"], now=now, why="first", version=version, desk=DESK, office=OFFICE,
                        rate=UNBOUND_RATE, plan=plan,
                    )
                )  # fmt: skip

        began = time.monotonic()
        await all_at_once(one_after_the_other, _RAW_CALLERS)
        taken = time.monotonic() - began
        await self.conversions.refuse(resources)
        return taken / number

    async def correct(self, opens_at: datetime) -> tuple[float, ReplanOrder]:
        """A calendar correction; seconds until all are planned anew, and how many of them were told."""
        began, version = time.monotonic(), await self.offices.close_until(opens_at)
        await Processes(self.client, patience_seconds=30).replan_fx(version)
        handle = self.client.get_workflow_handle(workflow_id(Process.REPLAN_FX, str(version)), result_type=ReplanOrder)
        done: ReplanOrder = await handle.result()
        return time.monotonic() - began, done

    async def until_quiet(self) -> float:
        """Seconds until nothing uses a processor any more."""
        began, quiet = time.monotonic(), 0
        while quiet < 2:
            used = await self.percent(_QUIET_SECONDS)
            quiet = quiet + 1 if not used > _QUIET_PERCENT else 0
        return max(time.monotonic() - began - 2 * _QUIET_SECONDS, 0.0)

    async def percent(self, seconds: float) -> float:
        """Of one processor, that worker, Temporal and PostgreSQL use together."""
        family = [self.worker, self.stack.pids["temporal"], self.stack.pids["postgres"]]
        before = processor_seconds(family)
        await asyncio.sleep(seconds)
        after = processor_seconds(family)
        return float("nan") if before is None or after is None else 100 * (after - before) / seconds

    async def sizes(self) -> dict[str, int]:
        """Bytes: memory of the worker and of Temporal's server, both databases."""
        async with self.engine.connect() as connection:
            books = await connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
        return {
            "worker": resident_bytes(self.worker),
            "server": resident_bytes(self.stack.pids["temporal"]),
            "temporal": _pages(self.stack.folder / "temporal" / "temporal.sqlite"),
            "books": int(books or 0),
        }

    async def history(self) -> tuple[int, int]:
        """Events and bytes of the one that was started last."""
        described = await self.client.get_workflow_handle(self.conversions.last).describe()
        info = described.raw_description.workflow_execution_info
        return int(info.history_length), int(info.history_size_bytes)

    async def opening(self, ids: Sequence[str], opens_at: datetime) -> Rows:
        """Waits for it and for the end of all; what came of it."""
        promised = await slots_of(self.engine, ids)
        if len(promised) != len(ids):
            raise RuntimeError(f"only {len(promised)} of {len(ids)} wait when the desk opens")
        self.say(f"Waiting until the desk opens at {opens_at:%H:%M:%S} UTC …")
        await asyncio.sleep(max((opens_at - datetime.now(UTC)).total_seconds(), 0))
        said = time.monotonic()
        while (settled := await self._settled(ids)) < len(ids):
            if time.monotonic() - said > 20:
                said = time.monotonic()
                self.say(f"  {settled} of {len(ids)} are settled")
            await asyncio.sleep(0.5)
        simulator = Path(self.stack.environment["simulator"]["SIMULATOR_DATABASE"])
        rows = rows_of_opening(await what_was_dealt(self.engine, simulator, ids), opens_at, promised)
        if left := await open_positions(self.engine):
            raise RuntimeError(f"positions are not back at nought: {left}")
        return rows

    async def _settled(self, ids: Sequence[str]) -> int:
        async with self.engine.connect() as connection:
            found: dict[str, int] = {row[0]: row[1] for row in await connection.execute(_STATES, {"ids": list(ids)})}
        if others := found.keys() - {"waiting", "sending", "unknown", "settled"}:
            raise RuntimeError(f"conversions of the benchmark are {', '.join(sorted(others))}")
        return found.get("settled", 0)


async def set_the_scene(stack: LocalStack, owner_url: str, number: int, say: Say, opened: AsyncExitStack) -> Waiters:
    """Users with foreign currency, each a person of their own, and offices that work around the clock."""
    say("Setting the scene of foreign currency (not timed) …")
    http = httpx.AsyncClient(base_url=stack.addresses["api"], timeout=30, trust_env=False)
    await opened.enter_async_context(http)
    merchant = await open_merchant(owner_url, http, signs=True)
    payers = min(_PAYERS, max(_FEW_PAYERS, number // _CONVERSIONS_OF_A_PAYER))
    users = await open_payers(merchant, stack.addresses["simulator"], payers, say, each_a_person=True)
    engine = create_engine(owner_url, pool_size=_RAW_CALLERS)
    opened.push_async_callback(engine.dispose)
    await give_foreign_money(engine, stack.addresses["simulator"], users)
    key = load_or_create(stack.folder / "secrets.json", data_exist=True).operator_key
    offices = await Offices.enrol(engine, base64.b64decode(key))
    await offices.work_around_the_clock()
    client = await connect(load(WorkerSettings).payload_keys, environment="local")
    return Waiters(stack, engine, client, offices, Conversions(engine, client, merchant, users), say)


async def measure_waiting(waiters: Waiters, number: int) -> Rows:
    """The lines of the first table: planned, asleep, corrected twice, released as fast as the machine can."""
    seconds, say = _IDLE_SECONDS if number < _MANY else _IDLE_SECONDS_OF_MANY, waiters.say
    awake, idle = await waiters.sizes(), await waiters.percent(seconds)
    await waiters.offices.close_until(datetime.now(UTC) + _FAR)
    ids, turns = await waiters.put_to_sleep(number), waiters.turns
    say("All sleep. Measuring …")
    await waiters.until_quiet()
    asleep, idle_asleep = await waiters.sizes(), await waiters.percent(seconds)
    rows = [("conversions", f"{number:,}"), *_of_sleep(turns), *_of_sizes(turns, number, awake, asleep)]
    rows += [
        ("history of a sleeping conversion, events and bytes", "{} and {:,}".format(*await waiters.history())),
        ("idle before and with all asleep, % of a processor", f"{idle:.0f} and {idle_asleep:.0f}"),
    ]
    _say_all(rows, say)
    opens_at, corrected = await _correct_twice(waiters, number)
    _say_all(corrected, say)
    opened = await waiters.opening(ids, opens_at)
    _say_all(opened, say)
    end = await waiters.sizes()
    return [
        *rows, *corrected, ("desk's rate for this, a second", f"{UNBOUND_RATE}"), *opened,
        ("history of a settled conversion, events and bytes", "{} and {:,}".format(*await waiters.history())),
        ("worker's memory in the end, MB", _megabytes(end["worker"])),
    ]  # fmt: skip


async def _correct_twice(waiters: Waiters, number: int) -> tuple[datetime, Rows]:
    """To a later opening, and to the one that comes."""
    later, order = await waiters.correct(datetime.now(UTC) + _FAR + _LATER)
    rows = [("opens later: until all are planned anew, s", f"{later:.1f}"), _told(order, number)]
    await waiters.until_quiet()
    seconds = _MARGIN_SECONDS + later + _PATIENCE * waiters.turns.seconds
    opens_at = opening_after(seconds, number / _DEALT_A_SECOND)
    began = time.monotonic()
    earlier, order = await waiters.correct(opens_at)
    await waiters.until_quiet()
    asleep = time.monotonic() - began - 2 * _QUIET_SECONDS
    if datetime.now(UTC) >= opens_at:
        raise RuntimeError("the desk opened before all slept again")
    rows += [
        ("opens earlier: until all are planned anew, s", f"{earlier:.1f}"), _told(order, number),
        ("opens earlier: until all sleep again, s", f"{asleep:.1f}"),
    ]  # fmt: skip
    return opens_at, rows


def _told(order: ReplanOrder, number: int) -> tuple[str, str]:
    if (order.planned, order.failed) != (number, 0):
        raise RuntimeError(f"{order.planned} of {number} were planned anew, {order.failed} could not be")
    return "processes that had to be told of it", f"{order.told:,}"


async def measure_rate(waiters: Waiters, number: int) -> Rows:
    """The lines of the second table: at the configured rate."""
    desk = FxRules.model_validate(read_policy()["fx"]).office_of_desk(DESK)
    # The worker is new, and what Temporal has kept of all that went before makes it slower.
    seconds = _NEW_WORKER_SECONDS + _PATIENCE * number / waiters.turns.rate("ours")
    opens_at = opening_after(seconds, number / _DEALT_A_SECOND)
    await waiters.offices.close_until(opens_at)
    ids = await waiters.sleep_again(number, opens_at)
    await waiters.until_quiet()
    rows = [("conversions", f"{number:,}"), ("desk's rate, a second", f"{desk.conversions_per_second}")]
    return [*rows, *await waiters.opening(ids, opens_at)]


def show(title: str, rows: Rows) -> None:
    """A table as docs/benchmarks.md has it."""
    print(f"\n| {title} | |\n|---|---:|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def _of_sleep(turns: Turns) -> Rows:
    return [
        ("until all are planned and asleep, s", f"{turns.seconds:.0f}"),
        ("planned and asleep a second", f"{turns.rate('ours'):.1f}"),
        ("bare workflows with an activity and a timer, a second; ours to them",
         f"{turns.rate('bare'):.1f}; {turns.ratio_to('bare'):.2f}"),
        ("calls of app.plan_fx alone, a second; ours to them",
         f"{turns.rate('raw'):.0f}; {turns.ratio_to('raw'):.3f}"),
    ]  # fmt: skip


def _of_sizes(turns: Turns, number: int, awake: dict[str, int], asleep: dict[str, int]) -> Rows:
    added = {what: f"{size / number / 1000:.1f}" for what, size in turns.added.items()}
    return [
        ("Temporal's database a conversion and a bare workflow, kB", f"{added['temporal']} and {added['bare']}"),
        ("PostgreSQL's database a conversion, kB", added["books"]),
        ("worker's memory before and with all asleep, MB", _of_both(awake, asleep, "worker")),
        ("Temporal server's memory before and with all (and the bare ones) asleep, MB",
         _of_both(awake, asleep, "server")),
    ]  # fmt: skip


def _of_both(before: dict[str, int], after: dict[str, int], what: str) -> str:
    return f"{_megabytes(before[what])} and {_megabytes(after[what])}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.0f}"


def _say_all(rows: Rows, say: Say) -> None:
    for title, value in rows:
        say(f"  {title}: {value}")


def _pages(file: Path) -> int:
    """Bytes of a SQLite database that hold something, those of its log among them."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as books:
        told = [books.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")]
    return int((told[0] - told[1]) * told[2])
