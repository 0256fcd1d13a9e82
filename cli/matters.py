"""`liushui matters` and `liushui cases`: what only a person can bring on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from cli.operators_api import ask
from cli.terminal import choices, say, show

app = typer.Typer(help="What waits for a person: cases, parked instructions, applications.", no_args_is_help=True)
cases = typer.Typer(help="Cases: list, open.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """What waits for a person."""


@app.command(name="list")
def list_() -> None:
    """Shows each with why, about what, and since when; the oldest first."""
    columns = ("matter_id", "kind", "why", "subject_id", "merchant_id", "since", "age_seconds", "says")
    found = ask(lambda ops: ops.get("/matters"))["items"]
    show(found if choices.as_json else _in_words(found), "Nothing waits for a person.", columns=columns)


@cases.command(name="list")
def list_cases(
    state: Annotated[str | None, typer.Option(help="open or resolved; both, if left out.")] = None,
) -> None:
    """Shows cases, the newest first."""
    found = ask(lambda ops: ops.get("/cases", state=state, limit=100))
    columns = ("id", "kind", "subject_id", "merchant_id", "opened_at", "state", "says")
    show(found["items"] if choices.as_json else _in_words(found["items"]), "There are no cases.", columns=columns)


@cases.command(name="open")
def open_case(
    subject_id: Annotated[str, typer.Argument(help="pay_…, rfd_…, bnd_…, usr_… or mch_…")],
    reason: Annotated[str, typer.Option(help="Why; nobody's names or numbers.")],
) -> None:
    """Puts something on the list of what waits for a person."""
    made = ask(lambda ops: ops.post("/cases", {"subject_id": subject_id, "reason_text": reason}))
    say(made["id"], **made)


def _in_words(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`says` in one language; what is no merchant's affair has a dash for its merchant."""
    return [
        dict(item) | {"says": (item["says"] or {}).get("en"), "merchant_id": item["merchant_id"] or None}
        for item in items
    ]
