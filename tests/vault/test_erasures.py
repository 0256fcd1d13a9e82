"""The erasure list: added to, never changed, and in one order for everybody."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from ulid import ULID

from tests.conftest import Database
from vault.erasures import Erasure, ErasureDetail, ErasureList, erasure_id

NOW = datetime(2026, 11, 30, 4, tzinfo=UTC)


def person(subject: str = "cls_1", user_id: str = "usr_1") -> Erasure:
    entry_id = erasure_id(NOW, "person", subject)
    detail = ErasureDetail(ended_on=date(2026, 11, 30))
    return Erasure(entry_id=entry_id, kind="person", user_id=user_id, subject_id=subject, detail=detail, at=NOW)


@pytest.fixture
def erasures(database: Database) -> ErasureList:
    return ErasureList(database.erasure_app_engine)


async def test_what_is_added_comes_back_as_it_was_with_its_position(erasures: ErasureList) -> None:
    items = Erasure(
        entry_id=f"ers_{ULID()}", kind="items", user_id="usr_2", subject_id="cls_2",
        detail=ErasureDetail(tokens=("tok_1", "tok_2")), at=NOW,
    )  # fmt: skip
    purged = Erasure(
        entry_id=f"ers_{ULID()}", kind="retention", subject_id="purge-2037-01-01",
        detail=ErasureDetail(record_ids=("ret_1",), key_ids=("rtk_1",)), at=NOW,
    )  # fmt: skip
    added = [await erasures.add(entry) for entry in (person(), items, purged)]
    assert [entry.position for entry in added] == sorted(entry.position or 0 for entry in added)
    assert await erasures.after(0) == added
    assert await erasures.after(added[0].position or 0, 1) == added[1:2]
    assert (await erasures.head()).position == added[-1].position


async def test_an_entry_added_again_is_the_same_one(erasures: ErasureList) -> None:
    both = await asyncio.gather(erasures.add(person()), erasures.add(person()))
    assert both[0] == both[1]
    assert len(await erasures.after(0)) == 1


async def test_an_entry_under_the_id_of_another_is_refused(erasures: ErasureList) -> None:
    await erasures.add(person())
    with pytest.raises(IntegrityError):
        await erasures.add(person(user_id="usr_other"))


async def test_positions_are_in_the_order_in_which_entries_can_be_seen(erasures: ErasureList) -> None:
    seen: list[int] = []

    async def look() -> None:
        while len(seen) < 40:
            last = seen[-1] if seen else 0
            seen.extend(entry.position or 0 for entry in await erasures.after(last))

    await asyncio.gather(look(), *(erasures.add(person(f"cls_{number}")) for number in range(40)))
    assert seen == sorted(seen)
    assert len(set(seen)) == 40


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE erasures.entry SET user_id = 'usr_other'",
        "DELETE FROM erasures.entry",
        "TRUNCATE erasures.entry",
        "UPDATE erasures.institution SET institution_id = gen_random_uuid()",
        "DELETE FROM erasures.institution",
    ],
)
async def test_not_even_the_owner_takes_anything_out_of_the_list(
    database: Database, erasures: ErasureList, statement: str
) -> None:
    await erasures.add(person())
    with pytest.raises(DBAPIError):
        async with database.erasure_owner_engine.begin() as connection:
            await connection.execute(sa.text(statement))
    assert len(await erasures.after(0)) == 1


async def test_the_operators_api_reads_the_list_and_adds_nothing(database: Database, erasures: ErasureList) -> None:
    await erasures.add(person())
    reader = ErasureList(database.erasure_ops_engine)
    assert len(await reader.after(0)) == 1
    with pytest.raises(DBAPIError, match="permission denied"):
        await reader.add(person("cls_2"))


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "person", "user_id": None},
        {"kind": "items", "user_id": "usr_1"},
        {"entry_id": "ers_short"},
        {"at": datetime(2026, 11, 30)},  # noqa: DTZ001
        {"name": "测试甲"},
    ],
)
def test_an_entry_that_does_not_say_what_is_erased_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Erasure.model_validate(person().model_dump() | {"detail": {}} | values)
