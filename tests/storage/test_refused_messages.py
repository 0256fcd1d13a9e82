"""What an outsider sent to a process and the worker refused, on record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from storage.refused_messages import RefusedMessages
from tests.conftest import Database
from tests.storage.books import Books, open_books

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
PAYMENT = "pay_01JD9Z7K8M1234567890123456"
RECORDS = "SELECT array_agg(reason || ' ' || coalesce(subject_id, '-') ORDER BY id) FROM app.operation"


@pytest.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    async with open_books(database) as opened:
        await opened.run("SELECT 1")
        yield opened


async def recorded(books: Books, *notes: tuple[str, str]) -> list[str]:
    refused = RefusedMessages(books.app, lambda: NOW)
    for workflow_id, reason in notes:
        refused.note(workflow_id, reason)
    await refused.close()
    found = await books.value(f"{RECORDS} WHERE actor = 'temporal' AND outcome = 'refused' AND at = :at", at=NOW)
    return list(found or [])


async def test_the_first_of_each_kind_for_each_process_is_recorded_under_its_instruction(books: Books) -> None:
    process = f"collect-payment/{PAYMENT}"
    notes = [(process, "not_encrypted")] * 3 + [(process, "made_for_another")]
    assert sorted(await recorded(books, *notes)) == [f"made_for_another {PAYMENT}", f"not_encrypted {PAYMENT}"]


@pytest.mark.parametrize("workflow_id", ["11010519900307765X", f"collect-payment/{PAYMENT}/x", "x" * 1000, ""])
async def test_what_an_outsider_named_a_workflow_is_not_taken_into_the_record(books: Books, workflow_id: str) -> None:
    assert await recorded(books, (workflow_id, "not_encrypted")) == ["not_encrypted -"]


async def test_thousands_of_refusals_do_not_flood_the_record(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.refused_messages._REMEMBERED", 5)
    found = await recorded(books, *((f"made-up/{number}", "not_encrypted") for number in range(100)))
    assert len(found) == 5
