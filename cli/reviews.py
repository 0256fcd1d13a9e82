"""`liushui reviews …`: payouts that a person has to look at: take one, see why, ask for evidence, decide (A2.5d)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.payouts import from_now, show_payout_facts
from cli.terminal import choices, end, say, show, show_one
from domain.money import format_amount
from domain.reviews import EVIDENCE_TEXTS

app = typer.Typer(
    help="The review queue: list, show, take, release, ask, extend, note, approve, reject.", no_args_is_help=True
)
ReviewId = Annotated[str, typer.Argument(metavar="ID", help="rev_…")]
_COLUMNS = ("id", "amount", "state", "taken_by", "due")
_TABLES = {
    "hits": ("rule", "outcome", "zh", "en"),
    "matches": ("id", "state", "list_code", "matched_name", "score", "birth_date", "id_number"),
    "recent_payments": ("id", "amount", "card_type", "card_last4", "state", "accepted_at"),
    "recent_payouts": ("id", "amount", "account_last4", "relation", "state", "accepted_at"),
    "decisions": ("id", "kind", "state", "ground", "requested_by_login", "decided_by_login"),
    "history": ("at", "actor", "action", "note", "detail"),
}
_SHOWN = (
    "id", "payout_id", "amount", "state", "owner_login", "opened_at", "due_at", "overdue", "expires_at", "latest_at",
    "extensions_left", "needs_second_person", "evidence", "ended_at",
)  # fmt: skip


@app.command(name="list")
def list_(
    mine: Annotated[bool, typer.Option(help="Only those that you have taken.")] = False,
    free: Annotated[bool, typer.Option(help="Only those that nobody has taken.")] = False,
    overdue: Annotated[bool, typer.Option(help="Only those that should have been decided by now.")] = False,
    state: Annotated[str | None, typer.Option(help="If left out, those under way (open, evidence).")] = None,
) -> None:
    """Shows the queue; what is due first comes first."""
    if mine and free:
        end("Give one of --mine and --free.", 2)
    owner = "me" if mine else "none" if free else None
    found = ask(
        lambda ops: ops.get("/reviews", owner=owner, state=state, overdue="true" if overdue else None, limit=100)
    )
    rows = found["items"] if choices.as_json else [_row(item) for item in found["items"]]
    show(rows, "Nothing waits for a review.", columns=_COLUMNS)


@app.command(name="show")
def show_(review_id: ReviewId) -> None:
    """Shows who pays whom, which rules say what by which numbers, and what was done so far."""
    found: dict[str, Any] = ask(lambda ops: ops.get(f"/reviews/{review_id}"))
    if choices.as_json:
        show_one(found)
        return
    recent = found["recent"]
    facts = {name: value for name, value in _with_amount(found).items() if name in _SHOWN}
    tables = {name: found[name] for name in _TABLES if name in found}
    tables |= {f"recent_{name}": [_with_amount(item) for item in recent[name]] for name in ("payments", "payouts")}
    show_one(facts | show_payout_facts(found["payout"], found["payee"]) | tables, lists=_TABLES)


@app.command()
def take(review_id: ReviewId) -> None:
    """It is yours then; what is overdue can be taken over by the role that it was escalated to."""
    _tell(ask(lambda ops: ops.post(f"/reviews/{review_id}/take")))


@app.command()
def release(review_id: ReviewId) -> None:
    """Gives it back to the queue."""
    _tell(ask(lambda ops: ops.post(f"/reviews/{review_id}/release")))


@app.command(name="ask")
def ask_(
    review_id: ReviewId,
    kind: Annotated[list[str], typer.Option(help=f"May be given several times: {', '.join(EVIDENCE_TEXTS)}.")],
    hours: Annotated[int, typer.Option(min=1, max=24 * 60, help="How long the merchant has.")] = 24,
    note: Annotated[str | None, typer.Option(help="For colleagues; the merchant is told the kinds alone.")] = None,
) -> None:
    """Asks the merchant for evidence; the review waits for it."""
    until = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    _tell(ask(lambda ops: ops.post(f"/reviews/{review_id}/ask", {"kinds": kind, "until": until, "note": note})))


@app.command()
def extend(review_id: ReviewId, reason: Reason) -> None:
    """Gives it more time: how much, and how often, is in config/reviews.toml."""
    _tell(ask(lambda ops: ops.post(f"/reviews/{review_id}/extend", {"reason": reason})))


@app.command()
def note(review_id: ReviewId, words: Annotated[str, typer.Argument(help="Nobody's names or numbers.")]) -> None:
    """Leaves a note for colleagues."""
    _tell(ask(lambda ops: ops.post(f"/reviews/{review_id}/note", {"note": words})))


@app.command()
def approve(review_id: ReviewId, ground: Ground, reason: Reason) -> None:
    """Decides that it is paid; above the amount in config/decisions.toml another person has to approve it, too."""
    decide("review.approve", review_id, ground, reason)


@app.command()
def reject(review_id: ReviewId, ground: Ground, reason: Reason) -> None:
    """Decides that it is refused: the money is the user's again."""
    decide("review.reject", review_id, ground, reason)


def _tell(review: dict[str, Any]) -> None:
    owner = review["owner_login"] or "nobody"
    due = from_now(review["due_at"])
    say(f"{review['id']} is {review['state']}, taken by {owner}, due {due}.", **review)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return _with_amount(item) | {"taken_by": item["owner_login"], "due": from_now(item["due_at"])}


def _with_amount(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"amount": format_amount(item["amount_minor"], item["currency"])}
