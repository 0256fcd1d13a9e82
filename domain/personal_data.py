"""Which personal data is held, what for, and where: what is not in this registry is not stored (A4.2a).

The purposes are those the privacy policy states. Reading a field for a purpose outside its set is refused and
recorded (P1.2.1), and every field that leaves the institution leaves on one of eight grounds (P2.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field


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
    LEGAL_RETENTION = "legal_retention"  # P4.5e: what the law keeps is sealed anew, apart, when the user leaves


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


class RetentionRule(StrEnum):
    """How long a column keeps what it holds of a person (P3.3a). A column without a rule fails the build."""

    # Readable until the person's key, or the item, is destroyed (P4.5d): at the latest when the account is closed.
    UNTIL_KEY_DESTROYED = "until_key_destroyed"
    # Emptied, or overwritten with what says nothing, when the account is closed or the field is deleted.
    UNTIL_ACCOUNT_CLOSED = "until_account_closed"
    # A keyed digest that stays, so that enrolling again resets nothing: a quota used up, a hit that was cleared.
    OUTLIVES_AS_PSEUDONYM = "outlives_as_pseudonym"
    # In the retention store, until its clock runs out and the daily purge takes it (A4.4a, P4.5e, L2).
    RETAINED_BY_LAW = "retained_by_law"


class PersonalFieldRule(BaseModel):
    """One line of the registry; `stored_in` names every column with the field or something derived from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_class: DataClass
    purposes: frozenset[Purpose] = Field(min_length=1)
    stored_in: Mapping[str, RetentionRule] = Field(min_length=1)


class IdentifyingColumnRule(BaseModel):
    """A column that tells of a person and holds none of the fields: what it is for, and how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_class: DataClass
    purposes: frozenset[Purpose] = Field(min_length=1)
    retention: RetentionRule


_ELEMENT_PURPOSES = frozenset(
    {Purpose.QUICK_PAY, Purpose.SUPPORT, Purpose.FRAUD_PREVENTION, Purpose.USER_REQUEST, Purpose.LEGAL_RETENTION}
)
# Wherever a value itself is: sealed in the vault, and sealed once more in what the law keeps.
_SEALED = {
    "vault.item.ciphertext": RetentionRule.UNTIL_KEY_DESTROYED,
    "retention.record.ciphertext": RetentionRule.RETAINED_BY_LAW,
}
# Under what a false hit on a list is cleared: the person, or the account with its name. Cleared once, it stays cleared.
_CLEARED = {
    "app.screening_match.clearance_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
    "app.screening_clearance.clearance_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
}
# What a card or an account has used of a day's or month's limit holds for whoever has it next.
_LIMITED = {"app.limit_usage.subject": RetentionRule.OUTLIVES_AS_PSEUDONYM}


def _until_closed(*columns: str) -> dict[str, RetentionRule]:
    return dict.fromkeys(columns, RetentionRule.UNTIL_ACCOUNT_CLOSED)


REGISTRY: Mapping[PersonalField, PersonalFieldRule] = MappingProxyType(
    {
        # A payee's name is a name as the user's is; both may have to be told to the bank that pays.
        PersonalField.NAME: PersonalFieldRule(
            data_class=DataClass.ORDINARY,
            purposes=_ELEMENT_PURPOSES | {Purpose.PAYOUT, Purpose.FX_SETTLEMENT},
            stored_in=_SEALED
            | _CLEARED
            | _until_closed("app.payee.name_index", "app.receiving_account.holder_index", "app.inbound.receiver_index"),
        ),
        # Blind indexes are keyed digests: they link a person or a card and cannot be turned back.
        PersonalField.ID_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=_ELEMENT_PURPOSES | {Purpose.FX_SETTLEMENT},
            stored_in=_SEALED
            | _CLEARED
            | _until_closed("app.end_user.person_index", "app.binding.person_index")
            | {
                # The authority counts a person's quota over the year, whoever the person leaves meanwhile (A5.2).
                "app.fx_quota.person_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
                "app.fx_quota_entry.person_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
                # Misconduct, and what was used of a limit, hold again when the same person is back.
                "app.person_mark.person_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
                "app.carried_limit.person_index": RetentionRule.OUTLIVES_AS_PSEUDONYM,
                "retention.record.person_index": RetentionRule.RETAINED_BY_LAW,
            },
        ),
        PersonalField.CARD_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=_ELEMENT_PURPOSES,
            stored_in=_SEALED | _LIMITED | _until_closed("app.binding.card_index", "app.binding.card_last4"),
        ),
        PersonalField.MOBILE: PersonalFieldRule(
            data_class=DataClass.SENSITIVE, purposes=_ELEMENT_PURPOSES, stored_in=_SEALED
        ),
        PersonalField.ACCOUNT_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=frozenset(
                {
                    Purpose.PAYOUT,
                    Purpose.SUPPORT,
                    Purpose.FRAUD_PREVENTION,
                    Purpose.USER_REQUEST,
                    Purpose.LEGAL_RETENTION,
                }
            ),
            stored_in=_SEALED
            | _CLEARED
            | _LIMITED
            | _until_closed(
                "app.payee.account_index",
                "app.payee.account_last4",
                "app.receiving_account.account_index",
                "app.receiving_account.account_last4",
                "app.inbound.account_index",
            ),
        ),
        PersonalField.AGREEMENT_NUMBER: PersonalFieldRule(
            data_class=DataClass.SENSITIVE,
            purposes=frozenset({Purpose.EXECUTE_INSTRUCTION}),
            stored_in=_SEALED,
        ),
    }
)

# What is no field of the vault and points to a person all the same.
IDENTIFYING_COLUMNS: Mapping[str, IdentifyingColumnRule] = MappingProxyType(
    {
        # By what the merchant knows its user: whoever has it can look the person up at the merchant.
        "app.end_user.merchant_user_ref": IdentifyingColumnRule(
            data_class=DataClass.ORDINARY,
            purposes=frozenset({Purpose.EXECUTE_INSTRUCTION, Purpose.SUPPORT}),
            retention=RetentionRule.UNTIL_ACCOUNT_CLOSED,
        ),
    }
)


def retention_of(column: str) -> RetentionRule | None:
    """How long `schema.table.column` keeps what it holds of a person; None if it is not known to hold any."""
    if column in IDENTIFYING_COLUMNS:
        return IDENTIFYING_COLUMNS[column].retention
    found = (rule.stored_in[column] for rule in REGISTRY.values() if column in rule.stored_in)
    return next(found, None)


def fields_for(purpose: Purpose) -> frozenset[PersonalField]:
    """The fields that may be read for a purpose; for `QUICK_PAY` exactly the four elements (P1.1.1-1)."""
    return frozenset(field for field, rule in REGISTRY.items() if purpose in rule.purposes)
