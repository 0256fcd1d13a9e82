"""Freezes that end, those of authorities, those that follow a person to every merchant (A3.9e, A8.1a, A8.3, L12)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.decisions import DecisionKind
from domain.errors import DomainError, EffectRefusedError, ErrorCode
from domain.instructions import ReportUser
from storage.decisions import decide_directly
from storage.freezes import payouts_to_tell, payouts_told
from tests.storage.books import NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.freezing import (
    REVIEW,
    available,
    claim,
    freeze,
    frozen,
    look_after,
    order,
    release,
    row,
    waiting,
)
from tests.storage.test_lock_order import another_user

C = ErrorCode
K = DecisionKind
TWO_DAYS = timedelta(hours=48)
MOMENT = timedelta(microseconds=1)


async def blocked(books: Books, payout_id: str, **changes: object) -> str:
    with pytest.raises(EffectRefusedError) as caught:
        await claim(books, payout_id, **changes)  # type: ignore[arg-type]
    return str(caught.value)


async def test_a_temporary_freeze_is_over_after_48_hours_to_the_instant_though_no_process_runs(books: Books) -> None:
    await books.fund(20_400)
    first, second = await waiting(books, 10_000), await waiting(books, 10_000)
    placed = await order(books, "temporary_freeze")
    assert await books.value("SELECT ends_at FROM app.restriction WHERE id = :id", id=placed) == NOW + TWO_DAYS
    assert await blocked(books, first, now=NOW + TWO_DAYS - MOMENT) == "authority_hold"
    await books.schedule(second, NOW + TWO_DAYS)
    assert (await claim(books, second, now=NOW + TWO_DAYS)).state == "sending"


async def test_the_amount_of_a_temporary_freeze_is_freed_and_on_record_and_its_payouts_go_on(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    placed = await order(books, "temporary_freeze", amount_minor=6_000)
    assert (await row(books, payout_id))["wait_reason"] == "authority_order"
    assert await blocked(books, payout_id) == "authority_hold"
    assert await look_after(books, NOW + TWO_DAYS - MOMENT) == 0
    assert await look_after(books, NOW + TWO_DAYS) == 1
    assert (await frozen(books, placed), (await row(books, payout_id))["stopped_by"]) == (0, None)
    ended = "SELECT lifted_by FROM app.restriction WHERE id = :id AND lifted_at = :at"
    assert await books.value(ended, id=placed, at=NOW + TWO_DAYS) == "lapsed"
    recorded = "SELECT count(*) FROM app.operation WHERE action = 'end_restriction' AND reason = 'time_is_over'"
    assert await books.value(recorded) == 1
    # A regulator's needs nobody's decision; one of the institution that ended undecided does.
    assert await books.value("SELECT count(*) FROM app.case_record") == 0
    assert (await claim(books, payout_id)).state == "sending"


async def test_only_a_new_order_prolongs_an_authoritys_freeze_and_only_an_order_lifts_it(books: Books) -> None:
    await books.fund(10_000)
    placed = await order(books, "temporary_freeze", amount_minor=6_000)
    for attempt in (release(books), freeze(books, 6_000, prolongs=placed)):
        with pytest.raises(ValueError, match="cannot take place"):
            await attempt
    longer = await order(books, "freeze", amount_minor=6_000, prolongs=placed, now=NOW + timedelta(hours=47))
    assert await look_after(books, NOW + TWO_DAYS) == 0
    assert (await frozen(books, placed), await frozen(books, longer)) == (0, 6_000)
    await order(books, "release", now=NOW + TWO_DAYS)
    assert await available(books) == 10_000


async def test_a_freeze_that_ends_undecided_is_escalated(books: Books) -> None:
    await books.fund(10_000)
    ends_at = (NOW + timedelta(days=3)).isoformat()
    placed = await freeze(books, 6_000, review_at=None, ends_at=ends_at)
    assert await look_after(books, NOW + timedelta(days=3)) == 1
    assert await frozen(books, placed) == 0
    assert await books.value("SELECT kind FROM app.case_record WHERE subject_id = :u", u=books.user_id) == (
        "restriction_review"
    )


async def test_a_freeze_for_payouts_alone_stops_no_refund_and_one_of_all_funds_stops_both(books: Books) -> None:
    asked = "SELECT app.restricted(:what, :u, :m, :u, :at, false)"
    values = {"u": books.user_id, "m": books.merchant_id, "at": NOW}
    await freeze(books, None, function="payout")
    assert await books.value(asked, what="payout", **values) == "funds_frozen"
    assert await books.value(asked, what="refund", **values) is None
    assert await books.value(asked, what="collect", **values) is None
    await freeze(books, None)
    assert await books.value(asked, what="refund", **values) == "funds_frozen"
    await books.fund(5_000)
    assert await frozen(books) == 5_000


async def test_a_payout_that_waits_for_a_whole_freeze_is_told_when_it_is_lifted(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    await freeze(books, None)
    assert await blocked(books, payout_id) == "funds_frozen"
    assert (await row(books, payout_id))["stopped_by"] is None
    await books.run("UPDATE app.payout SET wait_reason = 'freeze'")
    await release(books)
    assert await payouts_to_tell(books.app) == {payout_id: True}
    await payouts_told(books.app, [payout_id])
    assert await payouts_to_tell(books.app) == {}
    assert (await claim(books, payout_id)).state == "sending"


async def test_a_freeze_of_a_person_reaches_every_relation_also_one_that_is_opened_later(books: Books) -> None:
    other, _ = await another_user(books)
    await books.run("UPDATE app.end_user SET person_index = 'person-1' WHERE id = :id", id=other)
    await freeze(books, None, scope="all")
    asked = "SELECT array_agg(subject_id ORDER BY subject_id) FROM app.restriction WHERE lifted_at IS NULL"
    assert await books.value(asked) == sorted([books.user_id, other])
    assert await look_after(books) == 0
    later, _ = await another_user(books)
    await books.run("UPDATE app.end_user SET person_index = 'person-1' WHERE id = :id", id=later)
    assert await look_after(books) >= 1
    assert await books.value(asked) == sorted([books.user_id, other, later])
    assert await look_after(books) == 0
    # One relation is released alone by its own decision, and the person's in all of them.
    await release(books, subject=other)
    assert await books.value(asked) == sorted([books.user_id, later])
    assert await look_after(books) == 0
    await release(books, scope="all")
    assert await books.value(asked) is None


async def test_who_is_nobody_known_is_not_frozen_as_a_person(books: Books) -> None:
    await books.run("UPDATE app.end_user SET person_index = NULL")
    with pytest.raises(ValueError, match="cannot take place"):
        await freeze(books, None, scope="all")


async def test_a_freeze_with_a_date_too_far_ahead_or_gone_is_refused(books: Books, deciders: Deciders) -> None:
    for detail in ({"ends_at": NOW.isoformat()}, {"review_at": REVIEW, "ends_at": "2027-11-23T00:00:00Z"}, {}):
        with pytest.raises(DomainError) as caught:
            await deciders.ask("funds.freeze", books.user_id, detail=detail)
        assert caught.value.code is C.DECISION_DATE_INVALID


async def test_a_report_stops_payments_and_payouts_at_once_also_those_that_wait(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    report = await books.instructions.report_user(
        ReportUser(
            request=books.context(), now=NOW, id=books.new_id("case"), user_id=books.user_id, kind="not_me",
            channel="app",
        )
    )  # fmt: skip
    assert report["suspended"] == ["collect", "payout"]
    assert await blocked(books, payout_id) == "function_suspended"
    await decide_directly(books.owner, K.USER_RESUME, books.user_id, NOW)
    assert (await claim(books, payout_id)).state == "sending"


async def test_a_suspended_function_of_a_merchant_stops_its_own_settlement_and_no_users_payout(books: Books) -> None:
    await books.fund(10_200)
    payout_id = await waiting(books, 10_000)
    await decide_directly(books.owner, K.MERCHANT_SUSPEND, books.merchant_id, NOW, detail={"function": "payout"})
    obstacle = "SELECT app.payout_obstacle(p, :at) FROM (SELECT (jsonb_populate_record(NULL::app.payout, to_jsonb(o) ||"
    obstacle += " '{\"user_id\": null}')).* FROM app.payout o) p"
    assert await books.value(obstacle, at=NOW) == "function_suspended"
    assert (await claim(books, payout_id)).state == "sending"


async def test_a_payout_is_withdrawn_by_two_before_it_is_sent_and_never_after(books: Books, deciders: Deciders) -> None:
    await books.fund(20_400)
    one, other = await waiting(books, 10_000), await waiting(books, 10_000)
    decided = await deciders.decide("instruction.withdraw", one)
    assert await blocked(books, one) == "withdrawn"
    checked = (
        "SELECT app.check_decision(jsonb_build_object('now', '2026-11-23T02:00:00Z', 'decision_id', CAST(:d AS text),"
    )
    checked += " 'subject_id', CAST(:p AS text)))->>'holds'"
    assert await books.value(checked, d=decided["id"], p=one) == "true"
    assert await books.value(checked, d=decided["id"], p=other) == "false"
    await claim(books, other)
    with pytest.raises(DomainError) as caught:
        await deciders.ask("instruction.withdraw", other)
    assert caught.value.code is C.ALREADY_SENT
    await books.run("UPDATE app.payout SET state = 'unknown', wait_reason = 'operator' WHERE id = :p", p=other)
    detail = {"outcome": "failed", "evidence_ref": "E-1"}
    concluded = await deciders.decide("instruction.conclude", other, detail=detail)
    assert concluded["detail"]["request_number"] == f"PO{other.removeprefix('po_')}"
    assert await books.value(checked, d=concluded["id"], p=other) == "true"
