"""Foreign currency can be taken back out of a database in which there is some, and put in again; the ledger stays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.decisions import DecisionKind
from ledger.verify import verify
from runtime.postgres import EmbeddedPostgres
from storage.decisions import decide_directly
from storage.fx_rules import register_fx_rules
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, Urls, provision
from tests.conftest import Database
from tests.storage.books import NOW
from tests.storage.fx_books import RULES, FxBooks, open_fx_books
from tests.storage.fx_steps import converted, sent, to_be_returned
from tests.storage.test_decisions_migration import functions

BEFORE = "0013_settlements"


async def with_money_in_every_state(fx: FxBooks) -> None:
    """In suspense, split, dealt and not delivered, settled, taken back, being returned; and a function suspended."""
    settled = await fx.convert(await fx.funded(6_000_000))
    reversal = await fx.reverse(settled, 1_000_000)
    assert reversal is not None
    await fx.convert(await fx.view(reversal))
    await fx.receive(1_000, receiver_name="SOMEBODY ELSE")
    await to_be_returned(fx)
    await fx.books.run("UPDATE app.fx_quota SET exceeded_at = NULL")
    one = await sent(fx, 100, is_trade=False)
    await fx.book.settle(converted(fx, one))
    subject = fx.books.user_id
    await decide_directly(fx.books.owner, DecisionKind.USER_SUSPEND, subject, NOW, detail={"function": "fx"})
    loaded = "INSERT INTO app.bank_hours SELECT max(version), 'FX-HBRB', NULL FROM app.calendar_version"
    await fx.books.run("UPDATE app.partner SET enabled = NOT enabled WHERE code = 'WLWB'")
    await fx.books.run(loaded)


@pytest.fixture
async def urls(postgres_server: EmbeddedPostgres) -> Urls:
    return await provision(postgres_server.admin_url, "fx_back", "fx_back_keys", Passwords.generate())


async def test_it_goes_and_comes_back_with_money_in_every_state(urls: Urls) -> None:
    owner, keys = (create_async_engine(url, poolclass=NullPool) for url in (urls.owner, urls.key_app))
    database = SimpleNamespace(app_url=urls.app, owner_engine=owner, key_app_engine=keys)
    now = await functions(urls.owner)
    async with open_fx_books(cast("Database", database)) as fx:
        await with_money_in_every_state(fx)
        balances = await fx.balances()
    await downgrade(urls.owner, Tree.MAIN, BEFORE)
    before = await functions(urls.owner)
    assert [name for name in before if "fx" in name or "inbound" in name] == []
    await upgrade(urls.owner, Tree.MAIN)
    assert await functions(urls.owner) == now
    async with owner.begin() as connection:
        await register_fx_rules(connection, RULES, NOW)
    assert (await verify(owner)).is_sound
    assert await fx.balances() == balances
    assert await fx.books.value("SELECT count(*) FROM app.fx") == 0
    await owner.dispose()
    await keys.dispose()
    # As a database that never had any.
    await downgrade(urls.owner, Tree.MAIN, BEFORE)
    assert await functions(urls.owner) == before
