"""Putting a backup back: checked whole, loaded beside what is there, made to forget, verified, only then in place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cli.backing_up import Stage, list_head
from cli.backup_site import Site
from cli.carrying_over import carry_over, without_their_records
from domain.retention import RetentionRules
from ledger.verify import verify
from runtime.backup_streams import Programs, check
from runtime.backups import NAMES, Backup, BackupError
from runtime.id_source import UlidSource
from storage.closures import ClosureBook
from storage.migrate import Tree, upgrade
from storage.provision import ROLES_OF_MAIN, ROLES_OF_OTHERS, close_public_schema, connect_as_admin
from storage.replacing import REHEARSAL, REPLACED, Place, drop, last_change, make_room, place_of, swap, who_is_connected
from storage.settlement_audit import settlement_findings
from vault.erasures import ErasureList
from vault.errors import UserKeyMissingError
from vault.forgetting import Forgetting, MissingErasures
from vault.leaving import Retaining
from vault.retention import RetentionStore
from vault.sealing import MasterKeys
from vault.vault import Vault

_READABLE_KEYS = sa.text("SELECT count(*) FROM keys.user_key WHERE user_id = ANY (:user_ids) AND destroyed_at IS NULL")
_READABLE_ITEMS = sa.text("SELECT count(*) FROM vault.item WHERE user_id = ANY (:user_ids) AND erased_at IS NULL")
_ERASED_TOKENS = sa.text("SELECT count(*) FROM vault.item WHERE token = ANY (:tokens) AND erased_at IS NULL")


@dataclass(frozen=True)
class Restored:
    """What was done: entries of the erasure list that were carried out, transfers that were verified.

    `carried_over`: retained records that were only in the database in place; `unreadable`: why not all of it could be
    looked through. `lost`: of whom the law keeps what cannot be kept any more, and how many copies that is at least.
    """

    forgotten: int
    transfers: int
    carried_over: int = 0
    unreadable: str | None = None
    lost: Mapping[str, int] = field(default_factory=dict)


class Restoring:
    """One restore. It may be killed at any moment and run again: what counts is one rename of all databases at once."""

    def __init__(
        self,
        site: Site,
        backups: tuple[Backup, Backup],
        rules: RetentionRules,
        stage: Stage,
        clock: Callable[[], datetime],
        *,
        accept_loss: bool = False,
    ) -> None:
        """`backups`: of the books and of the keys. `accept_loss`: also if what the law keeps of somebody is lost."""
        self._accept_loss = accept_loss
        self._site, (self._main, self._keys), self._rules = site, backups, rules
        self._clock, self._stage = clock, stage
        self._places: tuple[Place, Place] = (
            place_of(site.owner_url, ROLES_OF_MAIN),
            place_of(site.key_owner_url, ROLES_OF_OTHERS),
        )

    def run(self, *, replace: bool) -> Restored:
        """Raises BackupError; then what was in place still is."""
        self._check_manifests()
        version = asyncio.run(self._check_server())
        asyncio.run(self._with_admin(lambda admin: self._refuse_loss(admin, replace=replace)))
        done = self._load(version)
        self._stage("Putting it into place", None)
        asyncio.run(self._with_admin(self._put_into_place))
        return done

    def rehearse(self, inspect: Callable[[str, str], None] = lambda _main, _keys: None) -> Restored:
        """All but the last step, also while everything runs: what was loaded is dropped again.

        `inspect` gets the owners' URLs of books and keys as they would be put into place. Raises BackupError.
        """
        main, keys = self._places
        self._places = (main._replace(suffix=REHEARSAL), keys._replace(suffix=REHEARSAL))
        self._check_manifests()
        try:
            done = self._load(asyncio.run(self._check_server()))
            inspect(*(place.new_url for place in self._places))
        finally:
            asyncio.run(self._with_admin(self._drop_new))
        return done

    def _load(self, version: int) -> Restored:
        """Both under names of their own, whole, forgotten again and verified."""
        pairs = tuple(zip((self._main, self._keys), self._places, strict=True))
        for backup, _ in pairs:
            check(backup, self._site.identity, self._stage(f"Checking {_short(backup)}", backup.manifest.size_bytes))
        programs = Programs(version, self._site.embedded)
        asyncio.run(self._with_admin(lambda admin: make_room(admin, self._places)))
        for backup, place in pairs:
            title, size = f"Loading {_short(backup)}", backup.manifest.size_bytes
            programs.load(place.new_url, backup, self._site.identity, self._stage(title, size))
        self._stage("Carrying over what the law keeps, forgetting again, and verifying", None)
        return asyncio.run(self._make_fit())

    def _check_manifests(self) -> None:
        head = asyncio.run(list_head(self._site.erasure_owner_url))
        now, main, keys = self._clock(), self._main.manifest, self._keys.manifest
        for manifest, tree in ((main, Tree.MAIN), (keys, Tree.KEYS)):
            if manifest.institution_id != head.institution_id:
                raise BackupError(f"{manifest.what} belongs to another institution's erasure list than the one here.")
            if manifest.erasure_position > head.position:
                raise BackupError(
                    f"The erasure list here ends before {manifest.what} was taken: entries of it are lost. Put the"
                    " list back first; without it what was forgotten would be readable again."
                )
            if manifest.expires_at <= now:
                raise BackupError(f"{manifest.what} expired on {manifest.expires_at:%Y-%m-%d} and is used no more.")
            if manifest.taken_at > now:
                raise BackupError(f"{manifest.what} is of the future: a clock is wrong.")
            if not _is_known(manifest.revision, tree):
                raise BackupError(f"{manifest.what} has the schema {manifest.revision}, which this release has not.")
        if keys.taken_at < main.taken_at:
            raise BackupError(
                f"{keys.what} is older than {main.what}: keys of users who came in between would be missing."
            )

    async def _check_server(self) -> int:
        admin = await connect_as_admin(self._site.admin_url)
        try:
            version = admin.get_server_version().major
        finally:
            await admin.close()
        for manifest in (self._main.manifest, self._keys.manifest):
            if manifest.server_version > version:
                raise BackupError(f"{manifest.what} is of a newer PostgreSQL than this server.")
        return version

    async def _refuse_loss(self, admin: asyncpg.Connection, *, replace: bool) -> None:
        await self._refuse_company(admin)
        if replace:
            return
        for backup, place in zip((self._main, self._keys), self._places, strict=True):
            changed = await last_change(admin, place)
            if changed is not None and changed > backup.manifest.taken_at:
                raise BackupError(_newer(place.name, changed, backup))

    async def _refuse_company(self, admin: asyncpg.Connection) -> None:
        found = await who_is_connected(admin, [place.name for place in self._places])
        if found:
            who = ", ".join(f"{role} ({sessions})" for role, sessions in found.items())
            raise BackupError(f"The databases are in use by {who}: stop the processes first.")

    async def _make_fit(self) -> Restored:
        """The newest schema, what the law keeps, the erasure list, and the proof of both ledger and forgetting."""
        for place, tree in zip(self._places, (Tree.MAIN, Tree.KEYS), strict=True):
            await close_public_schema(place.new_url)
            await upgrade(place.new_url, tree)
        carried = await carry_over(*self._places)
        async with AsyncExitStack() as stack:
            main, keys, erasures = [
                await _opened(stack, url)
                for url in (*(place.new_url for place in self._places), self._site.erasure_owner_url)
            ]
            retaining, forgetting = self._forgetting(main, keys, ErasureList(erasures))
            persons = await _to_forget(forgetting.missing)
            forgotten = await _forget_again(forgetting)
            lost = await self._lost(ClosureBook(main), retaining.lost, persons)
            report = await verify(main)
            findings = [*(f"{one.code}: {one.where}" for one in report.findings), *await settlement_findings(main)]
            findings += await _readable_again(main, keys, ErasureList(erasures))
            if await forgetting.missing.count():
                findings.append("entries of the erasure list are not carried out")
        if findings or not report.is_sound:
            raise BackupError("What was restored is not sound, and was not put into place: " + "; ".join(findings[:5]))
        if lost and not self._accept_loss:
            raise BackupError(_would_be_lost(lost, carried.unreadable))
        return Restored(forgotten, report.transfers, carried.records, carried.unreadable, lost)

    async def _lost(self, book: ClosureBook, found: Mapping[str, int], persons: list[str]) -> dict[str, int]:
        """Of whom nothing can be copied, or what was kept is not there, as its keys show; each is a case."""
        gone = await without_their_records(persons, *self._places)
        for user_id in gone:
            await book.open_lost_copies_case(user_id, self._clock())
        return {user_id: max(found.get(user_id, 0), gone.get(user_id, 0)) for user_id in sorted({*found, *gone})}

    def _forgetting(self, main: AsyncEngine, keys: AsyncEngine, erasures: ErasureList) -> tuple[Retaining, Forgetting]:
        site, clock = self._site, self._clock
        master_keys = MasterKeys([site.master_key])
        vault = Vault(main=main, keys=keys, master_keys=master_keys, index_key=site.index_key, clock=clock)
        retention = RetentionStore(main, keys, site.retention_public_key, clock, self._rules)
        # The backup may be older than the copies of what the law keeps: they are made before a key is destroyed again.
        retaining = Retaining(ClosureBook(main), vault, retention, UlidSource().ulid, clock)
        return retaining, Forgetting(main, vault, retention, erasures, retaining.everything)

    async def _put_into_place(self, admin: asyncpg.Connection) -> None:
        await self._refuse_company(admin)
        try:
            await swap(admin, self._places)
        except asyncpg.ObjectInUseError:
            raise BackupError("The databases came into use meanwhile; nothing was changed. Run it again.") from None
        for place in self._places:
            await drop(admin, place.name + REPLACED)

    async def _drop_new(self, admin: asyncpg.Connection) -> None:
        for place in self._places:
            await drop(admin, place.new_name)

    async def _with_admin(self, work: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        admin = await connect_as_admin(self._site.admin_url)
        try:
            await work(admin)
        finally:
            await admin.close()


async def _opened(stack: AsyncExitStack, url: str) -> AsyncEngine:
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    stack.push_async_callback(engine.dispose)
    return engine


async def _to_forget(missing: MissingErasures) -> list[str]:
    """Who was forgotten after the backup: of whoever was forgotten before, it has what was kept."""
    persons: list[str] = []
    position: int | None = 0
    while position is not None:
        position, entries = await missing.page(position)
        persons += [entry.user_id for entry in entries if entry.kind == "person" and entry.user_id]
    return persons


async def _forget_again(forgetting: Forgetting) -> int:
    try:
        return await forgetting.apply_missing()
    except UserKeyMissingError:
        raise BackupError(
            "The backup of the keys has none for a user of the books, whose data the law keeps: take a newer one."
        ) from None


async def _readable_again(main: AsyncEngine, keys: AsyncEngine, erasures: ErasureList) -> list[str]:
    """What is readable of what the list says was erased."""
    persons: list[str] = []
    tokens: list[str] = []
    position = 0
    while entries := await erasures.after(position):
        persons += [entry.user_id for entry in entries if entry.kind == "person" and entry.user_id]
        tokens += [token for entry in entries if entry.kind == "items" for token in entry.detail.tokens]
        position = entries[-1].position or position
    async with keys.connect() as connection:
        readable = await connection.scalar(_READABLE_KEYS, {"user_ids": persons})
    async with main.connect() as connection:
        items = await connection.scalar(_READABLE_ITEMS, {"user_ids": persons})
        erased = await connection.scalar(_ERASED_TOKENS, {"tokens": tokens})
    found = {"keys of forgotten users": readable, "items of forgotten users": items, "erased items": erased}
    return [f"{what} are readable: {count}" for what, count in found.items() if count]


def _is_known(revision: str, tree: Tree) -> bool:
    return revision in {script.revision for script in ScriptDirectory(str(tree.value)).walk_revisions()}


def _short(backup: Backup) -> str:
    return NAMES[backup.manifest.kind]


def _would_be_lost(lost: Mapping[str, int], unreadable: str | None) -> str:
    why = f"cannot be read ({unreadable})" if unreadable else "has it neither"
    return (
        f"What the law keeps of {len(lost)} people who were forgotten since is not in the backup, {sum(lost.values())}"
        f" copies at least: their keys are destroyed, and the database in place {why}. Restore from a later backup of"
        f" the books, or, to lose it, say --accept-loss. Of: {', '.join(lost)}."
    )


def _newer(name: str, changed: datetime, backup: Backup) -> str:
    return (
        f"The database {name} was changed on {changed:%Y-%m-%d at %H:%M:%S}Z, after {backup.manifest.what} was taken."
        " To give up what happened since, say --replace."
    )
