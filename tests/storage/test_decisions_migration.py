"""Decisions can be taken back out of a database: what they had replaced is as it was."""

from __future__ import annotations

import asyncpg
from sqlalchemy.engine import make_url

from runtime.postgres import EmbeddedPostgres
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, provision

_FUNCTIONS = (
    "SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS body FROM pg_proc p"
    " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'app'"
)


async def functions(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        return {row["name"]: row["body"] for row in await connection.fetch(_FUNCTIONS)}
    finally:
        await connection.close()


async def test_functions_that_decisions_replaced_come_back_as_they_were(postgres_server: EmbeddedPostgres) -> None:
    urls = await provision(postgres_server.admin_url, "back", "back_keys", Passwords.generate())
    now = await functions(urls.owner)
    await downgrade(urls.owner, Tree.MAIN, "0006_operators")
    before = await functions(urls.owner)
    await downgrade(urls.owner, Tree.MAIN)
    await upgrade(urls.owner, Tree.MAIN, "0006_operators")
    assert await functions(urls.owner) == before
    await upgrade(urls.owner, Tree.MAIN)
    assert await functions(urls.owner) == now
    assert now["app.claim_one_effect(jsonb)"] != before["app.claim_one_effect(jsonb)"]
