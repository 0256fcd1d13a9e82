"""The retention store can be taken out of a database again, and counts the years in SQL as in Python."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.retention import (
    EARLIEST_EVENT,
    LATEST_EVENT,
    RetainedKind,
    RetentionRules,
    clock_runs_out,
    ground_of,
)
from runtime.postgres import EmbeddedPostgres
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, plain_url, provision
from tests.conftest import Database
from tests.storage.test_decisions_migration import functions

KIND = RetainedKind.TRANSACTION
DAYS = st.dates(min_value=EARLIEST_EVENT, max_value=LATEST_EVENT)
SETTINGS = st.builds(
    RetentionRules, agreement_years=st.integers(5, 40), law_years=st.integers(0, 40), event_year_counts=st.booleans()
)
CASES = st.lists(st.tuples(DAYS, st.none() | DAYS, SETTINGS), min_size=200, max_size=200)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(plain_url(database.owner_url))
    yield opened
    await opened.close()


@given(cases=CASES)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_clocks_run_out_in_the_database_when_the_rules_say(
    connection: asyncpg.Connection, cases: list[tuple[date, date | None, RetentionRules]]
) -> None:
    asked = [
        {
            "event_on": event_on.isoformat(),
            "consent_until": consent and consent.isoformat(),
            "rules": rules.model_dump(),
        }
        for event_on, consent, rules in cases
    ]
    rows = await connection.fetch(
        "SELECT retention.clock_runs_out((x->>'event_on')::date, x->'rules') AS runs_out,"
        " retention.due_before(retention.clock_runs_out((x->>'event_on')::date, x->'rules'), x->'rules')"
        " > (x->>'event_on')::date AS due_then,"
        " retention.due_before(retention.clock_runs_out((x->>'event_on')::date, x->'rules') - 1, x->'rules')"
        " > (x->>'event_on')::date AS due_before,"
        " retention.ground_of((x->>'event_on')::date, (x->>'consent_until')::date, x->'rules') AS ground"
        " FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS n (x, place) ORDER BY place",
        json.dumps(asked),
    )
    assert [tuple(row.values()) for row in rows] == [
        (clock_runs_out(KIND, event_on, rules), True, False, ground_of(KIND, event_on, rules, consent).value)
        for event_on, consent, rules in cases
    ]


async def test_the_store_and_its_keys_go_and_come_back(postgres_server: EmbeddedPostgres) -> None:
    urls = await provision(postgres_server.admin_url, "retained_back", "retained_back_keys", Passwords.generate())
    now = await functions(urls.owner)
    await downgrade(urls.owner, Tree.MAIN, "0015_payout_order")
    await downgrade(urls.key_owner, Tree.KEYS, "0002_readers")
    assert await schemas(urls.owner) == {"app", "ledger", "vault"}
    assert await tables(urls.key_owner) == {"user_key"}
    await upgrade(urls.owner, Tree.MAIN)
    await upgrade(urls.key_owner, Tree.KEYS)
    assert await functions(urls.owner) == now
    assert await schemas(urls.owner) == {"app", "ledger", "vault", "retention"}
    assert await tables(urls.key_owner) == {"user_key", "retention_key"}


async def schemas(url: str) -> set[str]:
    return await _column(
        url, "SELECT nspname FROM pg_namespace WHERE nspname IN ('app', 'ledger', 'vault', 'retention')"
    )


async def tables(url: str) -> set[str]:
    return await _column(
        url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'keys'::regnamespace"
    )


async def _column(url: str, statement: str) -> set[str]:
    opened = await asyncpg.connect(plain_url(url))
    try:
        return {row[0] for row in await opened.fetch(statement)}
    finally:
        await opened.close()
