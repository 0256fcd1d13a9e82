"""The database is killed while payouts are accepted: nobody is promised what is not held, and nothing is held twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.errors import DomainError
from domain.limits import LimitSet
from ledger.verify import verify
from runtime.postgres import EmbeddedPostgres
from storage.provision import Passwords, provision
from tests.conftest import Database
from tests.storage.books import Books, open_books

CAPS = LimitSet(per_transaction_minor=10**9, per_day_minor=10**9, per_month_minor=10**9)


async def accepted_through_kills(books: Books, server: EmbeddedPostgres) -> Counter[str]:
    """A hundred at once, and the server killed three times on the way."""
    payees = [await books.known_payee(most=100) for _ in range(100)]
    answered = asyncio.Semaphore(0)

    async def accept(payee: str) -> str:
        try:
            await books.instructions.accept_payout(books.payout(payee, limit_sets=[("payout:user", CAPS)]))
        except DomainError as error:
            return error.code.value
        else:
            return "accepted"
        finally:
            answered.release()

    asking = asyncio.gather(*(accept(payee) for payee in payees))
    for _ in range(3):
        for _ in range(15):
            await answered.acquire()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    return Counter(await asking)


@pytest.mark.long
async def test_of_a_hundred_payouts_against_funds_for_sixty_kills_leave_sixty(
    durable_postgres_server: EmbeddedPostgres,
) -> None:
    urls = await provision(durable_postgres_server.admin_url, "killed", "killed_keys", Passwords.generate())
    owner, keys = (create_async_engine(url, poolclass=NullPool) for url in (urls.owner, urls.key_app))
    database = SimpleNamespace(app_url=urls.app, owner_engine=owner, key_app_engine=keys)
    async with open_books(cast("Database", database)) as books:
        await books.fund(60 * 10_200)
        answers = await accepted_through_kills(books, durable_postgres_server)
        assert answers == {"accepted": 60, "INSUFFICIENT_FUNDS": 40}
        assert await books.held(f"user:{books.user_id}:CNY") == 60 * 10_200
        assert await books.value("SELECT count(*) FROM app.payout") == 60
        assert await books.value("SELECT count(*) FROM app.event WHERE type = 'payout.accepted'") == 60
        assert await books.value("SELECT used_minor FROM app.limit_usage WHERE window_kind = 'day'") == 600_000
        assert (await verify(owner)).is_sound
    await owner.dispose()
    await keys.dispose()
