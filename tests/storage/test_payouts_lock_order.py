"""Payouts take their locks in everybody's order, so that nobody is ended as the victim of a deadlock."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from domain.errors import DomainError, EffectRefusedError, SettlementRefusedError
from domain.limits import LimitSet
from ledger.verify import verify
from tests.storage.books import BANK, NOW, Books
from tests.storage.payout_steps import claim, settlement
from tests.storage.test_lock_order import another_user, deadlocks
from tests.storage.test_payments import claim as claim_payment
from tests.storage.test_payments import succeeded as payment_succeeded

ROUNDS, USERS = 12, 4
CAPS = LimitSet(per_transaction_minor=10**9, per_day_minor=10**9, per_month_minor=10**9)
END = "SELECT app.end_payout(p, 'refused', 'x', :at, 'process', 'payout.refused') FROM app.payout p WHERE id = :id"


async def user_with_money(books: Books) -> tuple[str, str]:
    """A user with funds, and a payee of the same account as everybody's."""
    user, _ = await another_user(books)
    await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"user:{user}:CNY")
    await books.vault.ensure_user_key(user)
    await books.fund(1_000_000, user_id=user)
    return user, await books.known_payee(user_id=user, account_index="everybodys", name_match="unknown")


@pytest.mark.long
async def test_payouts_of_many_users_and_payments_at_one_bank_block_nobody_for_good(books: Books) -> None:
    users = [await user_with_money(books) for _ in range(USERS)]
    await books.enable_waiver(20_000)
    sets = [("account:everybodys", CAPS), (f"bank:{BANK}", CAPS)]
    accepted: list[str] = []
    before = await deadlocks(books)

    async def accept(user: str, payee: str) -> None:
        command = books.payout(payee, 1_000, user_id=user, limit_sets=[*sets, (f"user:{user}", CAPS)])
        accepted.append((await books.instructions.accept_payout(command))["id"])

    async def pay() -> None:
        payment: dict[str, Any] = await books.instructions.accept_payment(books.payment(limits=()))
        await books.instructions.claim_effect(claim_payment(payment["id"]))
        await books.instructions.settle(payment_succeeded(books, payment))

    async def send(payout_id: str) -> None:
        await books.instructions.confirm_payout(books.confirmation(payout_id))
        await books.schedule(payout_id)
        await books.instructions.claim_effect(claim(payout_id))
        await books.instructions.settle(settlement(payout_id, random.choice(["succeeded", "failed"])))

    for _ in range(ROUNDS):
        random.shuffle(accepted)
        steps = [accept(*random.choice(users)) for _ in range(6)] + [pay() for _ in range(3)]
        steps += [send(payout) for payout in accepted[:5]]
        steps += [books.run(END, id=payout, at=NOW) for payout in accepted[4:9]]
        random.shuffle(steps)
        answers = await asyncio.gather(*steps, return_exceptions=True)
        refused = (DomainError, EffectRefusedError, SettlementRefusedError)
        odd = [a for a in answers if isinstance(a, BaseException) and not isinstance(a, refused)]
        # What was sent cannot be ended, and what has ended cannot be scheduled.
        assert [a for a in odd if "already_sent" not in str(a) and "illegal step" not in str(a)] == []
    assert await deadlocks(books) == before
    assert (await verify(books.owner)).is_sound
    left = "SELECT coalesce(sum(amount_minor), 0) FROM app.payout WHERE state NOT IN ('failed', 'refused', 'closed')"
    used = "SELECT used_minor FROM app.limit_usage WHERE subject = :subject AND window_kind = 'day'"
    assert await books.value(left) == await books.value(used, subject=f"bank:{BANK}")
