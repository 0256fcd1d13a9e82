"""`liushui approvals …`: what merchants have applied for and the institution decides (A3.11a)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.institution import By, act_of, as_owner, say, show
from storage.administration import decide_waiver, list_waiver_applications

app = typer.Typer(help="Applications for payment without a code: list, approve, reject.", no_args_is_help=True)
ApplicationId = Annotated[str, typer.Argument(help="wvr_…")]


@app.command(name="list")
def list_() -> None:
    """Shows what waits for a decision."""
    show(as_owner(list_waiver_applications), "Nothing waits for a decision.")


@app.command()
def approve(application_id: ApplicationId, by: By) -> None:
    """Puts the waiver in force from now on, in place of an earlier one; users authorise it anew."""
    as_owner(lambda engine: decide_waiver(engine, act_of(by), application_id, approved=True))
    say(f"{application_id} is approved")


@app.command()
def reject(application_id: ApplicationId, by: By) -> None:
    """Leaves everything as it is."""
    as_owner(lambda engine: decide_waiver(engine, act_of(by), application_id, approved=False))
    say(f"{application_id} is rejected")
