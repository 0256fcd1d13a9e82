"""Freezes reach what already waits: holds first, then what is available, then what comes in (A8.1a, A8.3, A8.4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain.errors import DomainError, EffectRefusedError, ErrorCode
from domain.settlement import Settlement
from ledger.verify import verify
from tests.storage.books import BANK, NOW, OTHER_BANK, Books
from tests.storage.freezing import (
    available,
    claim,
    events,
    freeze,
    frozen,
    look_after,
    release,
    row,
    settle,
    waiting,
)
from tests.storage.test_send_claim import claim as claim_step
from tests.storage.test_send_claim import paid

C = ErrorCode


async def refused(call: object, code: ErrorCode) -> None:
    with pytest.raises(DomainError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code is code


async def blocked(books: Books, payout_id: str) -> str:
    with pytest.raises(EffectRefusedError) as caught:
        await claim(books, payout_id)
    return str(caught.value)


async def test_a_freeze_moves_money_from_available_to_frozen_and_none_away(books: Books) -> None:
    await books.fund(50_000)
    placed = await freeze(books, 20_000)
    account = f"user:{books.user_id}:CNY"
    assert (await books.balance(account), await frozen(books), await available(books)) == (50_000, 20_000, 30_000)
    assert await books.balance(f"frozen:{books.user_id}:CNY") == 0
    await refused(
        books.instructions.accept_payout(books.payout(await books.known_payee(), 30_000)), C.INSUFFICIENT_FUNDS
    )
    await release(books, placed)
    assert (await books.balance(account), await frozen(books), await available(books)) == (50_000, 0, 50_000)
    assert (await verify(books.owner)).is_sound


async def test_the_payout_accepted_last_is_stopped_first_and_held_anew_when_the_freeze_is_lifted(books: Books) -> None:
    await books.fund(50_000)
    first, last = await waiting(books, 10_000, minute=2), await waiting(books, 10_000, minute=1)
    placed = await freeze(books, 4_000)
    assert (await row(books, first))["stopped_by"] is None
    stopped = await row(books, last)
    assert (stopped["stopped_by"], stopped["wait_reason"], stopped["state"]) == (placed, "freeze", "scheduled")
    # What the freeze did not need is kept for the payout, and is nobody's to spend.
    assert (await frozen(books), await available(books)) == (4_000, 50_000 - 2 * 10_200)
    assert await blocked(books, last) == "funds_frozen"
    assert (await claim(books, first)).state == "sending"
    await release(books, placed)
    resumed = await row(books, last)
    assert (resumed["stopped_by"], resumed["hold_number"], resumed["rest_hold"]) == (None, 2, None)
    assert resumed["wait_reason"] == "bank_window"
    assert await books.held(f"user:{books.user_id}:CNY") == 2 * 10_200
    assert await events(books, last) == ["accepted", "stopped", "resumed"]
    assert await books.value("SELECT array_agg(payout_id) FROM app.payout_to_tell") == [last]
    assert (await claim(books, last)).state == "sending"
    assert await settle(books, last, "succeeded", ("sending",)) == "succeeded"
    assert await books.balance(f"user:{books.user_id}:CNY") == 50_000 - 10_200
    assert (await verify(books.owner)).is_sound


async def test_what_is_lacking_is_taken_of_what_comes_in_and_not_more(books: Books) -> None:
    await books.fund(1_000)
    payee_id = await books.known_payee()
    placed = await freeze(books, 12_000)
    assert await frozen(books, placed) == 1_000
    # Nothing new leaves while the freeze lacks money.
    await refused(books.instructions.accept_payout(books.payout(payee_id, 100)), C.FUNDS_FROZEN)
    await books.enable_waiver(20_000)
    await asyncio.gather(*(paid(books, payee_kind="user") for _ in range(3)))
    assert await frozen(books, placed) == 12_000
    assert await available(books) == 1_000 + 3 * 9_940 - 12_000
    assert await look_after(books) == 0
    await release(books, placed)
    assert (await frozen(books), await available(books)) == (0, 1_000 + 3 * 9_940)
    assert (await verify(books.owner)).is_sound


async def test_money_that_comes_back_from_a_bank_is_taken_too(books: Books) -> None:
    await books.fund(20_400)
    one, other = await waiting(books, 10_000), await waiting(books, 10_000)
    await claim(books, one)
    await claim(books, other)
    placed = await freeze(books, 15_000)
    assert await frozen(books, placed) == 0
    assert await settle(books, one, "failed", ("sending",), effect_outcome="declined") == "failed"
    assert (await frozen(books, placed), await available(books)) == (10_200, 0)
    await settle(books, other, "succeeded", ("sending",))
    await settle(books, other, "returned", ("succeeded",), return_reference="R-1", returned_at=NOW)
    assert (await frozen(books, placed), await available(books)) == (15_000, 10_200 + 10_000 - 15_000)
    assert (await verify(books.owner)).is_sound


async def test_what_a_settlement_brought_in_between_is_found_by_the_sweeper(books: Books) -> None:
    placed = await freeze(books, 12_000)
    await books.fund(9_000)
    assert (await frozen(books, placed), await look_after(books), await frozen(books, placed)) == (0, 1, 9_000)
    assert await look_after(books) == 0


async def test_two_freezes_are_served_in_their_order_and_no_payout_overtakes_another(books: Books) -> None:
    await books.fund(40_000)
    oldest = await waiting(books, 9_800, minute=3)
    middle = await waiting(books, 19_800, minute=2)
    youngest = await waiting(books, 9_800, minute=1)
    first = await freeze(books, 15_000)
    assert [(await row(books, p))["stopped_by"] for p in (oldest, middle, youngest)] == [None, first, first]
    second = await freeze(books, 20_000, now=NOW + timedelta(seconds=1))
    assert [(await row(books, p))["stopped_by"] for p in (oldest, middle, youngest)] == [second, first, first]
    assert (await frozen(books, first), await frozen(books, second)) == (15_000, 20_000)
    await release(books, first, now=NOW + timedelta(seconds=2))
    # 15,000 are free: the middle one, 20,000 with its fee, comes before the youngest, and they are kept for it.
    assert [(await row(books, p))["stopped_by"] for p in (middle, youngest)] == [second, second]
    assert (await available(books), await frozen(books)) == (0, 20_000)
    await release(books, second, now=NOW + timedelta(seconds=3))
    rows = [await row(books, p) for p in (oldest, middle, youngest)]
    assert [(r["stopped_by"], r["hold_number"]) for r in rows] == [(None, 2)] * 3
    assert await books.held(f"user:{books.user_id}:CNY") == 40_000
    assert (await verify(books.owner)).is_sound


async def test_a_payout_that_ends_while_stopped_gives_back_what_was_kept_for_it(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    placed = await freeze(books, 4_000)
    assert await available(books) == 0
    await settle(books, payout_id, "failed", ("scheduled",), reason="withdrawn", release_limits=True)
    await look_after(books)
    assert (await available(books), await frozen(books)) == (6_200, 4_000)
    await release(books, placed)
    assert (await available(books), (await row(books, payout_id))["state"]) == (10_200, "failed")
    assert (await verify(books.owner)).is_sound


async def test_one_that_is_refused_while_stopped_is_not_brought_back(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    placed = await freeze(books, 4_000)
    await books.run(
        "SELECT app.end_payout(p, 'refused', 'risk_refused', :at, 'process', 'payout.refused') FROM app.payout p",
        at=NOW,
    )
    assert (await available(books), await frozen(books)) == (6_200, 4_000)
    await release(books, placed)
    assert (await available(books), (await row(books, payout_id))["state"]) == (10_200, "refused")
    assert (await verify(books.owner)).is_sound


async def test_those_who_release_may_end_what_was_stopped(books: Books) -> None:
    await books.fund(30_000)
    stays, ends = await waiting(books, 5_000, minute=2), await waiting(books, 10_000, minute=1)
    placed = await freeze(books, 4_000)
    await release(books, placed, stopped_payouts="end")
    ended = await row(books, ends)
    assert (ended["state"], ended["reason"], ended["limits_released"]) == ("failed", "withdrawn", True)
    assert (await row(books, stays))["state"] == "scheduled"
    assert (await available(books), await frozen(books)) == (30_000 - 5_200, 0)
    assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 5_000
    assert (await verify(books.owner)).is_sound


async def test_those_who_release_all_funds_may_end_all_that_was_not_sent(books: Books) -> None:
    await books.fund(30_000)
    waits, sent = await waiting(books, 5_000, minute=2), await waiting(books, 10_000, minute=1)
    await claim(books, sent)
    placed = await freeze(books, None)
    await release(books, placed, stopped_payouts="end")
    ended = await row(books, waits)
    assert (ended["state"], ended["reason"], ended["limits_released"]) == ("failed", "withdrawn", True)
    assert (await row(books, sent))["state"] == "sending"
    assert await available(books) == 30_000 - 10_200
    assert (await verify(books.owner)).is_sound


async def test_those_who_release_all_funds_let_what_waits_go_on_unless_they_say_otherwise(books: Books) -> None:
    await books.fund(30_000)
    payout_id = await waiting(books, 5_000)
    placed = await freeze(books, None)
    await release(books, placed)
    assert (await row(books, payout_id))["state"] == "scheduled"


async def test_a_freeze_takes_the_place_of_the_one_that_it_prolongs(books: Books) -> None:
    await books.fund(50_000)
    payout_id = await waiting(books, 10_000)
    placed = await freeze(books, 4_000)
    longer = (NOW + timedelta(days=20)).isoformat()
    again = await freeze(books, 4_000, prolongs=placed, review_at=longer, now=NOW + timedelta(days=1))
    assert (await frozen(books, placed), await frozen(books, again)) == (0, 4_000)
    assert await books.value("SELECT lifted_at IS NOT NULL FROM app.restriction WHERE id = :id", id=placed)
    await release(books, again, now=NOW + timedelta(days=2))
    assert ((await row(books, payout_id))["stopped_by"], await frozen(books)) == (None, 0)
    assert (await verify(books.owner)).is_sound


async def test_held_refunds_are_left_alone(books: Books) -> None:
    """What is owed to a payer is on its way to the payer, and no longer the frozen one's."""
    payment = await paid(books, payee_kind="user")
    refund = await books.instructions.accept_refund(books.refund(payment["id"], 5_000))
    held = await books.held(f"user:{books.user_id}:CNY")
    placed = await freeze(books, 9_000)
    assert await frozen(books, placed) == 9_940 - held
    assert (await claim_step(books, "refund", refund["id"], "RF")).state == "sending"


