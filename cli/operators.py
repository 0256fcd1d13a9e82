"""`liushui operators …`: people, their roles and credentials (P3.1b)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.institution import as_owner
from cli.operators_api import OpsClient, ask
from cli.terminal import end, say, show, show_one
from ops.direct_enrolment import invite_first
from runtime.clock import SystemClock
from runtime.id_source import UlidSource

app = typer.Typer(help="People: invite, roles, training, suspend, resume, leave, reset, list.", no_args_is_help=True)
Who = Annotated[str, typer.Argument(metavar="LOGIN", help="A login, or opr_…")]
Roles = Annotated[list[str], typer.Argument(metavar="ROLE…", help="bin/liushui operators roles lists them.")]
_LOGIN = re.compile(r"[a-z][a-z0-9._-]{1,39}")


@app.command(name="list")
def list_() -> None:
    """Shows everybody, those who left too."""
    columns = ("id", "login", "name", "roles", "state", "credentials_expire_at", "trained_until")
    show(ask(lambda ops: ops.get("/operators"))["items"], "There is nobody.", columns=columns)


@app.command(name="roles")
def roles_() -> None:
    """Shows what each role may do."""
    show(ask(lambda ops: ops.get("/roles"))["items"], "There are no roles.")


@app.command()
def invite(
    login: Annotated[str, typer.Argument(help="Lower-case letters, digits and . _ -")],
    roles: Roles,
    name: Annotated[str, typer.Option(help="The person's name, for colleagues.")] = "",
) -> None:
    """Invites somebody and prints the token with which they set password and second factor. Hand it over in person."""
    body = {"login": login, "name": name or login, "roles": roles}
    _show_invitation(ask(lambda ops: ops.post("/operators", body)))


@app.command(name="set-roles")
def set_roles(who: Who, roles: Roles) -> None:
    """All roles from now on; ends the person's sessions."""
    found = ask(lambda ops: ops.post(f"/operators/{_id(ops, who)}/roles", {"roles": roles}))
    say(f"{found['login']} is now {', '.join(found['roles'])}", **found)


@app.command()
def training(
    who: Who, days: Annotated[int, typer.Option(min=1, max=730, help="How long the privacy training counts.")] = 365
) -> None:
    """Notes a privacy training: without a current one nobody sees personal data (P3.1c)."""
    until = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    found = ask(lambda ops: ops.post(f"/operators/{_id(ops, who)}/training", {"trained_until": until}))
    say(f"{found['login']} is trained until {found['trained_until']}", **found)


@app.command()
def suspend(who: Who) -> None:
    """Ends the person's sessions at once and lets them in no more."""
    _act(who, "suspend", "is suspended")


@app.command()
def resume(who: Who) -> None:
    """Lets somebody in again."""
    _act(who, "resume", "is let in again")


@app.command()
def leave(who: Who) -> None:
    """For good; the login is never given to another person."""
    _act(who, "leave", "has left")


@app.command()
def reset(who: Who) -> None:
    """For a lost authenticator or password: prints a new token."""
    _show_invitation(ask(lambda ops: ops.post(f"/operators/{_id(ops, who)}/reset")))


@app.command(name="enrol-first")
def enrol_first(login: Annotated[str, typer.Argument(help="Lower-case letters, digits and . _ -")]) -> None:
    """As the owner of the database, while there is no active administrator: invites one."""
    if _LOGIN.fullmatch(login) is None:
        end("A login is 2 to 40 lower-case letters, digits and . _ -, beginning with a letter.")
    now, ulid = SystemClock().now(), UlidSource().ulid()
    token, expires_at = as_owner(lambda owner: invite_first(owner, login, ulid=ulid, now=now, role="administrator"))
    _show_invitation({"login": login, "enrolment_token": token.text, "enrolment_expires_at": expires_at})


def _act(who: str, act: str, said: str) -> None:
    found = ask(lambda ops: ops.post(f"/operators/{_id(ops, who)}/{act}"))
    say(f"{found['login']} {said}", **found)


def _id(ops: OpsClient, who: str) -> str:
    if who.startswith("opr_"):
        return who
    found: list[dict[str, Any]] = ops.get("/operators")["items"]
    known = {person["login"]: str(person["id"]) for person in found}
    return known[who] if who in known else end(f"There is no operator {who}.")


def _show_invitation(made: dict[str, Any]) -> None:
    show_one({name: made[name] for name in ("login", "enrolment_token", "enrolment_expires_at")})
    say("The person sets password and second factor with it: bin/liushui redeem")
