"""The rules of the yearly quota one by one: whose, of which year, by which rate, and what has none (L9, A5.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import EffectRefusedError
from domain.reviews import Evidence, EvidenceKind
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import FxBooks
from tests.storage.fx_people import FxUser, add_fx_user, add_merchant, first_user
from tests.storage.fx_steps import new_version, planned, refused, sent, sound_fx_books, turned_away

QUOTA = 5_000_000
NEW_YEARS_EVE = datetime(2026, 12, 31, 15, 59, 58, tzinfo=UTC)
JANUARY = datetime(2027, 1, 4, 2, 0, tzinfo=UTC)
FEBRUARY = datetime(2027, 2, 22, 2, 0, tzinfo=UTC)
INVOICE = (Evidence(kind=EvidenceKind.INVOICE, reference="INV-1"),)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


async def decision(fx: FxBooks, fx_id: str) -> tuple[str, str | None, str | None]:
    view = await fx.view(fx_id)
    return view["state"], view["reason"], (view["quota"] or {}).get("decision")


async def learn(fx: FxBooks, user: FxUser, **changes: Any) -> None:
    """The desk says of a small conversion that the person's quota is exceeded."""
    one = await planned(fx, (await user.funded(100))["id"])
    await fx.claim(one)
    await fx.book.settle(refused(one, learned=True, **changes))


async def test_what_was_planned_in_december_and_is_dealt_in_january_counts_in_january_alone(fx: FxBooks) -> None:
    one = await planned(fx, (await fx.funded(4_000_000))["id"], NEW_YEARS_EVE)
    assert (await fx.quota(2026), await fx.quota(2027)) == ((4_000_000, 0), None)
    with pytest.raises(EffectRefusedError, match="quota_outdated"):
        await fx.claim(one, NEW_YEARS_EVE + timedelta(seconds=2))
    assert (await fx.view(one["id"]))["state"] == "waiting"
    settled = await fx.convert(one, JANUARY)
    assert (settled["state"], settled["quota"]) == (
        "settled", {"decision": "within", "year": 2027, "usd_minor": 4_000_000},
    )  # fmt: skip
    assert (await fx.quota(2026), await fx.quota(2027)) == ((0, 0), (0, 4_000_000))


async def test_a_plan_that_comes_back_from_january_is_reserved_in_december_again(fx: FxBooks) -> None:
    fx_id = (await fx.funded(4_000_000))["id"]
    await fx.plan(fx_id, NOW, opens_at=JANUARY)
    assert await fx.quota(2027) == (4_000_000, 0)
    await new_version(fx)
    await fx.plan(fx_id, NOW, opens_at=NEW_YEARS_EVE, closes_at=NEW_YEARS_EVE + timedelta(seconds=2))
    assert (await fx.quota(2026), await fx.quota(2027)) == ((4_000_000, 0), (0, 0))


async def test_a_desk_that_deals_after_midnight_uses_the_quota_of_the_new_year(fx: FxBooks) -> None:
    one = await planned(fx, (await fx.funded(4_000_000))["id"], NEW_YEARS_EVE)
    await fx.claim(one, NEW_YEARS_EVE)
    await fx.book.settle(fx.dealt(one, NEW_YEARS_EVE + timedelta(seconds=4)))
    assert (await fx.quota(2026), await fx.quota(2027)) == ((0, 0), (0, 4_000_000))


async def test_trade_with_evidence_is_exempt_and_a_flag_without_evidence_is_not(fx: FxBooks) -> None:
    traded = await fx.convert(await fx.funded(9_000_000, is_trade=True, evidence=INVOICE))
    assert (traded["state"], traded["quota"]["decision"], traded["amount_minor"]) == (
        "settled", "exempt_trade", 9_000_000,
    )  # fmt: skip
    assert await fx.quota() is None
    flagged = await fx.convert(await fx.funded(9_000_000, is_trade=True))
    assert (flagged["amount_minor"], flagged["quota"]["decision"]) == (QUOTA, "within")
    assert await fx.quota() == (0, QUOTA)
    # And what is exempt goes on when nothing is left.
    assert (await fx.convert(await fx.funded(100, is_trade=True, evidence=INVOICE)))["state"] == "settled"


