"""`liushui retention …`: what is kept of users who left: found, held, opened for an order, purged (P4.5e)."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.terminal import choices, end, say, show, show_one

app = typer.Typer(help="Retained records: search, show, disclose, open, hold, release, reports.", no_args_is_help=True)
UserId = Annotated[str, typer.Argument(metavar="USER", help="usr_…")]
_LINES = ("user_id", "merchant_id", "kind", "event_year", "records", "until", "ground", "held_by")
_TABLES = {
    "lines": ("kind", "event_year", "records", "until", "ground"),
    "holds": ("id", "ground", "order_id", "placed_by", "placed_at", "lifted_by", "lifted_at"),
    "accesses": ("at", "login", "decision_id", "order_id", "records", "outcome", "reason"),
}


@app.command()
def search() -> None:
    """Shows of whom something is kept, by the identity number that you type here; it is compared and kept nowhere."""
    number = typer.prompt("Identity number", hide_input=True)
    found = ask(lambda ops: ops.post("/retention/search", {"id_number": number}))["users"]
    if choices.as_json:
        show(found, "")
        return
    show([user | line for user in found for line in user["lines"]], "Nothing is kept of this person.", columns=_LINES)


@app.command(name="show")
def show_(user_id: UserId) -> None:
    """Shows what is kept of a user until when, the holds, and who opened it or wanted to."""
    show_one(ask(lambda ops: ops.get(f"/retention/users/{user_id}")), lists=_TABLES)


@app.command()
def disclose(  # noqa: PLR0917 - options have names
    user_id: UserId,
    order: Annotated[str, typer.Option(help="The registered order that asks for it (ord_…, demands query).")],
    reason: Reason,
    kind: Annotated[list[str], typer.Option(help="Several times: identity, transaction, source_of_funds.")],
    from_: Annotated[str | None, typer.Option("--from", help="From this day on (2026-01-31).")] = None,
    until: Annotated[str | None, typer.Option(help="Through this day.")] = None,
    ground: Ground = "authority",
) -> None:
    """Asks to open what is kept, for an order; another person approves, and one of the two opens it."""
    detail: dict[str, Any] = {"order_id": order, "kinds": kind}
    detail |= {name: day for name, day in (("from", from_), ("until", until)) if day}
    decide("retention.disclose", user_id, ground, reason, detail)


@app.command(name="open")
def open_(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION", help="dec_…")],
    recipient: Annotated[str, typer.Option(help="The authority's public key (age1…), as it has given it itself.")],
    to: Annotated[Path, typer.Option(help="The file to write, for the authority: nobody else can open it.")],
) -> None:
    """Writes what two people decided to disclose into a file that only the authority's key opens. It is on record."""
    if to.exists():
        end(f"{to} is there already.", 2)
    body = {"decision_id": decision_id, "recipient": recipient}
    made: dict[str, Any] = ask(lambda ops: ops.post("/retention/disclosures", body))
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.b64decode(made.pop("archive")))
    say(f"{made['manifest']['records']} records are in {to} (SHA-256 {made['sha256']}).", **made, file=str(to))


@app.command()
def hold(
    user_id: UserId,
    reason: Reason,
    ground: Ground,
    order: Annotated[str | None, typer.Option(help="The order that asks for it (ord_…).")] = None,
) -> None:
    """Asks to stop the clocks of what is kept of a user; another person approves."""
    decide("retention.hold", user_id, ground, reason, {"order_id": order} if order else {})


@app.command()
def release(user_id: UserId, reason: Reason, ground: Ground = "resolved") -> None:
    """Asks to lift the holds of a user; what is due by then goes with the next purge."""
    decide("retention.release", user_id, ground, reason)


@app.command()
def reports() -> None:
    """Shows what each day's purge came to: what went, what is held, what is not finished."""
    found = ask(lambda ops: ops.get("/retention/reports", limit=100))
    show(
        found["items"],
        "No purge has run.",
        columns=("run_on", "at", "purged", "erased", "held", "unfinished", "details"),
    )
