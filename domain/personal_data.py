"""Which personal data is held, what for, and where: what is not in this registry is not stored (A4.2a).

The purposes are those the privacy policy states. Reading a field for a purpose outside its set is refused and
recorded (P1.2.1), and every field that leaves the institution leaves on one of eight grounds (P2.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict


class PersonalField(StrEnum):
    """A piece of personal data that the vault may hold; there is no field for what P1.1.7 bans."""

    NAME = "name"
    ID_NUMBER = "id_number"
    CARD_NUMBER = "card_number"
    MOBILE = "mobile"
    ACCOUNT_NUMBER = "account_number"  # of a payee's bank account
    AGREEMENT_NUMBER = "agreement_number"  # the issuer's name for the bound card, as good as the card itself


class Purpose(StrEnum):
    """What personal data is collected and read for."""

    QUICK_PAY = "quick_pay"  # P1.1.1-1: the issuer verifies the four elements and opens quick pay
    EXECUTE_INSTRUCTION = "execute_instruction"  # A2.1d: debit, code and unsign by agreement number
    FX_SETTLEMENT = "fx_settlement"  # A4.3, P2.1.3-1c: a desk registers whose quota it is, a bank receives for a user
    PAYOUT = "payout"  # A2.5a, P2.1.3-1a: the bank pays the account that the user names
    SUPPORT = "support"  # P1.1.2a
    FRAUD_PREVENTION = "fraud_prevention"  # P1.1.3
    USER_REQUEST = "user_request"  # P4.1: the user views or corrects the own data


class DataClass(StrEnum):
    """Ordinary or sensitive personal information (P1.0)."""

    ORDINARY = "ordinary"
    SENSITIVE = "sensitive"


class DisclosureGround(StrEnum):
    """The eight grounds on which personal data may leave the institution (P2.1.1); it needs one."""

    EXPLICIT_CONSENT = "explicit_consent"
    LAW_OR_ORDER = "law_or_order"
    LAWFUL_INTERESTS = "lawful_interests"
    NECESSARY_FOR_SERVICE = "necessary_for_service"
    DISPUTE_AT_USER_REQUEST = "dispute_at_user_request"
    USER_AGREEMENT = "user_agreement"
    ACADEMIC_RESEARCH = "academic_research"
    PUBLIC_INTEREST = "public_interest"


class PersonalFieldRule(BaseModel):
    """One line of the registry; `stored_in` names every column with the field or something derived from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_class: DataClass
    purposes: frozenset[Purpose]
    stored_in: frozenset[str]


_CIPHERTEXT = "vault.item.ciphertext"
# Under what a false hit on a list is cleared: the person, or the account with its name.
_CLEARED = ("app.screening_match.clearance_index", "app.screening_clearance.clearance_index")
_ELEMENT_PURPOSES = frozenset({Purpose.QUICK_PAY, Purpose.SUPPORT, Purpose.FRAUD_PREVENTION, Purpose.USER_REQUEST})


def _element(data_class: DataClass, *columns: str) -> PersonalFieldRule:
    return PersonalFieldRule(
        data_class=data_class, purposes=_ELEMENT_PURPOSES, stored_in=frozenset({_CIPHERTEXT, *columns})
    )


REGISTRY: Mapping[PersonalField, PersonalFieldRule] = MappingProxyType(
    {
        # A payee's name is a name as the user's is; both may have to be told to the bank that pays.
        PersonalField.NAME: PersonalFieldRule(
            data_class=DataClass.ORDINARY,
            purposes=_ELEMENT_PURPOSES | {Purpose.PAYOUT, Purpose.FX_SETTLEMENT},
            stored_in=frozenset(
                {
                    _CIPHERTEXT,
                    "app.payee.name_index",
                    "app.receiving_account.holder_index",
                    "app.inbound.receiver_index",
                    *_CLEARED,
                }
            ),
        ),
        # Blind indexes are keyed digests: they link a person or a card and cannot be turned back.
        PersonalField.ID_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=_ELEMENT_PURPOSES | {Purpose.FX_SETTLEMENT},
            stored_in=frozenset(
                {
                    _CIPHERTEXT,
                    "app.end_user.person_index",
                    "app.binding.person_index",
                    "app.fx_quota.person_index",
                    "app.fx_quota_entry.person_index",
                    *_CLEARED,
                }
            ),
        ),
        PersonalField.CARD_NUMBER: _element(DataClass.SENSITIVE, "app.binding.card_index", "app.binding.card_last4"),
        PersonalField.MOBILE: _element(DataClass.SENSITIVE),
        PersonalField.ACCOUNT_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=frozenset({Purpose.PAYOUT, Purpose.SUPPORT, Purpose.FRAUD_PREVENTION, Purpose.USER_REQUEST}),
            stored_in=frozenset(
                {
                    _CIPHERTEXT,
                    "app.payee.account_index",
                    "app.payee.account_last4",
                    "app.receiving_account.account_index",
                    "app.inbound.account_index",
                    "app.receiving_account.account_last4",
                    *_CLEARED,
                }
            ),
        ),
        PersonalField.AGREEMENT_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=frozenset({Purpose.EXECUTE_INSTRUCTION}),
            stored_in=frozenset({_CIPHERTEXT}),
        ),
    }
)


def fields_for(purpose: Purpose) -> frozenset[PersonalField]:
    """The fields that may be read for a purpose; for `QUICK_PAY` exactly the four elements (P1.1.1-1)."""
    return frozenset(field for field, rule in REGISTRY.items() if purpose in rule.purposes)
