"""The embedded server: comes up, is remembered, survives a kill, asks for its password, says what is wrong."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from runtime import postgres
from runtime.postgres import EmbeddedPostgres, PostgresStartError


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="liushui-pg-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.stop()


async def ask(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_what_is_written_survives_a_stop_and_a_kill_at_the_same_address(server: EmbeddedPostgres) -> None:
    address = server.admin_url
    await ask(address, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    assert not server.is_running
    server.start()
    server.kill()
    assert not server.is_running
    server.start()
    assert server.admin_url == address
    assert await ask(address, "SELECT n FROM kept") == 7


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
async def test_the_server_is_durable_and_private(postgres_settings: dict[str, str], setting: str, value: str) -> None:
    assert postgres_settings[setting] == value


@pytest.fixture(scope="module")
def postgres_settings() -> Iterator[dict[str, str]]:
    import asyncio

    path = Path(tempfile.mkdtemp(prefix="liushui-pg-"))
    server = EmbeddedPostgres(path)
    server.start()

    async def read() -> dict[str, str]:
        connection = await asyncpg.connect(server.admin_url)
        rows = await connection.fetch("SELECT name, setting FROM pg_settings")
        await connection.close()
        return {row["name"]: row["setting"] for row in rows}

    yield asyncio.run(read())
    server.stop()
    shutil.rmtree(path)


async def test_nobody_gets_in_without_the_password_which_only_its_owner_can_read(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres", "SELECT 1")
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600


async def test_two_starters_at_once_get_one_server(folder: Path) -> None:
    servers = [EmbeddedPostgres(folder) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda one: one.start(), servers))
    try:
        assert servers[0].admin_url == servers[1].admin_url
        assert await ask(servers[0].admin_url, "SELECT 1") == 1
    finally:
        servers[0].stop()


async def test_a_port_that_was_taken_meanwhile_is_replaced(server: EmbeddedPostgres) -> None:
    import socket

    port = server.port
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        server.start()
        assert server.port != port
        assert await ask(server.admin_url, "SELECT 1") == 1


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresStartError, match="shared_buffers"):
        server.start()


def test_a_folder_below_one_that_only_root_may_enter_still_gets_a_durable_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, home = folder / "closed", folder / "home"
    closed.mkdir(mode=0o700)
    folder.chmod(0o755)
    monkeypatch.setattr(postgres, "DURABLE_HOME_FOR_ROOT", home)
    server = EmbeddedPostgres(closed / "var" / "postgres")
    server.start()
    try:
        assert server.is_running
    finally:
        server.stop()
    (closed / "var" / "postgres").mkdir(exist_ok=True)
    again = EmbeddedPostgres(closed / "var" / "postgres")
    assert again.folder == server.folder


def test_programs_that_the_servers_account_cannot_read_are_copied_with_their_libraries(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = postgres._wheel_folder()
    folder.chmod(0o755)  # or the data would move to the machine's own place for them, and stay there
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall", closed / package.name / "pginstall")
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(postgres, "_wheel_folder", lambda: closed / package.name)
    server = EmbeddedPostgres(folder / "data")
    server.start()
    try:
        assert server.is_running
    finally:
        server.stop()
