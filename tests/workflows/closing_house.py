"""The house with the real steps of a closure: books, vault, keys, retention store and erasure list; a scripted bank.

On request with foreign currency, and with a clock that begins where the test says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pyrage import decrypt, x25519
from temporalio.api.enums.v1 import EventType

from activities.closing import Closing
from calendars.book import CalendarBook
from closure_sweeper import ClosureSweeper
from config.policy import read_policy
from domain.decisions import DecisionKind
from domain.policy import Policy
from storage.calendars import Calendars
from storage.closures import ClosureBook
from storage.decisions import decide_directly
from sweeper import UNFINISHED_AFTER, Sweeper
from tests.conftest import Database
from tests.storage.books import BANK, Books
from tests.storage.closing import Closures
from tests.workflows.conftest import House, open_house, result_of
from tests.workflows.fx_house import FxHouse, open_fx_house
from vault import sealing
from vault.erasures import ErasureList
from vault.forgetting import Forgetting
from vault.leaving import Leaving, Retaining
from vault.retention import RetainedRecord, RetentionStore, place_of
from workflows import names
from workflows.messages import ClosureOrder, ProcessResult
from workflows.starting import Processes

POLICY = Policy.model_validate(read_policy())
IDENTITY = x25519.Identity.generate()
NEVER = timedelta(days=3650)
# Looks in real time: longer than the ten seconds after which a server gives a lost workflow task out anew.
PATIENCE = 400
# What is the last in the history of a process that is at something, or just about to be.
AT_WORK = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
}  # fmt: skip


@dataclass
class Vaults:
    """What forgets and what keeps, for a test to look into or to break."""

    retention: RetentionStore
    erasures: ErasureList
    forgetting: Forgetting
    retaining: Retaining
    book: ClosureBook
    steps: Closing


def closing_steps(books: Books, database: Database, banks: Sequence[Any]) -> tuple[Vaults, list[Callable[..., Any]]]:
    """The activities as the worker wires them; `banks`: the one bank, once it is there."""
    retention = RetentionStore(
        books.app, database.key_app_engine, str(IDENTITY.to_public()), lambda: datetime.now(UTC), POLICY.retention
    )
    book, erasures = ClosureBook(books.app), ErasureList(database.erasure_app_engine)
    keeps = Retaining(book, books.vault, retention, books.ids.ulid)
    forgetting = Forgetting(books.app, books.vault, retention, erasures, keeps.everything)
    steps = Closing(
        book, Leaving(book, keeps, retention, forgetting), CalendarBook(Calendars(books.app)), _Late(banks),
        rules=POLICY.closing, retention=POLICY.retention,
    )  # fmt: skip
    made = [
        steps.look_at_closure, steps.retain_page, steps.forget, steps.tell_recipients, steps.complete_closure,
        steps.end_following,
    ]  # fmt: skip
    return Vaults(retention, erasures, forgetting, keeps, book, steps), list(made)


@dataclass
class ClosingProcess:
    """A house, and what is done about closures in it, by whom."""

    house: House
    closures: Closures = field(init=False)

    def __post_init__(self) -> None:
        self.closures = Closures(self.books)

    @property
    def books(self) -> Books:
        return self.house.books

    @property
    def bank(self) -> Any:
        return self.house.bank

    async def ask(self, scope: str = "account", **changes: Any) -> str:
        """The merchant asks; the process is started by the next sweep."""
        return await self.closures.asked(scope, now=await self.house.now(), **changes)

    async def begun(self, scope: str = "account", **changes: Any) -> str:
        """Asked, and its process runs."""
        closure = await self.ask(scope, **changes)
        await self.begin(closure)
        return closure

    async def begin(self, closure_id: str) -> None:
        user = await self.books.value("SELECT user_id FROM app.closure WHERE id = :id", id=closure_id)
        order = ClosureOrder(closure_id=closure_id, merchant_id=self.books.merchant_id, user_id=user)
        assert await self.house.processes.close_account(order)

    async def sweep(self, after: timedelta = timedelta(seconds=30), revive_after: timedelta = NEVER) -> int:
        """One round of everything that looks after what nobody looks after, so much later."""
        now = await self.house.now() + after
        options = {"older_than": timedelta(seconds=8), "unfinished_after": revive_after, "unfinished_a_round": 25}
        sweeper = ClosureSweeper(self.books.app, self.house.processes, lambda: now, **options)  # type: ignore[arg-type]
        done = await sweeper.one()
        await Sweeper(
            self.books.app, self.house.processes, lambda: now, timedelta(minutes=30), unfinished_after=revive_after
        ).sweep()
        return done

    async def until(self, closure_id: str, state: str, *, sweeping: bool = True) -> None:
        """Waits in real time, sweeping; no time of the process is skipped."""
        for _ in range(PATIENCE):
            found = await self.closures.state(closure_id)
            if found == state:
                return
            if sweeping:
                await self.sweep()
            await asyncio.sleep(0.05)
        raise AssertionError(f"{closure_id} is {found}, not {state}: {await self.obstacles(closure_id)}")

    async def skip_until(self, closure_id: str, state: str, step: timedelta = timedelta(seconds=20)) -> None:
        """The same over skipped time, step by step: what is tried again after a while is tried."""
        for _ in range(150):
            if await self.closures.state(closure_id) == state:
                return
            await self.sweep()
            await self.house.env.sleep(step)
        raise AssertionError(f"{closure_id} is not {state}: {await self.obstacles(closure_id)}")

    async def seen(self, closure_id: str, *kinds: str) -> None:
        """Until its process has seen that exactly this is in the way, told by the sweeper."""
        for _ in range(PATIENCE):
            await self.sweep()
            if await self.is_seen(closure_id) and await self.obstacles(closure_id) == list(kinds):
                # Also what that look has led to is started.
                await self.sweep()
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"in the way of {closure_id}: {await self.obstacles(closure_id)}, not {kinds}")

    async def is_seen(self, closure_id: str) -> bool:
        found = await self.books.value(
            "SELECT c.seen = app.closure_print(c.state, app.closure_obstacles(c, :at)) FROM app.closure c"
            " WHERE c.id = :id",
            id=closure_id, at=await self.house.now(),
        )  # fmt: skip
        return bool(found)

    async def obstacles(self, closure_id: str) -> list[str]:
        """The kinds of what is in its way at the server's present instant."""
        found = await self.books.value(
            "SELECT array(SELECT o.value->>'kind' FROM app.closure c, jsonb_array_elements("
            "app.closure_obstacles(c, :at)) o WHERE c.id = :id)",
            id=closure_id, at=await self.house.now(),
        )  # fmt: skip
        return list(found)

    async def end(self, closure_id: str) -> ProcessResult:
        return await self.house.end_of(names.Process.CLOSE_ACCOUNT, closure_id)

    async def sleep(self, duration: timedelta) -> None:
        """Skips so much time, once the processes wait: the server loses a workflow task over which it skips."""
        for _ in range(20):
            if all([await self._is_at_rest(closure_id) for closure_id in await self._closures()]):
                break
            await asyncio.sleep(0.05)
        await self.house.env.sleep(duration)

    async def _closures(self) -> list[str]:
        statement = "SELECT array(SELECT id FROM app.closure WHERE process_started_at IS NOT NULL)"
        return list(await self.books.value(statement))

    async def _is_at_rest(self, closure_id: str) -> bool:
        last = (await self.house.handle(names.Process.CLOSE_ACCOUNT, closure_id).fetch_history()).events[-1]
        return last.event_type not in AT_WORK

    async def dispute(self, subject_id: str | None = None) -> str:
        return await self.closures.disputed(subject_id, now=await self.house.now())

    async def resolve(self, dispute_id: str) -> None:
        await self.closures.resolve(dispute_id, await self.house.now())

    async def refuse(self, closure_id: str) -> None:
        """Its ground does not matter to the process."""
        await decide_directly(self.books.owner, DecisionKind.CLOSURE_REFUSE, closure_id, await self.house.now())

    async def lose(self, process: names.Process, subject_id: str) -> None:
        """Its process is terminated."""
        await self.house.handle(process, subject_id).terminate()
        with pytest.raises(Exception, match="Workflow execution failed"):
            await result_of(self.house.handle(process, subject_id))

    async def answer(self, closure_id: str) -> dict[str, Any]:
        found = await self.books.value("SELECT answer::text FROM app.closure WHERE id = :id", id=closure_id)
        answer: dict[str, Any] = json.loads(found)
        return answer

    async def notices(self, closure_id: str) -> dict[str, str]:
        """The reply of each recipient; the merchant's name is short."""
        found = await self.books.value(
            "SELECT json_object_agg(CASE kind WHEN 'merchant' THEN kind ELSE recipient END, CASE WHEN told_at IS NULL"
            " THEN 'not told' ELSE reply END)::text FROM app.erasure_notice WHERE closure_id = :id",
            id=closure_id,
        )  # fmt: skip
        replies: dict[str, str] = json.loads(found or "{}")
        return replies

    async def disclosed(self, bank: str = BANK, times: int = 1) -> None:
        """The bank got the four elements of the user, under so many numbers."""
        books = self.books
        rows = [
            row
            for _ in range(times)
            for row in books.bank_vault.disclose_elements(books.user_id, bank, f"SG{books.ids.ulid()}")
        ]
        await self.books.run("SELECT vault.record_disclosures(CAST(:r AS jsonb))", r=json.dumps(rows))


