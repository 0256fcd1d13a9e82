"""Closures in books that were put back: what only the erasure list knows is made up for (docs/decisions/0018)."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest
from ulid import ULID

from domain.decisions import DecisionKind
from storage.closures import ClosureBook
from tests.storage.books import NOW
from tests.storage.closing import Closures, binding

# Forgotten after the backup, and restored later still.
THEN = NOW + timedelta(hours=5)
ENDED_ON = date(2026, 11, 20)
_STANDS = (
    "SELECT json_build_array(c.state, c.ended_on, c.state_since = :at, c.forgotten_by IS NOT NULL,"
    " c.process_started_at IS NOT NULL, u.state)::text"
    " FROM app.closure c JOIN app.end_user u ON u.id = c.user_id WHERE c.id = :id"
)


async def caught_up(closures: Closures, subject: str, kind: str = "person", *tokens: str, **changes: Any) -> None:
    """As before an entry of the list is carried out; more than once, as after a crash."""
    item = {
        "entry_id": f"ers_{ULID()}", "kind": kind, "user_id": closures.books.user_id, "subject_id": subject,
        "tokens": tokens, "ended_on": ENDED_ON, "at": THEN,
    } | changes  # fmt: skip
    for _ in range(2):
        await closures.books.run("SELECT app.catch_up_with_erasure(CAST(:i AS jsonb))", i=json.dumps(item, default=str))


async def stands(closures: Closures, closure: str) -> list[Any]:
    found: list[Any] = json.loads(await closures.books.value(_STANDS, id=closure, at=THEN))
    return found


@pytest.mark.parametrize("state", ["received", "closing", "unsigning"])
async def test_what_these_data_have_under_way_goes_on_where_the_list_says_that_it_was(
    closures: Closures, state: str
) -> None:
    """Nobody verified, resolved or handed over anything in these data; all of that was done once."""
    if state == "closing":
        await closures.disputed()
    closure = await (closures.recorded() if state == "received" else closures.asked())
    if state != "received":
        assert (await closures.look(closure)).state == state
    await caught_up(closures, closure)
    assert await stands(closures, closure) == ["forgetting", "2026-11-20", True, True, True, "closed"]
    told = "SELECT count(*) FROM app.erasure_notice WHERE closure_id = :id AND kind = 'merchant'"
    ended = "SELECT count(*) FROM app.event WHERE object_id = :id AND type = 'closure.ended'"
    for query in (told, ended):
        assert await closures.books.value(query, id=closure) == 1
    seen = await closures.look(closure)
    assert (seen.state, seen.ended_on, seen.since) == ("forgetting", ENDED_ON, THEN)
    await closures.completed(closure)


async def test_a_process_is_told_of_it_now_and_then_until_it_has_answered(closures: Closures) -> None:
    book, young, later = ClosureBook(closures.books.app), timedelta(seconds=8), NOW + timedelta(days=1)
    closure = await closures.asked()
    await caught_up(closures, closure)
    [item] = await book.unattended(later, young)
    assert (item.kind, item.id) == ("tell", closure)
    assert await book.claim_telling(item, later)
    assert await book.unattended(later, young) == []
    assert len(await book.unattended(later + timedelta(hours=1), young)) == 1
    await closures.completed(closure)
    assert await book.unattended(later + timedelta(hours=1), young) == []


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_outlives_the_person_is_kept_once_also_if_these_data_know_no_closure(
    closures: Closures, is_known: bool
) -> None:
    """P4.5d: coming back resets nothing, whichever backup was restored in between."""
    books = closures.books
    await closures.decide(DecisionKind.USER_SUSPEND, books.user_id, function="collect")
    used = "INSERT INTO app.limit_usage VALUES (:u, 'day', :d, 'CNY', 7000)"
    await books.run(used, u=f"user:{books.user_id}", d=NOW.date())
    closure = await closures.asked() if is_known else f"cls_{ULID()}"
    await caught_up(closures, closure)
    await books.run("SELECT app.forget_user(:u, :at)", u=books.user_id, at=THEN)
    assert await books.value("SELECT count(*) FROM app.person_mark") == 1
    assert await books.value("SELECT sum(used_minor) FROM app.carried_limit") == 7000


async def test_data_that_are_as_far_as_the_list_stay_as_they_are(closures: Closures) -> None:
    closure = await closures.asked()
    await closures.ended(closure)
    row = "SELECT c::text || u::text FROM app.closure c JOIN app.end_user u ON u.id = c.user_id"
    before = await closures.books.value(row)
    await caught_up(closures, closure)
    await caught_up(closures, f"cls_{ULID()}")
    assert await closures.books.value(row) == before


async def test_a_request_that_was_overtaken_since_ends_with_it_and_one_of_nobody_verified_stays(
    closures: Closures,
) -> None:
    """Refused after the backup, and asked anew: in these data the first is open, and nothing else could end it."""
    overtaken = await closures.asked("quick_pay")
    await caught_up(closures, f"cls_{ULID()}")
    assert (await stands(closures, overtaken))[0] == "forgetting"
    await closures.completed(overtaken)


async def test_that_nobody_could_be_verified_is_no_case_any_more_once_the_list_says_that_it_ended(
    closures: Closures,
) -> None:
    closure = await closures.recorded()
    for _ in range(3):
        await closures.verify(closure, holds=False)
    open_ones = "SELECT count(*) FROM app.case_record WHERE kind = 'identity_unverified' AND state = 'open'"
    assert await closures.books.value(open_ones) == 1
    await caught_up(closures, closure)
    assert await closures.books.value(open_ones) == 0


async def test_a_request_of_nobody_verified_stays_for_people_if_another_was_granted(closures: Closures) -> None:
    received = await closures.recorded()
    await caught_up(closures, f"cls_{ULID()}")
    assert await closures.state(received) == "received"


async def test_a_deletion_that_was_granted_since_is_answered_and_what_it_took_is_in_use_no_more(
    closures: Closures,
) -> None:
    books = closures.books
    payee = await books.known_payee()
    closure = await closures.recorded_and_verified("deletion")
    assert await closures.state(closure) == "deciding"
    row = "SELECT element_tokens->>:f FROM app.{} WHERE user_id = :u"
    card = await books.value(row.format("binding"), f="card_number", u=books.user_id) or f"tok_{ULID()}"
    await books.run("UPDATE app.binding SET agreement_token = :t WHERE user_id = :u", t=card, u=books.user_id)
    account = await books.value(row.format("payee"), f="account_number", u=books.user_id)
    for token in (card, account):
        await caught_up(closures, closure, "items", token, ended_on=None)
    state, ended_on, _, _, _, user = await stands(closures, closure)
    assert (state, ended_on, user) == ("forgetting", None, "active")
    assert set(await books.value("SELECT erases FROM app.closure WHERE id = :id", id=closure)) == {card, account}
    assert await books.value("SELECT state FROM app.binding WHERE user_id = :u", u=books.user_id) == "unbound"
    assert await books.value("SELECT state FROM app.payee WHERE id = :id", id=payee) == "removed"
    await closures.completed(closure)


async def test_a_closure_that_these_data_do_not_know_is_a_case_about_its_user_once(closures: Closures) -> None:
    books, closure = closures.books, f"cls_{ULID()}"
    book = ClosureBook(books.app)
    for _ in range(2):
        await book.open_unknown_closure_case(closure, books.user_id, NOW)
    assert await closures.cases(books.user_id) == ["closure_unknown"]
    # Of somebody who came after the backup nothing else is known than the id.
    nobody = f"cls_{ULID()}"
    await book.open_unknown_closure_case(nobody, f"usr_{ULID()}", NOW)
    assert await closures.cases(nobody) == ["closure_unknown"]
    gone = f"cls_{ULID()}"
    await caught_up(closures, gone)
    await book.open_unknown_closure_case(gone, books.user_id, NOW)
    assert await books.value("SELECT count(*) FROM app.case_record WHERE kind = 'closure_unknown'") == 2


async def test_a_card_that_was_being_bound_ends_with_its_user(closures: Closures) -> None:
    """With the backup its process comes back to it, and must not bind the card of somebody who is gone."""
    made = [await binding(closures.books) for _ in range(2)]
    await closures.books.run("UPDATE app.binding SET state = 'applying' WHERE id = :b", b=made[0]["id"])
    await closures.books.run("SELECT app.forget_user(:u, :at)", u=closures.books.user_id, at=THEN)
    states = "SELECT array_agg(DISTINCT state) FROM app.binding WHERE id = ANY (:ids)"
    assert await closures.books.value(states, ids=[each["id"] for each in made]) == ["expired"]


@pytest.mark.parametrize("field", ["card_number", "mobile"])
async def test_a_card_whose_items_were_erased_since_is_neither_bound_nor_being_bound_any_more(
    closures: Closures, field: str
) -> None:
    """Nothing is ever erased of a card that is in use: in these data it only has not ended yet."""
    books = closures.books
    made = [str((await binding(books))["id"]) for _ in range(3)]
    await books.run("UPDATE app.binding SET state = 'applying' WHERE id = ANY (:b)", b=made[1:])
    for state in ("awaiting_code", "open"):
        await books.run("UPDATE app.binding SET state = :s WHERE id = :b", s=state, b=made[2])
    row = "SELECT array_agg(element_tokens->>:f ORDER BY id) FROM app.binding WHERE id = ANY (:b)"
    tokens = await books.value(row, f=field, b=made)
    others = "SELECT count(*) FROM app.binding WHERE state = 'open' AND NOT id = ANY (:b)"
    before = await books.value(others, b=made)
    await caught_up(closures, "due/2026-11-20/x", "items", *tokens)
    states = "SELECT array_agg(state ORDER BY id) FROM app.binding WHERE id = ANY (:b)"
    assert await books.value(states, b=made) == ["expired", "expired", "unbound"]
    assert await books.value(others, b=made) == before
    await books.run("SELECT app.forget_items(:u, CAST(:t AS text[]), :at)", u=books.user_id, t=tokens, at=THEN)
    left = "SELECT count(*) FROM app.binding WHERE id = ANY (:b) AND element_tokens ? :f"
    assert await books.value(left, b=made, f=field) == 0
