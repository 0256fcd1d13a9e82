"""Decisions: who may, two people where it takes two, once, and on the record; and what follows at once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from domain.decisions import DecisionKind, RequestDecision, read_detail
from domain.errors import DomainError, ErrorCode
from storage.decisions import decide_directly
from tests.conftest import Database
from tests.storage.books import BANK, NOW, Books
from tests.storage.deciders import Deciders

C = ErrorCode


async def refused(call: Any, code: ErrorCode) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await call
    assert caught.value.code is code
    return caught.value


async def records(books: Books, decision_id: str) -> list[tuple[str, str, str, str | None]]:
    """Actor, action, outcome and reason of everything that was done about a decision."""
    async with books.owner.connect() as connection:
        rows = await connection.execute(
            sa.text(
                "SELECT actor, action, outcome, reason FROM app.operation"
                " WHERE detail->>'decision_id' = :id ORDER BY id"
            ),
            {"id": decision_id},
        )
        return [tuple(row) for row in rows]


async def state_of(books: Books, table: str, key: str) -> str:
    column = "code" if table == "partner" else "id"
    value = "enabled::text" if table == "partner" else "state"
    return str(await books.value(f"SELECT {value} FROM app.{table} WHERE {column} = :id", id=key))  # noqa: S608


async def test_a_decision_of_two_takes_place_when_the_second_has_approved_it(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    assert asked["state"] == "requested"
    assert await state_of(books, "end_user", books.user_id) == "active"
    decided = await deciders.approve(asked["id"])
    assert decided["state"] == "committed"
    assert (decided["requested_by"], decided["decided_by"]) == (deciders.people["anna"], deciders.people["ben"])
    assert await state_of(books, "end_user", books.user_id) == "suspended"
    assert await records(books, asked["id"]) == [
        ("operator:anna", "request_decision", "received", None),
        ("operator:ben", "commit_decision", "done", None),
    ]


async def test_nobody_is_the_second_person_to_themselves(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    await refused(deciders.approve(asked["id"], by="anna"), C.SECOND_PERSON_REQUIRED)
    assert await state_of(books, "end_user", books.user_id) == "active"
    assert (await records(books, asked["id"]))[-1] == (
        "operator:anna", "approve_decision", "refused", "second_person_required",
    )  # fmt: skip


async def test_the_table_itself_refuses_one_person_as_both(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    with pytest.raises(DBAPIError, match="violates check constraint"):
        await books.run(
            "UPDATE app.decision SET state = 'committed', decided_by = requested_by, decided_at = now() WHERE id = :id",
            id=asked["id"],
        )


@pytest.mark.parametrize(
    ("login", "roles", "columns"),
    [
        ("support", ("support",), {}),
        ("auditor", ("auditor",), {}),
        ("gone", ("risk",), {"state": "left"}),
        ("late", ("risk",), {"credentials_expire_at": NOW}),
    ],
)
async def test_who_has_no_right_to_decide_neither_asks_nor_approves(
    books: Books, deciders: Deciders, login: str, roles: tuple[str, ...], columns: dict[str, Any]
) -> None:
    await deciders.enrol(login, *roles, **columns)
    await refused(deciders.ask("user.suspend", books.user_id, by=login), C.PERMISSION_MISSING)
    asked = await deciders.ask("user.suspend", books.user_id)
    await refused(deciders.approve(asked["id"], by=login), C.PERMISSION_MISSING)
    await refused(deciders.reject(asked["id"], by=login), C.PERMISSION_MISSING)
    assert await state_of(books, "end_user", books.user_id) == "active"
    denied = "SELECT count(*) FROM app.operation WHERE outcome = 'denied' AND actor = :who"
    assert await books.value(denied, who=f"operator:{login}") == 3


async def test_who_lost_the_right_to_ask_meanwhile_has_asked_in_vain(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    await books.run("UPDATE app.operator SET roles = '{support}' WHERE login = 'anna'")
    await refused(deciders.approve(asked["id"]), C.REQUESTER_NOT_PERMITTED)
    found = await deciders.decisions.read(asked["id"])
    assert found is not None
    assert (found["state"], found["refusal"]) == ("refused", "requester_not_permitted")
    assert await state_of(books, "end_user", books.user_id) == "active"


async def test_approving_twice_answers_the_same_and_does_it_once(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    first = await deciders.approve(asked["id"])
    assert await deciders.approve(asked["id"], now=NOW + timedelta(minutes=1)) == first
    await deciders.enrol("carl", "risk")
    await refused(deciders.approve(asked["id"], by="carl"), C.DECISION_ENDED)
    assert await books.value("SELECT count(*) FROM app.restriction") == 1


async def test_twenty_who_approve_at_once_commit_one_decision(books: Books, deciders: Deciders) -> None:
    people = [await deciders.enrol(f"person{n}", "risk") and f"person{n}" for n in range(20)]
    asked = await deciders.ask("user.suspend", books.user_id)
    answers = await asyncio.gather(*(deciders.approve(asked["id"], by=p) for p in people), return_exceptions=True)
    assert len([answer for answer in answers if isinstance(answer, dict)]) == 1
    assert {a.code for a in answers if isinstance(a, DomainError)} == {C.DECISION_ENDED}
    assert await books.value("SELECT count(*) FROM app.restriction") == 1


async def test_a_rejected_decision_never_takes_place(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    rejected = await deciders.reject(asked["id"])
    assert rejected["state"] == "rejected"
    assert await deciders.reject(asked["id"]) == rejected
    await refused(deciders.approve(asked["id"]), C.DECISION_ENDED)
    assert await state_of(books, "end_user", books.user_id) == "active"


async def test_who_asked_may_take_it_back(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    assert (await deciders.reject(asked["id"], by="anna"))["state"] == "rejected"


async def test_a_request_that_nobody_approved_in_time_lapses(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    late = NOW + timedelta(hours=24)
    async with books.app.begin() as connection:
        assert await connection.scalar(sa.text("SELECT app.lapse_decisions(:at)"), {"at": late}) == 1
    await refused(deciders.approve(asked["id"], now=late), C.DECISION_ENDED)
    again = await deciders.ask("user.suspend", books.user_id, now=late)
    await refused(deciders.approve(again["id"], now=late + timedelta(hours=24)), C.DECISION_EXPIRED)
    assert (await deciders.ask("user.suspend", books.user_id, now=late + timedelta(hours=25)))["state"] == "requested"
    assert await state_of(books, "end_user", books.user_id) == "active"


async def test_one_request_of_a_kind_waits_for_approval_at_a_time(books: Books, deciders: Deciders) -> None:
    async def ask(by: str) -> dict[str, Any]:
        return await deciders.ask("user.suspend", books.user_id, by=by)

    answers = await asyncio.gather(*(ask(by) for by in ("anna", "ben") * 5), return_exceptions=True)
    [asked] = [answer for answer in answers if isinstance(answer, dict)]
    errors = [answer for answer in answers if isinstance(answer, DomainError)]
    assert {(error.code, error.subject_id) for error in errors} == {(C.DECISION_PENDING, asked["id"])}


async def test_the_same_request_again_answers_what_it_answered(books: Books, deciders: Deciders) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    assert await deciders.ask("user.suspend", books.user_id, id=asked["id"]) == asked


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ground": "evidence"}, C.GROUND_UNKNOWN),
        ({"ground": "nonsense"}, C.GROUND_UNKNOWN),
        ({"subject_id": "usr_00000000000000000000000000"}, C.SUBJECT_NOT_FOUND),
        ({"kind": "merchant.suspend"}, C.SUBJECT_NOT_FOUND),
        ({"kind": "user.resume", "ground": "resolved"}, C.DECISION_NOT_APPLICABLE),
        ({"kind": "funds.freeze"}, C.DECISION_DATE_INVALID),
        ({"kind": "funds.freeze", "detail": {"review_at": NOW.isoformat()}}, C.DECISION_DATE_INVALID),
        (
            {"kind": "funds.freeze", "detail": {"review_at": (NOW + timedelta(days=31)).isoformat()}},
            C.DECISION_DATE_INVALID,
        ),
    ],
)
async def test_what_cannot_be_decided_is_refused_at_once_and_recorded(
    books: Books, deciders: Deciders, changes: dict[str, Any], code: ErrorCode
) -> None:
    values = {"kind": "user.suspend", "subject_id": books.user_id} | changes
    await refused(deciders.ask(values.pop("kind"), values.pop("subject_id"), **values), code)
    assert await books.value("SELECT count(*) FROM app.decision") == 0
    recorded = "SELECT reason FROM app.operation WHERE action = 'request_decision' AND outcome = 'refused'"
    assert await books.value(recorded) == code.value.lower()


@pytest.mark.parametrize(
    "reason",
    ["", "x" * 201, "ID 11010519900307765X", "card 6200 0100 0000 0000 018", "call 138-0013-8000", "two\nlines"],
)
async def test_a_reason_is_short_and_holds_nobodys_numbers(books: Books, deciders: Deciders, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await deciders.ask("user.suspend", books.user_id, reason=reason)
    assert reason not in str(caught.value) or not reason


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("funds.freeze", {}),
        ("user.suspend", {"function": "everything"}),
        ("instruction.conclude", {"outcome": "succeeded", "evidence_ref": "E-1"}),
        ("instruction.conclude", {"outcome": "failed", "bank_reference": "B-1", "evidence_ref": "E-1"}),
        ("instruction.conclude", {"outcome": "failed"}),
        ("authority_order.register", {"issuer": "公安局", "number": "1", "demands": "hold"}),
        ("instruction.withdraw", {"amount_minor": 1}),
    ],
)
def test_a_detail_says_what_its_kind_needs_and_nothing_else(kind: str, detail: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_detail(DecisionKind(kind), detail)


async def test_a_decided_decision_can_be_neither_edited_nor_deleted(books: Books, deciders: Deciders) -> None:
    decided = await deciders.decide("user.suspend", books.user_id)
    for statement in (
        "UPDATE app.decision SET reason = 'other'", "UPDATE app.decision SET state = 'rejected'",
        "DELETE FROM app.decision", "TRUNCATE app.decision CASCADE", "UPDATE app.restriction SET ground = 'other'",
        "DELETE FROM app.restriction",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="append-only"):
            await books.run(statement)
    assert await deciders.decisions.read(decided["id"]) == decided


async def test_a_pending_decision_stays_what_it_was_asked_as(books: Books, deciders: Deciders) -> None:
    await deciders.ask("user.suspend", books.user_id)
    with pytest.raises(DBAPIError, match="append-only"):
        await books.run("UPDATE app.decision SET subject_id = 'usr_other'")


async def test_neither_merchants_nor_operators_processes_write_to_the_tables(
    database: Database, books: Books, deciders: Deciders
) -> None:
    asked = await deciders.ask("user.suspend", books.user_id)
    for engine in (database.app_engine, database.ops_engine, database.webhooks_engine):
        for statement in (
            "UPDATE app.decision SET state = 'committed'", "INSERT INTO app.restriction SELECT * FROM app.restriction",
            "SELECT app.carry_out(d) FROM app.decision d", "SELECT app.lift_restrictions(d) FROM app.decision d",
            "UPDATE app.payment SET withdrawn_by = NULL",
        ):  # fmt: skip
            with pytest.raises(DBAPIError, match="permission denied"):
                async with engine.begin() as connection:
                    await connection.execute(sa.text(statement))
    async with database.app_engine.begin() as connection:
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(
                sa.text("SELECT app.approve_decision(CAST(:item AS jsonb))"), {"item": json.dumps({"id": asked["id"]})}
            )


async def test_one_person_decides_on_a_waiver(books: Books, deciders: Deciders) -> None:
    waiver = books.new_id("wvr")
    await books.run(
        "INSERT INTO app.waiver_application VALUES (:id, :m, 100, 'CNY', 'pending', :at, 'key_test')",
        id=waiver, m=books.merchant_id, at=NOW,
    )  # fmt: skip
    assert (await deciders.ask("waiver.approve", waiver))["state"] == "committed"
    assert await state_of(books, "waiver_application", waiver) == "approved"
    assert await books.value("SELECT decided_by FROM app.waiver_application") == deciders.people["anna"]
    await refused(deciders.ask("waiver.reject", waiver), C.DECISION_NOT_APPLICABLE)


@pytest.mark.parametrize("whom", ["user", "merchant"])
async def test_what_was_suspended_is_resumed_by_two(books: Books, deciders: Deciders, whom: str) -> None:
    subject = books.user_id if whom == "user" else books.merchant_id
    table = "end_user" if whom == "user" else "merchant"
    await deciders.decide(f"{whom}.suspend", subject)
    await deciders.decide(f"{whom}.suspend", subject, detail={"function": "collect"})
    await refused(deciders.ask(f"{whom}.suspend", subject), C.DECISION_NOT_APPLICABLE)
    collect = await books.value("SELECT id FROM app.restriction WHERE function = 'collect'")
    await deciders.decide(f"{whom}.resume", subject, detail={"restriction_id": collect})
    assert await state_of(books, table, subject) == "suspended"
    lifted = await deciders.decide(f"{whom}.resume", subject)
    assert await state_of(books, table, subject) == "active"
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL") == 0
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_by = :id", id=lifted["id"]) == 1


async def test_a_partner_is_stopped_by_one_and_started_again_by_two(books: Books, deciders: Deciders) -> None:
    assert (await deciders.ask("partner.disable", BANK))["state"] == "committed"
    assert await state_of(books, "partner", BANK) == "false"
    asked = await deciders.ask("partner.enable", BANK)
    assert await state_of(books, "partner", BANK) == "false"
    await deciders.approve(asked["id"])
    assert await state_of(books, "partner", BANK) == "true"


async def test_a_case_is_resolved_by_two(books: Books, deciders: Deciders) -> None:
    case = books.new_id("case")
    await books.run(
        "INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)"
        " VALUES (:id, 'operator_needed', 'pay_1', :m, :at)", id=case, m=books.merchant_id, at=NOW,
    )  # fmt: skip
    decided = await deciders.decide("case.resolve", case, detail={"resolution": "unfounded"})
    assert await books.value("SELECT resolved_by FROM app.case_record") == decided["id"]
    assert await state_of(books, "case_record", case) == "resolved"


async def test_a_freeze_whose_review_is_due_stays_and_opens_one_case(books: Books, deciders: Deciders) -> None:
    due = NOW + timedelta(days=3)
    await deciders.decide("funds.freeze", books.merchant_id, detail={"review_at": due.isoformat()})

    async def review(at: Any) -> int:
        async with books.app.begin() as connection:
            return int(await connection.scalar(sa.text("SELECT app.open_reviews(:at)"), {"at": at}) or 0)

    assert await review(due - timedelta(seconds=1)) == 0
    assert [await review(due), await review(due)] == [1, 0]
    assert await books.value("SELECT kind FROM app.case_record") == "restriction_review"
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL") == 1


async def test_a_further_freeze_prolongs_the_first_and_a_release_ends_it(books: Books, deciders: Deciders) -> None:
    for days in (3, 10):
        review_at = (NOW + timedelta(days=days)).isoformat()
        await deciders.decide("funds.freeze", books.user_id, detail={"review_at": review_at})
    open_until = "SELECT review_at FROM app.restriction WHERE lifted_at IS NULL"
    assert await books.value(open_until) == NOW + timedelta(days=10)
    await deciders.decide("funds.release", books.user_id)
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL") == 0


async def test_only_another_order_releases_what_an_authority_holds(books: Books, deciders: Deciders) -> None:
    order = {
        "issuer": "上海市公安局",
        "number": "沪公冻〔2026〕1号",
        "expires_at": (NOW + timedelta(days=60)).isoformat(),
    }
    hold = order | {"demands": "hold"}
    await deciders.decide("authority_order.register", books.user_id, detail=hold)
    await refused(deciders.ask("funds.release", books.user_id), C.DECISION_NOT_APPLICABLE)
    await refused(deciders.ask("user.resume", books.user_id), C.DECISION_NOT_APPLICABLE)
    await refused(deciders.ask("authority_order.register", books.user_id, detail=hold), C.DECISION_NOT_APPLICABLE)
    await deciders.decide("authority_order.register", books.user_id, detail=order | {"demands": "query"})
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL") == 1
    await deciders.decide("authority_order.register", books.user_id, detail=order | {"demands": "release"})
    assert await books.value("SELECT count(*) FROM app.restriction WHERE lifted_at IS NULL") == 0
    assert await books.value("SELECT count(*) FROM app.authority_order") == 3


async def test_the_owner_can_decide_directly_for_a_set_up(books: Books, deciders: Deciders) -> None:
    await decide_directly(books.owner, DecisionKind.USER_SUSPEND, books.user_id, NOW)
    assert await state_of(books, "end_user", books.user_id) == "suspended"
    detail = {"issuer": "法院", "number": "1", "demands": "hold", "expires_at": (NOW + timedelta(days=1)).isoformat()}
    await decide_directly(books.owner, DecisionKind.AUTHORITY_ORDER_REGISTER, books.user_id, NOW, detail=detail)
    with pytest.raises(ValueError, match="cannot take place"):
        await decide_directly(books.owner, DecisionKind.USER_SUSPEND, books.user_id, NOW)


def test_a_request_of_an_unknown_kind_is_no_request() -> None:
    with pytest.raises(ValidationError):
        RequestDecision.model_validate({"kind": "money.print"})


async def test_a_resumption_lifts_what_there_was_when_it_was_asked_for(books: Books, deciders: Deciders) -> None:
    """A report that came in before the second person approved stays in force: neither of the two knew of it."""
    await deciders.decide("user.suspend", books.user_id)
    asked = await deciders.ask("user.resume", books.user_id)
    await books.run(
        "INSERT INTO app.restriction (id, kind, subject_id, merchant_id, function, ground, placed_by, placed_at)"
        " VALUES ('rst_report', 'suspension', :u, :m, 'collect', 'user_report', 'case_1', :at)",
        u=books.user_id, m=books.merchant_id, at=NOW - timedelta(minutes=1),
    )  # fmt: skip
    await deciders.approve(asked["id"])
    in_force = "SELECT array_agg(id) FROM app.restriction WHERE lifted_at IS NULL"
    assert await books.value(in_force) == ["rst_report"]
    assert await state_of(books, "end_user", books.user_id) == "active"


async def test_a_release_by_an_authority_does_not_lift_an_order_that_came_after_it_was_asked_for(
    books: Books, deciders: Deciders
) -> None:
    def order(number: str, demands: str) -> dict[str, str]:
        until = (NOW + timedelta(days=9)).isoformat()
        return {"issuer": "公安局", "number": number, "demands": demands, "expires_at": until}

    await deciders.decide("authority_order.register", books.user_id, detail=order("1", "hold"))
    asked = await deciders.ask("authority_order.register", books.user_id, detail=order("2", "release"))
    await books.run(
        "INSERT INTO app.restriction (id, kind, subject_id, merchant_id, ground, placed_by, placed_at, ends_at)"
        " VALUES ('rst_later', 'authority_order', :u, :m, 'authority', 'dec_x', :at, :until)",
        u=books.user_id, m=books.merchant_id, at=NOW, until=NOW + timedelta(days=9),
    )  # fmt: skip
    await deciders.approve(asked["id"])
    assert await books.value("SELECT array_agg(id) FROM app.restriction WHERE lifted_at IS NULL") == ["rst_later"]


async def parked_payment(books: Books, state: str, number: str) -> str:
    """A payment that waits for people: in this state, and last sent to its bank under this number."""
    await books.enable_waiver(20_000)
    payment = await books.instructions.accept_payment(books.payment())
    for step in ("sending", state):
        await books.run(
            "UPDATE app.payment SET state = :state, claimed_at = :at, wait_reason = 'operator' WHERE id = :id",
            state=step, at=NOW, id=payment["id"],
        )  # fmt: skip
    await sent(books, payment["id"], number, NOW)
    return str(payment["id"])


async def sent(books: Books, subject_id: str, number: str, at: Any) -> None:
    await books.run(
        "INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at)"
        " VALUES (:number, :id, left(:number, 2), :bank, 'domestic_bank', :at)",
        number=number, id=subject_id, bank=BANK, at=at,
    )  # fmt: skip


UNPAID = {"outcome": "failed", "evidence_ref": "scan:1"}


async def test_a_conclusion_says_which_step_it_is_about_and_is_refused_once_another_one_is_parked(
    books: Books, deciders: Deciders
) -> None:
    """People who found that the first try was not paid know nothing of the second, whose number its bank forgot."""
    payment_id = await parked_payment(books, "late_refunding", "LR000000000000000000000001")
    asked = await deciders.ask("instruction.conclude", payment_id, detail=UNPAID)
    assert asked["detail"]["request_number"] == "LR000000000000000000000001"
    await sent(books, payment_id, "LR00000000000000000000000101", NOW + timedelta(hours=6))
    await refused(deciders.approve(asked["id"]), C.DECISION_NOT_APPLICABLE)
    again = await deciders.decide("instruction.conclude", payment_id, detail=UNPAID)
    assert again["state"] == "committed"


async def test_a_conclusion_of_a_debit_is_refused_once_it_is_its_money_going_back_that_is_parked(
    books: Books, deciders: Deciders
) -> None:
    payment_id = await parked_payment(books, "unknown", "DB000000000000000000000001")
    asked = await deciders.ask("instruction.conclude", payment_id, detail=UNPAID)
    await books.run("UPDATE app.payment SET state = 'late_refunding' WHERE id = :id", id=payment_id)
    await refused(deciders.approve(asked["id"]), C.DECISION_NOT_APPLICABLE)
