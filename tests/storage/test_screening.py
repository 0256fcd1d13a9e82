"""Lists loaded by versions, and users and payees compared with them outside of payouts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import ErrorCode, NotAllowedError, RefusedError
from domain.screening import ListEntry, NewList
from screening.rounds import ScreeningRounds
from storage.database import create_engine
from storage.screening import ScreeningBook, ScreeningLists, load_list_as_owner
from tests.conftest import Database
from tests.storage.assessed import CODES, Assessed, entry, open_assessed
from tests.storage.books import ELEMENTS, NOW, Books
from tests.storage.deciders import Deciders

LISTED = entry(ELEMENTS["name"])


@pytest.fixture
async def house(books: Books) -> AsyncIterator[Assessed]:
    async with open_assessed(books) as assessed:
        yield assessed


@pytest.fixture
async def lists(database: Database) -> AsyncIterator[ScreeningLists]:
    ops = create_engine(database.ops_url)
    yield ScreeningLists(ops)
    await ops.dispose()


def listed(*entries: ListEntry, code: str = "MPS") -> NewList:
    return NewList(code=code, source="a notice", entries=entries)


async def until_done(rounds: ScreeningRounds) -> int:
    screened = 0
    while count := await rounds.one():
        screened += count
    return screened


async def in_force(house: Assessed) -> dict[str, list[Any]]:
    _, entries = await ScreeningBook(house.books.app).entries()
    return {found.entry.key: [*found.entry.names] for found in entries}


async def test_a_list_is_taken_over_whole_by_versions_and_the_same_again_only_confirms_it(
    house: Assessed, lists: ScreeningLists, deciders: Deciders
) -> None:
    who, request = deciders.people["anna"], "req_1"
    first = await lists.load(listed(entry("甲"), entry("乙", key="E-2")), NOW, who, request)
    assert (first["version"], first["entries"], first["is_new"], first["loaded_by"]) == (4, 2, True, "operator:anna")
    # Another order is the same list.
    later = NOW + timedelta(days=1)
    again = await lists.load(listed(entry("乙", key="E-2"), entry("甲")), later, who, request)
    assert (again["version"], again["is_new"], again["confirmed_at"]) == (4, False, "2026-11-24T02:00:00.000Z")
    other = await lists.load(listed(entry("乙", key="E-2"), entry("甲之一"), code="MPS"), later, who, request)
    assert other["version"] == 5
    assert await in_force(house) == {"E-1": ["甲之一"], "E-2": ["乙"]}
    assert (await lists.load(listed(), later, who, request))["entries"] == 0
    assert await in_force(house) == {}
    # What ended is still there, with the version that took it away: a hit of then can be explained.
    kept = await house.books.value(
        "SELECT jsonb_agg(jsonb_build_array(names[1], since_version, until_version) ORDER BY since_version, names)"
        " FROM app.screening_entry"
    )
    assert kept == [["乙", 4, 6], ["甲", 4, 5], ["甲之一", 5, 6]]
    records = await house.books.value(
        "SELECT jsonb_agg(actor) FROM app.operation WHERE action = 'load_screening_list' AND request_id = 'req_1'"
    )
    assert records == ["operator:anna"] * 4


async def test_only_who_may_loads_a_list_and_only_one_that_has_to_be_asked(
    house: Assessed, lists: ScreeningLists, deciders: Deciders
) -> None:
    sue = await deciders.enrol("sue", "support")
    with pytest.raises(NotAllowedError) as denied:
        await lists.load(listed(LISTED), NOW, sue, "req_1")
    assert denied.value.code is ErrorCode.PERMISSION_MISSING
    with pytest.raises(RefusedError) as refused:
        await lists.load(listed(LISTED, code="XY"), NOW, deciders.people["anna"], "req_1")
    assert refused.value.code is ErrorCode.SCREENING_LIST_UNKNOWN
    assert await in_force(house) == {}
    assert {item["code"]: item["version"] for item in await lists.lists()} == dict(
        zip(CODES, (1, 2, 3), strict=True)
    ) | {}
    with pytest.raises(ValueError, match="two entries have one key"):
        listed(LISTED, LISTED)


async def test_two_loads_at_once_make_one_version_each(house: Assessed) -> None:
    async def load(name: str) -> None:
        async with house.books.owner.begin() as connection:
            await load_list_as_owner(connection, listed(entry(name)), NOW, "test")

    await asyncio.gather(*(load(name) for name in "甲乙丙丁"))
    assert len(await in_force(house)) == 1
    overlapping = await house.books.value(
        "SELECT count(*) FROM app.screening_entry WHERE until_version IS NULL OR until_version <= since_version"
    )
    assert overlapping == 1


async def test_new_users_and_payees_are_compared_and_a_changed_list_has_all_of_them_compared_again(
    house: Assessed,
) -> None:
    """P1.1.3: at onboarding and when a list changes."""
    assert await until_done(house.rounds) == 0
    binding = "UPDATE app.binding SET state = :state WHERE id = :id"
    await house.books.run("ALTER TABLE app.binding DISABLE TRIGGER legal_step")
    await house.books.run(binding, state="awaiting_code", id=house.books.binding_id)
    await house.books.run(binding, state="open", id=house.books.binding_id)
    payees = [await house.payee(name) for name in ("收款人丁", "吴有志", "收款人戊")]
    assert await until_done(house.rounds) == 4
    assert await until_done(house.rounds) == 0
    assert await house.books.value("SELECT count(*) FROM app.screening_match") == 0

    await house.load("UN", LISTED, entry("Wu Youzhi", key="E-2"))
    assert await house.rounds.one() == 2
    # A worker that dies here: the next one goes on where it was.
    assert await until_done(replace(house).rounds) == 2
    found = await house.books.value(
        "SELECT jsonb_object_agg(subject_id, jsonb_build_array(list_code, entry_key, comparison))"
        " FROM app.screening_match"
    )
    assert found == {house.books.user_id: ["UN", "E-1", "exact"], payees[1]: ["UN", "E-2", "pinyin"]}
    assert await house.cases(payees[1]) == ["screening_hit"]
    # The same entries again, in a further version: nobody hears of them twice.
    await house.load("UN", LISTED, entry("Wu Youzhi", key="E-2"), entry("Nemo", key="E-3"))
    assert await until_done(house.rounds) == 4
    assert await house.cases(payees[1]) == ["screening_hit"]
    # What waits for its release and is to go there stops at the claim.
    payout_id = await house.payout(payee_id=payees[1])
    await house.books.run(
        "UPDATE app.payout SET state = 'scheduled', screened_version = 5 WHERE id = :id", id=payout_id
    )
    assert await house.obstacle(payout_id) == "screening_outdated"


async def test_who_cannot_be_compared_stays_due_and_without_lists_everybody_does(house: Assessed) -> None:
    broken = await house.made.payee(element_tokens={"name": "tok_" + "0" * 26})
    await house.payee()
    stale = replace(house, today=NOW + timedelta(days=30))
    assert await stale.rounds.one() == 0
    assert await until_done(house.rounds) == 2
    row = await house.row("screening_subject", "subject_id", broken)
    assert (row["version"], row["fault"]) == (0, "not_compared")
    assert await replace(house, today=NOW + timedelta(hours=1)).rounds.one() == 1


async def test_a_name_that_comes_while_the_old_one_is_compared_is_not_missed(house: Assessed) -> None:
    payee_id = await house.payee()
    book = ScreeningBook(house.books.app)
    [subject] = await book.due(1, NOW)
    await house.books.run("UPDATE app.screening_subject SET changes = changes + 1 WHERE subject_id = :id", id=payee_id)
    await book.record(
        {"now": NOW.isoformat(), "subject_id": payee_id, "changes": subject.changes, "version": 3, "matches": []}
    )
    assert [due.subject_id for due in await book.due(5, NOW)] == [payee_id]


async def test_the_listed_identity_number_of_a_user_stops_service_in_the_background_too(house: Assessed) -> None:
    """L11."""
    await house.load("MPS", entry("别名", id_indexes=["person-1"]))
    await house.books.run("INSERT INTO app.screening_subject (subject_id) VALUES (:id)", id=house.books.user_id)
    assert await until_done(house.rounds) == 1
    assert (await house.row("end_user", "id", house.books.user_id))["state"] == "suspended"
    # A second round finds the same and does nothing more.
    await house.load("UN", entry("Nemo"))
    assert await until_done(house.rounds) == 1
    assert await house.books.value("SELECT count(*) FROM app.restriction") == 1
