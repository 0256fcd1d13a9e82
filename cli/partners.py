"""`liushui partners …`: the registered banks (A0.4), and what personal data has gone beyond the border (P6b)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.terminal import show

app = typer.Typer(help="Partner banks: list, enable, disable, exports.", no_args_is_help=True)
Code = Annotated[str, typer.Argument(help="The bank's code, such as HBRB.")]


@app.command(name="list")
def list_() -> None:
    """Shows all partners."""
    show(ask(lambda ops: ops.get("/partners"))["items"], "No partner is registered.")


@app.command()
def exports(
    year: Annotated[int | None, typer.Option(min=2020, max=2199, help="This one, if left out.")] = None,
) -> None:
    """Shows how many persons' data went beyond the border in a year, to whom, and under which contract."""
    columns = ("recipient", "name", "persons", "disclosures", "fields", "contract", "valid_until", "in_force")
    show(ask(lambda ops: ops.get("/exports", year=year))["items"], "Nothing goes beyond the border.", columns=columns)


@app.command()
def enable(code: Code, reason: Reason, ground: Ground = "resolved") -> None:
    """Asks to take new business again; another person approves."""
    decide("partner.enable", code, ground, reason)


@app.command()
def disable(code: Code, reason: Reason, ground: Ground = "technical") -> None:
    """Refuses new business from now on; what was sent is finished."""
    decide("partner.disable", code, ground, reason)
