"""Fingerprints of everything that is stored, to show that something was left exactly as it was."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from tests.api.conftest import Stage

# What a request leaves even when it changes nothing: its record, its key, its nonce and signature, and which personal
# data were read for it.
OF_ASKING = frozenset(
    {"app.operation", "app.idempotency", "app.signature_nonce", "app.instruction_signature", "vault.access"}
)
_TABLES = sa.text(
    "SELECT schemaname, tablename FROM pg_tables"
    " WHERE schemaname IN ('app', 'ledger', 'vault', 'retention') ORDER BY 1, 2"
)


async def fingerprints(stage: Stage, marks: Collection[str] = ()) -> dict[str, tuple[int, str]]:
    """By table: how many rows there are and a digest of them all; only of those that hold one of `marks`, if given."""
    pattern = "|".join(sorted(marks))
    found = {}
    async with stage.database.owner_engine.connect() as connection:
        for schema, table in (await connection.execute(_TABLES)).all():
            name = f"{schema}.{table}"
            if name in OF_ASKING:
                continue
            chosen = sa.text(
                "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '')"  # noqa: S608
                f" FROM {name} t WHERE t::text ~ :pattern"
            )
            count, digest = (await connection.execute(chosen, {"pattern": pattern})).one()
            found[name] = (count, digest)
    return found
