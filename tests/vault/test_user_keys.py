"""One data key a user, wrapped; raced for, kept in memory for a short while, destroyed for good."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from domain.personal_data import PersonalField, Purpose
from tests.vault.conftest import ELEMENTS, MASTER_KEY, VaultCase
from vault.errors import MasterKeyMissingError, SealBrokenError, UserErasedError, UserKeyMissingError
from vault.rotation import rewrap_user_keys
from vault.sealing import MasterKeys, new_key
from vault.user_keys import UserKeys, _DataKey
from vault.vault import Vault

_ROOT = Path(__file__).resolve().parents[2]
_RACER = """
import asyncio, hashlib, sys
from datetime import UTC, datetime
from storage.database import create_engine
from vault.sealing import MasterKeys
from vault.user_keys import UserKeys, _DataKey

async def main():
    engine = create_engine(sys.argv[1])
    keys = UserKeys(engine, MasterKeys([bytes(range(32))]))
    async with engine.connect():
        print("ready", flush=True)
        sys.stdin.readline()
    users = [f"usr_{n}" for n in range(40)]
    await asyncio.gather(*(keys.ensure(user, datetime.now(UTC)) for user in users))
    print(hashlib.sha256(b"".join([await keys.get(user) for user in users])).hexdigest())
    await engine.dispose()

