"""Payouts of a test's user that rules have sent to a person: accepted on funds that are there, and under review."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.id_source import UlidSource
from tests.storage.books import BANK, NOW

HITS = [{"rule": "new_payee", "outcome": "review"}]
_FUNDS = sa.text("SELECT error FROM ledger.apply(CAST(:items AS jsonb))")
_PLACE = sa.text(
    "SELECT (app.place_payout(jsonb_populate_record(NULL::app.payout, CAST(:row AS jsonb)),"
    " jsonb_build_array(CAST(:bank AS text)))).id"
)


class Reviewed:
    """Makes payouts, as the owner of the database."""

    def __init__(
        self, owner: AsyncEngine, merchant_id: str, user_id: str, ids: UlidSource, *, bank: str = BANK
    ) -> None:
        self._owner = owner
        self._merchant_id = merchant_id
        self._user_id = user_id
        self._ids = ids
        self._bank = bank

    async def payee(self, **changes: Any) -> str:
        payee_id = f"pye_{self._ids.ulid()}"
        values = {
            "id": payee_id, "merchant_id": self._merchant_id, "user_id": self._user_id, "relation": "other",
            "holder_type": "individual", "region": "CN", "bank_id_kind": "cnaps", "bank_id": "102100099996",
            "account_index": payee_id, "account_last4": "1234", "name_index": payee_id, "element_tokens": {},
            "name_match": "match", "state": "active", "created_at": NOW.isoformat(),
        }  # fmt: skip
        await self._run(
            "INSERT INTO app.payee SELECT * FROM jsonb_populate_record(NULL::app.payee, CAST(:row AS jsonb))",
            row=json.dumps(values | changes),
        )
        return payee_id

    async def payout(self, amount_minor: int = 5_000, *, now: datetime = NOW, **changes: Any) -> str:
        """Accepted and being checked."""
        payout_id, account = f"po_{self._ids.ulid()}", f"user:{self._user_id}:CNY"
        funds = {
            "action": "post", "key": f"{payout_id}:funds", "kind": "collection", "direction": "in",
            "debit": f"reserve:{self._bank}:CNY", "credit": account, "currency": "CNY", "amount": amount_minor + 100,
            "instruction": payout_id, "reference": None, "booked_at": now.isoformat(),
        }  # fmt: skip
        row = {
            "id": payout_id, "merchant_id": self._merchant_id, "user_id": self._user_id, "kind": "transfer",
            "order_number": self._ids.ulid(), "region": "CN", "route": "cn", "amount_minor": amount_minor,
            "currency": "CNY", "source_account": account, "fee_minor": 100, "fee_rule": "2026.1/payout",
            "confirmation_hash": "0" * 64, "agreement_version": "1.0", "origin": "user_relayed", "speed": "real_time",
            "limit_reservations": [], "state": "checking", "accepted_at": now.isoformat(), "wait_reason": "risk_check",
        }  # fmt: skip
        if "payee_id" not in changes:
            row["payee_id"] = await self.payee()
        async with self._owner.begin() as connection:
            posted = await connection.scalar(_FUNDS, {"items": json.dumps([{"item": 0, "transfers": [funds]}])})
            assert posted is None, posted
            placed = await connection.scalar(_PLACE, {"row": json.dumps(row | changes), "bank": self._bank})
        assert placed == payout_id
        return payout_id

    async def review(self, amount_minor: int = 5_000, *, now: datetime = NOW, **changes: Any) -> tuple[str, str]:
        """A payout under review, and its review."""
        payout_id = await self.payout(amount_minor, now=now, **changes)
        return payout_id, await self.send_to_review(payout_id, now)

    async def send_to_review(self, payout_id: str, now: datetime = NOW) -> str:
        async with self._owner.begin() as connection:
            await connection.execute(
                sa.text("UPDATE app.payout SET state = 'under_review', state_since = :at WHERE id = :id"),
                {"id": payout_id, "at": now},
            )
            statement = sa.text("SELECT app.open_review(p, :hits, :at) FROM app.payout p WHERE p.id = :id")
            made = await connection.scalar(
                statement.bindparams(sa.bindparam("hits", type_=JSONB)), {"id": payout_id, "hits": HITS, "at": now}
            )
        return str(made["review_id"])

    async def _run(self, statement: str, **parameters: Any) -> None:
        async with self._owner.begin() as connection:
            await connection.execute(sa.text(statement), parameters)
