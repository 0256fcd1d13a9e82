"""Decisions, reports and consents lock the merchant before its user: what is written about a user refers to both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa

from domain.instructions import RecordConsent, ReportUser
from tests.storage.books import NOW, Books
from tests.storage.deciders import Deciders
from tests.storage.test_send_claim import FREEZE, HOLD

LOCK = "SELECT 1 FROM app.{} WHERE id = :id FOR UPDATE {}"


async def report(books: Books, _: Deciders) -> object:
    return await books.instructions.report_user(
        ReportUser(
            request=books.context(), now=NOW, id=books.new_id("case"), user_id=books.user_id, kind="not_me",
            channel="app",
        )
    )  # fmt: skip


async def consent(books: Books, _: Deciders) -> object:
    return await books.instructions.record_consent(
        RecordConsent(
            request=books.context(), now=NOW, user_id=books.user_id, kind="agreement", version="1.0",
            content_hash="a" * 64, channel="app", acted_at=NOW, case_id=books.new_id("case"),
        )
    )  # fmt: skip


async def freeze(books: Books, deciders: Deciders) -> object:
    return await deciders.decide("funds.freeze", books.user_id, detail=FREEZE)


async def hold(books: Books, deciders: Deciders) -> object:
    return await deciders.decide("authority_order.register", books.user_id, detail=HOLD)


@pytest.mark.parametrize("act", [report, consent, freeze, hold])
async def test_who_waits_for_the_merchant_holds_none_of_its_users(
    books: Books, deciders: Deciders, act: Callable[[Books, Deciders], Awaitable[object]]
) -> None:
    """Acceptances and claims hold the merchant when they ask for the user: the other way round is a deadlock."""
    async with books.owner.begin() as deciding, books.owner.connect() as other:
        await deciding.execute(sa.text(LOCK.format("merchant", "")), {"id": books.merchant_id})
        acting = asyncio.create_task(act(books, deciders))
        for _ in range(200):
            if await books.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.02)
        await other.execute(sa.text(LOCK.format("end_user", "NOWAIT")), {"id": books.user_id})
        await other.rollback()
    assert await acting
