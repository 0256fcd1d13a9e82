"""What it costs to let payouts sleep, and how long it takes when all of them wake up in the same moment.

They are accepted by the books' own function and have cooled off for nearly a day; the verdict that says so is on
record, as if the worker had died right after its commit. Their processes are started as the API starts them: each
judges the payout anew, finds that verdict, and sleeps until the instant that all of them share. From there on nothing
is special.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from bench.payees import AMOUNT_MINOR, give_money, name_account
from bench.payers import BANK_CODE, Merchant, SetUpError, open_merchant, open_payers
from bench.processor import processor_seconds, resident_bytes
from config.settings import WorkerSettings, load
from domain.identifiers import IdPrefix, identifier
from domain.instructions import RequestContext
from domain.payouts import AcceptPayout
from domain.states import WaitReason
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from runtime.stack import LocalStack
from runtime.temporal import connect
from storage.database import create_engine
from sweeper import OLDER_THAN, UNFINISHED_A_ROUND, UNFINISHED_AFTER, Sweeper
from workflows.names import WAITING_FOR, Process, workflow_id
from workflows.starting import Processes, payout_order

PAYERS = 8
# Of the rule for much money to a new payee (config/risk_rules.toml).
DELAY_HOURS = 24
# How many processes a worker keeps in memory (the SDK's default).
CACHE = 1000
_A_PAGE, _STARTS_AT_ONCE = 250, 16
_IDLE_SECONDS, _SWEEPS = 10.0, 5
# Before all wake up, at the latest: what is measured while they sleep takes some time.
_MARGIN = timedelta(seconds=45)

Say = Callable[[str], None]
Rows = list[tuple[str, str]]

_PAYEES = sa.text(
    "INSERT INTO app.payee SELECT (jsonb_populate_record(y, jsonb_build_object('id', n.id, 'account_index',"
    " y.account_index || n.id))).* FROM unnest(CAST(:ids AS text[])) AS n (id), app.payee y WHERE y.id = :like"
)
_ACCEPT = sa.text("SELECT result FROM app.accept_payouts(CAST(:items AS jsonb)) ORDER BY item").columns(result=JSONB)
_JUDGE = sa.text("SELECT app.record_assessment(value) FROM jsonb_array_elements(CAST(:items AS jsonb))")
_ENDED = sa.text("SELECT count(*) FROM app.payout WHERE state = 'succeeded'")
_OTHERS = sa.text("SELECT count(*) FROM app.payout WHERE state IN ('failed', 'refused', 'closed', 'under_review')")
_LATENESS = sa.text(
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY late), percentile_disc(0.99) WITHIN GROUP (ORDER BY late),"
    " max(late) FROM (SELECT extract(epoch FROM state_since - cool_until) AS late FROM app.payout) x"
)
_SWEPT = {
    "app.unattended": "SELECT count(*) FROM app.unattended(:at, :older, 100)",
    "app.unfinished": f"SELECT count(*) FROM app.unfinished(:at, :unfinished, '', {UNFINISHED_A_ROUND})",  # noqa: S608
    "app.open_payout_cases": "SELECT app.open_payout_cases(:at)",
}


@dataclass
class Sleepers:
    """The stack, and who sleeps in it until `wakes_at`."""

    stack: LocalStack
    engine: AsyncEngine
    client: Client
    merchant: Merchant
    wakes_at: datetime
    say: Say
    ids: UlidSource = field(default_factory=UlidSource)
    last: str = ""

    @property
    def _judged_at(self) -> datetime:
        return self.wakes_at - timedelta(hours=DELAY_HOURS)

    async def accept(self, user_id: str, payee_like: str, number: int) -> list[dict[str, Any]]:
        """So many payouts of a user, each to an account of its own, in one commit with the verdict; the resources."""
        payees = [identifier(IdPrefix.PAYEE, self.ids.ulid()) for _ in range(number)]
        items = [self._item(at, user_id, payee) for at, payee in enumerate(payees)]
        async with self.engine.begin() as connection:
            await connection.execute(_PAYEES, {"ids": payees, "like": payee_like})
            found = (await connection.execute(_ACCEPT, {"items": json.dumps(items)})).scalars().all()
            if refused := [answer for answer in found if not answer["ok"]]:
                raise SetUpError(f"a payout was refused: {refused[0]['error']}")
            version = await connection.scalar(sa.text("SELECT app.current_screening_version()"))
            verdicts = [self._verdict(answer["resource"]["id"], version) for answer in found]
            await connection.execute(_JUDGE, {"items": json.dumps(verdicts)})
        return [answer["resource"] for answer in found]

    def _item(self, number: int, user_id: str, payee_id: str) -> dict[str, Any]:
        ulid = self.ids.ulid()
        context = RequestContext(
            merchant_id=self.merchant.id, key_id="bench", request_id=f"req_{ulid}", idempotency_key=None
        )
        command = AcceptPayout(
            request=context,
            now=self._judged_at,
            id=identifier(IdPrefix.PAYOUT, ulid),
            user_id=user_id,
            payee_id=payee_id,
            order_number=f"sleeper-{ulid}",
            amount_minor=AMOUNT_MINOR,
            currency="CNY",
            fee_minor=100,
            fee_rule="bench",
            speed="real_time",
            route="CN-CNY",
            banks=(BANK_CODE,),
            own_name_only=False,
            confirmation_hash="0" * 64,
            confirmation_seconds=900,
            agreement_version="bench",
            blocked_regions=(),
            limits=(),
        )
        return command.model_dump(mode="json") | {"item": number}

    def _verdict(self, payout_id: str, screened_version: int) -> dict[str, Any]:
        return {
            "now": self._judged_at.isoformat(),
            "payout_id": payout_id,
            "again": False,
            "decision_id": identifier(IdPrefix.RISK_DECISION, self.ids.ulid()),
            "rules_version": "bench",
            "rules_fingerprint": "0" * 64,
            "inputs": {},
            "hits": [],
            "outcome": "delay",
            "delay_hours": DELAY_HOURS,
            "cases": [],
            "screening_outcome": "no_hit",
            "screened_version": screened_version,
            "screened": [],
            "matches": [],
            "stop_user": False,
        }

    async def start(self, resources: Sequence[dict[str, Any]]) -> None:
        """Their processes, as the API starts them."""
        processes, waiting = Processes(self.client, patience_seconds=30), iter(resources)

        async def one_after_the_other(left: Iterator[dict[str, Any]]) -> None:
            for resource in left:
                if not await processes.send_payout(payout_order(resource, self.merchant.id)):
                    raise SetUpError("a process could not be started")
                self.last = workflow_id(Process.SEND_PAYOUT, resource["id"])

        async with asyncio.TaskGroup() as group:
            for _ in range(_STARTS_AT_ONCE):
                group.create_task(one_after_the_other(waiting))

    async def asleep(self) -> int:
        """As Temporal's search says."""
        query = f"{WAITING_FOR.name} = '{WaitReason.COOLING_OFF.value}'"
        return (await self.client.count_workflows(query)).count

    async def all_asleep(self, number: int) -> None:
        while (now_asleep := await self.asleep()) < number:
            if datetime.now(UTC) > self.wakes_at - _MARGIN:
                raise SetUpError(f"{now_asleep} of {number} sleep; give them more time with --asleep-within")
            await asyncio.sleep(1)

    async def history(self) -> tuple[int, int]:
        """Events and bytes of the one that was started last."""
        described = await self.client.get_workflow_handle(self.last).describe()
        info = described.raw_description.workflow_execution_info
        return int(info.history_length), int(info.history_size_bytes)

    async def sizes(self) -> dict[str, int]:
        """Bytes: memory of the worker and of Temporal's server, both databases."""
        files = self.stack.folder.glob("temporal/temporal.sqlite*")
        async with self.engine.connect() as connection:
            books = await connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
        return {
            "worker": resident_bytes(self.stack.pids["worker"]),
            "server": resident_bytes(self.stack.pids["temporal"]),
            "temporal": sum(file.stat().st_size for file in files),
            "books": int(books or 0),
        }

    async def idle_percent(self) -> float:
        """Of one processor, that worker, Temporal and PostgreSQL use together while nothing happens."""
        family = [self.stack.pids[name] for name in ("worker", "temporal", "postgres")]
        before = processor_seconds(family)
        await asyncio.sleep(_IDLE_SECONDS)
        after = processor_seconds(family)
        return float("nan") if before is None or after is None else 100 * (after - before) / _IDLE_SECONDS

    async def sweep(self) -> Rows:
        """What one round of the sweeper takes, and the statements of it that read payouts."""
        older = {"older": OLDER_THAN, "unfinished": UNFINISHED_AFTER}
        rows: Rows = []
        for title, text in _SWEPT.items():
            statement = sa.text(text)

            async def ask(asked: sa.TextClause = statement) -> None:
                given = {name: value for name, value in older.items() if f":{name}" in asked.text}
                async with self.engine.begin() as connection:
                    await connection.scalar(asked, {"at": datetime.now(UTC), **given})

            rows.append((f"{title}, ms", f"{await _median_ms(ask):.1f}"))
        sweeper = Sweeper(self.engine, Processes(self.client), SystemClock().now, timedelta(minutes=30))
        rows.append(("a round of the sweeper, ms", f"{await _median_ms(sweeper.sweep):.1f}"))
        return rows

    async def wait_for_the_end(self, number: int) -> Rows:
        """From the moment in which all wake up."""
        await asyncio.sleep(max((self.wakes_at - datetime.now(UTC)).total_seconds(), 0))
        said = time.monotonic()
        while (done := await self._scalar(_ENDED)) < number:
            if others := await self._scalar(_OTHERS):
                raise RuntimeError(f"{others} payouts of the benchmark have not been paid")
            if time.monotonic() - said > 20:
                said = time.monotonic()
                self.say(f"  {done} of {number} are paid")
            await asyncio.sleep(0.5)
        async with self.engine.connect() as connection:
            p50, p99, last = (await connection.execute(_LATENESS)).one()
        return [
            ("all paid after, s", f"{last:.0f}"),
            ("paid a second", f"{number / float(last):.1f}"),
            ("paid after waking, p50 and p99, s", f"{p50:.0f} and {p99:.0f}"),
        ]

    async def _scalar(self, statement: sa.TextClause) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(statement) or 0)


