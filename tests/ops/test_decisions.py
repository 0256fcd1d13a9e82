"""Decisions over the operators' API: asked for by one, approved by another, told to the process, and read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.ops.conftest import OpsStage, Person

UNKNOWN = "dec_00000000000000000000000000"


async def a_user(ops: OpsStage) -> str:
    """A merchant with one user."""
    merchant, user = f"mch_{ops.ids.ulid()}", f"usr_{ops.ids.ulid()}"
    now = ops.clock.now()
    await ops.rows(
        "INSERT INTO app.merchant VALUES (:m, '海棠书店', 'active', :until, :now)",
        m=merchant, until=now + timedelta(days=365), now=now,
    )  # fmt: skip
    await ops.rows(
        "INSERT INTO app.end_user VALUES (:u, :m, 'ref-1', 'individual', 'CN', 'active', NULL, :now)",
        u=user, m=merchant, now=now,
    )  # fmt: skip
    return user


async def a_payment(ops: OpsStage, state: str = "awaiting_code") -> str:
    """A payment that waits for its payer."""
    user, payment, now = await a_user(ops), f"pay_{ops.ids.ulid()}", ops.clock.now()
    binding = f"bnd_{ops.ids.ulid()}"
    await ops.rows(
        "INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,"
        " element_tokens, state, state_since, accepted_at)"
        " SELECT :b, id, merchant_id, 'HBRB', 'c', '0018', 'debit', 'p', '{}', 'open', :now, :now"
        " FROM app.end_user WHERE id = :u", b=binding, u=user, now=now,
    )  # fmt: skip
    await ops.rows(
        "INSERT INTO app.payment (id, merchant_id, user_id, binding_id, bank_code, order_number, amount_minor,"
        " currency, payee_kind, payee_name, payee_account, fee_minor, fee_rule, confirmation_hash, agreement_version,"
        " origin, verification, liability_standard, order_expires_at, limit_reservations, state, state_since,"
        " accepted_at)"
        " SELECT :p, merchant_id, user_id, id, bank_code, '1', 100, 'CNY', 'merchant', 'x', 'x', 0, 'x', 'x', '1',"
        " 'user_relayed', 'code', 'negligence', :until, '[]', :state, :now, :now FROM app.binding WHERE id = :b",
        p=payment, b=binding, state=state, now=now, until=now + timedelta(hours=1),
    )  # fmt: skip
    return payment


def suspension(user: str, **changes: Any) -> dict[str, Any]:
    return {"kind": "user.suspend", "subject_id": user, "ground": "suspected_fraud", "reason": "三笔异常"} | changes


async def asked(person: Person, body: dict[str, Any]) -> dict[str, Any]:
    answer = await person.post("/decisions", body)
    assert answer.status_code == 201, answer.text
    decision: dict[str, Any] = answer.json()
    return decision


async def test_two_people_suspend_a_user_and_everybody_can_read_who_they_were(ops: OpsStage) -> None:
    rui, mei, user = await ops.operator("risk"), await ops.operator("compliance"), await a_user(ops)
    decision = await asked(rui, suspension(user))
    assert decision["state"] == "requested"
    assert (await rui.post(f"/decisions/{decision['id']}/approve")).json()["code"] == "SECOND_PERSON_REQUIRED"
    approved = await mei.post(f"/decisions/{decision['id']}/approve")
    assert approved.status_code == 200
    assert (approved.json()["requested_by"], approved.json()["decided_by"]) == (rui.id, mei.id)
    logins = (approved.json()["requested_by_login"], approved.json()["decided_by_login"])
    assert logins == (rui.login, mei.login)
    assert (await mei.post(f"/decisions/{decision['id']}/approve")).json() == approved.json()
    support = await ops.operator("support")
    [listed] = (await support.get("/decisions", subject_id=user, state="committed")).json()["items"]
    assert listed == (await support.get(f"/decisions/{decision['id']}")).json() == approved.json()
    [restriction] = (await support.get("/restrictions", subject_id=user)).json()["items"]
    assert (restriction["kind"], restriction["placed_by"]) == ("suspension", decision["id"])
    assert (await ops.rows("SELECT state FROM app.end_user"))[0]["state"] == "suspended"


async def test_whoever_may_not_is_told_which_permission_is_needed(ops: OpsStage) -> None:
    rui, su, user = await ops.operator("risk"), await ops.operator("support"), await a_user(ops)
    refused = await su.post("/decisions", suspension(user))
    assert "user.suspend:request" in refused.json()["detail"]
    decision = await asked(rui, suspension(user))
    for word in ("approve", "reject"):
        refused = await su.post(f"/decisions/{decision['id']}/{word}")
        assert (refused.status_code, refused.json()["code"]) == (403, "PERMISSION_MISSING")
        assert "user.suspend:approve" in refused.json()["detail"]


async def test_a_withdrawal_is_told_to_its_process_once_it_is_approved(ops: OpsStage) -> None:
    rui, mei, payment = await ops.operator("risk"), await ops.operator("compliance"), await a_payment(ops)
    body = suspension(payment, kind="instruction.withdraw")
    decision = await asked(rui, body)
    assert ops.processes.told == []
    approved = (await mei.post(f"/decisions/{decision['id']}/approve")).json()
    assert (approved["state"], approved["process_told"]) == ("committed", True)
    assert ops.processes.told == [("decision", payment, decision["id"])]


async def test_a_process_that_cannot_be_told_is_left_to_the_sweeper(ops: OpsStage) -> None:
    rui, mei, payment = await ops.operator("risk"), await ops.operator("compliance"), await a_payment(ops)
    decision = await asked(rui, suspension(payment, kind="instruction.withdraw"))
    ops.processes.answers = False
    approved = (await mei.post(f"/decisions/{decision['id']}/approve")).json()
    assert (approved["state"], approved["process_told"]) == ("committed", False)


async def test_what_was_sent_is_not_withdrawn_and_a_refund_is_offered(ops: OpsStage) -> None:
    rui, mei, payment = await ops.operator("risk"), await ops.operator("compliance"), await a_payment(ops)
    decision = await asked(rui, suspension(payment, kind="instruction.withdraw"))
    await ops.rows("UPDATE app.payment SET claimed_at = now()")
    refused = await mei.post(f"/decisions/{decision['id']}/approve")
    assert (refused.status_code, refused.json()["code"]) == (409, "ALREADY_SENT")
    assert "refund" in refused.json()["action"]
    assert (await rui.get(f"/decisions/{decision['id']}")).json()["state"] == "refused"
    again = await rui.post("/decisions", suspension(payment, kind="instruction.withdraw"))
    assert again.json()["code"] == "ALREADY_SENT"
    assert ops.processes.told == []


async def test_a_rejected_decision_changes_nothing(ops: OpsStage) -> None:
    rui, mei, user = await ops.operator("risk"), await ops.operator("compliance"), await a_user(ops)
    decision = await asked(rui, suspension(user))
    assert (await mei.post(f"/decisions/{decision['id']}/reject")).json()["state"] == "rejected"
    assert (await mei.post(f"/decisions/{decision['id']}/approve")).json()["code"] == "DECISION_ENDED"
    assert (await ops.rows("SELECT state FROM app.end_user"))[0]["state"] == "active"


@pytest.mark.parametrize("role", ["support", "treasury", "auditor", "administrator"])
async def test_roles_without_the_permission_neither_ask_nor_approve_and_it_is_recorded(
    ops: OpsStage, role: str
) -> None:
    rui, other, user = await ops.operator("risk"), await ops.operator(role), await a_user(ops)
    denied = await other.post("/decisions", suspension(user))
    assert (denied.status_code, denied.json()["code"]) == (403, "PERMISSION_MISSING")
    decision = await asked(rui, suspension(user))
    for step in ("approve", "reject"):
        denied = await other.post(f"/decisions/{decision['id']}/{step}")
        assert (denied.status_code, denied.json()["code"]) == (403, "PERMISSION_MISSING")
    assert len(await ops.records(actor=other.actor, outcome="denied", reason="permission_missing")) == 3


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"kind": "money.print"}, "DECISION_KIND_UNKNOWN", "kind"),
        ({"ground": "evidence"}, "GROUND_UNKNOWN", None),
        ({"reason": "身份证11010519900307765X"}, "REQUEST_INVALID", "reason"),
        ({"reason": "卡６２００ ０１００ ００００ ００００ ０１８"}, "REQUEST_INVALID", "reason"),
        ({"detail": {"function": "all"}}, "REQUEST_INVALID", "detail.function"),
        ({"detail": {"11010519900307765X": 1}}, "REQUEST_INVALID", "detail"),
        ({"subject_id": "usr_00000000000000000000000000"}, "SUBJECT_NOT_FOUND", None),
        ({"kind": "funds.freeze"}, "REQUEST_INVALID", "detail.review_at"),
        (
            {
                "kind": "instruction.conclude",
                "detail": {"outcome": "failed", "evidence_ref": "scan:11010119900307803X"},
            },
            "REQUEST_INVALID",
            "detail.evidence_ref",
        ),
        (
            {
                "kind": "authority_order.register",
                "detail": {
                    "issuer": "上海市公安局",
                    "number": "11010119900307803X",
                    "demands": "query",
                    "expires_at": "2026-12-01T00:00:00Z",
                },
            },
            "REQUEST_INVALID",
            "detail.number",
        ),
        ({"kind": "user.resume", "ground": "resolved"}, "DECISION_NOT_APPLICABLE", None),
    ],
)
async def test_a_wrong_request_is_refused_and_says_where(
    ops: OpsStage, changes: dict[str, Any], code: str, field: str | None
) -> None:
    rui, user = await ops.operator("risk", "treasury"), await a_user(ops)
    refused = await rui.post("/decisions", suspension(user) | changes)
    assert (refused.json()["code"], refused.status_code < 500) == (code, True)
    assert [fault["field"] for fault in refused.json()["errors"]] == ([field] if field else [])
    assert "11010519900307765X" not in refused.text
    assert "11010119900307803X" not in refused.text
    assert await ops.rows("SELECT 1 FROM app.decision") == []


async def test_a_decision_that_there_is_not_is_not_found(ops: OpsStage) -> None:
    rui = await ops.operator("risk")
    for answer in (
        await rui.get(f"/decisions/{UNKNOWN}"), await rui.post(f"/decisions/{UNKNOWN}/approve"),
        await rui.post(f"/decisions/{UNKNOWN}/reject"), await rui.get("/decisions/dec_'--"),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (404, "DECISION_NOT_FOUND")


async def test_an_order_of_an_authority_stands_beside_what_it_holds(ops: OpsStage) -> None:
    mei, lin, user = await ops.operator("compliance"), await ops.operator("compliance"), await a_user(ops)
    detail = {"issuer": "上海市公安局", "number": "沪公冻2026-1", "demands": "hold"}
    detail |= {"expires_at": (ops.clock.now() + timedelta(days=2)).isoformat()}
    body = suspension(user, kind="authority_order.register", ground="authority", detail=detail)
    decision = await asked(mei, body)
    assert (await lin.post(f"/decisions/{decision['id']}/approve")).status_code == 200
    [order] = (await mei.get("/authority_orders", subject_id=user)).json()["items"]
    assert (order["issuer"], order["demands"], order["decision_id"]) == ("上海市公安局", "hold", decision["id"])
    [restriction] = (await mei.get("/restrictions")).json()["items"]
    assert restriction["authority_order"]["number"] == "沪公冻2026-1"
    ops.clock.advance(days=2)
    await mei.log_in()
    assert (await mei.get("/restrictions")).json()["items"] == []
    assert len((await mei.get("/restrictions", ended="included")).json()["items"]) == 1


async def test_a_merchants_account_is_approved_by_a_second_person_and_a_users_payee_by_nobody(ops: OpsStage) -> None:
    user = await a_user(ops)
    own, users = f"pye_{ops.ids.ulid()}", f"pye_{ops.ids.ulid()}"
    for payee, whose in ((own, None), (users, user)):
        await ops.rows(
            "INSERT INTO app.payee (id, merchant_id, user_id, relation, holder_type, region, bank_id_kind, bank_id,"
            " account_index, account_last4, name_index, element_tokens, name_match, state, created_at)"
            " SELECT :p, merchant_id, :w, 'own', 'enterprise', 'CN', 'cnaps', '102100099996', :p, '2345', :p, '{}',"
            " 'unknown', CASE WHEN CAST(:w AS text) IS NULL THEN 'proposed' ELSE 'active' END, :now"
            " FROM app.end_user WHERE id = :u", p=payee, w=whose, u=user, now=ops.clock.now(),
        )  # fmt: skip
    tian, tao = await ops.operator("treasury"), await ops.operator("treasury")
    wanted = {"kind": "settlement.account", "ground": "application_reviewed", "reason": "letter of the merchant"}
    asked = await tian.post("/decisions", wanted | {"subject_id": own})
    assert asked.status_code == 201, asked.text
    alone = await tian.post(f"/decisions/{asked.json()['id']}/approve")
    assert alone.json()["code"] == "SECOND_PERSON_REQUIRED"
    assert (await tao.post(f"/decisions/{asked.json()['id']}/approve")).status_code == 200
    assert await ops.rows("SELECT state FROM app.payee WHERE id = :p", p=own) == [{"state": "active"}]
    assert (await tian.post("/decisions", wanted | {"subject_id": users})).json()["code"] == "SUBJECT_NOT_FOUND"
