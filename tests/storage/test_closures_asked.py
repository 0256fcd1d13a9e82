"""Closures in the books: who asks, who refuses and grants, and in what time (P3.4, P4.2a, P4.4)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from domain.decisions import DecisionKind
from storage.closures import ClosureBook
from tests.storage.books import NOW
from tests.storage.closing import Closures, refusal
from tests.storage.freezing import waiting
from tests.storage.payout_steps import claim, settlement

LATER = NOW + timedelta(days=1)
K = DecisionKind


# Who asks, and whether it is the user


async def test_a_user_closes_once_at_a_time_whatever_the_channel(closures: Closures) -> None:
    item = {"id": closures.books.new_id("cls"), "request": closures.context(idempotency_key="k1")}
    closure = await closures.asked(**item)
    assert (await closures.ask(**item))["resource"]["id"] == closure
    for again in (await closures.ask("quick_pay"), await closures.record()):
        assert (again["error"], again["subject_id"]) == ("closure_exists", closure)
    # Data are deleted beside it, once at a time too (P4.2a).
    deletion = await closures.recorded("deletion")
    again = await closures.record("deletion")
    assert (again["error"], again["subject_id"]) == ("closure_exists", deletion)
    assert await closures.books.value("SELECT count(*) FROM app.closure") == 2


async def test_only_what_is_there_can_be_closed_and_only_by_its_merchant(closures: Closures) -> None:
    books = closures.books
    assert (await closures.ask(user_id="usr_nobody"))["error"] == "user_not_found"
    assert (await closures.ask(request=closures.context(merchant_id="mch_other")))["error"] == "user_not_found"
    assert (await closures.record("deletion", fields=["account_number"]))["error"] == "nothing_to_delete"
    await books.run("UPDATE app.binding SET state = 'unbinding'")
    await books.run("UPDATE app.binding SET state = 'unbound'")
    assert (await closures.ask("quick_pay"))["error"] == "quick_pay_not_open"
    assert await books.value("SELECT count(*) FROM app.closure") == 0
    await closures.completed(await closures.asked())
    assert (await closures.ask())["error"] == (await closures.record())["error"] == "user_not_active"
    assert (await closures.record("deletion", ground="account_closed"))["ok"]


async def test_an_operator_without_the_permission_changes_nothing_and_it_is_on_record(closures: Closures) -> None:
    """A wrong role: treasury neither records nor verifies."""
    assert closures.deciders is not None
    await closures.deciders.enrol("tian", "treasury")
    assert (await closures.record(by="tian"))["error"] == "permission_missing"
    closure = await closures.recorded()
    assert (await closures.verify(closure, by="tian"))["error"] == "permission_missing"
    disputed = {"id": "x", "user_id": closures.books.user_id, "subject_id": closures.books.user_id, "reason": "other"}
    assert (await closures.work("record_dispute", by="tian", **disputed))["error"] == "permission_missing"
    assert await closures.state(closure) == "received"
    denied = "SELECT count(*) FROM app.operation WHERE outcome = 'denied' AND actor = 'operator:tian'"
    assert await closures.books.value(denied) == 3
    assert await closures.books.value("SELECT identity_attempts FROM app.closure") == 0


async def test_three_wrong_answers_end_the_attempts_and_the_request_can_be_refused(closures: Closures) -> None:
    """P4.4a: by the number that was said, and otherwise; nothing of it is kept."""
    closure = await closures.recorded()
    assert await closures.kinds(closure) == ["identity"]
    said = {"method": "id_number", "holds": None, "person_index": "person-2"}
    assert (await closures.verify(closure, **said))["error"] == "identity_differs"
    assert (await closures.verify(closure, holds=False))["error"] == "identity_differs"
    assert await closures.cases(closure) == []
    assert (await closures.verify(closure, **said))["error"] == "identity_differs"
    # Nobody but people can end it now, so they hear of it at once.
    assert await closures.cases(closure) == ["identity_unverified"]
    right = said | {"person_index": "person-1"}
    assert (await closures.verify(closure, **right))["error"] == "identity_attempts_exhausted"
    assert await closures.state(closure) == "received"
    assert await closures.cases(closure) == ["identity_unverified"]
    await closures.books.instructions.accept_payment(closures.books.payment())
    resolved = "SELECT (state, resolved_by IS NOT NULL)::text FROM app.case_record WHERE subject_id = :id"
    assert await closures.books.value(resolved, id=closure) == "(open,f)"
    await closures.refuse(closure, "identity_not_verified")
    assert await closures.books.value(resolved, id=closure) == "(resolved,t)"
    assert (
        await closures.books.value("SELECT (state, reason)::text FROM app.closure") == "(refused,identity_not_verified)"
    )
    assert await closures.books.value("SELECT identity_method IS NULL FROM app.closure")
    assert (await closures.verify(closure, **right))["error"] == "identity_not_awaited"
    assert (await closures.verify(await closures.recorded(), **right))["ok"]


async def test_fewer_attempts_by_a_new_rule_are_a_case_with_the_next_one(closures: Closures) -> None:
    """`identity_attempts` is set lower while requests are open: what was tried before counts."""
    closure = await closures.recorded()
    assert (await closures.verify(closure, holds=False))["error"] == "identity_differs"
    assert await closures.cases(closure) == []
    assert (await closures.verify(closure, most=1))["error"] == "identity_attempts_exhausted"
    assert await closures.cases(closure) == ["identity_unverified"]


async def test_a_user_whose_document_no_bank_has_confirmed_is_not_known_by_a_number(closures: Closures) -> None:
    await closures.books.run("UPDATE app.end_user SET person_index = NULL")
    closure = await closures.recorded()
    for index in ("person-1", None):
        answer = await closures.verify(closure, method="id_number", holds=None, person_index=index)
        assert answer["error"] == "identity_differs"


# Refusing and granting


async def test_a_request_is_refused_in_every_state_before_the_banks_are_told_and_in_none_after(
    closures: Closures,
) -> None:
    """P4.4d: a ground, two people; service goes on as before."""
    books = closures.books
    received = await closures.recorded()
    await closures.refuse(received)
    closing = await closures.asked()
    dispute = await closures.disputed()
    await closures.look(closing)
    await closures.refuse(closing)
    await closures.resolve(dispute)
    deciding = await closures.recorded("deletion")
    await closures.verify(deciding)
    await closures.refuse(deciding, "ground_not_met")
    for closure in (received, closing, deciding):
        assert (await closures.look(closure)).state == "refused"
        assert await books.value("SELECT answered_at IS NOT NULL FROM app.closure WHERE id = :id", id=closure)
    assert await books.value("SELECT state FROM app.binding") == "open"
    await books.instructions.accept_payment(books.payment())
    await books.run("UPDATE app.payment SET state = 'closed'")
    closure = await closures.asked()
    for state in ("unsigning", "forgetting", "completed"):
        if state == "forgetting":
            await closures.ended(closure)
        elif state == "completed":
            await ClosureBook(books.app).complete(closure, {}, NOW)
        assert (await closures.look(closure)).state == state
        assert await refusal(closures.refuse(closure)) == "decision_not_applicable"


async def test_a_deletion_is_granted_by_two_and_waits_for_what_uses_the_data(closures: Closures) -> None:
    """P4.2a: a bound card uses its number; a payee that was removed is paid what was accepted before."""
    assert closures.deciders is not None
    books = closures.books
    closure = await closures.recorded("deletion", fields=["mobile", "account_number"])
    assert await refusal(closures.deciders.decide("closure.grant", closure, ground="ground_met")) == (
        "decision_not_applicable"
    )
    await books.fund(10_200)
    payout = await waiting(books, 10_000)
    payee = await books.value("SELECT payee_id FROM app.payout")
    await closures.verify(closure)
    assert await closures.kinds(closure) == ["decision", "data_in_use", "data_in_use", "data_in_use"]
    await closures.deciders.decide("closure.grant", closure, ground="ground_met")
    await closures.call("remove_payee", {"request": closures.context(), "now": NOW, "id": payee})
    in_use = {(each.subject_id, each.detail) for each in (await closures.look(closure)).obstacles}
    assert in_use == {(books.binding_id, "binding open"), (payout, "payout scheduled")}
    await books.instructions.claim_effect(claim(payout))
    await books.instructions.settle(settlement(payout, "succeeded"))
    await books.run("UPDATE app.binding SET state = 'unbinding'")
    await closures.unbind()
    assert (await closures.look(closure)).state == "forgetting"
    assert await books.value("SELECT state FROM app.end_user") == "active"


async def test_what_a_deletion_erases_is_fixed_when_nothing_is_in_its_way_and_what_comes_later_stays(
    closures: Closures,
) -> None:
    """P4.2a: a payee that is named meanwhile keeps its number; every attempt erases the same."""
    assert closures.deciders is not None
    books = closures.books
    await books.known_payee()
    await books.run("UPDATE app.payee SET state = 'removed', removed_at = :at", at=NOW)
    closure = await closures.recorded("deletion", fields=["account_number"])
    await closures.verify(closure)
    await closures.deciders.decide("closure.grant", closure, ground="ground_met")
    assert (await closures.look(closure)).state == "forgetting"
    old = await ClosureBook(books.app).items_to_forget(closure)
    later = await books.payee(account_index="another")
    await books.instructions.accept_payee(later)
    assert await ClosureBook(books.app).items_to_forget(closure) == old
    assert len(old) == 1
    assert later.element_tokens["account_number"] not in old
    await books.vault.erase_items(books.user_id, old)
    assert await ClosureBook(books.app).items_to_forget(closure) == old
    facts = await ClosureBook(books.app).facts(closure, NOW)
    assert facts is not None
    assert (facts["erased"]["items"], facts["erased"]["fields"]) == (1, ["account_number"])


# In time


async def test_people_are_told_three_days_before_and_the_day_after_by_the_date_that_the_calendar_gives_now(
    closures: Closures,
) -> None:
    """P3.4: a correction that brings the date forward is acted on at once, one that puts it off is too."""
    books, closure = closures.books, await closures.asked()
    await closures.disputed()
    today = NOW.date()
    far, tomorrow = today + timedelta(days=30), today + timedelta(days=1)
    seen = await closures.look(closure, due_on=far, escalate_on=tomorrow)
    assert await closures.cases(closure) == []
    assert seen.look_at == datetime.combine(tomorrow, datetime.min.time(), UTC) - timedelta(hours=8)
    # Put off in the same look in which it would have been due.
    seen = await closures.look(closure, LATER, due_on=far, escalate_on=far)
    assert (seen.look_at or NOW).date() == far - timedelta(days=1)
    assert await closures.cases(closure) == []
    await closures.look(closure, LATER, due_on=tomorrow, escalate_on=today, due_is_provisional=True)
    assert await closures.cases(closure) == ["closure_due"]
    assert await books.value("SELECT due_is_provisional FROM app.closure")
    midnight = datetime.combine(tomorrow, datetime.min.time(), UTC) + timedelta(hours=16)
    await closures.look(closure, midnight - timedelta(seconds=1), due_on=tomorrow, escalate_on=today)
    assert await closures.cases(closure) == ["closure_due"]
    await closures.look(closure, midnight, due_on=tomorrow, escalate_on=today)
    await closures.look(closure, midnight, due_on=tomorrow, escalate_on=today)
    assert await closures.cases(closure) == ["closure_due", "closure_overdue"]
    assert await books.value("SELECT due_on FROM app.closure") == date(2026, 11, 24)
