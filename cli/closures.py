"""`liushui closures …`: requests to close or to delete: record, verify who asks, see what blocks, decide (P4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.decisions import Ground, Reason, decide
from cli.operators_api import ask
from cli.terminal import choices, end, say, show, show_one
from domain.business_time import SHANGHAI

app = typer.Typer(
    help="Closing and deletion: list, show, record, verify, grant, refuse, waive-records, certificate.",
    no_args_is_help=True,
)
ClosureId = Annotated[str, typer.Argument(metavar="ID", help="cls_…")]
_COLUMNS = ("id", "user_id", "scope", "channel", "state", "received_at", "due_on", "in_the_way")
_TABLES = {
    "obstacles": ("kind", "subject_id", "since", "detail"),
    "notices": ("recipient", "name_en", "told_at", "reply", "reply_reason", "replied_at"),
}


@app.command(name="list")
def list_(
    state: Annotated[
        str | None,
        typer.Option(help="received, deciding, closing, unsigning, forgetting, completed or refused."),
    ] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that should have been answered.")] = False,
    merchant: Annotated[str | None, typer.Option(help="Only those of one merchant (mch_…).")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of one user (usr_…).")] = None,
) -> None:
    """Shows requests, the newest first, with what is in the way of each."""
    query = {"state": state, "merchant_id": merchant, "user_id": user, "overdue": "true" if overdue else None}
    found = ask(lambda ops: ops.get("/closures", **query, limit=100))
    rows = found["items"] if choices.as_json else [_row(item) for item in found["items"]]
    show(rows, "There is no such request.", columns=_COLUMNS)


@app.command(name="show")
def show_(closure_id: ClosureId) -> None:
    """Shows what is in the way, by when it is due, who was told to delete and what they replied."""
    show_one(ask(lambda ops: ops.get(f"/closures/{closure_id}")), lists=_TABLES)


@app.command()
def record(  # noqa: PLR0917 - options have names
    user_id: Annotated[str, typer.Argument(metavar="USER", help="usr_…")],
    channel: Annotated[str, typer.Option(help="hotline or email.")],
    scope: Annotated[str, typer.Option(help="account, quick_pay or deletion.")] = "account",
    received: Annotated[
        str | None, typer.Option(help='When it arrived, as in "2026-11-20 10:30" (Beijing time); now, if left out.')
    ] = None,
    evidence: Annotated[str | None, typer.Option(help="Where the call's record or the email is kept.")] = None,
    ground: Annotated[str | None, typer.Option(help="Of a deletion: such as no_consent (docs/operators).")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Of a deletion, several times: name, mobile …")] = None,
) -> None:
    """Records what came by telephone or email; nothing happens before the identity is verified."""
    body = {
        "user_id": user_id, "scope": scope, "channel": channel, "received_at": _instant(received),
        "evidence_ref": evidence, "ground": ground, "fields": field or None,
    }  # fmt: skip
    made: dict[str, Any] = ask(lambda ops: ops.post("/closures", body))
    say(f"{made['id']} is due on {made['due_on']}: bin/liushui closures verify {made['id']}", **made)


@app.command()
def verify(
    closure_id: ClosureId,
    method: Annotated[str, typer.Option(help="id_number (asked for, not shown), document, face or counter.")] = (
        "id_number"
    ),
    holds: Annotated[bool | None, typer.Option("--holds/--differs", help="Whether it is the user.")] = None,
    evidence: Annotated[str | None, typer.Option(help="Where the check is on file.")] = None,
) -> None:
    """Says whether it is the user who asks. The number is typed here, compared and kept nowhere."""
    body: dict[str, Any] = {"method": method, "holds": holds, "evidence_ref": evidence}
    if method == "id_number":
        body["id_number"] = typer.prompt("Number that the person says", hide_input=True)
    made: dict[str, Any] = ask(lambda ops: ops.post(f"/closures/{closure_id}/identity", body))
    say(f"{closure_id} is verified, and now {made['state']}.", **made)


@app.command()
def grant(closure_id: ClosureId, reason: Reason, ground: Ground = "ground_met") -> None:
    """Asks to grant a deletion: one of the five grounds is given; another person approves."""
    decide("closure.grant", closure_id, ground, reason)


@app.command()
def refuse(closure_id: ClosureId, ground: Ground, reason: Reason) -> None:
    """Asks to refuse a request; another person approves. The user is told the ground, and where to complain."""
    decide("closure.refuse", closure_id, ground, reason)


@app.command(name="waive-records")
def waive_records(closure_id: ClosureId, reason: Reason, ground: Ground = "records_unavailable") -> None:
    """Asks to close without the merchant's records of where the funds came from; another person approves."""
    decide("closure.waive_records", closure_id, ground, reason)


@app.command()
def certificate(
    closure_id: ClosureId,
    to: Annotated[Path | None, typer.Option(help="The file to write; the page itself, if left out.")] = None,
) -> None:
    """The answer to the user in Chinese and English, as one page of HTML to be printed or sent."""
    page = ask(lambda ops: ops.page(f"/closures/{closure_id}/certificate"))
    if to is None:
        typer.echo(page)
        return
    to.write_text(page, encoding="utf-8")
    say(f"The answer is in {to}.", file=str(to))


def _instant(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        end('That is no time: write "2026-11-20 10:30".', 2)
    return (found if found.tzinfo else found.replace(tzinfo=SHANGHAI)).astimezone(UTC).isoformat()


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    return dict(item) | {"in_the_way": list(dict.fromkeys(each["kind"] for each in item["obstacles"]))}
