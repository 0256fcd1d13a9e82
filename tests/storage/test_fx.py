"""Foreign currency in the real books: it arrives, waits, is dealt and delivered, and every account tells."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.verify import verify
from tests.conftest import Database
from tests.storage.fx_books import DESK, FxBooks, open_fx_books


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with open_fx_books(database) as opened:
        yield opened
        assert (await verify(opened.books.owner)).findings == ()


async def test_what_arrives_under_a_mandate_is_converted_and_the_position_returns_to_nought(fx: FxBooks) -> None:
    await fx.acceptance.accept_mandate(fx.mandate())
    received = await fx.receive(100_000)
    assert received.state == "credited"
    assert received.fx_id is not None
    user = fx.books.user_id
    assert (await fx.balances())[f"user:{user}:USD"] == (100_000, 100_000)
    settled = await fx.convert(await fx.view(received.fx_id))
    assert (settled["state"], settled["cny_minor"]) == ("settled", 712_340)
    assert settled["rate"]["publisher"] == "Harbour Bank FX desk"
    assert await fx.balances() == {
        f"user:{user}:USD": (0, 0), f"user:{user}:CNY": (712_340, 0), "reserve:OSPB:USD": (0, 0),
        f"reserve:{DESK}:CNY": (712_340, 0), f"fx_position:{DESK}:USD": (0, 0), f"fx_position:{DESK}:CNY": (0, 0),
    }  # fmt: skip
    assert await fx.quota() == (0, 100_000)


async def test_what_is_beyond_the_quota_is_split_off_and_stays_held(fx: FxBooks) -> None:
    converted = await fx.convert(await fx.funded(6_000_000))
    assert (converted["amount_minor"], converted["state"]) == (5_000_000, "settled")
    rest = await fx.view(converted["rest_id"])
    assert (rest["amount_minor"], rest["state"], rest["reason"]) == (1_000_000, "refused", "quota_exceeded")
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (1_000_000, 1_000_000)
    assert await fx.quota() == (0, 5_000_000)
    await fx.dispose(rest["id"], "release")
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (1_000_000, 0)


async def test_exactly_the_excess_is_taken_back_at_a_rate_of_its_own(fx: FxBooks) -> None:
    converted = await fx.convert(await fx.funded(4_000_000))
    reversal_id = await fx.reverse(converted, 1_000_000)
    assert reversal_id is not None
    reversal = await fx.convert(await fx.view(reversal_id), rate="7.2000")
    assert (reversal["state"], reversal["cny_minor"], reversal["rate_difference_minor"]) == (
        "settled",
        7_200_000,
        -76_600,
    )
    user = fx.books.user_id
    balances = await fx.balances()
    assert balances[f"user:{user}:USD"] == (1_000_000, 0)
    assert balances[f"user:{user}:CNY"] == (28_493_600 - 7_200_000, 0)
    assert (await fx.view(converted["id"]))["reversed_minor"] == 1_000_000
    assert await fx.quota() == (0, 3_000_000)
    assert all(balances[code] == (0, 0) for code in balances if code.startswith("fx_position"))
