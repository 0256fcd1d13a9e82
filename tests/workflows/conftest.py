"""The real processes on a real time-skipping server, over real books and a scripted bank."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from calendars.book import CalendarBook
from config.policy import read_policy
from domain.instructions import AcceptBinding, AcceptUnbinding, ClaimCodeAttempt, ResolveCodeAttempt
from domain.personal_data import PersonalField
from domain.policy import Policy
from storage.calendars import Calendars
from storage.settlements import SettlementBook
from tests.conftest import Database
from tests.storage.books import BANK, ELEMENTS, Books, open_books
from tests.workflows.payouts import ScriptedChecks
from tests.workflows.scripted_bank import ScriptedBank
from worker import build_worker, settling_merchants
from workflows import names
from workflows.messages import BindingOrder, CodeVerdictMessage, PaymentOrder, PayoutOrder, ProcessResult, RefundOrder
from workflows.starting import Processes, binding_order, payment_order, payout_order, refund_order

TEST_SERVER = Path(sys.executable).parent / "temporal-test-server"
BINDING_LIFE = timedelta(minutes=30)
Result = TypeVar("Result")
PlanningOf = Callable[[Books, Processes], list[Callable[..., Any]]]


@dataclass
class House:
    """Everything a test of a process touches."""

    books: Books
    bank: ScriptedBank
    env: WorkflowEnvironment
    processes: Processes
    checks: ScriptedChecks

    async def now(self) -> datetime:
        return await self.env.get_current_time()

    async def accept(self, amount_minor: int = 10_000, **changes: Any) -> dict[str, Any]:
        """Accepts a payment at the server's present instant."""
        return await self.books.instructions.accept_payment(
            self.books.payment(amount_minor, now=await self.now(), **changes)
        )

    async def accept_waived(self, amount_minor: int = 10_000, **changes: Any) -> dict[str, Any]:
        if not await self.books.value("SELECT count(*) FROM app.user_waiver"):
            await self.books.enable_waiver(20_000)
        payment = await self.accept(amount_minor, **changes)
        assert payment["verification"] == "waived"
        return payment

    async def accept_binding(self, card_index: str = "card-2", **changes: Any) -> dict[str, Any]:
        """Accepts an application to bind another card of the same person."""
        sealed = await self.books.vault.seal(
            self.books.user_id, {PersonalField(name): value for name, value in ELEMENTS.items()}
        )
        values = {
            "request": self.books.context(), "now": await self.now(), "id": self.books.new_id("bnd"),
            "user_id": self.books.user_id, "bank_code": BANK, "card_index": card_index, "card_last4": "0018",
            "card_type": "debit", "person_index": "person-1", "age_class": "adult",
            "sealed": tuple(item.model_dump(mode="json") for item in sealed),
            "element_tokens": {item.field.value: item.token for item in sealed}, "blocked_regions": ("KP",),
        }  # fmt: skip
        return await self.books.instructions.accept_binding(AcceptBinding.model_validate(values | changes))

    async def accept_unbinding(self, binding_id: str) -> dict[str, Any]:
        return await self.books.instructions.accept_unbinding(
            AcceptUnbinding(
                request=self.books.context(), now=await self.now(), id=binding_id, user_id=self.books.user_id
            )
        )

    async def accept_refund(self, payment_id: str, amount_minor: int, **changes: Any) -> dict[str, Any]:
        return await self.books.instructions.accept_refund(
            self.books.refund(payment_id, amount_minor, now=await self.now(), **changes)
        )

    def binding_order(self, binding: dict[str, Any], deadline: datetime) -> BindingOrder:
        return binding_order(binding, self.books.merchant_id, deadline)

    def refund_order(self, refund: dict[str, Any]) -> RefundOrder:
        return refund_order(refund, self.books.merchant_id)

    async def begin_to_bind(self, binding: dict[str, Any]) -> None:
        """Starts the process of an application that has half an hour."""
        assert await self.processes.bind_card(self.binding_order(binding, await self.now() + BINDING_LIFE))

    async def bind(self, binding: dict[str, Any]) -> ProcessResult:
        await self.begin_to_bind(binding)
        return await self.end_of(names.Process.BIND_CARD, binding["id"])

    async def unbind(self, binding: dict[str, Any]) -> ProcessResult:
        await self.processes.unbind_card(self.binding_order(binding, await self.now()))
        return await self.end_of(names.Process.UNBIND_CARD, binding["id"])

    async def refund(self, refund: dict[str, Any]) -> ProcessResult:
        await self.processes.refund_payment(self.refund_order(refund))
        return await self.end_of(names.Process.REFUND_PAYMENT, refund["id"])

    async def correct(self, payment: dict[str, Any]) -> ProcessResult:
        await self.processes.correct_payment(self.order(payment))
        return await self.end_of(names.Process.CORRECT_PAYMENT, payment["id"])

    def order(self, payment: dict[str, Any]) -> PaymentOrder:
        return payment_order(payment, self.books.merchant_id)

    async def collect(self, payment: dict[str, Any]) -> ProcessResult:
        """Runs a payment to its end."""
        await self.processes.collect_payment(self.order(payment))
        return await self.end_of(names.Process.COLLECT_PAYMENT, payment["id"])

    async def accept_payout(self, amount_minor: int = 10_000, **changes: Any) -> dict[str, Any]:
        """Accepted at the server's present instant on funds that are put there for it, to a payee of its own."""
        now = await self.now()
        await self.books.fund(amount_minor + 200)
        payee_id = changes.pop("payee_id", None) or await self.books.known_payee(**changes.pop("payee", {}))
        command = self.books.payout(payee_id, amount_minor, now=now, **changes)
        return await self.books.instructions.accept_payout(command)

    async def money(self) -> tuple[int, int, int]:
        """What the user has, what of it is held, and what is at the bank."""
        user, reserve = f"user:{self.books.user_id}:CNY", f"reserve:{BANK}:CNY"
        return await self.books.balance(user), await self.books.held(user), await self.books.balance(reserve)

    def payout_order(self, payout: dict[str, Any]) -> PayoutOrder:
        return payout_order(payout, self.books.merchant_id)

    async def begin_payout(self, payout: dict[str, Any], state: str | None = None) -> None:
        """Starts the process of a payout and, if a state is named, waits until it is there; skips no time."""
        assert await self.processes.send_payout(self.payout_order(payout))
        if state is not None:
            await self.until("SELECT state FROM app.payout WHERE id = :id", state, id=payout["id"])

    async def pay_out(self, payout: dict[str, Any]) -> ProcessResult:
        """Runs a payout to its end."""
        await self.begin_payout(payout)
        return await self.end_of(names.Process.SEND_PAYOUT, payout["id"])

    async def end_of(self, process: names.Process, subject_id: str) -> ProcessResult:
        return await skipped_to_the_end(self.env, self.handle(process, subject_id))

    def handle(self, process: names.Process, subject_id: str) -> WorkflowHandle[Any, ProcessResult]:
        return self.env.client.get_workflow_handle(names.workflow_id(process, subject_id), result_type=ProcessResult)

    async def until(self, statement: str, wanted: Any, **parameters: Any) -> None:
        """Waits in real time until the books say so; no time of the process is skipped."""
        for _ in range(600):
            if await self.books.value(statement, **parameters) == wanted:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never became {wanted!r}: {statement}")

    async def has_looked(self, process: names.Process, subject_id: str) -> None:
        """Waits in real time until its process has done all that a word to it led to, and waits again."""
        for _ in range(600):
            history = await self.handle(process, subject_id).fetch_history()
            kinds = [event.event_type for event in history.events]
            if (
                EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED in kinds
                and kinds[-1] == EventType.EVENT_TYPE_TIMER_STARTED
            ):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{process.value} of {subject_id} does not wait")

    async def payment(self, payment_id: str) -> dict[str, Any]:
        return await self.view("payment", payment_id)

    async def view(self, kind: str, object_id: str) -> dict[str, Any]:
        """The resource as its merchant sees it."""
        found = await self.books.value(
            f"SELECT app.{kind}_view(x)::text FROM app.{kind} x WHERE id = :id",  # noqa: S608
            id=object_id,
        )
        view: dict[str, Any] = json.loads(found)
        return view

    async def ended_after(self, kind: str, object_id: str) -> timedelta:
        """How long after its acceptance something reached its present state (the server's clock may run on)."""
        view = await self.view(kind, object_id)
        return datetime.fromisoformat(view["state_since"]) - datetime.fromisoformat(view["accepted_at"])

    async def events(self, object_id: str) -> list[str]:
        found = await self.books.value(
            "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id", id=object_id
        )
        return list(found)

    async def type_code(self, kind: str, subject_id: str, verdict: str | None, **changes: Any) -> str:
        """Plays the API: claims the next attempt and, unless `verdict` is None, resolves it as the bank would."""
        now = await self.now()
        attempt = await self.books.instructions.claim_code_attempt(
            ClaimCodeAttempt(
                now=now,
                kind=kind,
                id=subject_id,
                merchant_id=self.books.merchant_id,
                attempt_id=self.books.new_id("att"),
                max_attempts=5,
                step="VC",
            )
        )
        if verdict is not None:
            await self.books.instructions.resolve_code_attempt(
                ResolveCodeAttempt.model_validate(
                    {"now": now, "attempt_id": attempt.attempt_id, "verdict": verdict} | changes
                )
            )
        return attempt.attempt_id

    async def tell(self, kind: Any, subject_id: str, attempt_id: str, verdict: Any) -> None:
        assert await self.processes.tell_verdict(
            kind, subject_id, CodeVerdictMessage(attempt_id=attempt_id, verdict=verdict)
        )


