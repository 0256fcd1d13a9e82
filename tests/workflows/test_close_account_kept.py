"""What the law keeps is copied once and whole before anything is destroyed, wherever a step is killed (P4.5d-f)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

import vault.leaving
from domain.decisions import DecisionKind
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import ELEMENTS
from tests.storage.settling import collected, refund_ends, refunded
from tests.workflows.booking_bank import KilledError
from tests.workflows.closing_house import ClosingHouse, open_closing_fx_house, open_closing_house
from tests.workflows.fx_house import REMITTER

# A quarter past midnight in Shanghai: booked on the first of January 2020.
NEW_YEAR = datetime(2019, 12, 31, 16, 15, tzinfo=UTC)


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        yield opened


async def with_transactions(at: ClosingHouse) -> dict[str, str]:
    """A payment of long ago, one of now and its refund, and a payout; the ids by what they are."""
    old = await collected(at.books)
    await at.books.run("UPDATE app.payment SET booked_at = :at", at=NEW_YEAR)
    new = await collected(at.books)
    refund = await refunded(at.books, new, 1_000)
    await refund_ends(at.books, new, refund, "succeeded")
    payout = await at.house.accept_payout(3_000)
    await at.house.pay_out(payout)
    return {"old": old["id"], "new": new["id"], "refund": refund["id"], "payout": payout["id"]}


async def closed(at: ClosingHouse, scope: str = "account") -> str:
    closure = await at.begun(scope)
    if scope == "account":
        await at.closures.hand_over(closure, now=await at.house.now())
    await at.until(closure, "completed")
    return closure


async def test_every_booked_transaction_and_who_the_user_was_are_kept_by_their_own_clocks(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q1, A4.4a: transactions from the year of booking, identity from the year in which the agreement ended (L2)."""
    monkeypatch.setattr(vault.leaving, "PAGE", 2)
    made = await with_transactions(at)
    closure = await closed(at)
    found = await at.retained()
    assert set(found) == {closure, *made.values()}
    assert found[made["old"]].event_on == date(2020, 1, 1)
    ended_on = await at.books.value("SELECT ended_on FROM app.closure")
    assert (found[closure].event_on, {record.person_index for record in found.values()}) == (ended_on, {"person-1"})
    [verified] = found[closure].content["verified"]
    assert verified == verified | ELEMENTS
    assert found[closure].content["merchant_user_ref"] == "ref-1"
    payment, payout = found[made["old"]].content, found[made["payout"]].content
    assert payment["personal"] == {name: ELEMENTS[name] for name in ("card_number", "mobile")}
    assert payment["record"]["amount_minor"] == 10_000
    assert payout["personal"] == {"name": ELEMENTS["name"], "account_number": "6217001234567891234"}
    assert found[made["refund"]].content["record"]["payment_id"] == made["new"]
    kept = {line["event_year"]: line for line in (await at.answer(closure))["kept"] if line["kind"] == "transaction"}
    assert (kept[2020]["until"], kept[2020]["ground"], kept[2020]["records"]) == ("2031-01-01", "law", 1)
    for secret in (*ELEMENTS.values(), "6217001234567891234", "ref-1"):
        assert secret not in str(await at.answer(closure))


async def test_a_longer_consent_is_honoured_to_its_last_day(at: ClosingHouse) -> None:
    """P4.5f: everything of the user, the day after it ends."""
    consent = {
        "request": at.closures.context(), "now": await at.house.now(), "user_id": at.books.user_id,
        "kind": "longer_retention", "version": "1", "content_hash": "b" * 64, "channel": "app",
        "acted_at": await at.house.now(), "until_on": "2050-06-30",
    }  # fmt: skip
    assert (await at.closures.call("record_consent", consent))["ok"]
    await collected(at.books)
    closure = await closed(at)
    lines = [(line["until"], line["ground"]) for line in (await at.answer(closure))["kept"]]
    assert lines == [("2050-07-01", "consent")] * 2


