"""Foreign currency in the real books: it arrives, waits, is dealt and delivered, and every account tells."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from domain.errors import EffectRefusedError
from ledger.verify import verify
from tests.conftest import Database
from tests.storage.fx_books import DESK, FxBooks, open_fx_books
from tests.storage.fx_people import add_fx_user


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


@pytest.mark.parametrize(("rate", "difference"), [("7.1234", 0), ("7.2000", -766), ("7.0000", 1_234)])
async def test_a_full_reversal_returns_to_the_start_but_for_what_the_rates_differ_by(
    fx: FxBooks, rate: str, difference: int
) -> None:
    """A5.2c: in two parts, of which each is rounded to the fen."""
    user = fx.books.user_id
    await fx.books.fund(1_000_000)
    start = (await fx.balances()) | {f"user:{user}:USD": (10_001, 0), "reserve:OSPB:USD": (10_001, 0)}
    converted = await fx.convert(await fx.funded(10_001))
    differences = []
    for excess in (3_333, 10_001):
        reversal = await fx.reverse(converted, excess)
        assert reversal is not None
        differences.append((await fx.convert(await fx.view(reversal), rate=rate))["rate_difference_minor"])
    assert abs(sum(differences) - difference) <= 1
    found = await fx.balances()
    cny = 1_000_000 + sum(differences)
    start |= {f"user:{user}:CNY": (cny, 0), f"reserve:{DESK}:CNY": (cny, 0)}
    assert {code: found[code] for code in start} == start
    assert {code for code, held in found.items() if any(held)} == {code for code, held in start.items() if any(held)}
    assert await fx.quota() == (0, 0)
    # There is no more of it to be taken back.
    assert await fx.reverse(converted, 20_000) is None


async def test_what_the_user_has_taken_out_already_is_owed_and_no_balance_falls_below_nought(fx: FxBooks) -> None:
    """A10.2b: a receivable of exactly what is missing, and a case for people."""
    user = fx.books.user_id
    # The institution has money of others at the desk's bank.
    other = await add_fx_user(fx, fx.books.merchant_id, "person-2")
    await fx.books.fund(1_000_000, user_id=other.user_id)
    converted = await fx.convert(await fx.funded(100_000))
    payee = await fx.books.known_payee()
    payout = await fx.books.instructions.accept_payout(fx.books.payout(payee, 500_000))
    reversal_id = await fx.reverse(converted, 100_000)
    assert reversal_id is not None
    # What there is of it is held at once; what the payout holds is not.
    assert (await fx.balances())[f"user:{user}:CNY"] == (712_340, 712_340)
    reversal = await fx.convert(await fx.view(reversal_id))
    missing = 500_000 + payout["fee_minor"]
    assert (reversal["cny_minor"], reversal["shortfall_minor"]) == (712_340, missing)
    balances = await fx.balances()
    assert (balances["receivable:CNY"], balances[f"user:{user}:CNY"]) == ((missing, 0), (missing, missing))
    assert balances[f"user:{user}:USD"] == (100_000, 0)
    owed = "SELECT amount_minor FROM app.user_receivable WHERE fx_id = :id"
    assert await fx.books.value(owed, id=reversal_id) == missing
    assert await fx.books.value("SELECT array_agg(kind) FROM app.case_record") == ["user_receivable"]


async def test_a_reversal_that_the_desks_bank_has_no_cny_for_is_not_sent_until_it_has(fx: FxBooks) -> None:
    """The institution's own account falls short, and is never taken below nought either."""
    converted = await fx.convert(await fx.funded(100_000))
    reversal_id = await fx.reverse(converted, 100_000)
    assert reversal_id is not None
    await fx.plan(reversal_id)
    reversal = await fx.view(reversal_id)
    before = await fx.balances()
    quote = fx.quote(reversal, rate="7.2000")
    with pytest.raises(EffectRefusedError, match="fx_bank_without_funds"):
        await fx.claim(reversal, quote=quote)
    assert (await fx.balances(), await fx.quota()) == (before, (0, 100_000))
    await fx.books.fund(10_000)
    await fx.claim(reversal, quote=quote)
    assert await fx.book.settle(fx.dealt(reversal, rate="7.2000")) == "settled"
    assert (await fx.view(reversal_id))["shortfall_minor"] == 0
