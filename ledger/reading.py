"""Reading the ledger: balances now and at any past instant, statements by cursor, the trial balance.

Amounts are minor units in the account's own normal side, so a balance is never negative.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.tables import account, balance, transfer

MAX_PAGE = 500


class AccountNotFoundError(Exception):
    """There is no account of that code."""


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Balance(_Read):
    """What an account holds; `available` is what can still be spent. `version` counts its changes."""

    account: str
    currency: str
    posted: int
    held: int
    version: int

    @property
    def available(self) -> int:
        return self.posted - self.held


class StatementEntry(_Read):
    """One movement as an account sees it; `change` is positive when the account grew. `version` is the cursor."""

    version: int
    recorded_at: datetime
    booked_at: datetime
    kind: str
    direction: str
    change: int
    posted_after: int
    other_account: str
    key: str
    instruction: str
    reference: str | None


class _Page(_Read):
    account_id: int
    normal_side: str
    cursor: int | None
    limit: int
    order: Literal["newest", "oldest"]


class TrialBalance(_Read):
    """Totals of one currency; the ledger is in balance when both sides are equal."""

    currency: str
    debit_total: int
    credit_total: int
    by_kind: dict[str, int]

    @property
    def difference(self) -> int:
        return self.debit_total - self.credit_total


async def read_balance(connection: AsyncConnection, code: str) -> Balance:
    """The balance now. Raises AccountNotFoundError."""
    query = sa.select(account.c.currency, balance.c.posted, balance.c.held, balance.c.version)
    query = query.join(balance, balance.c.account_id == account.c.id).where(account.c.code == code)
    return _balance_of(code, (await connection.execute(query)).one_or_none())


async def read_balance_at(connection: AsyncConnection, code: str, instant: datetime) -> Balance:
    """The balance, holds included, as it was recorded at a past instant; zeros before the account's first change.

    An instant in the last seconds may still gain what is being committed right now. Raises AccountNotFoundError.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant has a time zone")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("currency", "posted", "held", "version")]
    found = sa.func.ledger.balance_at(code, sa.cast(instant, sa.DateTime(timezone=True))).table_valued(*columns)
    return _balance_of(code, (await connection.execute(sa.select(found))).one_or_none())


async def read_statement(
    connection: AsyncConnection,
    code: str,
    *,
    cursor: int | None = None,
    limit: int = 100,
    order: Literal["newest", "oldest"] = "newest",
) -> list[StatementEntry]:
    """A page of up to `limit` (at most 500) movements that follow `cursor`, the `version` of the last entry seen.

    Versions never change and are only added at the end, and a page is one statement, so pages neither skip nor repeat
    while others write.
    Raises AccountNotFoundError.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} entries")
    found = (await connection.execute(sa.select(account).where(account.c.code == code))).one_or_none()
    if found is None:
        raise AccountNotFoundError(code)
    wanted = _Page(account_id=found.id, normal_side=found.normal_side, cursor=cursor, limit=limit, order=order)
    sides = [_side(wanted, "debit", "credit").subquery(), _side(wanted, "credit", "debit").subquery()]
    merged = sa.union_all(*(sa.select(side) for side in sides)).subquery()
    newest_first = merged.c.version.desc()
    page = sa.select(merged).order_by(newest_first if order == "newest" else merged.c.version).limit(limit)
    return [StatementEntry(**row) for row in (await connection.execute(page)).mappings()]


async def read_trial_balance(connection: AsyncConnection) -> list[TrialBalance]:
    """Debit and credit totals per currency, in one snapshot."""
    query = (
        sa.select(
            account.c.currency, account.c.kind, account.c.normal_side, sa.func.sum(balance.c.posted).label("total")
        )
        .join(balance, balance.c.account_id == account.c.id)
        .group_by(account.c.currency, account.c.kind, account.c.normal_side)
        .order_by(account.c.currency, account.c.kind)
    )
    rows = (await connection.execute(query)).all()
    return [_trial_balance(currency, rows) for currency in sorted({row.currency for row in rows})]


def _trial_balance(currency: str, rows: Any) -> TrialBalance:
    mine = [row for row in rows if row.currency == currency]
    totals = {side: sum(int(row.total) for row in mine if row.normal_side == side) for side in ("debit", "credit")}
    by_kind = {row.kind: int(row.total) for row in mine}
    return TrialBalance(currency=currency, debit_total=totals["debit"], credit_total=totals["credit"], by_kind=by_kind)


def _side(page: _Page, mine: str, other: str) -> sa.Select[Any]:
    """One of the two index scans that make a statement: where the account is debited, or where it is credited."""
    columns = transfer.c
    version, counterpart = columns[f"{mine}_version"], account.alias("counterpart")
    query = (
        sa.select(
            version.label("version"),
            columns.recorded_at,
            columns.booked_at,
            columns.kind,
            columns.direction,
            (columns.amount * (1 if page.normal_side == mine else -1)).label("change"),
            columns[f"{mine}_posted_after"].label("posted_after"),
            counterpart.c.code.label("other_account"),
            columns.key,
            columns.instruction,
            columns.reference,
        )
        .join(counterpart, counterpart.c.id == columns[f"{other}_account_id"])
        .where(columns[f"{mine}_account_id"] == page.account_id, columns.action.in_(("post", "post_hold")))
        .limit(page.limit)
    )
    if page.order == "newest":
        query = query.order_by(version.desc())
        return query if page.cursor is None else query.where(version < page.cursor)
    query = query.order_by(version)
    return query if page.cursor is None else query.where(version > page.cursor)


def _balance_of(code: str, row: Any) -> Balance:
    if row is None:
        raise AccountNotFoundError(code)
    return Balance(account=code, currency=row.currency, posted=row.posted, held=row.held, version=row.version)
