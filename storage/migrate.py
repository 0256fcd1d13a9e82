"""Runs the Alembic trees: of the main database (`storage/migrations`), the keys (`vault/migrations`), the erasures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import sqlalchemy as sa
from alembic import command, context, op
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

_ROOT = Path(__file__).resolve().parent.parent
# Two processes that migrate one database at once run one after the other.
_MIGRATION_LOCK = 7_301_995_001


class Tree(Enum):
    """Which database a migration belongs to, and where its versions lie."""

    MAIN = _ROOT / "storage" / "migrations"
    KEYS = _ROOT / "vault" / "migrations"
    ERASURES = _ROOT / "vault" / "erasure_migrations"


async def upgrade(owner_url: str, tree: Tree, revision: str = "head") -> None:
    """Brings a database up to a revision; `owner_url` is a `postgresql+asyncpg://` URL of its owner role."""
    await asyncio.to_thread(command.upgrade, _config(owner_url, tree), revision)


async def downgrade(owner_url: str, tree: Tree, revision: str = "base") -> None:
    """Takes a database down to a revision. Only for tests and for a release that is rolled back at once."""
    await asyncio.to_thread(command.downgrade, _config(owner_url, tree), revision)


def _config(owner_url: str, tree: Tree) -> Config:
    config = Config()
    config.set_main_option("script_location", str(tree.value))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = owner_url
    return config


def run_environment() -> None:
    """The body of every `env.py`: all pending migrations in one transaction, in a thread that has no event loop."""
    asyncio.run(_run_online(context.config.attributes["url"]))


async def _run_online(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_migrations)
    finally:
        await engine.dispose()


def _run_migrations(connection: sa.Connection) -> None:
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        context.run_migrations()


def execute_sql_file(path: Path) -> None:
    """Runs a file of statements inside a migration; `{owner}`, `{app}`, `{ops}`, `{webhooks}`, `{retention}` become
    role names.

    Their names follow from the owner's, who runs this: `liushui_owner` has `liushui_app` and so on beside it. The
    database itself may be called otherwise while it is being restored.
    """
    _execute(path.read_text(encoding="utf-8"))


def restore_functions(path: Path, names: Iterable[str]) -> None:
    """Puts back functions that a later migration replaced, as an earlier file of statements defines them."""
    text = path.read_text(encoding="utf-8")
    for name in names:
        pattern = rf"^CREATE (?:OR REPLACE )?FUNCTION {re.escape(name)}\(.*?(?=\n(?:CREATE |-- |\n)(?! )|\Z)"
        [former] = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
        _execute(former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))


def _execute(text: str) -> None:
    bind = op.get_bind()
    database = str(bind.execute(sa.text("SELECT current_user")).scalar_one()).removesuffix("_owner")
    for role in ("owner", "app", "ops", "webhooks", "retention"):
        text = text.replace(f"{{{role}}}", f'"{database}_{role}"')
    adapted = bind.connection.dbapi_connection
    assert adapted is not None  # noqa: S101
    adapted.run_async(lambda driver: driver.execute(text))
