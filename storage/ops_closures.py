"""Closures and disputes as operators record and look at them, with the ops role (`storage/sql/0017_*.sql`).

Lists come newest first, one more than asked for if there is another page.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.instructions import refusal

Resource = dict[str, Any]

_WORK = sa.text("SELECT app.work_on_closure(CAST(:item AS jsonb))")
_FACTS = sa.text("SELECT app.closure_facts(:id, :at)")
_PAGE = sa.text(
    "SELECT app.closure_view(c, :at, true) FROM app.closure c"
    " WHERE (CAST(:state AS text) IS NULL OR c.state = :state)"
    " AND (CAST(:merchant AS text) IS NULL OR c.merchant_id = :merchant)"
    " AND (CAST(:user AS text) IS NULL OR c.user_id = :user)"
    " AND (NOT :overdue OR c.due_on < :today AND c.state NOT IN ('completed', 'refused'))"
    " AND (CAST(:before AS text) IS NULL OR c.id < :before) ORDER BY c.id DESC LIMIT :limit"
)
_DISPUTE = "app.dispute_view(d) || jsonb_build_object('merchant_id', d.merchant_id, 'opened_by', d.opened_by,"
_DISPUTE += " 'resolved_by', d.resolved_by, 'resolution', (SELECT r.detail->>'resolution' FROM app.decision r"
_DISPUTE += " WHERE r.id = d.resolved_by))"
_DISPUTES = sa.text(
    f"SELECT {_DISPUTE} FROM app.dispute d"  # noqa: S608 - no values
    " WHERE (CAST(:id AS text) IS NULL OR d.id = :id) AND (CAST(:state AS text) IS NULL OR d.state = :state)"
    " AND (CAST(:merchant AS text) IS NULL OR d.merchant_id = :merchant)"
    " AND (CAST(:user AS text) IS NULL OR d.user_id = :user)"
    " AND (CAST(:before AS text) IS NULL OR d.id < :before) ORDER BY d.id DESC LIMIT :limit"
)
# What a decision about a closure, a dispute or an order changes: the closure that its process has to look at.
_OPEN_OF = sa.text(
    "SELECT c.id FROM app.closure c WHERE c.id = :subject OR c.state NOT IN ('completed', 'refused') AND c.user_id IN"
    " (SELECT d.user_id FROM app.dispute d WHERE d.id = :subject UNION ALL SELECT CAST(:subject AS text))"
    " ORDER BY c.id DESC LIMIT 1"
)


class OpsClosures:
    """Over an engine of the ops role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def work(self, what: str, command: BaseModel) -> Resource:
        """The closure or dispute as it then stands; recorded by the function, also when it is refused.

        `what`: record_closure, verify_identity or record_dispute. Raises NotAllowedError(PERMISSION_MISSING),
        NotFoundError(USER_NOT_FOUND, CLOSURE_NOT_FOUND, DISPUTE_SUBJECT_NOT_FOUND), and for what stands in the way
        ConflictError or RefusedError.
        """
        item = {"what": what, **command.model_dump(mode="json")}
        async with self._engine.begin() as connection:
            answer: Resource = _parsed(await connection.scalar(_WORK, {"item": json.dumps(item)}))
        if not answer["ok"]:
            raise refusal(answer)
        made: Resource = answer["resource"]
        return made

    async def facts(self, closure_id: str, now: datetime) -> Resource | None:
        """A closure in full (`closure`), with what its answer is made of; None if there is none."""
        async with self._engine.connect() as connection:
            found: Resource | None = _parsed(await connection.scalar(_FACTS, {"id": closure_id, "at": now}))
        return found

    async def page(
        self,
        before: str | None,
        limit: int,
        *,
        now: datetime,
        today: date,
        state: str | None = None,
        merchant_id: str | None = None,
        user_id: str | None = None,
        overdue: bool = False,
    ) -> list[Resource]:
        """With `overdue` only those that should have been answered before today."""
        asked = {
            "before": before, "limit": limit + 1, "at": now, "today": today, "state": state, "merchant": merchant_id,
            "user": user_id, "overdue": overdue,
        }  # fmt: skip
        return await self._rows(_PAGE, asked)

    async def disputes(
        self,
        before: str | None,
        limit: int,
        *,
        state: str | None = None,
        merchant_id: str | None = None,
        user_id: str | None = None,
    ) -> list[Resource]:
        asked = {"before": before, "limit": limit + 1, "state": state, "merchant": merchant_id, "user": user_id}
        return await self._rows(_DISPUTES, asked | {"id": None})

    async def dispute(self, dispute_id: str) -> Resource | None:
        asked = {"id": dispute_id, "before": None, "limit": 1, "state": None, "merchant": None, "user": None}
        found = await self._rows(_DISPUTES, asked)
        return found[0] if found else None

    async def to_tell(self, subject_id: str) -> str | None:
        """The closure whose process a change to this subject (a closure, dispute or user) matters to."""
        async with self._engine.connect() as connection:
            found: str | None = await connection.scalar(_OPEN_OF, {"subject": subject_id})
        return found

    async def _rows(self, statement: sa.TextClause, asked: Resource) -> list[Resource]:
        async with self._engine.connect() as connection:
            return [_parsed(row) for row in (await connection.execute(statement, asked)).scalars()]


def _parsed(value: Any) -> Any:
    """A JSON column that was read through plain text SQL comes as text with some drivers, parsed with others."""
    return json.loads(value) if isinstance(value, str) else value
