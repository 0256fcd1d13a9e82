"""Putting restored databases into the place of others: loaded under names of their own, then renamed all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import make_url

from storage.provision import create_database, exists, plain_url, restrict_access

RESTORING, REHEARSAL, REPLACED = "_restoring", "_rehearsal", "_replaced"
_ROLES_OF_SESSIONS = """
    SELECT a.usename, count(*) AS sessions FROM pg_stat_activity a
    WHERE a.datname = ANY ($1) AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
    GROUP BY 1 ORDER BY 1"""
# When what is in a database was last changed; each table is looked at where it ends.
_LAST_CHANGES = {
    "app.operation": "SELECT recorded_at FROM app.operation ORDER BY id DESC LIMIT 1",
    "keys.user_key": "SELECT greatest(max(created_at), max(destroyed_at)) FROM keys.user_key",
}


class Place(NamedTuple):
    """A database that is to be replaced: its name, the URL of its owner, and the roles that may connect to it.

    `suffix`: what its replacement's name has at the end until that is put into place.
    """

    name: str
    owner_url: str
    roles: tuple[str, ...]
    suffix: str = RESTORING

    @property
    def new_name(self) -> str:
        """What its replacement is called until then."""
        return self.name + self.suffix

    @property
    def new_url(self) -> str:
        """The owner's URL of that."""
        return make_url(self.owner_url).set(database=self.new_name).render_as_string(hide_password=False)

    @property
    def owner(self) -> str:
        return make_url(self.owner_url).username or ""


def place_of(owner_url: str, suffixes: Iterable[str]) -> Place:
    """By the owner's URL: `liushui_owner` has `liushui_app` and so on beside it."""
    url = make_url(owner_url)
    stem = (url.username or "").removesuffix("_owner")
    return Place(url.database or "", owner_url, tuple(f"{stem}_{suffix}" for suffix in suffixes))


async def who_is_connected(admin: asyncpg.Connection, names: Sequence[str]) -> dict[str, int]:
    """How many sessions of which role use the databases."""
    rows = await admin.fetch(_ROLES_OF_SESSIONS, list(names))
    return {str(row["usename"]): int(row["sessions"]) for row in rows}


async def last_change(admin: asyncpg.Connection, place: Place) -> datetime | None:
    """When the database was last changed; None if there is none, or nothing in it."""
    if not await exists(admin, place.name):
        return None
    connection = await asyncpg.connect(plain_url(place.owner_url))
    try:
        found = []
        for table, statement in _LAST_CHANGES.items():
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
                found.append(await connection.fetchval(statement))
        return max((instant for instant in found if instant is not None), default=None)
    finally:
        await connection.close()


async def make_room(admin: asyncpg.Connection, places: Sequence[Place]) -> None:
    """Drops what an earlier command left behind, and creates empty databases under the names of restoring."""
    for place in places:
        for name in (place.new_name, place.name + REPLACED):
            await drop(admin, name)
        await create_database(admin, place.new_name, place.owner)
        # Nobody but the owner before it is in place: a rehearsal is opened to nobody.
        await restrict_access(admin, place.new_name, place.owner, place.roles if place.suffix == RESTORING else ())


async def swap(admin: asyncpg.Connection, places: Sequence[Place]) -> None:
    """All of them into place, or none: one transaction. Raises ObjectInUseError if somebody uses one."""
    async with admin.transaction():
        for place in places:
            if await exists(admin, place.name):
                await admin.execute(f'ALTER DATABASE "{place.name}" RENAME TO "{place.name}{REPLACED}"')
            await admin.execute(f'ALTER DATABASE "{place.new_name}" RENAME TO "{place.name}"')


async def drop(admin: asyncpg.Connection, name: str) -> None:
    """The database is gone, if there was one, whoever uses it."""
    await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
