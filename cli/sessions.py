"""`liushui login`, `logout`, `me`, `password`, `redeem`: people and their own credentials."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from cli.operators_api import OpsClient, ask, open_client
from cli.terminal import end, say, show_one


def login(
    name: Annotated[
        str | None, typer.Argument(metavar="LOGIN", help="Your login; your account's name, if left out.")
    ] = None,
) -> None:
    """Logs in with password and second factor; the session is kept for you here."""
    who = name or getpass.getuser()
    open_client().close()  # without an address nothing is asked for
    password = typer.prompt(f"Password of {who}", hide_input=True)
    code = typer.prompt("Code of the authenticator", hide_input=False)
    session = ask(lambda ops: ops.log_in(who, password, code.strip().replace(" ", "")))
    say(f"{who} is logged in until {session['expires_at']}.", login=who, expires_at=session["expires_at"])


def logout() -> None:
    """Ends the session."""
    who = ask(lambda ops: ops.log_out())
    say(f"{who} is logged out." if who else "Nobody was logged in.")


def me() -> None:
    """Shows who is logged in and what they may do."""
    show_one(ask(lambda ops: ops.get("/me")))


def password() -> None:
    """Changes your password; you log in again afterwards."""
    open_client().close()
    current = typer.prompt("Current password", hide_input=True)
    new = typer.prompt("New password", hide_input=True, confirmation_prompt=True)

    def work(ops: OpsClient) -> None:
        ops.post("/me/password", {"password": current, "new_password": new})
        ops.forget_session()

    ask(work)
    say("The password is changed; log in with the new one.")


def redeem() -> None:
    """Sets your password and second factor with the token that an administrator gave you."""
    open_client().close()
    token = typer.prompt("Enrolment token", hide_input=True)
    chosen = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    made: dict[str, Any] = ask(lambda ops: ops.open_post("/enrolment", {"token": token, "password": chosen}))
    if not made.get("otpauth_uri"):
        end("The operators' API did not answer as it should.")
    show_one({name: made[name] for name in ("login", "totp_secret", "otpauth_uri")})
    say(
        f"Put the secret into an authenticator now; it is not shown again. Then: bin/liushui login {made['login']}",
        **made,
    )
