"""`liushui calendars …` and `liushui banks …`: the days, hours and closures by which money waits (A5.1a, A6.4b)."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cli.decisions import Reason
from cli.operators_api import ask
from cli.terminal import choices, end, say, show, show_one
from domain.business_time import SHANGHAI
from domain.calendars import BankHours, CalendarFile

app = typer.Typer(help="Working days: show what plans rest on, load a file.", no_args_is_help=True)
banks = typer.Typer(help="Banks: close one for a while, open it again, set its hours.", no_args_is_help=True)

Code = Annotated[str, typer.Argument(help="The code of a bank or an FX office: HBRB, FX-HBRB.")]
_DAYS = {"mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6, "sun": 7}


@app.command(name="show")
def show_() -> None:
    """Shows which years are published, when banks are closed, and what was loaded last."""
    found: dict[str, Any] = ask(lambda ops: ops.get("/calendars"))
    if choices.as_json:
        show_one(found)
        return
    rows = [
        {
            "calendar": each["calendar"],
            "published": _years(each["published_years"]),
            "works_today": each["works_today"],
            "next_year": "published" if each["next_year_is_published"] else "NOT published: dates are provisional",
        }
        for each in found["calendars"]
    ]
    show(rows, "")
    for title, part in (("closures", found["closures"]), ("history", found["history"])):
        if part:
            typer.echo(f"\n{title}:")
            show(part, "")
    for code, ranges in found["bank_hours"].items():
        hours = "; ".join(f"{_weekdays(each['weekdays'])} {each['opens']}-{each['closes']}" for each in ranges)
        typer.echo(f"\n{code} has hours of its own: {hours}")


@app.command()
def load(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As those in config/calendars.")],
) -> None:
    """Loads published years and corrections; what waits for a bank is planned anew at once."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        body = CalendarFile.model_validate(content).model_dump(mode="json")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        end(f"{file} is no TOML file: {error}")
    except ValidationError as error:
        end(f"{file} cannot be right. " + " ".join(_faults(error)))
    _say(ask(lambda ops: ops.post("/calendars", body)))


@banks.command()
def close(
    code: Code,
    reason: Reason,
    until: Annotated[str, typer.Option(help="As in 2026-11-23T08:30 (Asia/Shanghai), or for so long: 30s, 90m, 4h.")],
    from_: Annotated[str | None, typer.Option("--from", help="If left out, now.")] = None,
) -> None:
    """Sends a bank nothing for a while; what waits leaves in order of acceptance when it opens."""
    now = datetime.now(UTC)
    body = {"bank_code": code, "note": reason, "until_at": _instant(until, now)}
    if from_ is not None:
        body["from_at"] = _instant(from_, now)
    _say(ask(lambda ops: ops.post("/bank_closures", body)))


@banks.command(name="open")
def open_(code: Code, reason: Reason) -> None:
    """Ends all closures of a bank, also those to come."""
    _say(ask(lambda ops: ops.post("/bank_closures", {"bank_code": code, "note": reason, "open_again": True})))


@banks.command()
def hours(
    code: Code,
    reason: Reason,
    at: Annotated[
        list[str] | None, typer.Option(help="As in mon-fri=09:00-16:30; may be given again. Monday has to be there.")
    ] = None,
    of_routes: Annotated[bool, typer.Option(help="Takes the bank's own hours back.")] = False,
) -> None:
    """Sets the hours of a bank or an FX office on its working days, in the place of those of the files."""
    if of_routes == bool(at):
        end("Give --at, or --of-routes.", 2)
    try:
        ranges = BankHours.model_validate({"ranges": [_range(each) for each in at]}) if at else None
    except ValidationError as error:
        end("These hours cannot be right. " + " ".join(_faults(error)))
    stated = None if ranges is None else ranges.model_dump(mode="json")["ranges"]
    _say(ask(lambda ops: ops.post("/bank_hours", {"bank_code": code, "note": reason, "ranges": stated})))


def _say(loaded: dict[str, Any]) -> None:
    if loaded["already"]:
        say(f"The same was loaded last: nothing has changed (version {loaded['version']}).", **loaded)
    else:
        say(f"Loaded as version {loaded['version']}: what waits for a bank is being planned anew.", **loaded)


def _range(text: str) -> dict[str, Any]:
    days, _, clock = text.partition("=")
    opens, _, closes = clock.partition("-")
    first, _, last = days.lower().partition("-")
    if first not in _DAYS or (last or first) not in _DAYS:
        end(f"{text}: write days and hours as in mon-fri=09:00-16:30", 2)
    return {"weekdays": list(range(_DAYS[first], _DAYS[last or first] + 1)), "opens": opens, "closes": closes}


def _instant(text: str, now: datetime) -> str:
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdecimal() and len(text) < 8 and text[-1:] in units:
        return (now + timedelta(**{units[text[-1]]: int(text[:-1])})).isoformat()
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        end(f"{text}: write an instant as in 2026-11-23T08:30, or a time from now as in 30s, 90m, 4h", 2)
    return (given if given.tzinfo else given.replace(tzinfo=SHANGHAI)).isoformat()


def _faults(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg'][:1].lower()}{item['msg'][1:]}."
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:10]
    ]


def _years(years: list[int]) -> str:
    recent = [year for year in years if year >= date.today().year - 1]  # noqa: DTZ011 - the reader's own year
    return ", ".join(map(str, recent))


def _weekdays(days: list[int]) -> str:
    names = {number: name for name, number in _DAYS.items()}
    return ",".join(names[day] for day in days)
