"""Where backups are taken from and put back to: the databases of the environment, or those of a local stack."""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from cli.stack import DATABASE, DEFAULT_FOLDER, KEY_DATABASE, is_configured
from config.settings import BackupSettings, RestoreSettings, load_or_exit
from runtime.backups import BackupError
from runtime.postgres import EmbeddedPostgres
from runtime.secrets import LocalSecrets, age_recipient, load_or_create
from storage.provision import Passwords, plain_url, provision, urls_of


@dataclass(frozen=True)
class Site:
    """The owners' URLs, and the key to which backups are sealed; of secrets only what the command needs."""

    owner_url: str = field(repr=False)
    key_owner_url: str = field(repr=False)
    erasure_owner_url: str = field(repr=False)
    recipient: str
    # None: PostgreSQL's programs are in the PATH.
    embedded: EmbeddedPostgres | None
    # The rest is for restoring alone.
    admin_url: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    master_key: bytes = field(default=b"", repr=False)
    index_key: bytes = field(default=b"", repr=False)
    retention_public_key: str = ""


@contextmanager
def site_to_back_up(folder: Path = DEFAULT_FOLDER) -> Iterator[Site]:
    """By the environment if it names databases, else the stack of a folder, running or not. Raises BackupError."""
    if is_configured():
        settings = load_or_exit(BackupSettings)
        yield Site(
            owner_url=settings.owner_database_url.get_secret_value(),
            key_owner_url=settings.key_owner_database_url.get_secret_value(),
            erasure_owner_url=settings.erasure_owner_database_url.get_secret_value(),
            recipient=settings.backup_public_key,
            embedded=None,
        )
        return
    with _local(folder, only_at_rest=False) as site:
        yield site


@contextmanager
def site_to_restore(folder: Path = DEFAULT_FOLDER, *, rehearsal: bool = False) -> Iterator[Site]:
    """As above, with what opens backups; a local stack must be down, but for a rehearsal."""
    if is_configured():
        settings = load_or_exit(RestoreSettings)
        identity = settings.backup_key.get_secret_value()
        yield Site(
            owner_url=settings.owner_database_url.get_secret_value(),
            key_owner_url=settings.key_owner_database_url.get_secret_value(),
            erasure_owner_url=settings.erasure_owner_database_url.get_secret_value(),
            recipient=age_recipient(identity),
            embedded=None,
            admin_url=plain_url(settings.admin_database_url.get_secret_value()),
            identity=identity,
            master_key=settings.master_key.get_secret_value(),
            index_key=settings.index_key.get_secret_value(),
            retention_public_key=settings.retention_public_key,
        )
        return
    with _local(folder, only_at_rest=not rehearsal) as site:
        yield site


@contextmanager
def site_of_stack(folder: Path) -> Iterator[Site]:
    """That of a local stack with all of its secrets, running or not, whatever the environment names."""
    with _local(folder, only_at_rest=False) as site:
        yield site


async def prepare(site: Site, folder: Path = DEFAULT_FOLDER) -> None:
    """On a local stack: roles, databases and schemas, so that there is a place to restore to."""
    if not is_configured():
        secrets = load_or_create(folder / "secrets.json", data_exist=True)
        await provision(site.admin_url, DATABASE, KEY_DATABASE, Passwords(**secrets.passwords))


@contextmanager
def _local(folder: Path, *, only_at_rest: bool) -> Iterator[Site]:
    secrets_file = folder / "secrets.json"
    if not secrets_file.exists():
        raise BackupError(f"There is no local stack in {folder}, and no LIUSHUI_OWNER_DATABASE_URL names databases.")
    lock = _stack_lock(folder)
    if lock is None and only_at_rest:
        raise BackupError("The stack runs here: stop it first. Nothing is restored below running processes.")
    server = EmbeddedPostgres(folder / "postgres")
    remote = os.environ.get("DATABASE_URL")
    # A server that runs although no stack does was left behind by a command that was killed.
    ours = remote is None and lock is not None
    try:
        if ours:
            server.start()
        yield _local_site(server, remote or server.admin_url, load_or_create(secrets_file, data_exist=True))
    finally:
        if ours:
            server.stop()
        if lock is not None:
            lock.close()


def _local_site(server: EmbeddedPostgres, admin_url: str, secrets: LocalSecrets) -> Site:
    urls = urls_of(admin_url, DATABASE, KEY_DATABASE, Passwords(**secrets.passwords))
    return Site(
        owner_url=urls.owner,
        key_owner_url=urls.key_owner,
        erasure_owner_url=urls.erasure_owner,
        recipient=age_recipient(secrets.backup_key),
        embedded=server,
        admin_url=plain_url(admin_url),
        identity=secrets.backup_key,
        master_key=base64.b64decode(secrets.master_key),
        index_key=base64.b64decode(secrets.index_key),
        retention_public_key=age_recipient(secrets.retention_key),
    )


def _stack_lock(folder: Path) -> TextIO | None:
    """What a running stack holds; while we have it no stack starts here."""
    lock = (folder / "stack.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
