"""Any sequence of paying in, paying out, refunding and returning, against a model: the books say what was instructed.

Every rule may meet every payout, whatever state it is in, so that most of what is tried is refused or answered again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.errors import DomainError, EffectRefusedError, SettlementRefusedError
from domain.journal import collection, refund_done, refund_failed, refund_holds
from domain.limits import LimitSet
from domain.personal_data import PersonalField
from domain.settlement import Settlement
from domain.states import PAYOUT_UNSENT_STATES
from ledger.verify import verify
from tests.storage.books import BANK, NOW, Books
from tests.storage.payout_steps import claim, settlement
from tests.storage.test_lock_order import another_user
from tests.storage.test_payments import claim as claim_payment
from tests.storage.test_payments import succeeded as payment_succeeded

FEE = 200
# What a bank's word makes of a payout as it is; anything else is tried, too.
NEXT = {
    "awaiting_confirmation": ("closed",), "sending": ("succeeded", "failed", "unknown", "scheduled"),
    "unknown": ("succeeded", "failed"), "succeeded": ("returned",),
}  # fmt: skip
ANY = ("succeeded", "failed", "unknown", "returned", "scheduled", "closed")
CAPS = LimitSet(per_transaction_minor=10**9, per_day_minor=10**9, per_month_minor=10**9)
ENDED_UNSENT = ("failed", "refused", "closed")
END = "SELECT app.end_payout(p, 'refused', 'x', :at, 'process', 'payout.refused') FROM app.payout p WHERE id = :id"
NOT_AS_INSTRUCTED = """
    SELECT p.id FROM app.payout p
    LEFT JOIN LATERAL (SELECT
            coalesce(sum(t.amount) FILTER (WHERE t.kind = 'payout' AND t.action = 'post_hold'), 0) AS paid,
            coalesce(sum(t.amount) FILTER (WHERE t.kind = 'fee' AND t.action = 'post_hold'), 0) AS charged,
            coalesce(sum(t.amount) FILTER (WHERE t.kind = 'payout_return' AND t.action = 'post'), 0) AS returned,
            count(*) FILTER (WHERE t.action = 'hold') - count(*) FILTER (WHERE t.hold_id IS NOT NULL) AS open_holds
        FROM ledger.transfer t WHERE t.instruction = p.id) m ON true
    WHERE (m.paid, m.charged, m.returned, m.open_holds) IS DISTINCT FROM (
        CASE WHEN p.state IN ('succeeded', 'returned') THEN p.amount_minor ELSE 0 END,
        CASE WHEN p.state IN ('succeeded', 'returned') THEN p.fee_minor ELSE 0 END,
        CASE p.state WHEN 'returned' THEN p.amount_minor ELSE 0 END,
        CASE WHEN p.state IN ('succeeded', 'returned', 'failed', 'refused', 'closed') THEN 0 ELSE 2 END)
