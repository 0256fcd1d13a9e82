"""A payout under review: opened once, escalated and expired by time, ended by people, whoever comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from domain.errors import ConflictError, DomainError, ErrorCode
from domain.reviews import Evidence, EvidenceKind, GiveEvidence, WorkOnReview
from storage.database import create_engine
from storage.reviews import Reviews, approved_payouts, open_payout_cases
from tests.conftest import Database
from tests.storage.assessed import CODES, PAYEE, entry, open_assessed
from tests.storage.books import NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.reviewed import Reviewed

C = ErrorCode
DUE, EXPIRED, LATEST = NOW + timedelta(hours=4), NOW + timedelta(hours=24), NOW + timedelta(hours=120)


@pytest.fixture
def made(books: Books) -> Reviewed:
    return Reviewed(books.owner, books.merchant_id, books.user_id, books.ids)


@pytest.fixture
async def reviews(database: Database) -> AsyncIterator[Reviews]:
    """As the operators' API has them."""
    ops = create_engine(database.ops_url)
    yield Reviews(ops)
    await ops.dispose()


async def work(reviews: Reviews, deciders: Deciders, review_id: str, act: str, **changes: Any) -> dict[str, Any]:
    login = changes.pop("by", "anna")
    values = {
        "now": NOW, "request_id": f"req_{deciders.ids.ulid()}", "operator_id": deciders.people[login],
        "id": review_id, "act": act,
    }  # fmt: skip
    return await reviews.work_on(WorkOnReview.model_validate(values | changes))


async def refused(call: Any) -> ErrorCode:
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value.code


async def payout_of(books: Books, payout_id: str) -> dict[str, Any]:
    row: dict[str, Any] = await books.value(
        "SELECT CAST(row_to_json(p) AS jsonb) FROM app.payout p WHERE p.id = :id", id=payout_id
    )
    return row


async def available(books: Books) -> int:
    found = await books.value(
        "SELECT b.posted - b.held FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id"
        " WHERE a.code = :code",
        code=f"user:{books.user_id}:CNY",
    )
    return int(found)


async def history(reviews: Reviews, review_id: str) -> list[str]:
    found = await reviews.read(review_id, NOW)
    assert found is not None
    return [entry["action"] for entry in found["history"]]


async def test_review_is_opened_once_and_escalates_and_expires_by_time(
    books: Books, made: Reviewed, reviews: Reviews
) -> None:
    payout_id, review_id = await made.review()
    worker = Reviews(books.app)
    again = await made.send_to_review(payout_id)
    waits = await payout_of(books, payout_id)
    early = await worker.standing(payout_id, review_id, DUE - timedelta(seconds=1))
    due = [await worker.standing(payout_id, review_id, DUE) for _ in range(2)]
    held = await available(books)
    over = [await worker.standing(payout_id, review_id, EXPIRED) for _ in range(2)]
    assert again == review_id
    assert (waits["wait_reason"], waits["review_id"]) == ("review", review_id)
    assert (early.state, early.escalated, early.due_at, early.expires_at) == ("open", False, DUE, EXPIRED)
    assert [(found.state, found.escalated) for found in due] == [("open", True)] * 2
    assert {found.state for found in over} == {"expired"}
    ended = await payout_of(books, payout_id)
    assert (ended["state"], ended["reason"]) == ("refused", "review_expired")
    assert (held, await available(books)) == (0, 5_100)
    assert await history(reviews, review_id) == ["opened", "escalated", "expired"]
    assert await refused(worker.standing(payout_id, "rev_" + "0" * 26, NOW)) is C.REVIEW_NOT_FOUND


async def test_payout_leaves_its_review_for_the_bank_only_by_an_approval(books: Books, made: Reviewed) -> None:
    payout_id, review_id = await made.review()
    schedule = "UPDATE app.payout SET state = 'scheduled', state_since = :at WHERE id = :id"
    with pytest.raises(IntegrityError, match="has not approved"):
        await books.run(schedule, id=payout_id, at=NOW)
    await Reviews(books.app).standing(payout_id, review_id, NOW)
    assert (await payout_of(books, payout_id))["state"] == "under_review"


async def test_payout_that_ends_otherwise_closes_its_review(books: Books, made: Reviewed, reviews: Reviews) -> None:
    payout_id, review_id = await made.review()
    await books.run(
        "SELECT app.end_payout(p, 'failed', 'withdrawn', :at, 'process', 'payout.failed') FROM app.payout p"
        " WHERE id = :id",
        id=payout_id, at=NOW,
    )  # fmt: skip
    standing = await Reviews(books.app).standing(payout_id, review_id, EXPIRED)
    assert standing.state == "closed"
    assert (await payout_of(books, payout_id))["reason"] == "withdrawn"
    assert await history(reviews, review_id) == ["opened", "closed"]


