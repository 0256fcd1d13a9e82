"""Foreign currency as it is read: by a merchant its own, by processes and operators any. Lists come newest first, one
more than asked for if there is another page.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

Resource = dict[str, Any]

# What a process is started from: the view of a merchant, and which number is its turn. Each one that the desk has
# definitely turned away is followed by another.
FX_FOR_PROCESS = (
    "app.fx_view(f) || jsonb_build_object('merchant_id', f.merchant_id, 'attempt', (SELECT count(*) FROM app.effect e"
    " WHERE e.subject_id = f.id AND e.step IN ('FX', 'FR') AND e.outcome = 'declined'))"
)
_PAGE = " AND (CAST(:before AS text) IS NULL OR {0}.id < :before) ORDER BY {0}.id DESC LIMIT :limit"


def _one(table: str, view: str, alias: str) -> sa.TextualSelect:
    return sa.text(
        f"SELECT app.{view}({alias}) AS view FROM app.{table} {alias}"  # noqa: S608 - names of ours
        f" WHERE {alias}.id = :id AND (CAST(:merchant AS text) IS NULL OR {alias}.merchant_id = :merchant)"
    ).columns(view=JSONB)


def _many(table: str, view: str, alias: str) -> sa.TextualSelect:
    return sa.text(
        f"SELECT app.{view}({alias}) AS view FROM app.{table} {alias} WHERE"  # noqa: S608
        f" (CAST(:merchant AS text) IS NULL OR {alias}.merchant_id = :merchant)"
        f" AND (CAST(:user AS text) IS NULL OR {alias}.user_id = :user)"
        f" AND (CAST(:state AS text) IS NULL OR {alias}.state = :state)" + _PAGE.format(alias)
    ).columns(view=JSONB)


_NOUNS = {
    "fx": ("fx_view", "f"),
    "inbound": ("inbound_view", "b"),
    "fx_mandate": ("fx_mandate_view", "m"),
    "receiving_account": ("receiving_account_view", "r"),
}
_ONE = {table: _one(table, *names) for table, names in _NOUNS.items()}
_MANY = {table: _many(table, *names) for table, names in _NOUNS.items()}
_TOKENS = sa.text("SELECT element_tokens, user_id FROM app.receiving_account WHERE id = :id").columns(
    element_tokens=JSONB
)
_INBOUND_TOKENS = sa.text("SELECT element_tokens, sealed_under FROM app.inbound WHERE id = :id").columns(
    element_tokens=JSONB
)
_REMITTERS = sa.text(
    "SELECT b.id, b.sealed_under, b.element_tokens->>'remitter' AS token FROM app.inbound b"
    " WHERE b.id = ANY(CAST(:ids AS text[])) AND b.element_tokens ? 'remitter'"
)
_FOR_PROCESS = sa.text(f"SELECT {FX_FOR_PROCESS} AS view FROM app.fx f WHERE f.id = :id").columns(view=JSONB)  # noqa: S608
_RETURN = sa.text("SELECT app.inbound_return_view(r) AS view FROM app.inbound_return r WHERE r.id = :id").columns(
    view=JSONB
)
_IDENTITY = sa.text(
    "SELECT b.element_tokens->>'name' AS name, b.element_tokens->>'id_number' AS id_number FROM app.binding b"
    " JOIN app.end_user u ON u.id = b.user_id AND u.person_index = b.person_index"
    " WHERE b.user_id = :user AND b.state IN ('open', 'unbinding', 'unbound') ORDER BY b.id DESC LIMIT 1"
)
_VALUE_DATE = sa.text("SELECT app.value_date_ahead(:user, :currency, :at) AS day").columns(day=sa.Date)


class FxReading:
    """Conversions, remittances, mandates and receiving accounts; `merchant_id` None reads those of all merchants."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def one(self, noun: str, merchant_id: str | None, object_id: str) -> Resource | None:
        """`noun`: fx, inbound, fx_mandate, receiving_account."""
        return await self._view(_ONE[noun], id=object_id, merchant=merchant_id)

    async def many(
        self, noun: str, merchant_id: str | None, before: str | None, limit: int, *,
        user_id: str | None = None, state: str | None = None,
    ) -> list[Resource]:  # fmt: skip
        given = {"merchant": merchant_id, "user": user_id, "state": state, "before": before, "limit": limit + 1}
        async with self._engine.connect() as connection:
            return [row.view for row in await connection.execute(_MANY[noun], given)]

    async def for_process(self, fx_id: str) -> Resource | None:
        """What `settle-fx` is started from, with `merchant_id` and `attempt`."""
        return await self._view(_FOR_PROCESS, id=fx_id)

    async def inbound_return(self, return_id: str) -> Resource | None:
        return await self._view(_RETURN, id=return_id)

    async def receiving_account_tokens(self, account_id: str) -> tuple[str, dict[str, str]]:
        """Whose receiving account it is, and the vault's tokens: name, and account_number once it is open."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_TOKENS, {"id": account_id})).one()
        return row.user_id, row.element_tokens

    async def inbound_tokens(self, inbound_id: str) -> tuple[str, dict[str, str]]:
        """Under whose key the names of a remittance are, and their tokens: remitter, receiver, account."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_INBOUND_TOKENS, {"id": inbound_id})).one()
        return row.sealed_under, row.element_tokens

    async def remitters(self, inbound_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Of each of these remittances: under whose key the remitter's name is, and its token."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_REMITTERS, {"ids": list(inbound_ids)})
            return {row.id: (row.sealed_under, row.token) for row in rows}

    async def identity_tokens(self, user_id: str) -> dict[str, str] | None:
        """The vault's tokens of the name and the document that a bank has confirmed; None if none has."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_IDENTITY, {"user": user_id})).mappings().one_or_none()
        return None if row is None else dict(row)

    async def value_date_ahead(self, user_id: str, currency: str, at: datetime) -> date | None:
        """The latest value date of the user's remittances that may still be ahead: that of a new conversion."""
        async with self._engine.connect() as connection:
            given = {"user": user_id, "currency": currency, "at": at}
            found: date | None = await connection.scalar(_VALUE_DATE, given)
            return found

    async def _view(self, statement: Any, **values: Any) -> Resource | None:
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(statement, values)
        return found
