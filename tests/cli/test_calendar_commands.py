"""Calendars and closures by command, as a treasurer uses them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.conftest import stage
from tests.cli.test_operator_commands import Run, ops, run
from tests.ops.conftest import OpsStage

__all__ = ["ops", "run", "stage"]
EXAMPLE = Path(__file__).parents[2] / "config" / "calendars" / "example-2027.toml"
TREASURER = ("--as", "tian")


async def test_a_year_is_loaded_from_a_file_and_shown(run: Run) -> None:
    before = await run("calendars", "show", *TREASURER)
    assert "NOT published" in before.output
    loaded = await run("calendars", "load", str(EXAMPLE), *TREASURER)
    assert loaded.output.startswith("Loaded as version 1")
    again = await run("calendars", "load", str(EXAMPLE), *TREASURER)
    assert "nothing has changed" in again.output
    shown = json.loads((await run("--json", "calendars", "show", *TREASURER)).output)
    assert next(each for each in shown["calendars"] if each["calendar"] == "CN")["loaded_years"] == [2027]
    assert shown["bank_days"] == {"HBRB": {"2027-02-20": False}}


async def test_a_bank_is_closed_for_half_a_minute_and_opened_again(run: Run, ops: OpsStage) -> None:
    closed = await run("banks", "close", "HBRB", "--until", "30s", "--reason", "演练", *TREASURER)
    assert closed.exit_code == 0, closed.output
    [closure] = json.loads((await run("--json", "calendars", "show", *TREASURER)).output)["closures"]
    assert abs(datetime.fromisoformat(closure["until_at"]) - datetime.now(UTC)) < timedelta(seconds=31)
    ops.clock.advance(seconds=1)
    assert (await run("banks", "open", "HBRB", "--reason", "演练结束", *TREASURER)).exit_code == 0
    assert json.loads((await run("--json", "calendars", "show", *TREASURER)).output)["closures"] == []


async def test_hours_are_set_and_taken_back(run: Run) -> None:
    stated = ("--at", "mon-fri=09:00-12:00", "--at", "mon-fri=13:30-16:00", "--at", "sat=10:00-12:00")
    assert (await run("banks", "hours", "HBRB", *stated, "--reason", "冬令", *TREASURER)).exit_code == 0
    shown = await run("calendars", "show", *TREASURER)
    assert "mon,tue,wed,thu,fri 13:30-16:00" in shown.output
    assert (await run("banks", "hours", "HBRB", "--of-routes", "--reason", "恢复", *TREASURER)).exit_code == 0
    assert json.loads((await run("--json", "calendars", "show", *TREASURER)).output)["bank_hours"] == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("banks", "close", "NOPE", "--until", "1h", "--reason", "x"), "no partner bank"),
        (("banks", "close", "HBRB", "--until", "soon", "--reason", "x"), "write an instant"),
        (("banks", "close", "HBRB", "--until", "2020-01-01T00:00", "--reason", "x"), "ends_before_it_begins"),
        (("banks", "hours", "HBRB", "--at", "tue=09:00-12:00", "--reason", "x"), "hours of Monday are missing"),
        (("banks", "hours", "HBRB", "--at", "someday", "--reason", "x"), "mon-fri=09:00-16:30"),
        (("banks", "hours", "HBRB", "--reason", "x"), "--of-routes"),
    ],
)
async def test_what_cannot_be_done_is_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    refused = await run(*words, *TREASURER)
    assert refused.exit_code != 0
    assert sentence in refused.output


async def test_a_file_that_cannot_be_right_says_where_before_anybody_is_asked(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(EXAMPLE.read_text(encoding="utf-8").replace("2027-10-09", "2028-10-09"), encoding="utf-8")
    refused = await run("calendars", "load", str(wrong), *TREASURER)
    assert refused.exit_code == 1
    assert "years.0: 2028-10-09 is not in 2027." in refused.output
    wrong.write_text("note = ", encoding="utf-8")
    assert "no TOML file" in (await run("calendars", "load", str(wrong), *TREASURER)).output
