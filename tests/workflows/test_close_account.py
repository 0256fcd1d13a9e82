"""Closing an account, branch by branch, over skipped time (P3.4, P4.2, P4.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import DomainError
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import BANK
from tests.storage.deciders import enrol_deciders
from tests.storage.freezing import freeze, order
from tests.workflows.closing_house import ClosingHouse, open_closing_house
from tests.workflows.scripted_bank import PROCESSING, SUCCEEDED, UNKNOWN

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        yield opened


async def refusal(doing: Any) -> str:
    with pytest.raises(DomainError) as refused:
        await doing
    return refused.value.code.value.lower()


async def test_an_account_with_nothing_in_the_way_closes_and_is_forgotten(at: ClosingHouse) -> None:
    """P4.5a-e: the agreement at the bank ends first, then everything else, and the key of the user is gone."""
    await at.disclosed()
    closure = await at.begun()
    await at.until(closure, "completed")
    assert len(at.bank.asked("unsign")) == 1
    user = at.books.user_id
    row = "SELECT state || coalesce(merchant_user_ref, '-') || coalesce(person_index, '-') FROM app.end_user"
    assert await at.books.value(row) == "closed--"
    assert (await at.readable(), await at.has_key()) == (0, False)
    assert await at.kept() == [("identity", (await at.house.now()).year, 1)]
    assert await at.entries() == [("person", user)]
    answer = await at.answer(closure)
    assert (answer["outcome"], answer["destroyed"]["by_key"], answer["destroyed"]["items"]) == ("completed", True, 5)
    assert {told["recipient"]: told["told_at"] is not None for told in answer["told"]} == {
        BANK: True, at.books.merchant_id: True,
    }  # fmt: skip
    assert await at.house.events(closure) == [
        "closure.accepted", "closure.unsigning", "closure.ended", "closure.completed",
    ]  # fmt: skip
    assert await refusal(at.house.accept()) == "user_not_active"
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]
    assert (await at.end(closure)).state == "completed"
    assert await at.closures.cases(closure) == []


async def test_everything_under_way_ends_first_and_the_account_then_closes_by_itself(at: ClosingHouse) -> None:
    """P4.5b, A2.1, A3.3: a payment, a binding, a refund, a payout, a dispute and the merchant's records, each seen."""
    house = at.house
    paid = await house.accept_waived()
    await house.collect(paid)
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", PROCESSING)
    under_way = await house.accept_waived()
    await house.processes.collect_payment(house.order(under_way))
    await house.until("SELECT state FROM app.payment WHERE id = :id", "sending", id=under_way["id"])
    applied = await house.accept_binding()
    await house.begin_to_bind(applied)
    dispute = await at.dispute(paid["id"])
    closure = await at.begun()
    await at.seen(closure, "dispute", "instruction", "instruction", "records")
    before = await at.closures.counted()
    assert await refusal(house.accept_waived()) == "account_closing"
    assert await refusal(house.accept_binding("card-3")) == "account_closing"
    assert await at.closures.counted() == before
    house.bank.script("query", SUCCEEDED)
    await at.sleep(2 * MINUTE)
    await house.until("SELECT state FROM app.payment WHERE id = :id", "succeeded", id=under_way["id"])
    await at.sleep(29 * MINUTE)
    await house.until("SELECT state FROM app.binding WHERE id = :id", "expired", id=applied["id"])
    await at.seen(closure, "dispute", "records")
    for operation in ("refund", "pay_out"):
        house.bank.script(operation, UNKNOWN)
    house.bank.script("query", PROCESSING)
    await house.accept_refund(paid["id"], 4_000)
    await at.seen(closure, "dispute", "instruction", "records")
    await house.accept_payout(5_000)
    await at.seen(closure, "dispute", "instruction", "instruction", "balance", "records")
    house.bank.script("query", SUCCEEDED)
    await at.sleep(2 * MINUTE)
    await at.seen(closure, "dispute", "records")
    assert (await at.closures.hand_over(closure, now=await house.now()))["ok"]
    await at.seen(closure, "dispute")
    await at.resolve(dispute)
    await at.until(closure, "completed")
    year = (await house.now()).year
    assert [(kind, count) for kind, _, count in await at.kept()] == [("identity", 1), ("transaction", 4)]
    assert {year} <= {found for _, found, _ in await at.kept()}
    assert (await at.answer(closure))["destroyed"]["by_key"]


