"""Freezes over the operators' API: what may be asked for, and what is shown of them (A8.1a, A8.3, A8.4, L12)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.ops.conftest import OpsStage, Person
from tests.ops.test_decisions import a_user, asked


async def decided(first: Person, second: Person, body: dict[str, Any]) -> dict[str, Any]:
    """Asked for by one and approved by another."""
    decision = await asked(first, body)
    answer = await second.post(f"/decisions/{decision['id']}/approve")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def freeze(user: str, **detail: Any) -> dict[str, Any]:
    return {
        "kind": "funds.freeze", "subject_id": user, "ground": "suspected_fraud", "reason": "大额转出存疑",
        "detail": detail,
    }  # fmt: skip


async def test_two_people_freeze_an_amount_see_what_it_has_and_release_it(ops: OpsStage) -> None:
    rui, mei, user = await ops.operator("risk"), await ops.operator("compliance"), await a_user(ops)
    review_at = (ops.clock.now() + timedelta(days=3)).isoformat()
    await decided(rui, mei, freeze(user, amount_minor=50_000, currency="CNY", review_at=review_at))
    await decided(rui, mei, freeze(user, amount_minor=20_000, currency="CNY", review_at=review_at))
    later, placed = (await rui.get("/restrictions", subject_id=user)).json()["items"]
    assert (placed["kind"], placed["amount_minor"], placed["frozen_minor"], placed["scope"]) == (
        "freeze", 50_000, 0, "relation",
    )  # fmt: skip
    body = {"kind": "funds.release", "subject_id": user, "ground": "resolved", "reason": "已核实"}
    await decided(rui, mei, body | {"detail": {"restriction_id": placed["id"], "stopped_payouts": "resume"}})
    assert [r["id"] for r in (await rui.get("/restrictions", subject_id=user)).json()["items"]] == [later["id"]]


REVIEWED: dict[str, Any] = {"review_at": "2026-12-01T00:00:00Z"}
AMOUNT = REVIEWED | {"amount_minor": 5, "currency": "CNY"}
# Each says too little, too much, or what does not go together.
WRONG: tuple[dict[str, Any], ...] = (
    {}, REVIEWED | {"amount_minor": 5}, AMOUNT | {"amount_minor": 5.5}, AMOUNT | {"amount_minor": 0},
    AMOUNT | {"scope": "all"}, AMOUNT | {"function": "payout"}, REVIEWED | {"function": "collect"},
    REVIEWED | {"prolongs": "rst_00000000000000000000000000"}, AMOUNT | {"ends_at": "soon"},
)  # fmt: skip


async def test_a_freeze_that_does_not_say_what_it_needs_is_refused_by_its_fields(ops: OpsStage) -> None:
    rui, user = await ops.operator("risk"), await a_user(ops)
    for detail in WRONG:
        answer = await rui.post("/decisions", freeze(user, **detail))
        assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID"), detail
        assert answer.json()["errors"], detail
    assert await ops.rows("SELECT 1 FROM app.decision") == []


async def test_a_temporary_freeze_names_no_expiry_and_shows_when_it_ends(ops: OpsStage) -> None:
    rui, mei, user = await ops.operator("compliance"), await ops.operator("compliance"), await a_user(ops)
    detail = {"issuer": "反洗钱中心", "number": "2026-7", "demands": "temporary_freeze"}
    order: dict[str, Any] = {
        "kind": "authority_order.register", "subject_id": user, "ground": "authority", "reason": "紧急止付",
        "detail": detail,
    }  # fmt: skip
    expiry = {"expires_at": (ops.clock.now() + timedelta(days=9)).isoformat()}
    refused = await rui.post("/decisions", order | {"detail": detail | expiry})
    assert refused.json()["code"] == "REQUEST_INVALID"
    await decided(mei, rui, order)
    [placed] = (await rui.get("/restrictions", subject_id=user)).json()["items"]
    assert (placed["kind"], placed["of_funds"]) == ("authority_order", True)
    [row] = await ops.rows("SELECT ends_at - placed_at AS lasts FROM app.restriction")
    assert row["lasts"] == timedelta(hours=48)
    [registered] = (await rui.get("/authority_orders", subject_id=user)).json()["items"]
    assert (registered["demands"], registered["expires_at"]) == ("temporary_freeze", placed["ends_at"])
