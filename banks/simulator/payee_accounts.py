"""To whom the simulated banks pay: regions and currencies, and the formats of account numbers and bank codes.

Any number of the right format is an account, in whatever name is given. An account number misbehaves as a card does, if
the six digits before its last one are `9900nn` (`cards.py`, nn from 70 on).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from stdnum import bic
from stdnum.iso7064 import mod_11_10

from banks.simulator.fx_offers import HOLDS
from banks.simulator.protocol import BankCode, PayoutBody

PAYS_OUT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "HBRB": {"CN": ("CNY",), "HK": ("CNY", "HKD"), "MO": ("CNY", "MOP"), "TW": ("CNY", "TWD")},
    "WLWB": {"CN": ("CNY",)},
    "OSPB": {},
}

_ACCOUNT_FORMATS = {"CN": r"[0-9]{8,30}", "HK": r"[0-9]{6,20}", "MO": r"[0-9]{6,20}", "TW": r"[0-9]{6,20}"}
_BANK_ID_KINDS = {"CN": {"cnaps"}, "HK": {"hk_clearing", "bic"}, "MO": {"bic"}, "TW": {"tw_clearing", "bic"}}
_BANK_ID_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "cnaps": lambda value: re.fullmatch(r"[0-9]{12}", value) is not None and mod_11_10.is_valid(value),
    "bic": bic.is_valid,
    "hk_clearing": lambda value: re.fullmatch(r"[0-9]{3}([0-9]{3})?", value) is not None,
    "tw_clearing": lambda value: re.fullmatch(r"[0-9]{3}([0-9]{4})?", value) is not None,
}
# Digits before the group that says how an account behaves, so that each has the length of a usual one of its region.
_SERIAL_DIGITS = {"CN": 12, "HK": 5, "MO": 9, "TW": 7}


def currencies_of(bank_code: str) -> list[str]:
    """In which currencies a bank holds a reserve for the institution."""
    paid = {currency for currencies in PAYS_OUT[bank_code].values() for currency in currencies}
    return sorted(paid | set(HOLDS[bank_code]))


def payee_fault(bank_code: str, body: PayoutBody) -> BankCode | None:
    """What keeps this bank from paying to such an account, if anything does."""
    if body.region not in PAYS_OUT[bank_code]:
        return BankCode.REGION_NOT_SUPPORTED
    if body.currency not in PAYS_OUT[bank_code][body.region]:
        return BankCode.CURRENCY_NOT_SUPPORTED
    if not _is_bank_of(body.region, body.bank_id_kind, body.bank_id):
        return BankCode.BANK_ID_INVALID
    if not re.fullmatch(_ACCOUNT_FORMATS[body.region], body.account_number):
        return BankCode.ACCOUNT_NOT_FOUND
    return None


def _is_bank_of(region: str, kind: str, bank_id: str) -> bool:
    if kind not in _BANK_ID_KINDS[region] or not _BANK_ID_FORMATS[kind](bank_id):
        return False
    return kind != "bic" or bank_id[4:6] == region


def example_account(region: str, fault_number: int | None = None, serial: int = 1) -> str:
    """An account number of a region: the `serial`-th good one, or the `serial`-th with that fault."""
    ending = "8800000" if fault_number is None else f"9900{fault_number:02d}0"
    digits = f"{serial:0{_SERIAL_DIGITS[region]}d}"
    if len(digits) > _SERIAL_DIGITS[region]:
        raise ValueError("serial has too many digits for an account of this region")
    return digits + ending
