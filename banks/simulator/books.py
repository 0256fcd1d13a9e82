"""Accounts and movements of the two banks: money goes from one account to another, and the sum over a bank
stays zero.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, insert, or_, select, update

from banks.signatures import instant_from_milliseconds
from banks.simulator.protocol import SignApplicationBody
from banks.simulator.tables import accounts, instructions, movements, notices, requests

SHANGHAI = ZoneInfo("Asia/Shanghai")
CURRENCY = "CNY"


def shown_instant(milliseconds: int) -> str:
    """Unix milliseconds as the protocol writes instants: ISO 8601, Asia/Shanghai."""
    return instant_from_milliseconds(milliseconds).astimezone(SHANGHAI).isoformat(timespec="milliseconds")


def business_day_bounds(day: datetime) -> tuple[int, int]:
    """First millisecond of a Shanghai date and of the next one."""
    start = day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=SHANGHAI)
    return int(start.timestamp() * 1000), int((start + timedelta(days=1)).timestamp() * 1000)


def account_by_card(connection: Connection, bank_code: str, card_number: str) -> Any:
    """The payer account behind a card, or None."""
    return connection.execute(
        select(accounts).where(accounts.c.bank_code == bank_code, accounts.c.card_number == card_number)
    ).one_or_none()


def open_account(
    connection: Connection,
    bank_code: str,
    *,
    card_type: str,
    body: SignApplicationBody,
    balance_minor: int,
    now: int,
) -> int:
    """Opens a payer account for whoever applies first with this card, with a balance from the bank's issue
    account.
    """
    account_id = _insert_account(
        connection,
        bank_code=bank_code,
        kind="payer",
        card_number=body.card_number,
        card_type=card_type,
        name=body.name,
        id_number=body.id_number,
        mobile=body.mobile,
    )
    if balance_minor:
        issue = house_account(connection, bank_code, "issue")
        move(
            connection,
            bank_code,
            kind="opening",
            request_number=None,
            amount_minor=balance_minor,
            source=issue,
            target=account_id,
            now=now,
        )
    return account_id


def _insert_account(connection: Connection, **columns: object) -> int:
    row = connection.execute(insert(accounts).values(currency=CURRENCY, **columns))
    return int(row.inserted_primary_key[0])  # type: ignore[index] # an INSERT of one row has one


def open_house_accounts(connection: Connection, bank_codes: Iterable[str]) -> None:
    """Opens each bank's `reserve` (the institution's money) and `issue` account, unless they are there."""
    for bank_code in bank_codes:
        for kind in ("reserve", "issue"):
            if _find_house_account(connection, bank_code, kind) is None:
                _insert_account(connection, bank_code=bank_code, kind=kind)


def house_account(connection: Connection, bank_code: str, kind: str) -> int:
    """The bank's `reserve` or `issue` account."""
    found = _find_house_account(connection, bank_code, kind)
    if found is None:
        raise LookupError(f"bank {bank_code} has no {kind} account")
    return found


def _find_house_account(connection: Connection, bank_code: str, kind: str) -> int | None:
    return connection.execute(
        select(accounts.c.account_id).where(accounts.c.bank_code == bank_code, accounts.c.kind == kind)
    ).scalar_one_or_none()


def move(
    connection: Connection,
    bank_code: str,
    *,
    kind: str,
    request_number: str | None,
    amount_minor: int,
    source: int,
    target: int,
    now: int,
) -> str | None:
    """Moves money and answers the bank's reference; None, and nothing moved, if the source does not hold
    enough.
    """
    enough = or_(accounts.c.kind == "issue", accounts.c.balance_minor >= amount_minor)
    taken = connection.execute(
        update(accounts)
        .where(accounts.c.account_id == source, enough)
        .values(balance_minor=accounts.c.balance_minor - amount_minor)
    )
    if taken.rowcount != 1:
        return None
    connection.execute(
        update(accounts)
        .where(accounts.c.account_id == target)
        .values(balance_minor=accounts.c.balance_minor + amount_minor)
    )
    day = instant_from_milliseconds(now).astimezone(SHANGHAI).strftime("%Y%m%d")
    reference = f"{bank_code}{day}{secrets.token_hex(6).upper()}"
    connection.execute(
        insert(movements).values(
            bank_code=bank_code,
            bank_reference=reference,
            kind=kind,
            request_number=request_number,
            amount_minor=amount_minor,
            currency=CURRENCY,
            from_account=source,
            to_account=target,
            booked_at=now,
        )
    )
    return reference


def unbalanced_accounts(connection: Connection) -> list[int]:
    """Accounts whose balance is not the sum of their movements; empty as long as the books are right."""
    came = select(movements.c.to_account.label("account_id"), movements.c.amount_minor.label("amount"))
    went = select(movements.c.from_account, -movements.c.amount_minor)
    both = came.union_all(went).subquery()
    summed = select(both.c.account_id, func.sum(both.c.amount).label("total")).group_by(both.c.account_id).subquery()
    wrong = (
        select(accounts.c.account_id)
        .outerjoin(summed, summed.c.account_id == accounts.c.account_id)
        .where(accounts.c.balance_minor != func.coalesce(summed.c.total, 0))
    )
    return list(connection.execute(wrong).scalars())


def overview(connection: Connection) -> dict[str, object]:
    """The books for `GET /control/books`: to be compared with the institution's ledger."""
    wrong = unbalanced_accounts(connection)
    sums = connection.execute(
        select(accounts.c.bank_code, func.sum(accounts.c.balance_minor)).group_by(accounts.c.bank_code)
    )
    totals: dict[str, int] = {str(row[0]): int(row[1]) for row in sums}
    return {
        "balanced": not wrong and not any(totals.values()),
        "unbalanced_account_ids": wrong,
        "banks": {bank_code: _bank_overview(connection, bank_code) for bank_code in sorted(totals)},
        "requests_remembered": _count(connection, requests, requests.c.forgotten == 0),
        "callbacks_waiting": _count(connection, notices, notices.c.next_at.is_not(None)),
    }


def _count(connection: Connection, table: Any, condition: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one())


def _bank_overview(connection: Connection, bank_code: str) -> dict[str, object]:
    reserve = house_account(connection, bank_code, "reserve")
    balance = connection.execute(select(accounts.c.balance_minor).where(accounts.c.account_id == reserve)).scalar_one()
    return {
        "reserve_balance_minor": balance,
        "debited_minor": _booked_sum(connection, bank_code, "debits"),
        "refunded_minor": _booked_sum(connection, bank_code, "refunds"),
        "debits_per_request_number": _booked_counts(connection, bank_code, "debits"),
        "refunds_per_request_number": _booked_counts(connection, bank_code, "refunds"),
        "processing": _count(
            connection,
            instructions,
            (instructions.c.bank_code == bank_code) & (instructions.c.status == "PROCESSING"),
        ),
    }


def _booked_sum(connection: Connection, bank_code: str, kind: str) -> int:
    query = select(func.coalesce(func.sum(movements.c.amount_minor), 0))
    return int(
        connection.execute(query.where(movements.c.bank_code == bank_code, movements.c.kind == kind)).scalar_one()
    )


def _booked_counts(connection: Connection, bank_code: str, kind: str) -> dict[str, int]:
    rows = connection.execute(
        select(movements.c.request_number, func.count())
        .where(movements.c.bank_code == bank_code, movements.c.kind == kind)
        .group_by(movements.c.request_number)
    )
    return {str(row[0]): int(row[1]) for row in rows}
