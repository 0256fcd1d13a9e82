"""`liushui credentials`: what a person types at a login page of the local stack, who has no authenticator for it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.local_operators import read_operators
from cli.stack import DEFAULT_FOLDER
from cli.terminal import end, show_one
from runtime.clock import SystemClock


def credentials(login: Annotated[str, typer.Argument(help="Somebody of the local stack, such as su.")]) -> None:
    """On a local stack: shows somebody's password and the six digits of this half minute."""
    person = read_operators(DEFAULT_FOLDER).get(login)
    if person is None:
        end(f"Nobody of that name is in {DEFAULT_FOLDER / 'operators.json'}: start the local stack (make up).")
    show_one({"login": person.login, "password": person.password, "code": person.code(SystemClock().now())})
