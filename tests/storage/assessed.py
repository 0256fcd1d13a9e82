"""Payouts of a test's user to payees with names in the vault, judged by the activity over the real books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from activities.assessing import Assessing
from activities.interfaces import Assessment, AssessmentRequest
from config.policy import read_policy
from domain.personal_data import PersonalField
from domain.policy import Policy
from domain.risk_rules import RuleSet
from domain.screening import ListEntry, NewList
from screening.lists import ListScreening
from screening.rounds import ScreeningRounds
from screening.screener import Screener
from storage.risk import RiskBook
from storage.screening import ScreeningBook, load_list_as_owner, register_screening_rules
from tests.storage.books import NOW, Books
from tests.storage.reviewed import Reviewed

POLICY = Policy.model_validate(read_policy())
CODES = tuple(POLICY.screening.lists)
PAYEE = "收款人丙"


@dataclass
class Assessed:
    """The activity over the books, its lists, and who is paid. `today`: by which lists are stale or not."""

    books: Books
    made: Reviewed
    today: datetime = NOW
    rules: RuleSet = POLICY.risk

    @property
    def screener(self) -> Screener:
        lists = ListScreening(ScreeningBook(self.books.app), POLICY.screening, lambda: self.today)
        return Screener(lists, self.books.vault, self.books.ids.ulid)

    @property
    def rounds(self) -> ScreeningRounds:
        return ScreeningRounds(ScreeningBook(self.books.app), self.screener, 2, lambda: self.today)

    async def load(self, code: str, *entries: ListEntry) -> dict[str, Any]:
        given = NewList(code=code, source="test", entries=entries)
        async with self.books.owner.begin() as connection:
            return await load_list_as_owner(connection, given, self.today, "test") or {}

    async def sealed(self, name: str, *, holder: str | None = None) -> dict[str, str]:
        holder = holder or self.books.user_id
        await self.books.vault.ensure_user_key(holder)
        [item] = await self.books.vault.seal(holder, {PersonalField.NAME: name})
        rows = json.dumps([item.model_dump(mode="json")])
        await self.books.run("SELECT vault.store_items(CAST(:rows AS jsonb))", rows=rows)
        return {"name": item.token}

    async def payee(self, name: str = PAYEE, **changes: Any) -> str:
        created = {"created_at": (NOW - timedelta(days=90)).isoformat()}
        return await self.made.payee(element_tokens=await self.sealed(name), **created | changes)

    async def payout(self, amount_minor: int = 5_000, *, name: str = PAYEE, **changes: Any) -> str:
        if "payee_id" not in changes:
            changes["payee_id"] = await self.payee(name)
        return await self.made.payout(amount_minor, **changes)

    async def assess(self, payout_id: str, *, now: datetime = NOW, again: bool = False) -> Assessment:
        request = AssessmentRequest(payout_id=payout_id, now=now, again=again)
        assessing = Assessing(RiskBook(self.books.app), self.screener, self.rules, self.books.ids.ulid)
        return await assessing.assess_payout(request)

    async def collect(self, amount_minor: int, *, ago: timedelta, card_type: str = "credit", **changes: Any) -> str:
        """Money that came into a user's balance from a card, `ago` before now."""
        user_id = changes.pop("user_id", self.books.user_id)
        binding_id, payment_id = self.books.new_id("bnd"), self.books.new_id("pay")
        await self.books.run(
            "INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type,"
            " person_index, element_tokens, state, state_since, accepted_at)"
            " SELECT :id, u.id, u.merchant_id, b.bank_code, :id, '0018', :card, 'p', '{}', 'unbound', :at, :at"
            " FROM app.end_user u, app.binding b WHERE u.id = :user AND b.id = :like",
            id=binding_id, user=user_id, card=card_type, like=self.books.binding_id, at=NOW,
        )  # fmt: skip
        row = {
            "id": payment_id, "user_id": user_id, "binding_id": binding_id, "bank_code": "HBRB",
            "order_number": payment_id, "amount_minor": amount_minor, "currency": "CNY", "payee_kind": "user",
            "payee_name": "x", "payee_account": "x", "fee_minor": 0, "fee_rule": "x", "confirmation_hash": "x",
            "agreement_version": "1.0", "origin": "user_relayed", "verification": "code",
            "liability_standard": "negligence", "order_expires_at": NOW.isoformat(), "limit_reservations": [],
            "limits_released": False, "state": "succeeded", "state_since": (NOW - ago).isoformat(), "code_sends": 0,
            "code_attempts": 0, "accepted_at": (NOW - ago).isoformat(), "refunding_minor": 0, "refunded_minor": 0,
            "fee_refunding_minor": 0, "fee_refunded_minor": 0, "event_sequence": 0,
        }  # fmt: skip
        await self.books.run(
            "INSERT INTO app.payment SELECT (jsonb_populate_record(NULL::app.payment, CAST(:row AS jsonb)"
            " || jsonb_build_object('merchant_id', u.merchant_id))).* FROM app.end_user u WHERE u.id = :user",
            row=json.dumps(row | changes), user=user_id,
        )  # fmt: skip
        return payment_id

    async def another_user(self, *, person: str | None = None) -> str:
        """A user of another merchant."""
        merchant_id, user_id = self.books.new_id("mch"), self.books.new_id("usr")
        await self.books.run(
            "INSERT INTO app.merchant VALUES (:m, '另一商户', 'active', :until, :at)",
            m=merchant_id, until=NOW + timedelta(days=300), at=NOW,
        )  # fmt: skip
        await self.books.run(
            "INSERT INTO app.end_user VALUES (:u, :m, 'ref-1', 'individual', 'CN', 'active', :person, :at)",
            u=user_id, m=merchant_id, person=person, at=NOW,
        )  # fmt: skip
        return user_id

    async def row(self, table: str, key: str, value: str) -> dict[str, Any]:
        found = await self.books.value(f"SELECT to_jsonb(t) FROM app.{table} t WHERE {key} = :v", v=value)  # noqa: S608
        return dict(found or {})

    async def cases(self, subject_id: str) -> list[str]:
        found = await self.books.value(
            "SELECT coalesce(jsonb_agg(kind ORDER BY kind), '[]') FROM app.case_record WHERE subject_id = :id",
            id=subject_id,
        )
        return list(found)

    async def obstacle(self, payout_id: str) -> str | None:
        statement = "SELECT app.screening_obstacle(p) FROM app.payout p WHERE p.id = :id"
        found: str | None = await self.books.value(statement, id=payout_id)
        return found


@asynccontextmanager
async def open_assessed(books: Books) -> AsyncIterator[Assessed]:
    """Every list that has to be asked is loaded, and empty."""
    assessed = Assessed(books, Reviewed(books.owner, books.merchant_id, books.user_id, books.ids))
    async with books.owner.begin() as connection:
        await register_screening_rules(connection, POLICY.screening)
    for code in CODES:
        await assessed.load(code)
    yield assessed


def entry(*names: str, **changes: Any) -> ListEntry:
    return ListEntry.model_validate({"key": "E-1", "kind": "person", "names": names} | changes)
