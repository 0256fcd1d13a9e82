"""Taking a backup: the books first and the keys after them, so that there is a key to all that is in the books."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg

from cli.backup_site import Site
from runtime.backup_streams import Programs
from runtime.backups import NAMES, Backup, Kind, Manifest, begin, finish, held, remove_expired
from storage.database import create_engine
from storage.provision import plain_url
from vault.erasures import ErasureList, ListHead

Stage = Callable[[str, int | None], Callable[[int], None]]
_IN_ORDER: tuple[Kind, ...] = ("main", "keys")


@dataclass(frozen=True)
class BackupPlan:
    """Where backups of each kind go, how long they last, and the instant."""

    folders: Mapping[Kind, Path]
    lasts: Mapping[Kind, timedelta]
    at: datetime


@dataclass(frozen=True)
class Taken:
    """What was made, by kind, and what had expired and was deleted."""

    made: dict[Kind, Backup]
    removed: list[Backup]


def back_up(site: Site, plan: BackupPlan, stage: Stage) -> Taken:
    """Both backups, or none of them under its name; then deletes what has expired. Raises BackupError."""
    # How far the list goes is asked first: whoever restores needs at least so much of it.
    head = asyncio.run(list_head(site.erasure_owner_url))
    with ExitStack() as stack:
        for kind in _IN_ORDER:
            stack.enter_context(held(plan.folders[kind]))
        unfinished = {kind: _dump(site, plan, kind, head, stage) for kind in _IN_ORDER}
        # The keys' appear first: a backup of the books without one of the keys is of no use.
        made = {kind: finish(*unfinished[kind]) for kind in reversed(_IN_ORDER)}
        removed = [
            gone
            for kind in _IN_ORDER
            for gone in remove_expired(plan.folders[kind], made[kind].manifest.institution_id, plan.at)
        ]
    return Taken(made, removed)


async def list_head(erasure_owner_url: str) -> ListHead:
    """How far the erasure list goes, and whose it is."""
    engine = create_engine(erasure_owner_url, pool_size=1, application_name="liushui-backup")
    try:
        return await ErasureList(engine).head()
    finally:
        await engine.dispose()


def _dump(site: Site, plan: BackupPlan, kind: Kind, head: ListHead, stage: Stage) -> tuple[Path, Manifest]:
    url = plain_url(site.owner_url if kind == "main" else site.key_owner_url)
    revision, server_version = asyncio.run(_look(url))
    programs = Programs(server_version, site.embedded)
    folder, file = begin(plan.folders[kind], plan.at), f"{kind}.dump.age"
    progress = stage(f"Taking a backup of {NAMES[kind]}", None)
    sealed = programs.dump(url, site.recipient, folder / file, progress)
    return folder, Manifest(
        kind=kind,
        institution_id=head.institution_id,
        erasure_position=head.position,
        taken_at=plan.at,
        expires_at=plan.at + plan.lasts[kind],
        revision=revision,
        server_version=server_version,
        recipient=site.recipient,
        file=file,
        sha256=sealed.sha256,
        size_bytes=sealed.size_bytes,
    )


async def _look(url: str) -> tuple[str, int]:
    """The schema's revision and the server's major version."""
    connection = await asyncpg.connect(url)
    try:
        revision = await connection.fetchval("SELECT version_num FROM public.alembic_version")
        return str(revision), connection.get_server_version().major
    finally:
        await connection.close()
