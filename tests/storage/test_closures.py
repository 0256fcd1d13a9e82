"""Closures in the books: what is in the way, and what is refused meanwhile (P4.5b, A4.4c, A8.4)."""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.decisions import DecisionKind
from tests.storage.books import BANK, NOW
from tests.storage.closing import Closures, binding, refusal
from tests.storage.freezing import freeze, order, release, waiting
from tests.storage.payout_steps import claim, settlement
from tests.storage.settling import collected, refund_ends, refunded

LATER = NOW + timedelta(days=1)
K = DecisionKind


# What is in the way


async def test_each_thing_in_the_way_keeps_an_account_open_by_itself_and_is_named(closures: Closures) -> None:
    """P4.5b, A4.4c, A8.4: one after the other, each alone."""
    books, closure = closures.books, await closures.asked()

    async def alone(kind: str, detail: str | None, subject: str | None = None, now: datetime = NOW) -> None:
        [found] = (await closures.look(closure, now)).obstacles
        assert (found.kind, found.detail) == (kind, detail)
        assert subject is None or found.subject_id == subject
        assert await closures.state(closure) == "closing"

    dispute = await closures.disputed()
    await alone("dispute", "not_received", dispute)
    restriction = await freeze(books, None)
    await closures.resolve(dispute)
    await alone("freeze", None, restriction)
    hold = await order(books, "freeze", expires_at=(NOW + timedelta(hours=1)).isoformat())
    await release(books, restriction)
    await alone("authority_order", None, hold)
    await books.fund(500)
    await alone("balance", "CNY 500", now=NOW + timedelta(hours=1))


async def test_an_agreement_that_no_bank_has_ended_yet_keeps_the_account(closures: Closures) -> None:
    closure = await closures.asked()
    [found] = (await closures.look(closure)).obstacles
    assert (found.kind, found.subject_id, found.detail) == ("agreement", closures.books.binding_id, BANK)
    assert await closures.books.value("SELECT wait_reason FROM app.binding") == "process_start"
    assert (await closures.look(closure)).state == "unsigning"
    await closures.unbind()
    assert (await closures.look(closure)).state == "forgetting"


async def test_what_ends_by_the_clock_is_out_of_the_way_then(closures: Closures) -> None:
    books, closure = closures.books, await closures.asked()
    ends = NOW + timedelta(hours=5)
    await freeze(books, None, ends_at=ends.isoformat())
    await order(books, "freeze", expires_at=(ends + timedelta(hours=1)).isoformat())
    assert await closures.kinds(closure) == ["freeze", "authority_order"]
    assert await closures.kinds(closure, ends - timedelta(seconds=1)) == ["freeze", "authority_order"]
    assert await closures.kinds(closure, ends) == ["authority_order"]
    assert await closures.kinds(closure, ends + timedelta(hours=1)) == ["agreement"]


async def test_only_a_suspension_that_keeps_money_from_leaving_is_in_the_way(closures: Closures) -> None:
    books, closure = closures.books, await closures.asked()
    dispute = await closures.disputed()
    await closures.decide(K.USER_SUSPEND, books.user_id, function="collect")
    await books.fund(500)
    assert await closures.kinds(closure) == ["dispute", "balance"]
    await closures.decide(K.USER_SUSPEND, books.user_id, function="payout")
    assert await closures.kinds(closure) == ["dispute", "balance", "suspension"]
    await closures.resolve(dispute)
    assert await closures.kinds(closure) == ["balance", "suspension"]


async def test_instructions_come_to_their_end_first_and_records_are_asked_for(closures: Closures) -> None:
    """A2.1, A3.3: payment, refund, binding and payout under way, each in the state in which it is."""
    books = closures.books
    payment = await collected(books, 10_000)
    unfinished = await books.instructions.accept_payment(books.payment())
    applied = await binding(books)
    closure = await closures.asked()
    refund = await refunded(books, payment, 4_000)
    await books.fund(10_200)
    payout = await waiting(books, 10_000)
    found = (await closures.look(closure)).obstacles
    assert {(each.subject_id, each.detail) for each in found if each.kind == "instruction"} == {
        (unfinished["id"], "payment ready"), (refund["id"], "refund ready"), (applied["id"], "binding accepted"),
        (payout, "payout scheduled"),
    }  # fmt: skip
    assert [each.detail for each in found if each.kind == "balance"] == ["CNY 10200"]
    await books.run("UPDATE app.payment SET state = 'closed' WHERE id = :id", id=unfinished["id"])
    await books.run("UPDATE app.binding SET state = 'expired' WHERE id = :id", id=applied["id"])
    await refund_ends(books, payment, refund, "succeeded")
    await books.instructions.claim_effect(claim(payout))
    await books.instructions.settle(settlement(payout, "succeeded"))
    assert await closures.kinds(closure) == ["records"]
    assert (await closures.hand_over(closure, complete=False))["ok"]
    assert await closures.kinds(closure) == ["records"]
    handed = await closures.hand_over(closure, count=2)
    assert handed["resource"]["records_received_at"] is not None
    assert await closures.kinds(closure) == ["agreement"]