async def test_frozen_funds_and_orders_are_waited_for_until_their_time_is_over(
    at: ClosingHouse, database: Database
) -> None:
    """A8.4: nobody lifts anything; the clock does. An authority's order goes before everything."""
    house, now = at.house, await at.house.now()
    await at.books.fund(5_200)
    closure = await at.begun()
    await at.seen(closure, "balance")
    await freeze(at.books, 5_200, now=now, ends_at=(now + DAY).isoformat(), review_at=None)
    await order(at.books, "freeze", now=now, expires_at=(now + 2 * DAY).isoformat())
    await at.seen(closure, "freeze", "authority_order", "balance")
    await at.sleep(DAY + HOUR)
    await at.seen(closure, "authority_order", "balance")
    await at.sleep(DAY)
    await at.seen(closure, "balance")
    # The merchant's instruction empties the account (A4.4c), which is all that is accepted.
    payee = await at.books.known_payee()
    payout = await at.books.instructions.accept_payout(at.books.payout(payee, 5_000, now=await house.now()))
    await house.pay_out(payout)
    await at.seen(closure, "records")
    deciders = await enrol_deciders(database, database.ops_engine)
    asked = await deciders.ask("closure.waive_records", closure, ground="records_unavailable", now=await house.now())
    assert await at.obstacles(closure) == ["records"]
    await deciders.approve(asked["id"], now=await house.now())
    await at.until(closure, "completed")
    assert await at.books.balance(f"user:{at.books.user_id}:CNY") == 0


async def test_what_comes_while_the_banks_are_told_sends_it_back_and_it_goes_on_when_that_is_over(
    at: ClosingHouse,
) -> None:
    """P4.5b: blocked, unblocked, blocked again; the agreement is unsigned once."""
    at.bank.script("unsign", UNKNOWN)
    at.bank.script("query", PROCESSING)
    first = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.resolve(first)
    await at.until(closure, "unsigning")
    second = await at.dispute()
    await at.until(closure, "closing")
    await at.seen(closure, "dispute")
    at.bank.script("query", SUCCEEDED)
    await at.sleep(HOUR)
    await at.house.until("SELECT state FROM app.binding", "unbound")
    assert await at.closures.state(closure) == "closing"
    await at.resolve(second)
    await at.until(closure, "completed")
    assert len(at.bank.asked("unsign")) == 1
    assert await at.house.events(closure) == [
        "closure.accepted", "closure.unsigning", "closure.closing", "closure.unsigning", "closure.ended",
        "closure.completed",
    ]  # fmt: skip


async def test_a_refused_request_ends_and_service_goes_on_as_before(at: ClosingHouse) -> None:
    """P4.4d: in the state in which its process waits; another request is possible."""
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.refuse(closure)
    await at.sweep()
    assert (await at.end(closure)).state == "refused"
    assert (await at.house.collect(await at.house.accept_waived())).state == "succeeded"
    assert (await at.readable(), await at.has_key(), await at.kept()) == (5, True, [])
    assert await at.books.value("SELECT state FROM app.binding") == "open"
    await at.resolve(dispute)
    assert await at.ask("quick_pay") != closure


async def test_quick_pay_alone_ends_cards_and_leaves_account_and_balance(at: ClosingHouse) -> None:
    """P4.5a: card data are erased item by item, what else there is stays, and a card can be bound again."""
    house, user = at.house, at.books.user_id
    await house.collect(await house.accept_waived())
    await at.disclosed()
    await at.books.fund(700)
    payee = await at.books.known_payee()
    dispute = await at.dispute()
    closure = await at.begun("quick_pay")
    await at.seen(closure, "dispute")
    # Long after the clock of this machine: what was destroyed is counted all the same.
    await at.sleep(3 * DAY)
    await at.resolve(dispute)
    await at.until(closure, "completed")
    fields = "SELECT array(SELECT field FROM vault.item WHERE user_id = :u AND ciphertext IS NOT NULL ORDER BY 1)"
    assert await at.books.value(fields, u=user) == ["account_number", "id_number", "name", "name"]
    assert await at.has_key()
    row = "SELECT state || coalesce(card_index, '-') || coalesce(card_last4, '-') FROM app.binding"
    assert await at.books.value(row) == "unbound--"
    assert await at.books.value("SELECT state FROM app.end_user") == "active"
    assert await at.books.balance(f"user:{user}:CNY") == 700
    answer = await at.answer(closure)
    assert answer["destroyed"] == answer["destroyed"] | {
        "items": 3, "by_key": False, "fields": ["agreement_number", "card_number", "mobile"],
    }  # fmt: skip
    assert (await at.kept())[1][0] == "transaction"
    assert await at.entries() == [("items", user)]
    again = await house.accept_binding("card-1")
    await house.begin_to_bind(again)
    await house.until("SELECT state FROM app.binding WHERE id = :id", "awaiting_code", id=again["id"])
    await at.books.instructions.accept_payout(at.books.payout(payee, 500, now=await house.now()))


async def test_two_requests_of_one_user_and_a_repeated_start_are_one_process(at: ClosingHouse) -> None:
    """P4.5a: whatever the channel, and however often the process is started."""
    closure = await at.ask()
    await at.begin(closure)
    await at.begin(closure)
    await at.sweep()
    await at.until(closure, "completed")
    await at.begin(closure)
    assert await at.house.events(closure) == [
        "closure.accepted", "closure.unsigning", "closure.ended", "closure.completed",
    ]  # fmt: skip
    assert len(await at.entries()) == 1


async def test_a_suspended_user_with_money_waits_for_people(at: ClosingHouse) -> None:
    await at.books.fund(200)
    now = await at.house.now()
    await decide_directly(at.books.owner, DecisionKind.USER_SUSPEND, at.books.user_id, now)
    closure = await at.begun()
    await at.seen(closure, "balance", "suspension")
