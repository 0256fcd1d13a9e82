"""Backup and restore on the embedded server: what comes back is whole, sealed until then, and has forgotten again."""

from __future__ import annotations

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from pyrage import x25519

from runtime.backups import MANIFEST, BackupError, find, held
from storage.provision import plain_url
from tests.cli.backups_scene import Institution, with_life
from tests.conftest import Database
from tests.storage.books import ELEMENTS, Books, open_books
from vault.errors import UserErasedError


@pytest.fixture
async def books(database: Database) -> Books:
    async with open_books(database) as opened:
        await with_life(opened)
    return opened  # its engine is closed: whoever restores finds nobody connected


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.long
async def test_what_is_restored_is_what_was_and_what_came_after_is_gone(institution: Institution, books: Books) -> None:
    before = await institution.value("SELECT count(*) FROM ledger.transfer")
    await institution.back_up()
    await institution.run("UPDATE app.merchant SET name = 'after the backup'")
    done = await institution.restore()
    assert (done.forgotten, done.transfers) == (0, before)
    assert await institution.value("SELECT name FROM app.merchant LIMIT 1") != "after the backup"
    assert await institution.names_of(books.user_id) == [ELEMENTS["name"]] * 2
    # Rights are as they were, and nothing is left beside.
    assert len(await institution.databases()) == 3
    app = await asyncpg.connect(plain_url(institution.database.app_url))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("SELECT ciphertext FROM vault.item")
    await app.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(plain_url(institution.database.app_url), database=institution.database.key_name)


async def test_a_person_who_was_forgotten_after_the_backup_is_forgotten_in_what_is_restored(
    institution: Institution, books: Books
) -> None:
    await institution.back_up()
    entry = await institution.forget(books.user_id)
    done = await institution.restore()
    assert done.forgotten == 1
    assert await institution.value("SELECT entry_id FROM app.applied_erasure") == entry.entry_id
    assert await institution.value("SELECT count(*) FROM vault.item WHERE ciphertext IS NOT NULL") == 0
    assert await institution.key_value("SELECT count(*) FROM keys.user_key WHERE wrapped_key IS NOT NULL") == 0
    state = "SELECT state FROM app.end_user WHERE id = :u AND person_index IS NULL AND merchant_user_ref IS NULL"
    assert await institution.value(state, u=books.user_id) == "closed"
    with pytest.raises(UserErasedError):
        await institution.names_of(books.user_id)


@pytest.mark.long
async def test_what_the_law_keeps_of_a_person_is_there_after_a_backup_from_before_the_closing(
    institution: Institution, books: Books
) -> None:
    await institution.back_up()
    await institution.forget(books.user_id)
    kept = await institution.value("SELECT count(*) FROM retention.record WHERE user_id = :u", u=books.user_id)
    await institution.restore()
    again = await institution.value("SELECT count(*) FROM retention.record WHERE user_id = :u", u=books.user_id)
    assert again == kept > 0


async def test_files_are_sealed_private_and_hold_no_planted_value(institution: Institution) -> None:
    taken = await institution.back_up()
    assert {backup.file.name for backup in taken.made.values()} == {"main.dump.age", "keys.dump.age"}
    for path in files(institution.folder):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == ".lock", path
        content = path.read_bytes()
        assert b"PGDMP" not in content
        assert not any(value.encode() in content for value in ELEMENTS.values())
    for backup in taken.made.values():
        assert backup.file.read_bytes().startswith(b"age-encryption.org/v1")


async def test_a_backup_expires_the_keys_first_and_the_command_deletes_what_has_expired(
    institution: Institution,
) -> None:
    now = datetime.now(UTC)
    first = await institution.back_up(now - timedelta(days=40))
    second = await institution.back_up(now - timedelta(days=8))
    assert [gone.folder for gone in second.removed] == [first.made["main"].folder, first.made["keys"].folder]
    third = await institution.back_up(now)
    assert [gone.folder for gone in third.removed] == [second.made["keys"].folder]
    assert second.made["main"].file.exists()


async def refused(institution: Institution, sentence: str, **options: object) -> None:
    """Refused in that sentence, and nothing is changed."""
    before = await institution.databases()
    oid = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
    main, keys = await institution.value(oid), await institution.key_value(oid)
    with pytest.raises(BackupError, match=sentence):
        await institution.restore(**options)  # type: ignore[arg-type]
    assert (await institution.value(oid), await institution.key_value(oid)) == (main, keys)
    assert await institution.databases() <= before | {name + "_restoring" for name in before}


