"""The institution's commands, run as an operator runs them."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from cli.main import app
from storage.administration import AdministrationError, register_institution
from tests.api.conftest import Stage


@pytest.fixture
def run(stage: Stage, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("LIUSHUI_ENVIRONMENT", "local")
    monkeypatch.setenv("LIUSHUI_OWNER_DATABASE_URL", stage.database.owner_url)

    async def command(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words))

    return command


async def test_an_operator_makes_a_merchant_whose_key_works_until_it_is_revoked(stage: Stage, run) -> None:  # type: ignore[no-untyped-def]
    made = await run("merchants", "create", "海棠书店", "--by", "wang")
    merchant_id = made.output.strip()
    issued = await run("keys", "issue", merchant_id, "--scopes", "balances:read,users:read")
    key = issued.output.strip()
    asked = {"Authorization": f"Bearer {key}"}
    # Keys are made by the machine's clock; the test's stands on another day.
    answer = await stage.http.get("/v1/balances", headers=asked)
    assert [balance["posted_minor"] for balance in answer.json()["balances"]] == [0, 0]

    assert key.split("_")[2] not in (await run("keys", "list", merchant_id)).output
    assert (await run("keys", "revoke", f"key_{key.split('_')[1]}")).exit_code == 0
    assert (await stage.http.get("/v1/balances", headers=asked)).status_code == 401
    [record] = await stage.records(action="create_merchant")
    assert (record["actor"], record["subject_id"], record["outcome"]) == ("operator:wang", merchant_id, "done")
    assert "海棠书店" in (await run("merchants", "list")).output


async def test_brackets_in_a_name_or_label_are_shown_as_they_are(stage: Stage, run) -> None:  # type: ignore[no-untyped-def]
    merchant_id = (await run("merchants", "create", "书店[/b] [red]")).output.strip()
    await run("keys", "issue", merchant_id, "--scopes", "users:read", "--label", "till[/1]")
    assert "书店[/b] [red]" in (await run("merchants", "list")).output
    assert "till[/1]" in (await run("keys", "list", merchant_id)).output


async def test_an_approval_names_who_gave_it_and_cannot_be_given_twice(stage: Stage, run) -> None:  # type: ignore[no-untyped-def]
    merchant = await stage.merchant()
    applied = await merchant.post("/v1/waiver/applications", {"limit_minor": 10_000, "currency": "CNY"})
    version = applied.json()["id"]
    assert version in (await run("approvals", "list")).output
    assert (await run("approvals", "approve", version)).exit_code == 2
    assert (await run("approvals", "approve", version, "--by", "li.na")).exit_code == 0
    assert (await run("approvals", "reject", version, "--by", "li.na")).exit_code == 1
    assert (await merchant.get("/v1/waiver")).json()["version"] == version
    [row] = await stage.rows("SELECT applied_by, decided_by FROM app.waiver_application")
    assert row == {"applied_by": f"key_{merchant.key.split('_')[1]}", "decided_by": "operator:li.na"}


async def test_a_partner_is_switched_off_and_on_and_registration_leaves_it_off(stage: Stage, run) -> None:  # type: ignore[no-untyped-def]
    assert (await run("partners", "disable", "HBRB", "--by", "wang")).exit_code == 0
    from wiring import read_bank_register

    await register_institution(stage.database.owner_engine, stage.policy, read_bank_register().banks, stage.clock.now())
    off = await stage.rows("SELECT code FROM app.partner WHERE NOT enabled")
    assert [row["code"] for row in off] == ["HBRB"]
    assert (await run("partners", "enable", "HBRB")).exit_code == 0
    assert (await run("partners", "enable", "NONE")).exit_code == 1


async def test_what_waits_for_a_person_is_listed_with_its_reason(stage: Stage, run) -> None:  # type: ignore[no-untyped-def]
    assert "Nothing waits for a person." in (await run("matters", "list")).output
    merchant = await stage.merchant()
    async with stage.database.owner_engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO app.case_record (id, kind, subject_id, merchant_id, opened_at)"
                " VALUES ('case_1', 'operator_needed', 'rfd_1', :merchant, now())"
            ),
            {"merchant": merchant.id},
        )
    listed = (await run("matters", "list")).output
    assert "case_1" in listed
    assert "operator_needed" in listed


async def test_registering_the_institution_again_changes_nothing(stage: Stage) -> None:
    from wiring import read_bank_register

    before = await stage.records()
    await register_institution(stage.database.owner_engine, stage.policy, read_bank_register().banks, stage.clock.now())
    assert await stage.records() == before


async def test_a_published_agreement_is_not_replaced_by_another_text(stage: Stage) -> None:
    agreement = stage.policy.agreement.model_copy(update={"content_hash": "0" * 64})
    policy = stage.policy.model_copy(update={"agreement": agreement})
    with pytest.raises(AdministrationError):
        await register_institution(stage.database.owner_engine, policy, [], stage.clock.now())


@pytest.mark.parametrize(
    "words",
    [
        ("merchants", "create", ""),
        ("merchants", "create", "a\nb"),
        ("merchants", "suspend", "mch_none"),
        ("keys", "issue", "mch_none", "--scopes", "users:read"),
        ("keys", "issue", "mch_none", "--scopes", "everything"),
        ("keys", "revoke", "key_none"),
        ("approvals", "approve", "wvr_none", "--by", "x"),
        ("approvals", "approve", "wvr_none", "--by", "x;y"),
    ],
)
async def test_what_cannot_be_done_is_one_sentence_and_exit_code_one(run, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    result = await run(*words)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.output.strip().endswith(".")
