"""Our books against the banks' own: what each bank holds for us, and every step of every instruction that it booked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chart import AccountKind
from domain.identifiers import BankStep, IdPrefix, request_number
from domain.money import format_amount

CURRENCY = "CNY"
# Without the attempt that a number may end with.
_NUMBER_LENGTH = 28
# What has its number from something else, by the kinds of `GET /control/books`; a deal has two sides.
_OF_OTHERS = {
    "returns_per_request_number": "return of ",
    "deals_per_request_number": "CNY of ",
    "deliveries_per_request_number": "delivery of ",
}
_PLAIN = (
    "debits_per_request_number",
    "refunds_per_request_number",
    "payouts_per_request_number",
    "inbound_returns_per_request_number",
    "remittances_per_reference",
)
_RESERVES = sa.text(
    "SELECT a.currency, b.posted FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id"
    " WHERE a.kind = 'reserve' AND a.code LIKE 'reserve:' || :bank || ':%'"
)
# A remittance has its number from its bank.
_MOVEMENTS = sa.text(
    "SELECT t.key, a.currency, b.reference FROM ledger.transfer t"
    " JOIN ledger.account a ON a.id IN (t.debit_account_id, t.credit_account_id)"
    " LEFT JOIN app.inbound b ON b.id = split_part(t.key, ':', 1)"
    " WHERE a.kind = 'reserve' AND a.code LIKE 'reserve:' || :bank || ':%' AND t.action IN ('post', 'post_hold')"
)
_POSITIONS = sa.text(
    "SELECT a.code, b.posted FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id"
    " WHERE a.kind = :kind AND b.posted <> 0 ORDER BY a.code"
)


@dataclass(frozen=True)
class BankComparison:
    """One bank: amounts in minor units by currency, and request numbers counted."""

    bank_code: str
    at_bank_minor: Mapping[str, int]
    in_our_books_minor: Mapping[str, int]
    booked: int
    booked_twice: int
    only_at_bank: int
    only_in_our_books: int

    def difference_minor(self, currency: str) -> int:
        """What the bank holds of a currency beyond our reserve."""
        return self.at_bank_minor.get(currency, 0) - self.in_our_books_minor.get(currency, 0)

    @property
    def currencies(self) -> list[str]:
        """In which either side has anything, CNY first."""
        used = {name for side in (self.at_bank_minor, self.in_our_books_minor) for name, minor in side.items() if minor}
        return [CURRENCY, *sorted(used - {CURRENCY})]

    @property
    def agrees(self) -> bool:
        differs = any(self.difference_minor(currency) for currency in self.currencies)
        return not (differs or self.booked_twice or self.only_at_bank or self.only_in_our_books)


async def compare_books(connection: AsyncConnection, bank_books: Mapping[str, Any]) -> list[BankComparison]:
    """All data of both sides; `bank_books` is what the simulator's `GET /control/books` says."""
    return [await _compare(connection, code, books) for code, books in sorted(bank_books["banks"].items())]


async def open_positions(connection: AsyncConnection) -> dict[str, int]:
    """What was dealt with FX desks and not delivered, by account; none once everything has come to its end."""
    found = await connection.execute(_POSITIONS, {"kind": AccountKind.FX_POSITION.value})
    return {row.code: row.posted for row in found}


async def _compare(connection: AsyncConnection, bank_code: str, books: Mapping[str, Any]) -> BankComparison:
    counts = _times_booked(books)
    ours = await _posted_numbers(connection, bank_code)
    reserves = await connection.execute(_RESERVES, {"bank": bank_code})
    return BankComparison(
        bank_code=bank_code,
        at_bank_minor=books["reserves"],
        in_our_books_minor={row.currency: row.posted for row in reserves},
        booked=len(counts),
        booked_twice=sum(count > 1 for count in counts.values()),
        only_at_bank=len(counts.keys() - ours),
        only_in_our_books=len(ours - counts.keys()),
    )


def _times_booked(books: Mapping[str, Any]) -> Counter[str]:
    """How often the bank booked each step of each instruction, under whatever attempt's number."""
    booked: Counter[str] = Counter()
    for kind in (*_PLAIN, *_OF_OTHERS):
        for number, times in books.get(kind, {}).items():
            known = number if kind == "remittances_per_reference" else number[:_NUMBER_LENGTH]
            booked[_OF_OTHERS.get(kind, "") + _without_way(known)] += times
    return booked


def _without_way(number: str) -> str:
    """A conversion and a reversal are one thing to the keys of transfers."""
    return (
        number.replace(BankStep.FX_REVERSAL.value, BankStep.FX_CONVERSION.value, 1) if _is_reversal(number) else number
    )


def _is_reversal(number: str) -> bool:
    return number.startswith(BankStep.FX_REVERSAL.value) and len(number) == _NUMBER_LENGTH


async def _posted_numbers(connection: AsyncConnection, bank_code: str) -> set[str]:
    """The bank's number of every movement of its reserves, from the keys of the transfers; no attempts."""
    found = await connection.execute(_MOVEMENTS, {"bank": bank_code})
    return {row.reference or _request_number(row.key, row.currency) for row in found}


def _request_number(transfer_key: str, currency: str) -> str:
    """`pay_…:collection`, `pay_…:late-collection`, `pay_…:late-refund`, `pay_…:rfd_…:payee:post`, `po_…:hold:1:post`,
    `po_…:return`, `fx_…:delivered`, `fx_…:received`, `inr_…:succeeded`.
    """
    subject, what = transfer_key.split(":")[:2]
    match subject.split("_")[0]:
        case IdPrefix.PAYOUT:
            return ("return of " if what == "return" else "") + request_number(BankStep.PAYOUT, subject)
        case IdPrefix.FX:
            number = request_number(BankStep.FX_CONVERSION, subject)
            return ("CNY of " if currency == CURRENCY else "delivery of ") + number
        case IdPrefix.INBOUND_RETURN:
            return request_number(BankStep.INBOUND_RETURN, subject)
    if what.startswith(f"{IdPrefix.REFUND.value}_"):
        return request_number(BankStep.REFUND, what)
    return request_number(BankStep.LATE_REFUND if what == "late-refund" else BankStep.DEBIT, subject)


def comparison_table(comparisons: list[BankComparison]) -> Table:
    """One column a bank, so that it fits into a narrow terminal."""
    table = Table("", *(found.bank_code for found in comparisons), title="Our books and the banks' books")
    for column in table.columns[1:]:
        column.justify = "right"
    for currency in dict.fromkeys(currency for found in comparisons for currency in found.currencies):
        _add_amounts(table, comparisons, currency)
    counts = {
        "steps that the bank booked": [found.booked for found in comparisons],
        "booked more than once": [found.booked_twice for found in comparisons],
        "only at the bank": [found.only_at_bank for found in comparisons],
        "only in our books": [found.only_in_our_books for found in comparisons],
    }
    for title, values in counts.items():
        table.add_row(title, *map(str, values))
    return table


def _add_amounts(table: Table, comparisons: list[BankComparison], currency: str) -> None:
    amounts = {
        "reserve at the bank": [found.at_bank_minor.get(currency, 0) for found in comparisons],
        "reserve in our books": [found.in_our_books_minor.get(currency, 0) for found in comparisons],
        "[bold]difference[/bold]": [found.difference_minor(currency) for found in comparisons],
    }
    for title, values in amounts.items():
        table.add_row(title, *(format_amount(value, currency) for value in values))
    table.add_section()