async def measure(stack: LocalStack, owner_url: str, number: int, asleep_within: float | None, say: Say) -> Rows:
    """The lines of the table; `asleep_within` seconds after the first is accepted all of them wake up."""
    async with AsyncExitStack() as opened:
        http = httpx.AsyncClient(base_url=stack.addresses["api"], timeout=30, trust_env=False)
        await opened.enter_async_context(http)
        say("Setting the scene (not timed) …")
        merchant = await open_merchant(owner_url, http, signs=True)
        payers = await open_payers(merchant, stack.addresses["simulator"], PAYERS, say)
        await give_money(owner_url, stack.addresses["simulator"], payers)
        likes = [await name_account(merchant, payer, at + 1) for at, payer in enumerate(payers)]
        engine = create_engine(owner_url, pool_size=4)
        opened.push_async_callback(engine.dispose)
        client = await connect(load(WorkerSettings).payload_keys, environment="local")
        seconds = 60 + number / 12 if asleep_within is None else asleep_within
        # The same fraction of a second for all, which the database keeps.
        wakes_at = (datetime.now(UTC) + timedelta(seconds=seconds) + _MARGIN).replace(microsecond=0)
        sleepers = Sleepers(stack, engine, client, merchant, wakes_at, say)
        users = [(payer.user_id, like) for payer, like in zip(payers, likes, strict=True)]
        return await _measured(sleepers, users, number)


