"""Settlement of merchants in the books: written and paid by the worker, read by merchants and operators.

Resources come as the database's views give them. Lists come newest first, one more than asked for if there is another
page.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.settlements import MerchantDay, PaySettlement, ProposeSettlementAccount, SettlementStuckError
from storage.administration import Act
from storage.instructions import refusal

Resource = dict[str, Any]

_TO_SETTLE = sa.text("SELECT * FROM app.merchants_to_settle(:on, :through, :after, :after_currency, :most)")
_TO_PAY = sa.text("SELECT settlement_id FROM app.settlements_to_pay(:after, :most)")
_STUCK = sa.text(
    "SELECT app.record_operation(:at, 'process', :action, 'failed', :reason, :subject, CAST(NULL AS text))"
)
_ONE = "SELECT app.settlement_view(s) AS view FROM app.settlement_report s WHERE s.id = :id"
_OWN = sa.text(f"{_ONE} AND s.merchant_id = :merchant").columns(view=JSONB)
_PAGE = sa.text(
    "SELECT app.settlement_view(s) AS view FROM app.settlement_report s WHERE s.merchant_id = :merchant"
    " AND (CAST(:before AS text) IS NULL OR s.id < :before) ORDER BY s.id DESC LIMIT :limit"
).columns(view=JSONB)
_LINES = sa.text(
    "SELECT app.settlement_line_view(l) AS view FROM app.settlement_line l WHERE l.settlement_id = :id"
    " AND (CAST(:after AS text) IS NULL OR (l.at, l.kind, l.subject_id) > (SELECT a.at, a.kind, a.subject_id"
    " FROM app.settlement_line a WHERE a.settlement_id = :id AND a.kind || ':' || a.subject_id = :after))"
    " ORDER BY l.at, l.kind, l.subject_id LIMIT :limit"
).columns(view=JSONB)
_ACCOUNTS = sa.text(
    "SELECT app.payee_view(y) AS view, y.element_tokens FROM app.payee y WHERE y.merchant_id = :merchant"
    " AND y.user_id IS NULL AND y.state <> 'removed' ORDER BY y.id"
).columns(view=JSONB, element_tokens=JSONB)
_TO_DECIDE = sa.text(
    "SELECT jsonb_build_object('id', n.id, 'merchant_id', n.merchant_id) AS view FROM app.payee y"
    " JOIN app.payee n ON n.merchant_id = y.merchant_id AND n.user_id IS NULL AND (n.id = y.id OR n.state = 'active')"
    " WHERE y.id = :id AND y.user_id IS NULL ORDER BY n.id = y.id DESC"
).columns(view=JSONB)
_NAME_TOKEN = sa.text("SELECT y.element_tokens->>'name' FROM app.payee y WHERE y.id = :id")
_OWNER = sa.text("SELECT y.merchant_id FROM app.payee y WHERE y.id = :id")
_OF_ALL = sa.text(
    "SELECT app.settlement_view(s) || jsonb_build_object('merchant_id', s.merchant_id) AS view"
    " FROM app.settlement_report s WHERE (CAST(:id AS text) IS NULL OR s.id = :id)"
    " AND (CAST(:state AS text) IS NULL OR s.state = :state)"
    " AND (CAST(:merchant AS text) IS NULL OR s.merchant_id = :merchant)"
    " AND (CAST(:before AS text) IS NULL OR s.id < :before) ORDER BY s.id DESC LIMIT :limit"
).columns(view=JSONB)
_RECEIVABLE = sa.text(
    "SELECT jsonb_build_object('amount_minor', r.amount_minor, 'opened_at', app.instant(r.opened_at),"
    " 'cleared_by', r.cleared_by, 'cleared_at', app.instant(r.cleared_at)) AS view"
    " FROM app.merchant_receivable r WHERE r.settlement_id = :id"
).columns(view=JSONB)


class SettlementBook:
    """Adds up and pays out; the worker's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def merchants_to_settle(
        self, on: date, through: date, after: MerchantDay | None, most: int
    ) -> list[MerchantDay]:
        """Those with something to settle that have no settlement of this day yet, by merchant and currency."""
        start = {"after": after.merchant_id if after else "", "after_currency": after.currency if after else ""}
        async with self._engine.connect() as connection:
            rows = await connection.execute(_TO_SETTLE, {"on": on, "through": through, "most": most, **start})
            return [MerchantDay(**row._mapping) for row in rows]

    async def report(
        self, whose: MerchantDay, on: date, through: date, settlement_id: str, now: datetime
    ) -> Resource | None:
        """The settlement of a merchant's day, written once; None where there is nothing to settle.

        Raises SettlementStuckError where this one cannot be written, and what the database raises where none can.
        """
        item = whose.model_dump() | {
            "now": now.isoformat(), "id": settlement_id, "business_date": on.isoformat(),
            "through_date": through.isoformat(),
        }  # fmt: skip
        answer = await self._call("app.report_settlement", item)
        if not answer["ok"]:
            raise SettlementStuckError(answer["error"])
        resource: Resource | None = answer["resource"]
        return resource

    async def to_pay(self, after: str | None, most: int) -> list[str]:
        """Settlements whose money is to be paid out, by id."""
        async with self._engine.connect() as connection:
            return list((await connection.scalars(_TO_PAY, {"after": after or "", "most": most})).all())

    async def pay(self, command: PaySettlement) -> str | None:
        """Holds the money in a payout; answers what it waits for instead, or None. Raises as `report` does."""
        answer = await self._call("app.pay_settlement", command.model_dump(mode="json"))
        return None if answer["ok"] else str(answer["error"])

    async def note_stuck(self, action: str, subject_id: str, reason: str, now: datetime) -> None:
        """Records that one was left out."""
        async with self._engine.begin() as connection:
            await connection.execute(_STUCK, {"at": now, "action": action, "subject": subject_id, "reason": reason})

    async def _call(self, function: str, item: Mapping[str, Any]) -> Resource:
        try:
            return await call(self._engine, function, item)
        except OperationalError:
            raise
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            state = getattr(error.orig, "sqlstate", None)
            raise SettlementStuckError(f"sqlstate_{state or 'unknown'}") from error


