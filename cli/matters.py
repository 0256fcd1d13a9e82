"""`liushui matters` and `liushui cases`: what only a person can bring on."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import say, show

app = typer.Typer(help="What waits for a person: cases, parked instructions, applications.", no_args_is_help=True)
cases = typer.Typer(help="Cases: list, open.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """What waits for a person."""


@app.command(name="list")
def list_() -> None:
    """Shows each with why, about what, and since when; the oldest first."""
    columns = ("matter_id", "kind", "why", "subject_id", "merchant_id", "since", "age_seconds")
    show(ask(lambda ops: ops.get("/matters"))["items"], "Nothing waits for a person.", columns=columns)


@cases.command(name="list")
def list_cases(
    state: Annotated[str | None, typer.Option(help="open or resolved; both, if left out.")] = None,
) -> None:
    """Shows cases, the newest first."""
    found = ask(lambda ops: ops.get("/cases", state=state, limit=100))
    show(
        found["items"], "There are no cases.", columns=("id", "kind", "subject_id", "merchant_id", "opened_at", "state")
    )


@cases.command(name="open")
def open_case(
    subject_id: Annotated[str, typer.Argument(help="pay_…, rfd_…, bnd_…, usr_… or mch_…")],
    reason: Annotated[str, typer.Option(help="Why; nobody's names or numbers.")],
) -> None:
    """Puts something on the list of what waits for a person."""
    made = ask(lambda ops: ops.post("/cases", {"subject_id": subject_id, "reason_text": reason}))
    say(made["id"], **made)
