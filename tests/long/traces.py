"""What a user leaves in the stores besides the own words: digests, keys, ciphertexts; and where it is found again."""

from __future__ import annotations

import base64
import contextlib
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.personal_data import REGISTRY, PersonalField, Purpose, RetentionRule
from runtime.stack import LocalStack
from tests.end_to_end.world import World
from tests.long.crowd import Member
from tests.long.places import Place, database_url, files
from tests.long.scan import Needles
from vault.sealing import MasterKeys
from vault.vault import Vault

_RULES = {column: rule for field in REGISTRY.values() for column, rule in field.stored_in.items()}
# Digests that are gone with the user. The last four digits are too short to look for.
_DIGESTS = sorted(
    column
    for column, rule in _RULES.items()
    if rule is RetentionRule.UNTIL_ACCOUNT_CLOSED and not column.endswith("last4")
)
# Where a digest is meant to outlive the person.
MAY_STAY = frozenset(
    column.rpartition(".")[0]
    for column, rule in _RULES.items()
    if rule in (RetentionRule.OUTLIVES_AS_PSEUDONYM, RetentionRule.RETAINED_BY_LAW)
)
# PostgreSQL's own files.
DATA = "postgres/data/"
_INSERT = re.compile(rb"^INSERT INTO ([a-z_.]+) ", re.MULTILINE)


async def digests_of(world: World, members: Iterable[Member]) -> dict[str, str]:
    """Everything by which the books know a person, a card, an account or a name again."""
    found: dict[str, str] = {}
    for column in _DIGESTS:
        table, _, name = column.rpartition(".")
        owner = "id" if table == "app.end_user" else "user_id"
        for member in members:
            statement = f"SELECT {name} AS digest FROM {table} WHERE {owner} = :u AND {name} IS NOT NULL"  # noqa: S608
            for row in await world.rows(statement, u=member.user_id):
                found[f"{column} of {member.number}: {len(found)}"] = row["digest"]
    return found


async def key_material_of(world: World, members: Iterable[Member]) -> dict[str, bytes]:
    """Wrapped keys, and what they seal: if both are somewhere, so is the person, for whoever has the master key."""
    whose = {member.user_id: member.number for member in members}
    for row in await world.rows("SELECT DISTINCT user_id, sealed_under FROM app.inbound WHERE user_id IS NOT NULL"):
        if row["user_id"] in whose:
            whose[row["sealed_under"]] = whose[row["user_id"]]
    queries = {
        "liushui_keys": "SELECT user_id, wrapped_key AS secret FROM keys.user_key WHERE user_id = ANY($1)",
        "liushui": "SELECT user_id, ciphertext AS secret FROM vault.item WHERE user_id = ANY($1)",
    }
    found: dict[str, bytes] = {}
    for database, query in queries.items():
        admin = await asyncpg.connect(database_url(world.stack, database))
        try:
            for user_id, secret in await admin.fetch(query, list(whose)):
                kind = "key" if database == "liushui_keys" else "ciphertext"
                if secret is not None:
                    found[f"{kind} {len(found)} of {whose[user_id]}"] = secret
        finally:
            await admin.close()
    return found


def agreement_numbers(stack: LocalStack) -> dict[str, str]:
    """Those that the banks gave: as good as the card itself."""
    path = stack.environment["simulator"]["SIMULATOR_DATABASE"]
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
        rows = books.execute("SELECT agreement_number FROM agreements").fetchall()
    return {f"agreement number {at}": number for at, (number,) in enumerate(rows)}


def by_table(place: str, content: bytes) -> Iterator[Place]:
    """A dump in pieces, each with the rows of one table; what is no row comes first."""
    starts = [(found.start(), found.group(1).decode()) for found in _INSERT.finditer(content)]
    yield place, content[: starts[0][0] if starts else len(content)]
    ends = [start for start, _ in starts[1:]] + [len(content)]
    for (start, table), end in zip(starts, ends, strict=True):
        yield f"{place}, {table}", content[start:end]


def left_on_disk(hits: Iterable[tuple[str, list[str]]]) -> dict[str, int]:
    """How many values are still in PostgreSQL's files, by kind and by area; not that anybody could query them."""
    found: set[tuple[str, str]] = set()
    for place, names in hits:
        area = "write-ahead log" if "/pg_wal/" in place else "tables" if "/base/" in place else place
        found |= {(name.removesuffix(f" in {place}"), area) for name in names}
    return dict(sorted(Counter(f"{name.split(' ')[0]} in {area}" for name, area in found).items()))


def hits_on_disk(stack: LocalStack, needles: Needles) -> Iterator[tuple[str, list[str]]]:
    """In PostgreSQL's files alone."""
    return ((place, needles.found_in(place, content)) for place, content in files(stack) if place.startswith(DATA))


@asynccontextmanager
async def vault_of(stack: LocalStack) -> AsyncIterator[Vault]:
    """As the worker has it."""
    variables = stack.environment["worker"]
    urls = [variables["LIUSHUI_DATABASE_URL"], variables["LIUSHUI_KEY_DATABASE_URL"]]
    main, keys = (create_async_engine(url, poolclass=NullPool, hide_parameters=True) for url in urls)
    secrets = [base64.b64decode(variables[name]) for name in ("LIUSHUI_MASTER_KEY", "LIUSHUI_INDEX_KEY")]
    try:
        yield Vault(
            main=main,
            keys=keys,
            master_keys=MasterKeys([secrets[0]]),
            index_key=secrets[1],
            clock=lambda: datetime.now(UTC),
        )
    finally:
        await main.dispose()
        await keys.dispose()


async def read_through_vault(world: World, vault: Vault, member: Member) -> set[str]:
    """What can be read of a user, by token. Raises UserErasedError."""
    statement = "SELECT token, field FROM vault.item WHERE user_id = :u"
    values: set[str] = set()
    for row in await world.rows(statement, u=member.user_id):
        if row["field"] in (PersonalField.NAME, PersonalField.ID_NUMBER, PersonalField.CARD_NUMBER):
            opened = await vault.reveal(member.user_id, [row["token"]], Purpose.LEGAL_RETENTION, "test")
            values |= set(opened.values())
    return values