@pytest.mark.parametrize("kind", ["main", "keys"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
async def test_a_damaged_file_is_refused_before_anything_changes(
    institution: Institution, kind: str, damage: str
) -> None:
    taken = await institution.back_up()
    file = taken.made[kind].file  # type: ignore[index]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes({"cut": content[:-100], "flipped": content, "empty": b""}[damage])
    await refused(institution, "damaged|not what its manifest says")
    assert not any("Loading" in stage for stage in institution.stages)


async def test_the_wrong_key_is_refused(institution: Institution) -> None:
    await institution.back_up()
    await refused(institution, "LIUSHUI_BACKUP_KEY is not the key", identity=str(x25519.Identity.generate()))


async def test_an_expired_backup_of_the_keys_is_refused(institution: Institution) -> None:
    await institution.back_up()
    await refused(institution, "the keys .* expired on", at=datetime.now(UTC) + timedelta(days=8))


async def test_a_backup_of_another_institution_is_refused(institution: Institution) -> None:
    taken = await institution.back_up()
    for backup in taken.made.values():
        path = backup.folder / MANIFEST
        other = path.read_text().replace(str(backup.manifest.institution_id), "00000000-0000-4000-8000-000000000000")
        path.write_text(other)
    await refused(institution, "another institution")


async def test_a_backup_from_after_the_end_of_the_erasure_list_is_refused(institution: Institution) -> None:
    taken = await institution.back_up()
    path = taken.made["main"].folder / MANIFEST
    path.write_text(path.read_text().replace('"erasure_position": 0', '"erasure_position": 7'))
    await refused(institution, "entries of it are lost")


async def test_keys_from_before_the_books_are_refused(institution: Institution) -> None:
    earlier = await institution.back_up(datetime.now(UTC) - timedelta(hours=1))
    later = await institution.back_up()
    for backup in (later.made["keys"], earlier.made["main"]):
        (backup.folder / MANIFEST).unlink()
    await refused(institution, "is older than the backup of the books")


async def test_a_schema_that_this_release_does_not_know_is_refused(institution: Institution) -> None:
    taken = await institution.back_up()
    path, revision = taken.made["main"].folder / MANIFEST, taken.made["main"].manifest.revision
    path.write_text(path.read_text().replace(revision, "9999_future"))
    await refused(institution, "9999_future, which this release has not")


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[" * 100_000])
async def test_a_manifest_that_cannot_be_read_is_refused(institution: Institution, text: str) -> None:
    taken = await institution.back_up()
    (taken.made["main"].folder / MANIFEST).write_text(text)
    with pytest.raises(BackupError, match="cannot be read as the manifest"):
        find(institution.folder, "main")


async def test_newer_data_are_given_up_only_when_that_is_said(institution: Institution) -> None:
    await institution.back_up(datetime.now(UTC) - timedelta(minutes=1))
    await refused(institution, "was changed on .* say --replace", replace=False)
    await institution.restore(replace=True)


async def test_nothing_is_restored_below_running_processes(institution: Institution) -> None:
    await institution.back_up()
    process = await asyncpg.connect(plain_url(institution.database.app_url))
    await refused(institution, r"in use by template_app \(1\)")
    await process.close()


@pytest.mark.long
async def test_a_ledger_that_is_not_sound_is_not_put_into_place(institution: Institution) -> None:
    await institution.run("ALTER TABLE ledger.balance DISABLE TRIGGER USER")
    await institution.run("UPDATE ledger.balance SET posted = posted + 1")
    await institution.back_up()
    await refused(institution, "is not sound, and was not put into place")


@pytest.mark.long
async def test_a_restore_that_was_killed_is_run_again(institution: Institution) -> None:
    await institution.back_up()
    name = institution.database.name
    admin = await asyncpg.connect(plain_url(institution.server.admin_url))
    for left in (f"{name}_restoring", f"{name}_replaced", f"{name}_keys_restoring"):
        await admin.execute(f'CREATE DATABASE "{left}"')
    await admin.close()
    await institution.restore()
    assert len(await institution.databases()) == 3


@pytest.mark.long
async def test_what_a_killed_backup_left_behind_is_removed_and_is_no_backup(institution: Institution) -> None:
    left = institution.folder / "main" / "20990101T000000Z.unfinished"
    left.mkdir(parents=True)
    (left / MANIFEST).write_text("{}")
    taken = await institution.back_up()
    assert not left.exists()
    assert find(institution.folder, "main") == taken.made["main"]


async def test_a_database_that_cannot_be_dumped_leaves_no_backup(institution: Institution) -> None:
    admin = await asyncpg.connect(plain_url(institution.database.admin_url))
    await admin.execute("CREATE TABLE public.of_somebody_else (x int)")
    await admin.close()
    with pytest.raises(BackupError, match="permission denied"):
        await institution.back_up()
    with pytest.raises(BackupError, match="There is no backup"):
        find(institution.folder, "main")


@pytest.mark.long
async def test_a_rehearsal_shows_what_would_be_restored_while_everything_runs_and_changes_nothing(
    institution: Institution, books: Books
) -> None:
    process = await asyncpg.connect(plain_url(institution.database.app_url))
    await institution.back_up()
    await institution.forget(books.user_id)
    seen: list[object] = []

    def inspect(main_url: str, key_url: str) -> None:
        async def look() -> None:
            for url, query in (
                (main_url, "SELECT count(*) FROM vault.item WHERE ciphertext IS NOT NULL"),
                (key_url, "SELECT count(*) FROM keys.user_key WHERE wrapped_key IS NOT NULL"),
            ):
                connection = await asyncpg.connect(plain_url(url))
                seen.append(await connection.fetchval(query))
                await connection.close()

        asyncio.run(look())

    oid = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
    before = await institution.value(oid)
    assert (await institution.rehearse(inspect)).forgotten == 1
    assert seen == [0, 0]
    assert await institution.value(oid) == before
    assert len(await institution.databases()) == 3
    await process.close()


async def test_a_rehearsal_of_a_damaged_backup_fails_and_leaves_nothing(institution: Institution) -> None:
    taken = await institution.back_up()
    taken.made["main"].file.write_bytes(b"damaged")
    with pytest.raises(BackupError, match="damaged"):
        await institution.rehearse()
    assert len(await institution.databases()) == 3


@pytest.mark.long
async def test_two_backups_to_one_folder_do_not_meet(institution: Institution) -> None:
    with held(institution.folder / "keys"), pytest.raises(BackupError, match=r"Another backup to .* is under way"):
        await institution.back_up()
    await institution.back_up()
