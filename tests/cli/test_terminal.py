"""What people see: a table where it fits, else one field below the other; and never a piece cut off."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import cli.terminal
from cli.terminal import show, show_one

ID = "dec_01M82CYKM6A2QP3G8EVFAH71NT"
ROWS = [{"id": ID, "subject_id": "usr_01M82CNSRXY81MYC6VE6R79G8W", "state": "requested", "reason": None}] * 2
SECRET = "otpauth://totp/Liushui%3Ali.lei?secret=RKUHKYHXKQ4FS5LBE75AGQ2ANTA3AUTA&issuer=Liushui&digits=6"


def screen(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(
        cli.terminal, "_screen", lambda: Console(file=written, width=width, highlight=False, markup=False)
    )
    return written


def test_a_table_that_fits_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch, 120)
    show(ROWS, "")
    assert [line.split()[0] for line in written.getvalue().splitlines()] == ["id", ID, ID]


def test_what_does_not_fit_stands_one_below_the_other_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch, 60)
    show(ROWS, "", columns=("id", "subject_id", "state", "reason"))
    said = [line.rstrip() for line in written.getvalue().splitlines()]
    row = [f"id          {ID}", "subject id  usr_01M82CNSRXY81MYC6VE6R79G8W", "state       requested", "reason      -"]
    assert said == [*row, "", *row]


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_long_value_is_never_cut_off(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    written = screen(monkeypatch, width)
    show_one({"login": "li.lei", "uri": SECRET})
    assert SECRET in "".join(line[len("login  ") :].rstrip() for line in written.getvalue().splitlines()[1:])


def test_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch, 80)
    show_one({"object": "partner", "enabled": True, "nothing": None, "roles": ["risk", "support"]})
    assert [line.split() for line in written.getvalue().splitlines()] == [
        ["enabled", "yes"],
        ["roles", "risk,", "support"],
    ]
