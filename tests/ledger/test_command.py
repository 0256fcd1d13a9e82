"""`liushui ledger …` on real books, with the rights of the application."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from cli.ledger import app
from tests.conftest import Database
from tests.ledger.conftest import ALICE, Books, hold, pay_in


@pytest.fixture
async def filled(books: Books, database: Database, monkeypatch: pytest.MonkeyPatch) -> Books:
    await books.must(pay_in("in", 123_456), hold("h", 56))
    monkeypatch.setenv("LIUSHUI_DATABASE_URL", database.app_url)
    return books


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


async def test_verify_says_that_sound_books_are_sound(filled: Books) -> None:
    result = await run("verify")
    assert result.exit_code == 0
    assert "2 transfers, 1 open holds" in result.output
    assert "sound" in result.output


async def test_verify_and_trial_balance_fail_on_damage(filled: Books) -> None:
    await filled.connection.execute(sa.text("ALTER TABLE ledger.balance DISABLE TRIGGER USER"))
    await filled.connection.execute(sa.text("UPDATE ledger.balance SET posted = posted + 1 WHERE account_id = 1"))
    verified, totals = await run("verify"), await run("trial-balance")
    assert (verified.exit_code, totals.exit_code) == (1, 1)
    assert "balance_wrong" in verified.output
    assert "NOT sound" in verified.output


async def test_trial_balance_shows_both_sides(filled: Books) -> None:
    result = await run("trial-balance")
    assert result.exit_code == 0
    assert result.output.count("1,234.56 CNY") >= 4
    assert "0.00 CNY" in result.output


async def test_balance_now_and_before_there_was_any(filled: Books) -> None:
    now, before = await run("balance", ALICE), await run("balance", ALICE, "--at", "2020-01-01T00:00:00+08:00")
    assert now.output.split() == ["posted", "1,234.56", "CNY", "held", "0.56", "CNY", "available", "1,234.00", "CNY"]
    assert "1,234" not in before.output
    later = await run("balance", ALICE, "--at", datetime.now(UTC).isoformat())
    assert later.output == now.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["balance", "user:nobody:CNY"], 1),
        (["balance", ALICE, "--at", "yesterday"], 2),
        (["balance", ALICE, "--at", "2026-01-01"], 2),
    ],
)
async def test_a_wrong_question_gets_a_sentence_and_no_stack_trace(
    filled: Books, arguments: list[str], code: int
) -> None:
    result = await run(*arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output


@pytest.mark.parametrize("changed", [{"port": 1}, {"password": "wrong"}, {"database": "no_such_books"}])
@pytest.mark.usefixtures("filled")
async def test_books_that_cannot_be_reached_are_one_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    url = sa.make_url(database.app_url).set(**changed)  # type: ignore[arg-type]
    monkeypatch.setenv("LIUSHUI_DATABASE_URL", url.render_as_string(hide_password=False))
    result = await run("verify")
    assert result.exit_code == 1
    [sentence] = result.output.splitlines()
    assert sentence.startswith("The database cannot be used (")
