"""A payout is judged by rules and lists on the real books: what each verdict does, once, and what never leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from activities.assessing import Assessing
from activities.interfaces import Assessment, AssessmentRequest
from config.policy import read_policy
from domain.personal_data import PersonalField
from domain.policy import Policy
from domain.risk import RuleSet
from domain.screening import ListEntry, NewList, ScreeningRules
from screening.lists import ListScreening
from screening.screener import Screener
from storage.risk import RiskBook
from storage.screening import ScreeningBook, load_list_as_owner, register_screening_rules
from tests.storage.books import NOW, Books
from tests.storage.reviewed import Reviewed

LISTED = "乌有之"
POLICY = Policy.model_validate(read_policy())
CODES = tuple(POLICY.screening.lists)


@dataclass
class House:
    """The activity over the books, its lists, and who is paid."""

    books: Books
    made: Reviewed
    now: datetime = NOW
    rules: RuleSet = POLICY.risk
    lists: dict[str, tuple[ListEntry, ...]] = field(default_factory=dict)

    @property
    def assessing(self) -> Assessing:
        rules: ScreeningRules = POLICY.screening
        lists = ListScreening(ScreeningBook(self.books.app), rules, lambda: self.now)
        screener = Screener(lists, self.books.vault, self.books.ids.ulid)
        return Assessing(RiskBook(self.books.app), screener, self.rules, self.books.ids.ulid)

    async def load(self, code: str = "MPS", *entries: ListEntry, now: datetime = NOW) -> None:
        given = NewList(code=code, source="test", entries=entries)
        async with self.books.owner.begin() as connection:
            await load_list_as_owner(connection, given, now, "test")

    async def payee(self, name: str = "收款人丙", **changes: Any) -> str:
        [item] = await self.books.vault.seal(self.books.user_id, {PersonalField.NAME: name})
        rows = json.dumps([item.model_dump(mode="json")])
        await self.books.run("SELECT vault.store_items(CAST(:rows AS jsonb))", rows=rows)
        return await self.made.payee(element_tokens={"name": item.token}, **changes)

    async def payout(self, amount_minor: int = 5_000, *, name: str = "收款人丙", **changes: Any) -> str:
        if "payee_id" not in changes:
            changes["payee_id"] = await self.payee(name)
        return await self.made.payout(amount_minor, **changes)

    async def assess(self, payout_id: str, *, now: datetime = NOW, again: bool = False) -> Assessment:
        return await self.assessing.assess_payout(AssessmentRequest(payout_id=payout_id, now=now, again=again))

    async def state(self, payout_id: str) -> str:
        return str(await self.books.value("SELECT state FROM app.payout WHERE id = :id", id=payout_id))

    async def cases(self, subject_id: str) -> list[str]:
        found = await self.books.value(
            "SELECT coalesce(jsonb_agg(kind ORDER BY kind), '[]') FROM app.case_record WHERE subject_id = :id",
            id=subject_id,
        )
        return list(found)


@pytest.fixture
async def house(books: Books) -> House:
    house = House(books, Reviewed(books.owner, books.merchant_id, books.user_id, books.ids))
    async with books.owner.begin() as connection:
        await register_screening_rules(connection, POLICY.screening)
    for code in CODES:
        await house.load(code)
    return house


def entry(*names: str, **changes: Any) -> ListEntry:
    return ListEntry.model_validate({"key": "E-1", "kind": "person", "names": names} | changes)


async def test_an_ordinary_payout_passes_and_says_by_which_rules_and_lists(house: House) -> None:
    payout_id = await house.payout()
    found = await house.assess(payout_id)
    assert (found.outcome, found.state) == ("pass", "checking")
    again = await house.assess(payout_id)
    assert again == found
    rows = await house.books.value(
        "SELECT jsonb_agg(to_jsonb(d) - 'recorded_at') FROM app.risk_decision d WHERE d.payout_id = :id", id=payout_id
    )
    assert len(rows) == 1
    assert rows[0]["rules_version"] == POLICY.risk.version
    assert rows[0]["rules_fingerprint"] == POLICY.risk.fingerprint
    assert rows[0]["screened"] == ["user", "payee"]
    assert rows[0]["inputs"]["amount_minor"] == 5_000
