"""Who takes for one freeze at the same instant, or while it is being lifted, takes turns: it takes what it lacks."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import sqlalchemy as sa

from domain.journal import collection
from ledger.verify import verify
from tests.storage.books import BANK, NOW, Books
from tests.storage.freezing import available, freeze, frozen, look_after, release, row, waiting
from tests.storage.payout_steps import claim as claim_payout
from tests.storage.payout_steps import settlement
from tests.storage.settling import collected, one_report, open_account, pay, standing
from tests.storage.test_lock_order import another_user
from tests.storage.test_payments import claim, succeeded

SETTLE = sa.text("SELECT result->>'state' FROM app.settle(CAST(:items AS jsonb))")
LOCK_FROZEN = sa.text(
    "SELECT 1 FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id WHERE a.code LIKE 'frozen:%'"
    " FOR UPDATE OF b"
)
LOCK_MERCHANT = sa.text("SELECT 1 FROM app.merchant WHERE id = :merchant FOR UPDATE")
LOCK_OWED = sa.text(
    "SELECT 1 FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id WHERE a.code LIKE 'merchant_pending:%'"
    " FOR UPDATE OF b"
)
WAITING = (
    "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)


async def until_waiting(books: Books, sessions: int) -> None:
    async with asyncio.timeout(10):
        while await books.value(WAITING) < sessions:  # noqa: ASYNC110 - what another session waits for tells nobody
            await asyncio.sleep(0.01)


async def debited(books: Books, amount_minor: int) -> str:
    """The settlement of a payment into the user's balance, which its bank has just booked."""
    payment = await books.instructions.accept_payment(books.payment(amount_minor, payee_kind="user", limits=()))
    await books.instructions.claim_effect(claim(payment["id"]))
    account = f"user:{books.user_id}:CNY"
    moved = collection(payment["id"], BANK, account, amount_minor, payment["fee_minor"], "CNY", NOW)
    settlement = succeeded(books, payment, transfers=moved)
    return json.dumps([{"item": 0} | settlement.model_dump(mode="json", exclude_none=True)])


async def test_two_workers_that_book_what_comes_in_freeze_no_more_than_the_freeze_is_about(books: Books) -> None:
    await books.enable_waiver(20_000)
    placed = await freeze(books, 1_000)
    first, second = await debited(books, 5_000), await debited(books, 5_000)
    async with books.app.connect() as one, books.app.connect() as other:
        assert await one.scalar(SETTLE, {"items": first}) == "succeeded"
        behind = asyncio.create_task(other.scalar(SETTLE, {"items": second}))
        await until_waiting(books, 1)
        await one.commit()
        assert await behind == "succeeded"
        await other.commit()
    assert await frozen(books, placed) == 1_000
    assert (await verify(books.owner)).is_sound


async def test_what_comes_in_while_a_freeze_is_lifted_is_not_frozen_by_it(books: Books) -> None:
    await books.enable_waiver(20_000)
    await books.fund(500)
    placed = await freeze(books, 1_000)
    coming = await debited(books, 5_000)
    async with books.owner.connect() as holder, books.app.connect() as worker:
        await holder.execute(LOCK_FROZEN)
        lifting = asyncio.create_task(release(books, placed))
        await until_waiting(books, 1)
        booking = asyncio.create_task(worker.scalar(SETTLE, {"items": coming}))
        await until_waiting(books, 2)
        await holder.rollback()
        await lifting
        assert await booking == "succeeded"
        await worker.commit()
    assert (await frozen(books, placed), await available(books)) == (0, 500 + 5_000 - 30)
    assert (await verify(books.owner)).is_sound


async def test_the_end_of_a_merchants_settlement_waits_for_its_freeze_before_it_touches_money(books: Books) -> None:
    await collected(books)
    await open_account(books)
    report = await one_report(books)
    assert await pay(books, report["id"]) is None
    payout_id = (await standing(books, report["id"]))["payout_id"]
    await books.schedule(payout_id)
    await books.instructions.claim_effect(claim_payout(payout_id))
    async with books.owner.connect() as freezing:
        await freezing.execute(LOCK_MERCHANT, {"merchant": books.merchant_id})
        ending = asyncio.create_task(books.instructions.settle(settlement(payout_id, "failed")))
        await until_waiting(books, 1)
        await freezing.execute(LOCK_OWED)
        await freezing.commit()
    assert await ending == "failed"
    assert (await standing(books, report["id"]))["state"] == "failed"


async def test_what_one_freeze_left_of_a_payout_and_another_took_is_kept_for_it_when_that_one_is_lifted(
    books: Books,
) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    first, second = await freeze(books, 6_000), await freeze(books, 4_200)
    await release(books, second)
    # Nothing that is accepted later can spend it.
    assert await available(books) == 0
    await release(books, first)
    assert (await row(books, payout_id))["stopped_by"] is None
    assert await books.held(f"user:{books.user_id}:CNY") == 10_200


async def test_a_relation_with_a_freeze_of_its_own_is_not_looked_after_again_and_again_for_the_persons(
    books: Books,
) -> None:
    """Or the sweeper has no turn left for those whose freeze is over."""
    await freeze(books, None, scope="all")
    other, _ = await another_user(books)
    own = await freeze(books, None, subject=other)
    assert await look_after(books) == 0
    await release(books, own, subject=other)
    assert await look_after(books, NOW + timedelta(seconds=1)) == 1
    placed = "SELECT count(*) FROM app.restriction WHERE subject_id = :id AND scope = 'all' AND lifted_at IS NULL"
    assert await books.value(placed, id=other) == 1
