"""More merchants and users for tests of foreign currency: the same person at two merchants, others, an enterprise."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from domain.instructions import RequestContext
from tests.storage.books import NOW
from tests.storage.fx_books import OVERSEAS, FxBooks, add_user


@dataclass(frozen=True)
class FxUser:
    """A user at a merchant, with what it takes to hold money and to have it converted."""

    fx: FxBooks
    user_id: str
    merchant_id: str
    person: str
    enterprise: bool = False

    def context(self) -> RequestContext:
        return RequestContext(
            merchant_id=self.merchant_id, key_id="key_test", request_id=self.fx.books.new_id("req"),
            idempotency_key=None,
        )  # fmt: skip

    async def hold(self, amount_minor: int, currency: str = "USD", bank: str = OVERSEAS) -> None:
        """Puts foreign currency on the balance, as an inbound remittance would."""
        key, account = self.fx.books.new_id("inb"), f"user:{self.user_id}:{currency}"
        transfer = {
            "action": "post", "key": f"{key}:credited", "kind": "inbound", "direction": "in",
            "debit": f"reserve:{bank}:{currency}", "credit": account, "currency": currency, "amount": amount_minor,
            "instruction": key, "reference": key, "booked_at": NOW.isoformat(),
        }  # fmt: skip
        await self.fx.books.run("SELECT ledger.open_accounts(ARRAY[:a, :r])", a=account, r=transfer["debit"])
        async with self.fx.books.owner.begin() as connection:
            statement = sa.text("SELECT error FROM ledger.apply(CAST(:items AS jsonb))")
            items = json.dumps([{"item": 0, "transfers": [transfer]}])
            assert await connection.scalar(statement, {"items": items}) is None

    async def instruct(self, amount_minor: int, currency: str = "USD", **changes: Any) -> dict[str, Any]:
        """A conversion of what is on the balance."""
        values = {
            "request": self.context(), "user_id": self.user_id,
            "residency": "enterprise" if self.enterprise else "domestic_individual",
        } | changes  # fmt: skip
        return await self.fx.accept(amount_minor, currency, **values)

    async def funded(self, amount_minor: int, currency: str = "USD", **changes: Any) -> dict[str, Any]:
        await self.hold(amount_minor, currency)
        return await self.instruct(amount_minor, currency, **changes)


async def add_merchant(fx: FxBooks) -> str:
    merchant_id = fx.books.new_id("mch")
    await fx.books.run(
        "INSERT INTO app.merchant (id, name, state, contract_until, created_at)"
        " SELECT :m, name, state, contract_until, created_at FROM app.merchant WHERE id = :old",
        m=merchant_id, old=fx.books.merchant_id,
    )  # fmt: skip
    return merchant_id


async def add_fx_user(fx: FxBooks, merchant_id: str, person: str, *, enterprise: bool = False) -> FxUser:
    user_id = await add_user(fx, merchant_id, person, "enterprise" if enterprise else "individual")
    return FxUser(fx, user_id, merchant_id, person, enterprise)


async def become(users: list[FxUser], person: str) -> list[FxUser]:
    """The same users as another person, whose quota is its own."""
    books = users[0].fx.books
    for table, column in (("end_user", "id"), ("binding", "user_id")):
        await books.run(
            f"UPDATE app.{table} SET person_index = :p WHERE {column} = ANY(:ids)",  # noqa: S608 - names of ours
            p=person, ids=[user.user_id for user in users],
        )  # fmt: skip
    return [replace(user, person=person) for user in users]


def first_user(fx: FxBooks) -> FxUser:
    """The one that the books begin with."""
    return FxUser(fx, fx.books.user_id, fx.books.merchant_id, "person-1")
