"""The send claim of conversions: each obstacle has its word and changes nothing; whoever comes again does not send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from domain.decisions import DecisionKind
from domain.errors import DomainError, EffectRefusedError
from domain.fx import FxEntry
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze, order, release
from tests.storage.fx_books import DESK, OTHER_DESK, FxBooks
from tests.storage.fx_people import add_fx_user, first_user
from tests.storage.fx_steps import Resource, new_version, number_of, planned, refused, sent, sound_fx_books, turned_away

LATER = NOW + timedelta(seconds=1)
# All that a refused claim could have changed.
STANDING = sa.text(
    "SELECT (SELECT to_jsonb(f) FROM app.fx f WHERE id = :id), (SELECT jsonb_agg(e) FROM app.effect e),"
    " (SELECT jsonb_agg(q) FROM app.fx_quota q), (SELECT count(*) FROM app.fx_quote),"
    " (SELECT count(*) FROM app.event), (SELECT sum(version) FROM ledger.balance),"
    " (SELECT count(*) FROM vault.disclosure)"
)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


async def standing(fx: FxBooks, fx_id: str) -> Any:
    async with fx.books.owner.connect() as connection:
        return tuple((await connection.execute(STANDING, {"id": fx_id})).one())


async def decide(fx: FxBooks, kind: DecisionKind, subject: str, **detail: Any) -> None:
    await decide_directly(fx.books.owner, kind, subject, NOW, detail=detail)


async def withdraw(fx: FxBooks, one: Resource) -> None:
    await decide(fx, DecisionKind.INSTRUCTION_WITHDRAW, one["id"])


async def suspend_user(fx: FxBooks, _: Resource) -> None:
    await decide(fx, DecisionKind.USER_SUSPEND, fx.books.user_id)


async def suspend_function(fx: FxBooks, _: Resource) -> None:
    await decide(fx, DecisionKind.USER_SUSPEND, fx.books.user_id, function="fx")


async def authority_holds(fx: FxBooks, _: Resource) -> None:
    await order(fx.books, "hold")


async def authority_freezes(fx: FxBooks, _: Resource) -> None:
    await order(fx.books, "freeze")


async def freeze_all(fx: FxBooks, _: Resource) -> None:
    await freeze(fx.books, None)


async def freeze_what_is_not_there(fx: FxBooks, _: Resource) -> None:
    await freeze(fx.books, 1, currency="USD")


async def switch_off(fx: FxBooks, _: Resource) -> None:
    await decide(fx, DecisionKind.PARTNER_DISABLE, DESK)


async def outdate(fx: FxBooks, _: Resource) -> None:
    await new_version(fx)


async def exceed(fx: FxBooks, _: Resource) -> None:
    other = await planned(fx, (await first_user(fx).funded(100))["id"])
    await fx.claim(other)
    await fx.book.settle(refused(other, learned=True))


async def contradict(fx: FxBooks, one: Resource) -> None:
    """The desk turned it away, and then says that it dealt."""
    await fx.claim(one)
    await fx.book.settle(turned_away(one))
    item = {"bank_code": DESK, "notice_id": "N1", "request_number": number_of(one), "announces": "succeeded"}
    from storage.fx import call

    await call(fx.books.app, "app.record_callback", item | {"now": NOW.isoformat()})
    await fx.plan(one["id"])


@pytest.mark.parametrize(
    ("act", "word", "changes"),
    [
        (withdraw, "withdrawn", {}),
        (suspend_user, "user_not_active", {}),
        (suspend_function, "function_suspended", {}),
        (authority_holds, "authority_hold", {}),
        (authority_freezes, "authority_hold", {}),
        (freeze_all, "funds_frozen", {}),
        (freeze_what_is_not_there, "funds_frozen", {}),
        (switch_off, "partner_not_available", {}),
        (outdate, "too_early", {}),
        (exceed, "quota_known_exceeded", {}),
        (contradict, "bank_contradicts_itself", {"attempt": 1}),
        (None, "too_early", {"now": NOW - timedelta(seconds=1)}),
        (None, "too_early", {"now": NOW + timedelta(minutes=5, seconds=1)}),
        (None, "too_early", {"now": NOW + timedelta(hours=11)}),
    ],
)
async def test_each_obstacle_refuses_the_send_with_its_word_and_changes_nothing(
    fx: FxBooks, act: Callable[[FxBooks, Resource], Awaitable[None]] | None, word: str, changes: dict[str, Any]
) -> None:
    one = await planned(fx, (await fx.funded(100_000))["id"])
    if act is not None:
        await act(fx, one)
    before = await standing(fx, one["id"])
    with pytest.raises(EffectRefusedError) as refusal:
        await fx.claim(one, **changes)
    assert (refusal.value.error, refusal.value.state) == (word, "waiting")
    assert await standing(fx, one["id"]) == before


@pytest.mark.parametrize(
    ("word", "quote"),
    [
        ("quote_missing", None),
        ("quote_missing", {"bank_code": OTHER_DESK}),
        ("quote_missing", {"currency": "HKD"}),
        ("quote_missing", {"side": "sells"}),
        ("quote_stale", {"published_at": NOW - timedelta(seconds=301)}),
        ("quote_stale", {"published_at": NOW + timedelta(seconds=61), "valid_until": NOW + timedelta(seconds=90)}),
        ("quote_stale", {"published_at": NOW - timedelta(seconds=60), "valid_until": NOW}),
    ],
)
async def test_without_a_fresh_quote_of_its_own_desk_currency_and_side_nothing_is_dealt(
    fx: FxBooks, word: str, quote: dict[str, Any] | None
) -> None:
    one = await planned(fx, (await fx.funded(100_000))["id"])
    before = await standing(fx, one["id"])
    with pytest.raises(EffectRefusedError, match=word):
        await fx.claim(one, quote=None if quote is None else fx.quote(one, **quote))
    assert await standing(fx, one["id"]) == before
    assert (await fx.claim(one)).rate_e8 == 712_340_000


@pytest.mark.parametrize(
    "differs",
    [
        {"rate": "7.2000"},
        {"published_at": NOW - timedelta(seconds=1)},
        {"valid_until": NOW + timedelta(seconds=61)},
        {"publisher": "Somebody else"},
    ],
)
async def test_a_quote_that_comes_again_with_something_else_is_no_quote(fx: FxBooks, differs: dict[str, Any]) -> None:
    first, second = [await planned(fx, (await fx.funded(100_000))["id"]) for _ in range(2)]
    await fx.claim(first, quote=fx.quote(first, quote_id="QUOTE0001"))
    before = await standing(fx, second["id"])
    with pytest.raises(EffectRefusedError, match="quote_stale"):
        await fx.claim(second, quote=fx.quote(second, quote_id="QUOTE0001", **differs))
    assert await standing(fx, second["id"]) == before
    # The same is good for more than one.
    assert not (await fx.claim(second, quote=fx.quote(second, quote_id="QUOTE0001"))).already


async def test_what_a_merchant_is_suspended_after_is_dealt_all_the_same(fx: FxBooks) -> None:
    """A0.3: nothing new is accepted, and what was is finished."""
    one = await planned(fx, (await fx.funded(100_000))["id"])
    await fx.receive(100_000)
    await decide(fx, DecisionKind.MERCHANT_SUSPEND, fx.books.merchant_id, function="fx")
    with pytest.raises(DomainError, match="FUNCTION_SUSPENDED"):
        await fx.accept(100_000)
    assert (await fx.convert(one))["state"] == "settled"
    await decide(fx, DecisionKind.MERCHANT_SUSPEND, fx.books.merchant_id)
    with pytest.raises(DomainError, match="MERCHANT_SUSPENDED"):
        await fx.accept(100_000)


@pytest.mark.parametrize(("currency", "lacking"), [("USD", False), ("CNY", True)])
async def test_what_a_freeze_of_an_amount_lacks_stops_what_would_take_of_that_currency(
    fx: FxBooks, currency: str, lacking: bool
) -> None:
    """A reversal takes CNY and brings foreign currency; a conversion the other way round."""
    one = await fx.convert(await fx.funded(100_000))
    reversal = await planned(fx, await fx.reverse(one, 50_000) or "")
    await freeze(fx.books, 10_000_000, currency=currency)
    if not lacking:
        await fx.convert(reversal)
        assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (50_000, 50_000)
        return
    with pytest.raises(EffectRefusedError, match="funds_frozen"):
        await fx.claim(reversal)
    await release(fx.books)
    await fx.convert(reversal)


async def test_what_comes_again_is_answered_as_it_was_and_nobody_sends_twice(fx: FxBooks) -> None:
    one = await planned(fx, (await fx.funded(100_000))["id"])
    quote = fx.quote(one)
    answers = await asyncio.gather(*(fx.claim(one, quote=quote) for _ in range(8)))
    assert sorted(answer.already for answer in answers) == [False, *[True] * 7]
    assert {(answer.rate_e8, answer.state, answer.bank_code) for answer in answers} == {(712_340_000, "sending", DESK)}
    assert await fx.books.value("SELECT count(*) FROM app.effect") == 1
    # After a kill between the claim and the answer, too, and whatever stands in the way by then.
    await freeze(fx.books, None)
    assert (await fx.claim(one, LATER, quote=None)).already


async def test_a_second_number_goes_out_only_after_the_desks_definite_no_to_the_first(fx: FxBooks) -> None:
    one = await sent(fx)
    with pytest.raises(EffectRefusedError, match="state_conflict"):
        await fx.claim(one, attempt=1)
    await fx.book.settle(turned_away(one))
    with pytest.raises(EffectRefusedError, match="too_early"):
        await fx.claim(one, attempt=1)
    await fx.plan(one["id"])
    assert (await fx.claim(one)).already
    assert not (await fx.claim(one, attempt=1)).already
    assert await fx.books.value("SELECT count(*) FROM app.effect") == 2


async def test_a_deal_is_sent_once_however_well_the_bank_remembers_its_number(fx: FxBooks) -> None:
    """Its quote is over by then: a desk that took it again would deal at a rate of another time (A5.1b)."""
    one = await sent(fx)
    for since in (NOW - timedelta(hours=1), NOW, LATER):
        with pytest.raises(EffectRefusedError) as refusal:
            await fx.claim(one, LATER, resend=True, remembered_since=since)
        assert (refusal.value.error, refusal.value.sent_before) == ("resend_window_over", True)
    again = await fx.claim(one, LATER, quote=None)
    assert (again.already, again.rate_e8, again.amount_minor) == (True, 712_340_000, 100_000)
    assert (await fx.view(one["id"]))["state"] == "sending"


async def test_a_withdrawal_and_the_send_come_one_before_the_other(fx: FxBooks) -> None:
    for _ in range(12):
        one = await planned(fx, (await fx.funded(1_000))["id"])
        answers = await asyncio.gather(fx.claim(one), withdraw(fx, one), return_exceptions=True)
        state = (await fx.view(one["id"]))["state"]
        refusals = [str(answer) for answer in answers if isinstance(answer, Exception)]
        assert (state, len(refusals)) in (("sending", 1), ("waiting", 1)), answers
        assert isinstance(answers[0], EffectRefusedError) == (state == "waiting")


async def test_what_is_claimed_opens_the_persons_name_and_document_for_the_desk_and_none_of_an_enterprise(
    fx: FxBooks,
) -> None:
    one = await planned(fx, (await fx.funded(1_000))["id"])
    assert len((await fx.claim(one)).sealed) == 2
    firm = await add_fx_user(fx, fx.books.merchant_id, "", enterprise=True)
    other = await planned(fx, (await firm.funded(1_000))["id"])
    assert (await fx.claim(other)).sealed == ()


async def test_a_reversal_names_the_deal_that_it_takes_back(fx: FxBooks) -> None:
    one = await fx.convert(await fx.funded(100_000))
    reversal = await planned(fx, await fx.reverse(one, 100_000) or "")
    claimed = await fx.claim(reversal)
    assert (claimed.kind, claimed.reverses) == ("reversal", number_of(one))
    with pytest.raises(EffectRefusedError, match="not_found"):
        await fx.claim(reversal | {"kind": "conversion"}, attempt=1)
    assert isinstance(fx.dealt(reversal), FxEntry)