class Kill:
    """Pulls the plug before the first call of a step, and after the second; the third is left alone."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step, self.calls = step, 0

    async def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise KilledError
        answer = await self._step(*given, **named)
        if self.calls == 2:
            raise KilledError
        return answer


def kill_everywhere(at: ClosingHouse, monkeypatch: pytest.MonkeyPatch, *, items: bool = False) -> list[Kill]:
    """Between list and keys, keys and rows, copies and list, answer and end: each step is killed before and after."""
    vaults = at.vaults
    steps: list[tuple[Any, str]] = [
        (vaults.retention, "keep"), (vaults.retaining, "transactions"), (vaults.erasures, "add"),
        (vaults.book, "complete"), (vaults.book, "claim_notice"), (vaults.book, "record_reply"),
        (vaults.book, "end_following"), (vaults.retention, "kept"),
    ]  # fmt: skip
    if items:
        steps += [(at.books.vault, "erase_items"), (vaults.forgetting, "_forget_items")]
    else:
        steps += [(at.books.vault, "destroy_user_key"), (vaults.forgetting, "_forget_person")]
    kills = []
    for where, name in steps:
        kills.append(Kill(getattr(where, name)))
        monkeypatch.setattr(where, name, kills[-1])
    return kills


async def test_a_kill_around_every_step_keeps_and_forgets_everything_once(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await with_transactions(at)
    await at.disclosed()
    kills = kill_everywhere(at, monkeypatch)
    closure = await at.begun()
    await at.closures.hand_over(closure, now=await at.house.now())
    await at.skip_until(closure, "completed")
    assert (await at.end(closure)).state == "completed"
    assert all(kill.calls >= 2 for kill in kills), [kill.calls for kill in kills]
    assert len(at.bank.asked("send_erasure_notice")) >= 1
    await assert_forgotten_once(at, closure, made)


async def assert_forgotten_once(at: ClosingHouse, closure: str, made: dict[str, str]) -> None:
    found = await at.retained()
    assert set(found) == {closure, *made.values()}
    assert found[closure].content["verified"][0]["name"] == ELEMENTS["name"]
    assert found[made["new"]].content["personal"]["card_number"] == ELEMENTS["card_number"]
    assert (await at.readable(), await at.has_key()) == (0, False)
    assert await at.entries() == [("person", at.books.user_id)]
    assert await at.vaults.forgetting.missing.count() == 0
    assert await at.house.events(closure) == [
        "closure.accepted", "closure.unsigning", "closure.ended", "closure.completed",
    ]  # fmt: skip
    assert (await at.answer(closure))["destroyed"]["items"] == await at.books.value("SELECT count(*) FROM vault.item")


async def test_a_kill_around_every_step_erases_the_same_items_and_the_books_forget_them_too(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick pay alone: also when the items are erased and the digits are still there."""
    await collected(at.books)
    await at.disclosed()
    kill_everywhere(at, monkeypatch, items=True)
    closure = await at.begun("quick_pay")
    await at.skip_until(closure, "completed")
    assert await at.books.value("SELECT card_last4 IS NULL AND card_index IS NULL FROM app.binding")
    assert await at.entries() == [("items", at.books.user_id)]
    assert await at.vaults.forgetting.missing.count() == 0
    assert (await at.answer(closure))["destroyed"]["items"] == 3
    assert len(await at.retained()) == 2


async def test_quick_pay_first_and_the_account_later_keep_each_source_once(at: ClosingHouse) -> None:
    """What was copied before its card was erased is not copied again without it."""
    payment = await collected(at.books)
    quick = await closed(at, "quick_pay")
    account = await closed(at)
    found = await at.retained()
    assert set(found) == {quick, account, payment["id"]}
    assert found[payment["id"]].content["personal"]["card_number"] == ELEMENTS["card_number"]
    assert found[quick].content["verified"][0]["card_number"] == ELEMENTS["card_number"]
    assert "card_number" not in found[account].content["verified"][0]


async def test_a_remittance_that_was_nobodys_at_first_is_kept_and_forgotten_under_its_own_key(
    database: Database,
) -> None:
    """A5.1: sealed before anybody knew whose it was; its names are two, and it goes with the user all the same."""
    async with open_closing_fx_house(database) as (at, house):
        await house.fx.receive(
            5_000, account_number="990000000001", now=await house.now(), id=(own := at.books.new_id("inb"))
        )
        assert await at.books.value("SELECT state FROM app.inbound") == "suspense"
        await house.decide(DecisionKind.INBOUND_ASSIGN, own, user_id=at.books.user_id)
        known = await house.fx.receive(7_000, now=await house.now(), value_date=date(2026, 11, 20))
        assert await at.has_key(own)
        closure = await at.begun()
        await at.closures.hand_over(closure, now=await house.now())
        await at.seen(closure, "balance")
        await emptied(at, "USD", 12_000)
        await at.until(closure, "completed")
        found = await at.retained()
        assert {own, known.inbound_id} <= set(found)
        for inbound in (own, known.inbound_id):
            assert found[inbound or ""].content["personal"]["remitter"] == REMITTER
        assert found[own].content["personal"]["account"] == "990000000001"
        assert (await at.has_key(own), await at.has_key()) == (False, False)
        assert await at.entries() == [("person", at.books.user_id), ("person", own)]
        assert await at.books.value("SELECT count(*) FROM vault.item WHERE ciphertext IS NOT NULL") == 0


