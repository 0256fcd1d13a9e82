"""Commands that a test runs in its own process leave nothing behind for the next; an institution to back up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.terminal import choices
from runtime.postgres import EmbeddedPostgres
from tests.cli.backups_scene import Institution
from tests.conftest import Database
from tests.storage.books import Books


@pytest.fixture(autouse=True)
def nothing_chosen() -> Iterator[None]:
    choices.login, choices.as_json = None, False
    yield
    choices.login, choices.as_json = None, False


@pytest.fixture
async def institution(
    database: Database, postgres_server: EmbeddedPostgres, books: Books, tmp_path: Path
) -> Institution:
    """`books`: of each test's own making."""
    await database.make_erasures()
    return Institution(database, postgres_server, tmp_path / "backups")
