"""The review queue over HTTP: found, taken, asked about, decided by one or two people; everything on record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from activities.interfaces import BankRecord, BankRecordLine
from domain.banking import BankOutcome
from storage.reviews import Reviews
from tests.conftest import Database
from tests.ops.conftest import OpsStage, Person
from tests.storage.reviewed import Reviewed

FOUR_EYES_ABOVE = 1_000_000
REASON = {"ground": "evidence", "reason": "papers looked at"}


@dataclass
class Desk:
    """The queue, and who works on it: rui and rob (risk), chen (compliance), su (support)."""

    ops: OpsStage
    made: Reviewed
    user_id: str
    rui: Person
    rob: Person
    chen: Person
    su: Person

    async def decide(self, who: Person, kind: str, review_id: str, **changes: Any) -> httpx.Response:
        body = {"kind": kind, "subject_id": review_id} | REASON
        if kind == "review.reject":
            body |= {"ground": "suspected_fraud"}
        return await who.post("/decisions", body | changes)

    async def payout(self, payout_id: str) -> dict[str, Any]:
        [row] = await self.ops.rows("SELECT state, reason, wait_reason FROM app.payout WHERE id = :id", id=payout_id)
        return row


@pytest.fixture
async def desk(ops: OpsStage, database: Database) -> Desk:
    merchant_id, user_id = f"mch_{ops.ids.ulid()}", f"usr_{ops.ids.ulid()}"
    now = ops.clock.now()
    await ops.rows(
        "INSERT INTO app.merchant VALUES (:m, '海棠书店', 'active', :until, :at)",
        m=merchant_id, until=now + timedelta(days=900), at=now,
    )  # fmt: skip
    await ops.rows(
        "INSERT INTO app.end_user VALUES (:u, :m, 'ref-1', 'individual', 'CN', 'active', 'person-1', :at)",
        u=user_id, m=merchant_id, at=now,
    )  # fmt: skip
    await ops.rows("SELECT ledger.open_accounts(ARRAY[:code])", code=f"user:{user_id}:CNY")
    people = [await ops.operator(role, login=login) for login, role in
              (("rui", "risk"), ("rob", "risk"), ("chen", "compliance"), ("su", "support"))]  # fmt: skip
    return Desk(ops, Reviewed(database.owner_engine, merchant_id, user_id, ops.ids), user_id, *people)


async def test_reviewer_finds_takes_and_sees_why(desk: Desk) -> None:
    first, first_review = await desk.made.review(5_000, now=desk.ops.clock.now())
    _, second_review = await desk.made.review(6_000, now=desk.ops.clock.now() + timedelta(minutes=1))
    queue = (await desk.rui.get("/reviews", limit=1)).json()
    rest = (await desk.rui.get("/reviews", limit=1, cursor=queue["next_cursor"])).json()
    taken = (await desk.rui.post(f"/reviews/{first_review}/take")).json()
    other = await desk.rob.post(f"/reviews/{first_review}/take")
    full = (await desk.rui.get(f"/reviews/{first_review}")).json()
    assert [item["id"] for page in (queue, rest) for item in page["items"]] == [first_review, second_review]
    assert (taken["owner_login"], other.json()["code"]) == ("rui", "REVIEW_TAKEN")
    assert [len((await desk.rui.get("/reviews", **{"owner": owner})).json()["items"]) for owner in ("me", "none")] == [
        1,
        1,
    ]
    assert [len((await desk.rob.get("/reviews", **{"owner": who})).json()["items"]) for who in ("me", desk.rui.id)] == [
        0,
        1,
    ]
    assert (full["payout"]["id"], full["payee"]["account_last4"], full["needs_second_person"]) == (first, "1234", False)
    assert full["hits"][0]["rule"] == "new_payee"
    assert [item["id"] for item in full["recent"]["payouts"]][-1] == first
    assert [entry["action"] for entry in full["history"]] == ["opened", "taken"]
    desk.ops.clock.advance(hours=5)
    await desk.rui.log_in()
    assert len((await desk.rui.get("/reviews", overdue="true")).json()["items"]) == 2
    assert (await desk.su.log_in()).status_code == 200
    assert (await desk.su.get(f"/reviews/{first_review}")).json()["code"] == "PERMISSION_MISSING"


async def test_evidence_note_and_extension_are_on_record_and_wake_the_process(desk: Desk) -> None:
    payout_id, review_id = await desk.made.review(now=desk.ops.clock.now())
    until = (desk.ops.clock.now() + timedelta(hours=30)).isoformat()
    not_taken = await desk.rui.post(f"/reviews/{review_id}/extend", {"reason": "more time"})
    await desk.rui.post(f"/reviews/{review_id}/take")
    extended = await desk.rui.post(f"/reviews/{review_id}/extend", {"reason": "more time"})
    asked = await desk.rui.post(f"/reviews/{review_id}/ask", {"kinds": ["invoice"], "until": until})
    noted = await desk.rui.post(f"/reviews/{review_id}/note", {"note": "called the shop"})
    personal = await desk.rui.post(f"/reviews/{review_id}/note", {"note": "his mobile is 13800138000"})
    unknown = await desk.rui.post(f"/reviews/{review_id}/ask", {"kinds": ["selfie"], "until": until})
    naive = await desk.rui.post(f"/reviews/{review_id}/ask", {"kinds": ["invoice"], "until": "2026-12-01T00:00:00"})
    missing = await desk.rui.post(f"/reviews/rev_{'0' * 26}/note", {"note": "called the shop"})
    freed = await desk.rui.post(f"/reviews/{review_id}/release")
    assert not_taken.json()["code"] == "REVIEW_NOT_TAKEN"
    assert (extended.status_code, extended.json()["extensions_left"]) == (200, 1)
    assert asked.status_code == 200, asked.text
    assert (asked.json()["state"], asked.json()["evidence"]["kinds"]) == ("evidence", ["invoice"])
    assert noted.status_code == 200
    assert freed.json()["owner"] is None
    assert {answer.json()["code"] for answer in (personal, unknown, naive)} == {"REQUEST_INVALID"}
    assert missing.json()["code"] == "REVIEW_NOT_FOUND"
    assert desk.ops.processes.told == [("payout", payout_id, "look_again")] * 2
    history = (await desk.rui.get(f"/reviews/{review_id}")).json()["history"]
    assert [entry["action"] for entry in history] == [
        "opened", "taken", "extended", "evidence_asked", "noted", "released",
    ]  # fmt: skip
    assert [entry["note"] for entry in history if entry["note"]] == ["more time", "called the shop"]
    records = await desk.ops.records(actor=desk.rui.actor, subject_id=review_id)
    refused = {record["request_id"]: record["reason"] for record in records if record["outcome"] == "refused"}
    assert list(refused.values()) == ["review_not_taken", "request_invalid", "request_invalid", "request_invalid"]


async def test_small_review_is_approved_by_one_and_rejected_by_one(desk: Desk) -> None:
    approved, review_id = await desk.made.review(FOUR_EYES_ABOVE, now=desk.ops.clock.now())
    decision = (await desk.decide(desk.rui, "review.approve", review_id)).json()
    refused, other_id = await desk.made.review(now=desk.ops.clock.now())
    rejection = (await desk.decide(desk.chen, "review.reject", other_id)).json()
    again = await desk.decide(desk.rui, "review.approve", review_id)
    assert (decision["state"], decision["needs_second_person"], decision["process_told"]) == ("committed", False, True)
    assert await desk.payout(approved) == {"state": "under_review", "reason": None, "wait_reason": "process_start"}
    assert rejection["state"] == "committed"
    assert await desk.payout(refused) == {"state": "refused", "reason": "review_rejected", "wait_reason": None}
    assert again.json()["code"] == "REVIEW_ENDED"
    assert desk.ops.processes.told == [("payout", approved, "look_again"), ("payout", refused, "look_again")]
    shown = (await desk.rui.get(f"/reviews/{review_id}")).json()
    assert (shown["state"], shown["decided_by"]) == ("approved", decision["id"])


async def test_above_the_amount_two_people_approve_and_never_the_same_one(desk: Desk) -> None:
    payout_id, review_id = await desk.made.review(FOUR_EYES_ABOVE + 1, now=desk.ops.clock.now())
    assert (await desk.rui.get(f"/reviews/{review_id}")).json()["needs_second_person"] is True
    asked = (await desk.decide(desk.rui, "review.approve", review_id)).json()
    alone = await desk.rui.post(f"/decisions/{asked['id']}/approve")
    support = await desk.su.post(f"/decisions/{asked['id']}/approve")
    before = (await desk.payout(payout_id))["wait_reason"]
    done = (await desk.chen.post(f"/decisions/{asked['id']}/approve")).json()
    assert (asked["state"], asked["needs_second_person"]) == ("requested", True)
    assert (alone.json()["code"], support.json()["code"]) == ("SECOND_PERSON_REQUIRED", "PERMISSION_MISSING")
    assert (before, done["state"]) == ("review", "committed")
    assert (await desk.payout(payout_id))["wait_reason"] == "process_start"
    outcomes = [record["outcome"] for record in await desk.ops.records(subject_id=review_id, action="approve_decision")]
    assert outcomes == ["refused", "denied"]


async def test_approval_that_races_the_expiry_or_follows_a_withdrawal_never_has_both(desk: Desk) -> None:
    now, standings = desk.ops.clock.now(), Reviews(desk.ops.database.owner_engine)
    ends: list[tuple[int, str, str]] = []
    for _ in range(6):
        payout_id, review_id = await desk.made.review(now=now - timedelta(hours=23, minutes=59))
        answer, standing = await asyncio.gather(
            desk.decide(desk.rui, "review.approve", review_id),
            standings.standing(payout_id, review_id, now + timedelta(minutes=1)),
        )
        ends.append((answer.status_code, standing.state.value, (await desk.payout(payout_id))["state"]))
    late, late_review = await desk.made.review(now=now - timedelta(hours=24))
    too_late = await desk.decide(desk.rui, "review.approve", late_review)
    assert set(ends) <= {(201, "approved", "under_review"), (409, "expired", "refused")}
    assert (too_late.json()["code"], (await desk.payout(late))["state"]) == ("REVIEW_EXPIRED", "under_review")
    payout_id, review_id = await desk.made.review(now=now)
    withdrawn = await desk.decide(desk.rui, "instruction.withdraw", payout_id, ground="suspected_fraud")
    await desk.rob.post(f"/decisions/{withdrawn.json()['id']}/approve")
    assert (await desk.decide(desk.rui, "review.approve", review_id)).json()["code"] == "DECISION_NOT_APPLICABLE"
    assert desk.ops.processes.told[-1][:2] == ("decision", payout_id)


async def test_operators_find_a_payout_and_only_reviewers_see_what_the_rules_said(desk: Desk) -> None:
    payout_id, review_id = await desk.made.review(now=desk.ops.clock.now())
    [row] = await desk.ops.rows("SELECT order_number, payee_id FROM app.payout WHERE id = :id", id=payout_id)
    found = [
        (await desk.su.get("/instructions", **by)).json()["items"]
        for by in ({"id": payout_id}, {"order_number": row["order_number"]}, {"payee_id": row["payee_id"]})
    ]
    support = (await desk.su.get(f"/instructions/{payout_id}")).json()
    risk = (await desk.rui.get(f"/instructions/{payout_id}")).json()
    matters = (await desk.su.get("/matters")).json()["items"]
    waiting = (await desk.su.get("/payouts", waiting_for="review")).json()["items"]
    assert [[item["id"] for item in items] for items in found] == [[payout_id]] * 3
    assert (support["payee"]["account_last4"], support["state"]) == ("1234", "under_review")
    assert not {"reviews", "risk_decisions", "screening_matches"} & support.keys()
    assert not [name for name in support if "risk" in name or "review" in name]
    assert [review["id"] for review in risk["reviews"]] == [review_id]
    assert ("review", "open", payout_id) in {(item["kind"], item["why"], item["subject_id"]) for item in matters}
    assert [item["id"] for item in waiting] == [payout_id]
    assert risk["process"]["workflow_id"] == f"send-payout/{payout_id}"
    assert (await desk.su.post(f"/instructions/{payout_id}/ask-bank")).json()["code"] == "BANK_NOT_TO_ASK"


async def test_the_banks_own_books_are_read_by_a_worker_and_compared_with_ours(desk: Desk) -> None:
    payout_id = await desk.made.payout(now=desk.ops.clock.now())
    number = "PO" + payout_id.partition("_")[2]
    unsent = await desk.su.get(f"/instructions/{payout_id}/bank_record")
    await desk.ops.rows(
        "UPDATE app.payout SET state = 'scheduled', wait_reason = 'bank_window' WHERE id = :id", id=payout_id
    )
    await desk.ops.rows(
        "UPDATE app.payout SET state = 'sending', claimed_at = :at WHERE id = :id",
        id=payout_id,
        at=desk.ops.clock.now(),
    )
    await desk.ops.rows(
        "INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)"
        " VALUES (:n, :id, 'PO', 'HBRB', 'domestic_bank', :at)",
        n=number, id=payout_id, at=desk.ops.clock.now(),
    )  # fmt: skip
    silent = await desk.su.get(f"/instructions/{payout_id}/bank_record")
    line = BankRecordLine(bank_reference="B1", booked_at=desk.ops.clock.now(), amount_minor=-5_000, currency="CNY")
    record = BankRecord(request_number=number, outcome=BankOutcome.PROCESSING, lines=(line,))
    answers = []
    for found in (
        record, record.model_copy(update={"lines": (line, line)}), record.model_copy(update={"lines": ()}),
        record.model_copy(update={"lines": (), "amount_minor": 5_000}),
        record.model_copy(update={"lines": (line.model_copy(update={"amount_minor": -4_999}),)}),
    ):  # fmt: skip
        desk.ops.processes.bank_record = found
        answers.append((await desk.su.get(f"/instructions/{payout_id}/bank_record")).json())
    asked = await desk.su.post(f"/instructions/{payout_id}/ask-bank")
    assert (unsent.json()["code"], silent.json()["code"]) == ("BANK_NOT_TO_ASK", "BANK_NO_ANSWER")
    assert [answer["agrees"] for answer in answers] == [True, False, None, True, False]
    assert (answers[0]["request_number"], answers[0]["lines"][0]["bank_reference"]) == (number, "B1")
    assert desk.ops.processes.told[0][:2] == ("bank_record", number)
    assert (asked.json()["how"], desk.ops.processes.told[-1][0]) == ("told", "send-payout")
    assert (await desk.chen.get(f"/instructions/{payout_id}/bank_record")).json()["code"] == "PERMISSION_MISSING"
