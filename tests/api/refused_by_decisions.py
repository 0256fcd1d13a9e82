"""Refusals because people, authorities or the user's own report stand in the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.decisions import DecisionKind
from domain.error_codes import ErrorCode
from storage.decisions import decide_directly
from tests.api.conftest import FakeBank, Stage
from tests.api.refusals import Ask, refused_with

C = ErrorCode
K = DecisionKind


async def decide(stage: Stage, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
    return await decide_directly(stage.database.owner_engine, kind, subject_id, stage.clock.now(), detail=detail)


@refused_with(C.WITHDRAWN)
async def code_for_what_was_withdrawn(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    await stage.code_sent("payment", payment["id"])
    await decide(stage, K.INSTRUCTION_WITHDRAW, payment["id"])
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})


@refused_with(C.FUNCTION_SUSPENDED)
async def payment_after_a_report(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    report = await merchant.post(f"/v1/users/{user_id}/reports", {"kind": "lost_device", "channel": "phone"})
    assert report.status_code == 201, report.text
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.FUNDS_FROZEN)
async def refund_from_frozen_funds(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant), amount_minor=1_000)
    review_at = (stage.clock.now() + timedelta(days=7)).isoformat()
    await decide(stage, K.FUNDS_FREEZE, merchant.id, review_at=review_at)
    body = {"amount_minor": 100, "reason_code": "duplicate"}
    return lambda: merchant.post(f"/v1/payments/{payment['id']}/refunds", body)


@refused_with(C.AUTHORITY_HOLD)
async def payment_of_a_user_whom_an_authority_holds(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id, binding_id = await stage.payer(merchant)
    body = await stage.confirmed(merchant, stage.order(user_id, binding_id))
    expires_at = (stage.clock.now() + timedelta(days=2)).isoformat()
    await decide(
        stage,
        K.AUTHORITY_ORDER_REGISTER,
        user_id,
        issuer="上海市公安局",
        number="1",
        demands="hold",
        expires_at=expires_at,
    )
    return lambda: merchant.post("/v1/payments", body)


@refused_with(C.DISCOVERED_AT_INVALID)
async def discovery_in_the_future(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    user_id = await stage.user(merchant)
    body = {"kind": "not_me", "channel": "app", "discovered_at": (stage.clock.now() + timedelta(hours=1)).isoformat()}
    return lambda: merchant.post(f"/v1/users/{user_id}/reports", body)
