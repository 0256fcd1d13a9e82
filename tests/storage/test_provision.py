"""Provisioning: idempotent, for admins with few rights too, and closed to everybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from runtime.postgres import EmbeddedPostgres
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, ProvisioningError, Urls, plain_url, provision
from tests.conftest import Database


async def run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def remove(server: EmbeddedPostgres, *databases: str) -> None:
    for name in databases:
        await run(server.admin_url, f'DROP DATABASE IF EXISTS "{name}"')
        await run(server.admin_url, f'DROP ROLE IF EXISTS "{name}_owner"', f'DROP ROLE IF EXISTS "{name}_app"')


async def test_a_clone_of_the_template_answers_the_app_role(database: Database) -> None:
    async with database.app_engine.connect() as connection:
        assert (await connection.execute(sa.text("SELECT current_user"))).scalar_one() == "template_app"


async def test_two_starters_at_once_provision_one_pair_of_databases(
    postgres_server: EmbeddedPostgres,
) -> None:
    passwords = Passwords.generate()
    try:
        both = await asyncio.gather(
            *(provision(postgres_server.admin_url, "twice", "twice_keys", passwords) for _ in range(2))
        )
        assert both[0] == both[1]
        await run(both[0].app, "SELECT 1")
        await run(both[0].key_app, "SELECT 1")
    finally:
        await remove(postgres_server, "twice", "twice_keys")


async def test_an_admin_who_is_no_superuser_can_provision(postgres_server: EmbeddedPostgres) -> None:
    await run(postgres_server.admin_url, "CREATE ROLE weak LOGIN CREATEDB CREATEROLE PASSWORD 'weak-password'")
    url = make_url(postgres_server.admin_url).set(username="weak", password="weak-password")
    admin_url = url.render_as_string(hide_password=False)
    try:
        for _ in range(2):
            urls = await provision(admin_url, "modest", "modest_keys", Passwords.generate())
        await run(urls.owner, "SELECT 1")
    finally:
        await remove(postgres_server, "modest", "modest_keys")
        await run(postgres_server.admin_url, "DROP ROLE weak")


async def test_an_admin_without_the_rights_is_told_which_ones_are_missing(
    postgres_server: EmbeddedPostgres,
) -> None:
    await run(postgres_server.admin_url, "CREATE ROLE nothing LOGIN PASSWORD 'nothing-password'")
    url = make_url(postgres_server.admin_url).set(username="nothing", password="nothing-password")
    try:
        with pytest.raises(ProvisioningError, match="CREATEDB and CREATEROLE"):
            await provision(url.render_as_string(hide_password=False), "never", "never_keys", Passwords.generate())
    finally:
        await run(postgres_server.admin_url, "DROP ROLE nothing")


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"port": 1}])
async def test_a_server_that_cannot_be_reached_is_said_so(
    postgres_server: EmbeddedPostgres, change: dict[str, Any]
) -> None:
    url = make_url(postgres_server.admin_url).set(**change).render_as_string(hide_password=False)
    with pytest.raises(ProvisioningError, match="cannot be reached"):
        await provision(url, "never", "never_keys", Passwords.generate())


async def test_other_roles_can_connect_to_neither_database(database: Database, template_urls: Urls) -> None:
    stranger = make_url(template_urls.key_app).set(database=database.name)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(plain_url(stranger.render_as_string(hide_password=False)))


@pytest.mark.parametrize(
    ("database_role", "forbidden"),
    [("app_url", "CREATE TABLE public.x ()"), ("app_url", "CREATE TEMP TABLE x ()")],
)
async def test_the_app_role_can_create_nothing(database: Database, database_role: str, forbidden: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(getattr(database, database_role), forbidden)


async def test_migrations_go_up_down_and_up_again(postgres_server: EmbeddedPostgres) -> None:
    try:
        urls = await provision(postgres_server.admin_url, "updown", "updown_keys", Passwords.generate())
        trees = ((Tree.MAIN, urls.owner), (Tree.KEYS, urls.key_owner), (Tree.ERASURES, urls.erasure_owner))
        for tree, url in trees:
            await downgrade(url, tree)
            await upgrade(url, tree)
    finally:
        await remove(postgres_server, "updown", "updown_keys")


@pytest.mark.parametrize("name", ["", "Upper", 'quote"d', "a" * 42, "1st"])
async def test_a_database_name_that_could_break_out_is_refused(postgres_server: EmbeddedPostgres, name: str) -> None:
    with pytest.raises(ProvisioningError, match="database name"):
        await provision(postgres_server.admin_url, name, "fine", Passwords.generate())
