"""`liushui screening`: the lists that users and payees are compared with, and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.operators_api import ask
from cli.screening_files import ListFileError, read_list_file
from cli.terminal import end, say, show

app = typer.Typer(help="Screening lists: load, lists, matches.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Screening lists."""


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV: key,kind,names,birth_date,country,id_numbers", exists=True)],
    list_: Annotated[str, typer.Option("--list", help="MPS, UN or PBOC: see `screening lists`.")],
    source: Annotated[str, typer.Option(help="From where and when: a notice's number, for example.")],
) -> None:
    """Takes over a list whole; the same again confirms that it is still the publisher's."""
    try:
        entries = read_list_file(file)
    except ListFileError as error:
        end(str(error))
    made = ask(lambda ops: ops.post("/screening/lists", {"code": list_, "source": source, "entries": entries}))
    what = "is new" if made["is_new"] else "was there already and is confirmed"
    say(f"{made['code']} version {made['version']} {what}: {made['entries']} entries.", **made)


@app.command()
def lists() -> None:
    """Shows each list that is asked, and until when it is good: without one of them no payout goes out."""
    columns = ("code", "title_en", "version", "entries", "source", "loaded_by", "confirmed_at", "good_until", "is_good")
    show(ask(lambda ops: ops.get("/screening/lists"))["items"], "No list has to be asked.", columns=columns)


@app.command()
def matches(
    state: Annotated[str | None, typer.Option(help="open, cleared or entry_changed; all, if left out.")] = None,
    subject: Annotated[str | None, typer.Option(help="usr_… or pye_…")] = None,
) -> None:
    """Shows what was found, the newest first. A false one: `decisions request screening.clear scm_…`, and approve."""
    found = ask(lambda ops: ops.get("/screening/matches", state=state, subject_id=subject, limit=100))
    columns = (
        "id",
        "state",
        "subject_id",
        "list_code",
        "entry_key",
        "matched_name",
        "comparison",
        "score",
        "birth",
        "document",
    )
    show(found["items"], "Nothing was found.", columns=columns)