async def test_evidence_is_asked_for_given_and_reviewed_again(
    books: Books, made: Reviewed, reviews: Reviews, deciders: Deciders
) -> None:
    payout_id, review_id = await made.review()
    until = NOW + timedelta(hours=30)
    kinds = (EvidenceKind.INVOICE, EvidenceKind.CONTRACT)
    evidence = (Evidence(kind=EvidenceKind.INVOICE, reference="file:7"),)
    give = GiveEvidence(request=books.context(), now=NOW, payout_id=payout_id, evidence=evidence)
    unasked = await refused(Reviews(books.app).give_evidence(give))
    not_taken = await refused(work(reviews, deciders, review_id, "ask", kinds=kinds, until=until))
    await work(reviews, deciders, review_id, "take")
    too_late = await refused(
        work(reviews, deciders, review_id, "ask", kinds=kinds, until=LATEST + timedelta(seconds=1))
    )
    past = await refused(work(reviews, deciders, review_id, "ask", kinds=kinds, until=NOW))
    asked = await work(reviews, deciders, review_id, "ask", kinds=kinds, until=until, note="ask for papers")
    seen = await books.value("SELECT app.payout_view(p) FROM app.payout p WHERE id = :id", id=payout_id)
    answer = await Reviews(books.app).give_evidence(give.model_copy(update={"now": NOW + timedelta(hours=29)}))
    standing = await Reviews(books.app).standing(payout_id, review_id, NOW + timedelta(hours=29))
    other = give.model_copy(update={"request": give.request.model_copy(update={"merchant_id": "mch_other"})})
    assert (unasked, not_taken, too_late, past) == (
        C.EVIDENCE_NOT_ASKED, C.REVIEW_NOT_TAKEN, C.REVIEW_DATE_INVALID, C.REVIEW_DATE_INVALID,
    )  # fmt: skip
    assert (asked["state"], asked["evidence"]["given"]) == ("evidence", False)
    assert seen["waiting_for"]["reason"] == "evidence"
    assert seen["evidence_requested"]["kinds"] == ["invoice", "contract"]
    assert (answer["waiting_for"]["reason"], answer["evidence_requested"]) == ("review", None)
    assert (standing.state, standing.due_at) == ("open", NOW + timedelta(hours=33))
    assert standing.expires_at == NOW + timedelta(hours=34)
    assert await refused(Reviews(books.app).give_evidence(other)) is C.PAYOUT_NOT_FOUND
    assert await history(reviews, review_id) == ["opened", "taken", "evidence_asked", "evidence_given"]
    events = await books.value(
        "SELECT array_agg(type || '/' || coalesce(body->'evidence_requested'->>'kinds', '') ORDER BY sequence)"
        " FROM app.event WHERE object_id = :id", id=payout_id,
    )  # fmt: skip
    assert events == ["payout.accepted/", 'payout.evidence_requested/["invoice", "contract"]', "payout.under_review/"]


async def test_extensions_end_at_their_number_and_at_the_last_day(
    made: Reviewed, reviews: Reviews, deciders: Deciders
) -> None:
    _, review_id = await made.review()
    await work(reviews, deciders, review_id, "take")
    extended = [await work(reviews, deciders, review_id, "extend", note=why) for why in ("first", "second")]
    third = await refused(work(reviews, deciders, review_id, "extend", note="third"))
    assert [(found["due_at"][:16], found["expires_at"][:16]) for found in extended] == [
        ("2026-11-23T18:00", "2026-11-24T14:00"), ("2026-11-24T06:00", "2026-11-25T02:00"),
    ]  # fmt: skip
    assert (third, extended[-1]["extensions_left"]) == (C.REVIEW_NOT_EXTENDABLE, 0)
    _, other_id = await made.review()
    await work(reviews, deciders, other_id, "take")
    await work(reviews, deciders, other_id, "ask", kinds=["contract"], until=LATEST)
    assert await refused(work(reviews, deciders, other_id, "extend", note="beyond")) is C.REVIEW_NOT_EXTENDABLE


