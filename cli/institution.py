"""What the institution's own commands share: the owner's connection, who gives the command, how a table is shown."""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from asyncpg.exceptions import PostgresError
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from config.policy import read_policy
from config.roles import read_roles
from config.settings import DatabaseUrl, ProcessSettings, load_or_exit
from domain.policy import Policy
from domain.roles import RoleBook
from runtime.clock import SystemClock
from runtime.secrets import load_or_create
from storage.administration import Act, AdministrationError, register_institution
from storage.database import create_engine
from wiring import read_bank_register

Result = TypeVar("Result")
_NAME = re.compile(r"[\w.@ -]{1,60}")
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "var"


class OwnerSettings(ProcessSettings):
    """The institution's commands write as the owner of the tables; on a local stack its URL follows from the app's."""

    owner_database_url: DatabaseUrl | None = None
    database_url: DatabaseUrl | None = None


def this_person() -> str:
    """The account that runs the command."""
    return f"operator:{getpass.getuser()}"


By = Annotated[str, typer.Option("--by", help="Who gives this command; it stands in the record.")]
ByWhoever = Annotated[
    str, typer.Option("--by", help="Who gives this command, for the record.", default_factory=this_person)
]


def act_of(by: str) -> Act:
    """The command's record. Raises AdministrationError for a name that cannot stand in it."""
    if _NAME.fullmatch(by.removeprefix("operator:")) is None:
        raise AdministrationError("--by is a name of 1 to 60 letters, digits and . @ _ - or spaces.")
    actor = by if by.startswith("operator:") else f"operator:{by}"
    return Act(actor, SystemClock().now())


def as_owner(work: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
    """Runs work with an engine of the owner role; what cannot be done is one sentence and exit code 1."""
    url = _owner_url(load_or_exit(OwnerSettings))

    async def run() -> Result:
        engine = create_engine(url, pool_size=1, application_name="liushui-cli")
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        with database_or_exit():
            return asyncio.run(run())
    except AdministrationError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None


@contextmanager
def database_or_exit() -> Iterator[None]:
    """A database that is not there, or does not let us in, is one sentence and exit code 1."""
    try:
        yield
    except (OSError, PostgresError, DBAPIError) as error:
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        typer.echo(f"The database cannot be used ({kind}). Does the stack run here (make up)?", err=True)
        raise typer.Exit(1) from None


async def register(owner_url: str, now: datetime) -> None:
    """After migrations: partners, the institution's accounts, the agreement in force, roles. May be repeated."""
    engine = create_engine(owner_url, pool_size=1, application_name="liushui-setup")
    try:
        policy = Policy.model_validate(read_policy())
        roles = RoleBook.model_validate(read_roles())
        await register_institution(engine, policy, read_bank_register().banks, now, roles)
    finally:
        await engine.dispose()


def show(rows: Sequence[Mapping[str, Any]], nothing: str) -> None:
    """A table of what was found, or a sentence."""
    # Names and labels are shown as they are: "[/b]" in one must not end the list.
    screen = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    if not rows:
        screen.print(nothing)
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        # What has to be copied into the next command stays in one piece.
        table.add_column(name.replace("_", " "), no_wrap=name.endswith("id"), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    screen.print(table)


def say(sentence: str) -> None:
    """One line for the person at the terminal, and for a script."""
    typer.echo(sentence)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return ", ".join(value) if isinstance(value, list) else str(value)


def _owner_url(settings: OwnerSettings) -> str:
    if settings.owner_database_url is not None:
        return settings.owner_database_url.get_secret_value()
    secrets = DEFAULT_FOLDER / "secrets.json"
    if settings.environment != "local" or settings.database_url is None or not secrets.exists():
        message = "LIUSHUI_OWNER_DATABASE_URL is not set, and no local stack has been started here (make up)."
        Console(stderr=True).print(message, style="red")
        raise typer.Exit(2)
    return local_owner_url(DEFAULT_FOLDER, settings.database_url.get_secret_value())


def local_owner_url(folder: Path, database_url: str) -> str:
    """On a local stack the owner's URL follows from the app's and the folder's secrets."""
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    password = load_or_create(folder / "secrets.json", data_exist=True).owner_password
    owner = url.set(username=f"{url.database}_owner", password=password)
    return owner.render_as_string(hide_password=False)
