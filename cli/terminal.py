"""What people see: tables, one thing in full, a sentence; or the same as JSON for a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH = 200


@dataclass
class Choices:
    """What was said for all commands: as whom, and whether as JSON."""

    login: str | None = None
    as_json: bool = False


choices = Choices()


def end(sentence: str, code: int = 1) -> NoReturn:
    """One sentence for the person at the terminal, and an exit code."""
    Console(stderr=True, highlight=False).print(sentence, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def show(rows: Sequence[Mapping[str, Any]], nothing: str, *, columns: Sequence[str] = ()) -> None:
    """A table of what was found, or a sentence; `columns` names those that are shown and their order."""
    if choices.as_json:
        typer.echo(json.dumps(list(rows), ensure_ascii=False, default=str))
        return
    # Names and labels are shown as they are: "[/b]" in one must not end the list.
    screen = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    if not rows:
        screen.print(nothing)
        return
    names = columns or list(rows[0])
    table = Table(box=None, pad_edge=False)
    for name in names:
        # What has to be copied into the next command stays in one piece.
        table.add_column(name.replace("_", " "), no_wrap=name.endswith("id"), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(name)) for name in names))
    screen.print(table)


def show_one(thing: Mapping[str, Any], *, lists: Mapping[str, Sequence[str]] | None = None) -> None:
    """One thing, a line for each of its fields; `lists` names those fields that are tables, and their columns."""
    if choices.as_json:
        typer.echo(json.dumps(thing, ensure_ascii=False, default=str))
        return
    screen = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    tables = lists or {}
    plain = Table(show_header=False, box=None, pad_edge=False)
    for name, value in thing.items():
        if name not in tables and value not in (None, [], {}):
            plain.add_row(name.replace("_", " "), cell(value))
    screen.print(plain)
    for name, columns in tables.items():
        if thing.get(name):
            screen.print(f"\n{name.replace('_', ' ')}:")
            show(thing[name], "", columns=columns)


def say(sentence: str, **facts: Any) -> None:
    """One line for the person at the terminal; with --json the facts instead."""
    typer.echo(json.dumps(facts, ensure_ascii=False, default=str) if choices.as_json and facts else sentence)


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    match value:
        case None:
            return "-"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case dict():
            return ", ".join(f"{name}: {cell(item)}" for name, item in value.items() if item is not None)
        case list():
            return ", ".join(map(cell, value))
        case _:
            return str(value)