asyncio.run(main())
"""


async def test_two_processes_that_race_to_create_keys_get_the_same_ones(case: VaultCase) -> None:
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _RACER,
            case.database.key_app_url,
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert await racer.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(racer.communicate(b"go\n") for racer in racers))
    assert len({digest for digest, _ in answers}) == 1
    assert [racer.returncode for racer in racers] == [0, 0]
    (counted,) = await case.rows("SELECT count(*) AS n FROM keys.user_key", case.database.key_owner_engine)
    assert counted["n"] == 40


async def test_a_destroyed_key_leaves_what_it_sealed_unreadable(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    _, theirs = await case.enrol(vault)
    await vault.destroy_user_key(user_id, "process:close_account", "account_closed")
    for process in (vault, case.open_vault()):
        with pytest.raises(UserErasedError):
            await process.reveal(user_id, [items[0].token], Purpose.QUICK_PAY, "worker")
        with pytest.raises(UserErasedError):
            # As from a backup of the main database.
            await process.open_items(user_id, items, Purpose.QUICK_PAY)
        assert await process.masked(user_id, [item.token for item in items]) == {}
    left = await case.rows("SELECT user_id, count(*) AS n FROM vault.item WHERE ciphertext IS NOT NULL GROUP BY 1")
    assert left == [{"user_id": theirs[0].user_id, "n": 4}]


async def test_a_destroyed_key_cannot_be_recreated(case: VaultCase, vault: Vault) -> None:
    user_id, _ = await case.enrol(vault)
    destroyed_at = await vault.destroy_user_key(user_id, "staff:7", "account_closed")
    case.clock.advance(60)
    assert await vault.destroy_user_key(user_id, "staff:8", "other") == destroyed_at
    for process in (vault, case.open_vault()):
        with pytest.raises(UserErasedError):
            await process.ensure_user_key(user_id)
        with pytest.raises(UserErasedError):
            await process.seal(user_id, ELEMENTS)
    (row,) = await case.rows("SELECT * FROM keys.user_key", case.database.key_owner_engine)
    assert (row["wrapped_key"], row["destroyed_by"], row["destroy_reason"]) == (None, "staff:7", "account_closed")
    restore = (
        "UPDATE keys.user_key SET wrapped_key = decode(repeat('00', 60), 'hex'),"
        " destroyed_at = NULL, destroyed_by = NULL, destroy_reason = NULL"
    )
    for statement in (restore, "DELETE FROM keys.user_key", "TRUNCATE keys.user_key"):
        with pytest.raises(sa.exc.DBAPIError, match="destroyed"):
            await case.run(statement, case.database.key_owner_engine)


async def test_a_user_destroyed_before_having_a_key_never_gets_one(case: VaultCase, vault: Vault) -> None:
    await vault.destroy_user_key("usr_early", "staff:7", "account_closed")
    with pytest.raises(UserErasedError):
        await vault.ensure_user_key("usr_early")


class CountingUserKeys(UserKeys):
    """Counts the reads of the key database, and lets a test hold them back."""

    def __init__(self, case: VaultCase, *, cache_size: int = 4096) -> None:
        super().__init__(
            case.database.key_app_engine,
            MasterKeys([MASTER_KEY]),
            monotonic=case.clock.monotonic,
            cache_size=cache_size,
        )
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.has_read = asyncio.Event()

    async def _load(self, user_id: str) -> _DataKey:
        self.reads += 1
        data_key = await super()._load(user_id)
        self.has_read.set()
        await self.may_answer.wait()
        return data_key


async def test_a_key_is_read_once_for_all_who_ask_and_again_after_thirty_seconds(case: VaultCase, vault: Vault) -> None:
    await vault.ensure_user_key("usr_1")
    keys = CountingUserKeys(case)
    assert len(set(await asyncio.gather(*(keys.get("usr_1") for _ in range(50))))) == 1
    case.clock.advance(29.9)
    await keys.get("usr_1")
    assert keys.reads == 1
    case.clock.advance(0.2)
    await keys.get("usr_1")
    assert keys.reads == 2


async def test_a_caller_that_gives_up_does_not_take_the_key_from_the_others(case: VaultCase, vault: Vault) -> None:
    await vault.ensure_user_key("usr_1")
    keys = CountingUserKeys(case)
    keys.may_answer.clear()
    first, second = asyncio.create_task(keys.get("usr_1")), asyncio.create_task(keys.get("usr_1"))
    await keys.has_read.wait()
    first.cancel()
    keys.may_answer.set()
    assert len(await second) == 32
    assert first.cancelled()
    assert keys.reads == 1


async def test_a_key_that_is_destroyed_while_it_is_read_is_not_kept(case: VaultCase, vault: Vault) -> None:
    await vault.ensure_user_key("usr_1")
    keys = CountingUserKeys(case)
    keys.may_answer.clear()
    reading = asyncio.create_task(keys.get("usr_1"))
    await keys.has_read.wait()
    await keys.destroy("usr_1", "staff:7", "account_closed", case.clock.now)
    keys.may_answer.set()
    await reading
    with pytest.raises(UserErasedError):
        await keys.get("usr_1")


async def test_memory_holds_a_bounded_number_of_keys(case: VaultCase, vault: Vault) -> None:
    keys = CountingUserKeys(case, cache_size=2)
    for user in ("usr_1", "usr_2", "usr_3"):
        await keys.ensure(user, case.clock.now)
    await keys.get("usr_3")
    await keys.get("usr_2")
    assert keys.reads == 0
    await keys.get("usr_1")
    assert keys.reads == 1


async def test_a_failed_read_is_not_remembered(case: VaultCase, vault: Vault) -> None:
    keys = CountingUserKeys(case)
    with pytest.raises(UserKeyMissingError):
        await keys.get("usr_1")
    await vault.ensure_user_key("usr_1")
    assert len(await keys.get("usr_1")) == 32


async def test_a_wrapped_key_opens_only_for_its_user_and_under_its_master_key(case: VaultCase, vault: Vault) -> None:
    master_keys = MasterKeys([MASTER_KEY])
    wrapped = master_keys.wrap("usr_1", new_key())
    with pytest.raises(SealBrokenError):
        master_keys.unwrap("usr_2", wrapped, master_keys.current_id)
    with pytest.raises(MasterKeyMissingError):
        MasterKeys([bytes(32)]).unwrap("usr_1", wrapped, master_keys.current_id)


@pytest.mark.parametrize("keys", [[], [b"short"], [bytes(31)], [bytes(64)]])
def test_a_master_key_of_another_size_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        MasterKeys(keys)


async def test_the_master_key_is_rotated_while_old_and_new_processes_run(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault, {PersonalField.NAME: "张三"})
    erased_id, _ = await case.enrol(vault)
    await vault.destroy_user_key(erased_id, "staff:7", "account_closed")
    new = bytes(range(50, 82))
    assert await rewrap_user_keys(case.database.key_owner_engine, MasterKeys([new, MASTER_KEY])) == 1
    assert await rewrap_user_keys(case.database.key_owner_engine, MasterKeys([new, MASTER_KEY])) == 0
    for process in (case.open_vault(master_keys=[new]), case.open_vault(master_keys=[MASTER_KEY, new])):
        assert await process.open_items(user_id, items, Purpose.QUICK_PAY) == {PersonalField.NAME: "张三"}
        with pytest.raises(UserErasedError):
            await process.ensure_user_key(erased_id)
    with pytest.raises(MasterKeyMissingError):
        await case.open_vault().open_items(user_id, items, Purpose.QUICK_PAY)
