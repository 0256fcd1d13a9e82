"""`liushui decisions …` and the decisions asked for most: withdraw, freeze, release, suspend, resume (A8.1a).

Asking is not deciding: where two people are needed, another one approves.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.terminal import choices, end, say, show, show_one
from config.policy import read_policy
from config.roles import read_roles
from domain.decisions import DecisionRules, KindRule
from domain.money import format_amount
from domain.roles import RoleBook

app = typer.Typer(
    help="Decisions: kinds, request, list, show, approve, reject; restrictions in force.", no_args_is_help=True
)
DecisionId = Annotated[str, typer.Argument(help="dec_…")]
Subject = Annotated[str, typer.Argument(metavar="ID", help="What it is about.")]
Ground = Annotated[str, typer.Option(help="Such as suspected_fraud; bin/liushui decisions kinds lists them.")]
Reason = Annotated[str, typer.Option(help="In words; nobody's names or numbers.")]
_COLUMNS = (
    "id", "kind", "subject_id", "state", "ground", "requested_by_login", "requested_at", "decided_by_login",
    "expires_at",
)  # fmt: skip
_OF_RESTRICTIONS = (
    "id", "kind", "function", "subject_id", "scope", "currency", "amount_minor", "frozen_minor", "ground", "placed_by",
    "placed_at", "review_at", "ends_at", "authority_order",
)  # fmt: skip


@app.command(name="list")
def list_(
    state: Annotated[str | None, typer.Option(help="requested, committed, rejected, expired or refused.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this.")] = None,
) -> None:
    """Shows decisions, the newest first."""
    found = ask(lambda ops: ops.get("/decisions", state=state, subject_id=subject, limit=100))
    show(found["items"], "There are none.", columns=_COLUMNS)


@app.command(name="show")
def show_(decision_id: DecisionId) -> None:
    """Shows one in full."""
    found = ask(lambda ops: ops.get(f"/decisions/{decision_id}"))
    if not choices.as_json:
        found = {name: value for name, value in found.items() if name not in {"requested_by", "decided_by"}}
    show_one(found)


@app.command()
def approve(decision_id: DecisionId) -> None:
    """As the second person: it takes place with this."""
    _tell(ask(lambda ops: ops.post(f"/decisions/{decision_id}/approve")))


@app.command()
def reject(decision_id: DecisionId) -> None:
    """Says no, or takes back what you asked for."""
    _tell(ask(lambda ops: ops.post(f"/decisions/{decision_id}/reject")))


@app.command()
def request(
    kind: Annotated[str, typer.Argument(help="Such as instruction.conclude; bin/liushui decisions kinds lists them.")],
    subject: Subject,
    ground: Ground,
    reason: Reason,
    detail: Annotated[list[str] | None, typer.Option(help="name=value; what the kind asks for besides.")] = None,
) -> None:
    """Asks for any kind of decision."""
    decide(kind, subject, ground, reason, dict(_said(word) for word in detail or []))


def _said(word: str) -> tuple[str, Any]:
    """An amount is a number, kinds are a list, everything else is words."""
    name, _, value = word.partition("=")
    if name == "kinds":
        return name, value.split(",")
    return name, int(value) if name.endswith("_minor") and value.isascii() and value.isdigit() else value


@app.command()
def kinds() -> None:
    """Shows every kind with its grounds, and which roles may ask for it and approve it."""
    book = RoleBook.model_validate(read_roles())
    rows = [
        {
            "kind": kind.value,
            "people": _people(rule),
            "asked for by": _may(book, f"{kind}:request"),
            "approved by": _may(book, f"{kind}:approve"),
            "open hours": rule.open_hours,
            "grounds": sorted(rule.grounds),
        }
        for kind, rule in DecisionRules.model_validate(read_policy()["decisions"]).kinds.items()
    ]
    show(rows, "There are none.")


def _people(rule: KindRule) -> str:
    if rule.second_person_above_minor is not None and not rule.second_person:
        return f"2 above {format_amount(rule.second_person_above_minor, 'CNY')}"
    return "2" if rule.second_person else "1"


def _may(book: RoleBook, permission: str) -> list[str]:
    return [name for name, role in book.roles.items() if permission in role.permissions]


@app.command()
def restrictions(subject: Annotated[str | None, typer.Option(help="Only of this.")] = None) -> None:
    """Shows suspensions, freezes and orders in force."""
    found = ask(lambda ops: ops.get("/restrictions", subject_id=subject, limit=100))
    show(found["items"], "Nothing is restricted.", columns=_OF_RESTRICTIONS)


def withdraw(instruction_id: Subject, ground: Ground, reason: Reason) -> None:
    """Asks to withdraw an instruction that was not yet sent to the bank."""
    decide("instruction.withdraw", instruction_id, ground, reason)


def freeze(  # noqa: PLR0917 - options have names
    subject: Subject,
    ground: Ground,
    reason: Reason,
    review_days: Annotated[int, typer.Option(min=1, max=366, help="After how long somebody has to look again.")] = 7,
    amount_minor: Annotated[int | None, typer.Option(min=1, help="Of the minor unit; all funds, if left out.")] = None,
    currency: Annotated[str | None, typer.Option(help="Of the amount; CNY, if left out.")] = None,
    function: Annotated[str | None, typer.Option(help="payout or refund alone; all that leaves, if left out.")] = None,
    person: Annotated[bool, typer.Option("--person", help="With every merchant of the same person.")] = False,
    prolongs: Annotated[str | None, typer.Option(metavar="RST", help="The freeze of an amount it replaces.")] = None,
) -> None:
    """Asks to freeze the funds of a user or merchant, all or an amount; they stay theirs."""
    detail: dict[str, Any] = {"review_at": (datetime.now(UTC) + timedelta(days=review_days)).isoformat()}
    if amount_minor is not None:
        detail |= {"amount_minor": amount_minor, "currency": "CNY"}
    detail |= {"currency": currency} if currency else {}
    detail |= {"function": function} if function else {}
    detail |= {"scope": "all"} if person else {}
    decide("funds.freeze", subject, ground, reason, detail | ({"prolongs": prolongs} if prolongs else {}))


def release(  # noqa: PLR0917 - options have names
    subject: Subject,
    reason: Reason,
    ground: Ground = "resolved",
    restriction: Annotated[str | None, typer.Option(metavar="RST", help="This one alone; all, if left out.")] = None,
    person: Annotated[bool, typer.Option("--person", help="What was placed with every merchant.")] = False,
    end_payouts: Annotated[bool, typer.Option("--end-payouts", help="End what it stopped, unsent.")] = False,
) -> None:
    """Asks to release what was frozen; payouts that it stopped go on."""
    detail = {"restriction_id": restriction} if restriction else {}
    detail |= {"scope": "all"} if person else {}
    decide("funds.release", subject, ground, reason, detail | ({"stopped_payouts": "end"} if end_payouts else {}))


def suspend(
    subject: Subject,
    ground: Ground,
    reason: Reason,
    function: Annotated[str | None, typer.Option(help="bind, collect, refund, payout or fx; all, if left out.")] = None,
) -> None:
    """Asks to suspend a user or merchant: new instructions are refused, what was accepted is finished."""
    decide(f"{_whose(subject)}.suspend", subject, ground, reason, {"function": function} if function else {})


def resume(subject: Subject, reason: Reason, ground: Ground = "resolved") -> None:
    """Asks to let a user or merchant go on."""
    decide(f"{_whose(subject)}.resume", subject, ground, reason)


def decide(kind: str, subject: str, ground: str, reason: str, detail: dict[str, Any] | None = None) -> None:
    """Asks for a decision and says how it stands."""
    body = {"kind": kind, "subject_id": subject, "ground": ground, "reason": reason, "detail": detail or {}}
    _tell(ask(lambda ops: ops.post("/decisions", body)))


def _tell(made: dict[str, Any]) -> None:
    if made["state"] == "requested":
        say(f"{made['id']} waits for another person: bin/liushui decisions approve {made['id']}", **made)
    else:
        say(f"{made['id']} {made['kind']} of {made['subject_id']} is {made['state']}", **made)


def _whose(subject: str) -> str:
    found = {"usr_": "user", "mch_": "merchant"}.get(subject[:4])
    return found or end("Name a user (usr_…) or a merchant (mch_…).", 2)
