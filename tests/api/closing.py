"""What tests about closing need: requests, records, disputes, and a closure that its process has brought to an end."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from documents.closure_answers import closure_answer
from domain.closing import ClosureAnswer
from tests.api.conftest import Merchant, Stage

DESCRIPTION, COUNTERPARTY = "青花瓷茶具一套", "王小明"


def closure_body(stage: Stage, **other: Any) -> dict[str, Any]:
    check = {"method": "login", "checked_at": stage.clock.now().isoformat(), "evidence_ref": "click:9"}
    return {"scope": "account", "identity_check": check} | other


async def closure_of(stage: Stage, merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post(f"/v1/users/{user_id}/closures", closure_body(stage, **other))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def record(**other: Any) -> dict[str, Any]:
    return {
        "order_number": "order-8812",
        "amount_minor": 12_800,
        "currency": "CNY",
        "traded_on": "2026-11-19",
        "description": DESCRIPTION,
        "counterparty": COUNTERPARTY,
    } | other


def records_body(*records: dict[str, Any], complete: bool = True) -> dict[str, Any]:
    return {"records": list(records) or [record()], "complete": complete}


async def dispute_of(merchant: Merchant, user_id: str, **other: Any) -> dict[str, Any]:
    answer = await merchant.post(f"/v1/users/{user_id}/disputes", {"reason": "not_received"} | other)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def looked_at(stage: Stage, closure_id: str) -> dict[str, Any]:
    """The process has looked, and taken the next step if nothing was in the way."""
    item = {"closure_id": closure_id, "now": stage.clock.now().isoformat()}
    statement = sa.text("SELECT app.look_at_closure(CAST(:item AS jsonb))")
    async with stage.engine.begin() as connection:
        found = await connection.scalar(statement, {"item": json.dumps(item)})
    seen: dict[str, Any] = json.loads(found) if isinstance(found, str) else found
    return seen


async def answered_closure(stage: Stage, merchant: Merchant, user_id: str, **other: Any) -> str:
    """A closure with nothing in its way, forgotten and answered as its process would have done it; its id."""
    closure = await closure_of(stage, merchant, user_id, **other)
    for _ in range(2):
        seen = await looked_at(stage, closure["id"])
        await unbound(stage, user_id)
    assert seen["state"] == "forgetting", seen
    facts = await stage.services.closures.facts(merchant.id, closure["id"], stage.clock.now())
    assert facts is not None
    assert closure_answer(facts, []) is None
    answer = ClosureAnswer(
        closure_id=closure["id"],
        user_id=user_id,
        merchant_name=facts["merchant_name"],
        scope=closure["scope"],
        channel="merchant",
        outcome="completed",
        received_at=closure["received_at"],
        due_on=closure["due_on"],
        answered_at=stage.clock.now(),
        agreement_ended_on=seen["ended_on"],
    )
    item = {"closure_id": closure["id"], "now": stage.clock.now().isoformat(), "answer": answer.model_dump(mode="json")}
    async with stage.engine.begin() as connection:
        if closure["scope"] == "account":
            forget = sa.text("SELECT app.forget_user(:user, :at)")
            await connection.execute(forget, {"user": user_id, "at": stage.clock.now()})
        complete = sa.text("SELECT app.complete_closure(CAST(:item AS jsonb))")
        assert await connection.scalar(complete, {"item": json.dumps(item)}) == "completed"
    closure_id: str = closure["id"]
    return closure_id


async def unbound(stage: Stage, user_id: str) -> None:
    """The banks have said that the agreements have ended."""
    async with stage.database.owner_engine.begin() as connection:
        statement = "UPDATE app.binding SET state = 'unbound' WHERE user_id = :user AND state = 'unbinding'"
        await connection.execute(sa.text(statement), {"user": user_id})


async def refused(stage: Stage, closure_id: str, ground: str = "rights_of_others") -> None:
    """Two people have refused it, which the decision's own tests show."""
    async with stage.database.owner_engine.begin() as connection:
        statement = "UPDATE app.closure SET state = 'refused', state_since = :at, answered_at = :at, reason = :ground"
        given = {"at": stage.clock.now(), "ground": ground, "id": closure_id}
        await connection.execute(sa.text(statement + " WHERE id = :id"), given)


async def booked(stage: Stage) -> None:
    """What was collected is dated, as a bank's answer would have it."""
    async with stage.database.owner_engine.begin() as connection:
        statement = "UPDATE app.payment SET booked_at = :at WHERE state = 'succeeded'"
        await connection.execute(sa.text(statement), {"at": stage.clock.now()})