async def test_a_merchants_own_funds_are_frozen_on_both_its_accounts(books: Books) -> None:
    await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"merchant_available:{books.merchant_id}:CNY")
    placed = await freeze(books, 15_000, subject=books.merchant_id)
    await paid(books)
    await paid(books)
    pending = f"merchant_pending:{books.merchant_id}:CNY"
    assert (await books.held(pending), await frozen(books, placed)) == (15_000, 15_000)
    await release(books, subject=books.merchant_id)
    assert await books.held(pending) == 0


async def test_a_payout_whose_bank_ran_short_waits_for_it_and_goes_on_then(books: Books) -> None:
    await books.open_bank()
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    placed = await freeze(books, 10_200)
    # Its bank's money went out with others meanwhile.
    await books.run("SELECT ledger.open_accounts(ARRAY['in_transit:HBRB:CNY'])")
    await move(books, f"reserve:{OTHER_BANK}:CNY", f"reserve:{BANK}:CNY", 5_000)
    await release(books, placed)
    assert (await row(books, payout_id))["stopped_by"] == placed
    assert (await available(books), await look_after(books)) == (0, 0)
    await move(books, f"reserve:{BANK}:CNY", f"reserve:{OTHER_BANK}:CNY", 5_000)
    assert await look_after(books) == 1
    assert ((await row(books, payout_id))["stopped_by"], await available(books)) == (None, 0)
    assert (await claim(books, payout_id)).state == "sending"
    assert (await verify(books.owner)).is_sound


