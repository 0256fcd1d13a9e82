"""Accounts and movements of the banks: money goes from one account to another, and the sum over a bank
stays zero.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, insert, or_, select, update

from banks.signatures import instant_from_milliseconds
from banks.simulator.payee_accounts import currencies_of
from banks.simulator.protocol import SignApplicationBody
from banks.simulator.tables import accounts, movements

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


def _insert_account(connection: Connection, currency: str = CURRENCY, **columns: object) -> int:
    row = connection.execute(insert(accounts).values(currency=currency, **columns))
    return int(row.inserted_primary_key[0])  # type: ignore[index] # an INSERT of one row has one


def open_house_accounts(connection: Connection, bank_codes: Iterable[str]) -> None:
    """Opens each bank's `reserve` (the institution's money), `payees` and `issue` account in each of its currencies,
    unless they are there.
    """
    for bank_code in bank_codes:
        for currency, kind in product(currencies_of(bank_code), ("reserve", "payees", "issue")):
            if _find_house_account(connection, bank_code, kind, currency) is None:
                _insert_account(connection, currency, bank_code=bank_code, kind=kind)


def house_account(connection: Connection, bank_code: str, kind: str, currency: str = CURRENCY) -> int:
    """The bank's `reserve`, `payees` or `issue` account in a currency."""
    found = _find_house_account(connection, bank_code, kind, currency)
    if found is None:
        raise LookupError(f"bank {bank_code} has no {kind} account in {currency}")
    return found


def reserve_minor(connection: Connection, bank_code: str, currency: str) -> int:
    """What the bank holds for the institution in a currency."""
    reserve = house_account(connection, bank_code, "reserve", currency)
    balance = select(accounts.c.balance_minor).where(accounts.c.account_id == reserve)
    return int(connection.execute(balance).scalar_one())


def _find_house_account(connection: Connection, bank_code: str, kind: str, currency: str) -> int | None:
    here = (accounts.c.bank_code == bank_code, accounts.c.kind == kind, accounts.c.currency == currency)
    return connection.execute(select(accounts.c.account_id).where(*here)).scalar_one_or_none()


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
    currency: str = CURRENCY,
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
            currency=currency,
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


def fund_reserve(connection: Connection, bank_code: str, currency: str, amount_minor: int, now: int) -> str:
    """Puts money of its own on the institution's reserve, from the bank's issue account; answers the reference."""
    reference = move(
        connection,
        bank_code,
        kind="funding",
        request_number=f"FD{secrets.token_hex(12).upper()}",
        amount_minor=amount_minor,
        source=house_account(connection, bank_code, "issue", currency),
        target=house_account(connection, bank_code, "reserve", currency),
        now=now,
        currency=currency,
    )
    if reference is None:
        raise LookupError("an issue account gives what is asked for")
    return reference
