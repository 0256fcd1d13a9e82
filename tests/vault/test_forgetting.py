"""Forgetting is carried out in every store, as often as it takes, and a process that finds it undone does not start."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from pyrage import x25519
from ulid import ULID

from domain.personal_data import PersonalField
from domain.retention import RetainedKind
from tests.conftest import Database
from tests.storage.books import Books, open_books
from vault.erasures import Erasure, ErasureDetail, ErasureList
from vault.errors import UserErasedError
from vault.forgetting import Forgetting, MissingErasures, NotForgottenYetError
from vault.retention import RetainedRecord, RetentionStore

NOW = datetime(2026, 11, 30, 4, tzinfo=UTC)
PUBLIC_KEY = str(x25519.Identity.generate().to_public())


class Scene:
    """The books of one user, and what forgets in them."""

    def __init__(self, database: Database, books: Books) -> None:
        self.database, self.books = database, books
        self.erasures = ErasureList(database.erasure_app_engine)
        self.retention = RetentionStore(
            database.app_engine, database.key_app_engine, PUBLIC_KEY, lambda: datetime.now(UTC)
        )
        self.kept: list[str] = []
        self.forgetting = Forgetting(books.app, books.vault, self.retention, self.erasures, self.keep_first)
        self.user_id = books.user_id

    async def keep_first(self, entry: Erasure) -> None:
        """Notes of whom something could have been read."""
        if entry.user_id != self.user_id:
            return
        with contextlib.suppress(UserErasedError):
            await self.books.vault.seal(self.user_id, {PersonalField.NAME: "测试甲"})
            self.kept.append(self.user_id)

    def person(self, user_id: str | None = None) -> Erasure:
        who = user_id or self.user_id
        return Erasure(entry_id=f"ers_{ULID()}", kind="person", user_id=who, subject_id="cls_1", at=NOW)

    async def readable_items(self) -> int:
        found = await self.books.value(
            "SELECT count(*) FROM vault.item WHERE user_id = :u AND ciphertext IS NOT NULL", u=self.user_id
        )
        return int(found)

    async def applied(self) -> list[str]:
        async with self.database.owner_engine.connect() as connection:
            query = sa.text("SELECT entry_id FROM app.applied_erasure ORDER BY position")
            return list((await connection.execute(query)).scalars())


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    async with open_books(database) as books:
        yield Scene(database, books)


async def test_a_person_is_forgotten_in_keys_vault_and_books_and_that_is_recorded(scene: Scene) -> None:
    await scene.books.known_payee()
    assert await scene.readable_items() > 0
    entry = scene.person()
    await scene.forgetting.apply(entry)
    assert await scene.readable_items() == 0
    with pytest.raises(UserErasedError):
        await scene.books.vault.ensure_user_key(scene.user_id)
    user = "SELECT state FROM app.end_user WHERE id = :u AND person_index IS NULL AND merchant_user_ref IS NULL"
    assert await scene.books.value(user, u=scene.user_id) == "closed"
    assert await scene.applied() == [entry.entry_id]
    assert [found.entry_id for found in await scene.erasures.after(0)] == [entry.entry_id]


async def test_what_the_law_keeps_is_copied_before_the_key_is_gone_and_a_second_attempt_does_without(
    scene: Scene,
) -> None:
    entry = scene.person()
    await scene.forgetting.apply(entry)
    await scene.forgetting.apply(entry)
    assert scene.kept == [scene.user_id]
    assert await scene.applied() == [entry.entry_id]


async def test_items_are_erased_and_the_person_stays(scene: Scene) -> None:
    payee = await scene.books.payee()
    await scene.books.instructions.accept_payee(payee)
    tokens = tuple(payee.element_tokens.values())
    before = await scene.readable_items()
    entry = Erasure(
        entry_id=f"ers_{ULID()}", kind="items", user_id=scene.user_id, subject_id="cls_1",
        detail=ErasureDetail(tokens=tokens), at=NOW,
    )  # fmt: skip
    await scene.forgetting.apply(entry)
    await scene.forgetting.apply(entry)
    assert await scene.readable_items() == before - len(tokens)
    await scene.books.vault.ensure_user_key(scene.user_id)


async def test_what_was_purged_from_the_retention_store_is_purged_again(scene: Scene) -> None:
    merchant = await scene.books.value("SELECT merchant_id FROM app.end_user WHERE id = :u", u=scene.user_id)
    record = RetainedRecord(
        record_id=f"ret_{ULID()}", user_id=scene.user_id, merchant_id=merchant, kind=RetainedKind.TRANSACTION,
        source_id="pay_1", event_on=date(2026, 11, 30), content={"amount_minor": 1},
    )  # fmt: skip
    await scene.retention.keep([record])
    key_id = await scene.books.value("SELECT key_id FROM retention.record")
    entry = Erasure(
        entry_id=f"ers_{ULID()}", kind="retention", subject_id="purge-2037-01-01",
        detail=ErasureDetail(record_ids=(record.record_id,), key_ids=(key_id,)), at=datetime(2037, 1, 1, 4, tzinfo=UTC),
    )  # fmt: skip
    await scene.forgetting.apply(entry)
    await scene.forgetting.apply(entry)
    assert await scene.books.value("SELECT ciphertext IS NULL FROM retention.record")
    async with scene.database.key_owner_engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT wrapped_key IS NULL FROM keys.retention_key"))


async def test_only_what_these_data_have_not_seen_is_carried_out_and_in_order(scene: Scene) -> None:
    done = scene.person("usr_unknown_1")
    await scene.forgetting.apply(done)
    missing = [await scene.erasures.add(scene.person(f"usr_unknown_{number}")) for number in (2, 3)]
    assert await scene.forgetting.missing.count() == 2
    assert await scene.forgetting.apply_missing() == 2
    assert await scene.applied() == [done.entry_id, *(entry.entry_id for entry in missing)]
    assert await scene.forgetting.apply_missing() == 0


async def test_a_user_whom_the_data_do_not_know_gets_no_key_any_more(scene: Scene) -> None:
    await scene.forgetting.apply(scene.person("usr_of_later"))
    with pytest.raises(UserErasedError):
        await scene.books.vault.ensure_user_key("usr_of_later")


async def test_nothing_starts_on_data_that_have_not_forgotten(scene: Scene) -> None:
    await scene.erasures.add(scene.person())
    for engine in (scene.database.app_engine, scene.database.ops_engine):
        missing = MissingErasures(engine, ErasureList(scene.database.erasure_ops_engine))
        with pytest.raises(NotForgottenYetError, match="1 entries of the erasure list"):
            await missing.refuse_until_none(patience_seconds=0)


async def test_a_process_that_starts_beside_the_worker_waits_until_that_has_forgotten(scene: Scene) -> None:
    await scene.erasures.add(scene.person())
    waiting = scene.forgetting.missing.refuse_until_none(patience_seconds=30, poll_seconds=0.01)
    await asyncio.gather(waiting, scene.forgetting.apply_missing())
    assert await scene.forgetting.missing.count() == 0
