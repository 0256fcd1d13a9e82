"""Prepares a PostgreSQL server: roles, the main database, those of keys and erasures, rights, the newest schema."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping

import asyncpg
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import URL, make_url

from storage.migrate import Tree, upgrade

# Two starters on one server provision one after the other.
_PROVISION_LOCK = 7_301_995_002
# A role is called by its database and its work, in 63 characters at most: `<41>_erasures_webhooks` still fits.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_SCRAM_ITERATIONS = 4096
_CONNECT_TIMEOUT_SECONDS = 20
_OLDEST_SERVER = 16


class ProvisioningError(Exception):
    """The server cannot be prepared; the message says what the admin account lacks."""


# Besides its owner the main database has one role a process, and one that opens what is retained by law: what each may
# do is granted by the migrations.
ROLES_OF_MAIN = ("app", "ops", "webhooks", "retention")
# The other two are used by the processes of the institution alone.
ROLES_OF_OTHERS = ("app", "ops")


class Passwords(BaseModel):
    """Passwords of the roles, printable ASCII; the server only ever sees their SCRAM verifiers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    app: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    ops: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    webhooks: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    retention: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    key_owner: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    key_app: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    key_ops: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    erasure_owner: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    erasure_app: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")
    erasure_ops: str = Field(repr=False, pattern=r"^[!-~]{12,200}$")

    @classmethod
    def generate(cls) -> Passwords:
        """Random passwords; keep them, or the next `provision` sets others."""
        return cls(**{name: secrets.token_urlsafe(24) for name in cls.model_fields})


