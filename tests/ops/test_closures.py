"""Closings and deletions over the operators' API: recorded, verified, decided, disputed, answered (P4.2, P4.5)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from domain.case_texts import explain_case
from domain.closing import ClosureAnswer, ClosureChannel, ClosureScope
from tests.api.conftest import ELEMENTS
from tests.ops.conftest import OpsStage, Person
from tests.ops.test_decisions import a_payment, a_user
from vault.indexing import IndexKind

NUMBER, OTHERS = ELEMENTS["id_number"], "11010519491231002X"
UNKNOWN = "0" * 26


async def a_verified_user(ops: OpsStage, number: str = NUMBER) -> str:
    """A user whose document a bank has confirmed."""
    user = await a_user(ops)
    await known_by(ops, user, number)
    return user


async def known_by(ops: OpsStage, user: str, number: str) -> None:
    index = ops.services.vault.blind_index(IndexKind.PERSON, number)
    await ops.rows("UPDATE app.end_user SET person_index = :i WHERE id = :u", i=index, u=user)


def request_of(ops: OpsStage, user: str, **changes: Any) -> dict[str, Any]:
    arrived = (ops.clock.now() - timedelta(hours=2)).isoformat()
    body = {
        "user_id": user,
        "scope": "account",
        "channel": "hotline",
        "received_at": arrived,
        "evidence_ref": "call:88",
    }
    return body | changes


async def recorded(su: Person, ops: OpsStage, user: str, **changes: Any) -> dict[str, Any]:
    answer = await su.post("/closures", request_of(ops, user, **changes))
    assert answer.status_code == 201, answer.text
    closure: dict[str, Any] = answer.json()
    return closure


async def verified(su: Person, ops: OpsStage, user: str, **changes: Any) -> dict[str, Any]:
    closure = await recorded(su, ops, user, **changes)
    answer = await su.post(f"/closures/{closure['id']}/identity", {"method": "id_number", "id_number": NUMBER})
    assert answer.status_code == 200, answer.text
    after: dict[str, Any] = answer.json()
    return after


async def sealed(ops: OpsStage, user: str, field: str = "mobile") -> str:
    """An item in the vault, as far as deletion asks for it."""
    token = f"tok_{ops.ids.ulid()}"
    await ops.rows(
        "INSERT INTO vault.item (token, user_id, field, ciphertext, key_version, created_at)"
        " VALUES (:t, :u, :f, decode(repeat('00', 40), 'hex'), 1, :now)",
        t=token, u=user, f=field, now=ops.clock.now(),
    )  # fmt: skip
    return token


async def decided(kind: str, subject: str, ground: str, *people: Person, **detail: Any) -> httpx.Response:
    body = {"kind": kind, "subject_id": subject, "ground": ground, "reason": "经核实", "detail": detail}
    answer = await people[0].post("/decisions", body)
    for second in people[1:]:
        if answer.status_code != 201:
            break
        answer = await second.post(f"/decisions/{answer.json()['id']}/approve")
    return answer


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Recorded


async def test_a_request_by_telephone_is_recorded_due_in_fifteen_working_days_and_its_process_started(
    ops: OpsStage,
) -> None:
    su, user = await ops.operator("support"), await a_user(ops)
    closure = await recorded(su, ops, user)
    assert (closure["state"], closure["channel"], closure["asked_by"]) == ("received", "hotline", su.actor)
    # Received on Friday 20 November 2026, which does not count.
    assert (closure["due_on"], closure["escalate_on"], closure["due_is_provisional"]) == (
        "2026-12-11",
        "2026-12-08",
        False,
    )
    assert [obstacle["kind"] for obstacle in closure["obstacles"]] == ["identity"]
    [(process, order)] = ops.processes.started
    assert (process, order.closure_id, order.user_id) == ("close_account", closure["id"], user)
    [event] = await ops.rows("SELECT type, merchant_id FROM app.event WHERE object_id = :c", c=closure["id"])
    assert (event["type"], event["merchant_id"]) == ("closure.accepted", closure["merchant_id"])
    assert (await su.get(f"/closures/{closure['id']}")).json() == closure
    [done] = await ops.records(action="record_closure", outcome="done")
    assert (done["actor"], done["subject_id"]) == (su.actor, closure["id"])


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"scope": "everything"}, "REQUEST_INVALID", "scope"),
        ({"channel": "merchant"}, "REQUEST_INVALID", "channel"),
        ({"scope": "deletion"}, "REQUEST_INVALID", "ground"),
        ({"scope": "deletion", "ground": "no_consent"}, "REQUEST_INVALID", "fields"),
        ({"ground": "no_consent"}, "REQUEST_INVALID", "ground"),
        ({"fields": ["mobile"]}, "REQUEST_INVALID", "fields"),
        ({"scope": "deletion", "ground": "no_consent", "fields": ["shoe_size"]}, "REQUEST_INVALID", "fields.0"),
        ({"evidence_ref": f"call:{NUMBER}"}, "REQUEST_INVALID", "evidence_ref"),
        ({"received_at": "2026-11-20"}, "REQUEST_INVALID", "received_at"),
        ({"received_at": "2026-11-20T04:00:01Z"}, "RECEIVED_AT_INVALID", "received_at"),
        ({"received_at": "2026-10-21T03:59:59Z"}, "RECEIVED_AT_INVALID", "received_at"),
        ({"user_id": f"usr_{UNKNOWN}"}, "USER_NOT_FOUND", None),
        ({"scope": "quick_pay"}, "QUICK_PAY_NOT_OPEN", None),
        ({"scope": "deletion", "ground": "no_consent", "fields": ["mobile"]}, "NOTHING_TO_DELETE", None),
    ],
)
async def test_a_request_that_is_none_is_refused_and_says_where(
    ops: OpsStage, changes: dict[str, Any], code: str, field: str | None
) -> None:
    su, user = await ops.operator("support"), await a_user(ops)
    refused = await su.post("/closures", request_of(ops, user, **changes))
    assert (refused.json()["code"], refused.status_code < 500) == (code, True), refused.text
    assert [fault["field"] for fault in refused.json()["errors"]] == ([field] if field else [])
    assert NUMBER not in refused.text
    assert await ops.rows("SELECT 1 FROM app.closure") == []
    assert ops.processes.started == []
    assert len(await ops.records(action="record_closure", outcome="refused")) == 1


async def test_what_arrives_now_names_no_time(ops: OpsStage) -> None:
    su = await ops.operator("support")
    closure = await recorded(su, ops, await a_user(ops), received_at=None)
    assert closure["received_at"] == closure["recorded_at"]


async def test_thirty_days_ago_is_the_longest_and_now_the_latest(ops: OpsStage) -> None:
    su = await ops.operator("support")
    for arrived in ("2026-10-21T04:00:00Z", "2026-11-20T04:00:00Z"):
        closure = await recorded(su, ops, await a_user(ops), received_at=arrived)
        assert closure["received_at"] == arrived.replace("Z", ".000Z")


async def test_a_user_closes_once_at_a_time_whatever_the_channel(ops: OpsStage) -> None:
    su, user = await ops.operator("support"), await a_user(ops)
    closure = await recorded(su, ops, user)
    again = await su.post("/closures", request_of(ops, user, channel="email"))
    assert code_of(again) == (409, "CLOSURE_EXISTS")
    assert again.json()["subject_id"] == closure["id"]


# Whose request it is


async def test_the_number_that_was_said_is_compared_and_kept_nowhere(ops: OpsStage) -> None:
    su, user = await ops.operator("support"), await a_verified_user(ops)
    closure = await recorded(su, ops, user)
    path = f"/closures/{closure['id']}/identity"
    wrong = await su.post(path, {"method": "id_number", "id_number": OTHERS})
    assert code_of(wrong) == (422, "IDENTITY_DIFFERS")
    after = (await su.get(f"/closures/{closure['id']}")).json()
    assert (after["state"], after["identity_attempts"]) == ("received", 1)
    right = await su.post(path, {"method": "id_number", "id_number": NUMBER.lower()})
    assert (right.status_code, right.json()["state"]) == (200, "closing"), right.text
    assert right.json()["identity"]["method"] == "id_number"
    assert ops.processes.told == [("closure", closure["id"], "look_again")]
    kept = str(await ops.rows("SELECT * FROM app.operation")) + str(await ops.rows("SELECT * FROM app.closure"))
    kept += str(await ops.rows("SELECT * FROM app.event")) + wrong.text + right.text
    [index] = await ops.rows("SELECT person_index FROM app.end_user")
    for value in (NUMBER, NUMBER.lower(), OTHERS, index["person_index"]):
        assert value not in kept
    assert code_of(await su.post(path, {"method": "id_number", "id_number": NUMBER})) == (409, "IDENTITY_NOT_AWAITED")
    assert [record["reason"] for record in await ops.records(action="verify_identity", outcome="refused")] == [
        "identity_differs",
        "identity_not_awaited",
    ]


async def test_after_three_attempts_in_vain_even_the_right_number_is_too_late(ops: OpsStage) -> None:
    su, user = await ops.operator("support"), await a_verified_user(ops)
    path = f"/closures/{(await recorded(su, ops, user))['id']}/identity"
    for _ in range(3):
        assert code_of(await su.post(path, {"method": "id_number", "id_number": OTHERS}))[1] == "IDENTITY_DIFFERS"
    late = await su.post(path, {"method": "id_number", "id_number": NUMBER})
    assert code_of(late) == (409, "IDENTITY_ATTEMPTS_EXHAUSTED")
    assert (await ops.rows("SELECT state FROM app.closure"))[0]["state"] == "received"
    [case] = (await su.get("/cases", state="open")).json()["items"]
    assert (case["kind"], case["subject_id"]) == ("identity_unverified", path.split("/")[2])
    assert case["says"] == explain_case("identity_unverified") is not None
    rui, chen = await ops.operator("risk"), await ops.operator("compliance")
    await decided("closure.refuse", case["subject_id"], "identity_not_verified", rui, chen)
    assert (await su.get("/cases", state="open")).json()["items"] == []


async def test_a_user_whose_document_no_bank_has_confirmed_is_verified_by_other_means(ops: OpsStage) -> None:
    su, user = await ops.operator("support"), await a_user(ops)
    path = f"/closures/{(await recorded(su, ops, user))['id']}/identity"
    by_number = await su.post(path, {"method": "id_number", "id_number": NUMBER})
    assert code_of(by_number)[1] == "IDENTITY_DIFFERS"
    seen = {"method": "document", "evidence_ref": "file:7"}
    # What a person judges, another judges than the one who recorded the request.
    assert code_of(await su.post(path, seen | {"holds": True}))[1] == "SECOND_PERSON_REQUIRED"
    ming = await ops.operator("risk")
    assert code_of(await ming.post(path, seen | {"holds": False}))[1] == "IDENTITY_DIFFERS"
    done = await ming.post(path, seen | {"holds": True})
    assert (done.json()["state"], done.json()["identity"]["method"]) == ("closing", "document")
    assert done.json()["identity_checked_by"] == ming.actor


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "method"),
        ({"method": "login", "holds": True, "evidence_ref": "x"}, "method"),
        ({"method": "id_number"}, "id_number"),
        ({"method": "id_number", "id_number": NUMBER, "holds": True}, "holds"),
        ({"method": "document", "holds": True}, "evidence_ref"),
        ({"method": "face", "evidence_ref": "f:1"}, "holds"),
        ({"method": "counter", "holds": True, "evidence_ref": "f:1", "id_number": NUMBER}, "id_number"),
    ],
)
async def test_a_check_that_says_too_little_or_too_much_counts_as_none(
    ops: OpsStage, body: dict[str, Any], field: str
) -> None:
    su, user = await ops.operator("support"), await a_verified_user(ops)
    closure = await recorded(su, ops, user)
    refused = await su.post(f"/closures/{closure['id']}/identity", body)
    assert code_of(refused) == (400, "REQUEST_INVALID")
    assert field in [fault["field"] for fault in refused.json()["errors"]], refused.text
    assert NUMBER not in refused.text + str(await ops.rows("SELECT * FROM app.operation"))
    assert (await ops.rows("SELECT identity_attempts AS n FROM app.closure")) == [{"n": 0}]


# Decided


async def test_a_deletion_is_granted_by_two_people_and_its_data_are_in_use_until_they_are_not(ops: OpsStage) -> None:
    su, rui, ren = [await ops.operator(role) for role in ("support", "risk", "risk")]
    user = await a_verified_user(ops)
    await sealed(ops, user)
    closure = await verified(su, ops, user, scope="deletion", ground="no_consent", fields=["mobile"])
    assert closure["state"] == "deciding"
    assert [obstacle["kind"] for obstacle in closure["obstacles"]] == ["decision"]
    asked = await decided("closure.grant", closure["id"], "ground_met", rui)
    assert code_of(await rui.post(f"/decisions/{asked.json()['id']}/approve")) == (403, "SECOND_PERSON_REQUIRED")
    ops.processes.told.clear()
    approved = await ren.post(f"/decisions/{asked.json()['id']}/approve")
    assert approved.json()["state"] == "committed", approved.text
    assert ops.processes.told == [("closure", closure["id"], "look_again")]
    after = (await rui.get(f"/closures/{closure['id']}")).json()
    assert (after["state"], after["granted_by"]) == ("closing", approved.json()["id"])
    assert code_of(await decided("closure.grant", closure["id"], "ground_met", rui)) == (409, "DECISION_NOT_APPLICABLE")


async def test_a_refusal_takes_two_and_is_answered_with_its_ground_and_where_to_complain(ops: OpsStage) -> None:
    su, rui, chen = [await ops.operator(role) for role in ("support", "risk", "compliance")]
    user = await a_verified_user(ops)
    closure = await verified(su, ops, user)
    path = f"/closures/{closure['id']}/certificate"
    assert code_of(await su.get(path)) == (409, "CLOSURE_NOT_ANSWERED")
    refused = await decided("closure.refuse", closure["id"], "malice_or_abuse", rui, chen)
    assert refused.json()["state"] == "committed", refused.text
    after = (await su.get(f"/closures/{closure['id']}")).json()
    assert (after["state"], after["reason"], after["obstacles"]) == ("refused", "malice_or_abuse", [])
    page = await su.get(path)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for words in ("注销", "12363", "bad faith", closure["id"]):
        assert words in page.text, words
    assert NUMBER not in page.text
    assert [event["type"] for event in await ops.rows("SELECT type FROM app.event ORDER BY sequence")] == [
        "closure.accepted",
        "closure.identity_verified",
        "closure.refused",
    ]
    # The user may ask anew.
    assert (await recorded(su, ops, user))["state"] == "received"


async def test_the_certificate_of_a_closing_names_what_recipients_have_replied_since(ops: OpsStage) -> None:
    su = await ops.operator("support")
    closure = await verified(su, ops, await a_verified_user(ops))
    now = ops.clock.now()
    answer = ClosureAnswer(
        closure_id=closure["id"], user_id=closure["user_id"], merchant_name="海棠书店", scope=ClosureScope.ACCOUNT,
        channel=ClosureChannel.HOTLINE, outcome="completed", received_at=now, answered_at=now,
        due_on=date(2026, 12, 11),
        agreement_ended_on=date(2026, 11, 20), key_backups_expire_on=date(2026, 11, 27),
    )  # fmt: skip
    await ops.rows("ALTER TABLE app.closure DISABLE TRIGGER USER")
    await ops.rows(
        "UPDATE app.closure SET state = 'completed', answered_at = :now, answer = CAST(:a AS jsonb)",
        now=now, a=answer.model_dump_json(),
    )  # fmt: skip
    await ops.rows(
        "INSERT INTO app.erasure_notice (closure_id, recipient, kind, request_number, told_at, reply, reply_reason)"
        " VALUES (:c, 'HBRB', 'bank', 'EN1', :now, 'kept', 'law')", c=closure["id"], now=now,
    )  # fmt: skip
    page = (await su.get(f"/closures/{closure['id']}/certificate")).text
    for words in ("账户注销证明", "Certificate of account closure", "Harbour Bank", "海棠书店"):
        assert words in page, words
    [notice] = (await su.get(f"/closures/{closure['id']}")).json()["notices"]
    assert (notice["recipient"], notice["reply"], notice["reply_reason"]) == ("HBRB", "kept", "law")
    assert len(await ops.records(action="read_certificate", outcome="done", subject_id=closure["id"])) == 1


@pytest.mark.parametrize("ground", ["malice", "evidence", "ground_met"])
async def test_a_refusal_without_a_ground_of_the_law_is_none(ops: OpsStage, ground: str) -> None:
    su, rui = await ops.operator("support"), await ops.operator("risk")
    closure = await verified(su, ops, await a_verified_user(ops))
    assert code_of(await decided("closure.refuse", closure["id"], ground, rui))[1] == "GROUND_UNKNOWN"
    assert (await su.get(f"/closures/{closure['id']}")).json()["state"] == "closing"


async def test_records_that_a_merchant_never_hands_over_are_waived_by_two(ops: OpsStage) -> None:
    su, rui, chen = [await ops.operator(role) for role in ("support", "risk", "compliance")]
    closure = await verified(su, ops, await a_verified_user(ops))
    kind, subject = "closure.waive_records", closure["id"]
    assert code_of(await decided(kind, subject, "records_unavailable", su)) == (403, "PERMISSION_MISSING")
    done = await decided(kind, subject, "records_unavailable", rui, chen)
    after = (await su.get(f"/closures/{subject}")).json()
    assert (after["records_waived"], after["records_waived_by"]) == (True, done.json()["id"])
    assert code_of(await decided(kind, subject, "records_unavailable", rui)) == (409, "DECISION_NOT_APPLICABLE")


async def test_who_may_not_changes_nothing_and_stands_in_the_records(ops: OpsStage) -> None:
    su = await ops.operator("support")
    user = await a_verified_user(ops)
    closure = await recorded(su, ops, user)
    for role in ("risk", "treasury", "compliance", "auditor", "administrator"):
        other = await ops.operator(role)
        body = {"method": "id_number", "id_number": NUMBER}
        answers = [
            await other.post("/closures", request_of(ops, user)),
            await other.post("/disputes", {"user_id": user, "reason": "other"}),
        ]
        if role not in ("risk", "compliance"):
            answers.append(await other.post(f"/closures/{closure['id']}/identity", body))
        for answer in answers:
            assert code_of(answer) == (403, "PERMISSION_MISSING"), role
        assert len(await ops.records(actor=other.actor, outcome="denied")) == len(answers)
    assert (await su.get(f"/closures/{closure['id']}")).json() == closure
    assert await ops.rows("SELECT 1 FROM app.dispute") == []


# Looked at


async def test_requests_are_found_by_state_merchant_user_and_when_they_are_late(ops: OpsStage) -> None:
    su = await ops.operator("support")
    first = await recorded(su, ops, await a_user(ops))
    second = await verified(su, ops, await a_verified_user(ops))
    assert [item["id"] for item in (await su.get("/closures")).json()["items"]] == [second["id"], first["id"]]
    page = (await su.get("/closures", limit=1)).json()
    assert [item["id"] for item in page["items"]] == [second["id"]]
    rest = (await su.get("/closures", limit=1, cursor=page["next_cursor"])).json()
    assert [[item["id"] for item in rest["items"]], rest["next_cursor"]] == [[first["id"]], None]
    for query in ({"state": "received"}, {"merchant_id": first["merchant_id"]}, {"user_id": first["user_id"]}):
        assert [item["id"] for item in (await su.get("/closures", **query)).json()["items"]] == [first["id"]]
    assert (await su.get("/closures", overdue="true")).json()["items"] == []
    ops.clock.advance(days=22)
    su = await ops.operator("support")
    late = (await su.get("/closures", overdue="true")).json()["items"]
    assert [item["id"] for item in late] == [second["id"], first["id"]]


async def test_what_there_is_not_is_not_found(ops: OpsStage) -> None:
    su = await ops.operator("support")
    for wrong in (f"cls_{UNKNOWN}", "cls_%00", "usr_1"):
        for answer in (
            await su.get(f"/closures/{wrong}"),
            await su.get(f"/closures/{wrong}/certificate"),
            await su.post(f"/closures/{wrong}/identity", {"method": "id_number", "id_number": NUMBER}),
        ):
            assert code_of(answer) == (404, "CLOSURE_NOT_FOUND"), wrong
    for wrong in (f"dsp_{UNKNOWN}", "dsp_%00"):
        assert code_of(await su.get(f"/disputes/{wrong}")) == (404, "DISPUTE_NOT_FOUND")


# Disputes


async def test_a_dispute_stands_in_the_way_until_one_person_resolves_it_on_evidence(ops: OpsStage) -> None:
    su, rui = await ops.operator("support"), await ops.operator("risk")
    user = await a_verified_user(ops)
    closure = await verified(su, ops, user)
    ops.processes.told.clear()
    answer = await su.post("/disputes", {"user_id": user, "reason": "not_received", "evidence_ref": "call:9"})
    dispute = answer.json()
    assert (answer.status_code, dispute["state"], dispute["subject_id"]) == (201, "open", user)
    assert dispute["opened_by"] == su.actor
    assert ops.processes.told == [("closure", closure["id"], "look_again")]
    in_the_way = (await su.get(f"/closures/{closure['id']}")).json()["obstacles"]
    assert [(item["kind"], item["subject_id"]) for item in in_the_way] == [("dispute", dispute["id"])]
    assert code_of(await su.post("/disputes", {"user_id": user, "reason": "other"})) == (409, "DISPUTE_EXISTS")
    assert code_of(await decided("dispute.resolve", dispute["id"], "evidence", rui))[1] == "REQUEST_INVALID"
    assert code_of(await decided("dispute.resolve", dispute["id"], "evidence", su, resolution="settled"))[0] == 403
    done = await decided("dispute.resolve", dispute["id"], "evidence", rui, resolution="settled", evidence_ref="f:1")
    assert (done.status_code, done.json()["state"]) == (201, "committed"), done.text
    assert ops.processes.told[-1] == ("closure", closure["id"], "look_again")
    shown = (await su.get(f"/disputes/{dispute['id']}")).json()
    assert (shown["state"], shown["resolution"], shown["resolved_by"]) == ("resolved", "settled", done.json()["id"])
    assert (await su.get(f"/closures/{closure['id']}")).json()["obstacles"] == []
    again = await decided("dispute.resolve", dispute["id"], "evidence", rui, resolution="unfounded")
    assert code_of(again) == (409, "DECISION_NOT_APPLICABLE")


async def test_a_dispute_is_about_something_of_this_user(ops: OpsStage) -> None:
    su, payment, stranger = await ops.operator("support"), await a_payment(ops), await a_user(ops)
    [row] = await ops.rows("SELECT user_id FROM app.payment WHERE id = :p", p=payment)
    body = {"user_id": stranger, "subject_id": payment, "reason": "not_authorised"}
    assert code_of(await su.post("/disputes", body)) == (404, "DISPUTE_SUBJECT_NOT_FOUND")
    made = await su.post("/disputes", body | {"user_id": row["user_id"]})
    assert made.status_code == 201, made.text
    for query in ({"state": "open"}, {"user_id": row["user_id"]}, {"merchant_id": made.json()["merchant_id"]}):
        assert (await su.get("/disputes", **query)).json()["items"] == [made.json()]
    assert (await su.get("/disputes", state="resolved")).json()["items"] == []
