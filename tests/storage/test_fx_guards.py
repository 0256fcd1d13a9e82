"""What the books themselves refuse about foreign currency, whoever asks: the last guard before money moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import EffectRefusedError, SettlementRefusedError
from domain.reviews import Evidence, EvidenceKind
from storage.decisions import decide_directly
from storage.fx import call
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze
from tests.storage.fx_books import DESK, FxBooks
from tests.storage.fx_people import add_fx_user
from tests.storage.fx_steps import (
    converted,
    delivered,
    new_version,
    number_of,
    planned,
    refused,
    sent,
    sound_fx_books,
    to_be_returned,
    turned_away,
)

INVOICE = (Evidence(kind=EvidenceKind.INVOICE, reference="INV-1"),)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


@pytest.mark.parametrize(
    ("words", "is_refused"),
    [
        ({"rate_e8": 712_340_001}, True),
        ({"rate_e8": 812_340_000, "cny_minor": 812_340}, True),
        ({"cny_minor": 712_341}, True),
        ({"cny_minor": 712_339}, True),
        ({"booked_at": NOW - timedelta(hours=1, seconds=1)}, True),
        ({"booked_at": NOW + timedelta(hours=1, seconds=1)}, True),
        ({"booked_at": NOW - timedelta(minutes=59)}, False),
    ],
)
async def test_a_deal_on_other_terms_than_those_that_were_sent_is_not_booked(
    fx: FxBooks, words: dict[str, Any], is_refused: bool
) -> None:
    """A5.1b: the rate is the quote's, the amount is the rate's, and the moment is that of the deal."""
    one, before = await sent(fx), await fx.balances()
    word = fx.dealt(one).model_copy(update=words)
    if is_refused:
        with pytest.raises(SettlementRefusedError, match="terms_differ"):
            await fx.book.settle(word)
        assert (await fx.balances(), (await fx.view(one["id"]))["state"]) == (before, "sending")
    else:
        assert await fx.book.settle(word) == "settled"


async def test_an_instruction_waits_for_the_value_date_of_what_arrived_last(fx: FxBooks) -> None:
    """A5.1a: what is converted must be at our disposal, whether a mandate or the user asks for it."""
    await fx.receive(50_000, value_date=date(2026, 11, 25))
    await fx.receive(50_000, value_date=date(2026, 11, 24))
    assert (await fx.accept(60_000))["value_date"] == "2026-11-25"
    await fx.open_account(currency="JPY", number="880000000002")
    await fx.receive(50_000, "JPY", account_number="880000000002", value_date=date(2026, 11, 2))
    assert (await fx.accept(50_000, "JPY"))["value_date"] is None


@pytest.mark.parametrize(("purpose", "is_trade"), [("121010", True), ("223029", False)])
async def test_a_mandates_evidence_is_of_its_own_purpose(fx: FxBooks, purpose: str, is_trade: bool) -> None:
    """A5.2d: trade with evidence is exempt; what arrives for something else is no trade."""
    await fx.acceptance.accept_mandate(fx.mandate(is_trade=True, evidence=INVOICE))
    begun = await fx.view((await fx.receive(6_000_000, purpose_code=purpose)).fx_id or "")
    assert (begun["is_trade"], bool(begun["evidence"])) == (is_trade, is_trade)
    assert (await planned(fx, begun["id"]))["quota"]["decision"] == ("exempt_trade" if is_trade else "within")


async def test_a_mandate_that_has_run_out_is_told_as_ended_before_the_next_begins(fx: FxBooks) -> None:
    first = await fx.acceptance.accept_mandate(fx.mandate(valid_until=NOW + timedelta(hours=1)))
    await fx.acceptance.accept_mandate(fx.mandate(now=NOW + timedelta(hours=2)))
    told = "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id"
    assert await fx.books.value(told, id=first["id"]) == ["fx_mandate.accepted", "fx_mandate.ended"]


async def test_what_is_learned_of_an_excess_counts_before_the_deal_is_delivered(fx: FxBooks) -> None:
    """A5.2b: nothing more goes out from the bank's word on, although nothing can be taken back yet."""
    one, second = await sent(fx), await planned(fx, (await fx.funded(1_000))["id"])
    await fx.book.settle(converted(fx, one))
    for _ in range(2):
        with pytest.raises(SettlementRefusedError, match="try_again"):
            await fx.reverse(one, 1_000)
        with pytest.raises(EffectRefusedError, match="quota_known_exceeded"):
            await fx.claim(second)
    learned = "SELECT count(*) FROM app.fx_quota_entry WHERE why = 'learned_exceeded'"
    assert await fx.books.value(learned) == 1
    await fx.book.settle(delivered(await fx.view(one["id"])))
    assert await fx.reverse(one, 1_000) is not None
    assert await fx.books.value(learned) == 1


