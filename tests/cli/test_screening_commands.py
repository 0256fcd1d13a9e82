"""Screening lists from the terminal: a file is loaded, confirmed, shown; what is no list is one sentence."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_operator_commands import Run, ops, run, stage
from wiring import CONFIG

__all__ = ["ops", "run", "stage"]


async def test_compliance_loads_a_list_from_a_file_and_sees_which_are_good(run: Run, tmp_path: Path) -> None:
    load = ("screening", "load", str(CONFIG / "screening" / "UN.csv"), "--list", "UN", "--source", "notice 14")
    first = await run("--as", "chen", *load)
    assert (first.exit_code, first.output) == (0, "UN version 1 is new: 4 entries.\n")
    again = await run("--as", "chen", *load)
    assert again.output == "UN version 1 was there already and is confirmed: 4 entries.\n"
    lists = await run("--as", "chen", "--json", "screening", "lists")
    assert '"source": "notice 14"' in lists.output
    assert "Nothing was found." in (await run("--as", "chen", "screening", "matches")).output

    denied = await run("--as", "su", *load)
    assert denied.exit_code == 1
    assert "PERMISSION_MISSING" in denied.output
    broken = tmp_path / "broken.csv"
    broken.write_text("name\n乌有之\n", encoding="utf-8")
    refused = await run("--as", "chen", "screening", "load", str(broken), "--list", "UN", "--source", "x")
    assert (refused.exit_code, refused.output) == (1, "broken.csv lacks the columns key, kind, names\n")
