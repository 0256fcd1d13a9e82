"""A small book to post in: two users and a merchant, money of theirs at one bank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.conftest import Database

RESERVE = "reserve:HBRB:CNY"
ALICE = "user:usr_alice:CNY"
BOB = "user:usr_bob:CNY"
MERCHANT = "merchant_available:mch_shop:CNY"
DOLLARS = "user:usr_alice:USD"
ACCOUNTS = [RESERVE, ALICE, BOB, MERCHANT, DOLLARS, "fee_income:CNY"]
AT = "2026-11-22T10:00:00+08:00"


def post(key: str, amount: int, debit: str = ALICE, credit: str = BOB, **other: Any) -> dict[str, Any]:
    """A transfer that moves money from one user to another unless told otherwise."""
    base = {"action": "post", "key": key, "kind": "merchant_settlement", "direction": "internal", "debit": debit}
    base |= {"credit": credit, "currency": "CNY", "amount": amount, "instruction": f"pay_{key}", "booked_at": AT}
    return base | other


def pay_in(key: str, amount: int, user: str = ALICE) -> dict[str, Any]:
    """Money that arrives at the bank for a user."""
    return post(key, amount, RESERVE, user, kind="collection", direction="in")


def hold(key: str, amount: int, debit: str = ALICE, credit: str = RESERVE, **other: Any) -> dict[str, Any]:
    """Money set aside for a payout; it lowers the user and the reserve, so both are held."""
    return post(key, amount, debit, credit, action="hold", kind="payout", direction="out") | other


def end(action: str, key: str, held: str, amount: int | None = None) -> dict[str, Any]:
    """The end of a hold: `post_hold` or `release_hold`."""
    return {"action": action, "key": key, "hold": held, "amount": amount, "booked_at": AT}


class Books:
    """The ledger as the owner's functions see it, over one connection that commits each statement."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    async def apply(self, *items: Sequence[Any], set_based: bool = True) -> list[tuple[str | None, Any]]:
        """Error and detail of each item, in the order of the items."""
        batch = [{"item": number, "transfers": transfers} for number, transfers in enumerate(items)]
        return await self.apply_raw(batch, set_based=set_based)

    async def apply_raw(self, batch: Any, *, set_based: bool = True) -> list[tuple[str | None, Any]]:
        statement = sa.text("SELECT item, error, detail FROM ledger.apply(CAST(:items AS jsonb), :set_based)")
        rows = await self.connection.execute(statement, {"items": json.dumps(batch), "set_based": set_based})
        return [(row.error, row.detail) for row in sorted(rows.all(), key=lambda row: row.item)]

    async def must(self, *transfers: dict[str, Any]) -> None:
        """Applies transfers as one item, which has to go well."""
        assert await self.apply(transfers) == [(None, None)]

    async def open(self, *codes: str) -> None:
        statement = sa.text("SELECT ledger.open_accounts(CAST(:codes AS text[]))")
        await self.connection.execute(statement, {"codes": list(codes)})

    async def balances(self) -> dict[str, tuple[int, int]]:
        """Posted and held of every account that was ever touched."""
        query = "SELECT code, posted, held FROM ledger.account JOIN ledger.balance ON id = account_id WHERE version > 0"
        rows = await self.connection.execute(sa.text(query))
        return {row.code: (row.posted, row.held) for row in rows}

    async def count(self) -> int:
        return int((await self.connection.execute(sa.text("SELECT count(*) FROM ledger.transfer"))).scalar_one())


@pytest.fixture
async def books(database: Database) -> Any:
    """An empty ledger with its accounts opened."""
    async with database.owner_engine.connect() as connection:
        books = Books(await connection.execution_options(isolation_level="AUTOCOMMIT"))
        await books.open(*ACCOUNTS)
        yield books
