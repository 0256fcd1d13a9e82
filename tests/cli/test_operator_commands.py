"""The command line as people use it: as the person who is logged in, with plain sentences for what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

import cli.operators_api
from cli.local_operators import FILE, PEOPLE
from cli.main import app
from domain.decisions import DecisionKind
from tests.api.conftest import Stage, stage
from tests.ops.conftest import OpsStage, open_ops_stage

__all__ = ["stage"]
ADDRESS = "http://ops.test"
Run = Callable[..., Awaitable[Result]]


@dataclass
class _OnTheLoop(httpx.BaseTransport):
    """A command runs in a thread; what it asks is answered on the test's loop."""

    http: httpx.AsyncClient
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = self.http.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers.items())
        )
        answer = asyncio.run_coroutine_threadsafe(asked, self.loop).result(60)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
async def ops(stage: Stage) -> AsyncIterator[OpsStage]:
    # Commands read the machine's clock.
    stage.clock.instant = datetime.now(UTC)
    async with open_ops_stage(stage.database, stage.clock, stage.processes) as opened:
        yield opened


@pytest.fixture
async def run(ops: OpsStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a stack whose people are those of `make up`."""
    people = {}
    for login, roles in PEOPLE.items():
        made = (await ops.operator(*roles, login=login, logged_in=False)).credentials
        people[login] = {"operator_id": made.operator_id, "login": login, "roles": roles} | {
            "password": made.password,
            "totp_secret": made.totp_secret,
        }
    (tmp_path / FILE).write_text(json.dumps(people))
    (tmp_path / "stack.json").write_text(json.dumps({"pid": 1, "addresses": {"ops": ADDRESS}}))
    transport = _OnTheLoop(ops.http)
    monkeypatch.setattr(cli.operators_api, "DEFAULT_FOLDER", tmp_path)
    monkeypatch.setattr(cli.operators_api, "connect", lambda url: httpx.Client(base_url=url, transport=transport))
    monkeypatch.setenv("LIUSHUI_ENVIRONMENT", "local")
    monkeypatch.setenv("LIUSHUI_OWNER_DATABASE_URL", ops.database.owner_url)

    async def command(*words: str, typed: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words), typed)

    return command


async def test_an_administrator_makes_a_merchant_whose_key_works_until_it_is_revoked(stage: Stage, run: Run) -> None:
    merchant_id = (await run("merchants", "create", "书店[/b] [red]", "--as", "ada")).output.strip()
    issued = await run("--as", "ada", "keys", "issue", merchant_id, "--scopes", "balances:read", "--label", "till[/1]")
    key = issued.output.strip()
    asked = {"Authorization": f"Bearer {key}"}
    assert (await stage.http.get("/v1/balances", headers=asked)).status_code == 200
    listed = (await run("keys", "list", merchant_id, "--as=ada")).output
    assert key.split("_", 2)[2] not in listed
    assert "till[/1]" in listed
    assert (await run("keys", "revoke", f"key_{key.split('_')[1]}", "--as", "ada")).exit_code == 0
    assert (await stage.http.get("/v1/balances", headers=asked)).status_code == 401
    [record] = await stage.records(action="create_merchant", outcome="done", actor="operator:ada")
    assert record["subject_id"] == merchant_id
    assert "书店[/b] [red]" in (await run("merchants", "list", "--as", "su")).output


async def test_a_payment_is_found_by_its_order_shown_and_its_bank_asked(stage: Stage, run: Run) -> None:
    merchant = await stage.merchant()
    payment = await stage.payment(merchant, *await stage.payer(merchant))
    await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": "482913"})
    await stage.debit_sent(payment["id"])
    found = await run("payments", "find", "--order", payment["order_number"], "--as", "su")
    assert payment["id"] in found.output
    shown = (await run("payments", "show", payment["id"], "--as", "su")).output
    assert "accept_payment" in shown
    assert f"collect-payment%2F{payment['id']}" in shown
    asked = await run("payments", "ask-bank", payment["id"], "--as", "su")
    assert "asks the bank" in asked.output
    assert stage.processes.told[-1][1] == payment["id"]
    as_json = json.loads((await run("payments", "show", payment["id"], "--as", "su", "--json")).output)
    assert as_json["id"] == payment["id"]


async def test_an_application_is_approved_by_a_person_who_may_and_cannot_be_twice(stage: Stage, run: Run) -> None:
    merchant = await stage.merchant()
    applied = await merchant.post("/v1/waiver/applications", {"limit_minor": 10_000, "currency": "CNY"})
    version = applied.json()["id"]
    assert version in (await run("approvals", "list", "--as", "rui")).output
    assert version in (await run("matters", "list", "--as", "su")).output
    assert (await run("approvals", "approve", version, "--as", "su")).exit_code == 1
    assert (await run("approvals", "approve", version, "--as", "rui")).exit_code == 0
    again = await run("approvals", "reject", version, "--as", "rui")
    assert again.exit_code == 1
    assert "DECISION_NOT_APPLICABLE" in again.output
    assert (await merchant.get("/v1/waiver")).json()["version"] == version


async def test_a_partner_is_switched_off_by_one_and_on_again_by_two(stage: Stage, run: Run) -> None:
    assert (await run("partners", "disable", "HBRB", "--reason", "No answers", "--as", "rui")).exit_code == 0
    assert [row["enabled"] for row in await stage.rows("SELECT enabled FROM app.partner WHERE code = 'HBRB'")] == [
        False
    ]
    asked = json.loads(
        (await run("partners", "enable", "HBRB", "--reason", "It answers", "--as", "rui", "--json")).output
    )
    assert (await run("decisions", "approve", asked["id"], "--as", "rui")).exit_code == 1
    approved = await run("decisions", "approve", asked["id"], "--as", "tian")
    assert approved.exit_code == 0, approved.output
    assert [row["enabled"] for row in await stage.rows("SELECT enabled FROM app.partner WHERE code = 'HBRB'")] == [True]


async def test_personal_data_are_shown_to_who_may_with_a_reason_and_masked_to_others(stage: Stage, run: Run) -> None:
    user_id, _ = await stage.payer(await stage.merchant())
    assert "138****8000" in (await run("users", "show", user_id, "--as", "su")).output
    words = ("users", "reveal", user_id, "mobile", "--reason-code", "support_case", "--reason", "The payer calls")
    opened = await run(*words, "--as", "chen")
    assert "13800138000" in opened.output
    denied = await run(*words, "--as", "su")
    assert denied.exit_code == 1
    assert "PERMISSION_MISSING" in denied.output
    records = (await run("records", "--subject", user_id, "--as", "audrey")).output
    assert "operator:chen" in records
    assert "operator:su" in records


async def test_somebody_is_invited_sets_credentials_logs_in_and_out(run: Run, ops: OpsStage, tmp_path: Path) -> None:
    invited = json.loads(
        (await run("operators", "invite", "lin", "support", "--as", "ada", "--json")).output.splitlines()[0]
    )
    typed = f"{invited['enrolment_token']}\nstaple-battery-horse-7\nstaple-battery-horse-7\n"
    redeemed = await run("redeem", typed=typed)
    assert "otpauth" in redeemed.output
    assert (await run("me")).exit_code == 1
    from ops.direct_enrolment import DirectCredentials

    secret = redeemed.output.split("totp secret")[1].split()[0]
    code = DirectCredentials("", "lin", "", secret).code(ops.clock.now())
    assert (await run("login", "lin", typed=f"staple-battery-horse-7\n{code}\n")).exit_code == 0
    assert "lin" in (await run("me")).output
    assert (tmp_path / "session.json").stat().st_mode & 0o077 == 0
    assert (await run("logout")).exit_code == 0
    assert (await run("me")).exit_code == 1
    assert "support" in (await run("operators", "list", "--as", "ada")).output


async def test_the_first_administrator_is_invited_only_while_there_is_none(run: Run) -> None:
    refused = await run("operators", "enrol-first", "eve")
    assert refused.exit_code == 1
    assert "OPERATOR_STATE_DIFFERS" in refused.output


async def test_changed_files_are_taken_over_by_the_owner(run: Run, ops: OpsStage) -> None:
    await ops.rows("DELETE FROM app.role_permission WHERE role = 'support'")
    assert (await run("register")).exit_code == 0
    assert (await run("matters", "list", "--as", "su")).exit_code == 0


async def test_the_kinds_of_decisions_are_listed_and_people_of_a_local_stack_can_take_each(run: Run) -> None:
    kinds = json.loads((await run("decisions", "kinds", "--json")).output)
    assert [row["kind"] for row in kinds] == list(DecisionKind)
    for row in kinds:
        assert row["grounds"]
        ask, approve = (
            {login for login, roles in PEOPLE.items() if set(roles) & set(row[may])}
            for may in ("asked for by", "approved by")
        )
        able = any(one != other for one in ask for other in approve) if row["people"] == 2 else ask & approve
        assert able, row["kind"]


async def test_an_authoritys_order_is_registered_by_two(stage: Stage, run: Run) -> None:
    user_id, _ = await stage.payer(await stage.merchant())
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    details = ("issuer=court", "number=2026-17", "demands=hold", f"expires_at={until}")
    words = [word for detail in details for word in ("--detail", detail)]
    asked = await run(
        "decisions", "request", "authority_order.register", user_id, "--ground", "authority", "--reason", "Served",
        *words, "--as", "chen", "--json",
    )  # fmt: skip
    assert asked.exit_code == 0, asked.output
    assert (await run("decisions", "approve", json.loads(asked.output)["id"], "--as", "cai")).exit_code == 0
    assert "authority_order" in (await run("decisions", "restrictions", "--as", "su")).output


async def test_what_cannot_be_done_is_one_sentence_and_exit_code_one(run: Run) -> None:
    for words in (
        ("merchants", "create", "", "--as", "ada"),
        ("merchants", "create", "a\nb", "--as", "ada"),
        ("suspend", "usr_none", "--ground", "x", "--reason", "x", "--as", "rui"),
        ("keys", "issue", "mch_none", "--scopes", "users:read", "--as", "ada"),
        ("keys", "issue", "mch_none", "--scopes", "everything", "--as", "ada"),
        ("keys", "revoke", "key_none", "--as", "ada"),
        ("approvals", "approve", "wvr_none", "--as", "rui"),
        ("operators", "suspend", "nobody", "--as", "ada"),
        ("operators", "suspend", "ada", "--as", "ada"),
        ("payments", "show", "pay_none", "--as", "su"),
        ("matters", "list"),
        ("matters", "list", "--as", "nobody"),
    ):
        result = await run(*words)
        assert result.exit_code == 1, (words, result.output)
        assert "Traceback" not in result.output
        assert len(result.output.strip().splitlines()) <= 2, words


async def test_an_address_off_this_machine_is_asked_over_tls_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIUSHUI_OPS_URL", "http://ops.example")
    result = await run("me")
    assert result.exit_code == 2