async def test_records_are_done_without_by_a_decision_of_two(closures: Closures) -> None:
    """A4.4c: one person does not do."""
    assert closures.deciders is not None
    await collected(closures.books)
    closure = await closures.asked()
    assert await closures.kinds(closure) == ["records"]
    asked = await closures.deciders.ask("closure.waive_records", closure, ground="records_unavailable")
    assert asked["state"] == "requested"
    assert await refusal(closures.deciders.approve(asked["id"], by="anna")) == "second_person_required"
    assert await closures.kinds(closure) == ["records"]
    await closures.deciders.approve(asked["id"])
    assert await closures.kinds(closure) == ["agreement"]
    assert await refusal(closures.deciders.decide("closure.waive_records", closure, ground="other_need")) == (
        "decision_not_applicable"
    )


async def test_records_are_taken_from_the_merchant_while_they_are_awaited(closures: Closures) -> None:
    closure = await closures.asked("quick_pay")
    assert (await closures.hand_over(closure))["error"] == "records_not_awaited"
    other = closures.context(merchant_id="mch_other")
    assert (await closures.hand_over(closure, request=other))["error"] == "closure_not_found"
    await closures.completed(closure)
    account = await closures.asked()
    await closures.ended(account)
    assert (await closures.hand_over(account))["error"] == "records_not_awaited"


async def test_what_the_merchant_sees_of_a_freeze_is_that_there_is_one(closures: Closures) -> None:
    closure = await closures.asked()
    await freeze(closures.books, None)
    view = "SELECT app.closure_view(c, :at, :full)->'obstacles' FROM app.closure c WHERE id = :id"
    [shown] = await closures.books.value(view, at=NOW, full=False, id=closure)
    [known] = await closures.books.value(view, at=NOW, full=True, id=closure)
    assert (shown["kind"], shown["subject_id"], shown["since"], known["subject_id"] is None) == (
        "freeze", None, None, False,
    )  # fmt: skip


# What is refused meanwhile


async def test_whoever_is_leaving_gets_nothing_new_but_what_empties_the_account(closures: Closures) -> None:
    """P4.5b: refused, and nothing has changed; a payout and a refund are accepted."""
    books = closures.books
    payment = await collected(books, 10_000)
    await books.fund(50_000)
    closure = await closures.asked()
    before = await closures.counted()
    assert await refusal(books.instructions.accept_payment(books.payment())) == "account_closing"
    assert await refusal(binding(books)) == "account_closing"
    assert await closures.counted() == before
    await books.instructions.accept_payout(books.payout(await books.known_payee(), 10_000))
    await refunded(books, payment, 1_000)
    await closures.refuse(closure)
    await books.instructions.accept_payment(books.payment())
    await binding(books)


async def test_a_refund_is_refused_once_the_banks_are_told_and_the_account_is_closed_for_good(
    closures: Closures,
) -> None:
    books = closures.books
    payment = await collected(books, 10_000)
    closure = await closures.asked()
    await closures.hand_over(closure)
    assert await closures.kinds(closure) == ["agreement"]
    assert await refusal(refunded(books, payment, 1_000)) == "account_closing"
    await closures.completed(closure)
    before = await closures.counted()
    assert await refusal(refunded(books, payment, 1_000)) == "user_not_active"
    assert await refusal(books.instructions.accept_payment(books.payment())) == "user_not_active"
    assert await refusal(binding(books, card_index="card-9")) == "user_not_active"
    assert await refusal(books.known_payee()) == "user_not_active"
    consent = {
        "request": closures.context(), "now": NOW, "user_id": books.user_id, "kind": "agreement", "version": "1.0",
        "content_hash": "a" * 64, "channel": "app", "acted_at": NOW,
    }  # fmt: skip
    assert (await closures.call("record_consent", consent))["error"] == "user_not_active"
    assert await closures.counted() == before


async def test_quick_pay_alone_bars_cards_and_nothing_else(closures: Closures) -> None:
    books = closures.books
    await books.fund(50_000)
    closure = await closures.asked("quick_pay")
    assert await refusal(books.instructions.accept_payment(books.payment())) == "quick_pay_closing"
    assert await refusal(binding(books)) == "quick_pay_closing"
    await books.instructions.accept_payout(books.payout(await books.known_payee(), 10_000))
    assert (await closures.look(closure)).state == "unsigning"
