"""The chart of accounts of an institution that holds its customers' money at banks.

An account's code says everything about it: kind, owner and currency. Assets (money at banks, money on its way,
claims) grow by debits; what the institution owes, and what it has earned, grows by credits. Money that users pay in is
a debit of a reserve or of money in transit; there is no account of the outside world, so none may ever be below zero.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Side(StrEnum):
    """The side on which an account grows."""

    DEBIT = "debit"
    CREDIT = "credit"


class AccountKind(StrEnum):
    """What an account is for; the first part of its code."""

    RESERVE = "reserve"  # customers' money at a bank
    IN_TRANSIT = "in_transit"  # debited at the payer's bank, not yet in the reserve
    RECEIVABLE = "receivable"  # owed to the institution
    MERCHANT_PENDING = "merchant_pending"  # collected, not yet at the merchant's disposal
    MERCHANT_AVAILABLE = "merchant_available"
    USER = "user"
    FEE_INCOME = "fee_income"
    SUSPENSE = "suspense"  # received, owner not yet known
    FX_POSITION = "fx_position"  # dealt with a desk and not delivered yet, by desk and currency; comes back to nought
    FROZEN = "frozen"  # against which an owner's money is held while it is frozen; nothing is posted to it


NORMAL_SIDE = {
    AccountKind.RESERVE: Side.DEBIT,
    AccountKind.IN_TRANSIT: Side.DEBIT,
    AccountKind.RECEIVABLE: Side.DEBIT,
    AccountKind.MERCHANT_PENDING: Side.CREDIT,
    AccountKind.MERCHANT_AVAILABLE: Side.CREDIT,
    AccountKind.USER: Side.CREDIT,
    AccountKind.FEE_INCOME: Side.CREDIT,
    AccountKind.SUSPENSE: Side.CREDIT,
    AccountKind.FROZEN: Side.CREDIT,
    AccountKind.FX_POSITION: Side.CREDIT,
}
_OWNERLESS = {AccountKind.FEE_INCOME, AccountKind.SUSPENSE, AccountKind.RECEIVABLE}


def reserve(bank_code: str, currency: str) -> str:
    """Customers' money at a bank: `reserve:HBRB:CNY`."""
    return _code(AccountKind.RESERVE, bank_code, currency)


def in_transit(bank_code: str, currency: str) -> str:
    """Money a bank has confirmed and not yet booked to the reserve: `in_transit:HBRB:CNY`."""
    return _code(AccountKind.IN_TRANSIT, bank_code, currency)


def merchant_pending(merchant_id: str, currency: str) -> str:
    """Collected for a merchant and not yet at its disposal: `merchant_pending:mch_…:CNY`."""
    return _code(AccountKind.MERCHANT_PENDING, merchant_id, currency)


def merchant_available(merchant_id: str, currency: str) -> str:
    """At a merchant's disposal: `merchant_available:mch_…:CNY`."""
    return _code(AccountKind.MERCHANT_AVAILABLE, merchant_id, currency)


def user(user_id: str, currency: str) -> str:
    """A user's own balance: `user:usr_…:CNY`."""
    return _code(AccountKind.USER, user_id, currency)


def fee_income(currency: str) -> str:
    """Fees earned: `fee_income:CNY`."""
    return _code(AccountKind.FEE_INCOME, None, currency)


def suspense(currency: str) -> str:
    """Money whose owner is not known yet: `suspense:CNY`."""
    return _code(AccountKind.SUSPENSE, None, currency)


def receivable(currency: str) -> str:
    """What is owed to the institution: `receivable:CNY`."""
    return _code(AccountKind.RECEIVABLE, None, currency)


def frozen(owner_id: str, currency: str) -> str:
    """What a user's or merchant's frozen money is held against: `frozen:usr_…:CNY`."""
    return _code(AccountKind.FROZEN, owner_id, currency)


def fx_position(bank_code: str, currency: str) -> str:
    """What was dealt with a desk and has not been delivered yet: `fx_position:HBRB:USD`."""
    return _code(AccountKind.FX_POSITION, bank_code, currency)


def accounts_of_institution(bank_codes: list[str], currency: str) -> list[str]:
    """The accounts that exist before the first merchant does."""
    at_banks = [build(bank_code, currency) for bank_code in bank_codes for build in (reserve, in_transit)]
    return [*at_banks, fee_income(currency), suspense(currency), receivable(currency)]


def accounts_of_merchant(merchant_id: str, currency: str) -> list[str]:
    """What a merchant needs before its first payment."""
    return [merchant_pending(merchant_id, currency), merchant_available(merchant_id, currency)]


def kind_of(code: str) -> AccountKind:
    """The kind of an account by its code. Raises ValueError for an unknown one."""
    return AccountKind(code.split(":", 1)[0])


def _code(kind: AccountKind, owner: str | None, currency: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError("a currency is three capital letters")
    if kind in _OWNERLESS:
        return f"{kind.value}:{currency}"
    if owner is None or not re.fullmatch(r"[A-Za-z0-9_]{1,60}", owner):
        raise ValueError("an owner is 1 to 60 letters, digits and underscores")
    return f"{kind.value}:{owner}:{currency}"