async def skipped_to_the_end(env: WorkflowEnvironment, handle: WorkflowHandle[Any, Result]) -> Result:
    """How a process ended, with time skipped: a handle that was not got by starting does not skip by itself.

    Once in many thousands the server goes on in real time, and skips again when it is told so again.
    """
    for patience in (30, 30, None):
        with contextlib.suppress(TimeoutError):
            async with env.time_skipping_unlocked(), asyncio.timeout(patience):  # type: ignore[attr-defined]
                return await result_of(handle)
    raise AssertionError


async def result_of(handle: WorkflowHandle[Any, Result]) -> Result:
    """How a process ended. The time-skipping server answers an empty last page at times, and is then asked again."""
    while True:
        try:
            return await handle.result()
        except RuntimeError as error:
            if str(error) != "No completion event found":
                raise


@asynccontextmanager
async def open_house(
    database: Database, *, planning: PlanningOf | None = None, **client_options: Any
) -> AsyncIterator[House]:
    """A house of its own; `client_options` for another data converter, or for interceptors.

    `planning`: real activities that plan payouts, or assess them, in the place of the scripted ones.
    """
    async with open_books(database) as books, house_over(books, planning=planning, **client_options) as house:
        yield house


@asynccontextmanager
async def house_over(
    books: Books, *, planning: PlanningOf | None = None, **client_options: Any
) -> AsyncIterator[House]:
    """The same over books that are open already."""
    options: dict[str, Any] = {"data_converter": pydantic_data_converter, **client_options}
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEST_SERVER), **options
    ) as env:
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=env.client.namespace,
                search_attributes={a.name: int(a.indexed_value_type) for a in names.SEARCH_ATTRIBUTES},
            )
        )
        # The server's clock may leap ten years when nothing is left to wait for.
        await books.run("UPDATE app.merchant SET contract_until = 'infinity'")
        bank, checks = ScriptedBank(), ScriptedChecks(books)
        others = checks.activities()
        others += settling_merchants(
            SettlementBook(books.app),
            CalendarBook(Calendars(books.app)),
            books.ids,
            Policy.model_validate(read_policy()),
        )
        if planning is not None:
            real = planning(books, Processes(env.client))
            others = [each for each in others if each.__name__ not in {one.__name__ for one in real}] + real
        async with build_worker(env.client, books.instructions, books.bank_vault, bank, others=others):
            yield House(books, bank, env, Processes(env.client), checks)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with open_house(database) as opened:
        yield opened
