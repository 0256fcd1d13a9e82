"""Payees and payouts as they are read: by a merchant its own, by processes any, and the facts of a preview.

Resources come as the database's views give them, so that answers, reads and events agree. Lists come newest first, one
more than asked for if there is another page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.limits import LimitWindow
from domain.payouts import PayoutFacts

Resource = dict[str, Any]

# What a process is started from: the view of a merchant, the open review, and which number is its turn. Each one that
# the bank has definitely declined is followed by another.
PAYOUT_FOR_PROCESS = (
    "app.payout_view(o) || jsonb_build_object('review_id', o.review_id, 'attempt', (SELECT count(*) FROM app.effect e"
    " WHERE e.subject_id = o.id AND e.step = 'PO' AND e.outcome = 'declined'))"
)
REPEATED_WITHIN = timedelta(hours=24)

_PAGE = " AND (CAST(:before AS text) IS NULL OR {0}.id < :before) ORDER BY {0}.id DESC LIMIT :limit"
_PAYEE = sa.text(
    "SELECT app.payee_view(y) AS view, y.account_index, y.name_index, y.element_tokens FROM app.payee y"
    " WHERE y.id = :id AND y.merchant_id = :merchant AND y.user_id IS NOT NULL"
).columns(view=JSONB, element_tokens=JSONB)
_PAYEES = sa.text(
    "SELECT app.payee_view(y) AS view, y.account_index, y.name_index, y.element_tokens FROM app.payee y"  # noqa: S608
    " WHERE y.user_id = :user AND y.merchant_id = :merchant AND y.state = 'active'" + _PAGE.format("y")
).columns(view=JSONB, element_tokens=JSONB)
_PAYOUT = sa.text("SELECT app.payout_view(o) FROM app.payout o WHERE o.id = :id AND o.merchant_id = :merchant")
_PAYOUTS = sa.text(
    "SELECT app.payout_view(o) FROM app.payout o WHERE o.merchant_id = :merchant"  # noqa: S608
    " AND (CAST(:order AS text) IS NULL OR o.order_number = :order)"
    " AND (CAST(:user AS text) IS NULL OR o.user_id = :user)" + _PAGE.format("o")
)
_FOR_PROCESS = sa.text(
    f"SELECT o.merchant_id, {PAYOUT_FOR_PROCESS} AS resource FROM app.payout o WHERE o.id = :id"  # noqa: S608
).columns(resource=JSONB)
_FACTS = sa.text(
    "SELECT y.name_match, EXISTS (SELECT 1 FROM app.payout o JOIN app.payee z ON z.id = o.payee_id"
    " WHERE o.user_id = y.user_id AND z.account_index = y.account_index AND o.accepted_at > :since"
    " AND o.state NOT IN ('failed', 'refused', 'closed')) AS is_repeated"
    " FROM app.payee y WHERE y.id = :payee AND y.user_id = :user AND y.state = 'active'"
)
_USED = sa.text(
    "SELECT u.used_minor FROM app.limit_usage u WHERE u.subject = :subject AND u.window_kind = :kind"
    " AND u.window_start = :start AND u.currency = :currency"
)


@dataclass(frozen=True)
class StoredPayee:
    """A payee as a merchant sees it, and beside that what links it and where the vault has its name and number."""

    view: Resource
    account_index: str
    name_index: str
    element_tokens: dict[str, str]


class PayoutReading:
    """Reads with the app role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def payee(self, merchant_id: str, payee_id: str) -> StoredPayee | None:
        """Also one that was removed."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_PAYEE, {"id": payee_id, "merchant": merchant_id})).one_or_none()
        return None if row is None else StoredPayee(**row._mapping)

    async def payees(self, merchant_id: str, user_id: str, before: str | None, limit: int) -> list[StoredPayee]:
        """Those that can be paid."""
        where = {"merchant": merchant_id, "user": user_id, "before": before, "limit": limit + 1}
        async with self._engine.connect() as connection:
            return [StoredPayee(**row._mapping) for row in await connection.execute(_PAYEES, where)]

    async def payout(self, merchant_id: str, payout_id: str) -> Resource | None:
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(_PAYOUT, {"id": payout_id, "merchant": merchant_id})
        return found

    async def payouts(
        self, merchant_id: str, before: str | None, limit: int, *, order_number: str | None = None,
        user_id: str | None = None,
    ) -> list[Resource]:  # fmt: skip
        where = {"merchant": merchant_id, "before": before, "limit": limit + 1, "order": order_number, "user": user_id}
        async with self._engine.connect() as connection:
            return list((await connection.execute(_PAYOUTS, where)).scalars())

    async def payout_for_process(self, payout_id: str) -> tuple[str, Resource] | None:
        """A payout's merchant and what its process is started from, whoever it is; `review_id` is among it."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_FOR_PROCESS, {"id": payout_id})).one_or_none()
        return None if row is None else (row.merchant_id, row.resource)

    async def facts_for(
        self, user_id: str, payee_id: str, now: datetime, windows: Sequence[LimitWindow] = (), currency: str = "CNY"
    ) -> PayoutFacts | None:
        """What a preview of a payout says of its payee; None unless the payee is the user's and active."""
        where = {"user": user_id, "payee": payee_id, "since": now - REPEATED_WITHIN}
        async with self._engine.connect() as connection:
            row = (await connection.execute(_FACTS, where)).one_or_none()
            if row is None:
                return None
            used = [await self._used(connection, window, currency) for window in windows]
        return PayoutFacts(is_repeated=row.is_repeated, name_match=row.name_match, used_minor=tuple(used))

    @staticmethod
    async def _used(connection: Any, window: LimitWindow, currency: str) -> int:
        where = {"subject": window.subject, "kind": window.window_kind, "start": window.window_start}
        return int(await connection.scalar(_USED, where | {"currency": currency}) or 0)
