"""Any sequence of paying, refunding, settling, paying out: reports add up, and no more is paid than was collected."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import DomainError, ErrorCode
from domain.limits import LimitSet
from ledger.verify import verify
from storage.settlement_audit import settlement_findings
from storage.settlements import SettlementBook
from tests.storage.books import NOW, Books
from tests.storage.payout_steps import claim as claim_payout
from tests.storage.payout_steps import settlement as payout_end
from tests.storage.settling import TODAY, collected, of, open_account, pay, refund_ends, refunded, shanghai, standing

ACTIONS = (
    "collect",
    "refund",
    "refund_succeeds",
    "refund_fails",
    "settle",
    "pay",
    "succeed",
    "fail",
    "return",
    "reopen",
)
CAPS = LimitSet(per_transaction_minor=10**9, per_day_minor=10**12, per_month_minor=10**12)
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 10**6)), min_size=6, max_size=24)
REFUSALS = {ErrorCode.REFUND_EXCEEDS_PAYMENT, ErrorCode.INSUFFICIENT_FUNDS}
LINES = "SELECT coalesce(sum(net_minor), 0) FROM app.settlement_line"
REPORTS = "SELECT coalesce(sum(net_minor + brought_forward_minor), 0) FROM app.settlement_report"
PAID = "SELECT coalesce(sum(amount_minor), 0) FROM app.payout WHERE state = 'succeeded'"
COLLECTED = "SELECT coalesce(sum(amount_minor - fee_minor), 0) FROM app.payment WHERE state = 'succeeded'"


class Play:
    """One merchant of its own. An action whose turn it is not does nothing."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.payments: list[dict[str, Any]] = []
        self.refunds: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.reports: list[str] = []
        self.day = TODAY

    async def do(self, action: str, number: int) -> None:
        await getattr(self, action)(number)

    async def collect(self, number: int) -> None:
        payment = await collected(self.books, 1 + number % 20_000, shanghai(self.day, number % 24), limit_set=CAPS)
        self.payments.append(payment)

    async def refund(self, number: int) -> None:
        if self.payments:
            payment = self.payments[number % len(self.payments)]
            try:
                amount = 1 + number % payment["amount_minor"]
                self.refunds.append((payment, await refunded(self.books, payment, amount)))
            except DomainError as error:
                if error.code not in REFUSALS:
                    raise

    async def refund_succeeds(self, _number: int) -> None:
        if self.refunds:
            await refund_ends(self.books, *self.refunds.pop(), "succeeded")

    async def refund_fails(self, _number: int) -> None:
        if self.refunds:
            await refund_ends(self.books, *self.refunds.pop(), "failed")

    async def settle(self, _number: int) -> None:
        through, self.day = self.day, self.day + timedelta(days=1)
        found = await SettlementBook(self.books.app).report(
            of(self.books), self.day, through, self.books.new_id("stl"), shanghai(self.day)
        )
        if isinstance(found, dict):
            self.reports.append(found["id"])

    async def pay(self, _number: int) -> None:
        for settlement_id in self.reports[-6:]:
            await pay(self.books, settlement_id)

    async def succeed(self, number: int) -> None:
        await self._ends(number, "paying", "succeeded")

    async def fail(self, number: int) -> None:
        await self._ends(number, "paying", "failed")

    async def _ends(self, number: int, state: str, word: str) -> None:
        found = [
            each for each in [await standing(self.books, one) for one in self.reports[-6:]] if each["state"] == state
        ]
        if found:
            payout_id = found[number % len(found)]["payout_id"]
            if state == "paying":
                await self.books.schedule(payout_id)
                await self.books.instructions.claim_effect(claim_payout(payout_id))
            changes = {"reason": "account_closed"} if word == "failed" else {}
            await self.books.instructions.settle(payout_end(payout_id, word, **changes))

    async def reopen(self, _number: int) -> None:
        await self.books.run(
            "SELECT app.move_settlement(s.id, 'reported', 'process_start', NULL, NULL, :now)"
            " FROM app.settlement_report s WHERE s.state = 'failed' AND s.merchant_id = :m",
            now=NOW, m=self.books.merchant_id,
        )  # fmt: skip


setattr(Play, "return", lambda self, number: self._ends(number, "paid", "returned"))


async def test_any_sequence_settles_what_was_collected_and_no_more(books: Books) -> None:
    await open_account(books)
    play, loop = Play(books), asyncio.get_running_loop()

    async def run(steps: list[tuple[str, int]]) -> None:
        for action, number in steps:
            await play.do(action, number)
        assert await settlement_findings(books.owner) == []
        assert (await verify(books.owner)).is_sound
        assert await books.value(PAID) <= await books.value(COLLECTED)
        assert await books.value(LINES) == await books.value(REPORTS)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(STEPS)
    def examples(steps: list[tuple[str, int]]) -> None:
        asyncio.run_coroutine_threadsafe(run(steps), loop).result(60)

    await asyncio.to_thread(examples)
    assert play.reports
