"""Remittances: once by the bank's reference, to whom number, name and currency say, or to suspense (A2.3, A5.1a)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.fx import DoubtfulInbound
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze
from tests.storage.fx_books import OVERSEAS, FxBooks
from tests.storage.fx_people import add_fx_user, add_merchant
from tests.storage.fx_steps import claim_return, return_ended, sound_fx_books


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


async def events(fx: FxBooks, object_id: str | None) -> list[str]:
    found = await fx.books.value(
        "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id", id=object_id
    )
    return found or []


@pytest.mark.parametrize(("announced", "named"), [(True, True), (True, False), (False, True), (False, False)])
async def test_a_remittance_that_two_hear_of_at_once_is_booked_once(fx: FxBooks, announced: bool, named: bool) -> None:
    await fx.acceptance.accept_mandate(fx.mandate())
    if announced:
        assert await fx.acceptance.announce_inbound(OVERSEAS, "INB00000001", "N1", NOW)
    said = {"reference": "INB00000001"} | ({} if named else {"account_number": "990000000001"})
    answers = await asyncio.gather(*(fx.receive(100_000, **said) for _ in range(6)))
    assert len({answer.inbound_id for answer in answers}) == 1
    assert len({answer.fx_id for answer in answers}) == 1
    account = f"user:{fx.books.user_id}:USD" if named else "suspense:USD"
    assert (await fx.balances())[account] == (100_000, 100_000)
    assert await fx.books.value("SELECT count(*) FROM app.inbound") == 1
    assert not announced or not await fx.acceptance.announce_inbound(OVERSEAS, "INB00000001", "N2", NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 100_001},
        {"currency": "HKD"},
        {"account_number": "990000000001"},
        {"receiver_name": "SOMEBODY ELSE"},
        {"value_date": date(2026, 11, 24)},
        {"purpose_code": "122030"},
    ],
)
async def test_a_reference_that_comes_with_something_else_than_before_is_a_case_and_books_nothing(
    fx: FxBooks, change: dict[str, Any]
) -> None:
    first = await fx.receive(100_000, reference="INB00000001")
    again = await fx.receive(**{"amount_minor": 100_000, "reference": "INB00000001"} | change)
    assert (again.error, again.inbound_id) == ("reference_reused", first.inbound_id)
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (100_000, 0)
    assert await fx.books.value("SELECT array_agg(kind) FROM app.case_record") == ["inbound_differs"]


async def doubted(fx: FxBooks, now: datetime = NOW, **changes: Any) -> str | None:
    values = {
        "now": now, "case_id": fx.books.new_id("case"), "bank_code": OVERSEAS, "reference": "INB00000001",
        "reason": "ANSWER_MISMATCH",
    } | changes  # fmt: skip
    return await fx.book.doubt_inbound(DoubtfulInbound.model_validate(values))


async def unreadable(fx: FxBooks) -> list[str]:
    found = "SELECT array_agg(state ORDER BY id) FROM app.case_record WHERE kind = 'inbound_unreadable'"
    return await fx.books.value(found) or []


async def test_what_cannot_be_believed_is_a_case_once_for_each_announcement(fx: FxBooks) -> None:
    assert await fx.acceptance.announce_inbound(OVERSEAS, "INB00000001", "N1", NOW)
    await asyncio.gather(*(doubted(fx) for _ in range(4)))
    assert await unreadable(fx) == ["open"]
    case = await fx.books.value("SELECT id FROM app.case_record")
    await decide_directly(fx.books.owner, DecisionKind.CASE_RESOLVE, case, NOW, detail={"resolution": "settled"})
    await doubted(fx, NOW + timedelta(hours=1))
    assert await unreadable(fx) == ["resolved"]
    await fx.book.no_such_inbound(OVERSEAS, "INB00000001", NOW + timedelta(hours=2))
    assert await fx.acceptance.announce_inbound(OVERSEAS, "INB00000001", "N2", NOW + timedelta(hours=3))
    await doubted(fx, NOW + timedelta(hours=3))
    assert sorted(await unreadable(fx)) == ["open", "resolved"]
    # What is booked in the end needs nobody.
    await fx.receive(100_000, reference="INB00000001")
    assert await unreadable(fx) == ["resolved", "resolved"]


async def test_a_silence_is_a_case_only_once_it_has_lasted_and_none_of_what_is_booked(fx: FxBooks) -> None:
    assert await fx.acceptance.announce_inbound(OVERSEAS, "INB00000001", "N1", NOW)
    patience = {"reason": "TIME_OUT", "patience_seconds": 86400}
    assert await doubted(fx, NOW + timedelta(seconds=86399), **patience) is None
    assert await unreadable(fx) == []
    await doubted(fx, NOW + timedelta(seconds=86400), **patience)
    assert await unreadable(fx) == ["open"]
    received = await fx.receive(100_000, reference="INB00000001")
    assert await doubted(fx, NOW + timedelta(days=2), **patience) == received.inbound_id
    assert await fx.books.value("SELECT array_agg(kind) FROM app.case_record") == ["inbound_unreadable"]


async def test_a_case_of_a_failed_return_is_done_by_deciding_anew_and_not_by_a_note(fx: FxBooks) -> None:
    received = await fx.receive(100_000, receiver_name="SOMEBODY ELSE")
    made = await decide_directly(fx.books.owner, DecisionKind.INBOUND_RETURN, received.inbound_id or "", NOW)
    return_id = made.replace("dec_", "inr_")
    await claim_return(fx, return_id)
    await fx.book.settle(return_ended(return_id, "failed"))
    failed = "SELECT {} FROM app.case_record WHERE kind = 'inbound_return_failed'"
    case = await fx.books.value(failed.format("id"))
    with pytest.raises(ValueError, match="cannot take place"):
        await decide_directly(fx.books.owner, DecisionKind.CASE_RESOLVE, case, NOW, detail={"resolution": "settled"})
    assert await fx.books.value(failed.format("state")) == "open"
    detail = {"user_id": fx.books.user_id}
    await decide_directly(fx.books.owner, DecisionKind.INBOUND_ASSIGN, received.inbound_id or "", NOW, detail=detail)
    assert await fx.books.value(failed.format("state")) == "resolved"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("receiver_unknown", {"account_number": "990000000001"}),
        ("receiver_name_differs", {"receiver_name": "SOMEBODY ELSE"}),
        ("currency_differs", {"currency": "HKD"}),
    ],
)
async def test_what_is_nobodys_waits_in_suspense_until_people_say_whose_it_is(
    fx: FxBooks, reason: str, said: dict[str, str]
) -> None:
    currency = said.pop("currency", "USD")
    await fx.acceptance.accept_mandate(fx.mandate(currency))
    received = await fx.receive(100_000, currency, **said)
    assert (received.state, received.fx_id) == ("suspense", None)
    found = "SELECT reason, user_id FROM app.inbound WHERE id = :id"
    assert await fx.books.value(found, id=received.inbound_id) == reason
    # Held: what is nobody's yet serves nobody else's conversion.
    assert (await fx.balances())[f"suspense:{currency}"] == (100_000, 100_000)
    other = await add_fx_user(fx, await add_merchant(fx), "person-9")
    detail = {"user_id": other.user_id}
    await decide_directly(fx.books.owner, DecisionKind.INBOUND_ASSIGN, received.inbound_id or "", NOW, detail=detail)
    assert (await fx.balances())[f"user:{other.user_id}:{currency}"] == (100_000, 0)
    assert (await fx.balances())[f"suspense:{currency}"] == (0, 0)
    assert await events(fx, received.inbound_id) == ["inbound.credited"]
    assert await fx.books.value("SELECT array_agg(state) FROM app.case_record") == ["resolved"]
    # Decided is decided.
    with pytest.raises(ValueError, match="cannot take place"):
        await decide_directly(fx.books.owner, DecisionKind.INBOUND_RETURN, received.inbound_id or "", NOW)


async def test_what_was_assigned_to_a_user_with_a_mandate_is_converted_under_it(fx: FxBooks) -> None:
    await fx.acceptance.accept_mandate(fx.mandate())
    received = await fx.receive(100_000, receiver_name="SOMEBODY ELSE")
    detail = {"user_id": fx.books.user_id}
    made = await decide_directly(
        fx.books.owner, DecisionKind.INBOUND_ASSIGN, received.inbound_id or "", NOW, detail=detail
    )
    begun = await fx.view(made.replace("dec_", "fx_"))
    assert (begun["origin"], begun["amount_minor"], begun["state"]) == ("standing_mandate", 100_000, "waiting")
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (100_000, 100_000)


async def test_what_goes_back_out_of_suspense_is_held_until_the_bank_has_sent_it(fx: FxBooks) -> None:
    received = await fx.receive(100_000, receiver_name="SOMEBODY ELSE")
    made = await decide_directly(fx.books.owner, DecisionKind.INBOUND_RETURN, received.inbound_id or "", NOW)
    return_id = made.replace("dec_", "inr_")
    assert (await fx.balances())["suspense:USD"] == (100_000, 100_000)
    await claim_return(fx, return_id)
    await fx.book.settle(return_ended(return_id, "failed"))
    assert (await fx.balances())["suspense:USD"] == (100_000, 100_000)
    made = await decide_directly(fx.books.owner, DecisionKind.INBOUND_RETURN, received.inbound_id or "", NOW)
    return_id = made.replace("dec_", "inr_")
    await claim_return(fx, return_id)
    await fx.book.settle(return_ended(return_id, "succeeded"))
    assert (await fx.balances())["suspense:USD"] == (0, 0)
    assert await fx.books.value("SELECT state FROM app.inbound") == "returned"


async def test_a_freeze_takes_of_what_arrives_before_a_mandate_does(fx: FxBooks) -> None:
    await fx.acceptance.accept_mandate(fx.mandate())
    await freeze(fx.books, 30_000, currency="USD")
    received = await fx.receive(100_000)
    assert received.fx_id is not None
    assert (await fx.view(received.fx_id))["amount_minor"] == 70_000
    assert (await fx.convert(await fx.view(received.fx_id)))["state"] == "settled"
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (30_000, 30_000)


async def test_an_ended_mandate_converts_nothing_more(fx: FxBooks) -> None:
    from domain.fx import EndFxMandate

    made = await fx.acceptance.accept_mandate(fx.mandate())
    await fx.acceptance.end_mandate(EndFxMandate(request=fx.books.context(), now=NOW, id=made["id"]))
    assert (await fx.receive(100_000)).fx_id is None
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (100_000, 0)
