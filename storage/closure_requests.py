"""Closures and disputes as merchants ask for and read them: their own and nobody else's.

Resources come as the database's views give them, lists newest first and one more than asked for if there is another
page. A refusal comes back as the `DomainError` of its code.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.closure_requests import AcceptClosure, HandOverRecords, OpenDispute, ReplyToErasure
from storage.fx import call
from storage.instructions import refusal

Resource = dict[str, Any]

_PAGE = (
    " AND (CAST(:user AS text) IS NULL OR {0}.user_id = :user) AND (CAST(:state AS text) IS NULL OR {0}.state = :state)"
    " AND (CAST(:before AS text) IS NULL OR {0}.id < :before) ORDER BY {0}.id DESC LIMIT :limit"
)
_CLOSURE = sa.text(
    "SELECT app.closure_view(c, :at) AS view FROM app.closure c WHERE c.id = :id AND c.merchant_id = :merchant"
).columns(view=JSONB)
_CLOSURES = sa.text(
    "SELECT app.closure_view(c, :at) AS view FROM app.closure c WHERE c.merchant_id = :merchant"  # noqa: S608
    + _PAGE.format("c")
).columns(view=JSONB)
_FACTS = sa.text(
    "SELECT app.closure_facts(c.id, :at) AS facts FROM app.closure c WHERE c.id = :id AND c.merchant_id = :merchant"
).columns(facts=JSONB)
_STANDING = sa.text(
    "SELECT c.scope, c.state, c.user_id, app.records_clock(c.id) AS clock"
    " FROM app.closure_of_merchant(:id, :merchant) c WHERE c.id IS NOT NULL"
).columns(clock=JSONB)
_DISPUTE = sa.text(
    "SELECT app.dispute_view(d) AS view FROM app.dispute d WHERE d.id = :id AND d.merchant_id = :merchant"
).columns(view=JSONB)
_DISPUTES = sa.text(
    "SELECT app.dispute_view(d) AS view FROM app.dispute d WHERE d.merchant_id = :merchant"  # noqa: S608
    + _PAGE.format("d")
).columns(view=JSONB)


class ClosureRequests:
    """`engine` is of the app role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def accept(self, command: AcceptClosure) -> Resource:
        """From its commit on nothing new is accepted for the user but what empties the account."""
        return await self._ask("app.accept_closure", command)

    async def hand_over(self, command: HandOverRecords) -> Resource:
        """The records themselves are in the retention store by then."""
        return await self._ask("app.hand_over_records", command)

    async def reply_to_erasure(self, command: ReplyToErasure) -> Resource:
        """A reply that was given stands."""
        return await self._ask("app.reply_to_erasure", command)

    async def open_dispute(self, command: OpenDispute) -> Resource:
        """From its commit on the user's account cannot be closed."""
        return await self._ask("app.open_dispute", command)

    async def standing(self, merchant_id: str, closure_id: str) -> Resource | None:
        """Scope, state, user and clock of records of the merchant's own closure; None for anybody else's too."""
        async with self._engine.connect() as connection:
            given = {"merchant": merchant_id, "id": closure_id}
            row = (await connection.execute(_STANDING, given)).mappings().one_or_none()
        return None if row is None else dict(row)

    async def closure(self, merchant_id: str, closure_id: str, at: datetime) -> Resource | None:
        """The closure, and what is in its way at this instant."""
        return await self._one(_CLOSURE, merchant=merchant_id, id=closure_id, at=at)

    async def closures(
        self, merchant_id: str, before: str | None, limit: int, at: datetime, *, user_id: str | None, state: str | None
    ) -> list[Resource]:
        given = {"merchant": merchant_id, "before": before, "limit": limit + 1, "user": user_id, "state": state}
        return await self._many(_CLOSURES, at=at, **given)

    async def facts(self, merchant_id: str, closure_id: str, at: datetime) -> Resource | None:
        """What the answer to the user is made of."""
        return await self._one(_FACTS, merchant=merchant_id, id=closure_id, at=at)

    async def dispute(self, merchant_id: str, dispute_id: str) -> Resource | None:
        return await self._one(_DISPUTE, merchant=merchant_id, id=dispute_id)

    async def disputes(
        self, merchant_id: str, before: str | None, limit: int, *, user_id: str | None, state: str | None
    ) -> list[Resource]:
        given = {"merchant": merchant_id, "before": before, "limit": limit + 1, "user": user_id, "state": state}
        return await self._many(_DISPUTES, **given)

    async def _ask(self, function: str, command: BaseModel) -> Resource:
        answer = await call(self._engine, function, command)
        if not answer["ok"]:
            raise refusal(answer)
        resource: Resource = answer["resource"]
        return resource

    async def _one(self, statement: Any, **values: Any) -> Resource | None:
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(statement, values)
        return found

    async def _many(self, statement: Any, **values: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            return list((await connection.scalars(statement, values)).all())
