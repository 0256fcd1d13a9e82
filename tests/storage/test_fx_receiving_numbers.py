"""Numbers that banks give: one for several currencies of a user, and never one of another user (A2.3a, A5.1a)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.case_texts import explain_case
from domain.fx import AcceptReceivingAccount, ClaimFxEffect, FxEntry
from domain.identifiers import BankStep, request_number
from domain.personal_data import PersonalField
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import HOLDER, NUMBER, OVERSEAS, FxBooks
from tests.storage.fx_people import FxUser, add_fx_user, add_merchant, first_user
from tests.storage.fx_steps import sound_fx_books

OTHER_HOLDER = "TEST YI"
SUSPENSE = "SELECT reason FROM app.inbound WHERE id = :id"
KEPT = (
    "SELECT json_build_array(state, reason, account_index, account_last4, wait_reason,"
    " element_tokens ? 'account_number') FROM app.receiving_account WHERE id = :id"
)


@pytest.fixture
async def fx(database: Database) -> AsyncIterator[FxBooks]:
    """The first user has a number for USD."""
    async with sound_fx_books(database) as opened:
        yield opened


async def another(fx: FxBooks, person: str = "person-9") -> FxUser:
    return await add_fx_user(fx, await add_merchant(fx), person)


async def asked_for(fx: FxBooks, user: FxUser, currency: str, holder: str = HOLDER) -> str:
    """An account that a bank was asked for."""
    [name] = await fx.books.vault.seal(user.user_id, {PersonalField.NAME: holder})
    account = await fx.acceptance.accept_receiving_account(
        AcceptReceivingAccount.model_validate(
            {
                "request": user.context(), "now": NOW, "id": fx.books.new_id("rca"), "user_id": user.user_id,
                "bank_code": OVERSEAS, "currency": currency, "holder_index": fx.vault.name_index(holder),
                "sealed": (name.model_dump(mode="json"),), "element_tokens": {"name": name.token},
                "blocked_regions": ("KP",), "cross_border": False, "data_export_version": None,
            }
        )
    )  # fmt: skip
    number = request_number(BankStep.RECEIVING_ACCOUNT, account["id"])
    await fx.book.claim(
        ClaimFxEffect(now=NOW, kind="receiving_account", id=account["id"], step="RA", request_number=number)
    )
    return str(account["id"])


async def given(fx: FxBooks, user: FxUser, account_id: str, number: str = NUMBER) -> str | None:
    """The bank gives it a number; answers the state that this comes to."""
    sealed = await fx.vault.seal_number(user.user_id, number)
    return await fx.book.settle(
        FxEntry(
            key=f"{account_id}:opened", kind="receiving_account", id=account_id, expect=("opening",), state="open",
            at=NOW, action="open_receiving_account", outcome="done", bank_reference="BANK1",
            effect_number=request_number(BankStep.RECEIVING_ACCOUNT, account_id), effect_outcome="succeeded",
            event_type="receiving_account.opened", account_index=sealed.blind_index, account_last4=sealed.last4,
            account_token=sealed.token, sealed=(sealed.item,),
        )
    )  # fmt: skip


async def opened(fx: FxBooks, user: FxUser, currency: str, holder: str = HOLDER, number: str = NUMBER) -> str | None:
    return await given(fx, user, await asked_for(fx, user, currency, holder), number)


async def assert_credited(fx: FxBooks, user: FxUser, currency: str, holder: str) -> None:
    account = f"user:{user.user_id}:{currency}"
    before = (await fx.balances()).get(account, (0, 0))[0]
    assert (await fx.receive(7_000, currency, receiver_name=holder)).state == "credited"
    assert (await fx.balances())[account][0] == before + 7_000


async def assert_in_suspense(fx: FxBooks, why: str, currency: str, holder: str = HOLDER) -> None:
    received = await fx.receive(7_000, currency, receiver_name=holder)
    assert (received.state, await fx.books.value(SUSPENSE, id=received.inbound_id)) == ("suspense", why)


async def test_a_bank_may_have_one_number_for_all_currencies_of_a_user(fx: FxBooks) -> None:
    user = first_user(fx)
    assert [await opened(fx, user, currency) for currency in ("HKD", "EUR")] == ["open", "open"]
    for currency in ("USD", "HKD", "EUR"):
        await assert_credited(fx, user, currency, HOLDER)
    await assert_in_suspense(fx, "currency_differs", "JPY")
    await assert_in_suspense(fx, "receiver_name_differs", "HKD", OTHER_HOLDER)
    assert await fx.books.value("SELECT count(*) FROM app.case_record WHERE kind = 'receiving_number_in_use'") == 0


@pytest.mark.parametrize("currency", ["USD", "HKD"])
async def test_a_number_of_another_user_opens_nothing_and_people_ask_the_bank(fx: FxBooks, currency: str) -> None:
    other = await another(fx)
    account = await asked_for(fx, other, currency, OTHER_HOLDER)
    sealed = await fx.books.value("SELECT count(*) FROM vault.item")
    # Also when it is learned again.
    assert [await given(fx, other, account) for _ in range(2)] == ["declined", "declined"]
    assert await fx.books.value(KEPT, id=account) == ["declined", "number_in_use", None, None, None, False]
    assert await fx.books.value("SELECT count(*) FROM vault.item") == sealed
    effect = "SELECT json_build_array(outcome, reason, bank_reference) FROM app.effect WHERE subject_id = :id"
    assert await fx.books.value(effect, id=account) == ["succeeded", "number_in_use", "BANK1"]
    cases = "SELECT json_agg(json_build_array(kind, subject_id, merchant_id, state)) FROM app.case_record"
    assert explain_case("receiving_number_in_use") is not None
    assert await fx.books.value(cases) == [["receiving_number_in_use", account, other.merchant_id, "open"]]
    events = "SELECT array_agg(type ORDER BY sequence) FROM app.event WHERE object_id = :id"
    told = ["receiving_account.accepted", "receiving_account.declined"]
    assert await fx.books.value(events, id=account) == told
    # It may be asked for anew, and end otherwise.
    assert await opened(fx, other, currency, OTHER_HOLDER, "880000000002") == "open"


async def test_what_arrives_under_a_number_that_two_claim_is_the_firsts_by_name_or_nobodys(fx: FxBooks) -> None:
    other = await another(fx)
    for currency in ("USD", "HKD"):
        assert await opened(fx, other, currency, OTHER_HOLDER) == "declined"
    await assert_credited(fx, first_user(fx), "USD", HOLDER)
    await assert_in_suspense(fx, "receiver_name_differs", "USD", OTHER_HOLDER)
    for holder in (HOLDER, OTHER_HOLDER):
        await assert_in_suspense(fx, "currency_differs", "HKD", holder)
    assert f"user:{other.user_id}:USD" not in await fx.balances()


async def test_two_users_of_one_name_never_share_a_number(fx: FxBooks) -> None:
    """The same person at two merchants: by number and name alone nobody could tell whose it is."""
    other = await another(fx, "person-1")
    assert await opened(fx, other, "HKD") == "declined"
    await assert_in_suspense(fx, "currency_differs", "HKD")


@pytest.mark.parametrize("currencies", [("USD", "USD"), ("USD", "HKD")])
async def test_of_two_who_are_given_one_number_at_once_one_has_it(fx: FxBooks, currencies: tuple[str, str]) -> None:
    users = [await another(fx, f"person-{number}") for number in (8, 9)]
    for number in range(880000000100, 880000000105):
        asked = [await asked_for(fx, *pair) for pair in zip(users, currencies, strict=True)]
        states = await asyncio.gather(
            *(given(fx, user, account, str(number)) for user, account in zip(users, asked, strict=True))
        )
        assert sorted(state or "" for state in states) == ["declined", "open"]
        await fx.books.run("UPDATE app.receiving_account SET state = 'closed' WHERE state = 'open'")


async def test_a_number_that_was_closed_may_be_given_to_another(fx: FxBooks) -> None:
    await fx.books.run("UPDATE app.receiving_account SET state = 'closed'")
    other = await another(fx)
    assert await opened(fx, other, "HKD", OTHER_HOLDER) == "open"
    await assert_in_suspense(fx, "account_closed", "USD")
    assert await opened(fx, other, "USD", OTHER_HOLDER) == "open"
    for currency in ("USD", "HKD"):
        await assert_credited(fx, other, currency, OTHER_HOLDER)
        await assert_in_suspense(fx, "receiver_name_differs", currency, HOLDER)
    # And to the first one again, once the other has closed it.
    await fx.books.run("UPDATE app.receiving_account SET state = 'closed'")
    assert await opened(fx, first_user(fx), "USD") == "open"
    await assert_credited(fx, first_user(fx), "USD", HOLDER)
