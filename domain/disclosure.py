"""Which personal fields may go to which kind of partner for which operation (P2.1.3); what is not listed
may not go.

Only a domestic bank gets anything for quick pay, and only the four elements when it verifies them
(P2.1.3-1a). Every
later step names an agreement number instead of a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from domain.personal_data import PersonalField


class PartnerRole(StrEnum):
    """What a registered partner is to us (A0.4)."""

    DOMESTIC_BANK = "domestic_bank"
    OVERSEAS_BANK = "overseas_bank"
    CLEARING = "clearing"
    IDENTITY_VERIFICATION = "identity_verification"


class PartnerOperation(StrEnum):
    """What a partner is asked to do."""

    SIGN_APPLICATION = "sign_application"
    SIGN_CONFIRMATION = "sign_confirmation"
    UNSIGN = "unsign"
    PAYMENT_CODE = "payment_code"
    PAYMENT_CODE_VERIFICATION = "payment_code_verification"
    DEBIT = "debit"
    REFUND = "refund"
    PAYOUT = "payout"
    QUERY = "query"
    STATEMENT = "statement"
    FX_QUOTE = "fx_quote"
    FX_CONVERSION = "fx_conversion"
    RECEIVING_ACCOUNT = "receiving_account"
    INBOUND = "inbound"
    INBOUND_RETURN = "inbound_return"
    OFFICIAL_QUOTA = "official_quota"
    ERASURE_NOTICE = "erasure_notice"


class DisclosureRefusedError(Exception):
    """Fields that this partner may not get for this operation, or that it needs and would not get. Holds
    names only.
    """

    def __init__(self, role: PartnerRole, operation: PartnerOperation, fields: frozenset[PersonalField]) -> None:
        super().__init__(f"{role.value} {operation.value}: {', '.join(sorted(fields))}")
        self.role = role
        self.operation = operation
        self.fields = fields


FOUR_ELEMENTS = frozenset(
    {PersonalField.NAME, PersonalField.ID_NUMBER, PersonalField.CARD_NUMBER, PersonalField.MOBILE}
)
PAYEE = frozenset({PersonalField.NAME, PersonalField.ACCOUNT_NUMBER})
# Of an individual only (A4.3): an enterprise converts without a field of anybody's.
QUOTA_HOLDER = frozenset({PersonalField.NAME, PersonalField.ID_NUMBER})
ACCOUNT_HOLDER = frozenset({PersonalField.NAME})
_AGREEMENT = frozenset({PersonalField.AGREEMENT_NUMBER})
_NONE: frozenset[PersonalField] = frozenset()

ALLOWED_FIELDS: Mapping[tuple[PartnerRole, PartnerOperation], frozenset[PersonalField]] = MappingProxyType(
    {
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.SIGN_APPLICATION): FOUR_ELEMENTS,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.SIGN_CONFIRMATION): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.UNSIGN): _AGREEMENT,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.PAYMENT_CODE): _AGREEMENT,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.PAYMENT_CODE_VERIFICATION): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.DEBIT): _AGREEMENT,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.REFUND): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.PAYOUT): PAYEE,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.PAYOUT): PAYEE,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.QUERY): _NONE,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.STATEMENT): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.QUERY): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.STATEMENT): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.FX_QUOTE): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.FX_CONVERSION): QUOTA_HOLDER,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.OFFICIAL_QUOTA): QUOTA_HOLDER,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.RECEIVING_ACCOUNT): ACCOUNT_HOLDER,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.RECEIVING_ACCOUNT): ACCOUNT_HOLDER,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.INBOUND): _NONE,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.INBOUND): _NONE,
        (PartnerRole.DOMESTIC_BANK, PartnerOperation.INBOUND_RETURN): _NONE,
        (PartnerRole.OVERSEAS_BANK, PartnerOperation.INBOUND_RETURN): _NONE,
        # Whoever got something is told to delete it (P4.2b), and is named the requests, never the person.
        **{(role, PartnerOperation.ERASURE_NOTICE): _NONE for role in PartnerRole},
    }
)


def allowed_fields(role: PartnerRole, operation: PartnerOperation) -> frozenset[PersonalField]:
    """Exactly the personal fields of this call. A pair that nobody listed gets none."""
    return ALLOWED_FIELDS.get((role, operation), _NONE)


def check_disclosure(role: PartnerRole, operation: PartnerOperation, fields: Iterable[PersonalField]) -> None:
    """Raises `DisclosureRefusedError` unless the fields are exactly the allowed ones, or the pair is not
    listed at all.
    """
    given = frozenset(fields)
    differing = given ^ allowed_fields(role, operation)
    if differing or (role, operation) not in ALLOWED_FIELDS:
        raise DisclosureRefusedError(role, operation, differing)