async def test_one_person_works_on_a_review_and_what_is_overdue_can_be_taken_over(
    made: Reviewed, reviews: Reviews, deciders: Deciders
) -> None:
    for login, role in (("rui", "risk"), ("rob", "risk"), ("chen", "compliance"), ("tao", "treasury")):
        await deciders.enrol(login, role)
    _, review_id = await made.review()
    taken = [await work(reviews, deciders, review_id, "take", by="rui") for _ in range(2)]
    assert [found["owner_login"] for found in taken] == ["rui", "rui"]
    for login, moment, why in (
        ("rob", NOW, C.REVIEW_TAKEN), ("chen", NOW, C.REVIEW_TAKEN), ("rob", DUE, C.REVIEW_TAKEN),
        ("tao", DUE, C.PERMISSION_MISSING),
    ):  # fmt: skip
        assert await refused(work(reviews, deciders, review_id, "take", by=login, now=moment)) is why
    assert await refused(work(reviews, deciders, review_id, "release", by="rob")) is C.REVIEW_NOT_TAKEN
    over = await work(reviews, deciders, review_id, "take", by="chen", now=DUE)
    freed = await work(reviews, deciders, review_id, "release", by="chen", now=DUE)
    again = await work(reviews, deciders, review_id, "take", by="rob", now=DUE)
    noted = await work(reviews, deciders, review_id, "note", by="rui", now=DUE, note="payee called back")
    assert [found["owner_login"] for found in (over, freed, again, noted)] == ["chen", None, "rob", "rob"]
    assert await history(reviews, review_id) == ["opened", "taken", "taken", "released", "taken", "noted"]
    assert await refused(work(reviews, deciders, review_id, "note", note="late", now=EXPIRED)) is C.REVIEW_EXPIRED
    assert await refused(work(reviews, deciders, "rev_" + "0" * 26, "take")) is C.REVIEW_NOT_FOUND


async def test_what_is_late_becomes_one_matter_each_and_nothing_else_does(books: Books, made: Reviewed) -> None:
    reviewed, review_id = await made.review()
    checking, cooling, queued, silent, parked = [await made.payout() for _ in range(5)]
    later = NOW + timedelta(hours=5)
    for payout_id, state, extra in (
        (cooling, "cooling_off", "cool_until = :later"),
        (queued, "scheduled", "slot_at = :later"),
        (silent, "scheduled", "slot_at = :at"),
        (silent, "sending", "wait_deadline = :later, wait_reason = 'bank_answer', claimed_at = :at"),
        (parked, "scheduled", "slot_at = :at"),
        (parked, "sending", "wait_deadline = :later, wait_reason = 'operator', claimed_at = :at"),
    ):
        values = {"id": payout_id, "state": state, "at": NOW} | ({"later": later} if ":later" in extra else {})
        change = f"UPDATE app.payout SET state = :state, state_since = :at, {extra} WHERE id = :id"  # noqa: S608
        await books.run(change, **values)
    early = await open_payout_cases(books.app, DUE - timedelta(seconds=1))
    first = [await open_payout_cases(books.app, later) for _ in range(2)]
    second = await open_payout_cases(books.app, later + timedelta(hours=4))
    cases = await books.value("SELECT jsonb_object_agg(id, kind || ' ' || subject_id) FROM app.case_record")
    assert (early, first, second) == (0, [4, 0], 2)
    assert sorted(cases.values()) == sorted([
        f"review_overdue {reviewed}", f"payout_overdue {reviewed}", f"payout_overdue {checking}",
        f"payout_overdue {cooling}", f"payout_overdue {queued}", f"payout_unanswered {silent}",
    ])  # fmt: skip
    assert f"case_{review_id.partition('_')[2]}" in cases
    recorded = await books.value("SELECT count(*) FROM app.operation WHERE action = 'open_case' AND actor = 'sweeper'")
    assert recorded == 6


async def test_process_that_may_not_have_heard_of_an_approval_is_found_until_it_has(
    books: Books, made: Reviewed, deciders: Deciders
) -> None:
    payout_id, review_id = await made.review()
    await made.review()
    decision = await deciders.decide("review.approve", review_id, ground="evidence")
    age = timedelta(seconds=8)
    before = await approved_payouts(books.app, NOW + age, age)
    due = await approved_payouts(books.app, NOW + age + timedelta(seconds=1), age)
    await books.run("UPDATE app.payout SET state = 'scheduled', state_since = :at WHERE id = :id", id=payout_id, at=NOW)
    assert (decision["state"], before, due) == ("committed", [], [payout_id])
    assert await approved_payouts(books.app, NOW + timedelta(days=1), age) == []


async def test_approval_waits_for_a_listed_name_to_be_cleared_and_a_rejection_does_not(
    books: Books, reviews: Reviews, deciders: Deciders
) -> None:
    async with open_assessed(books) as assessed:
        await assessed.load(CODES[0], entry(PAYEE))
        payout_id = await assessed.payout()
        found = await assessed.assess(payout_id)
    assert found.review is not None
    review_id = found.review.review_id
    [hit] = ((await reviews.read(review_id, NOW)) or {})["hits"]
    with pytest.raises(ConflictError) as caught:
        await deciders.decide("review.approve", review_id, ground="evidence")
    rejected = await deciders.decide("review.reject", review_id, ground="suspected_illegality")
    assert hit["rule"] == "screening"
    assert caught.value.code is C.SCREENING_NOT_CLEARED
    assert rejected["state"] == "committed"
    assert (await payout_of(books, payout_id))["reason"] == "review_rejected"