async def move(books: Books, debit: str, credit: str, amount: int) -> None:
    await books.run(
        "SELECT ledger.apply(jsonb_build_array(jsonb_build_object('item', 0, 'transfers', jsonb_build_array("
        "jsonb_build_object('action', 'post', 'key', CAST(:key AS text), 'kind', 'bank_settlement', 'direction',"
        " 'internal', 'debit', CAST(:debit AS text), 'credit', CAST(:credit AS text), 'currency', 'CNY',"
        " 'amount', CAST(:amount AS bigint), 'instruction', 'move', 'booked_at', '2026-11-23T02:00:00Z')))))",
        key=books.ids.ulid(), debit=debit, credit=credit, amount=amount,
    )  # fmt: skip


async def test_a_stop_and_its_end_are_told_once_though_the_process_meets_them_too(books: Books) -> None:
    await books.fund(10_000)
    payout = await waiting(books, 3_000)
    placed = await freeze(books, 9_000)
    settlement = Settlement(
        kind="payout", id=payout, expect=("scheduled",), state=None, at=NOW, action="payout", outcome="done",
        key=f"{payout}:stopped", wait_reason="freeze", event_type="payout.stopped",
    )  # fmt: skip
    await books.instructions.settle(settlement)
    await release(books, placed)
    later = {"key": f"{payout}:resumed", "wait_reason": "bank_window", "event_type": "payout.resumed"}
    await books.instructions.settle(settlement.model_copy(update=later))
    assert await events(books, payout) == ["accepted", "stopped", "resumed"]
