from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Database
from tests.storage.books import Books, open_books
from tests.storage.deciders import Deciders, open_deciders


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as opened:
        yield opened


@pytest.fixture
async def deciders(database: Database) -> Deciders:
    return await open_deciders(database)
