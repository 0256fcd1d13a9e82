"""Closures in the books: what is left, who comes back, and who looks after them (P4.2b, P4.5d)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from domain.decisions import DecisionKind
from domain.instructions import AcceptUser
from storage.closures import TELL_AGAIN_AFTER, ClosureBook
from tests.storage.books import NOW
from tests.storage.closing import Closures
from tests.storage.settling import collected
from tests.storage.test_lock_order import another_user

LATER = NOW + timedelta(days=1)
K = DecisionKind


# Afterwards


async def test_the_merchant_replies_once_it_was_told_and_what_it_said_stays(closures: Closures) -> None:
    """P4.2b: asked before, by another, twice, and otherwise."""
    closure = await closures.asked()
    assert (await closures.reply(closure))["error"] == "erasure_not_asked"
    await closures.completed(closure)
    assert (await closures.reply(closure, request=closures.context(merchant_id="mch_o")))[
        "error"
    ] == "closure_not_found"
    kept = {"outcome": "kept", "reason": "own_authorisation"}
    assert (await closures.reply(closure, **kept))["ok"]
    assert (await closures.reply(closure, **kept, now=LATER))["ok"]
    assert (await closures.reply(closure))["error"] == "erasure_replied"
    replied = "SELECT (reply, reply_reason, replied_at = :at)::text FROM app.erasure_notice WHERE kind = 'merchant'"
    assert await closures.books.value(replied, at=NOW) == "(kept,own_authorisation,t)"


async def test_who_comes_back_starts_from_nothing_but_for_marks_and_limits(closures: Closures) -> None:
    """P4.5d: the merchant's name for the user is free; suspension and limits of today hold again with the card."""
    books = closures.books
    await closures.decide(K.USER_SUSPEND, books.user_id, function="collect")
    used = {"u": f"user:{books.user_id}", "d": NOW.date()}
    await books.run("INSERT INTO app.limit_usage VALUES (:u, 'day', :d, 'CNY', 7000)", **used)
    await books.run("INSERT INTO app.limit_usage VALUES (:u, 'day', :d, 'CNY', 9)", u=used["u"], d=date(2026, 11, 22))
    await closures.completed(await closures.asked())
    again = await register_again(closures)
    limits = "SELECT array(SELECT used_minor FROM app.limit_usage WHERE subject = 'user:' || :u)"
    held = "SELECT count(*) FROM app.restriction WHERE subject_id = :u AND lifted_at IS NULL"
    assert (await books.value(limits, u=again), await books.value(held, u=again)) == ([], 0)
    assert await books.value("SELECT count(*) FROM app.consent WHERE user_id = :u", u=again) == 0
    await books.run("UPDATE app.end_user SET person_index = 'person-1' WHERE id = :u", u=again)
    assert (await books.value(limits, u=again), await books.value(held, u=again)) == ([7000], 1)
    assert await books.value("SELECT state FROM app.end_user WHERE id = :u", u=again) == "active"
    assert await books.value("SELECT count(*) FROM app.carried_limit") == 0
    # Lifted by people, and the relation ends once more: nothing is left to come back.
    await closures.decide(K.USER_RESUME, again, function="collect")
    await closures.completed(await closures.asked(user_id=again))
    assert await books.value("SELECT count(*) FROM app.person_mark") == 0


async def test_a_suspension_of_everything_comes_back_as_one(closures: Closures) -> None:
    books = closures.books
    await closures.decide(K.USER_SUSPEND, books.user_id)
    await closures.completed(await closures.asked())
    again = await register_again(closures)
    await books.run("UPDATE app.end_user SET person_index = 'person-1' WHERE id = :u", u=again)
    assert await books.value("SELECT state FROM app.end_user WHERE id = :u", u=again) == "suspended"


async def test_two_users_who_are_one_person_leave_their_marks_and_limits_together(closures: Closures) -> None:
    """Neither takes away what the other left."""
    books = closures.books
    second, _ = await another_user(books)
    for user, minor in ((books.user_id, 7000), (second, 500)):
        statement = "INSERT INTO app.limit_usage VALUES ('user:' || :u, 'day', :d, 'CNY', :m)"
        await books.run(statement, u=user, d=NOW.date(), m=minor)
    await closures.decide(K.USER_SUSPEND, books.user_id)
    for user in (books.user_id, second):
        closure = await closures.asked(user_id=user)
        await books.run("UPDATE app.binding SET state = 'unbinding' WHERE user_id = :u", u=user)
        await books.run("UPDATE app.binding SET state = 'unbound' WHERE user_id = :u", u=user)
        assert (await closures.look(closure)).state == "forgetting"
    assert await books.value("SELECT used_minor FROM app.carried_limit") == 7500
    assert await books.value("SELECT count(*) FROM app.person_mark") == 1


async def register_again(closures: Closures) -> str:
    """The merchant's name for the one who left, for a new user."""
    user_id = closures.books.new_id("usr")
    await closures.books.instructions.accept_user(
        AcceptUser(
            request=closures.books.context(), now=NOW, id=user_id, merchant_user_ref="ref-1", type="individual",
            region="CN", blocked_regions=("KP",),
        )
    )  # fmt: skip
    return user_id


