"""`pytest tests/replay --record-histories` writes the histories anew; without the option they are only replayed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.planning import Planning
from calendars.book import CalendarBook
from domain.retention import RetentionRules
from storage.calendars import Calendars, ReleaseSlots
from tests.conftest import Database
from tests.replay.purge_branches import TwoPagesDue
from tests.storage.books import Books
from tests.workflows.closing_house import closing_steps
from tests.workflows.conftest import House
from tests.workflows.fx_house import open_fx_house
from tests.workflows.planned_house import ROUTES
from worker import purging_retained
from workflows.starting import Processes


def _replanning(books: Books, processes: Processes) -> list[Callable[..., Any]]:
    planning = Planning(ReleaseSlots(books.app), CalendarBook(Calendars(books.app)), ROUTES, processes)
    return [planning.replan_page, *purging_retained(TwoPagesDue(), RetentionRules())]


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    """Plans are scripted as in tests/workflows; planning anew is not. What is recorded happens in the present."""
    banks: list[Any] = []

    def more(books: Books, processes: Processes) -> list[Callable[..., Any]]:
        return [*_replanning(books, processes), *closing_steps(books, database, banks)[1]]

    async with open_fx_house(database, None, more=more) as opened:
        banks.append(opened.bank)
        yield opened


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-histories", action="store_true", help="write tests/replay/histories/ anew")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The recorder is no test; it runs only when it is asked for."""
    recording = config.getoption("--record-histories", default=False)
    return True if collection_path.name == "test_recording.py" and not recording else None
