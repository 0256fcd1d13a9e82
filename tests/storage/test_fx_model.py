"""Any sequence of what can happen to foreign currency: nothing is created or lost, nobody earns by it (A5, A6.4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.decisions import DecisionKind
from domain.reviews import Evidence, EvidenceKind
from ledger.verify import verify
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze, release
from tests.storage.fx_books import DESK, FxBooks
from tests.storage.fx_money import EXPECTED, HELD, WRONG
from tests.storage.fx_people import FxUser, add_fx_user
from tests.storage.fx_steps import (
    REFUSALS,
    Resource,
    claim_return,
    converted,
    delivered,
    refused,
    return_ended,
    sound_fx_books,
    turned_away,
    unknown,
    withdrawn,
)

RATES = ("7.1234", "7.2000", "6.9999", "7.1235")
YEN = {"7.1234": "0.0461", "7.2000": "0.0500", "6.9999": "0.0459", "7.1235": "0.046123"}
AMOUNTS = st.integers(1, 3_000_000)
PICKS = st.integers(0, 11)
INVOICE = (Evidence(kind=EvidenceKind.INVOICE, reference="INV-1"),)
IN_STATE = (
    "SELECT array_agg(id ORDER BY id) FROM app.fx WHERE user_id = :u AND state = ANY(:states) AND kind = ANY(:kinds)"
)
BOTH = ["conversion", "reversal"]
numbers = count(880000001000)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


class MoneyMachine(RuleBasedStateMachine):
    """Calls the real books, which live in another thread's event loop."""

    fx: FxBooks
    loop: asyncio.AbstractEventLoop

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def tried(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.wait(work)
        except REFUSALS as error:
            return error

    @initialize()
    def start(self) -> None:
        self.now, self.spent = NOW, 0
        self.attempts, self.inbounds, self.quoted = dict[str, int](), list[str](), dict[str, str]()
        self.account = {"USD": str(next(numbers)), "JPY": str(next(numbers))}
        self.user: FxUser = self.wait(self._user())
        for currency, trade in (("USD", False), ("JPY", True)):
            self._receive(2_000_000, currency)
            self._instruct(1_500_000, currency, trade)
        for fx_id in self._in("waiting"):
            self._send(fx_id, RATES[0])
        self._answer(self._in("sending")[0], "settled")

    async def _user(self) -> FxUser:
        user = await add_fx_user(self.fx, self.fx.books.merchant_id, f"person-{self.account['USD']}")
        for currency, number in self.account.items():
            await self.fx.open_account(user.user_id, currency, number)
        return user

    def _in(self, *states: str, kinds: list[str] | None = None) -> list[str]:
        if not hasattr(self, "user"):
            return []
        given = {"u": self.user.user_id, "states": list(states), "kinds": kinds or BOTH}
        return self.wait(self.fx.books.value(IN_STATE, **given)) or []

    def _one(self, pick: int, *states: str, kinds: list[str] | None = None) -> str | None:
        """Drawn before it is known what there is: what the books answer may differ from run to run."""
        found = self._in(*states, kinds=kinds)
        return found[pick % len(found)] if found else None

    def _first(self, statement: str) -> str | None:
        found: str | None = self.wait(self.fx.books.value(statement, mine=self.inbounds))
        return found

    def _view(self, fx_id: str) -> Resource:
        view: Resource = self.wait(self.fx.view(fx_id))
        return view

    # It comes

    @rule(amount=AMOUNTS, currency=st.sampled_from(["USD", "JPY"]), known=st.sampled_from([True, True, False]))
    def receive(self, amount: int, currency: str, known: bool) -> None:
        self._receive(amount, currency, **({} if known else {"receiver_name": "SOMEBODY ELSE"}))

    def _receive(self, amount: int, currency: str, **changes: Any) -> None:
        received = self.wait(self.fx.receive(amount, currency, account_number=self.account[currency], **changes))
        self.inbounds.append(received.inbound_id)

    @rule(currency=st.sampled_from(["USD", "JPY"]), trade=st.booleans())
    def mandate(self, currency: str, trade: bool) -> None:
        said = {"is_trade": trade, "evidence": INVOICE if trade else ()}
        self.tried(self.fx.acceptance.accept_mandate(self.fx.mandate(currency, user_id=self.user.user_id, **said)))

    @rule(assign=st.booleans())
    def decide_about_suspense(self, assign: bool) -> None:
        open_ = self._first("SELECT min(id) FROM app.inbound WHERE state = 'suspense' AND id = ANY(:mine)")
        if open_ is not None:
            kind = DecisionKind.INBOUND_ASSIGN if assign else DecisionKind.INBOUND_RETURN
            detail = {"user_id": self.user.user_id} if assign else {}
            self.wait(decide_directly(self.fx.books.owner, kind, open_, self._later(), detail=detail))

    @rule(amount=AMOUNTS, currency=st.sampled_from(["USD", "JPY"]), trade=st.booleans())
    def instruct(self, amount: int, currency: str, trade: bool) -> None:
        self._instruct(amount, currency, trade)

    def _instruct(self, amount: int, currency: str, trade: bool) -> None:
        self.tried(self.user.instruct(amount, currency, is_trade=trade, evidence=INVOICE if trade else ()))

    # It is converted

    @rule(pick=PICKS, rate=st.sampled_from(RATES))
    def send(self, pick: int, rate: str) -> None:
        if (fx_id := self._one(pick, "waiting")) is not None:
            self._send(fx_id, rate)

    def _send(self, fx_id: str, rate: str) -> None:
        self.wait(self.fx.plan(fx_id))
        view, attempt = self._view(fx_id), self.attempts.get(fx_id, 0)
        if view["state"] == "waiting":
            self.quoted[fx_id] = YEN[rate] if view["currency"] == "JPY" else rate
            self.tried(self.fx.claim(view, NOW, attempt, quote=self.fx.quote(view, rate=self.quoted[fx_id])))

    @rule(
        pick=PICKS, word=st.sampled_from(["settled", "settled", "converted", "refused", "waiting", "unknown"]),
    )  # fmt: skip
    def the_desk_answers(self, pick: int, word: str) -> None:
        if (fx_id := self._one(pick, "sending", "unknown")) is not None:
            self._answer(fx_id, word)

    def _answer(self, fx_id: str, word: str) -> None:
        view, attempt, rate = self._view(fx_id), self.attempts.get(fx_id, 0), self.quoted[fx_id]
        made = {
            "settled": lambda: self.fx.dealt(view, rate=rate, attempt=attempt),
            "converted": lambda: converted(self.fx, view, rate=rate, attempt=attempt),
            "refused": lambda: refused(view, attempt), "waiting": lambda: turned_away(view, attempt),
            "unknown": lambda: unknown(view, attempt),
        }[word]()  # fmt: skip
        if isinstance(self.tried(self.fx.book.settle(made)), str) and word == "waiting":
            self.attempts[fx_id] = attempt + 1

    @rule(pick=PICKS)
    def deliver(self, pick: int) -> None:
        if (fx_id := self._one(pick, "converted")) is not None:
            self.wait(self.fx.book.settle(delivered(self._view(fx_id))))

    @rule(pick=PICKS)
    def withdraw(self, pick: int) -> None:
        if (fx_id := self._one(pick, "waiting")) is not None:
            self.wait(self.fx.book.settle(withdrawn(self._view(fx_id))))

    @rule(pick=PICKS, action=st.sampled_from(["release", "return"]))
    def dispose(self, pick: int, action: str) -> None:
        if (fx_id := self._one(pick, "refused", kinds=["conversion"])) is not None:
            self.tried(self.fx.dispose(fx_id, action, self.now, self.user.context()))

    @rule(state=st.sampled_from(["succeeded", "failed"]))
    def end_return(self, state: str) -> None:
        ready = "SELECT min(id) FROM app.inbound_return WHERE state = 'ready' AND inbound_id = ANY(:mine)"
        if (return_id := self._first(ready)) is not None:
            self.tried(claim_return(self.fx, return_id, now=self.now))
            self.tried(self.fx.book.settle(return_ended(return_id, state)))

    @rule(pick=PICKS, tenths=st.integers(1, 10), at_once=st.booleans())
    def reverse(self, pick: int, tenths: int, at_once: bool) -> None:
        if (fx_id := self._one(pick, "settled", kinds=["conversion"])) is not None:
            view = self._view(fx_id)
            reversal = self.tried(self.fx.reverse(view, max(view["amount_minor"] * tenths // 10, 1), self.now))
            if isinstance(reversal, str) and at_once:
                self._send(reversal, RATES[1])

    # It is used, and frozen

    @rule(tenths=st.integers(1, 10))
    def spend(self, tenths: int) -> None:
        self.spent += self.wait(self._spend(tenths))

    async def _spend(self, tenths: int) -> int:
        account = f"user:{self.user.user_id}:CNY"
        amount = (await self.fx.books.balance(account) - await self.fx.books.held(account)) * tenths // 10
        if amount <= 0:
            return 0
        key = self.fx.books.new_id("po")
        transfer = {
            "action": "post", "key": key, "kind": "payout", "direction": "out", "debit": account,
            "credit": f"reserve:{DESK}:CNY", "currency": "CNY", "amount": amount, "instruction": key,
            "reference": key, "booked_at": NOW.isoformat(),
        }  # fmt: skip
        items = json.dumps([{"item": 0, "transfers": [transfer]}])
        async with self.fx.books.owner.begin() as connection:
            statement = sa.text("SELECT error FROM ledger.apply(CAST(:items AS jsonb))")
            assert await connection.scalar(statement, {"items": items}) is None
        return amount

    @rule(amount=AMOUNTS, currency=st.sampled_from(["USD", "CNY", "CNY"]))
    def freeze(self, amount: int, currency: str) -> None:
        subject = self.user.user_id
        self.wait(freeze(self.fx.books, amount, currency=currency, subject=subject, now=self._later()))

    @rule()
    def lift(self) -> None:
        self._lift()

    def _lift(self) -> None:
        if self.wait(self.fx.books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL")):
            self.wait(release(self.fx.books, subject=self.user.user_id, now=self._later()))

    def _later(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    @invariant()
    def nothing_is_created_or_lost(self) -> None:
        if hasattr(self, "user"):
            self.wait(self._compare())

    async def _compare(self) -> None:
        given = {"u": self.user.user_id, "spent": self.spent}
        async with self.fx.books.owner.connect() as connection:
            different = (await connection.execute(EXPECTED, given)).all()
            held = (await connection.execute(HELD, {"u": self.user.user_id})).all()
            wrong = (await connection.scalars(WRONG)).all()
        assert different == []
        assert [row for row in held if row.found != row.wanted] == []
        assert wrong == []

    def teardown(self) -> None:
        """Once everything has been answered and delivered, positions are at nought."""
        if not hasattr(self, "user"):
            return
        self._lift()
        for fx_id in self._in("sending", "unknown"):
            self._answer(fx_id, "settled")
        for fx_id in self._in("converted"):
            self.wait(self.fx.book.settle(delivered(self._view(fx_id))))
        self.nothing_is_created_or_lost()
        balances = self.wait(self.fx.balances())
        assert {code: found for code, found in balances.items() if code.startswith("fx_position") and any(found)} == {}
        assert self.wait(verify(self.fx.books.owner)).is_sound


# The short one tries the same sequences every time.
@pytest.mark.parametrize("examples", [5, pytest.param(120, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
async def test_whatever_happens_to_foreign_currency_nothing_is_created_or_lost_and_nobody_earns_by_it(
    fx: FxBooks, examples: int
) -> None:
    # Money of others at the desk's bank, so that it is never the bank's account that falls short.
    other = await add_fx_user(fx, fx.books.merchant_id, "somebody")
    await fx.books.fund(10**12, user_id=other.user_id)
    machine = type("Machine", (MoneyMachine,), {"fx": fx, "loop": asyncio.get_running_loop()})
    profile = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, derandomize=examples < 20,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=profile)
    states = await fx.books.value("SELECT array_agg(DISTINCT kind || ' ' || state) FROM app.fx")
    assert {"conversion settled", "reversal settled"} <= set(states)
    if examples > 20:
        # Whatever became of them after that.
        told = "SELECT array_agg(DISTINCT f.kind || ' ' || e.type) FROM app.event e JOIN app.fx f ON f.id = e.object_id"
        assert {"conversion fx.refused", "conversion fx.released"} <= set(await fx.books.value(told))
