"""Closings, disputes and what is retained by command, as support, risk and compliance use them."""

from __future__ import annotations

import json
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyrage import decrypt

from domain.retention import RetainedKind
from tests.api.conftest import stage
from tests.cli.test_operator_commands import Run, ops, run
from tests.ops.conftest import OpsStage
from tests.ops.test_closures import NUMBER, OTHERS, a_verified_user, sealed
from tests.ops.test_retention import AUTHORITY, NAME, RECIPIENT, Kept

__all__ = ["ops", "run", "stage"]


async def said(run: Run, *words: str, typed: str | None = None) -> str:
    result = await run(*words, typed=typed)
    assert result.exit_code == 0, result.output
    return result.output


def decision_in(output: str) -> str:
    found = re.search(r"dec_[0-9A-Z]{26}", output)
    assert found is not None, output
    return found[0]


async def recorded(run: Run, user: str, *more: str) -> str:
    output = await said(run, "closures", "record", user, "--channel", "hotline", *more, "--as", "su", "--json")
    return str(json.loads(output)["id"])


async def test_a_closing_by_telephone_goes_from_the_call_to_the_written_refusal(
    ops: OpsStage, run: Run, tmp_path: Path
) -> None:
    user = await a_verified_user(ops)
    an_hour_ago = (datetime.now(UTC) + timedelta(hours=7)).strftime("%Y-%m-%d %H:%M")
    closure = await recorded(run, user, "--received", an_hour_ago, "--evidence", "call:88")
    assert "identity" in await said(run, "closures", "list", "--as", "su")
    wrong = await run("closures", "verify", closure, "--as", "su", typed=f"{OTHERS}\n")
    assert (wrong.exit_code, "IDENTITY_DIFFERS" in wrong.output, OTHERS in wrong.output) == (1, True, False)
    verified = await said(run, "closures", "verify", closure, "--as", "su", typed=f"{NUMBER}\n")
    assert "is verified, and now closing" in verified
    assert NUMBER not in verified
    early = await run("closures", "certificate", closure, "--as", "su")
    assert (early.exit_code, "CLOSURE_NOT_ANSWERED" in early.output) == (1, True)
    dispute = await said(run, "disputes", "record", user, "--reason", "not_received", "--as", "su")
    dispute_id = dispute.split()[0]
    assert dispute_id in await said(run, "closures", "show", closure, "--as", "rui")
    assert dispute_id in await said(run, "disputes", "list", "--state", "open", "--as", "su")
    await said(run, "disputes", "resolve", dispute_id, "--resolution", "settled", "--reason", "双方和解", "--as", "rui")
    assert "settled" in await said(run, "disputes", "show", dispute_id, "--as", "su")
    waived = await said(run, "closures", "waive-records", closure, "--reason", "商户失联", "--as", "rui")
    await said(run, "decisions", "approve", decision_in(waived), "--as", "chen")
    refused = await said(
        run, "closures", "refuse", closure, "--ground", "rights_of_others", "--reason", "涉及他人权益", "--as", "rui"
    )
    await said(run, "decisions", "approve", decision_in(refused), "--as", "ren")
    page = tmp_path / "answer.html"
    assert str(page) in await said(run, "closures", "certificate", closure, "--to", str(page), "--as", "su")
    assert "12363" in page.read_text(encoding="utf-8")
    assert closure in await said(run, "closures", "certificate", closure, "--as", "su")
    assert "refused" in await said(run, "closures", "list", "--user", user, "--as", "su")
    assert (await said(run, "closures", "list", "--overdue", "--as", "su")).strip() == "There is no such request."


async def test_a_deletion_names_its_ground_and_fields_and_is_granted_by_two(ops: OpsStage, run: Run) -> None:
    user = await a_verified_user(ops)
    await sealed(ops, user)
    wanted = ("--scope", "deletion", "--ground", "no_consent", "--field", "mobile")
    closure = await recorded(run, user, *wanted)
    seen = ("--method", "document", "--holds", "--evidence", "file:7")
    assert "now deciding" in await said(run, "closures", "verify", closure, *seen, "--as", "rui")
    granted = await said(run, "closures", "grant", closure, "--reason", "未取得同意", "--as", "rui")
    await said(run, "decisions", "approve", decision_in(granted), "--as", "chen")
    assert "closing" in await said(run, "closures", "show", closure, "--as", "su")
    bad = await run("closures", "record", user, "--channel", "email", "--received", "yesterday", "--as", "su")
    assert (bad.exit_code, "That is no time" in bad.output) == (2, True)


async def test_what_is_retained_is_found_held_and_opened_into_a_file_for_the_authority(
    ops: OpsStage, run: Run, tmp_path: Path
) -> None:
    user = await a_verified_user(ops)
    chen = await ops.operator("compliance")
    ops.clock.advance(seconds=30)
    kept = Kept(ops, user, chen, await ops.operator("compliance"))
    today = ops.clock.now().date()
    await kept.keep(RetainedKind.IDENTITY, today)
    order = await kept.order()
    found = await said(run, "retention", "search", "--as", "chen", typed=f"{NUMBER}\n")
    assert (user in found, "identity" in found, NUMBER in found) == (True, True, False)
    asked = await said(
        run, "retention", "disclose", user, "--order", order, "--kind", "identity", "--from", today.isoformat(),
        "--reason", "公安机关查询", "--as", "chen",
    )  # fmt: skip
    decision = decision_in(asked)
    await said(run, "decisions", "approve", decision, "--as", "cai")
    file = tmp_path / "order.tar.age"
    opening = ("retention", "open", decision, "--recipient", RECIPIENT, "--to", str(file), "--as", "cai")
    assert "1 records are in" in await said(run, *opening)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert NAME.encode() not in file.read_bytes()
    assert NAME.encode() in decrypt(file.read_bytes(), [AUTHORITY])
    again = await run(*opening)
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    held = await said(
        run, "retention", "hold", user, "--ground", "authority", "--order", order, "--reason", "侦查中", "--as", "cai"
    )
    await said(run, "decisions", "approve", decision_in(held), "--as", "chen")
    shown = await said(run, "retention", "show", user, "--as", "chen")
    assert (order in shown, "opened" in shown, "rth_" in shown) == (True, True, True)
    released = await said(run, "retention", "release", user, "--reason", "侦查终结", "--as", "cai")
    await said(run, "decisions", "approve", decision_in(released), "--as", "chen")
    assert (await said(run, "retention", "reports", "--as", "chen")).strip() == "No purge has run."
    denied: Any = await run("retention", "show", user, "--as", "su")
    assert (denied.exit_code, "PERMISSION_MISSING" in denied.output) == (1, True)
