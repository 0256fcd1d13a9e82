"""`liushui payouts …`: what is on its way out, what each waits for, and everything about one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.payments import TABLES, in_temporal
from cli.payments import ask_bank as ask_bank_about
from cli.terminal import choices, end, show, show_one
from domain.money import format_amount

app = typer.Typer(help="Payouts: list, find, show, ask-bank, bank-record.", no_args_is_help=True)
app.command(name="ask-bank")(ask_bank_about)
PayoutId = Annotated[str, typer.Argument(metavar="ID", help="po_…")]

_COLUMNS = ("id", "amount", "state", "waits", "until")
_UNITS = (("d", 172_800), ("h", 7_200), ("min", 60), ("s", 0))
_LENGTHS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_TABLES = TABLES | {
    "hits": ("at", "outcome", "rule", "zh", "en"),
    "reviews": ("id", "state", "owner_login", "due_at", "ended_at"),
    "screening_matches": ("id", "state", "list_code", "matched_name", "score"),
}
# Of no use to a person, or shown in another form.
_HIDDEN = (
    "process", "confirmation_hash", "report_path", "agreement_version", "amount_minor", "currency", "fee_minor",
    "payee", "payee_id", "risk_decisions", "code_attempts", "source_account", "limit_reservations", "hold_number",
)  # fmt: skip


@app.command(name="list")
def list_(
    waiting_for: Annotated[str | None, typer.Option(help="Such as review, freeze, partner, bank_window.")] = None,
    state: Annotated[str | None, typer.Option(help="Such as scheduled, cooling_off, unknown.")] = None,
    bank: Annotated[str | None, typer.Option(help="Only those of one bank.")] = None,
    provisional: Annotated[bool, typer.Option(help="Only those whose date rests on an unpublished calendar.")] = False,
) -> None:
    """Shows what is under way, the oldest first."""
    query = {"waiting_for": waiting_for, "state": state, "bank_code": bank, "limit": 100}
    found = ask(lambda ops: ops.get("/payouts", **query, provisional="true" if provisional else None))
    rows = found["items"] if choices.as_json else [_row(item) for item in found["items"]]
    is_narrowed = waiting_for or state or bank or provisional
    nothing = "No payout under way is like that." if is_narrowed else "No payout is under way."
    show(rows, nothing, columns=_COLUMNS)


@app.command()
def find(
    order: Annotated[str | None, typer.Option(help="The merchant's own number of the order.")] = None,
    payee: Annotated[str | None, typer.Option(help="All to one payee (pye_…).")] = None,
    request_number: Annotated[str | None, typer.Option(help="Under which the bank knows it.")] = None,
    bank_reference: Annotated[str | None, typer.Option(help="The bank's own.")] = None,
) -> None:
    """Finds payouts by one of these, newest first."""
    given = {"order_number": order, "payee_id": payee, "request_number": request_number}
    given |= {"bank_reference": bank_reference}
    if list(given.values()).count(None) != len(given) - 1:
        end("Give exactly one of --order, --payee, --request-number and --bank-reference.", 2)
    found = ask(lambda ops: ops.get("/instructions", **given))
    rows = [item for item in found["items"] if item["object"] == "payout"]
    show(rows if choices.as_json else [_row(item) for item in rows], "There is none.", columns=_COLUMNS)


@app.command(name="show")
def show_(payout_id: PayoutId) -> None:
    """Shows where it stands and why, to whom it goes, what the bank said, and who did what."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/instructions/{payout_id}"))
    if choices.as_json:
        show_one(found)
        return
    plain = {name: value for name, value in found.items() if name not in _HIDDEN}
    hits = [hit | {"at": decision["at"]} for decision in found.get("risk_decisions") or () for hit in decision["hits"]]
    facts = show_payout_facts(found, found.get("payee") or {})
    show_one(facts | plain | {"hits": hits, "in_temporal": in_temporal(found)}, lists=_TABLES)


@app.command(name="bank-record")
def bank_record(payout_id: PayoutId) -> None:
    """Shows what the bank's own books say of it: its answer to the request number, and its statements' lines."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/instructions/{payout_id}/bank_record"))
    show_one(found, lists={"lines": ("bank_reference", "booked_at", "amount_minor", "currency")})


def show_payout_facts(payout: Mapping[str, Any], payee: Mapping[str, Any]) -> dict[str, Any]:
    """How much to whom, in the words of people."""
    money = {name: format_amount(payout[f"{name}_minor"], payout["currency"]) for name in ("amount", "fee")}
    whom = ("relation", "holder_type", "region", "bank_id", "account_last4", "name_match", "state", "created_at")
    kept = ("kind", "order_number", "merchant_id", "user_id", "speed", "waiting_for")
    return (
        money
        | {name: payout.get(name) for name in kept}
        | {"payee": {name: payee.get(name) for name in whom} | dict(payee.get("elements") or {})}
    )


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    awaited = item["waiting_for"] or {}
    until = awaited.get("until") or item.get("slot_at") or awaited.get("deadline")
    amount = format_amount(item["amount_minor"], item["currency"])
    return dict(item) | {"amount": amount, "waits": awaited.get("reason"), "until": from_now(until)}


def from_now(instant: str | None) -> str | None:
    """`in 3 h`, `in 20 min` or `2 d ago`: short, and the same in every zone."""
    if instant is None:
        return None
    seconds = (datetime.fromisoformat(instant) - datetime.now(UTC)).total_seconds()
    size = abs(int(seconds))
    many, unit = next((size // _LENGTHS[unit], unit) for unit, least in _UNITS if size >= least or unit == "s")
    return f"in {many} {unit}" if seconds >= 0 else f"{many} {unit} ago"
