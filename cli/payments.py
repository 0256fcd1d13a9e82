"""`liushui payments …`: find a payment, see why it waits and what the bank said, ask the bank again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.queries import ui_origin
from cli.terminal import choices, end, say, show, show_one

app = typer.Typer(help="Payments, refunds and bindings: find, show, ask-bank.", no_args_is_help=True)
InstructionId = Annotated[str, typer.Argument(metavar="ID", help="pay_…, rfd_…, bnd_…, po_…, fx_…, inr_… or rca_…")]

TABLES = {
    "effects": (
        "request_number",
        "step",
        "claimed_at",
        "outcome",
        "reason",
        "raw_code",
        "bank_reference",
        "resolved_at",
    ),
    "code_attempts": ("number", "claimed_at", "verdict", "resolved_at"),
    "events": ("sequence", "type", "at", "id"),
    "signatures": ("key_id", "action", "created", "received_at", "request_id"),
    "decisions": ("id", "kind", "state", "ground", "requested_by_login", "decided_by_login"),
    "records": ("at", "actor", "action", "outcome", "reason", "request_number", "request_id"),
}
_HIDDEN = ("process", "confirmation_hash", "report_path", "fee_rule", "agreement_version")


@app.command()
def find(
    order: Annotated[str | None, typer.Option(help="The merchant's own number of the order.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only of this merchant (mch_…), with --order.")] = None,
    request_number: Annotated[str | None, typer.Option(help="Under which the bank knows a step.")] = None,
    bank_reference: Annotated[str | None, typer.Option(help="The bank's own.")] = None,
) -> None:
    """Finds payments by one of these, newest first."""
    if [order, request_number, bank_reference].count(None) != 2:
        end("Give exactly one of --order, --request-number and --bank-reference.", 2)
    found = ask(
        lambda ops: ops.get(
            "/instructions",
            order_number=order,
            merchant_id=merchant,
            request_number=request_number,
            bank_reference=bank_reference,
        )
    )
    columns = ("id", "merchant_id", "order_number", "amount_minor", "currency", "state", "reason", "waiting_for")
    show(found["items"], "There is none.", columns=columns)


@app.command(name="show")
def show_(instruction_id: InstructionId) -> None:
    """Shows where it stands and why, what the bank said in its own codes, and who did what."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/instructions/{instruction_id}"))
    if choices.as_json:
        show_one(found)
        return
    plain = {name: value for name, value in found.items() if name not in _HIDDEN}
    show_one(plain | {"in_temporal": in_temporal(found)}, lists=TABLES)


def in_temporal(instruction: Mapping[str, Any]) -> str:
    """Where its process is shown in the Temporal UI."""
    return f"{ui_origin() or ''}{instruction['process']['temporal_ui_path']}"


@app.command(name="ask-bank")
def ask_bank(instruction_id: InstructionId) -> None:
    """Has the process ask its bank now what became of it; nothing is sent a second time by this."""
    made = ask(lambda ops: ops.post(f"/instructions/{instruction_id}/ask-bank"))
    said = {
        "told": "The process asks the bank now",
        "revived": "The process was gone; it runs again and asks the bank",
        "correcting": "The bank is asked about what we have as failed",
    }
    say(f"{said[made['how']]}: bin/liushui payments show {instruction_id}", **made)