async def test_evidence_without_the_flag_of_trade_exempts_no_domestic_individual(fx: FxBooks) -> None:
    assert (await fx.convert(await fx.funded(9_000_000, evidence=INVOICE)))["amount_minor"] == QUOTA


async def test_an_enterprise_has_no_quota_of_a_person(fx: FxBooks) -> None:
    firm = await add_fx_user(fx, fx.books.merchant_id, "", enterprise=True)
    settled = await fx.convert(await firm.funded(90_000_000))
    assert (settled["state"], settled["quota"]["decision"]) == ("settled", "not_subject")
    assert await fx.books.value("SELECT count(*) FROM app.fx_quota") == 0


async def test_a_foreign_individual_goes_beyond_the_quota_with_documents_alone(fx: FxBooks) -> None:
    foreign = {"residency": "foreign_individual"}
    assert (await fx.convert(await fx.funded(6_000_000, **foreign)))["amount_minor"] == QUOTA
    settled = await fx.convert(await fx.funded(6_000_000, evidence=INVOICE, **foreign))
    assert (settled["amount_minor"], settled["quota"]["decision"]) == (6_000_000, "documents")
    assert await fx.quota() == (0, QUOTA + 6_000_000)
    await fx.plan((last := await fx.funded(1, **foreign))["id"])
    assert await decision(fx, last["id"]) == ("refused", "quota_exceeded", "exceeded")


async def test_a_learned_excess_blocks_the_person_at_every_merchant_until_the_year_is_over(fx: FxBooks) -> None:
    here, there = first_user(fx), await add_fx_user(fx, await add_merchant(fx), "person-1")
    other = await add_fx_user(fx, fx.books.merchant_id, "person-2")
    ready = await planned(fx, (await there.funded(100))["id"])
    await learn(fx, here)
    assert await fx.quota() == (100, 0)
    # What was planned before is stopped at the send claim, what is new at its plan, with documents as without.
    with pytest.raises(EffectRefusedError, match="quota_known_exceeded"):
        await fx.claim(ready)
    for said in ({}, {"residency": "foreign_individual", "evidence": INVOICE}):
        blocked = await there.funded(100, **said)
        await fx.plan(blocked["id"])
        assert await decision(fx, blocked["id"]) == ("refused", "quota_known_exceeded", "known_exceeded")
    assert (await fx.convert(await there.funded(100, is_trade=True, evidence=INVOICE)))["state"] == "settled"
    assert (await fx.convert(await other.funded(100)))["state"] == "settled"
    assert (await fx.convert(await here.funded(100), JANUARY))["state"] == "settled"
    assert await fx.books.value("SELECT exceeded_at FROM app.fx_quota WHERE year = 2027") is None


async def test_a_late_word_about_last_year_blocks_last_year_and_not_this_one(fx: FxBooks) -> None:
    one = await planned(fx, (await fx.funded(100))["id"], NEW_YEARS_EVE)
    await fx.claim(one, NEW_YEARS_EVE)
    await fx.book.settle(refused(one, learned=True, at=JANUARY))
    marked = "SELECT array_agg(year) FROM app.fx_quota WHERE exceeded_at IS NOT NULL"
    assert await fx.books.value(marked) == [2026]
    assert await fx.quota() == (0, 0)


@pytest.mark.parametrize(
    ("currency", "amount", "usd_minor"),
    # By the made-up rates of November: 0.12850 and 0.006610.
    [("HKD", 1, 1), ("HKD", 100, 13), ("JPY", 1, 1), ("JPY", 1000, 661), ("JPY", 1001, 662), ("USD", 99, 99)],
)
async def test_what_an_amount_comes_to_in_dollars_is_rounded_up(
    fx: FxBooks, currency: str, amount: int, usd_minor: int
) -> None:
    one = await planned(fx, (await first_user(fx).funded(amount, currency))["id"])
    assert one["quota"]["usd_minor"] == usd_minor


