"""`liushui inbounds …`: remittances that have arrived, and what becomes of those that nobody knows the owner of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.payouts import from_now
from cli.terminal import choices, show, show_one
from domain.money import format_amount

app = typer.Typer(help="Remittances: list, show, assign, return, returns.", no_args_is_help=True)
InboundId = Annotated[str, typer.Argument(metavar="ID", help="inb_…")]

_COLUMNS = ("id", "bank_code", "reference", "amount", "value_date", "state", "reason", "user_id", "arrived")
_OF_RETURNS = ("id", "inbound_id", "fx_id", "bank_code", "amount", "state", "reason", "waits", "accepted")
_TABLES = {
    "returns": ("id", "state", "reason", "raw_code", "bank_reference", "accepted_at"),
    "decisions": ("id", "kind", "state", "ground", "requested_by_login", "decided_by_login"),
}


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help="suspense, credited, returning or returned.")] = None,
    bank: Annotated[str | None, typer.Option(help="Only those that one bank has booked.")] = None,
    reference: Annotated[str | None, typer.Option(help="The bank's own.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of one user (usr_…).")] = None,
) -> None:
    """Shows remittances, the newest first; those in suspense wait for you."""
    query = {"state": state, "bank_code": bank, "reference": reference, "user_id": user}
    found = ask(lambda ops: ops.get("/inbounds", **query, limit=100))
    rows = found["items"] if choices.as_json else [_row(item) for item in found["items"]]
    show(rows, "No remittance is like that." if any(query.values()) else "Nothing has arrived.", columns=_COLUMNS)


@app.command(name="show")
def show_(inbound_id: InboundId) -> None:
    """Shows who sent it and to whom, masked, why it is in suspense, and what was decided."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/inbounds/{inbound_id}"))
    if choices.as_json:
        show_one(found)
        return
    plain = {name: value for name, value in found.items() if name not in ("amount_minor", "currency")}
    show_one({"amount": format_amount(found["amount_minor"], found["currency"])} | plain, lists=_TABLES)


@app.command()
def assign(
    inbound_id: InboundId,
    reason: Reason,
    user: Annotated[str, typer.Option(help="Whose it is (usr_…).")],
    ground: Ground = "evidence",
) -> None:
    """Asks to credit it to a user; another person approves. A mandate of the user converts it then."""
    decide("inbound.assign", inbound_id, ground, reason, {"user_id": user})


@app.command(name="return")
def return_(inbound_id: InboundId, reason: Reason, ground: Ground = "evidence") -> None:
    """Asks to send it back to where it came from; another person approves."""
    decide("inbound.return", inbound_id, ground, reason)


@app.command()
def returns(
    state: Annotated[str | None, typer.Option(help="ready, sending, unknown, succeeded or failed.")] = None,
) -> None:
    """Shows what is on its way back, or came back, the newest first."""
    found = ask(lambda ops: ops.get("/inbound_returns", state=state, limit=100))
    rows = found["items"] if choices.as_json else [_return(item) for item in found["items"]]
    show(rows, "Nothing was sent back.", columns=_OF_RETURNS)


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    amount = format_amount(item["amount_minor"], item["currency"])
    return dict(item) | {"amount": amount, "arrived": from_now(item["received_at"])}


def _return(item: Mapping[str, Any]) -> dict[str, Any]:
    amount = format_amount(item["amount_minor"], item["currency"])
    waits = (item["waiting_for"] or {}).get("reason")
    return dict(item) | {"amount": amount, "waits": waits, "accepted": from_now(item["accepted_at"])}
