from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.database import create_engine
from tests.conftest import Database
from tests.storage.books import Books, open_books
from tests.storage.closing import Closures
from tests.storage.deciders import Deciders, enrol_deciders


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as opened:
        yield opened


@pytest.fixture
async def deciders(database: Database) -> AsyncIterator[Deciders]:
    """Over open connections, so that a decision takes no longer than a claim."""
    ops = create_engine(database.ops_url)
    yield await enrol_deciders(database, ops)
    await ops.dispose()


@pytest.fixture
async def closures(books: Books, deciders: Deciders) -> Closures:
    """With somebody who answers the telephone."""
    await deciders.enrol("sue", "support")
    return Closures(books, deciders)
