"""A machine is lost. What there is: secrets, backups, the copy of the erasure list, and docs/operators/backups.md."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from ulid import ULID

from runtime.postgres import EmbeddedPostgres
from runtime.stack import LocalStack
from storage.provision import plain_url
from tests.cli.test_backup_commands import folder, liushui, stack_in
from vault.erasures import Erasure, ErasureList

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
__all__ = ["folder"]
MAIN, KEYS = "LIUSHUI_OWNER_DATABASE_URL", "LIUSHUI_KEY_OWNER_DATABASE_URL"
ERASURES = "LIUSHUI_ERASURE_OWNER_DATABASE_URL"
_KEY = """
    INSERT INTO keys.user_key (user_id, wrapped_key, master_key_id, created_at)
    VALUES ('usr_1', decode(repeat('00', 40), 'hex'), 'mk_1', now() - interval '1 hour')"""


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="liushui-elsewhere-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def ask(stack: LocalStack, database: str, statement: str) -> Any:
    async def work() -> Any:
        connection = await asyncpg.connect(plain_url(stack.environment["migrations"][database]))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(work())


def forget(stack: LocalStack) -> None:
    async def work() -> None:
        engine = create_async_engine(stack.environment["migrations"][ERASURES])
        entry = Erasure(
            entry_id=f"ers_{ULID()}", kind="person", user_id="usr_1", subject_id="cls_1", at=datetime.now(UTC)
        )
        await ErasureList(engine).add(entry)
        await engine.dispose()

    asyncio.run(work())


def run(server: EmbeddedPostgres, program: str, *words: str) -> None:
    url = server.admin_url
    where = ["--maintenance-db", url] if program in {"dropdb", "createdb"} else []
    subprocess.run([str(server.binary(program)), *where, *words], check=True)


def test_a_stack_is_built_up_again_on_another_machine_and_has_forgotten(folder: Path, elsewhere: Path) -> None:
    old, backups, copy = stack_in(folder), elsewhere / "backups", elsewhere / "erasures.dump"
    old.start()
    ask(old, KEYS, _KEY)
    assert liushui("backup", "--to", backups, "--folder", folder).returncode == 0
    forget(old)
    erasures = plain_url(old.environment["migrations"][ERASURES])
    run(EmbeddedPostgres(folder / "postgres"), "pg_dump", "--format=custom", "--file", str(copy), "--dbname", erasures)
    old.stop()

    (elsewhere / "new").mkdir()
    shutil.copy(folder / "secrets.json", elsewhere / "new")
    new, server = stack_in(elsewhere / "new"), EmbeddedPostgres(elsewhere / "new" / "postgres")
    new.start()
    new.stop()
    restore = ("restore", "--from", backups, "--folder", elsewhere / "new", "--replace")
    assert "another institution's erasure list" in liushui(*restore).stderr
    server.start()
    run(server, "dropdb", "liushui_erasures")
    run(server, "createdb", "--owner", "liushui_erasures_owner", "--template", "template0", "liushui_erasures")
    into = server.admin_url.removesuffix("/postgres") + "/liushui_erasures"
    run(server, "pg_restore", "--no-owner", "--role", "liushui_erasures_owner", "--dbname", into, str(copy))
    server.stop()
    # Of somebody whom the books do not know there is nothing to copy: whoever restores has to say that this is meant.
    assert "say --accept-loss. Of: usr_1." in liushui(*restore).stderr
    restored = liushui(*restore, "--accept-loss")
    assert "1 entries of the erasure list were carried out" in restored.stdout, restored.stderr
    new.start()
    assert ask(new, KEYS, "SELECT wrapped_key IS NULL FROM keys.user_key WHERE user_id = 'usr_1'")
    assert ask(new, MAIN, "SELECT count(*) FROM app.applied_erasure") == 1
    new.stop()
