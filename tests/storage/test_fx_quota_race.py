"""The last of one person's quota, in the last open second of the year, from many connections at once (L9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Database
from tests.storage.fx_books import DESK, OTHER_DESK, FxBooks
from tests.storage.fx_people import FxUser, add_fx_user, add_merchant, become
from tests.storage.fx_steps import sound_fx_books
from tests.storage.test_lock_order import deadlocks

ROUNDS, QUOTA, EACH = 50, 5_000_000, 3_000_000
# 23:59:59 on New Year's Eve in Shanghai, the last second of a window that ends with the year.
LAST_SECOND = datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)
END = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


async def relations(fx: FxBooks, person: str) -> list[FxUser]:
    """One person at two merchants, with two conversions that its quota is not enough for."""
    return [
        await add_fx_user(fx, fx.books.merchant_id, person),
        await add_fx_user(fx, await add_merchant(fx), person),
    ]


async def through(fx: FxBooks, conversion: dict[str, Any], desk: str) -> dict[str, Any]:
    """Planned, claimed and dealt in the last second."""
    await fx.plan(conversion["id"], LAST_SECOND, closes_at=END, desk=desk)
    planned = await fx.view(conversion["id"])
    if planned["state"] == "refused":
        return planned
    quote = fx.quote(planned, LAST_SECOND, bank_code=desk)
    await fx.claim(planned, LAST_SECOND, quote=quote)
    await fx.book.settle(fx.dealt(planned, LAST_SECOND))
    return await fx.view(conversion["id"])


@pytest.mark.long
async def test_two_merchants_race_for_the_last_of_a_persons_quota_in_the_last_open_second_of_the_year(
    fx: FxBooks,
) -> None:
    before = await deadlocks(fx.books)
    users = await relations(fx, "racer")
    for number in range(ROUNDS):
        person, mode = f"racer-{number}", "split" if number % 2 else "hold"
        users = await become(users, person)
        conversions = [await user.funded(EACH, over_quota=mode) for user in users]
        desks = (DESK, OTHER_DESK if number % 3 == 0 else DESK)
        ends = await asyncio.gather(*(through(fx, one, desk) for one, desk in zip(conversions, desks, strict=True)))
        whole = [one for one in ends if one["state"] == "settled" and one["amount_minor"] == EACH]
        [other] = [one for one in ends if one not in whole]
        assert len(whole) == 1
        if mode == "split":
            assert (other["state"], other["amount_minor"]) == ("settled", QUOTA - EACH)
            rest = await fx.view(other["rest_id"])
            assert (rest["state"], rest["reason"], rest["amount_minor"]) == ("refused", "quota_exceeded", 1_000_000)
            assert await fx.quota(2026, person) == (0, QUOTA)
        else:
            assert (other["state"], other["reason"]) == ("refused", "quota_exceeded")
            assert await fx.quota(2026, person) == (0, EACH)
        assert await fx.quota(2027, person) is None
    assert await deadlocks(fx.books) == before


async def test_of_forty_conversions_of_one_person_at_once_no_more_than_the_quota_is_ever_reserved(fx: FxBooks) -> None:
    users = await relations(fx, "crowd")
    conversions = [await users[n % 2].funded(400_000, over_quota="split") for n in range(40)]
    plans = [fx.plan(one["id"], LAST_SECOND, closes_at=END, desk=(DESK, OTHER_DESK)[n % 2]) for n, one in
             enumerate(conversions)]  # fmt: skip
    await asyncio.gather(*plans)
    assert await fx.quota(2026, "crowd") == (QUOTA, 0)
    ends = [await fx.view(one["id"]) for one in conversions]
    waiting = [one for one in ends if one["state"] == "waiting"]
    assert sum(one["amount_minor"] for one in waiting) == QUOTA
    assert sorted({one["amount_minor"] for one in waiting}) == [200_000, 400_000]
    assert len([one for one in ends if one["rest_id"]]) == 1
    assert {one["reason"] for one in ends if one not in waiting} == {"quota_exceeded"}
