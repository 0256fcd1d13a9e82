"""`liushui partners …`: the registered banks (A0.4)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.terminal import show

app = typer.Typer(help="Partner banks: list, enable, disable.", no_args_is_help=True)
Code = Annotated[str, typer.Argument(help="The bank's code, such as HBRB.")]


@app.command(name="list")
def list_() -> None:
    """Shows all partners."""
    show(ask(lambda ops: ops.get("/partners"))["items"], "No partner is registered.")


@app.command()
def enable(code: Code, reason: Reason, ground: Ground = "resolved") -> None:
    """Asks to take new business again; another person approves."""
    decide("partner.enable", code, ground, reason)


@app.command()
def disable(code: Code, reason: Reason, ground: Ground = "technical") -> None:
    """Refuses new business from now on; what was sent is finished."""
    decide("partner.disable", code, ground, reason)
