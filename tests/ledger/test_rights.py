"""The application can read the books and cannot write them; the owner can only add."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conftest import Database
from tests.ledger.conftest import Books, hold, pay_in

TABLES = ["account", "balance", "transfer"]
EDITS = {
    "INSERT": "INSERT INTO ledger.{table} DEFAULT VALUES",
    "UPDATE": "UPDATE ledger.{table} SET {column} = {column}",
    "DELETE": "DELETE FROM ledger.{table}",
    "TRUNCATE": "TRUNCATE ledger.{table} CASCADE",
}
COLUMNS = {"account": "kind", "balance": "posted", "transfer": "amount"}


async def refused(engine: AsyncEngine, statement: str) -> str | None:
    """PostgreSQL's code of the refusal, None if it was taken."""
    async with engine.connect() as connection:
        try:
            await connection.execute(sa.text(statement))
        except DBAPIError as error:
            return str(getattr(error.orig, "sqlstate", None))
        return None


async def test_the_list_of_tables_here_is_complete(database: Database) -> None:
    async with database.owner_engine.connect() as connection:
        query = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger' ORDER BY 1")
        assert (await connection.execute(query)).scalars().all() == TABLES


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("edit", EDITS)
async def test_the_app_role_can_edit_no_table(books: Books, database: Database, table: str, edit: str) -> None:
    statement = EDITS[edit].format(table=table, column=COLUMNS[table])
    assert await refused(database.app_engine, statement) == "42501"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("edit", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_the_owner_can_only_add(books: Books, database: Database, table: str, edit: str) -> None:
    await books.must(pay_in("in", 100), hold("h", 5))
    statement = EDITS[edit].format(table=table, column=COLUMNS[table])
    assert await refused(database.owner_engine, statement) == "42501"


@pytest.mark.parametrize(
    "call",
    [
        "SELECT * FROM ledger.apply('[]')",
        "SELECT * FROM ledger.apply_batch('[]')",
        "SELECT ledger.write('{}', now())",
        "SELECT ledger.close_account('user:usr_alice:CNY')",
        "SELECT * FROM ledger.apply_each('[]', now())",
    ],
)
async def test_the_app_role_cannot_move_money_beside_a_settlement(database: Database, call: str) -> None:
    assert await refused(database.app_engine, call) == "42501"


async def test_the_app_role_may_run_only_these_functions(database: Database) -> None:
    query = """SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE pronamespace = 'ledger'::regnamespace AND has_function_privilege('template_app', p.oid, 'EXECUTE')
        ORDER BY 1"""
    async with database.owner_engine.connect() as connection:
        allowed = (await connection.execute(sa.text(query))).scalars().all()
    assert allowed == ["ledger.balance_at(text,timestamp with time zone)", "ledger.open_accounts(text[])"]


async def test_every_function_that_runs_as_the_owner_pins_its_search_path(database: Database) -> None:
    query = """SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'ledger'::regnamespace
        AND prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)"""
    async with database.owner_engine.connect() as connection:
        assert (await connection.execute(sa.text(query))).scalars().all() == []


@pytest.mark.parametrize(
    "change",
    [
        "amount = 0",
        "amount = -5",
        "credit_account_id = debit_account_id",
        "credit_account_id = (SELECT id FROM ledger.account WHERE code = 'user:usr_alice:USD')",
        "kind = 'gift'",
        "kind = 'fee'",
        "instruction = NULL",
        "instruction = ''",
        "debit_posted_after = -1",
        "debit_held_after = debit_posted_after + 1",
        "hold_id = 1",
        "currency = 'USD'",
        "direction = 'up'",
        "credit_version = 1",
    ],
)
async def test_the_database_itself_refuses_a_wrong_row_even_with_all_triggers_off(
    books: Books, database: Database, change: str
) -> None:
    await books.must(pay_in("first", 50), pay_in("in", 100))
    await books.connection.execute(sa.text("ALTER TABLE ledger.transfer DISABLE TRIGGER USER"))
    statement = f"UPDATE ledger.transfer SET {change} WHERE key = 'in'"  # noqa: S608
    sqlstate = await refused(database.owner_engine, statement)
    assert sqlstate is not None
    assert sqlstate.startswith("23")
