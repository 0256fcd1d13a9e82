"""A house that converts foreign currency: real books, real calendars, scripted desks, and any date to begin on.

The test server's clock begins with the present, and goes on from there. Here the processes' time is the server's plus a
constant, so that a test begins at the instant it names, today and in ten years.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.worker import _workflow_instance as instances

from activities.fx_planning import FxPlanning
from activities.fx_steps import FxSteps
from activities.receiving import Receiving
from calendars.book import CalendarBook
from domain.banking import DeclineReason
from domain.calendars import BankHours, CalendarFile, Closure
from domain.decisions import DecisionKind
from domain.fx_banking import InboundRemittance
from domain.fx_planning import FxPlan, FxWindow
from domain.fx_rules import FxRules
from domain.identifiers import BankStep, request_number
from fx_sweeper import FxLauncher, FxSweeper
from storage.administration import Act
from storage.calendars import Calendars
from storage.database import create_engine
from storage.decisions import decide_directly
from storage.fx import FxSlots
from storage.fx_reading import FxReading
from sweeper import OLDER_THAN, UNFINISHED_A_ROUND, UNFINISHED_AFTER
from tests.calendars.planned import shanghai
from tests.conftest import Database
from tests.storage.books import Books
from tests.storage.deciders import Deciders, enrol_deciders
from tests.storage.fx_books import DESK, HOLDER, NUMBER, OTHER_DESK, OVERSEAS, RULES, FxBooks, open_fx_books
from tests.workflows.conftest import House, PlanningOf, house_over, result_of
from tests.workflows.scripted_desk import ScriptedDesk, ScriptedDesks
from workflows import names
from workflows.messages import ProcessResult, ReplanOrder
from workflows.names import Process
from workflows.starting import Processes
from workflows.starting_fx import fx_order, inbound_return_order, receiving_order

Fx = dict[str, Any]
STATE = "SELECT state FROM app.fx WHERE id = :id"
WAITS = "SELECT wait_reason FROM app.fx WHERE id = :id"
SLOT = "SELECT slot_at FROM app.fx WHERE id = :id"
TREASURER = "tian"
REMITTER = "ACME TRADING LLC"
# A Monday, with all offices open.
MORNING = "2026-11-23 10:00:00"
Opens = Callable[[datetime], datetime]


def begins(instant: str) -> pytest.MarkDecorator:
    """The instant in Shanghai at which the house of a test begins."""
    return pytest.mark.parametrize("house", [instant], indirect=True)


class Planner:
    """The real calendars, or windows that a test writes down: from an instant on, when all are open, for how long."""

    def __init__(self, real: CalendarBook) -> None:
        self._real = real
        self._opens: Opens | None = None
        self._open_for = timedelta(0)

    def script(self, opens: Opens | datetime, open_for: timedelta = timedelta(days=3650)) -> None:
        self._opens = opens if callable(opens) else lambda now: max(now, opens)
        self._open_for = open_for

    async def plan_fx(
        self, rules: FxRules, desk_bank: str, currency: str, value_date: date | None, earliest: datetime
    ) -> tuple[int, FxPlan]:
        if self._opens is None:
            return await self._real.plan_fx(rules, desk_bank, currency, value_date, earliest)
        opens = self._opens(earliest)
        window = FxWindow(opens, opens + self._open_for, None if opens <= earliest else "fx_desk_window")
        return await self.version(), FxPlan((window,))

    async def version(self) -> int:
        return await self._real.version()


@dataclass
class FxHouse(House):
    """Everything a test of foreign currency touches. `desk` is Harbour's, `other` Willow's, `overseas` Ocean Span's."""

    fx: FxBooks
    desks: ScriptedDesks
    planner: Planner
    calendars: Calendars
    deciders: Deciders
    ahead: timedelta
    sweeper: FxSweeper
    clock: list[datetime]

    @property
    def desk(self) -> ScriptedDesk:
        return self.desks[DESK]

    @property
    def other(self) -> ScriptedDesk:
        return self.desks[OTHER_DESK]

    @property
    def overseas(self) -> ScriptedDesk:
        return self.desks[OVERSEAS]

    async def now(self) -> datetime:
        return await self.env.get_current_time() + self.ahead

    async def at(self, instant: str) -> None:
        """Sleeps until a moment in Shanghai; what is due before happens."""
        await self.env.sleep(max(shanghai(instant) - await self.now(), timedelta(0)))

    # What is asked for

    async def funded(self, amount_minor: int = 100_000, currency: str = "USD", **changes: Any) -> Fx:
        """A conversion, accepted at the present instant, of money that has arrived for it and is at our disposal."""
        now = await self.now()
        at_disposal = now.date() - timedelta(days=7)
        await self.fx.receive(amount_minor, currency, now, booked_at=now, value_date=at_disposal)
        return await self.fx.accept(amount_minor, currency, now=now, **changes)

    async def begin(self, fx: Fx, state: str | None = None) -> None:
        """Starts its process as the API or the sweeper does; waits in real time for a state."""
        found = await FxReading(self.books.app).for_process(fx["id"])
        assert found is not None
        assert await self.processes.settle_fx(fx_order(found, found["merchant_id"]))
        if state is not None:
            await self.until(STATE, state, id=fx["id"])

    async def settle(self, fx: Fx) -> ProcessResult:
        """Runs a conversion to its end."""
        await self.begin(fx)
        return await self.end(fx)

    async def end(self, fx: Fx) -> ProcessResult:
        return await self.end_of(Process.SETTLE_FX, fx["id"])

    async def planned(self, fx: Fx, waits_for: str | None = None) -> datetime:
        """Starts it and waits until it sleeps; answers its slot."""
        await self.begin(fx)
        await self.until("SELECT slot_at IS NOT NULL FROM app.fx WHERE id = :id", True, id=fx["id"])
        if waits_for is not None:
            await self.until(WAITS, waits_for, id=fx["id"])
        return await self.slot(fx)

    async def slot(self, fx: Fx) -> datetime:
        found: datetime = await self.books.value(SLOT, id=fx["id"])
        return found

    async def come_to(self, statement: str, wanted: Any, fx: Fx) -> None:
        """Skips time until the books say so."""
        async with self.env.time_skipping_unlocked():  # type: ignore[attr-defined]
            await self.until(statement, wanted, id=fx["id"])

    async def found(self, fx: Fx) -> Fx:
        return await self.view("fx", fx["id"])

    async def dealt_at(self, fx: Fx) -> datetime:
        return datetime.fromisoformat((await self.found(fx))["dealt_at"])

    async def dealt(self, amount_minor: int = 100_000, **changes: Any) -> Fx:
        """A conversion that was settled just now; no time is skipped."""
        fx = await self.funded(amount_minor, **changes)
        await self.begin(fx, "settled")
        return fx

    async def refused(self, amount_minor: int = 100_000, **changes: Any) -> Fx:
        """One that its desk has refused by policy."""
        self.desk.weather.append(DeclineReason.FX_REFUSED_BY_POLICY)
        fx = await self.funded(amount_minor, **changes)
        await self.begin(fx, "refused")
        return fx

    async def mandated(self, amount_minor: int = 100_000, **changes: Any) -> Fx:
        """A conversion that began when its money arrived, under a mandate."""
        now = await self.now()
        if not await self.books.value("SELECT count(*) FROM app.fx_mandate"):
            await self.fx.acceptance.accept_mandate(self.fx.mandate(now=now))
        received = await self.fx.receive(amount_minor, now=now, value_date=now.date(), **changes)
        assert received.fx_id is not None
        return await self.found({"id": received.fx_id})

    async def begin_return(self, return_id: str) -> None:
        found = await FxReading(self.books.app).inbound_return(return_id)
        assert found is not None
        merchant = await self.books.value("SELECT merchant_id FROM app.inbound_return WHERE id = :id", id=return_id)
        assert await self.processes.return_inbound(inbound_return_order(found, merchant))

    async def return_(self, return_id: str) -> ProcessResult:
        await self.begin_return(return_id)
        return await self.end_of(Process.RETURN_INBOUND, return_id)

    async def begin_account(self, account: Fx) -> None:
        assert await self.processes.open_receiving_account(receiving_order(account, self.books.merchant_id))

    # What people do

    async def decide(self, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
        """Committed; nobody is told."""
        return await decide_directly(self.books.owner, kind, subject_id, await self.now(), detail=detail)

    async def told(self, noun: str, subject_id: str, decision_id: str) -> bool:
        return await self.processes.tell_decision(await self.view(noun, subject_id), decision_id)

    async def decide_by_two(self, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
        """Asked for by one person and approved by another; nobody is told."""
        now = await self.now()
        return str((await self.deciders.decide(kind.value, subject_id, now=now, **detail))["id"])

    async def withdraw(self, fx: Fx) -> bool:
        return await self.told("fx", fx["id"], await self.decide_by_two(DecisionKind.INSTRUCTION_WITHDRAW, fx["id"]))

    async def conclude(self, noun: str, subject_id: str) -> bool:
        detail = {"outcome": "failed", "evidence_ref": "scan:1"}
        decision = await self.decide_by_two(DecisionKind.INSTRUCTION_CONCLUDE, subject_id, detail=detail)
        return await self.told(noun, subject_id, decision)

    async def switch(self, bank: str, *, on: bool) -> None:
        """Nobody is told; in the operators' API what waits is planned anew besides."""
        await self.decide(DecisionKind.PARTNER_ENABLE if on else DecisionKind.PARTNER_DISABLE, bank)

    async def load_days(self, calendar: str, **works: bool) -> int:
        """`d2026_11_24=False` is a day off."""
        stated = [
            {"calendar": calendar, "day": day[1:].replace("_", "-"), "working": is_working, "name": "更正"}
            for day, is_working in works.items()
        ]
        file = CalendarFile.model_validate({"note": "更正", "corrections": stated})
        return int(
            (await self.calendars.load_file(await self._act(), self.deciders.people[TREASURER], file))["version"]
        )

    async def load_hours(self, office: str, *ranges: tuple[tuple[int, ...], str, str]) -> int:
        stated = [{"weekdays": days, "opens": opens, "closes": closes} for days, opens, closes in ranges]
        hours = BankHours.model_validate({"ranges": stated})
        act = await self._act()
        return int(
            (await self.calendars.load_hours(act, self.deciders.people[TREASURER], office, hours, "更正"))["version"]
        )

    async def close_office(self, office: str, from_at: str, until_at: str) -> int:
        closure = Closure(bank_code=office, from_at=shanghai(from_at), until_at=shanghai(until_at))
        return int(
            (await self.calendars.load_closure(await self._act(), self.deciders.people[TREASURER], closure, "停机"))[
                "version"
            ]
        )

    async def replan(self, version: int) -> ReplanOrder:
        assert await self.processes.replan_fx(version)
        handle = self.env.client.get_workflow_handle(
            names.workflow_id(Process.REPLAN_FX, str(version)), result_type=ReplanOrder
        )
        return await result_of(handle)

    async def sweep(self, after: timedelta = OLDER_THAN) -> int:
        """A round of the sweeper, so much later."""
        self.clock[0] = await self.now() + after + timedelta(seconds=1)
        return await self.sweeper.one()

    async def revive(self) -> int:
        return await self.sweep(UNFINISHED_AFTER)

    async def lose(self, process: Process, subject_id: str, *, how: str = "cancelled") -> None:
        """Its process is gone."""
        handle = self.handle(process, subject_id)
        await (handle.terminate() if how == "terminated" else handle.cancel())
        with pytest.raises(Exception, match="Workflow execution failed"):
            await result_of(handle)

    # What is there

    async def money(self) -> tuple[int, int]:
        """What the user has, in CNY and in USD."""
        user = self.books.user_id
        return await self.books.balance(f"user:{user}:CNY"), await self.books.balance(f"user:{user}:USD")

    async def held(self, currency: str = "USD") -> int:
        return await self.books.held(f"user:{self.books.user_id}:{currency}")

    async def assert_positions_are_back_at_nought(self) -> None:
        balances = await self.fx.balances()
        assert {code: at for code, at in balances.items() if code.startswith("fx_position") and at != (0, 0)} == {}

    def number(self, fx: Fx, attempt: int = 0) -> str:
        step = BankStep.FX_CONVERSION if fx["kind"] == "conversion" else BankStep.FX_REVERSAL
        return request_number(step, fx["id"], attempt)

    async def remittance(self, reference: str, amount_minor: int = 100_000, **changes: Any) -> InboundRemittance:
        """Booked at the bank overseas; nobody was told."""
        now = await self.now()
        values = {
            "reference": reference, "amount_minor": amount_minor, "currency": "USD", "value_date": now.date(),
            "booked_at": now, "purpose_code": "121010", "remitter_country": "US", "account_number": NUMBER,
            "receiver_name": HOLDER, "remitter_name": REMITTER,
        }  # fmt: skip
        made = InboundRemittance.model_validate(values | changes)
        self.overseas.remittances[reference] = made
        return made

    async def announce(self, reference: str) -> bool:
        """A signed notice, as the callback's handler keeps it."""
        return await self.fx.acceptance.announce_inbound(
            OVERSEAS, reference, f"N{next(self.fx.numbers)}", await self.now()
        )

    async def _act(self) -> Act:
        return Act("operator:tian", await self.now(), None)


@contextmanager
def time_ahead(ahead: Callable[[], timedelta]) -> Iterator[None]:
    """The processes' time is the server's and so much more; what lies between two moments of it is the same."""
    real = instances._WorkflowInstanceImpl.activate

    def activate(self: Any, act: WorkflowActivation) -> Any:
        nanoseconds = int(ahead() / timedelta(microseconds=1)) * 1000
        act.timestamp.FromNanoseconds(act.timestamp.ToNanoseconds() + nanoseconds)
        return real(self, act)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instances._WorkflowInstanceImpl, "activate", activate)
        yield


def fx_activities(books: FxBooks, desks: ScriptedDesks, planner: Planner, processes: Processes) -> list[Any]:
    """The real activities, as the worker wires them."""
    app = books.books.app
    steps = FxSteps(books.book, books.vault, desks)
    planning = FxPlanning(FxSlots(app), planner, RULES, processes)
    receiving = Receiving(books.book, books.vault, desks, FxLauncher(FxReading(app), processes))
    return [
        steps.convert, steps.return_inbound, steps.open_receiving_account, steps.ask_fx_bank, steps.settle_fx,
        steps.look_at_fx, planning.plan_fx, planning.replan_fx_page, receiving.receive_inbound, receiving.learn_excess,
    ]  # fmt: skip


@asynccontextmanager
async def open_fx_house(
    database: Database, begins: str | None = MORNING, *, more: PlanningOf | None = None
) -> AsyncIterator[FxHouse]:
    """`begins`: the instant in Shanghai at which the processes' time begins; None: the present, as it is.

    `more`: other activities that are real.
    """
    ahead = [timedelta(0)]
    house: FxHouse | None = None

    async def clock() -> datetime:
        assert house is not None
        return await house.now()

    desks = ScriptedDesks({code: ScriptedDesk(code, clock) for code in (DESK, OTHER_DESK, OVERSEAS)})
    ops = create_engine(database.ops_url, pool_size=2)
    try:
        async with open_fx_books(database) as fx:
            await fx.books.run("UPDATE app.agreement_version SET in_force_from = '2020-01-01Z'")
            planner = Planner(CalendarBook(Calendars(fx.books.app)))

            def activities(books: Books, processes: Processes) -> list[Callable[..., Any]]:
                return [*fx_activities(fx, desks, planner, processes), *(more(books, processes) if more else ())]

            deciders = await enrol_deciders(database, ops)
            await deciders.enrol(TREASURER, "treasury")
            with time_ahead(lambda: ahead[0]):
                async with house_over(fx.books, planning=activities) as opened:
                    if begins is not None:
                        ahead[0] = shanghai(begins) - await opened.now()
                    now = [await opened.now() + ahead[0]]
                    sweeper = FxSweeper(
                        fx.books.app, opened.processes, lambda: now[0], older_than=OLDER_THAN,
                        unfinished_after=UNFINISHED_AFTER, unfinished_a_round=UNFINISHED_A_ROUND,
                    )  # fmt: skip
                    house = FxHouse(
                        **vars(opened), fx=fx, desks=desks, planner=planner, calendars=Calendars(ops),
                        deciders=deciders, ahead=ahead[0], sweeper=sweeper, clock=now,
                    )  # fmt: skip
                    yield house
    finally:
        await ops.dispose()
