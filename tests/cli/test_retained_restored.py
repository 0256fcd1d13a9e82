"""What the law keeps outlives a restore: carried over from what is in place, copied again, or lost aloud (P4.5d-e)."""

from __future__ import annotations

import base64
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from domain.retention import RetainedKind
from runtime.backups import BackupError
from tests.cli.backups_scene import INDEX_KEY, MASTER_KEY, RETENTION_PUBLIC_KEY, Institution, with_life
from tests.conftest import Database
from tests.runtime.test_forgotten_first import settings
from tests.storage.books import ELEMENTS, NOW, Books, open_books
from tests.storage.settling import collected
from vault.retention import RetainedRecord, RetentionStore
from wiring import open_stores

AT = "2026-11-30T04:00:00Z"
DECISION, LATER = f"dec_{ULID()}", f"dec_{ULID()}"
_DECISION = """
    INSERT INTO app.decision (id, kind, subject_id, ground, reason, second_person, requested_by, requested_at,
        expires_at, state, decided_by, decided_at)
    VALUES ('{id}', 'retention.hold', 'usr_1', 'proceedings', 'a lawsuit', true, 'chen', '{at}',
        '2027-11-30T04:00:00Z', '{state}', {by}, {decided})"""


NAMES = {"at": AT, "decision": DECISION, "later": LATER, "order": f"ord_{ULID()}", "hold": f"rth_{ULID()}"}
HOLD = "INSERT INTO retention.hold VALUES ('{hold}', 'usr_1', 'x', NULL, '{decision}', '{at}')"
WHAT_HAPPENED = (
    "UPDATE app.decision SET state = 'committed', decided_by = 'cai', decided_at = '{at}' WHERE id = '{decision}'",
    "INSERT INTO app.authority_order (id, decision_id, issuer, number, demands, subject_id, expires_at, registered_at)"
    " VALUES ('{order}', '{later}', 'court', '1', 'query', 'usr_1', '{at}', '{at}')",
    HOLD.replace("NULL", "'{order}'"),
    "INSERT INTO retention.access (decision_id, operator_id, record_ids, outcome, reason, at)"
    " VALUES ('{decision}', 'chen', '{{}}', 'refused', 'order_not_found', '{at}')",
    "INSERT INTO retention.lookup (operator_id, user_ids, outcome, at)"
    " VALUES ('chen', '{{usr_1}}', 'answered', '{at}')",
    "INSERT INTO retention.purge_report VALUES ('2026-11-29', '{at}', 0, 1, 0, 0, '{{\"held\": []}}')",
)


def decision(decision_id: str, state: str = "committed") -> str:
    by, decided = ("NULL", "NULL") if state == "requested" else ("'cai'", f"'{AT}'")
    return _DECISION.format(id=decision_id, at=AT, state=state, by=by, decided=decided)


@pytest.fixture
async def books(database: Database) -> Books:
    async with open_books(database) as opened:
        await with_life(opened)
        await collected(opened)
    return opened


async def forgotten_between(institution: Institution, user_id: str) -> list[RetainedRecord]:
    """As it always is after a week: the books of before, the keys of afterwards. Answers what was kept."""
    await institution.back_up(datetime.now(UTC) - timedelta(days=20))
    await institution.forget(user_id)
    await institution.back_up_keys_later()
    kept = await institution.retained()
    assert {record.kind for record in kept} == {RetainedKind.IDENTITY, RetainedKind.TRANSACTION}
    return kept


async def lost_cases(institution: Institution) -> list[str]:
    found = "SELECT coalesce(array_agg(subject_id), '{}') FROM app.case_record WHERE kind = 'retained_copies_lost'"
    return list(await institution.value(found))


async def test_copies_that_no_key_could_make_again_are_carried_over_whole(
    institution: Institution, books: Books
) -> None:
    kept = await forgotten_between(institution, books.user_id)
    done = await institution.restore()
    assert (done.forgotten, done.carried_over, done.lost, done.unreadable) == (1, len(kept), {}, None)
    assert await institution.retained() == kept
    assert ELEMENTS["name"] in json.dumps([record.content for record in kept], ensure_ascii=False)
    assert await lost_cases(institution) == []
    assert await institution.value("SELECT count(*) FROM vault.item WHERE ciphertext IS NOT NULL") == 0


@pytest.mark.long
async def test_without_a_database_in_place_it_is_refused_by_the_users_name_and_nothing_is_hollow(
    institution: Institution, books: Books
) -> None:
    await forgotten_between(institution, books.user_id)
    await institution.lose_the_books()
    with pytest.raises(BackupError, match=r"of 1 people .* 2 copies at least.* --accept-loss") as refused:
        await institution.restore()
    assert books.user_id in str(refused.value)
    assert not any(value in str(refused.value) for value in ELEMENTS.values())
    assert not await institution.is_there()
    done = await institution.restore(accept_loss=True)
    assert done.lost == {books.user_id: 2}
    assert await institution.retained() == []
    assert await lost_cases(institution) == [books.user_id]
    # What was accepted once is not asked again.
    await institution.back_up()
    assert (await institution.restore()).lost == {}