async def _measured(sleepers: Sleepers, users: Sequence[tuple[str, str]], number: int) -> Rows:
    awake, idle = await sleepers.sizes(), await sleepers.idle_percent()
    began, full = time.monotonic(), None
    for first in range(0, number, _A_PAGE):
        user_id, like = users[first // _A_PAGE % len(users)]
        await sleepers.start(await sleepers.accept(user_id, like, min(_A_PAGE, number - first)))
        if full is None and first + _A_PAGE >= CACHE:
            full = resident_bytes(sleepers.stack.pids["worker"])
        if (first + _A_PAGE) % 1000 == 0:
            sleepers.say(f"  {first + _A_PAGE} of {number} are started")
    await sleepers.all_asleep(number)
    put_to_sleep = time.monotonic() - began
    sleepers.say("All sleep. Measuring …")
    asleep, idle_asleep = await sleepers.sizes(), await sleepers.idle_percent()
    events, size = await sleepers.history()
    rows = [
        ("payouts", f"{number:,}"),
        ("until all sleep, s", f"{put_to_sleep:.0f}"),
        ("worker's memory before, MB", _megabytes(awake["worker"])),
        *_of_full_cache(full, number),
        ("worker's memory with all asleep, MB", _megabytes(asleep["worker"])),
        ("Temporal server's memory before and with all asleep, MB", _of_both(awake, asleep, "server")),
        ("Temporal's database before and with all asleep, MB", _of_both(awake, asleep, "temporal")),
        ("Temporal's database a payout, kB", f"{(asleep['temporal'] - awake['temporal']) / number / 1000:.1f}"),
        ("PostgreSQL's database before and with all asleep, MB", _of_both(awake, asleep, "books")),
        ("PostgreSQL's database a payout, kB", f"{(asleep['books'] - awake['books']) / number / 1000:.1f}"),
        ("history of a sleeping payout, events and bytes", f"{events} and {size:,}"),
        ("idle before and with all asleep, % of a processor", f"{idle:.0f} and {idle_asleep:.0f}"),
        *await sleepers.sweep(),
    ]
    for title, value in rows:
        sleepers.say(f"  {title}: {value}")
    sleepers.say(f"Waiting until they wake up at {sleepers.wakes_at:%H:%M:%S} UTC …")
    rows += await sleepers.wait_for_the_end(number)
    paid = await sleepers.sizes()
    events, size = await sleepers.history()
    return [
        *rows,
        ("history of a paid payout, events and bytes", f"{events} and {size:,}"),
        ("worker's memory in the end, MB", _megabytes(paid["worker"])),
        ("Temporal's database in the end, MB", _megabytes(paid["temporal"])),
    ]


def _of_full_cache(resident: int | None, number: int) -> Rows:
    if resident is None or number <= CACHE:
        return []
    return [(f"worker's memory once {CACHE:,} are started, MB", _megabytes(resident))]


def show(rows: Rows) -> None:
    """A table as docs/benchmarks.md has it."""
    print("\n| payouts that cool off | |\n|---|---:|")
    for title, value in rows:
        print(f"| {title} | {value} |")


async def _median_ms(work: Callable[[], Any]) -> float:
    taken: list[float] = []
    for _ in range(_SWEEPS):
        began = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def _of_both(before: dict[str, int], after: dict[str, int], what: str) -> str:
    return f"{_megabytes(before[what])} and {_megabytes(after[what])}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.0f}"
