"""Settlements by command, as the treasury uses them."""

from __future__ import annotations

import json

import sqlalchemy as sa

from tests.api.conftest import stage
from tests.cli.test_operator_commands import Run, ops, run
from tests.ops.conftest import OpsStage
from tests.ops.test_settlements import FAILED, MERCHANT
from tests.storage.books import NOW

__all__ = ["ops", "run", "stage"]
SETTLEMENT, MERCHANT_ID = "stl_" + "0" * 26, "mch_" + "0" * 26


async def test_a_failed_settlement_is_found_paid_anew_and_a_day_is_run(run: Run, ops: OpsStage) -> None:
    async with ops.database.owner_engine.begin() as connection:
        for statement in (MERCHANT, FAILED):
            await connection.execute(sa.text(statement), {"s": SETTLEMENT, "m": MERCHANT_ID, "now": NOW})
    listed = await run("settlements", "list", "--state", "failed", "--as", "tian")
    assert (listed.exit_code, "0.99" in listed.output) == (0, True), listed.output
    assert "2026-11-22" in (await run("settlements", "show", SETTLEMENT, "--as", "tian")).output
    paid = await run("settlements", "pay", SETTLEMENT, "--reason", "账户已更正", "--as", "tian")
    assert "the next run" in paid.output
    ran = await run("settlements", "run", ops.clock.now().date().isoformat(), "--as", "tian")
    assert "has been started" in ran.output, ran.output
    assert [name for name, _ in ops.processes.started] == ["settle_merchants"] * 2
    matters = await run("--json", "matters", "list", "--as", "tian")
    # It is about to be paid, so that nobody has to look at it.
    assert json.loads(matters.output) == [], matters.output
