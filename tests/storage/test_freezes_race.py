"""Freezes against what moves at the same instant: one of the two comes first, nothing deadlocks, nothing is lost."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from domain.errors import DomainError, EffectRefusedError
from ledger.verify import verify
from tests.storage.books import NOW, Books
from tests.storage.freezing import available, claim, freeze, frozen, look_after, release, row, settle, waiting
from tests.storage.test_lock_order import deadlocks
from tests.storage.test_send_claim import paid

ROUNDS = 12
EXPECTED = (DomainError, EffectRefusedError, ValueError)


async def test_a_freeze_and_the_send_come_one_before_the_other(books: Books) -> None:
    await books.fund(ROUNDS * 10_200)
    for _ in range(ROUNDS):
        payout_id = await waiting(books, 10_000)
        acts = [freeze(books, 4_000), claim(books, payout_id)]
        if random.random() < 0.5:
            acts.reverse()
        answers = await asyncio.gather(*acts, return_exceptions=True)
        [placed] = [answer for answer in answers if isinstance(answer, str)]
        found = await row(books, payout_id)
        refusals = [str(answer) for answer in answers if isinstance(answer, EffectRefusedError)]
        assert (found["state"], found["stopped_by"], refusals) in (
            ("sending", None, []), ("scheduled", placed, ["funds_frozen"]),
        )  # fmt: skip
        await release(books, placed)
        if found["state"] == "scheduled":
            await claim(books, payout_id)
        await settle(books, payout_id, "succeeded", ("sending",))
    assert await available(books) == 0
    assert (await verify(books.owner)).is_sound


async def test_freezes_payouts_payments_and_the_sweeper_at_once_neither_deadlock_nor_lose_money(books: Books) -> None:
    await books.enable_waiver(20_000)
    await books.fund(60_000)
    payee_id = await books.known_payee()
    before = await deadlocks(books)
    placed: list[str] = []
    for step in range(5):
        now = NOW + timedelta(seconds=step)
        caps = [books.payout(payee_id, 2_000, now=now) for _ in range(3)]
        acts = [
            freeze(books, random.randint(1_000, 30_000), now=now), look_after(books, now),
            *(books.instructions.accept_payout(command) for command in caps),
            *(paid(books, payee_kind="user") for _ in range(3)),
            *(release(books, one, now=now) for one in placed[-1:]),
        ]  # fmt: skip
        random.shuffle(acts)
        answers = await asyncio.gather(*acts, return_exceptions=True)
        assert [a for a in answers if isinstance(a, Exception) and not isinstance(a, EXPECTED)] == []
        placed += [answer for answer in answers if isinstance(answer, str)]
    await look_after(books)
    lacking = "SELECT sum(amount_minor - app.frozen_minor(id)) FROM app.restriction WHERE lifted_at IS NULL"
    assert await books.value(lacking) == 0 or await available(books) == 0
    for one in placed:
        if not await books.value("SELECT lifted_at FROM app.restriction WHERE id = :id", id=one):
            await release(books, one, now=NOW + timedelta(minutes=1))
    live = "SELECT coalesce(sum(amount_minor + fee_minor), 0) FROM app.payout WHERE stopped_by IS NULL"
    assert await books.value(live) == await books.held(f"user:{books.user_id}:CNY")
    assert (await frozen(books), await deadlocks(books)) == (0, before)
    assert await books.value("SELECT count(*) FROM app.payout WHERE stopped_by IS NOT NULL") == 0
    assert (await verify(books.owner)).is_sound