@dataclass
class ClosingHouse(ClosingProcess):
    """The same with the stores that it forgets in, and keeps in."""

    database: Database
    vaults: Vaults

    @property
    def retention(self) -> RetentionStore:
        return self.vaults.retention

    async def revive(self) -> int:
        """What the sweeper does about processes that are gone, once they have not moved for long."""
        return await self.sweep(UNFINISHED_AFTER + timedelta(seconds=1), UNFINISHED_AFTER)

    async def readable(self) -> int:
        """How many items of the user have a ciphertext."""
        return int(
            await self.books.value(
                "SELECT count(*) FROM vault.item WHERE user_id = :u AND ciphertext IS NOT NULL", u=self.books.user_id
            )
        )

    async def has_key(self, user_id: str | None = None) -> bool:
        async with self.database.key_owner_engine.connect() as connection:
            query = sa.text("SELECT wrapped_key IS NOT NULL FROM keys.user_key WHERE user_id = :u")
            return bool(await connection.scalar(query, {"u": user_id or self.books.user_id}))

    async def kept(self, user_id: str | None = None) -> list[tuple[str, int, int]]:
        """Kind, year and count of what is retained."""
        lines = await self.retention.kept(user_id or self.books.user_id)
        return [(line.kind.value, line.event_year, line.records) for line in lines]

    async def retained(self) -> dict[str, RetainedRecord]:
        """Everything that is retained, opened with the private key, by what it is a copy of."""
        wrapped: dict[str, bytes] = {}
        async with self.database.key_owner_engine.connect() as connection:
            query = sa.text("SELECT key_id, wrapped_key FROM keys.retention_key")
            wrapped = {row.key_id: row.wrapped_key for row in await connection.execute(query)}
        columns = "record_id, user_id, merchant_id, person_index, kind, source_id, event_on, consent_until"
        async with self.books.owner.connect() as connection:
            query = sa.text(f"SELECT {columns}, key_id, ciphertext FROM retention.record")  # noqa: S608
            rows = [dict(row) for row in (await connection.execute(query)).mappings()]
        return {row["source_id"]: _opened(row, wrapped[row["key_id"]]) for row in rows}

    async def entries(self) -> list[tuple[str, str]]:
        """What is in the erasure list: kind and whose."""
        return [(entry.kind, entry.user_id or "") for entry in await self.vaults.erasures.after(0)]