class Urls(BaseModel):
    """`postgresql+asyncpg://` URLs of the roles; they hold passwords."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: str = Field(repr=False)
    app: str = Field(repr=False)
    ops: str = Field(repr=False)
    webhooks: str = Field(repr=False)
    retention: str = Field(repr=False)
    key_owner: str = Field(repr=False)
    key_app: str = Field(repr=False)
    key_ops: str = Field(repr=False)
    erasure_owner: str = Field(repr=False)
    erasure_app: str = Field(repr=False)
    erasure_ops: str = Field(repr=False)


def erasure_database(database: str) -> str:
    """The name of the database of erasures that belongs to a main one."""
    return f"{database}_erasures"


async def provision(admin_url: str, database: str, key_database: str, passwords: Passwords) -> Urls:
    """Creates what is missing, sets the passwords, brings all databases to head; may be run again at any time.

    The database of erasures is called after the main one: `erasure_database`.

    The admin needs no more than CREATEDB and CREATEROLE. Raises ProvisioningError.
    """
    urls = urls_of(admin_url, database, key_database, passwords)
    admin = await connect_as_admin(admin_url)
    try:
        await admin.execute("SELECT pg_advisory_lock($1)", _PROVISION_LOCK)
        of_main = {name: getattr(passwords, name) for name in ROLES_OF_MAIN}
        await _prepare(admin, database, passwords.owner, of_main)
        of_keys = {"app": passwords.key_app, "ops": passwords.key_ops}
        await _prepare(admin, key_database, passwords.key_owner, of_keys)
        of_erasures = {"app": passwords.erasure_app, "ops": passwords.erasure_ops}
        await _prepare(admin, erasure_database(database), passwords.erasure_owner, of_erasures)
        for url, tree in ((urls.owner, Tree.MAIN), (urls.key_owner, Tree.KEYS), (urls.erasure_owner, Tree.ERASURES)):
            await close_public_schema(url)
            await upgrade(url, tree)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ProvisioningError(f"the admin account needs CREATEDB and CREATEROLE: {error}") from error
    finally:
        await admin.close()
    return urls


async def connect_as_admin(admin_url: str) -> asyncpg.Connection:
    """A connection to a server that is new enough. Raises ProvisioningError."""
    try:
        admin = await asyncpg.connect(plain_url(admin_url), timeout=_CONNECT_TIMEOUT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise ProvisioningError(f"the PostgreSQL server cannot be reached: {error}") from None
    if admin.get_server_version().major < _OLDEST_SERVER:
        await admin.close()
        raise ProvisioningError(f"PostgreSQL {_OLDEST_SERVER} or later is needed")
    return admin


async def _prepare(admin: asyncpg.Connection, database: str, owner_password: str, passwords: Mapping[str, str]) -> None:
    owner = f"{database}_owner"
    await _ensure_role(admin, owner, owner_password)
    for suffix, password in passwords.items():
        await _ensure_role(admin, f"{database}_{suffix}", password)
    if not await exists(admin, database):
        await create_database(admin, database, owner)
    await restrict_access(admin, database, owner, [f"{database}_{suffix}" for suffix in passwords])


async def exists(admin: asyncpg.Connection, database: str) -> bool:
    """Whether there is a database of that name."""
    return bool(await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database))


async def create_database(admin: asyncpg.Connection, database: str, owner: str) -> None:
    """An empty database that a role owns."""
    await _become_able_to_give_to(admin, owner)
    # The locale that every server has; nothing here is sorted for a human eye.
    template = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    await admin.execute(f'CREATE DATABASE "{database}" OWNER "{owner}" {template}')


async def restrict_access(admin: asyncpg.Connection, database: str, owner: str, others: Iterable[str]) -> None:
    """Only the owner and the named roles may connect, and those may not make temporary tables."""
    await _become_able_to_give_to(admin, owner)
    await admin.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    for role in others:
        await admin.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"')


async def _ensure_role(admin: asyncpg.Connection, role: str, password: str) -> None:
    exists = await admin.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role)
    verb = "ALTER" if exists else "CREATE"
    await admin.execute(f"{verb} ROLE \"{role}\" LOGIN PASSWORD '{scram_verifier(password)}'")


async def _become_able_to_give_to(admin: asyncpg.Connection, owner: str) -> None:
    """An admin that is no superuser must be a member of a role to make it own something, since PostgreSQL 16 too."""
    member = await admin.fetchval("SELECT pg_has_role(current_user, $1, 'MEMBER')", owner)
    if not member or not await _may_act_as(admin, owner):
        await admin.execute(f'GRANT "{owner}" TO CURRENT_USER')


async def _may_act_as(admin: asyncpg.Connection, owner: str) -> bool:
    """The creator of a role has ADMIN on it, but since PostgreSQL 16 neither SET nor INHERIT."""
    return bool(await admin.fetchval("SELECT pg_has_role(current_user, $1, 'SET')", owner)) and bool(
        await admin.fetchval("SELECT pg_has_role(current_user, $1, 'USAGE')", owner)
    )


async def close_public_schema(owner_url: str) -> None:
    """Nobody but the owner makes or finds anything in `public`."""
    connection = await asyncpg.connect(plain_url(owner_url))
    try:
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    finally:
        await connection.close()


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores for a password, made here so that the password never stands in a statement or a log."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def urls_of(admin_url: str, database: str, key_database: str, passwords: Passwords) -> Urls:
    """The URLs of the roles. Raises ProvisioningError if a name will not do."""
    base, erasures = make_url(admin_url), erasure_database(database)
    for name in (database, key_database):
        if not _NAME.fullmatch(name):
            raise ProvisioningError("a database name is 1 to 41 characters of a-z, 0-9 and _, beginning with a letter")
    return Urls(
        owner=_role_url(base, database, "owner", passwords.owner),
        app=_role_url(base, database, "app", passwords.app),
        ops=_role_url(base, database, "ops", passwords.ops),
        webhooks=_role_url(base, database, "webhooks", passwords.webhooks),
        retention=_role_url(base, database, "retention", passwords.retention),
        key_owner=_role_url(base, key_database, "owner", passwords.key_owner),
        key_app=_role_url(base, key_database, "app", passwords.key_app),
        key_ops=_role_url(base, key_database, "ops", passwords.key_ops),
        erasure_owner=_role_url(base, erasures, "owner", passwords.erasure_owner),
        erasure_app=_role_url(base, erasures, "app", passwords.erasure_app),
        erasure_ops=_role_url(base, erasures, "ops", passwords.erasure_ops),
    )


def _role_url(base: URL, database: str, suffix: str, password: str) -> str:
    url = base.set(
        drivername="postgresql+asyncpg", database=database, username=f"{database}_{suffix}", password=password
    )
    return url.render_as_string(hide_password=False)


def plain_url(url: str) -> str:
    """A URL as asyncpg itself and PostgreSQL's programs read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
