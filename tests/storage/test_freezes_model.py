"""Any sequence of paying in and out, refunding, freezing and releasing: nothing frozen is sent, nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
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
from domain.personal_data import PersonalField
from domain.settlement import Settlement
from ledger.verify import verify
from tests.storage.books import BANK, NOW, Books
from tests.storage.freezing import freeze, look_after, order, release
from tests.storage.payout_steps import claim, settlement
from tests.storage.test_lock_order import another_user
from tests.storage.test_payments import claim as claim_payment
from tests.storage.test_payments import succeeded as payment_succeeded
from tests.storage.test_payouts_model import CAPS, END, NOT_AS_INSTRUCTED

FEE = 200
# What must hold of one owner at any moment, each as the number of what does not.
FAULTS = sa.text(
    """
    WITH mine AS (SELECT r.*, app.frozen_minor(r.id) AS taken FROM app.restriction r
            WHERE r.subject_id = :owner AND r.amount_minor IS NOT NULL),
        payouts AS (SELECT p.*, p.amount_minor + p.fee_minor AS needed, coalesce((
                SELECT t.amount FROM ledger.transfer t WHERE t.key = p.rest_hold), 0) AS rest
            FROM app.payout p WHERE p.user_id = :owner),
        refunds AS (SELECT coalesce(sum(f.amount_minor - f.fee_back_minor), 0) AS held FROM app.refund f
            JOIN app.payment p ON p.id = f.payment_id WHERE p.user_id = :owner AND f.state IN ('ready', 'sending')),
        account AS (SELECT b.posted, b.held FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id
            WHERE a.code = :account)
    SELECT (SELECT count(*) FROM mine
            WHERE taken > amount_minor OR taken > 0 AND lifted_at IS NOT NULL) AS taken_too_much,
        (SELECT count(*) FROM payouts WHERE stopped_by IS NOT NULL AND claimed_at IS NOT NULL) AS stopped_and_sent,
        (SELECT count(*) FROM payouts p WHERE p.stopped_by IS NULL AND p.rest_hold IS NOT NULL) AS rest_of_none,
        (SELECT count(*) FROM account a WHERE a.posted > a.held
            AND EXISTS (SELECT 1 FROM mine WHERE lifted_at IS NULL AND taken < amount_minor))
            AS lacking_beside_available,
        (SELECT a.held FROM account a) - (SELECT coalesce(sum(taken), 0) FROM mine) - (SELECT held FROM refunds)
            - (SELECT coalesce(sum(CASE WHEN p.stopped_by IS NOT NULL THEN p.rest
                WHEN p.state IN ('succeeded', 'returned', 'failed', 'refused', 'closed') THEN 0 ELSE p.needed END), 0)
               FROM payouts p) AS held_for_nobody,
        greatest(0, (SELECT coalesce(sum(p.needed), 0) FROM payouts p WHERE p.stopped_by IS NOT NULL
                AND p.state IN ('checking', 'awaiting_confirmation', 'scheduled'))
            - (SELECT coalesce(sum(taken), 0) FROM mine) - (SELECT coalesce(sum(p.rest), 0) FROM payouts p))
            AS lost_of_stopped
    """
)


class FreezeMachine(RuleBasedStateMachine):
    """Calls the real books, which live in another thread's event loop."""

    books: Books
    loop: asyncio.AbstractEventLoop
    waiver: str

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def outcome(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.wait(work)
        except (EffectRefusedError, SettlementRefusedError) as error:
            return error.error
        except DomainError as error:
            return error.code.value

    @initialize()
    def start(self) -> None:
        self.user, self.binding, self.payee = self.wait(self._new_user())
        self.payouts: list[str] = []
        self.payments: list[str] = []
        self.refunds: list[dict[str, Any]] = []
        self.freezes: list[str] = []
        self.now = NOW
        self.wait(self._pay(20_000))
        self._accept(3_000)
        self._accept(2_000)

    async def _new_user(self) -> tuple[str, str, str]:
        books = self.books
        user, binding = await another_user(books)
        await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"user:{user}:CNY")
        await books.run("INSERT INTO app.user_waiver VALUES (:u, :v, :v, NULL)", u=user, v=self.waiver)
        await books.vault.ensure_user_key(user)
        [agreement] = await books.vault.seal(user, {PersonalField.AGREEMENT_NUMBER: "AG-1"})
        row = json.dumps([agreement.model_dump(mode="json")])
        await books.run("SELECT vault.store_items(CAST(:row AS jsonb))", row=row)
        await books.run("UPDATE app.binding SET agreement_token = :t WHERE id = :b", t=agreement.token, b=binding)
        return user, binding, await books.known_payee(user_id=user)

    @rule(amount=st.integers(1_000, 20_000))
    def pay(self, amount: int) -> None:
        self.wait(self._pay(amount))

    async def _pay(self, amount: int) -> None:
        books = self.books
        changes = {"user_id": self.user, "binding_id": self.binding, "payee_kind": "user", "limits": ()}
        payment = await books.instructions.accept_payment(books.payment(amount, **changes))
        await books.instructions.claim_effect(claim_payment(payment["id"]))
        moved = collection(payment["id"], BANK, f"user:{self.user}:CNY", amount, payment["fee_minor"], "CNY", NOW)
        await books.instructions.settle(payment_succeeded(books, payment, transfers=moved))
        self.payments.append(payment["id"])

    @rule(amount=st.integers(500, 9_000))
    def accept(self, amount: int) -> None:
        self._accept(amount)

    def _accept(self, amount: int) -> None:
        command = self.books.payout(
            self.payee, amount, user_id=self.user, limit_sets=[(f"payout:{self.user}", CAPS)], now=self.now
        )
        answer = self.outcome(self.books.instructions.accept_payout(command))
        if isinstance(answer, dict):
            self.payouts.append(command.id)
            if answer["state"] == "checking":
                self.wait(self.books.schedule(command.id))

    @precondition(lambda self: self.payouts)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        self.outcome(self.books.instructions.claim_effect(claim(self._one_of(data), 0)))

    @precondition(lambda self: self.payouts)
    @rule(data=st.data(), state=st.sampled_from(["succeeded", "failed", "returned"]))
    def settle(self, data: st.DataObject, state: str) -> None:
        self.outcome(self.books.instructions.settle(settlement(self._one_of(data), state, 0)))

    @precondition(lambda self: self.payouts)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        payout = self._one_of(data)
        if not self.wait(self.books.value("SELECT claimed_at FROM app.payout WHERE id = :id", id=payout)):
            self.wait(self.books.run(END, id=payout, at=NOW))

    @precondition(lambda self: self.payments)
    @rule(data=st.data(), amount=st.integers(500, 9_000))
    def refund(self, data: st.DataObject, amount: int) -> None:
        payment = data.draw(st.sampled_from(self.payments))
        answer = self.outcome(self.books.instructions.accept_refund(self.books.refund(payment, amount)))
        if isinstance(answer, dict):
            self.refunds.append(answer)

    @precondition(lambda self: self.refunds)
    @rule(succeeds=st.booleans())
    def end_refund(self, succeeds: bool) -> None:
        self.wait(self._end_refund(self.refunds.pop(), "succeeded" if succeeds else "failed"))

    async def _end_refund(self, refund: dict[str, Any], state: str) -> None:
        holds = refund_holds(refund["payment_id"], refund["id"], refund["amount_minor"], refund["fee_back_minor"])
        moved = (refund_done if state == "succeeded" else refund_failed)(refund["payment_id"], holds, NOW)
        await self.books.run("UPDATE app.refund SET state = 'sending' WHERE id = :id", id=refund["id"])
        await self.books.instructions.settle(
            Settlement(
                key=f"{refund['id']}:{state}", kind="refund", id=refund["id"], expect=("sending",), state=state, at=NOW,
                action="refund", outcome="done", transfers=moved,
            )
        )  # fmt: skip

    @rule(amount=st.integers(500, 15_000))
    def freeze(self, amount: int) -> None:
        placed = self.wait(freeze(self.books, amount, subject=self.user, now=self._later()))
        self.freezes.append(placed)

    @rule(amount=st.integers(500, 15_000))
    def freeze_for_48_hours(self, amount: int) -> None:
        now = self._later()
        self.wait(order(self.books, "temporary_freeze", subject=self.user, amount_minor=amount, now=now))

    @precondition(lambda self: self.freezes)
    @rule(data=st.data(), amount=st.integers(500, 15_000))
    def prolong(self, data: st.DataObject, amount: int) -> None:
        former = self.freezes.pop(data.draw(st.integers(0, len(self.freezes) - 1)))
        placed = self.wait(freeze(self.books, amount, subject=self.user, now=self._later(), prolongs=former))
        self.freezes.append(placed)

    @precondition(lambda self: self.freezes)
    @rule(data=st.data(), stopped=st.sampled_from(["resume", "resume", "end"]))
    def lift(self, data: st.DataObject, stopped: str) -> None:
        placed = self.freezes.pop(data.draw(st.integers(0, len(self.freezes) - 1)))
        self.wait(release(self.books, placed, subject=self.user, now=self._later(), stopped_payouts=stopped))

    @rule()
    def half_a_day_later(self) -> None:
        self.now += timedelta(hours=12)
        self.wait(look_after(self.books, self.now))

    def _later(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def _one_of(self, data: st.DataObject) -> str:
        payout: str = data.draw(st.sampled_from(self.payouts))
        return payout

    @invariant()
    def nothing_is_lost_and_nothing_frozen_is_sent(self) -> None:
        if hasattr(self, "payouts"):
            faults = {name: number for name, number in self.wait(self._faults()).items() if number}
            assert not faults, faults

    async def _faults(self) -> dict[str, int]:
        async with self.books.owner.connect() as connection:
            return dict(
                (await connection.execute(FAULTS, {"owner": self.user, "account": f"user:{self.user}:CNY"}))
                .mappings()
                .one()
            )

    def teardown(self) -> None:
        """Once everything is lifted, every payout that was not sent is held in full."""
        if not hasattr(self, "payouts"):
            return
        for placed in self.freezes:
            self.wait(release(self.books, placed, subject=self.user, now=self._later()))
        self.now += timedelta(days=3)
        self.wait(look_after(self.books, self.now))
        self.nothing_is_lost_and_nothing_frozen_is_sent()
        stopped = "SELECT count(*) FROM app.payout p WHERE user_id = :u AND stopped_by IS NOT NULL AND app.is_unsent(p)"
        assert self.wait(self.books.value(stopped, u=self.user)) == 0
        assert self.wait(self.books.value(NOT_AS_INSTRUCTED)) is None


# The short one tries the same sequences every time, so that it is known to have stopped and resumed payouts.
@pytest.mark.parametrize("examples", [6, pytest.param(80, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_whatever_is_frozen_and_released_no_payout_is_lost_and_none_of_frozen_money_is_sent(
    books: Books, examples: int
) -> None:
    await books.fund(10_000_000)
    attributes = {"books": books, "loop": asyncio.get_running_loop(), "waiver": await books.enable_waiver(20_000)}
    machine = type("Machine", (FreezeMachine,), attributes)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    profile = settings(
        max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=checks,
        derandomize=examples < 10, phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=profile)
    report = await verify(books.owner)
    assert report.is_sound, report.findings
    assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payout.resumed'") > 0
