"""Unknown is not failed: what was sent ends by what its bank has definitely said of it, once, and whoever says it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import DomainError, EffectRefusedError, SettlementRefusedError
from domain.fx import AcceptReceivingAccount, ClaimFxEffect, FxEntry
from domain.identifiers import BankStep, request_number
from domain.personal_data import PersonalField
from domain.states import FX_STEPS, FxState
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.freezing import freeze, release
from tests.storage.fx_books import HOLDER, OVERSEAS, FxBooks
from tests.storage.fx_steps import (
    Resource,
    claim_return,
    converted,
    delivered,
    entry,
    number_of,
    refused,
    return_ended,
    sent,
    sound_fx_books,
    to_be_returned,
    turned_away,
    unknown,
)

ENDS = ("waiting", "converted", "settled", "refused")
EXPORT = {"version": "dx-1", "content_hash": "b" * 64}


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    async with sound_fx_books(database) as opened:
        yield opened


def ended(fx: FxBooks, one: Resource, state: str, **changes: Any) -> FxEntry:
    """The entry of the desk's word that leads there."""
    made = {
        "waiting": lambda: turned_away(one), "refused": lambda: refused(one), "settled": lambda: fx.dealt(one),
        "converted": lambda: converted(fx, one),
    }[state]()  # fmt: skip
    return made.model_copy(update=changes)


@pytest.mark.parametrize(("was", "state"), [*itertools.product(("sending", "unknown"), ENDS)])
async def test_nothing_ends_without_the_desks_word_on_the_number_it_was_sent_under(
    fx: FxBooks, was: str, state: str
) -> None:
    one, other = await sent(fx), await sent(fx)
    if was == "unknown":
        await fx.book.settle(unknown(one))
    before = await fx.balances()
    opposite = "declined" if state in ("converted", "settled") else "succeeded"
    for words in (
        {"effect_number": None, "effect_outcome": None},
        {"effect_outcome": None},
        {"effect_number": None},
        {"effect_number": number_of(other)},
        {"effect_number": number_of(one, 1)},
        {"effect_outcome": opposite},
    ):
        with pytest.raises(SettlementRefusedError) as refusal:
            await fx.book.settle(ended(fx, one, state, **words))
        assert (refusal.value.error, refusal.value.state) == ("bank_word_missing", was)
    assert await fx.balances() == before
    assert await fx.book.settle(ended(fx, one, state)) == state


@pytest.mark.parametrize("state", [state.value for state in FxState])
async def test_no_other_step_is_taken_than_the_legal_ones(fx: FxBooks, state: str) -> None:
    one = await sent(fx)
    if state != "sending":
        await fx.books.run("ALTER TABLE app.fx DISABLE TRIGGER legal_step")
        await fx.books.run(
            "UPDATE app.fx SET state = :s, rate_e8 = 712340000, cny_minor = 712340, dealt_at = :at, delivered_at = :at",
            s=state, at=NOW,
        )  # fmt: skip
        await fx.books.run("ALTER TABLE app.fx ENABLE TRIGGER legal_step")
    for aim in FxState:
        if aim == state or aim in FX_STEPS[FxState(state)]:
            continue
        word = ended(fx, one, aim, expect=(state,)) if aim in ENDS else entry(one, aim, aim, expect=(state,))
        with pytest.raises(SettlementRefusedError, match="state_conflict"):
            await fx.book.settle(word)
    assert (await fx.view(one["id"]))["state"] == state


async def test_the_desks_word_is_booked_once_however_often_and_by_whomever_it_is_brought(fx: FxBooks) -> None:
    one = await sent(fx)
    words = [fx.dealt(one), *(fx.dealt(one, key=f"{one['id']}:again:{n}") for n in range(3)), refused(one)]
    answers = await asyncio.gather(*map(fx.book.settle, words * 2), return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, str)]
    assert len(set(won)) == 1
    assert {type(answer) for answer in answers} <= {str, SettlementRefusedError}
    assert await fx.book.settle(words[-1] if won[0] == "refused" else next(_settled(words, answers))) == won[0]
    paid = 712_340 if won[0] == "settled" else 0
    assert (await fx.balances()).get(f"user:{fx.books.user_id}:CNY", (0, 0)) == (paid, 0)
    told = "SELECT count(*) FROM app.event WHERE object_id = :id AND type = 'fx.' || :s"
    assert await fx.books.value(told, id=one["id"], s=won[0]) == 1
    assert await fx.quota() == (0, 100_000 if paid else 0)


def _settled(words: list[FxEntry], answers: list[Any]) -> Any:
    return (word for word, answer in zip(words * 2, answers, strict=True) if isinstance(answer, str))


