"""Bank accounts that money may go to: what is suitably corrected, what is refused, and whose name is on them.

A2.5a names four regions; each has its own way to name a bank and its own shape of account numbers (`domain.routes`). A
check digit that a library knows is checked in `api/payees.py`. As with the four elements of a payer only width, spaces,
separators and letter case are ever corrected (A3.1c), and a fault names the field, never the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import FieldError
from domain.identity import HAN, LATIN, ElementFault, name_fault, normalise_field, text_fault
from domain.personal_data import PersonalField
from domain.routes import BANK_ID_PATTERNS, BankIdKind, Region, Route

Relation = Literal["own", "other"]
HolderType = Literal["individual", "enterprise"]
# Of a shorter one the mask would show more than it hides.
MIN_ACCOUNT_CHARACTERS, MAX_ACCOUNT_CHARACTERS = 8, 34
LONGEST_ENTERPRISE_NAME = 100


class NameMatch(StrEnum):
    """The name on an account against the user's verified one; unknown while no card of the user is bound (A7.3)."""

    MATCH = "match"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


class PayeeFault(StrEnum):
    """Why a field of a payee is refused, beside the faults of any personal field. Stable; shown by field."""

    WRONG_FORMAT = "wrong_format"
    NOT_USED_THERE = "not_used_there"  # this destination does not name its banks so
    OTHER_REGION = "other_region"  # a bank of another place
    LATIN_REQUIRED = "latin_letters_required"


class PayeeAccount(BaseModel):
    """A bank account as it is named: `bank_id` is of `bank_id_kind`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    holder_type: HolderType
    region: Region
    bank_id_kind: BankIdKind
    bank_id: str
    name: str = Field(repr=False)
    account_number: str = Field(repr=False)


@dataclass(frozen=True)
class CheckedPayee:
    """`account` is normalised, and fit to be paid only if `faults` is empty; at most one fault a field."""

    account: PayeeAccount
    faults: tuple[FieldError, ...]


def check_payee(submitted: PayeeAccount, route: Route) -> CheckedPayee:
    """Corrects what may be corrected and names every wrong field, by the rules of a route to its region."""
    account = normalise(submitted)
    found = {
        "bank_id.kind": None if account.bank_id_kind in route.bank_id_kinds else PayeeFault.NOT_USED_THERE,
        "bank_id.value": _bank_id_fault(account),
        "name": holder_fault(account.name, account.holder_type, latin_only=route.name_rule == "latin"),
        "account_number": _account_fault(account.account_number, route.account_pattern),
    }
    return CheckedPayee(account, tuple(FieldError(field, fault.value) for field, fault in found.items() if fault))


def normalise(submitted: PayeeAccount) -> PayeeAccount:
    """As banks print it: no digit, no letter and no character of a name becomes another one. Idempotent."""
    return submitted.model_copy(
        update={
            "name": normalise_field(PersonalField.NAME, submitted.name),
            "account_number": normalise_field(PersonalField.ACCOUNT_NUMBER, submitted.account_number),
            "bank_id": normalise_field(PersonalField.ACCOUNT_NUMBER, submitted.bank_id),
        }
    )


def compare_names(payee_name: str, verified_name: str | None) -> NameMatch:
    """Equal after the corrections that any name may have; letter case counts for nothing in Latin names."""
    if verified_name is None:
        return NameMatch.UNKNOWN
    given, verified = (normalise_field(PersonalField.NAME, name).casefold() for name in (payee_name, verified_name))
    return NameMatch.MATCH if given == verified else NameMatch.DIFFERS


_HOME: dict[BankIdKind, str] = {"cnaps": "CN", "hk_clearing": "HK", "tw_clearing": "TW"}
# As banks here write them. Letters of other scripts look like these, and are not what a list of names has.
_ENTERPRISE_NAME = re.compile(f"[{HAN}{LATIN}0-9](?:[{HAN}{LATIN}0-9]|[ ()·&.,'’/+-])*")
# A number of such length in a name may be an account's, and would be shown with the name.
_LONG_NUMBER = re.compile(r"[0-9]{6}")


def _bank_id_fault(account: PayeeAccount) -> PayeeFault | None:
    if BANK_ID_PATTERNS[account.bank_id_kind].fullmatch(account.bank_id) is None:
        return PayeeFault.WRONG_FORMAT
    # The fifth and sixth letter of a BIC are its country (ISO 9362).
    home = _HOME.get(account.bank_id_kind, account.bank_id[4:6])
    return None if home == account.region else PayeeFault.OTHER_REGION


def _account_fault(number: str, pattern: str) -> ElementFault | PayeeFault | None:
    if fault := text_fault(number):
        return fault
    if re.fullmatch(r"[0-9A-Z]+", number) is None:
        return ElementFault.WRONG_CHARACTERS
    if not MIN_ACCOUNT_CHARACTERS <= len(number) <= MAX_ACCOUNT_CHARACTERS:
        return ElementFault.WRONG_LENGTH
    return None if re.fullmatch(pattern, number) else PayeeFault.WRONG_FORMAT


def holder_fault(name: str, holder_type: HolderType, *, latin_only: bool) -> ElementFault | PayeeFault | None:
    """What is wrong with the normalised name of an account's holder."""
    if fault := name_fault(name) if holder_type == "individual" else _enterprise_fault(name):
        return fault
    return PayeeFault.LATIN_REQUIRED if latin_only and not name.isascii() else None


def _enterprise_fault(name: str) -> ElementFault | None:
    if fault := text_fault(name):
        return fault
    if len(name) > LONGEST_ENTERPRISE_NAME:
        return ElementFault.TOO_LONG
    if _LONG_NUMBER.search(name):
        return ElementFault.CONTAINS_DIGITS
    if _ENTERPRISE_NAME.fullmatch(name) is None or name.isnumeric():
        return ElementFault.WRONG_CHARACTERS
    return ElementFault.TOO_SHORT if len(name) < 2 else None
