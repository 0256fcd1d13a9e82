"""`liushui disputes …`: what users and merchants are at odds about: while one is open nothing is closed (P4.5b)."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.terminal import say, show, show_one

app = typer.Typer(help="Disputes: list, show, record, resolve.", no_args_is_help=True)
DisputeId = Annotated[str, typer.Argument(metavar="ID", help="dsp_…")]
_COLUMNS = ("id", "user_id", "subject_id", "reason", "state", "opened_at", "opened_by", "resolution")


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help="open or resolved.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of one user (usr_…).")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only those of one merchant (mch_…).")] = None,
) -> None:
    """Shows disputes, the newest first."""
    query = {"state": state, "user_id": user, "merchant_id": merchant}
    found = ask(lambda ops: ops.get("/disputes", **query, limit=100))
    show(found["items"], "There is no dispute.", columns=_COLUMNS)


@app.command(name="show")
def show_(dispute_id: DisputeId) -> None:
    """Shows one, and how it was resolved."""
    show_one(ask(lambda ops: ops.get(f"/disputes/{dispute_id}")))


@app.command()
def record(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="usr_…")],
    reason: Annotated[
        str,
        typer.Option(help="not_authorised, not_received, not_as_described, amount_differs, refund_missing or other."),
    ],
    subject: Annotated[str | None, typer.Option(help="pay_…, rfd_…, po_… or fx_…; the account, if left out.")] = None,
    evidence: Annotated[str | None, typer.Option(help="Where the call's record or the letter is kept.")] = None,
) -> None:
    """Records what a user reports."""
    body = {"user_id": user_id, "subject_id": subject, "reason": reason, "evidence_ref": evidence}
    made: dict[str, Any] = ask(lambda ops: ops.post("/disputes", body))
    say(f"{made['id']} is open; nothing of this user is closed before it is resolved.", **made)


@app.command()
def resolve(
    dispute_id: DisputeId,
    resolution: Annotated[str, typer.Option(help="settled, unfounded or confirmed.")],
    reason: Reason,
    ground: Ground = "evidence",
    evidence: Annotated[str | None, typer.Option(help="Where it is on file.")] = None,
) -> None:
    """Decides how it ended; a closing that waits for it goes on by itself."""
    detail = {"resolution": resolution} | ({"evidence_ref": evidence} if evidence else {})
    decide("dispute.resolve", dispute_id, ground, reason, detail)
