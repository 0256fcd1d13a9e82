"""The numbers of payouts can be taken back out of a database in which there are some, and put in again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from runtime.postgres import EmbeddedPostgres
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, provision
from tests.conftest import Database
from tests.storage.books import NOW, Books, open_books
from tests.storage.test_decisions_migration import functions
from tests.storage.test_payouts import SECOND

BEFORE, THIS = "0014_fx", "0015_payout_order"
_NUMBERS = "SELECT jsonb_agg(jsonb_build_array(id, accepted_number) ORDER BY accepted_number) FROM app.payout"


async def accepted(books: Books, seconds: int) -> str:
    command = books.payout(await books.known_payee(), now=NOW + seconds * SECOND)
    return str((await books.instructions.accept_payout(command))["id"])


async def test_old_payouts_are_numbered_by_time_and_new_ones_after_them(postgres_server: EmbeddedPostgres) -> None:
    urls = await provision(postgres_server.admin_url, "order_back", "order_back_keys", Passwords.generate())
    owner, keys = (create_async_engine(url, poolclass=NullPool) for url in (urls.owner, urls.key_app))
    database = SimpleNamespace(app_url=urls.app, owner_engine=owner, key_app_engine=keys)
    now = await functions(urls.owner)
    async with open_books(cast("Database", database)) as books:
        await books.fund(100_000)
        first, second, third = [await accepted(books, seconds) for seconds in (0, -2, -1)]
        assert await books.value(_NUMBERS) == [[first, 1], [second, 2], [third, 3]]
        await downgrade(urls.owner, Tree.MAIN, THIS)
        at_this = await functions(urls.owner)
        await downgrade(urls.owner, Tree.MAIN, BEFORE)
        assert (await functions(urls.owner)).keys() == at_this.keys() - {"app.number_in_order()"}
        assert await books.value("SELECT count(*) FROM pg_class WHERE relname = 'payout_accepted_number'") == 0
        await upgrade(urls.owner, Tree.MAIN)
        assert await functions(urls.owner) == now
        fourth = await accepted(books, -3)
        assert await books.value(_NUMBERS) == [[second, 1], [third, 2], [first, 3], [fourth, 4]]
    await owner.dispose()
    await keys.dispose()
    await downgrade(urls.owner, Tree.MAIN, BEFORE)
    assert "accepted_number" not in (await functions(urls.owner))["app.risk_inputs(text,timestamp with time zone)"]
