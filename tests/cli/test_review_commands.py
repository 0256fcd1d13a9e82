"""A reviewer's day on the command line: from the queue to the decision, in sentences and tables of 80 columns."""

from __future__ import annotations

import json

from tests.api.conftest import Stage, stage
from tests.api.payouts import ACCOUNT, payee_of
from tests.cli.test_operator_commands import Run, ops, run
from tests.ops.conftest import OpsStage
from tests.storage.reviewed import Reviewed

__all__ = ["ops", "run", "stage"]


async def test_a_reviewer_goes_from_the_queue_to_the_decision(stage: Stage, ops: OpsStage, run: Run) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await ops.rows("SELECT ledger.open_accounts(ARRAY[:code])", code=f"user:{user_id}:CNY")
    made = Reviewed(ops.database.owner_engine, merchant.id, user_id, ops.ids)
    payee = await payee_of(merchant, user_id)
    payout_id, review_id = await made.review(1_200_000, now=stage.clock.now(), payee_id=payee["id"])
    small, small_review = await made.review(5_000, now=stage.clock.now())

    queue = (await run("--as", "rui", "reviews", "list", "--free")).output
    taken = (await run("--as", "rui", "reviews", "take", review_id)).output
    refused = await run("--as", "ren", "reviews", "take", review_id)
    full = (await run("--as", "rui", "reviews", "show", review_id)).output
    asked = await run("--as", "rui", "reviews", "ask", review_id, "--kind", "invoice", "--hours", "30")
    extended = await run("--as", "rui", "reviews", "extend", review_id, "--reason", "waiting for the shop")
    noted = await run("--as", "rui", "reviews", "note", review_id, "called the shop")
    approval = (await run(
        "--as", "rui", "reviews", "approve", review_id, "--ground", "evidence", "--reason", "invoice seen"
    )).output  # fmt: skip
    decision_id = approval.split()[0]
    second = (await run("--as", "chen", "decisions", "approve", decision_id)).output
    rejection = (await run(
        "--as", "ren", "reviews", "reject", small_review, "--ground", "suspected_fraud", "--reason", "not plausible"
    )).output  # fmt: skip
    shown = (await run("--as", "rui", "payouts", "show", payout_id)).output
    plain = (await run("--as", "su", "payouts", "show", payout_id)).output
    ended = json.loads((await run("--as", "su", "--json", "payouts", "show", small)).output)
    listed = (await run("--as", "su", "payouts", "list")).output
    nobody = await run("--as", "tao", "reviews", "list")

    assert review_id in queue
    assert "12,000.00 CNY" in queue
    assert f"{review_id} is open, taken by rui" in taken
    assert refused.exit_code == 1
    assert "Somebody else works on this review" in refused.output
    assert "new_payee" in full
    assert "account_number: ***" in full
    assert ACCOUNT[-4:] in full
    assert ACCOUNT not in full + shown + plain
    assert payout_id in full
    assert [result.exit_code for result in (asked, extended, noted)] == [0, 0, 0], asked.output
    assert "is evidence" in asked.output
    assert "waits for another person" in approval
    assert "is committed" in second
    assert f"review.reject of {small_review} is committed" in rejection
    assert (ended["state"], ended["reason"]) == ("refused", "review_rejected")
    assert "12,000.00 CNY" in shown
    assert review_id in shown
    assert review_id not in plain.split("records:")[0]
    assert payout_id in listed
    assert small not in listed
    assert "reviews:read" in nobody.output


async def test_every_other_command_of_the_day_with_payouts_runs(stage: Stage, ops: OpsStage, run: Run) -> None:
    merchant = await stage.merchant()
    user_id, _ = await stage.payer(merchant)
    await ops.rows("SELECT ledger.open_accounts(ARRAY[:code])", code=f"user:{user_id}:CNY")
    made = Reviewed(ops.database.owner_engine, merchant.id, user_id, ops.ids)
    payout_id, review_id = await made.review(now=stage.clock.now())
    [row] = await ops.rows("SELECT order_number, payee_id FROM app.payout WHERE id = :id", id=payout_id)

    found = [
        (await run("--as", "su", "payouts", "find", *words)).output
        for words in (("--order", row["order_number"]), ("--payee", row["payee_id"]))
    ]
    empty = [
        (await run("--as", "su", "payouts", "list", *words)).output
        for words in (("--waiting-for", "freeze"), ("--waiting-for", "partner"), ("--provisional",), ("--bank", "WLWB"))
    ]
    queue = (await run("--as", "rui", "reviews", "list")).output
    matters = (await run("--as", "su", "matters", "list")).output
    await run("--as", "rui", "reviews", "take", review_id)
    released = (await run("--as", "rui", "reviews", "release", review_id)).output
    unsent = [await run("--as", "su", "payouts", command, payout_id) for command in ("ask-bank", "bank-record")]
    both = await run("--as", "su", "payouts", "find", "--order", "M-1", "--payee", row["payee_id"])
    asked = (await run(
        "--as", "rui", "withdraw", payout_id, "--ground", "suspected_fraud", "--reason", "a stolen phone"
    )).output  # fmt: skip
    approved = (await run("--as", "ren", "decisions", "approve", asked.split()[0])).output

    assert all(payout_id in output for output in found)
    assert set(empty) == {"No payout under way is like that.\n"}
    assert "in 3 h" in queue
    assert payout_id in matters
    assert "taken by nobody" in released
    assert {(result.exit_code, "BANK_NOT_TO_ASK" in result.output) for result in unsent} == {(1, True)}
    assert both.exit_code == 2
    assert "waits for another person" in asked
    assert "is committed" in approved
