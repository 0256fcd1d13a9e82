"""What Python says of accounts and kinds is what the database enforces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from domain import chart
from domain.transfers import (
    KINDS_WITH_REFERENCE,
    Direction,
    Hold,
    Post,
    PostHold,
    ReleaseHold,
    TransferKind,
)
from tests.ledger.conftest import ALICE, BOB, RESERVE, Books, pay_in

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def movement(**change: Any) -> dict[str, Any]:
    base = {"key": "k", "booked_at": NOW, "kind": TransferKind.PAYOUT, "direction": Direction.OUT, "debit": ALICE}
    return base | {"credit": RESERVE, "currency": "CNY", "amount": 30, "instruction": "po_1"} | change


async def test_every_code_of_the_chart_opens_an_account_of_its_kind_and_side(books: Books) -> None:
    codes = chart.accounts_of_institution(["WLWB"], "USD") + chart.accounts_of_merchant("mch_1", "USD")
    codes += [chart.user("usr_1", "USD"), chart.frozen("usr_1", "USD"), chart.fx_position("HBRB", "USD")]
    assert {chart.kind_of(code) for code in codes} == set(chart.AccountKind)
    await books.open(*codes)
    query = sa.text("SELECT code, kind, normal_side FROM ledger.account WHERE code = ANY (:codes)")
    rows = (await books.connection.execute(query, {"codes": codes})).all()
    expected = {(code, chart.kind_of(code), chart.NORMAL_SIDE[chart.kind_of(code)]) for code in codes}
    assert {(row.code, row.kind, row.normal_side) for row in rows} == expected


@pytest.mark.parametrize("kind", TransferKind)
async def test_every_kind_is_known_to_the_database_with_the_same_need_of_a_reference(
    books: Books, kind: TransferKind
) -> None:
    query = sa.text("SELECT ledger.kind_is_known(:kind) AS known, ledger.kind_needs_reference(:kind) AS needs")
    row = (await books.connection.execute(query, {"kind": kind.value})).one()
    assert (row.known, row.needs) == (True, kind in KINDS_WITH_REFERENCE)


async def test_the_typed_transfers_are_taken_by_the_ledger(books: Books) -> None:
    await books.must(pay_in("in", 100))
    posted = [Post(**movement(key="p", debit=ALICE, credit=BOB, kind="merchant_settlement", direction="internal"))]
    holds = [Hold(**movement(key="h")), PostHold(key="hp", booked_at=NOW, hold="h", amount=20)]
    more = [Hold(**movement(key="g")), ReleaseHold(key="gr", booked_at=NOW, hold="g", instruction="po_2")]
    transfers = [one.model_dump(mode="json", exclude_none=True) for one in (*posted, *holds, *more)]
    assert await books.apply(transfers) == [(None, None)]
    assert await books.balances() == {RESERVE: (80, 0), ALICE: (50, 0), BOB: (30, 0)}


@pytest.mark.parametrize(
    "change",
    [{"amount": 0}, {"amount": 1.0}, {"amount": 10**13 + 1}, {"key": "a b"}, {"instruction": ""}, {"kind": "gift"}],
)
def test_a_wrong_transfer_is_refused_before_it_reaches_the_ledger(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Post(**movement(**change))


@pytest.mark.parametrize(
    "build", [lambda: chart.user("usr:1", "CNY"), lambda: chart.fee_income("cny"), lambda: chart.reserve("", "CNY")]
)
def test_a_code_cannot_be_built_from_what_is_no_owner_or_currency(build: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match=r"owner|currency"):
        build()
