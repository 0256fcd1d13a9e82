"""Copies that the law has us keep, on data older than the copies: none is hollow, none is lost unheard (P4.5)."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from pyrage import x25519
from ulid import ULID

from domain.case_texts import explain_case
from domain.personal_data import PersonalField
from domain.retention import RetainedKind
from storage.closures import ClosureBook
from tests.conftest import Database
from tests.storage.books import ELEMENTS, Books, open_books
from tests.storage.settling import collected, refund_ends, refunded
from vault.erasures import Erasure, ErasureDetail, ErasureList
from vault.errors import UserErasedError, UserKeyDestroyedError, UserKeyMissingError
from vault.forgetting import Forgetting
from vault.leaving import Retaining
from vault.retention import RetainedRecord, RetentionStore

NOW = datetime(2026, 11, 30, 4, tzinfo=UTC)
PUBLIC_KEY = str(x25519.Identity.generate().to_public())
ENDED = date(2026, 11, 20)


class House:
    """A user with a payment of which a part was refunded, and what keeps and forgets."""

    def __init__(self, database: Database, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.books = database, books
        self.retention = RetentionStore(books.app, database.key_app_engine, PUBLIC_KEY, lambda: NOW)
        self.erasures = ErasureList(database.erasure_app_engine)
        self.kept: dict[tuple[RetainedKind, str], RetainedRecord] = {}
        keep = self.retention.keep

        async def seen(records: list[RetainedRecord]) -> int:
            self.kept |= {(record.kind, record.source_id): record for record in records}
            return await keep(records)

        monkeypatch.setattr(self.retention, "keep", seen)
        self.begin_anew()

    def begin_anew(self) -> None:
        """As a process that starts."""
        book = ClosureBook(self.books.app)
        self.retaining = Retaining(book, self.books.vault, self.retention, lambda: str(ULID()), lambda: NOW)
        self.forgetting = Forgetting(
            self.books.app, self.books.vault, self.retention, self.erasures, self.retaining.everything
        )

    def entry(self, **changes: Any) -> Erasure:
        values = {
            "entry_id": f"ers_{ULID()}", "kind": "person", "user_id": self.books.user_id, "subject_id": "cls_1",
            "detail": ErasureDetail(ended_on=ENDED), "at": NOW,
        } | changes  # fmt: skip
        return Erasure.model_validate(values)

    async def destroy_key(self) -> None:
        """As keys that are newer than the books show it: the items are as they were."""
        async with self.database.key_app_engine.begin() as connection:
            statement = sa.text("SELECT keys.destroy_user_key(:u, 'test', 'forgotten', :at)")
            await connection.execute(statement, {"u": self.books.user_id, "at": NOW})
        self.books.vault._user_keys._forget(self.books.user_id)

    async def tokens(self) -> dict[str, str]:
        found = await self.books.value(
            "SELECT element_tokens FROM app.binding WHERE user_id = :u", u=self.books.user_id
        )
        return dict(found)

    async def records(self) -> set[tuple[str, str]]:
        async with self.books.owner.connect() as connection:
            return {
                tuple(row) for row in await connection.execute(sa.text("SELECT kind, source_id FROM retention.record"))
            }

    async def cases(self) -> list[dict[str, Any]]:
        async with self.books.owner.connect() as connection:
            return [
                dict(row) for row in (await connection.execute(sa.text("SELECT * FROM app.case_record"))).mappings()
            ]


@pytest.fixture
async def house(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with open_books(database) as books:
        await books.fund(50_000)
        yield House(database, books, monkeypatch)


async def with_a_refunded_payment(house: House) -> tuple[str, str]:
    payment = await collected(house.books)
    refund = await refunded(house.books, payment, 1_000)
    await refund_ends(house.books, payment, refund, "succeeded")
    return payment["id"], refund["id"]


async def test_no_copy_is_made_without_what_a_destroyed_key_took_and_people_hear_of_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    payment, refund = await with_a_refunded_payment(house)
    await house.destroy_key()
    with caplog.at_level(logging.WARNING):
        await house.forgetting.apply(house.entry())
    # A refund names nobody: its copy is whole.
    assert await house.records() == {("transaction", refund)}
    assert house.retaining.lost == {house.books.user_id: 2}
    [case] = await house.cases()
    assert re.fullmatch(r"case_[0-9A-Z]{20,40}", case["id"])
    assert (case["kind"], case["subject_id"], case["merchant_id"], case["opened_at"]) == (
        "retained_copies_lost", house.books.user_id, house.books.merchant_id, NOW,
    )  # fmt: skip
    assert explain_case(case["kind"]) is not None
    logged = [(record.subject_id, record.copies) for record in caplog.records if "copied no more" in record.message]  # type: ignore[attr-defined]
    assert logged == [(house.books.user_id, 1)] * 2
    assert not any(value in caplog.text for value in ELEMENTS.values())
    assert payment not in {source for _, source in await house.records()}


async def test_what_the_user_had_erased_is_left_out_and_the_copy_is_made(house: House) -> None:
    payment, _ = await with_a_refunded_payment(house)
    await house.books.vault.erase_items(house.books.user_id, [(await house.tokens())["mobile"]])
    await house.forgetting.apply(house.entry())
    personal = house.kept[RetainedKind.TRANSACTION, payment].content["personal"]
    assert personal == {"card_number": ELEMENTS["card_number"]}
    [verified] = house.kept[RetainedKind.IDENTITY, "cls_1"].content["verified"]
    assert verified["name"] == ELEMENTS["name"]
    assert "mobile" not in verified
    assert (house.retaining.lost, await house.cases()) == ({}, [])


@pytest.mark.parametrize("step", ["destroy_user_key", "erased", "_FORGET_USER", "_APPLIED"])
async def test_a_crash_after_the_copies_loses_none_and_opens_no_case(
    house: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_refunded_payment(house)
    await crash_at(house, step, monkeypatch)
    made = await house.records()
    assert len(made) == 3
    house.begin_anew()
    await house.forgetting.apply_missing()
    assert await house.records() == made
    assert (house.retaining.lost, await house.cases()) == ({}, [])


@pytest.mark.parametrize("step", ["destroy_user_key", "erased", "_FORGET_USER", "_APPLIED"])
async def test_a_crash_after_a_loss_leaves_no_hollow_copy_either(
    house: House, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, refund = await with_a_refunded_payment(house)
    await house.destroy_key()
    await crash_at(house, step, monkeypatch)
    house.begin_anew()
    await house.forgetting.apply_missing()
    assert await house.records() == {("transaction", refund)}
    assert len(await house.cases()) == 1
    assert await house.forgetting.missing.count() == 0


async def crash_at(house: House, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies before the key is destroyed, the items are erased, the rows are emptied, or right at the end."""

    async def die(*_: Any, **__: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        if step == "destroy_user_key":
            patch.setattr(house.books.vault, "destroy_user_key", die)
        elif step == "erased":
            patch.setattr("vault.vault._ERASE_USER", sa.text("SELECT 1 / 0 WHERE :user_id <> '' AND :at IS NOT NULL"))
        else:
            broken = "SELECT 1 / 0" + (" WHERE :user_id <> '' AND :at IS NOT NULL" if step == "_FORGET_USER" else "")
            patch.setattr(f"vault.forgetting.{step}", sa.text(broken))
        with pytest.raises((ConnectionError, sa.exc.DBAPIError)):
            await house.forgetting.apply(house.entry())


async def test_of_a_person_whom_the_data_do_not_know_the_copies_are_lost_unless_they_are_there(house: House) -> None:
    known, unknown = f"usr_{ULID()}", f"usr_{ULID()}"
    await house.retention.keep(
        [
            RetainedRecord(
                record_id=f"ret_{ULID()}", user_id=known, merchant_id="mch_1", kind=RetainedKind.IDENTITY,
                source_id="cls_2", event_on=ENDED, content={},
            )
        ]
    )  # fmt: skip
    for user_id in (known, unknown, f"inb_{ULID()}"):
        await house.forgetting.apply(house.entry(user_id=user_id))
    assert house.retaining.lost == {unknown: 1}
    [case] = await house.cases()
    assert (case["subject_id"], case["merchant_id"]) == (unknown, "")


async def test_items_of_data_that_are_older_than_the_copies_are_copied_before_they_are_erased(house: House) -> None:
    payment, _ = await with_a_refunded_payment(house)
    items = ErasureDetail(tokens=((await house.tokens())["card_number"],))
    await house.forgetting.apply(house.entry(kind="items", detail=items))
    assert await house.records() == {("transaction", payment)}
    assert house.kept[RetainedKind.TRANSACTION, payment].content["personal"]["card_number"] == ELEMENTS["card_number"]


async def test_the_end_of_quick_pay_is_copied_with_who_it_was(house: House) -> None:
    items = ErasureDetail(tokens=((await house.tokens())["card_number"],), ended_on=ENDED)
    await house.forgetting.apply(house.entry(kind="items", detail=items))
    assert await house.records() == {("identity", "cls_1")}


async def test_a_key_that_was_never_there_stops_it_before_anything_is_destroyed(house: House) -> None:
    """Keys that are older than the books: newer ones may still be found."""
    async with house.database.key_owner_engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE keys.user_key DISABLE TRIGGER USER"))
        await connection.execute(sa.text("DELETE FROM keys.user_key"))
    house.books.vault._user_keys._forget(house.books.user_id)
    with pytest.raises(UserKeyMissingError):
        await house.forgetting.apply(house.entry())
    assert await house.books.value("SELECT count(*) FROM vault.item WHERE ciphertext IS NULL") == 0
    assert await house.cases() == []


async def test_errors_tell_an_erased_item_from_a_destroyed_key(house: House) -> None:
    tokens = await house.tokens()
    await house.books.vault.erase_items(house.books.user_id, [tokens["name"]])
    await house.books.vault.require_user_key(house.books.user_id)
    await house.destroy_key()
    with pytest.raises(UserKeyDestroyedError):
        await house.books.vault.require_user_key(house.books.user_id)
    with pytest.raises(UserErasedError):
        await house.books.vault.seal(house.books.user_id, {PersonalField.NAME: "测试甲"})
