"""`liushui approvals …`: what merchants have applied for and the institution decides (A3.11a)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.decisions import decide
from cli.operators_api import ask
from cli.terminal import show

app = typer.Typer(help="Applications for payment without a code: list, approve, reject.", no_args_is_help=True)
ApplicationId = Annotated[str, typer.Argument(help="wvr_…")]
Reason = Annotated[str, typer.Option(help="In words; it stands in the record.")]


@app.command(name="list")
def list_() -> None:
    """Shows what waits for a decision."""
    show(ask(lambda ops: ops.get("/waiver_applications"))["items"], "Nothing waits for a decision.")


@app.command()
def approve(application_id: ApplicationId, reason: Reason = "The application was examined") -> None:
    """Puts the waiver in force from now on, in place of an earlier one; users authorise it anew."""
    decide("waiver.approve", application_id, "application_reviewed", reason)


@app.command()
def reject(application_id: ApplicationId, reason: Reason = "The application was examined") -> None:
    """Leaves everything as it is."""
    decide("waiver.reject", application_id, "application_reviewed", reason)