async def test_a_refused_reversal_gives_the_cny_back_and_the_next_word_takes_what_is_left_of_the_excess(
    fx: FxBooks,
) -> None:
    cny = f"user:{fx.books.user_id}:CNY"
    settled = await fx.convert(await fx.funded(100_000))
    first = await planned(fx, await fx.reverse(settled, 40_000) or "")
    assert (await fx.balances())[cny] == (712_340, 284_936)
    await fx.claim(first)
    second = await fx.view(await fx.reverse(settled, 60_000) or "")
    await fx.book.settle(refused(first))
    assert (await fx.balances())[cny] == (712_340, 142_468)
    # The second took what was new with it; what the first was for is taken back on the bank's next word.
    third = await fx.view(await fx.reverse(settled, 60_000) or "")
    assert (second["amount_minor"], third["amount_minor"]) == (20_000, 40_000)
    for each in (second, third):
        await fx.convert(await fx.view(each["id"]))
    assert (await fx.view(settled["id"]))["reversed_minor"] == 60_000
    assert await fx.reverse(settled, 60_000) is None
    assert await fx.quota() == (0, 40_000)


async def test_money_in_suspense_is_out_of_reach_of_everybody_elses_conversion(fx: FxBooks) -> None:
    await fx.receive(100_000, receiver_name="SOMEBODY ELSE")
    assert (await fx.balances())["reserve:OSPB:USD"] == (100_000, 100_000)
    other = await add_fx_user(fx, fx.books.merchant_id, "person-2")
    await fx.receive(10_000)
    await fx.accept(10_000)
    assert (await fx.balances())["reserve:OSPB:USD"] == (110_000, 110_000)
    inbound = await fx.books.value("SELECT id FROM app.inbound WHERE state = 'suspense'")
    detail = {"user_id": other.user_id}
    await decide_directly(fx.books.owner, DecisionKind.INBOUND_ASSIGN, inbound, NOW, detail=detail)
    assert (await fx.balances())["reserve:OSPB:USD"] == (110_000, 10_000)


async def test_the_task_of_money_in_suspense_is_done_by_deciding_whose_it_is(fx: FxBooks) -> None:
    await fx.receive(100_000, receiver_name="SOMEBODY ELSE")
    case = await fx.books.value("SELECT id FROM app.case_record WHERE kind = 'inbound_unmatched'")
    with pytest.raises(ValueError, match="cannot take place"):
        await decide_directly(fx.books.owner, DecisionKind.CASE_RESOLVE, case, NOW, detail={"resolution": "settled"})
    assert await fx.books.value("SELECT state FROM app.case_record") == "open"


async def test_a_return_is_no_instruction_that_could_be_withdrawn(fx: FxBooks) -> None:
    _, return_id = await to_be_returned(fx)
    with pytest.raises(ValueError, match="cannot take place"):
        await decide_directly(fx.books.owner, DecisionKind.INSTRUCTION_WITHDRAW, return_id, NOW)


async def test_a_new_plan_sets_nothing_going_that_people_or_a_freeze_have_stopped(fx: FxBooks) -> None:
    one, gone = [await planned(fx, (await fx.funded(1_000))["id"]) for _ in range(2)]
    await freeze(fx.books, None)
    await fx.books.run("UPDATE app.fx SET wait_reason = 'freeze' WHERE id = :id", id=one["id"])
    await decide_directly(fx.books.owner, DecisionKind.INSTRUCTION_WITHDRAW, gone["id"], NOW)
    version = await new_version(fx)
    assert [each.fx_id for each in await fx.slots.to_replan(version, None, 10)] == []
    again = await fx.plan(one["id"], why="calendar_changed")
    assert (again.obstacle, again.slot_at) == ("freeze", None)
    assert (await fx.plan(gone["id"])).obstacle == "withdrawn"
    # Its own process asks once the freeze is over.
    assert (await fx.plan(one["id"], why="look_again")).slot_at is not None


@pytest.mark.parametrize(("resolution", "may_go"), [("confirmed", False), ("unfounded", True)])
async def test_what_a_desk_turned_away_and_did_deal_does_not_go_out_once_more(
    fx: FxBooks, resolution: str, may_go: bool
) -> None:
    one = await planned(fx, (await fx.funded(1_000))["id"])
    await fx.claim(one)
    await fx.book.settle(turned_away(one))
    said = {"bank_code": DESK, "notice_id": "N1", "request_number": number_of(one), "announces": "succeeded"}
    await call(fx.books.app, "app.record_callback", said | {"now": NOW.isoformat()})
    case = await fx.books.value("SELECT id FROM app.case_record")
    await decide_directly(fx.books.owner, DecisionKind.CASE_RESOLVE, case, NOW, detail={"resolution": resolution})
    await fx.plan(one["id"])
    if may_go:
        await fx.claim(one, attempt=1)
    else:
        with pytest.raises(EffectRefusedError, match="bank_contradicts_itself"):
            await fx.claim(one, attempt=1)
