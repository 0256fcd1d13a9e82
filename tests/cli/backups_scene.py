"""An institution with one user, payments and a remittance-free ledger, whose backups are taken and put back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
from pyrage import decrypt, x25519
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from ulid import ULID

from cli.backing_up import BackupPlan, Taken, back_up
from cli.backup_site import Site
from cli.restoring import Restored, Restoring
from domain.personal_data import PersonalField, Purpose
from domain.retention import RetentionRules
from runtime.backup_streams import Programs
from runtime.backups import MANIFEST, Backup, Kind, find
from runtime.postgres import EmbeddedPostgres
from storage import replacing
from storage.closures import ClosureBook
from storage.provision import ROLES_OF_MAIN, create_database, exists, plain_url, restrict_access
from tests.conftest import Database
from tests.storage.books import Books
from vault import sealing
from vault.erasures import Erasure, ErasureList
from vault.forgetting import Forgetting
from vault.leaving import Retaining
from vault.retention import RetainedRecord, RetentionStore, place_of
from vault.sealing import MasterKeys
from vault.vault import Vault

MASTER_KEY, INDEX_KEY = b"m" * 32, b"i" * 32
BACKUP_KEY = str(x25519.Identity.generate())
RETENTION_KEY = x25519.Identity.generate()
RETENTION_PUBLIC_KEY = str(RETENTION_KEY.to_public())
_RETAINED = """
    SELECT coalesce(jsonb_agg(jsonb_build_object('record_id', r.record_id, 'user_id', r.user_id,
        'merchant_id', r.merchant_id,
        'person_index', r.person_index, 'kind', r.kind, 'source_id', r.source_id, 'event_on', r.event_on,
        'consent_until', r.consent_until, 'key_id', r.key_id, 'ciphertext', encode(r.ciphertext, 'hex'))
        ORDER BY r.record_id), '[]')::text
    FROM retention.record r WHERE r.ciphertext IS NOT NULL"""
_WRAPPED = """
    SELECT coalesce(jsonb_object_agg(k.key_id, encode(k.wrapped_key, 'hex')), '{}')::text FROM keys.retention_key k
    WHERE k.wrapped_key IS NOT NULL"""
LASTS: dict[Kind, timedelta] = {"main": timedelta(days=30), "keys": timedelta(days=7)}


def quiet(_title: str, _total: int | None) -> Callable[[int], None]:
    return lambda _done: None


@dataclass
class Institution:
    """What a backup is taken of, and the folder of its backups."""

    database: Database
    server: EmbeddedPostgres
    folder: Path
    stages: list[str] = field(default_factory=list)

    @property
    def site(self) -> Site:
        return Site(
            owner_url=self.database.owner_url,
            key_owner_url=self.database.key_owner_url,
            erasure_owner_url=self.database.erasure_owner_url,
            recipient=str(x25519.Identity.from_str(BACKUP_KEY).to_public()),
            embedded=self.server,
            admin_url=plain_url(self.server.admin_url),
            identity=BACKUP_KEY,
            master_key=MASTER_KEY,
            index_key=INDEX_KEY,
            retention_public_key=RETENTION_PUBLIC_KEY,
        )

    async def back_up(self, at: datetime | None = None) -> Taken:
        folders: dict[Kind, Path] = {"main": self.folder / "main", "keys": self.folder / "keys"}
        plan = BackupPlan(folders=folders, lasts=LASTS, at=at or datetime.now(UTC))
        return await asyncio.to_thread(back_up, self.site, plan, quiet)

    async def restore(
        self, *, replace: bool = True, at: datetime | None = None, accept_loss: bool = False, **changes: Any
    ) -> Restored:
        """The newest backups, as the command does it; nobody else is connected."""
        await self.hang_up()
        backups = (self.found("main"), self.found("keys"))
        site = Site(**{**self.site.__dict__, **changes})
        now = at or datetime.now(UTC)
        restoring = Restoring(site, backups, RetentionRules(), self._stage, lambda: now, accept_loss=accept_loss)
        return await asyncio.to_thread(restoring.run, replace=replace)

    async def rehearse(self, inspect: Callable[[str, str], None] = lambda _main, _keys: None) -> Restored:
        """While everything runs."""
        backups = (self.found("main"), self.found("keys"))
        restoring = Restoring(self.site, backups, RetentionRules(), self._stage, lambda: datetime.now(UTC))
        return await asyncio.to_thread(restoring.rehearse, inspect)

    async def back_up_keys_later(self) -> None:
        """So that the books to be restored are of an earlier time: their backups live longer."""
        taken = await self.back_up()
        (taken.made["main"].folder / MANIFEST).unlink()

    async def lose_the_books(self, name: str | None = None) -> None:
        """The machine is gone, and with it what is not in the backups; `name`: another database of it."""
        await self.hang_up()
        admin = await asyncpg.connect(plain_url(self.server.admin_url))
        await admin.execute(f'DROP DATABASE "{name or self.database.name}" WITH (FORCE)')
        await admin.close()

    async def put_the_books_back_by_hand(self) -> None:
        """As somebody does who knows pg_restore and not `liushui restore`."""
        await self.lose_the_books()
        place = replacing.place_of(self.database.owner_url, ROLES_OF_MAIN)
        admin = await asyncpg.connect(plain_url(self.server.admin_url))
        await create_database(admin, place.name, place.owner)
        await restrict_access(admin, place.name, place.owner, place.roles)
        programs = Programs(admin.get_server_version().major, self.server)
        await admin.close()
        load = programs.load
        await asyncio.to_thread(
            load, plain_url(self.database.owner_url), self.found("main"), BACKUP_KEY, lambda _: None
        )

    async def is_there(self) -> bool:
        """Whether there is a database of the books."""
        admin = await asyncpg.connect(plain_url(self.server.admin_url))
        try:
            return await exists(admin, self.database.name)
        finally:
            await admin.close()

    async def retained(self) -> list[RetainedRecord]:
        """Every record, opened with the institution's private key."""
        documents = json.loads(await self.value(_RETAINED))
        wrapped = json.loads(await self.key_value(_WRAPPED))
        opened = []
        for document in documents:
            key_id, ciphertext = document.pop("key_id"), bytes.fromhex(document.pop("ciphertext"))
            record = RetainedRecord.model_validate_json(json.dumps(document | {"content": {}}))
            data_key = decrypt(bytes.fromhex(wrapped[key_id]), [RETENTION_KEY])
            plain = sealing.decrypt(data_key, ciphertext, place_of(record, key_id))
            opened.append(record.model_copy(update={"content": json.loads(plain)}))
        return opened

    def found(self, kind: Kind) -> Backup:
        return find(self.folder, kind)

    def _stage(self, title: str, _total: int | None) -> Callable[[int], None]:
        self.stages.append(title)
        return lambda _done: None

    async def hang_up(self) -> None:
        """The engines of the test let go; they connect again when they are used."""
        for name, engine in vars(self.database).items():
            if name.endswith("_engine"):
                await engine.dispose()

    async def value(self, statement: str, **parameters: Any) -> Any:
        return await self._value(self.database.owner_url, statement, parameters)

    async def key_value(self, statement: str, **parameters: Any) -> Any:
        return await self._value(self.database.key_owner_url, statement, parameters)

    async def run(self, statement: str) -> None:
        engine = create_async_engine(self.database.owner_url, poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.execute(sa.text(statement))
        await engine.dispose()

    async def databases(self) -> set[str]:
        names = await self.value("SELECT array_agg(datname::text) FROM pg_database")
        return {name for name in names if name.startswith(self.database.name)}

    @staticmethod
    async def _value(url: str, statement: str, parameters: dict[str, Any]) -> Any:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                return await connection.scalar(sa.text(statement), parameters)
        finally:
            await engine.dispose()

    async def forget(self, user_id: str) -> Erasure:
        """As the process that closes an account does: into the list, then everywhere."""
        entry = Erasure(
            entry_id=f"ers_{ULID()}", kind="person", user_id=user_id, subject_id=f"cls_{ULID()}", at=datetime.now(UTC)
        )
        await self.forgetting.apply(entry)
        return entry

    @property
    def vault(self) -> Vault:
        return Vault(
            main=self.database.app_engine, keys=self.database.key_app_engine, master_keys=MasterKeys([MASTER_KEY]),
            index_key=INDEX_KEY, clock=lambda: datetime.now(UTC),
        )  # fmt: skip

    @property
    def forgetting(self) -> Forgetting:
        engine, vault = self.database.app_engine, self.vault
        retention = RetentionStore(
            engine, self.database.key_app_engine, RETENTION_PUBLIC_KEY, lambda: datetime.now(UTC)
        )
        retaining = Retaining(ClosureBook(engine), vault, retention, lambda: str(ULID()))
        return Forgetting(engine, vault, retention, ErasureList(self.database.erasure_app_engine), retaining.everything)

    async def names_of(self, user_id: str) -> list[str]:
        """The names that can be read of a user."""
        tokens = await self.value(
            "SELECT coalesce(array_agg(token), '{}') FROM vault.item WHERE user_id = :u AND field = 'name'", u=user_id
        )
        return [
            (await self.vault.reveal(user_id, [token], Purpose.QUICK_PAY, "test"))[PersonalField.NAME]
            for token in tokens
        ]


async def with_life(books: Books) -> None:
    """Money of the user, and a payee."""
    await books.known_payee()
    await books.fund(50_000)


def engines_of(database: Database) -> list[AsyncEngine]:
    return [engine for name, engine in vars(database).items() if name.endswith("_engine")]
