"""`liushui records`: who did what, and what was refused (A4.1a)."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.operators_api import ask
from cli.terminal import say, show


def records(  # noqa: PLR0917 - options of a command
    subject: Annotated[str | None, typer.Option(help="Of this payment, user, key, operator …")] = None,
    actor: Annotated[str | None, typer.Option(help="Of this person, by login.")] = None,
    outcome: Annotated[str | None, typer.Option(help="received, done, refused, failed, denied …")] = None,
    since: Annotated[str | None, typer.Option("--from", help="An instant, as in 2026-11-22T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="An instant.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="From the page before.")] = None,
) -> None:
    """Shows operation records, the newest first."""
    who = f"operator:{actor.removeprefix('operator:')}" if actor else None
    query = {"subject_id": subject, "actor": who, "outcome": outcome, "from": since, "to": until}
    found = ask(lambda ops: ops.get("/records", limit=limit, cursor=cursor, **query))
    columns = ("id", "at", "actor", "action", "outcome", "reason", "subject_id", "request_id", "detail")
    show(found["items"], "There are none.", columns=columns)
    if found["next_cursor"]:
        say(f"More: --cursor {found['next_cursor']}")
