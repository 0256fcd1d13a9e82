"""`liushui matters list`: what only a person can bring on."""

from __future__ import annotations

import typer

from cli.institution import as_owner, show
from storage.administration import list_matters

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """What waits for a person: open cases, and instructions no process can bring on."""


@app.command(name="list")
def list_() -> None:
    """Shows each with why, about what, and since when."""
    show(as_owner(list_matters), "Nothing waits for a person.")
