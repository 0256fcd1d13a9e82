"""What each database role may do is what was reviewed, and what runs with the owner's rights cannot be led astray."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tests.architecture import grants
from tests.conftest import Database

ROLES = ("app", "ops", "webhooks", "retention")
EXECUTED = {
    "app": grants.OF_APP | grants.OF_APP_AND_OPS,
    "ops": grants.OF_OPS | grants.OF_APP_AND_OPS,
    "webhooks": grants.OF_WEBHOOKS,
    "retention": grants.OF_RETENTION,
}
_SCHEMAS = "n.nspname IN ('app', 'ledger', 'vault', 'retention')"
_FUNCTIONS = f"""
    SELECT n.nspname || '.' || p.proname AS name, p.prosecdef AS is_definer, coalesce(p.proconfig, '{{}}') AS config,
        has_function_privilege('template_app', p.oid, 'EXECUTE') AS app,
        has_function_privilege('template_ops', p.oid, 'EXECUTE') AS ops,
        has_function_privilege('template_webhooks', p.oid, 'EXECUTE') AS webhooks,
        has_function_privilege('template_retention', p.oid, 'EXECUTE') AS retention
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_SCHEMAS}"""  # noqa: S608
_TABLES = f"""
    SELECT n.nspname || '.' || c.relname AS name, r.role, a.privilege_type AS privilege
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL aclexplode(c.relacl) a
    JOIN (SELECT oid, replace(rolname, 'template_', '') AS role FROM pg_roles) r ON r.oid = a.grantee
    WHERE {_SCHEMAS} AND a.grantee <> c.relowner"""  # noqa: S608
_COLUMNS = f"""
    SELECT n.nspname || '.' || c.relname || '.' || t.attname AS name, r.role, a.privilege_type AS privilege
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL aclexplode(t.attacl) a
    JOIN (SELECT oid, replace(rolname, 'template_', '') AS role FROM pg_roles) r ON r.oid = a.grantee
    WHERE {_SCHEMAS} AND a.grantee <> c.relowner"""  # noqa: S608


async def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    async with database.owner_engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(sa.text(statement))).mappings()]


async def test_each_role_executes_the_functions_that_were_reviewed_and_no_other(database: Database) -> None:
    functions = await rows(database, _FUNCTIONS)
    assert len(functions) > 100
    for role in ROLES:
        assert {row["name"] for row in functions if row[role]} == EXECUTED[role], role


async def test_what_runs_with_the_owners_rights_names_its_search_path(database: Database) -> None:
    pinned = ({"search_path=pg_catalog"}, {"search_path=pg_catalog, pg_temp"})
    functions = await rows(database, _FUNCTIONS)
    assert [row["name"] for row in functions if row["is_definer"] and set(row["config"]) not in pinned] == []
    executed = {row["name"] for row in functions if any(row[role] for role in ROLES)}
    definers = {row["name"] for row in functions if row["is_definer"]}
    assert executed - definers == grants.WITHOUT_THE_OWNERS_RIGHTS


async def test_no_role_can_make_anything_that_such_a_function_could_meet(database: Database) -> None:
    # A temporary type or table would come before pg_catalog in the search.
    found = await rows(
        database,
        """SELECT r.rolname, r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolbypassrls AS is_mighty,
            has_database_privilege(r.oid, current_database(), 'TEMP, CREATE') AS makes,
            (SELECT count(*) FROM pg_namespace n
                WHERE n.nspname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'CREATE')) AS schemas,
            (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
        FROM pg_roles r WHERE r.rolname IN (
            'template_app', 'template_ops', 'template_webhooks', 'template_retention'
        )""",
    )
    assert len(found) == len(ROLES)
    assert [row for row in found if row["is_mighty"] or row["makes"] or row["schemas"] or row["memberships"]] == []


async def test_no_table_is_written_but_by_what_was_reviewed(database: Database) -> None:
    granted = [*await rows(database, _TABLES), *await rows(database, _COLUMNS)]
    written = {(row["role"], row["name"], row["privilege"]) for row in granted if row["privilege"] != "SELECT"}
    assert written == grants.WRITTEN_DIRECTLY


async def test_the_webhook_sender_reads_no_table_and_stays_out_of_books_and_vault(database: Database) -> None:
    granted = [*await rows(database, _TABLES), *await rows(database, _COLUMNS)]
    assert [row for row in granted if row["role"] == "webhooks"] == []
    usage = "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('template_webhooks', oid, 'USAGE')"
    assert {row["nspname"] for row in await rows(database, usage)} == {"app", "pg_catalog", "information_schema"}


async def test_the_role_that_opens_what_is_retained_reads_no_table_and_reaches_nothing_else(database: Database) -> None:
    granted = [*await rows(database, _TABLES), *await rows(database, _COLUMNS)]
    assert [row for row in granted if row["role"] == "retention"] == []
    usage = "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('template_retention', oid, 'USAGE')"
    assert {row["nspname"] for row in await rows(database, usage)} <= {"retention", "pg_catalog", "information_schema"}


async def test_nobody_reads_digests_hashes_or_sealed_values_from_a_table(database: Database) -> None:
    columns = await rows(
        database,
        f"""SELECT n.nspname || '.' || c.relname || '.' || t.attname AS name, r.role
        FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid AND c.relkind = 'r'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN (VALUES ('app'), ('ops'), ('webhooks'), ('retention')) AS r (role)
        WHERE {_SCHEMAS} AND t.attnum > 0 AND (t.atttypid = 'bytea'::regtype OR t.attname = 'password_phc')
            AND has_schema_privilege('template_' || r.role, n.oid, 'USAGE')
            AND has_column_privilege('template_' || r.role, c.oid, t.attnum, 'SELECT')""",  # noqa: S608
    )
    assert {(row["role"], row["name"]) for row in columns} == grants.BYTES_THAT_ARE_READ


async def test_the_key_database_is_reached_through_its_functions(database: Database) -> None:
    async with database.key_owner_engine.connect() as connection:
        found = await connection.execute(
            sa.text("""
                SELECT p.proname, p.prosecdef, p.proconfig
                FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = 'keys' AND has_function_privilege('template_keys_app', p.oid, 'EXECUTE')""")
        )
        functions = found.all()
        tables = await connection.execute(
            sa.text("""
                SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'keys' AND c.relkind = 'r'
                    AND has_table_privilege('template_keys_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE')""")
        )
        assert tables.all() == []
    assert {row.proname for row in functions} == {
        "read_user_key", "ensure_user_key", "destroy_user_key", "keep_retention_keys", "destroy_retention_keys",
    }  # fmt: skip
    assert all(row.prosecdef and row.proconfig == ["search_path=pg_catalog, pg_temp"] for row in functions)


async def test_the_erasure_list_is_reached_through_its_functions_and_the_operators_api_adds_nothing_to_it(
    database: Database,
) -> None:
    async with database.erasure_owner_engine.connect() as connection:
        functions = (
            await connection.execute(
                sa.text("""
                    SELECT p.proname, p.prosecdef, p.proconfig,
                        has_function_privilege('template_erasures_app', p.oid, 'EXECUTE') AS app,
                        has_function_privilege('template_erasures_ops', p.oid, 'EXECUTE') AS ops
                    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'erasures'""")
            )
        ).all()
        tables = await connection.execute(
            sa.text("""
                SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                CROSS JOIN (VALUES ('template_erasures_app'), ('template_erasures_ops')) AS r (role)
                WHERE n.nspname = 'erasures' AND c.relkind = 'r'
                    AND has_table_privilege(r.role, c.oid, 'SELECT, INSERT, UPDATE, DELETE')""")
        )
        assert tables.all() == []
    assert {row.proname for row in functions if row.app} == {"add", "after", "head"}
    assert {row.proname for row in functions if row.ops} == {"after", "head"}
    reached = [row for row in functions if row.app or row.ops]
    assert all(row.prosecdef and row.proconfig == ["search_path=pg_catalog, pg_temp"] for row in reached)
