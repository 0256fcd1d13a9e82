"""The owner's connection to the database: registering the institution, and what is done before there are operators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from asyncpg.exceptions import PostgresError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.screening_files import read_list_file
from cli.terminal import end
from config.policy import read_policy
from config.roles import read_roles
from config.settings import DatabaseUrl, ProcessSettings, load_or_exit
from domain.error_codes import ERROR_TEXTS
from domain.errors import DomainError
from domain.policy import Policy
from domain.roles import RoleBook
from domain.screening import NewList
from runtime.clock import SystemClock
from runtime.secrets import load_or_create
from storage.administration import AdministrationError, register_institution
from storage.database import create_engine
from storage.screening import load_list_as_owner
from wiring import CONFIG, read_bank_register

Result = TypeVar("Result")
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "var"


class OwnerSettings(ProcessSettings):
    """The institution's commands write as the owner of the tables; on a local stack its URL follows from the app's."""

    owner_database_url: DatabaseUrl | None = None
    database_url: DatabaseUrl | None = None


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
        end(str(error))
    except DomainError as error:
        text = ERROR_TEXTS[error.code]
        end(f"{text.title_en}. {text.action_en} [{error.code.value}]")


@contextmanager
def database_or_exit() -> Iterator[None]:
    """A database that is not there, or does not let us in, is one sentence and exit code 1."""
    try:
        yield
    except (OSError, PostgresError, DBAPIError) as error:
        kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
        end(f"The database cannot be used ({kind}). Does the stack run here (make up)?")


async def register(owner_url: str, now: datetime) -> None:
    """After migrations: partners, the institution's accounts, the agreement in force, roles. May be repeated."""
    engine = create_engine(owner_url, pool_size=1, application_name="liushui-setup")
    try:
        policy = Policy.model_validate(read_policy())
        roles = RoleBook.model_validate(read_roles())
        await register_institution(engine, policy, read_bank_register().banks, now, roles)
    finally:
        await engine.dispose()


async def keep_example_lists(owner_url: str, now: datetime) -> None:
    """On a local stack: the made-up screening lists of config/screening, because without lists nobody is paid.

    Each start confirms them. A list that an operator has loaded stays as it is.
    """
    engine = create_engine(owner_url, pool_size=1, application_name="liushui-setup")
    try:
        async with engine.begin() as connection:
            for file in sorted((CONFIG / "screening").glob("*.csv")):
                entries = read_list_file(file)
                given = {"code": file.stem, "source": "made up, for a local stack", "entries": entries}
                await load_list_as_owner(connection, NewList.model_validate_json(json.dumps(given)), now)
    finally:
        await engine.dispose()


def register_again() -> None:
    """Takes over what was changed in the files of config/: banks, agreement, roles, rules of decisions."""
    url = _owner_url(load_or_exit(OwnerSettings))
    try:
        with database_or_exit():
            asyncio.run(register(url, SystemClock().now()))
    except (AdministrationError, ValueError) as error:
        end(str(error))


def _owner_url(settings: OwnerSettings) -> str:
    if settings.owner_database_url is not None:
        return settings.owner_database_url.get_secret_value()
    secrets = DEFAULT_FOLDER / "secrets.json"
    if settings.environment != "local" or settings.database_url is None or not secrets.exists():
        message = "LIUSHUI_OWNER_DATABASE_URL is not set, and no local stack has been started here (make up)."
        end(message, 2)
    return local_owner_url(DEFAULT_FOLDER, settings.database_url.get_secret_value())


def local_owner_url(folder: Path, database_url: str) -> str:
    """On a local stack the owner's URL follows from the app's and the folder's secrets."""
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    password = load_or_create(folder / "secrets.json", data_exist=True).owner_password
    owner = url.set(username=f"{url.database}_owner", password=password)
    return owner.render_as_string(hide_password=False)