async def emptied(at: ClosingHouse, currency: str, amount_minor: int) -> None:
    """What the user has goes elsewhere; how does not matter here."""
    key = at.books.new_id("adj")
    transfer = {
        "action": "post", "key": key, "kind": "adjustment", "direction": "in", "currency": currency,
        "debit": f"user:{at.books.user_id}:{currency}", "credit": f"suspense:{currency}", "amount": amount_minor,
        "instruction": key, "reference": key, "booked_at": "2026-11-23T00:00:00Z",
    }  # fmt: skip
    statement = "SELECT coalesce(max(error), 'done') FROM ledger.apply(CAST(:items AS jsonb))"
    async with at.books.owner.begin() as connection:
        items = json.dumps([{"item": 0, "transfers": [transfer]}])
        assert await connection.scalar(sa.text(statement), {"items": items}) == "done"


async def granted(at: ClosingHouse, *fields: str, ground: str = "no_consent") -> str:
    """A deletion that was asked for by telephone, whose user is known, and which two people have granted."""
    closure = at.books.new_id("cls")
    now = await at.house.now()
    await at.books.run(
        "INSERT INTO app.closure (id, merchant_id, user_id, scope, channel, ground, fields, asked_by, state,"
        " state_since, received_at, recorded_at, due_on, escalate_on, identity_method, identity_checked_at)"
        " VALUES (:id, :m, :u, 'deletion', 'hotline', :g, :f, 'operator:sue', 'deciding', :at, :at, :at,"
        " '2099-12-31', '2099-12-31', 'counter', :at)",
        id=closure, m=at.books.merchant_id, u=at.books.user_id, g=ground, f=list(fields), at=now,
    )  # fmt: skip
    await at.begin(closure)
    await at.seen(closure, "decision", *(["data_in_use"] if "mobile" in fields else []))
    await decide_directly(at.books.owner, DecisionKind.CLOSURE_GRANT, closure, now)
    return closure


async def test_a_deletion_waits_for_what_uses_the_data_and_erases_the_fields_alone(at: ClosingHouse) -> None:
    """P4.2a: the account goes on; transactions are kept first, the identity of a user who stays is not."""
    payment = await collected(at.books)
    closure = await granted(at, "mobile")
    await at.seen(closure, "data_in_use")
    await at.house.unbind(await at.house.accept_unbinding(at.books.binding_id))
    await at.until(closure, "completed")
    left = "SELECT array(SELECT field FROM vault.item WHERE ciphertext IS NOT NULL ORDER BY 1)"
    assert await at.books.value(left) == ["agreement_number", "card_number", "id_number", "name"]
    assert await at.books.value("SELECT state FROM app.end_user") == "active"
    assert set(await at.retained()) == {payment["id"]}
    answer = await at.answer(closure)
    assert (answer["deletion_ground"], answer["agreement_ended_on"], answer["key_backups_expire_on"]) == (
        "no_consent", None, None,
    )  # fmt: skip
    assert answer["destroyed"]["fields"] == ["mobile"]
    assert await at.closures.cases(closure) == []


async def test_who_has_left_is_answered_what_is_still_kept_and_why(at: ClosingHouse) -> None:
    """P4.2a: deletion on the ground that the account is closed; there is nothing left to destroy."""
    await collected(at.books)
    await closed(at)
    closure = await granted(at, "name", ground="account_closed")
    await at.until(closure, "completed")
    answer = await at.answer(closure)
    assert (answer["destroyed"], [line["kind"] for line in answer["kept"]]) == (None, ["identity", "transaction"])


async def test_a_deletion_beside_a_closing_of_the_account_ends_too(at: ClosingHouse) -> None:
    """Whichever is first at the item, both are answered."""
    dispute = await at.dispute()
    account = await at.begun()
    await at.seen(account, "dispute")
    deletion = await granted(at, "mobile")
    await at.seen(deletion, "data_in_use")
    await at.resolve(dispute)
    await at.until(account, "completed")
    await at.until(deletion, "completed")
    assert (await at.answer(deletion))["outcome"] == (await at.answer(account))["outcome"] == "completed"
    assert ("person", at.books.user_id) in await at.entries()
    assert await at.vaults.forgetting.missing.count() == 0