async def test_after_a_kill_between_claim_and_settlement_the_next_one_asks_and_books_what_it_hears(fx: FxBooks) -> None:
    one = await sent(fx)
    again = await fx.claim(one, NOW + timedelta(minutes=10), quote=None)
    assert (again.already, again.state) == (True, "sending")
    late = NOW + timedelta(days=2)
    await fx.book.settle(unknown(one))
    await fx.book.settle(entry(one, "parked", None, expect=("unknown",), wait_reason="operator"))
    assert await fx.book.settle(fx.dealt(one, NOW, at=late)) == "settled"
    view = await fx.view(one["id"])
    assert (view["dealt_at"][:10], view["waiting_for"]) == ("2026-11-23", None)


async def test_a_word_that_was_given_before_is_not_taken_back_by_its_number(fx: FxBooks) -> None:
    """The desk turned it away under one number; that it dealt under that one is for people, not for the books."""
    one = await sent(fx)
    await fx.book.settle(turned_away(one))
    await fx.plan(one["id"])
    await fx.claim(one, attempt=1)
    with pytest.raises(SettlementRefusedError, match="bank_word_missing"):
        await fx.book.settle(fx.dealt(one, attempt=0))
    assert await fx.book.settle(fx.dealt(one, attempt=1)) == "settled"


async def test_what_was_dealt_is_in_the_position_of_the_desk_until_it_is_delivered(fx: FxBooks) -> None:
    one = await sent(fx)
    await fx.book.settle(converted(fx, one))
    user, dealt = fx.books.user_id, await fx.balances()
    assert (dealt[f"user:{user}:USD"], dealt["fx_position:HBRB:USD"]) == ((0, 0), (100_000, 100_000))
    assert dealt["reserve:OSPB:USD"] == (100_000, 100_000)
    assert f"user:{user}:CNY" not in dealt
    with pytest.raises(SettlementRefusedError, match="state_conflict"):
        await fx.book.settle(refused(one, expect=("converted",)))
    with pytest.raises(SettlementRefusedError, match="try_again"):
        await fx.reverse(one, 1)
    assert await fx.book.settle(delivered(one)) == "settled"
    assert (await fx.balances())[f"user:{user}:CNY"] == (712_340, 0)
    # Late, and by another process.
    assert await fx.book.settle(delivered(one)) == "settled"
    with pytest.raises(SettlementRefusedError, match="state_conflict"):
        await fx.book.settle(delivered(one, key="other"))


# Returns


async def test_a_return_ends_with_the_banks_word_and_the_conversion_with_it(fx: FxBooks) -> None:
    one, return_id = await to_be_returned(fx)
    for state in ("succeeded", "failed"):
        with pytest.raises(SettlementRefusedError, match="state_conflict"):
            await fx.book.settle(return_ended(return_id, state))
    claimed = await claim_return(fx, return_id)
    assert (claimed.already, claimed.amount_minor, claimed.currency) == (False, 100_000, "USD")
    assert (await claim_return(fx, return_id)).already
    for state in ("succeeded", "failed"):
        with pytest.raises(SettlementRefusedError, match="bank_word_missing"):
            await fx.book.settle(return_ended(return_id, state, effect_number=None))
    assert await fx.book.settle(return_ended(return_id, "succeeded")) == "succeeded"
    assert (await fx.view(one["id"]))["state"] == "returned"
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (0, 0)
    assert (await fx.balances())["reserve:OSPB:USD"] == (0, 0)


async def test_a_return_that_the_bank_refuses_leaves_the_money_held_and_may_be_asked_for_again(fx: FxBooks) -> None:
    one, return_id = await to_be_returned(fx)
    await claim_return(fx, return_id)
    await fx.book.settle(return_ended(return_id, "failed"))
    assert (await fx.view(one["id"]))["state"] == "refused"
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (100_000, 100_000)
    assert (await fx.dispose(one["id"], "return"))["return_id"] != return_id


async def test_frozen_money_does_not_go_back_to_where_it_came_from(fx: FxBooks) -> None:
    one, return_id = await to_be_returned(fx)
    for frozen in ({}, {"amount": 1, "currency": "USD"}):
        await freeze(fx.books, frozen.pop("amount", None), **frozen)  # type: ignore[arg-type]
        with pytest.raises(EffectRefusedError, match="funds_frozen"):
            await claim_return(fx, return_id)
        await release(fx.books)
    await claim_return(fx, return_id)
    await fx.book.settle(return_ended(return_id, "failed"))
    await freeze(fx.books, 1, currency="USD")
    with pytest.raises(DomainError, match="FUNDS_FROZEN"):
        await fx.dispose(one["id"], "return")
    # Free on the balance is where a freeze finds it.
    await fx.dispose(one["id"], "release")
    assert (await fx.balances())[f"user:{fx.books.user_id}:USD"] == (100_000, 1)


# Receiving accounts


