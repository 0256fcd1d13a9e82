"""A user's report: received at this server's instant, effective at once, and a case that names what it is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.decisions import DecisionKind
from domain.errors import EffectRefusedError
from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimEffect
from storage.decisions import decide_directly
from tests.api.conftest import FakeBank, Merchant, Stage
from tests.api.refused_payments import enable_waiver


async def report(merchant: Merchant, user_id: str, **changes: Any) -> dict[str, Any]:
    answer = await merchant.post(f"/v1/users/{user_id}/reports", {"kind": "not_me", "channel": "app"} | changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def debit(stage: Stage, payment_id: str) -> None:
    """What the process does before it debits."""
    number = request_number(BankStep.DEBIT, payment_id)
    await stage.instructions.claim_effect(
        ClaimEffect(now=stage.clock.now(), kind="payment", id=payment_id, step="DB", request_number=number)
    )


async def test_a_report_opens_a_case_that_names_payment_and_parties(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id)
    assert payment["id"]
    shown = (await merchant.get(f"/v1/payments/{payment['id']}")).json()
    assert shown["report_path"] == f"/v1/users/{user_id}/reports"
    discovered = (stage.clock.now() - timedelta(hours=3)).isoformat()
    made = await report(merchant, user_id, payment_id=payment["id"], discovered_at=discovered, evidence_ref="chat:1")
    assert made["suspended"] == ["collect", "payout"]
    assert made["parties"] == ["HBRB", merchant.id, "institution"]
    [case] = await stage.rows("SELECT * FROM app.case_record")
    assert (case["id"], case["kind"], case["payments"]) == (made["id"], "not_me", [payment["id"]])
    [kept] = await stage.rows("SELECT * FROM app.user_report")
    assert (kept["received_at"], kept["received_at"] - kept["discovered_at"]) == (
        stage.clock.now(), timedelta(hours=3),
    )  # fmt: skip


async def test_after_a_report_nothing_that_waits_is_paid_until_people_resume_it(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    waiting = await stage.payment(merchant, user_id, binding_id)
    await stage.code_sent("payment", waiting["id"])
    version = await enable_waiver(stage, merchant, 20_000)
    for kind in ("waiver_authorisation", "waiver_notice"):
        await stage.consent(merchant, user_id, kind, version=version)
    ready = await stage.payment(merchant, user_id, binding_id)
    assert ready["state"] == "ready"
    await report(merchant, user_id, kind="lost_device")
    typed = await merchant.post(f"/v1/payments/{waiting['id']}/code", {"code": FakeBank.right_code})
    assert typed.json()["code"] == "FUNCTION_SUSPENDED"
    another = await merchant.post(f"/v1/payments/{waiting['id']}/code/resend")
    assert another.json()["code"] == "FUNCTION_SUSPENDED"
    with pytest.raises(EffectRefusedError, match="function_suspended"):
        await debit(stage, ready["id"])
    assert await stage.rows("SELECT 1 FROM app.effect WHERE step IN ('VC', 'DB') AND subject_id LIKE 'pay_%'") == []
    await decide_directly(stage.database.owner_engine, DecisionKind.USER_RESUME, user_id, stage.clock.now())
    await debit(stage, ready["id"])


async def test_a_report_stops_neither_refunds_nor_unbinding(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    payment = await stage.paid(merchant, user_id, binding_id)
    await report(merchant, user_id)
    body = {"amount_minor": 100, "reason_code": "duplicate"}
    assert (await merchant.post(f"/v1/payments/{payment['id']}/refunds", body)).status_code == 201
    assert (await merchant.delete(f"/v1/users/{user_id}/bindings/{binding_id}")).status_code < 300


async def test_reports_add_up_and_the_same_one_twice_is_one(stage: Stage) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = {"kind": "instruction_leaked", "channel": "web"}
    first = await merchant.post(f"/v1/users/{user_id}/reports", body, key="report-0001")
    assert (await merchant.post(f"/v1/users/{user_id}/reports", body, key="report-0001")).json() == first.json()
    assert (await report(merchant, user_id))["id"] != first.json()["id"]
    assert len(await stage.rows("SELECT 1 FROM app.case_record")) == 2
    suspended = await stage.rows("SELECT function FROM app.restriction WHERE lifted_at IS NULL ORDER BY function")
    assert [row["function"] for row in suspended] == ["collect", "payout"]


async def test_nobody_reports_for_another_merchants_user_or_payment(stage: Stage) -> None:
    merchant, other = await stage.merchant(), await stage.merchant("别家")
    user_id = await stage.user(merchant)
    theirs = await stage.payment(other, *await stage.payer(other))
    body = {"kind": "not_me", "channel": "app"}
    assert (await other.post(f"/v1/users/{user_id}/reports", body)).json()["code"] == "USER_NOT_FOUND"
    named = await merchant.post(f"/v1/users/{user_id}/reports", body | {"payment_id": theirs["id"]})
    assert named.json()["code"] == "PAYMENT_NOT_FOUND"
    assert await stage.rows("SELECT 1 FROM app.case_record UNION ALL SELECT 1 FROM app.restriction") == []


@pytest.mark.parametrize(
    ("discovered", "status"),
    [
        ("2026-11-20T23:00:00+23:59", 201),
        ("2026-11-18T00:00:00-23:59", 201),
        ("0001-01-01T00:00:00+10:00", 400),
        ("9999-12-31T23:59:59-10:00", 400),
    ],
)
async def test_an_instant_of_any_offset_is_taken_and_one_outside_of_the_calendar_refused(
    stage: Stage, discovered: str, status: int
) -> None:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = {"kind": "not_me", "channel": "app", "discovered_at": discovered}
    answer = await merchant.post(f"/v1/users/{user_id}/reports", body)
    assert answer.status_code == status, answer.text
