"""`liushui fx …`: conversions, which desks are open and what waits there, positions, a person's quota (A5.1, A5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.payments import TABLES, in_temporal
from cli.payments import ask_bank as ask_bank_about
from cli.payouts import from_now
from cli.terminal import choices, show, show_one
from domain.money import format_amount
from domain.rates import format_rate

app = typer.Typer(
    help="Foreign currency: list, find, show, ask-bank, desks, positions, quota, rates.", no_args_is_help=True
)
app.command(name="ask-bank")(ask_bank_about)
FxId = Annotated[str, typer.Argument(metavar="ID", help="fx_…")]

_COLUMNS = ("id", "kind", "amount", "desk", "state", "reason", "waits", "until")
_TABLES = TABLES | {
    "quotes": ("quote_id", "bank_code", "side", "rate", "publisher", "published_at", "valid_until", "dealt"),
    "reversals": ("id", "state", "reason", "amount", "excess", "rate", "cny", "shortfall", "rate_difference"),
    "rests": ("id", "state", "reason", "amount"),
    "receivables": ("fx_id", "user_id", "amount", "opened_at"),
    "returns": ("id", "state", "reason", "amount", "accepted_at"),
}
# Of no use to a person, or shown in another form.
_HIDDEN = (
    "process", "confirmation_hash", "agreement_version", "amount_minor", "currency", "cny_minor", "rate_e8",
    "remainder_e8", "held_minor", "excess_minor", "share_minor", "quota_usd_e8", "hold_number", "code_attempts",
    "reversed_minor", "shortfall_minor", "rate_difference_minor",
)  # fmt: skip


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help="Such as waiting, unknown, converted, refused.")] = None,
    waiting_for: Annotated[str | None, typer.Option(help="Such as fx_desk_window, fx_quote, freeze, partner.")] = None,
    desk: Annotated[str | None, typer.Option(help="Only those of the desk of one bank, such as HBRB.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of one user (usr_…).")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only those of one merchant (mch_…).")] = None,
) -> None:
    """Shows conversions and reversals, the newest first."""
    query = {"state": state, "waiting_for": waiting_for, "desk": desk, "user_id": user, "merchant_id": merchant}
    found = ask(lambda ops: ops.get("/fx", **query, limit=100))
    _show_rows(found["items"], "No conversion is like that." if any(query.values()) else "There is no conversion.")


@app.command()
def find(order: Annotated[str, typer.Option(help="The merchant's own number of the order.")]) -> None:
    """Finds conversions by the merchant's order, newest first; what was beyond the quota is one of its own."""
    found = ask(lambda ops: ops.get("/instructions", order_number=order))
    _show_rows([item for item in found["items"] if item["object"] == "fx"], "There is none.")


@app.command(name="show")
def show_(fx_id: FxId) -> None:
    """Shows where it stands and why, at which rate it was dealt, what was taken back, and who did what."""
    found = ask(lambda ops: ops.get(f"/instructions/{fx_id}") | ops.get(f"/fx/{fx_id}"))
    if choices.as_json:
        show_one(found)
        return
    plain = {name: value for name, value in found.items() if name not in _HIDDEN}
    lists = {name: [_with_amounts(row) for row in found[name]] for name in _TABLES if name in found}
    show_one(_facts(found) | plain | lists | {"in_temporal": in_temporal(found)}, lists=_TABLES)


@app.command()
def desks() -> None:
    """Shows which offices are open, until when or from when, and how many wait for each and what for."""
    found: dict[str, Any] = ask(lambda ops: ops.get("/fx_desks"))
    if choices.as_json:
        show_one(found)
        return
    columns = ("code", "kind", "bank_code", "enabled", "currencies", "is_open", "changes")
    show([each | {"changes": _changes(each)} for each in found["offices"]], "", columns=columns)
    shut = [each["currency"] for each in found["centres"] if not each["works_today"]]
    typer.echo(f"\nCentres that do not work today: {', '.join(shut) or 'none'}")
    queued = [{"desk": each["bank_code"]} | row for each in found["offices"] for row in each["waiting"]]
    waiting = [_queue(row) for row in [*queued, *found["unplanned"]]]
    typer.echo("\nwaiting:")
    show(
        waiting, "Nothing waits.", columns=("desk", "wait_reason", "currency", "conversions", "oldest", "next", "last")
    )
    at_desk = [{"desk": each["bank_code"]} | row for each in found["offices"] for row in each["at_desk"]]
    if at_desk:
        typer.echo("\nat the desks:")
        show([row | {"oldest": from_now(row["oldest_at"])} for row in at_desk], "", columns=_AT_DESK)


