"""Our books against the banks' own: what each bank holds for us, and every debit, refund, payout and return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import chart
from domain.identifiers import BankStep, IdPrefix, request_number
from domain.money import format_amount
from ledger.reading import read_balance
from ledger.tables import account, transfer

CURRENCY = "CNY"
# Without the attempt that a number may end with.
_NUMBER_LENGTH = 28
# A payout and its return have one number.
_RETURN_OF = {"returns": "return of "}


@dataclass(frozen=True)
class BankComparison:
    """One bank: amounts in minor units, and request numbers counted."""

    bank_code: str
    at_bank_minor: int
    in_our_books_minor: int
    booked: int
    booked_twice: int
    only_at_bank: int
    only_in_our_books: int

    @property
    def difference_minor(self) -> int:
        return self.at_bank_minor - self.in_our_books_minor

    @property
    def agrees(self) -> bool:
        return not (self.difference_minor or self.booked_twice or self.only_at_bank or self.only_in_our_books)


async def compare_books(connection: AsyncConnection, bank_books: Mapping[str, Any]) -> list[BankComparison]:
    """All data of both sides; `bank_books` is what the simulator's `GET /control/books` says."""
    return [await _compare(connection, code, books) for code, books in sorted(bank_books["banks"].items())]


async def _compare(connection: AsyncConnection, bank_code: str, books: Mapping[str, Any]) -> BankComparison:
    counts = _times_booked(books)
    reserve = chart.reserve(bank_code, CURRENCY)
    ours = await _posted_numbers(connection, reserve)
    return BankComparison(
        bank_code=bank_code,
        at_bank_minor=books["reserve_balance_minor"],
        in_our_books_minor=(await read_balance(connection, reserve)).posted,
        booked=len(counts),
        booked_twice=sum(count > 1 for count in counts.values()),
        only_at_bank=len(counts.keys() - ours),
        only_in_our_books=len(ours - counts.keys()),
    )


def _times_booked(books: Mapping[str, Any]) -> Counter[str]:
    """How often the bank booked each step of each instruction, under whatever attempt's number."""
    booked: Counter[str] = Counter()
    for kind in ("debits", "refunds", "payouts", "returns"):
        for number, times in books.get(f"{kind}_per_request_number", {}).items():
            booked[_RETURN_OF.get(kind, "") + number[:_NUMBER_LENGTH]] += times
    return booked


async def _posted_numbers(connection: AsyncConnection, reserve: str) -> set[str]:
    """The bank's request number of every movement of a reserve, from the keys of the transfers; no attempts."""
    touches = sa.or_(transfer.c.debit_account_id == account.c.id, transfer.c.credit_account_id == account.c.id)
    query = sa.select(transfer.c.key).join(account, touches)
    found = await connection.scalars(
        query.where(account.c.code == reserve, transfer.c.action.in_(("post", "post_hold")))
    )
    return {_request_number(key) for key in found}


def _request_number(transfer_key: str) -> str:
    """`pay_…:collection`, `pay_…:late-collection`, `pay_…:late-refund`, `pay_…:rfd_…:payee:post`, `po_…:hold:1:post`,
    `po_…:return`.
    """
    payment_id, what = transfer_key.split(":")[:2]
    if payment_id.startswith(f"{IdPrefix.PAYOUT.value}_"):
        return _RETURN_OF.get(f"{what}s", "") + request_number(BankStep.PAYOUT, payment_id)
    if what.startswith(f"{IdPrefix.REFUND.value}_"):
        return request_number(BankStep.REFUND, what)
    return request_number(BankStep.LATE_REFUND if what == "late-refund" else BankStep.DEBIT, payment_id)


def comparison_table(comparisons: list[BankComparison]) -> Table:
    """One column a bank, so that it fits into a narrow terminal."""
    table = Table("", *(found.bank_code for found in comparisons), title="Our books and the banks' books")
    for column in table.columns[1:]:
        column.justify = "right"
    amounts = {
        "reserve at the bank": [found.at_bank_minor for found in comparisons],
        "reserve in our books": [found.in_our_books_minor for found in comparisons],
        "[bold]difference[/bold]": [found.difference_minor for found in comparisons],
    }
    counts = {
        "instructions that the bank booked": [found.booked for found in comparisons],
        "booked more than once": [found.booked_twice for found in comparisons],
        "only at the bank": [found.only_at_bank for found in comparisons],
        "only in our books": [found.only_in_our_books for found in comparisons],
    }
    for title, values in amounts.items():
        table.add_row(title, *(format_amount(value, CURRENCY) for value in values))
    for title, values in counts.items():
        table.add_row(title, *map(str, values))
    return table