def _opened(row: dict[str, Any], wrapped: bytes) -> RetainedRecord:
    key_id, ciphertext = row.pop("key_id"), row.pop("ciphertext")
    empty = RetainedRecord.model_validate(row | {"content": {}})
    plain = sealing.decrypt(decrypt(wrapped, [IDENTITY]), ciphertext, place_of(empty, key_id))
    return empty.model_copy(update={"content": json.loads(plain)})


@asynccontextmanager
async def open_closing_house(database: Database, **options: Any) -> AsyncIterator[ClosingHouse]:
    """The same books, vault, keys and lists as in production."""
    vaults: list[Vaults] = []
    banks: list[Any] = []

    def closing(books: Books, processes: Processes) -> list[Callable[..., Any]]:
        made, activities = closing_steps(books, database, banks)
        vaults.append(made)
        return activities

    async with open_house(database, planning=closing, **options) as house:
        banks.append(house.bank)
        yield ClosingHouse(house, database, vaults[0])


@asynccontextmanager
async def open_closing_fx_house(
    database: Database, begins: str | None = "2026-11-23 10:00:00"
) -> AsyncIterator[tuple[ClosingHouse, FxHouse]]:
    """With foreign currency; the processes' time begins at this instant in Shanghai, with None it is the present."""
    vaults: list[Vaults] = []
    banks: list[Any] = []

    def closing(books: Books, processes: Processes) -> list[Callable[..., Any]]:
        made, activities = closing_steps(books, database, banks)
        vaults.append(made)
        return activities

    async with open_fx_house(database, begins, more=closing) as house:
        banks.append(house.bank)
        yield ClosingHouse(house, database, vaults[0]), house


class _Late:
    """The bank of a house that is opened after its activities are made."""

    def __init__(self, banks: Sequence[Any]) -> None:
        self._banks = banks

    def connector_for_sent(self, bank_code: str) -> Any:
        return self._banks[0].connector_for_sent(bank_code)
