"""`liushui users …`: a user masked, or with a role and a reason in the open (A4.2b)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import show, show_one

app = typer.Typer(help="Users: show (masked), reveal (recorded with the reason), accesses.", no_args_is_help=True)
UserId = Annotated[str, typer.Argument(help="usr_…")]


@app.command(name="show")
def show_(user_id: UserId) -> None:
    """Shows a user with their cards, masked."""
    columns = ("id", "bank_code", "card_type", "state", "elements", "accepted_at")
    show_one(ask(lambda ops: ops.get(f"/users/{user_id}")), lists={"bindings": columns})


@app.command()
def reveal(  # noqa: PLR0917 - options of a command
    user_id: UserId,
    fields: Annotated[list[str], typer.Argument(help="name, id_number, card_number, mobile")],
    reason_code: Annotated[str, typer.Option(help="support_case, fraud_investigation or user_request.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record. Nobody's names or numbers.")],
    case: Annotated[str | None, typer.Option(help="case_…")] = None,
    binding: Annotated[str | None, typer.Option(help="bnd_…; the newest, if left out.")] = None,
) -> None:
    """Shows personal data in the open. You, your roles, the reason and the fields are recorded first."""
    body = {"fields": fields, "reason_code": reason_code, "reason_text": reason, "case_id": case, "binding_id": binding}
    show_one(ask(lambda ops: ops.post(f"/users/{user_id}/personal-data", body)))


@app.command()
def accesses(user_id: UserId) -> None:
    """Shows who read the user's personal data, or was refused it."""
    columns = ("at", "actor", "fields", "purpose", "outcome", "reason")
    found = ask(lambda ops: ops.get(f"/users/{user_id}/accesses"))["items"]
    show(found, "Nobody has read any.", columns=columns)