async def test_what_is_left_of_a_quota_buys_no_more_than_it_is(fx: FxBooks) -> None:
    user = first_user(fx)
    await fx.convert(await user.funded(QUOTA - 1))
    one = await planned(fx, (await user.funded(100, "JPY"))["id"])
    # A cent is worth a yen and a half.
    assert (one["amount_minor"], (await fx.view(one["rest_id"]))["amount_minor"]) == (1, 99)
    assert await fx.quota() == (1, QUOTA - 1)
    await fx.plan((none := await user.funded(1, "JPY"))["id"])
    assert await decision(fx, none["id"]) == ("refused", "quota_exceeded", "exceeded")


async def test_what_is_taken_back_in_parts_never_makes_more_room_than_there_is(fx: FxBooks) -> None:
    one = await fx.convert(await first_user(fx).funded(300, "JPY"), rate="0.0500")
    assert await fx.quota() == (0, 199)
    for taken, left in ((1, 198), (2, 197), (150, 100), (299, 1), (300, 0)):
        reversal = await fx.reverse(one, taken)
        assert reversal is not None
        await fx.convert(await fx.view(reversal), rate="0.0500")
        # Of what remains, rounded up.
        assert await fx.quota() == (0, left)
    assert (await fx.view(one["id"]))["reversed_minor"] == 300


async def test_without_a_rate_of_the_authority_it_waits_and_is_reserved_anew_by_the_next(fx: FxBooks) -> None:
    user = first_user(fx)
    one = await planned(fx, (await user.funded(1_000_000, "HKD"))["id"], JANUARY)
    assert one["quota"]["usd_minor"] == 128_620
    await new_version(fx)
    # That of December is too old by then.
    waits = await fx.plan(one["id"], FEBRUARY)
    assert (waits.slot_at, waits.obstacle, waits.waits_for) == (None, "authority_rate_missing", "authority_rate")
    with pytest.raises(EffectRefusedError, match="too_early"):
        await fx.claim(one, FEBRUARY)
    assert (await planned(fx, (await user.funded(100))["id"], FEBRUARY))["planned"] is not None
    assert await unattended(fx, FEBRUARY) == []
    await fx.books.run(
        "INSERT INTO app.authority_rate VALUES ('HKD', '2027-02-01', 13000000, 'tested', :at)", at=FEBRUARY
    )
    assert await unattended(fx, FEBRUARY) == [one["id"]]
    again = await planned(fx, one["id"], FEBRUARY)
    assert again["quota"] == {"decision": "within", "year": 2027, "usd_minor": 130_000}
    assert await fx.quota(2027) == (130_100, 0)


async def unattended(fx: FxBooks, at: datetime) -> list[str]:
    found = await fx.books.value(
        "SELECT array_agg(id) FROM app.unattended_fx(:at, interval '1 minute', 100) WHERE kind = 'tell_fx'", at=at
    )
    return found or []


async def test_a_rate_that_is_published_meanwhile_is_the_one_that_counts(fx: FxBooks) -> None:
    one = await planned(fx, (await first_user(fx).funded(1_000_000, "HKD"))["id"], JANUARY)
    await fx.books.run(
        "INSERT INTO app.authority_rate VALUES ('HKD', '2027-01-01', 13000000, 'tested', :at)", at=JANUARY
    )
    with pytest.raises(EffectRefusedError, match="quota_outdated"):
        await fx.claim(one, JANUARY)
    await fx.convert(one, JANUARY)
    assert await fx.quota(2027) == (0, 130_000)


async def test_what_a_desk_turned_away_keeps_its_reservation_until_it_is_planned_again(fx: FxBooks) -> None:
    one = await sent(fx, 4_000_000)
    await fx.book.settle(turned_away(one))
    assert await fx.quota() == (4_000_000, 0)
    await planned(fx, one["id"], NOW + timedelta(hours=1))
    assert await fx.quota() == (4_000_000, 0)


async def test_the_quota_survives_the_closing_of_the_account_that_used_it(fx: FxBooks) -> None:
    await fx.convert(await fx.funded(4_000_000))
    await fx.books.run("UPDATE app.end_user SET state = 'closed' WHERE id = :u", u=fx.books.user_id)
    again = await add_fx_user(fx, await add_merchant(fx), "person-1")
    assert (await fx.convert(await again.funded(4_000_000)))["amount_minor"] == 1_000_000
