"""`liushui settlements …`: what merchants are owed and were paid, and paying anew what failed (A2.5, A10.2b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.terminal import choices, say, show, show_one
from domain.money import format_amount

app = typer.Typer(help="Settlement of merchants: list, show, pay, run.", no_args_is_help=True)
SettlementId = Annotated[str, typer.Argument(metavar="ID", help="stl_…")]
_COLUMNS = ("id", "merchant_id", "business_date", "net", "state", "waits")
_AMOUNTS = ("gross", "fees", "refunds", "fees_back", "brought_forward", "net", "payable", "shortfall")


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help="reported, paying, paid, failed or carried.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only those of one merchant (mch_…).")] = None,
) -> None:
    """Shows settlements, the newest first; reported and failed are those that are not paid."""
    found = ask(lambda ops: ops.get("/settlements", state=state, merchant_id=merchant, limit=100))
    rows = found["items"] if choices.as_json else [_row(item) for item in found["items"]]
    show(rows, "There is no settlement.", columns=_COLUMNS)


@app.command(name="show")
def show_(settlement_id: SettlementId) -> None:
    """Shows how one adds up, and what became of it."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/settlements/{settlement_id}"))
    show_one(found if choices.as_json else _row(found))


@app.command()
def account(account_id: Annotated[str, typer.Argument(metavar="ID", help="pye_…")]) -> None:
    """Shows an account that a merchant has proposed, masked, and the one that it would take the place of."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/settlements/accounts/{account_id}"))
    show_one(found)


@app.command()
def pay(
    settlement_id: SettlementId,
    reason: Annotated[str, typer.Option(help="What was found out about the payout that failed.")],
) -> None:
    """Pays one anew whose payout failed or came back, to the account that is in force now."""
    found: dict[str, Any] = ask(lambda ops: ops.post(f"/settlements/{settlement_id}/pay", {"reason": reason}))
    if choices.as_json:
        show_one(found)
        return
    say(f"{settlement_id} is paid by the next run, which has been started.")


@app.command()
def run(date: Annotated[str, typer.Argument(metavar="DATE", help="A business date: 2026-11-23.")]) -> None:
    """Settles a day once more: what is settled stays as it is, what waits is tried again."""
    found: dict[str, Any] = ask(lambda ops: ops.post("/settlements/run", {"business_date": date}))
    if choices.as_json:
        show_one(found)
        return
    say(f"The run of {date} has been started." if found["started"] else "Temporal did not answer; try again.")


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    amounts = {name: format_amount(item[f"{name}_minor"], item["currency"]) for name in _AMOUNTS}
    kept = {name: value for name, value in item.items() if not name.endswith("_minor")}
    return kept | amounts | {"waits": (item["waiting_for"] or {}).get("reason")}
