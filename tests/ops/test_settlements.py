"""Settlements over the operators' API: seen and run by who may, paid anew on the record, approved by two."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from domain.business_time import business_date
from tests.ops.conftest import OpsStage
from tests.storage.books import NOW

MERCHANT = "INSERT INTO app.merchant VALUES (:m, '示例', 'active', :now, :now)"
FAILED = (
    "INSERT INTO app.settlement_report VALUES (:s, :m, '2026-11-23', '2026-11-22', 'CNY', 1, 0, 100, 1, 0, 0, 0, 99,"
    " 'failed', :now, 'operator', NULL, 1, :now, 0)"
)


async def test_a_day_is_run_by_the_treasury_and_no_other_day_than_one_that_can_be(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    today = business_date(ops.clock.now())
    answer = await treasurer.post("/settlements/run", {"business_date": today.isoformat()})
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"object": "settlement_run", "business_date": today.isoformat(), "started": True}
    assert ops.processes.started == [("settle_merchants", today)]
    for away in (1, -32):
        day = (today + timedelta(days=away)).isoformat()
        refused = await treasurer.post("/settlements/run", {"business_date": day})
        assert refused.json()["code"] == "SETTLEMENT_DATE_INVALID"
    [done] = await ops.records(action="run_settlements", outcome="done")
    assert (done["actor"], done["detail"]["business_date"]) == (treasurer.actor, today.isoformat())


async def test_a_failed_settlement_is_seen_and_paid_anew_with_a_reason(ops: OpsStage) -> None:
    treasurer = await ops.operator("treasury")
    settlement_id, merchant_id = "stl_" + "0" * 26, "mch_" + "0" * 26
    async with ops.database.owner_engine.begin() as connection:
        for statement in (MERCHANT, FAILED):
            await connection.execute(sa.text(statement), {"s": settlement_id, "m": merchant_id, "now": NOW})
    [seen] = (await treasurer.get("/settlements", state="failed", merchant_id=merchant_id)).json()["items"]
    assert (seen["id"], seen["merchant_id"], seen["waiting_for"]["reason"]) == (settlement_id, merchant_id, "operator")
    assert (await treasurer.get("/settlements", state="paid")).json()["items"] == []
    assert (await treasurer.get(f"/settlements/{settlement_id}")).json()["receivable"] is None
    paid = await treasurer.post(f"/settlements/{settlement_id}/pay", {"reason": "账户已更正"})
    assert (paid.status_code, paid.json()["state"]) == (200, "reported")
    assert ops.processes.started[0][0] == "settle_merchants"
    [done] = await ops.records(action="pay_settlement", outcome="done")
    assert (done["actor"], done["detail"]["said"]) == (treasurer.actor, "账户已更正")
    missing = await treasurer.post(f"/settlements/stl_{'1' * 26}/pay", {"reason": "没有这一笔"})
    assert missing.json()["code"] == "SETTLEMENT_NOT_FOUND"
