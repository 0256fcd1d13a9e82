"""`kill -9` at random moments of a backup and of a restore: books and keys are of one time, nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from runtime.backup_streams import check
from runtime.backups import BackupError, find
from runtime.secrets import load_or_create
from runtime.stack import LocalStack
from storage.provision import plain_url
from tests.cli.test_backup_commands import PROJECT, folder, liushui, stack_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
__all__ = ["folder"]
ROUNDS = 12
_LATER = {
    "LIUSHUI_OWNER_DATABASE_URL": "INSERT INTO app.merchant (id, name, contract_until, created_at)"
    " VALUES ('mch_later', 'Later', now(), now()) ON CONFLICT DO NOTHING",
    "LIUSHUI_KEY_OWNER_DATABASE_URL": "INSERT INTO keys.user_key (user_id, wrapped_key, master_key_id, created_at)"
    " VALUES ('usr_later', decode(repeat('00', 40), 'hex'), 'mk_1', now()) ON CONFLICT DO NOTHING",
}
_IS_LATER = {
    "LIUSHUI_OWNER_DATABASE_URL": "SELECT EXISTS (SELECT FROM app.merchant WHERE id = 'mch_later')",
    "LIUSHUI_KEY_OWNER_DATABASE_URL": "SELECT EXISTS (SELECT FROM keys.user_key WHERE user_id = 'usr_later')",
}


def ask_both(stack: LocalStack, statements: dict[str, str]) -> list[Any]:
    async def work() -> list[Any]:
        answers = []
        for name, statement in statements.items():
            connection = await asyncpg.connect(plain_url(stack.environment["migrations"][name]))
            answers.append(await connection.fetchval(statement))
            await connection.close()
        return answers

    return asyncio.run(work())


def killed(seconds: float, *words: str | Path) -> int:
    """Runs a command and kills it after so long; its exit code, if it was quicker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIUSHUI_")}
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, words)], cwd=PROJECT, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.kill()
    return process.returncode


@pytest.fixture
def stack(folder: Path) -> Iterator[LocalStack]:
    made = stack_in(folder)
    made.start()
    made.stop()
    yield made
    made.stop()


def test_a_backup_that_was_killed_is_no_backup_and_the_next_one_is_whole(stack: LocalStack) -> None:
    backups, chance = stack.folder / "backups", random.Random(6)
    identity = load_or_create(stack.folder / "secrets.json", data_exist=True).backup_key
    for _ in range(ROUNDS):
        killed(chance.uniform(0.8, 4.0), "backup", "--to", backups, "--folder", stack.folder)
        for kind in ("main", "keys"):
            try:
                found = find(backups, kind)  # type: ignore[arg-type]
            except BackupError:
                continue
            check(found, identity, lambda _: None)
    assert liushui("backup", "--to", backups, "--folder", stack.folder).returncode == 0
    assert not list(backups.rglob("*.unfinished"))


def test_a_restore_that_was_killed_leaves_both_databases_of_one_time_and_is_run_again(stack: LocalStack) -> None:
    backups, chance = stack.folder / "backups", random.Random(7)
    assert liushui("backup", "--to", backups, "--folder", stack.folder).returncode == 0
    restore = ("restore", "--from", backups, "--folder", stack.folder, "--replace")
    states = set()
    for _ in range(ROUNDS):
        stack.start()
        ask_both(stack, _LATER)
        stack.stop()
        killed(chance.uniform(1.5, 8.0), *restore)
        stack.start()
        main, keys = ask_both(stack, _IS_LATER)
        stack.stop()
        assert main == keys
        states.add(main)
    assert liushui(*restore).returncode == 0
    stack.start()
    assert ask_both(stack, _IS_LATER) == [False, False]
    names = ask_both(stack, {"LIUSHUI_OWNER_DATABASE_URL": "SELECT array_agg(datname::text) FROM pg_database"})[0]
    assert not [name for name in names if name.endswith(("_restoring", "_replaced"))]
    assert states == {True, False}, "the moments of the kills were not spread over the whole of a restore"
