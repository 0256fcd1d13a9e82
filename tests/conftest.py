"""One PostgreSQL server a test process, and a fresh set of databases a test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from runtime.postgres import EmbeddedPostgres
from storage.provision import (
    ROLES_OF_MAIN,
    ROLES_OF_OTHERS,
    Passwords,
    Urls,
    erasure_database,
    provision,
    restrict_access,
)

_TEMPLATE = "template"
_KEY_TEMPLATE = "template_keys"
_ERASURE_TEMPLATE = erasure_database(_TEMPLATE)
_MEMORY_BYTES = 4 * 1024**3
_CATALOGUE = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace"
    " AND NOT relisshared"
)
_numbers = count(1)
# No server of a test speaks TLS, and asking whether it does costs more than the rest of a connection.
os.environ.setdefault("PGSSLMODE", "disable")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no rubbish is looked for in it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@dataclass(frozen=True)
class Database:
    """A fresh set of the three databases. The roles are those of the template: `template_owner`, `template_app`, …"""

    name: str
    app_url: str
    owner_url: str
    ops_url: str
    webhooks_url: str
    retention_url: str
    key_name: str
    key_app_url: str
    key_ops_url: str
    key_owner_url: str
    erasure_name: str
    erasure_app_url: str
    erasure_ops_url: str
    erasure_owner_url: str
    admin_url: str
    app_engine: AsyncEngine
    owner_engine: AsyncEngine
    ops_engine: AsyncEngine
    webhooks_engine: AsyncEngine
    retention_engine: AsyncEngine
    key_app_engine: AsyncEngine
    key_ops_engine: AsyncEngine
    key_owner_engine: AsyncEngine
    erasure_app_engine: AsyncEngine
    erasure_ops_engine: AsyncEngine
    erasure_owner_engine: AsyncEngine
    # Makes the list of erasures, which else comes with the first use of one of its engines: few tests need it.
    make_erasures: Callable[[], Awaitable[None]]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A server without fsync: fast, for every test that pulls no plug."""
    with _server(durable=False) as server:
        yield server


@pytest.fixture
def durable_postgres_server() -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, as in production, to be killed."""
    with _server(durable=True) as server:
        yield server


def _memory() -> str | None:
    """A place in memory where there is one with room: cloning a database there takes a twentieth of the time."""
    memory = Path("/dev/shm")  # noqa: S108
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > _MEMORY_BYTES else None


class _server:  # noqa: N801
    def __init__(self, *, durable: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="liushui-pg-", dir=None if durable else _memory()))
        self._server = EmbeddedPostgres(self._folder, durable=durable)

    def __enter__(self) -> EmbeddedPostgres:
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        shutil.rmtree(self._folder)


@pytest.fixture(scope="session")
def template_urls(postgres_server: EmbeddedPostgres) -> Urls:
    """All databases migrated once; nothing connects to them afterwards, or they could not be cloned."""
    return asyncio.run(_make_templates(postgres_server.admin_url))


async def _make_templates(admin_url: str) -> Urls:
    urls = await provision(admin_url, _TEMPLATE, _KEY_TEMPLATE, Passwords.generate())
    await _ease_logins(admin_url, urls)
    for template in (_TEMPLATE, _KEY_TEMPLATE, _ERASURE_TEMPLATE):
        await _pack(_on(admin_url, template))
    return urls


async def _ease_logins(admin_url: str, urls: Urls) -> None:
    """The same passwords, asked for in the same way, but without the thousands of rounds against guessing."""
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute("SET scram_iterations = 1")
        for url in map(make_url, [admin_url, *urls.model_dump().values()]):
            await admin.execute(f"ALTER ROLE \"{url.username}\" PASSWORD '{url.password}'")
    finally:
        await admin.close()


async def _pack(template_url: str) -> None:
    """Takes the room of dead rows out of the catalogue, which migrations fill and each clone would copy."""
    admin = await asyncpg.connect(template_url)
    try:
        for name in await admin.fetch(_CATALOGUE):
            await admin.execute(f"VACUUM FULL {name[0]}")
    finally:
        await admin.close()
    # Leaves the cache file which the first connection to every clone would else make for itself.
    await (await asyncpg.connect(template_url)).close()


class _Cloner:
    """One connection that makes and drops the databases of all tests, on a loop of its own: each test has another."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloner", daemon=True)
        self._thread.start()
        self._url, self._turn = url, asyncio.Lock()
        self._admin: asyncpg.Connection = self._begin(self._connect()).result()

    async def run(self, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]) -> None:
        """One piece of work after the other, each to its end even if its test is over before."""
        await asyncio.wrap_future(self._begin(self._in_turn(work)))

    def close(self) -> None:
        self._begin(self._admin.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._url)

    async def _in_turn(self, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]]) -> None:
        async with self._turn:
            await work(self._admin)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@pytest.fixture(scope="session")
