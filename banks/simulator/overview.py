"""What the banks' books say, to be compared with the institution's ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from banks.simulator.books import CURRENCY, unbalanced_accounts
from banks.simulator.cards import BANK_NAMES
from banks.simulator.tables import (
    accounts,
    fx_deals,
    inbound_returns,
    instructions,
    movements,
    notices,
    payouts,
    requests,
)


def overview(connection: Connection) -> dict[str, object]:
    """The books for `GET /control/books`: amounts in minor units, and how often each request number was booked."""
    wrong = unbalanced_accounts(connection)
    sums = connection.execute(
        select(func.sum(accounts.c.balance_minor)).group_by(accounts.c.bank_code, accounts.c.currency)
    )
    return {
        "balanced": not wrong and not any(sums.scalars()),
        "unbalanced_account_ids": wrong,
        "banks": {bank_code: _bank_overview(connection, bank_code) for bank_code in sorted(BANK_NAMES)},
        "requests_remembered": _count(connection, requests, requests.c.forgotten == 0),
        "callbacks_waiting": _count(connection, notices, notices.c.next_at.is_not(None)),
    }


def _count(connection: Connection, table: Any, condition: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one())


def _bank_overview(connection: Connection, bank_code: str) -> dict[str, object]:
    reserves = _reserves(connection, bank_code)
    tables = (instructions, payouts, fx_deals, inbound_returns)
    under_way = [_count(connection, table, _is_processing(table, bank_code)) for table in tables]
    return {
        "reserve_balance_minor": reserves.get(CURRENCY, 0),
        "reserves": reserves,
        "debited_minor": _booked_sums(connection, bank_code, "debits").get(CURRENCY, 0),
        "refunded_minor": _booked_sums(connection, bank_code, "refunds").get(CURRENCY, 0),
        "paid_out": _booked_sums(connection, bank_code, "payouts"),
        "returned": _booked_sums(connection, bank_code, "payout-returns"),
        "funded": _booked_sums(connection, bank_code, "funding"),
        "debits_per_request_number": _booked_counts(connection, bank_code, "debits"),
        "refunds_per_request_number": _booked_counts(connection, bank_code, "refunds"),
        "payouts_per_request_number": _booked_counts(connection, bank_code, "payouts"),
        "returns_per_request_number": _booked_counts(connection, bank_code, "payout-returns"),
        "arrived": _booked_sums(connection, bank_code, "inbound-remittances"),
        "sent_back": _booked_sums(connection, bank_code, "inbound-returns"),
        "deals_per_request_number": _booked_counts(connection, bank_code, "fx-deals"),
        "deliveries_per_request_number": _booked_counts(connection, bank_code, "fx-deliveries"),
        "remittances_per_reference": _booked_counts(connection, bank_code, "inbound-remittances"),
        "inbound_returns_per_request_number": _booked_counts(connection, bank_code, "inbound-returns"),
        "processing": sum(under_way),
    }


def _is_processing(table: Any, bank_code: str) -> Any:
    return (table.c.bank_code == bank_code) & (table.c.status == "PROCESSING")


def _reserves(connection: Connection, bank_code: str) -> dict[str, int]:
    query = select(accounts.c.currency, accounts.c.balance_minor).order_by(accounts.c.currency)
    rows = connection.execute(query.where(accounts.c.bank_code == bank_code, accounts.c.kind == "reserve"))
    return {str(row.currency): int(row.balance_minor) for row in rows}


def _booked_sums(connection: Connection, bank_code: str, kind: str) -> dict[str, int]:
    rows = connection.execute(
        select(movements.c.currency, func.sum(movements.c.amount_minor))
        .where(movements.c.bank_code == bank_code, movements.c.kind == kind)
        .group_by(movements.c.currency)
    )
    return {str(row[0]): int(row[1]) for row in rows}


def _booked_counts(connection: Connection, bank_code: str, kind: str) -> dict[str, int]:
    rows = connection.execute(
        select(movements.c.request_number, func.count())
        .where(movements.c.bank_code == bank_code, movements.c.kind == kind)
        .group_by(movements.c.request_number)
    )
    return {str(row[0]): int(row[1]) for row in rows}