async def opening(fx: FxBooks, **changes: Any) -> AcceptReceivingAccount:
    await fx.books.run("DELETE FROM app.receiving_account")
    [name] = await fx.books.vault.seal(fx.books.user_id, {PersonalField.NAME: HOLDER})
    values = {
        "request": fx.books.context(), "now": NOW, "id": fx.books.new_id("rca"), "user_id": fx.books.user_id,
        "bank_code": OVERSEAS, "currency": "USD", "holder_index": fx.vault.name_index(HOLDER),
        "sealed": (name.model_dump(mode="json"),), "element_tokens": {"name": name.token},
        "blocked_regions": ("KP",), "cross_border": True, "data_export_version": EXPORT["version"],
    }  # fmt: skip
    return AcceptReceivingAccount.model_validate(values | changes)


async def consent(fx: FxBooks) -> None:
    await fx.books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)"
        " VALUES (:u, :m, 'data_export', :v, :h, 'app', :at)",
        u=fx.books.user_id, m=fx.books.merchant_id, v=EXPORT["version"], h=EXPORT["content_hash"], at=NOW,
    )  # fmt: skip


def account_claim(account_id: str, **changes: Any) -> ClaimFxEffect:
    values = {
        "now": NOW, "kind": "receiving_account", "id": account_id, "step": "RA",
        "request_number": request_number(BankStep.RECEIVING_ACCOUNT, account_id),
    }  # fmt: skip
    return ClaimFxEffect.model_validate(values | changes)


def account_word(account_id: str, state: str, **changes: Any) -> FxEntry:
    values = {
        "key": f"{account_id}:{state}", "kind": "receiving_account", "id": account_id, "expect": ("opening",),
        "state": state, "at": NOW, "action": "open_receiving_account", "outcome": "done",
        "effect_number": request_number(BankStep.RECEIVING_ACCOUNT, account_id),
        "effect_outcome": "succeeded" if state == "open" else "declined",
    }  # fmt: skip
    return FxEntry.model_validate(values | changes)


async def test_a_name_goes_beyond_the_border_under_a_contract_in_force_and_the_users_consent_alone(fx: FxBooks) -> None:
    command = await opening(fx)
    with pytest.raises(DomainError, match="DATA_EXPORT_NOT_ALLOWED"):
        await fx.acceptance.accept_receiving_account(command)
    await consent(fx)
    with pytest.raises(DomainError, match="DATA_EXPORT_NOT_ALLOWED"):
        await fx.acceptance.accept_receiving_account(await opening(fx, data_export_version="dx-2"))
    account = await fx.acceptance.accept_receiving_account(await opening(fx))
    # Asked once more where the name leaves.
    await fx.books.run("UPDATE app.export_contract SET valid_until = '2026-11-23'")
    with pytest.raises(EffectRefusedError, match="data_export_not_allowed"):
        await fx.book.claim(account_claim(account["id"]))
    await fx.books.run("UPDATE app.export_contract SET valid_until = '2026-11-24'")
    assert len((await fx.book.claim(account_claim(account["id"]))).sealed) == 1
    assert (await fx.book.claim(account_claim(account["id"]))).already


async def test_a_receiving_account_that_was_asked_for_is_not_declined_without_the_banks_word(fx: FxBooks) -> None:
    await consent(fx)
    account = await fx.acceptance.accept_receiving_account(await opening(fx))
    await fx.book.claim(account_claim(account["id"]))
    for state, wrong in itertools.product(("open", "declined"), ({"effect_outcome": None}, {"effect_number": None})):
        with pytest.raises(SettlementRefusedError, match="bank_word_missing"):
            await fx.book.settle(account_word(account["id"], state, account_index="a", **wrong))
    assert await fx.book.settle(account_word(account["id"], "declined")) == "declined"
    # One that was never asked for may be given up.
    other = await fx.acceptance.accept_receiving_account(await opening(fx))
    unsaid = {"effect_outcome": None, "effect_number": None}
    assert await fx.book.settle(account_word(other["id"], "declined", **unsaid)) == "declined"


async def test_people_may_say_that_it_was_not_dealt_and_never_that_it_was(fx: FxBooks) -> None:
    one = await sent(fx)
    await fx.book.settle(unknown(one))
    await fx.book.settle(entry(one, "parked", None, expect=("unknown",), wait_reason="operator"))

    async def conclude(outcome: str) -> None:
        detail = {"outcome": outcome, "request_number": number_of(one)}
        await decide_directly(fx.books.owner, DecisionKind.INSTRUCTION_CONCLUDE, one["id"], NOW, detail=detail)

    with pytest.raises(ValueError, match="cannot take place"):
        await conclude("succeeded")
    await conclude("failed")
    with pytest.raises(EffectRefusedError, match="resend_window_over"):
        await fx.claim(one, resend=True, remembered_since=NOW - timedelta(hours=1))