def cloner(postgres_server: EmbeddedPostgres, template_urls: Urls) -> Iterator[_Cloner]:
    """Made after the templates."""
    opened = _Cloner(postgres_server.admin_url)
    yield opened
    opened.close()


@pytest.fixture
async def database(postgres_server: EmbeddedPostgres, template_urls: Urls, cloner: _Cloner) -> AsyncIterator[Database]:
    """A fresh set of databases for one test, with engines that are disposed of at its end."""
    async with _Clone(postgres_server.admin_url, template_urls, cloner) as clone:
        yield clone


class _Clone:
    """`CREATE DATABASE … TEMPLATE` carries all grants inside a database; only CONNECT must be given again."""

    def __init__(self, admin_url: str, urls: Urls, cloner: _Cloner) -> None:
        number = next(_numbers)
        self._name, self._key_name = f"test_{os.getpid()}_{number}", f"test_{os.getpid()}_{number}_keys"
        self._erasure_name = erasure_database(self._name)
        self._admin_url, self._urls, self._cloner = admin_url, urls, cloner
        self._engines: list[AsyncEngine] = []
        self._made: list[str] = []
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Database:
        await self._cloner.run(partial(self._create, {_TEMPLATE: self._name, _KEY_TEMPLATE: self._key_name}))
        main, keys, erasures = self._name, self._key_name, self._erasure_name
        app_url, owner_url = _on(self._urls.app, main), _on(self._urls.owner, main)
        ops_url, webhooks_url = _on(self._urls.ops, main), _on(self._urls.webhooks, main)
        key_app_url, key_owner_url = _on(self._urls.key_app, keys), _on(self._urls.key_owner, keys)
        retention_url, erasure_app_url = _on(self._urls.retention, main), _on(self._urls.erasure_app, erasures)
        erasure_ops_url = _on(self._urls.erasure_ops, erasures)
        erasure_owner_url = _on(self._urls.erasure_owner, erasures)
        return Database(
            name=main,
            app_url=app_url,
            owner_url=owner_url,
            ops_url=ops_url,
            webhooks_url=webhooks_url,
            retention_url=retention_url,
            key_name=keys,
            key_app_url=key_app_url,
            key_ops_url=_on(self._urls.key_ops, keys),
            key_owner_url=key_owner_url,
            erasure_name=erasures,
            erasure_app_url=erasure_app_url,
            erasure_ops_url=erasure_ops_url,
            erasure_owner_url=erasure_owner_url,
            admin_url=_on(self._admin_url, main),
            app_engine=self._engine(app_url),
            owner_engine=self._engine(owner_url),
            ops_engine=self._engine(ops_url),
            webhooks_engine=self._engine(webhooks_url),
            retention_engine=self._engine(retention_url),
            key_app_engine=self._engine(key_app_url),
            key_ops_engine=self._engine(_on(self._urls.key_ops, keys)),
            key_owner_engine=self._engine(key_owner_url),
            erasure_app_engine=self._late_engine(erasure_app_url),
            erasure_ops_engine=self._late_engine(erasure_ops_url),
            erasure_owner_engine=self._late_engine(erasure_owner_url),
            make_erasures=self._make_erasures,
        )

    async def __aexit__(self, *_: object) -> None:
        for engine in self._engines:
            await engine.dispose()
        await self._cloner.run(self._drop)

    async def _drop(self, admin: asyncpg.Connection) -> None:
        for name in self._made:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _create(self, cloned: dict[str, str], admin: asyncpg.Connection) -> None:
        for template, name in cloned.items():
            await admin.execute(
                f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy OWNER "{template}_owner"'
            )
            self._made.append(name)
            suffixes = ROLES_OF_MAIN if template == _TEMPLATE else ROLES_OF_OTHERS
            await restrict_access(admin, name, f"{template}_owner", [f"{template}_{word}" for word in suffixes])

    async def _make_erasures(self) -> None:
        async with self._making:
            if self._erasure_name not in self._made:
                await self._cloner.run(partial(self._create, {_ERASURE_TEMPLATE: self._erasure_name}))

    def _late_engine(self, url: str) -> AsyncEngine:
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

        async def connect() -> asyncpg.Connection:
            await self._make_erasures()
            return await asyncpg.connect(plain)

        return self._engine(url, async_creator=connect)

    def _engine(self, url: str, **options: Any) -> AsyncEngine:
        engine = create_async_engine(url, pool_size=1, max_overflow=40, hide_parameters=True, **options)
        self._engines.append(engine)
        return engine


def _on(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