async def test_money_that_comes_after_the_closing_is_one_case(closures: Closures) -> None:
    """A8.4: as a payout that is sent back."""
    books = closures.books
    await closures.completed(await closures.asked())
    book = ClosureBook(books.app)
    assert await book.open_late_money_cases(NOW) == 0
    await books.fund(500)
    assert [await book.open_late_money_cases(NOW), await book.open_late_money_cases(LATER)] == [1, 0]
    assert await closures.cases(books.user_id) == ["money_after_closing"]


async def test_forgetting_twice_is_forgetting_once_and_amounts_stay(closures: Closures) -> None:
    books = closures.books
    payment = await collected(books)
    closure = await closures.recorded_and_verified()
    await closures.hand_over(closure)
    await closures.completed(closure)
    kept = "SELECT (state, amount_minor)::text FROM app.payment WHERE id = :id"
    row = "SELECT (b.*)::text || (u.*)::text || (c.*)::text FROM app.binding b, app.end_user u, app.closure c"
    once = await books.value(row)
    await books.run("SELECT app.forget_user(:u, :at)", u=books.user_id, at=LATER)
    assert await books.value(row) == once
    assert await books.value(kept, id=payment["id"]) == "(succeeded,10000)"
    for gone in ("person-1", "ref-1", "card-1", "0018", "call:1"):
        assert gone not in once


# Looked after


async def test_a_process_is_told_once_of_each_change_and_again_after_minutes_while_it_has_not_looked(
    closures: Closures,
) -> None:
    book, young = ClosureBook(closures.books.app), timedelta(seconds=8)

    async def told(at: datetime) -> list[str]:
        """As the sweeper does it, in a round."""
        found = await book.unattended(at, young)
        return [each.kind for each in found if await book.claim_telling(each, at)]

    closure = await closures.asked()
    assert await told(LATER) == ["start"]
    assert await told(LATER + timedelta(seconds=4)) == []
    dispute = await closures.disputed()
    await closures.look(closure)
    await closures.resolve(dispute)
    [found] = await book.unattended(LATER, young)
    # Of two workers one tells it; where nobody could be reached, the next round does.
    assert [await book.claim_telling(found, LATER), await book.claim_telling(found, LATER)] == [True, False]
    await book.give_up_telling(found, LATER)
    assert await told(LATER) == ["tell"]
    assert await told(LATER + TELL_AGAIN_AFTER - timedelta(seconds=1)) == []
    assert await told(LATER + TELL_AGAIN_AFTER) == ["tell"]
    # What is new is told at once; and what has come back to what it was told of, once it has looked in between.
    second = await closures.disputed()
    await closures.look(closure)
    await closures.resolve(second)
    assert await told(LATER + TELL_AGAIN_AFTER) == ["tell"]
    await closures.disputed()
    await closures.look(closure)
    await closures.refuse(closure)
    assert await told(LATER + TELL_AGAIN_AFTER) == ["tell"]
    assert await told(LATER + TELL_AGAIN_AFTER) == []
    await closures.look(closure)
    assert await told(LATER + 3 * TELL_AGAIN_AFTER) == []


async def test_one_that_cannot_look_takes_nobodys_turn(closures: Closures) -> None:
    """At most so many are told in a round: those that have been told already are none of them."""
    book, young = ClosureBook(closures.books.app), timedelta(seconds=8)
    stuck = await closures.asked()
    other, _ = await another_user(closures.books)
    waiting = await closures.asked(user_id=other, now=NOW + young)
    [first] = await book.unattended(LATER, young, 1)
    assert (first.id, await book.claim_telling(first, LATER)) == (stuck, True)
    assert [each.id for each in await book.unattended(LATER, young, 1)] == [waiting]


async def test_closures_that_nobody_looks_after_are_found(closures: Closures) -> None:
    book, young = ClosureBook(closures.books.app), timedelta(seconds=8)

    async def unattended(at: datetime = LATER) -> list[tuple[str, str]]:
        return [(each.kind, each.id) for each in await book.unattended(at, young)]

    closure = await closures.asked()
    assert await unattended(NOW + young) == []
    assert await unattended() == [("start", closure)]
    dispute = await closures.disputed()
    await closures.look(closure)
    assert await unattended() == []
    await closures.resolve(dispute)
    assert await unattended() == [("tell", closure)]
    assert (await closures.look(closure)).state == "unsigning"
    assert await unattended() == []
    second = await closures.disputed()
    assert await unattended() == [("tell", closure)]
    assert (await closures.look(closure)).state == "closing"
    await closures.refuse(closure)
    assert await unattended() == [("tell", closure)]
    await closures.look(closure)
    assert await unattended() == []
    assert [each.id for each in await book.unfinished(LATER, young, "", 5)] == []
    await closures.resolve(second)
    gone = await closures.asked()
    await closures.look(gone)
    assert [each.id for each in await book.unfinished(LATER, young, "", 5)] == [gone]
    assert [each.id for each in await book.unfinished(LATER, young, gone, 5)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app.closure SET state = 'refused'", "DELETE FROM app.dispute", "SELECT * FROM app.person_mark",
        "UPDATE app.erasure_notice SET reply = 'erased'", "DELETE FROM app.applied_erasure",
        "DELETE FROM app.carried_limit",
    ],
)  # fmt: skip
async def test_the_app_role_goes_through_the_functions(closures: Closures, statement: str) -> None:
    async with closures.books.app.connect() as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(sa.text(statement))