class SettlementReading:
    """What a merchant sees of its own, and what it proposes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def settlement(self, merchant_id: str, settlement_id: str) -> Resource | None:
        found = await self._all(_OWN, id=settlement_id, merchant=merchant_id)
        return found[0] if found else None

    async def settlements(self, merchant_id: str, before: str | None, limit: int) -> list[Resource]:
        return await self._all(_PAGE, merchant=merchant_id, before=before, limit=limit + 1)

    async def lines(self, settlement_id: str, after: str | None, limit: int) -> list[Resource]:
        """In order of time; `after` is `kind:id` of the last line before them. One more than asked for, if there is."""
        return await self._all(_LINES, id=settlement_id, after=after, limit=limit + 1)

    async def accounts(self, merchant_id: str) -> list[tuple[Resource, str]]:
        """The account that is in force and the one that is proposed, each with the token of its holder's name."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_ACCOUNTS, {"merchant": merchant_id})
            return [(row.view, row.element_tokens["name"]) for row in rows]

    async def name_token(self, payee_id: str) -> str:
        async with self._engine.connect() as connection:
            return str(await connection.scalar(_NAME_TOKEN, {"id": payee_id}))

    async def owner(self, payee_id: str) -> str:
        """Whose settlement account it is."""
        async with self._engine.connect() as connection:
            return str(await connection.scalar(_OWNER, {"id": payee_id}))

    async def propose_account(self, command: ProposeSettlementAccount) -> Resource:
        """Raises DomainError: MERCHANT_SUSPENDED, PAYEE_EXISTS."""
        answer = await call(self._engine, "app.propose_settlement_account", command.model_dump(mode="json"))
        return _resource(answer)

    async def _all(self, statement: Any, **values: Any) -> list[Resource]:
        async with self._engine.connect() as connection:
            return [row.view for row in await connection.execute(statement, values)]


class OpsSettlements(SettlementReading):
    """Those of all merchants, with the ops role."""

    async def page(
        self, before: str | None, limit: int, *, state: str | None, merchant_id: str | None
    ) -> list[Resource]:
        return await self._all(_OF_ALL, id=None, state=state, merchant=merchant_id, before=before, limit=limit + 1)

    async def one(self, settlement_id: str) -> Resource | None:
        """With the receivable that it left, if it did."""
        found = await self._all(_OF_ALL, id=settlement_id, state=None, merchant=None, before=None, limit=1)
        if not found:
            return None
        receivables = await self._all(_RECEIVABLE, id=settlement_id)
        return found[0] | {"receivable": receivables[0] if receivables else None}

    async def to_decide(self, account_id: str) -> list[Resource]:
        """`id` and `merchant_id` of a merchant's account, then of the one in force if that is another; empty if it is
        no merchant's.
        """
        return await self._all(_TO_DECIDE, id=account_id)

    async def pay_again(self, act: Act, operator_id: str, settlement_id: str, reason: str) -> Resource:
        """Has one whose payout failed paid anew. Raises DomainError: SETTLEMENT_NOT_FOUND, SETTLEMENT_NOT_PAYABLE."""
        item = {
            "now": act.at.isoformat(), "actor": act.actor, "request_id": act.request_id, "operator_id": operator_id,
            "settlement_id": settlement_id, "reason": reason,
        }  # fmt: skip
        return _resource(await call(self._engine, "app.reopen_settlement", item))


async def call(engine: AsyncEngine, function: str, item: Mapping[str, Any]) -> Resource:
    """One call in one transaction."""
    statement = sa.text(f"SELECT {function}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
    async with engine.begin() as connection:
        answer: Resource = await connection.scalar(statement.columns(answer=JSONB), {"item": item})
    return answer


def _resource(answer: Resource) -> Resource:
    if not answer["ok"]:
        raise refusal(answer)
    resource: Resource = answer["resource"]
    return resource