_AT_DESK = ("desk", "state", "conversions", "oldest")


@app.command()
def positions() -> None:
    """Shows what was dealt and not delivered, by desk and currency, and what is in suspense; and what explains it."""
    found: dict[str, Any] = ask(lambda ops: ops.get("/fx_positions"))
    if choices.as_json:
        show_one(found)
        return
    rows = [
        {
            "account": each["account"],
            "balance": format_amount(each["posted_minor"], each["currency"]),
            "held": format_amount(each["held_minor"], each["currency"]),
            "made_of": each["deals"],
            "comes_to": format_amount(each["amount_minor"], each["currency"]),
            "agrees": each["agrees"],
            "oldest": from_now(each["oldest_at"]),
        }
        for each in found["balances"]
    ]
    show(rows, "No position was ever opened.")
    if found["open_deals"]:
        typer.echo("\nnot delivered:")
        show(
            [_with_amounts(each) for each in found["open_deals"]],
            "",
            columns=("id", "kind", "desk", "amount", "dealt_at"),
        )


@app.command()
def quota(
    subject_id: Annotated[str, typer.Argument(metavar="ID", help="A user (usr_…), or a conversion (fx_…).")],
    year: Annotated[int | None, typer.Option(min=2020, max=2199, help="This one, if left out.")] = None,
) -> None:
    """Shows what the person behind it has settled in a year, across merchants. Your look is recorded."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/fx_quotas/{subject_id}", year=year))
    if choices.as_json:
        show_one(found)
        return
    names = ("quota", "used", "reserved", "left")
    money = {name: _usd(found[f"{name}_usd_minor"]) for name in names}
    kept = {name: found[name] for name in ("user_id", "year", "is_known", "exceeded_at")}
    entries = [
        row | {"reserved": _usd(row["reserved_usd_minor"]), "used": _usd(row["used_usd_minor"])}
        for row in found["entries"]
    ]
    show_one(
        kept | money | {"entries": entries},
        lists={"entries": ("at", "why", "reserved", "used", "fx_id", "merchant_id")},
    )


@app.command()
def rates() -> None:
    """Shows the authority's rates by month, and which of them count today."""
    found = ask(lambda ops: ops.get("/authority_rates"))
    show(found["items"], "None is registered.", columns=("currency", "month", "usd", "in_force", "last_day", "source"))


def _show_rows(items: list[dict[str, Any]], nothing: str) -> None:
    show(items if choices.as_json else [_row(item) for item in items], nothing, columns=_COLUMNS)


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    awaited = item["waiting_for"] or {}
    until = awaited.get("until") or awaited.get("deadline")
    amount = format_amount(item["amount_minor"], item["currency"])
    return dict(item) | {"amount": amount, "waits": awaited.get("reason"), "until": from_now(until)}


def _facts(fx: Mapping[str, Any]) -> dict[str, Any]:
    """How much at which rate, in the words of people."""
    held_in = "CNY" if fx["kind"] == "reversal" else fx["currency"]
    money = {"amount": (fx["amount_minor"], fx["currency"]), "held": (fx["held_minor"], held_in)}
    money |= {"came_to": (fx["cny_minor"], "CNY"), "taken_back": (fx["reversed_minor"] or None, fx["currency"])}
    money |= {name: (fx[f"{name}_minor"], "CNY") for name in ("shortfall", "rate_difference")}
    shown = {
        name: None if minor is None else format_amount(minor, currency) for name, (minor, currency) in money.items()
    }
    return shown | {"dealt_rate": None if fx["rate_e8"] is None else format_rate(fx["rate_e8"])}


def _with_amounts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Its amounts as people write them: what ends with `_minor` is in CNY, but for the amount and the excess."""
    minor = {name: value for name, value in row.items() if name.endswith("_minor") and value is not None}
    foreign = row.get("currency", "CNY")
    shown = {
        name.removesuffix("_minor"): format_amount(
            value, foreign if name in ("amount_minor", "excess_minor") else "CNY"
        )
        for name, value in minor.items()
    }
    return dict(row) | shown


def _changes(office: Mapping[str, Any]) -> str:
    if office["is_open"]:
        return f"closes {from_now(office['open_until'])}"
    return f"opens {from_now(office['opens_at'])}" if office["opens_at"] else "does not open within a year"


def _queue(row: Mapping[str, Any]) -> dict[str, Any]:
    times = {"oldest": "oldest_at", "next": "next_slot_at", "last": "last_slot_at"}
    return dict(row) | {name: from_now(row[column]) for name, column in times.items()}


def _usd(minor: int | None) -> str | None:
    return None if minor is None else format_amount(minor, "USD")
