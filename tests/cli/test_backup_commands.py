"""`liushui backup` and `liushui restore` as a person runs them, on the database of a local stack."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pyrage import x25519

from cli.stack import local_stack
from runtime.postgres import EmbeddedPostgres
from runtime.stack import LocalStack
from storage.provision import plain_url
from tests.conftest import Database

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below a folder that every account may enter, so that PostgreSQL under root keeps its data here too."""
    path = Path(tempfile.mkdtemp(prefix="liushui-backups-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def stack_in(folder: Path) -> LocalStack:
    """The database alone; `liushui restore` finds the same server in its folder."""
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    return local_stack(folder, parts=("postgres",), postgres=server)


def liushui(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIUSHUI_")}
    command = [sys.executable, "-m", "cli", *map(str, words)]
    return subprocess.run(
        command, cwd=PROJECT, env=environment | variables, capture_output=True, text=True, timeout=100, check=False
    )


def ask(stack: LocalStack, statement: str) -> object:
    async def work() -> object:
        owner = stack.environment["migrations"]["LIUSHUI_OWNER_DATABASE_URL"]
        connection = await asyncpg.connect(plain_url(owner))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(work())


@pytest.mark.long
def test_a_backup_is_taken_of_a_running_stack_and_put_back_into_one_that_is_down(folder: Path) -> None:
    stack, backups = stack_in(folder), folder / "backups"
    stack.start()
    try:
        taken = liushui("backup", "--to", backups, "--folder", folder)
        assert taken.returncode == 0, taken.stderr
        assert taken.stdout == "The backup is complete. The erasure list is not in it: it has to outlive the backups.\n"
        assert "main.dump.age" in taken.stderr
        ask(
            stack, "INSERT INTO app.merchant (id, name, contract_until, created_at) VALUES ('mch_1', 'L', now(), now())"
        )
        running = liushui("restore", "--from", backups, "--folder", folder, "--replace")
        assert (running.returncode, "stop it first" in running.stderr) == (1, True)
    finally:
        stack.stop()
    restored = liushui("restore", "--from", backups, "--folder", folder, "--replace")
    assert restored.returncode == 0, restored.stderr
    assert "are in place; 0 entries of the erasure list were carried out on them" in restored.stdout
    stack.start()
    try:
        assert ask(stack, "SELECT count(*) FROM app.merchant WHERE id = 'mch_1'") == 0
    finally:
        stack.stop()


@pytest.mark.long
def test_a_folder_without_a_stack_or_without_backups_is_a_sentence(folder: Path) -> None:
    none = liushui("backup", "--to", folder / "backups", "--folder", folder)
    assert (none.returncode, "There is no local stack" in none.stderr) == (1, True)
    nothing = liushui("restore", "--from", folder / "backups", "--folder", folder)
    assert (nothing.returncode, "There is no backup of the books" in nothing.stderr) == (1, True)
    assert "Traceback" not in none.stderr + nothing.stderr


@pytest.mark.long
async def test_the_environment_says_which_databases_are_meant_and_the_programs_are_in_the_path(
    database: Database, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    await database.make_erasures()
    identity = x25519.Identity.generate()
    variables = {
        "LIUSHUI_ENVIRONMENT": "production",
        "LIUSHUI_OWNER_DATABASE_URL": database.owner_url,
        "LIUSHUI_KEY_OWNER_DATABASE_URL": database.key_owner_url,
        "LIUSHUI_ERASURE_OWNER_DATABASE_URL": database.erasure_owner_url,
        "LIUSHUI_BACKUP_PUBLIC_KEY": str(identity.to_public()),
        "PATH": f"{postgres_server.binary('pg_dump').parent}:{os.environ['PATH']}",
    }
    taken = await asyncio.to_thread(liushui, "backup", "--to", tmp_path, **variables)
    assert taken.returncode == 0, taken.stderr
    without = await asyncio.to_thread(liushui, "restore", "--from", tmp_path, "--rehearse", **variables)
    assert without.returncode == 2
    assert "LIUSHUI_BACKUP_KEY is not set" in without.stderr
    key = base64.b64encode(bytes(32)).decode()
    variables |= {
        "LIUSHUI_BACKUP_KEY": str(identity),
        "LIUSHUI_ADMIN_DATABASE_URL": postgres_server.admin_url,
        "LIUSHUI_MASTER_KEY": key,
        "LIUSHUI_INDEX_KEY": key,
        "LIUSHUI_RETENTION_PUBLIC_KEY": str(x25519.Identity.generate().to_public()),
    }
    rehearsed = await asyncio.to_thread(liushui, "restore", "--from", tmp_path, "--rehearse", **variables)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "This was a rehearsal: nothing was changed." in rehearsed.stdout
    for secret in (str(identity), postgres_server.admin_url, database.owner_url):
        assert secret not in rehearsed.stderr + rehearsed.stdout + taken.stderr
