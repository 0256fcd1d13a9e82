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
from rich.measure import Measurement
from rich.table import Table

# Without a terminal: a row is a line, however long, for grep and its kind.
_BEYOND = 10_000


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
    screen = _screen()
    if not rows:
        screen.print(nothing)
        return
    names = columns or [name for name in rows[0] if name != "object"]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(name)) for name in names))
    if Measurement.get(screen, screen.options.update(max_width=_BEYOND), table).maximum <= screen.width:
        screen.print(table)
        return
    # Too wide to be read as a table, and what has to be copied stays in one piece: one below the other.
    for position, row in enumerate(rows):
        if position:
            screen.print()
        _show_fields(screen, {name: row.get(name) for name in names}, with_empty=True)


def show_one(thing: Mapping[str, Any], *, lists: Mapping[str, Sequence[str]] | None = None) -> None:
    """One thing, a line for each of its fields; `lists` names those fields that are tables, and their columns."""
    if choices.as_json:
        typer.echo(json.dumps(thing, ensure_ascii=False, default=str))
        return
    screen = _screen()
    tables = lists or {}
    _show_fields(screen, {name: value for name, value in thing.items() if name not in tables and name != "object"})
    for name, columns in tables.items():
        if thing.get(name):
            screen.print(f"\n{name.replace('_', ' ')}:")
            show(thing[name], "", columns=columns)


def say(sentence: str, **facts: Any) -> None:
    """One line for the person at the terminal; with --json the facts instead."""
    typer.echo(json.dumps(facts, ensure_ascii=False, default=str) if choices.as_json and facts else sentence)


def _screen() -> Console:
    """Names and labels are shown as they are: "[/b]" in one must not end the list."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _BEYOND)


def _show_fields(screen: Console, fields: Mapping[str, Any], *, with_empty: bool = False) -> None:
    """A line each; what is too long goes on in the next line, whole."""
    plain = Table(show_header=False, box=None, pad_edge=False)
    plain.add_column(no_wrap=True)
    plain.add_column(overflow="fold")
    for name, value in fields.items():
        if with_empty or value not in (None, [], {}):
            plain.add_row(name.replace("_", " "), cell(value))
    screen.print(plain)


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M")
        case dict():
            return ", ".join(f"{name}: {cell(item)}" for name, item in value.items() if item is not None)
        case list():
            return ", ".join(map(cell, value))
        case _:
            return str(value)