@pytest.mark.long
async def test_what_cannot_be_read_in_place_is_named_and_what_can_is_carried_over(
    institution: Institution, books: Books
) -> None:
    await forgotten_between(institution, books.user_id)
    await institution.run(decision(DECISION))
    await institution.run(HOLD.format(**NAMES))
    await institution.run("REVOKE SELECT ON retention.record, app.operation FROM current_user")
    with pytest.raises(BackupError, match=r"cannot be read \(test_.*: InsufficientPrivilegeError\)"):
        await institution.restore()
    done = await institution.restore(accept_loss=True)
    assert (done.lost, done.carried_over) == ({books.user_id: 2}, 0)
    assert done.unreadable is not None
    assert await institution.value("SELECT count(*) FROM retention.hold") == 1


@pytest.mark.long
async def test_a_rehearsal_shows_the_loss_too_and_changes_nothing(institution: Institution, books: Books) -> None:
    kept = await forgotten_between(institution, books.user_id)
    assert (await institution.rehearse()).carried_over == len(kept)
    assert await institution.retained() == kept
    await institution.lose_the_books()
    with pytest.raises(BackupError, match="--accept-loss"):
        await institution.rehearse()
    assert not await institution.is_there()
    await institution.restore(accept_loss=True)


async def test_copies_open_with_keys_that_are_older_than_they_are(institution: Institution, books: Books) -> None:
    """The wrapped keys of the copies are newer than both backups: they come along."""
    await institution.back_up()
    await institution.forget(books.user_id)
    kept = await institution.retained()
    await institution.restore()
    assert await institution.retained() == kept


@pytest.mark.long
async def test_a_copy_whose_key_is_nowhere_makes_room_for_another(institution: Institution, books: Books) -> None:
    await institution.back_up()
    await institution.forget(books.user_id)
    kept = await institution.retained()
    await institution.lose_the_books(institution.database.key_name)
    done = await institution.restore()
    assert (done.carried_over, done.lost, done.unreadable) == (0, {}, None)
    again = await institution.retained()
    assert [record.content for record in again] == [record.content for record in kept]


@pytest.mark.long
async def test_a_person_who_came_and_left_after_the_backup_is_not_forgotten_by_the_report(
    institution: Institution,
) -> None:
    await institution.back_up(datetime.now(UTC) - timedelta(days=20))
    newcomer = f"usr_{ULID()}"
    database = institution.database
    store = RetentionStore(database.app_engine, database.key_app_engine, RETENTION_PUBLIC_KEY, lambda: NOW)
    for kind in (RetainedKind.IDENTITY, RetainedKind.SOURCE_OF_FUNDS):
        record = RetainedRecord(
            record_id=f"ret_{ULID()}", user_id=newcomer, merchant_id="mch_1", kind=kind, source_id="cls_9",
            event_on=NOW.date(), content={"name": "测试乙"},
        )  # fmt: skip
        await store.keep([record])
    await institution.forget(newcomer)
    await institution.back_up_keys_later()
    assert (await institution.restore()).carried_over == 2
    assert {record.content["name"] for record in await institution.retained()} == {"测试乙"}
    await institution.lose_the_books()
    with pytest.raises(BackupError, match=newcomer):
        await institution.restore()
    assert (await institution.restore(accept_loss=True)).lost == {newcomer: 2}
    assert await lost_cases(institution) == [newcomer]


@pytest.mark.long
async def test_holds_and_who_opened_what_come_along_and_what_is_there_stays(institution: Institution) -> None:
    await institution.run(decision(DECISION, "requested"))
    await institution.back_up()
    await institution.run(decision(LATER))
    for statement in WHAT_HAPPENED:
        await institution.run(statement.format(**NAMES))
    before = [await institution.value(rows_of(table)) for table in TABLES]
    assert all(before)
    for _ in range(2):
        await institution.restore()
        assert [await institution.value(rows_of(table)) for table in TABLES] == before


TABLES = (
    "app.decision", "app.authority_order", "retention.hold", "retention.access", "retention.lookup",
    "retention.purge_report",
)  # fmt: skip


def rows_of(table: str) -> str:
    return f"SELECT jsonb_agg(to_jsonb(r) ORDER BY to_jsonb(r)::text)::text FROM {table} r"  # noqa: S608


async def test_a_worker_that_finds_data_restored_by_hand_keeps_nothing_hollow_and_opens_a_case(
    institution: Institution, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """As after pg_restore: the books of before beside the keys of now. The worker begins with `apply_missing`."""
    await forgotten_between(institution, books.user_id)
    await institution.put_the_books_back_by_hand()
    given = settings(
        institution.database,
        master_key=base64.b64encode(MASTER_KEY).decode(),
        index_key=base64.b64encode(INDEX_KEY).decode(),
        retention_public_key=RETENTION_PUBLIC_KEY,
    )
    with caplog.at_level(logging.WARNING):
        async with open_stores(given) as stores:
            assert await stores.forgetting().apply_missing() == 1
    assert await institution.retained() == []
    assert await lost_cases(institution) == [books.user_id]
    assert {record.subject_id for record in caplog.records if "copied no more" in record.message} == {books.user_id}  # type: ignore[attr-defined]
    state = "SELECT state FROM app.end_user WHERE id = :u AND merchant_user_ref IS NULL"
    assert await institution.value(state, u=books.user_id) == "closed"
