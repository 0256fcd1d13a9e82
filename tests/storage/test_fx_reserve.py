"""What a reversal takes at its desk's bank is nobody else's once it is claimed, and free again if it takes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from domain.errors import DomainError, EffectRefusedError, ErrorCode
from domain.fx import FxEntry
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import DESK, FxBooks
from tests.storage.fx_people import FxUser, add_fx_user
from tests.storage.fx_steps import (
    Resource,
    converted,
    delivered,
    number_of,
    planned,
    refused,
    sound_fx_books,
    turned_away,
    unknown,
)
from tests.storage.test_fx_claims import standing

RESERVE = f"reserve:{DESK}:CNY"
# What 1,000 dollars cost, what lies at the bank of somebody else, and what the user has left.
COST, OTHERS, LEFT = 712_340, 800_000, 12_340


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


async def paid(fx: FxBooks, user_id: str, amount_minor: int) -> Resource:
    payee = await fx.books.known_payee(user_id=user_id)
    command = fx.books.payout(payee, amount_minor, user_id=user_id, fee_minor=0, limit_sets=[])
    return await fx.books.instructions.accept_payout(command)


async def to_be_reversed(fx: FxBooks) -> tuple[Resource, FxUser]:
    """A reversal with a slot, for which the user has little left; and somebody else, whose money is at the bank."""
    other = await add_fx_user(fx, fx.books.merchant_id, "person-2")
    await fx.books.fund(OTHERS, user_id=other.user_id)
    one = await fx.convert(await fx.funded(100_000))
    await paid(fx, fx.books.user_id, COST - LEFT)
    reversal = await fx.reverse(one, 100_000)
    assert reversal is not None
    assert (await fx.balances())[RESERVE] == (OTHERS + COST, COST)
    return await planned(fx, reversal), other


async def held_at_bank(fx: FxBooks) -> int:
    """Beside what the user's payout holds."""
    return (await fx.balances())[RESERVE][1] - (COST - LEFT)


@pytest.mark.parametrize("at_once", [True, False])
async def test_no_payout_takes_the_cny_of_a_reversal_between_its_claim_and_its_booking(
    fx: FxBooks, at_once: bool
) -> None:
    one, other = await to_be_reversed(fx)
    await fx.claim(one)
    assert await held_at_bank(fx) == COST
    with pytest.raises(DomainError) as error:
        await paid(fx, other.user_id, OTHERS - COST + LEFT + 1)
    assert error.value.code is ErrorCode.PAYOUT_BANK_WITHOUT_FUNDS
    await paid(fx, other.user_id, OTHERS - COST + LEFT)
    # Somebody who comes again holds nothing more.
    assert (await fx.claim(one)).already
    assert await held_at_bank(fx) == OTHERS + LEFT
    assert await fx.book.settle(unknown(one)) == "unknown"
    assert await held_at_bank(fx) == OTHERS + LEFT
    if at_once:
        assert await fx.book.settle(fx.dealt(one)) == "settled"
    else:
        assert await fx.book.settle(converted(fx, one)) == "converted"
        assert await held_at_bank(fx) == OTHERS + LEFT
        assert await fx.book.settle(delivered(one)) == "settled"
    assert (await fx.view(one["id"]))["shortfall_minor"] == COST - LEFT
    balances = await fx.balances()
    assert (balances[RESERVE], balances["receivable:CNY"]) == ((OTHERS, OTHERS), (COST - LEFT, 0))


@pytest.mark.parametrize("said", [refused, turned_away, "never_arrived"])
async def test_what_was_held_for_a_reversal_that_its_desk_did_not_deal_is_free_again(fx: FxBooks, said: Any) -> None:
    one, other = await to_be_reversed(fx)
    await fx.claim(one)
    await fx.book.settle(unknown(one))
    word: FxEntry = turned_away(one, reason=said) if said == "never_arrived" else said(one)
    state = await fx.book.settle(word)
    assert await fx.book.settle(word) == state
    # What there is of the user's stays held while it waits.
    kept = LEFT if state == "waiting" else 0
    assert await held_at_bank(fx) == kept
    assert await fx.books.value("SELECT sent_hold FROM app.fx WHERE id = :id", id=one["id"]) is None
    await paid(fx, other.user_id, OTHERS - kept)
    if state != "waiting":
        return
    again = await planned(fx, one["id"])
    with pytest.raises(EffectRefusedError, match="fx_bank_without_funds"):
        await fx.claim(again, attempt=1)
    await fx.books.fund(COST, user_id=other.user_id)
    await fx.claim(again, attempt=1)
    assert await fx.books.value("SELECT sent_hold FROM app.fx WHERE id = :id", id=one["id"]) == (
        f"sent:{number_of(one, 1)}"
    )
    assert await fx.book.settle(fx.dealt(one, attempt=1)) == "settled"


async def test_a_reversal_whose_rate_costs_less_than_is_held_holds_nothing_more(fx: FxBooks) -> None:
    one = await fx.convert(await fx.funded(100_000))
    reversal_id = await fx.reverse(one, 100_000)
    assert reversal_id is not None
    reversal = await planned(fx, reversal_id)
    await fx.claim(reversal, quote=fx.quote(reversal, rate="7.0000"))
    assert (await fx.balances())[RESERVE] == (COST, COST)
    assert await fx.book.settle(fx.dealt(reversal, rate="7.0000")) == "settled"
    assert (await fx.balances())[RESERVE] == (COST - 700_000, 0)


async def test_a_claim_that_waits_for_who_takes_the_cny_finds_it_gone_and_changes_nothing(fx: FxBooks) -> None:
    """It has seen the money of the other still there; what counts is the ledger, and nothing was sent."""
    one, other = await to_be_reversed(fx)
    before = await standing(fx, one["id"])
    transfer = {
        "action": "hold", "key": "po_1:hold:1", "kind": "payout", "direction": "out", "currency": "CNY",
        "debit": f"user:{other.user_id}:CNY", "credit": RESERVE, "amount": OTHERS - COST + LEFT + 1,
        "instruction": "po_1", "reference": "po_1", "booked_at": NOW.isoformat(),
    }  # fmt: skip
    items = json.dumps([{"item": 0, "transfers": [transfer]}])
    async with fx.books.owner.begin() as connection:
        assert (
            await connection.scalar(sa.text("SELECT error FROM ledger.apply(CAST(:i AS jsonb))"), {"i": items}) is None
        )
        claiming = asyncio.create_task(fx.claim(one))
        for _ in range(200):
            if await fx.books.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.02)
        assert not claiming.done()
    with pytest.raises(EffectRefusedError, match="fx_bank_without_funds"):
        await claiming
    # But for the version of the balances that the other has moved.
    assert [x for x in await standing(fx, one["id"]) if not isinstance(x, Decimal)] == [
        x for x in before if not isinstance(x, Decimal)
    ]