"""
BOOKS = sa.text(
    "SELECT b.posted, b.held, coalesce((SELECT u.used_minor FROM app.limit_usage u WHERE u.subject = :limit"
    " AND u.window_kind = 'day'), 0) AS used FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id"
    " WHERE a.code = :account"
)


@dataclass
class Payout:
    """What became of one, as the model has it."""

    id: str
    amount: int
    state: str
    attempt: int = 0
    ended_by: str | None = None
    keys: set[str] = field(default_factory=set)


@dataclass
class Refund:
    payment: dict[str, Any]
    resource: dict[str, Any]
    is_open: bool = True

    @property
    def held(self) -> int:
        return int(self.resource["amount_minor"]) - int(self.resource["fee_back_minor"])


class PayoutMachine(RuleBasedStateMachine):
    """Calls the real books, which live in another thread's event loop."""

    books: Books
    loop: asyncio.AbstractEventLoop
    waiver: str

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def outcome(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The answer, or the code of the refusal."""
        try:
            return self.wait(work)
        except (EffectRefusedError, SettlementRefusedError) as error:
            return error.error
        except DomainError as error:
            return error.code.value

    @initialize()
    def start(self) -> None:
        self.user, self.binding, self.payees = self.wait(self._new_user())
        self.payouts: list[Payout] = []
        self.payments: list[dict[str, Any]] = []
        self.refunds: list[Refund] = []
        self.posted = 0
        for _ in range(2):
            self._pay_in(20_000)

    async def _new_user(self) -> tuple[str, str, list[str]]:
        books = self.books
        user, binding = await another_user(books)
        await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"user:{user}:CNY")
        await books.run("INSERT INTO app.user_waiver VALUES (:u, :v, :v, NULL)", u=user, v=self.waiver)
        await books.vault.ensure_user_key(user)
        [agreement] = await books.vault.seal(user, {PersonalField.AGREEMENT_NUMBER: "AG-1"})
        row = json.dumps([agreement.model_dump(mode="json")])
        await books.run("SELECT vault.store_items(CAST(:row AS jsonb))", row=row)
        await books.run("UPDATE app.binding SET agreement_token = :t WHERE id = :b", t=agreement.token, b=binding)
        return user, binding, [await books.known_payee(user_id=user) for _ in range(2)]

    @property
    def held(self) -> int:
        waiting = sum(p.amount + FEE for p in self.payouts if p.state not in {"succeeded", "returned", *ENDED_UNSENT})
        return waiting + sum(refund.held for refund in self.refunds if refund.is_open)

    @rule(amount=st.integers(1_000, 20_000))
    def pay(self, amount: int) -> None:
        self._pay_in(amount)

    def _pay_in(self, amount: int) -> None:
        payment = self.wait(self._pay(amount))
        self.payments.append(payment)
        self.posted += amount - payment["fee_minor"]

    async def _pay(self, amount: int) -> dict[str, Any]:
        books = self.books
        changes = {"user_id": self.user, "binding_id": self.binding, "payee_kind": "user", "limits": ()}
        payment = await books.instructions.accept_payment(books.payment(amount, **changes))
        await books.instructions.claim_effect(claim_payment(payment["id"]))
        moved = collection(payment["id"], BANK, f"user:{self.user}:CNY", amount, payment["fee_minor"], "CNY", NOW)
        await books.instructions.settle(payment_succeeded(books, payment, transfers=moved))
        return payment

    @rule(amount=st.integers(500, 15_000), payee=st.integers(0, 1), goes_on=st.booleans())
    def accept(self, amount: int, payee: int, goes_on: bool) -> None:
        command = self.books.payout(
            self.payees[payee], amount, user_id=self.user, limit_sets=[(f"payout:{self.user}", CAPS)]
        )
        answer = self.outcome(self.books.instructions.accept_payout(command))
        if self.posted - self.held < amount + FEE:
            assert answer == "INSUFFICIENT_FUNDS"
            return
        assert answer["state"] in {"checking", "awaiting_confirmation"}
        payout = Payout(command.id, amount, answer["state"])
        self.payouts.append(payout)
        if goes_on:
            self._confirm(payout)
            self._schedule(payout)
            self._send(payout)

    @precondition(lambda self: self.payouts)
    @rule(data=st.data(), step=st.sampled_from(["confirm", "schedule", "send"]))
    def go_on(self, data: st.DataObject, step: str) -> None:
        payout = self._one_of(data)
        {"confirm": self._confirm, "schedule": self._schedule, "send": self._send}[step](payout)

    def _confirm(self, payout: Payout) -> None:
        answer = self.outcome(self.books.instructions.confirm_payout(self.books.confirmation(payout.id)))
        if payout.state == "awaiting_confirmation":
            payout.state = answer["state"]
            assert payout.state == "checking"

    def _schedule(self, payout: Payout) -> None:
        if payout.state == "checking":
            self.wait(self.books.schedule(payout.id))
            payout.state = "scheduled"

    def _send(self, payout: Payout) -> None:
        answer = self.outcome(self.books.instructions.claim_effect(claim(payout.id, payout.attempt)))
        was_sent = f"sent:{payout.attempt}" in payout.keys
        if payout.state == "scheduled" and not was_sent:
            payout.state = "sending"
            payout.keys.add(f"sent:{payout.attempt}")
            assert (answer.already, answer.state, answer.amount_minor) == (False, "sending", payout.amount)
        elif was_sent:
            assert (answer.already, answer.state, answer.sealed) == (True, payout.state, ())
        else:
            assert answer == "state_conflict"

    @precondition(lambda self: self.payouts)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        payout = self._one_of(data)
        state = data.draw(st.sampled_from(NEXT.get(payout.state, ()) * 3 + ANY))
        wanted = settlement(payout.id, state, payout.attempt)
        answer = self.outcome(self.books.instructions.settle(wanted))
        if wanted.key in payout.keys:
            assert answer == payout.state
        elif payout.state not in wanted.expect:
            assert answer == "state_conflict"
        else:
            assert answer == state
            payout.keys.add(wanted.key)
            payout.state, payout.attempt = state, payout.attempt + (state == "scheduled")
            self.posted -= payout.amount + FEE if state == "succeeded" else 0
            self.posted += payout.amount if state == "returned" else 0

    @precondition(lambda self: self.payouts)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        payout = self._one_of(data)
        try:
            self.wait(self.books.run(END, id=payout.id, at=NOW))
        except sa.exc.DBAPIError as error:
            assert "already_sent" in str(error)  # noqa: PT017
            assert payout.state in {"sending", "unknown"}
        else:
            payout.state = "refused" if payout.state in PAYOUT_UNSENT_STATES else payout.state

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), amount=st.integers(500, 20_000))
    def refund(self, data: st.DataObject, amount: int) -> None:
        payment = data.draw(st.sampled_from(self.payments))
        answer = self.outcome(self.books.instructions.accept_refund(self.books.refund(payment["id"], amount)))
        if isinstance(answer, dict):
            assert self.posted - self.held >= answer["amount_minor"] - answer["fee_back_minor"]
            self.refunds.append(Refund(payment, answer))
        else:
            assert answer in {"INSUFFICIENT_FUNDS", "REFUND_EXCEEDS_PAYMENT"}

    @precondition(lambda self: any(refund.is_open for refund in self.refunds))
    @rule(data=st.data(), succeeds=st.booleans())
    def end_refund(self, data: st.DataObject, succeeds: bool) -> None:
        refund = data.draw(st.sampled_from([refund for refund in self.refunds if refund.is_open]))
        self.wait(self._end_refund(refund, "succeeded" if succeeds else "failed"))
        refund.is_open = False
        self.posted -= refund.held if succeeds else 0

    async def _end_refund(self, refund: Refund, state: str) -> None:
        r, pid = refund.resource, refund.payment["id"]
        holds = refund_holds(pid, r["id"], r["amount_minor"], r["fee_back_minor"])
        number = f"RF{r['id'][4:]}"
        await self.books.instructions.claim_effect(
            claim_payment(r["id"], kind="refund", step="RF", request_number=number)
        )
        await self.books.instructions.settle(
            Settlement(
                key=f"{r['id']}:{state}", kind="refund", id=r["id"], expect=("sending",), state=state, at=NOW,
                action="refund", outcome="done", effect_number=number,
                transfers=(refund_done if state == "succeeded" else refund_failed)(pid, holds, NOW),
            )
        )  # fmt: skip

    def _one_of(self, data: st.DataObject) -> Payout:
        payout: Payout = data.draw(st.sampled_from(self.payouts))
        return payout

    @invariant()
    def the_books_say_what_the_instructions_say(self) -> None:
        if hasattr(self, "posted"):
            found = self.wait(self._books())
            used = sum(payout.amount for payout in self.payouts if payout.state not in ENDED_UNSENT)
            assert (found.posted, found.held, found.used) == (self.posted, self.held, used)

    async def _books(self) -> Any:
        async with self.books.app.connect() as connection:
            where = {"account": f"user:{self.user}:CNY", "limit": f"payout:{self.user}"}
            return (await connection.execute(BOOKS, where)).one()


@pytest.mark.parametrize("examples", [12, pytest.param(150, marks=pytest.mark.long)])
async def test_whatever_happens_the_books_balance_and_every_payout_is_one_instruction(
    books: Books, examples: int
) -> None:
    attributes = {"books": books, "loop": asyncio.get_running_loop(), "waiver": await books.enable_waiver(20_000)}
    machine = type("Machine", (PayoutMachine,), attributes)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    profile = settings(max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=profile)
    report = await verify(books.owner)
    assert report.is_sound, report.findings
    assert await books.value(NOT_AS_INSTRUCTED) is None
    # Something did happen.
    assert await books.value("SELECT count(DISTINCT state) FROM app.payout") >= 4
