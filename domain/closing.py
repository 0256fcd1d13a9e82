"""Closing an account, or quick pay alone, and deletion: what is asked, what stands in the way, what is answered.

The requests of all channels are one thing, a closure, and go through one process (P4.5a).
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from domain.personal_data import PersonalField


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClosureScope(StrEnum):
    """What ends: everything the user has with the merchant, quick pay alone (P4.5a), or nothing but data (P4.2a)."""

    ACCOUNT = "account"
    QUICK_PAY = "quick_pay"
    DELETION = "deletion"


class ClosureChannel(StrEnum):
    """How it was asked (P4.5a); what comes by telephone or email is recorded by an operator."""

    MERCHANT = "merchant"
    HOTLINE = "hotline"
    EMAIL = "email"


class ClosureState(StrEnum):
    """From the request to its answer. The last two are final."""

    RECEIVED = "received"  # whose request it is has not been verified (P4.4a)
    DECIDING = "deciding"  # a deletion: two people grant or refuse it
    CLOSING = "closing"  # nothing new is accepted; what is in the way has to end
    UNSIGNING = "unsigning"  # the agreements end at the banks
    FORGETTING = "forgetting"  # the agreement has ended; data are moved, destroyed and anonymised
    COMPLETED = "completed"
    REFUSED = "refused"


class ObstacleKind(StrEnum):
    """What keeps an account from being closed (P4.5b, A4.4c, A8.4)."""

    IDENTITY = "identity"
    DECISION = "decision"
    DISPUTE = "dispute"
    INSTRUCTION = "instruction"
    BALANCE = "balance"
    FROZEN_FUNDS = "frozen_funds"
    FREEZE = "freeze"
    AUTHORITY_ORDER = "authority_order"
    SUSPENSION = "suspension"
    RECORDS = "records"
    DATA_IN_USE = "data_in_use"
    AGREEMENT = "agreement"


class Obstacle(_Value):
    """One thing in the way; `detail` in a few words without personal data, as in `CNY 1200` (minor units)."""

    kind: ObstacleKind
    subject_id: str | None = None
    since: datetime | None = None
    detail: str | None = None


class DeletionGround(StrEnum):
    """The five on which deletion may be asked (P4.2a)."""

    UNLAWFUL_PROCESSING = "unlawful_processing"
    NO_CONSENT = "no_consent"
    BREACH_OF_AGREEMENT = "breach_of_agreement"
    ACCOUNT_CLOSED = "account_closed"
    SERVICE_ENDED = "service_ended"


class RefusalGround(StrEnum):
    """Why a request is not granted: the six grounds that bar an answer (P4.4d), and what P4.4a and P4.4c add."""

    NATIONAL_SECURITY = "national_security"
    PUBLIC_INTEREST = "public_interest"
    CRIMINAL_PROCEEDINGS = "criminal_proceedings"
    MALICE_OR_ABUSE = "malice_or_abuse"
    RIGHTS_OF_OTHERS = "rights_of_others"
    TRADE_SECRETS = "trade_secrets"
    IDENTITY_NOT_VERIFIED = "identity_not_verified"
    UNREASONABLE_REQUEST = "unreasonable_request"
    GROUND_NOT_MET = "ground_not_met"


class IdentityMethod(StrEnum):
    """How it was made sure that the user asks (P4.4a). No new personal data is kept of it."""

    LOGIN = "login"
    FACE = "face"
    COUNTER = "counter"
    DOCUMENT = "document"
    ID_NUMBER = "id_number"  # the number that was said is the verified one


class DisputeState(StrEnum):
    """Of a dispute between a user and the merchant: while one is open, nothing is closed (P4.5b)."""

    OPEN = "open"
    RESOLVED = "resolved"


DisputeReason = Literal[
    "not_authorised", "not_received", "not_as_described", "amount_differs", "refund_missing", "other"
]


class ClosingRules(_Value):
    """`config/closing.toml`. Days are working days of the general calendar (P3.4, P4.4b; Q3)."""

    due_working_days: int = Field(gt=0, le=60)
    escalate_working_days_before: int = Field(gt=0)
    # How long ago an operator may say that a request arrived.
    received_at_most_days_ago: int = Field(gt=0, le=60)
    identity_attempts: int = Field(gt=0, le=10)
    # A recipient that has not replied to the notice of erasure after so long is a case for people.
    reply_within_days: int = Field(gt=0, le=365)

    @model_validator(mode="after")
    def _escalates_before_it_is_due(self) -> ClosingRules:
        if self.escalate_working_days_before >= self.due_working_days:
            raise PydanticCustomError("escalation", "a closure is escalated before it is due")
        return self


class Contact(_Value):
    """Where users turn to, and to whom they may complain about an answer (P8a, P8b)."""

    name_zh: Annotated[str, Field(min_length=2, max_length=60)]
    name_en: Annotated[str, Field(min_length=2, max_length=100)]
    hotline: Annotated[str, Field(min_length=3, max_length=40)]
    email: Annotated[str, Field(min_length=3, max_length=80)]
    privacy_email: Annotated[str, Field(min_length=3, max_length=80)]
    address_zh: Annotated[str, Field(min_length=3, max_length=120)]
    address_en: Annotated[str, Field(min_length=3, max_length=200)]
    complaint_zh: Annotated[str, Field(min_length=3, max_length=300)]
    complaint_en: Annotated[str, Field(min_length=3, max_length=500)]


class Destroyed(_Value):
    """What is gone: which fields, in how many items, and since when; `by_key` if the user's key itself is destroyed."""

    fields: tuple[PersonalField, ...]
    items: int
    at: datetime
    by_key: bool


class Kept(_Value):
    """What the law, the agreement or the user's own consent keeps, apart, and until when."""

    kind: Literal["identity", "transaction", "source_of_funds"]
    event_year: int
    records: int
    # The first day on which it may be destroyed.
    until: date
    ground: Literal["law", "agreement", "consent"]


class Told(_Value):
    """A recipient of the data that was told to delete, and what it has replied so far (P4.2b)."""

    recipient: str
    name_zh: str
    name_en: str
    kind: Literal["merchant", "bank"]
    told_at: datetime | None = None
    reply: Literal["none", "received", "erased", "kept"] = "none"
    reply_reason: str | None = None
    replied_at: datetime | None = None


class ClosureAnswer(_Value):
    """The answer to the user: a certificate, or why not. It holds no personal data."""

    closure_id: str
    user_id: str
    merchant_name: str
    scope: ClosureScope
    channel: ClosureChannel
    outcome: Literal["completed", "refused"]
    received_at: datetime
    due_on: date
    answered_at: datetime
    agreement_ended_on: date | None = None
    deletion_ground: DeletionGround | None = None
    refusal_ground: RefusalGround | None = None
    destroyed: Destroyed | None = None
    kept: tuple[Kept, ...] = ()
    told: tuple[Told, ...] = ()
    # What outlives the person under a keyed pseudonym, in this institution's words: quota used, misuse marks, lists.
    pseudonymous: tuple[Literal["fx_quota", "misuse_marks", "screening"], ...] = ()
    key_backups_expire_on: date | None = None
    backups_expire_on: date | None = None


class LookAtClosure(_Value):
    """Look where a closure stands; the due date as the calendar in force has it."""

    closure_id: str
    now: datetime
    due_on: date | None = None
    escalate_on: date | None = None
    due_is_provisional: bool | None = None


class ClosureStanding(BaseModel):
    """Where a closure stands and what is in its way; `look_at`: when something is due at the latest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    found: bool
    state: ClosureState | None = None
    scope: ClosureScope | None = None
    user_id: str | None = None
    merchant_id: str | None = None
    obstacles: tuple[Obstacle, ...] = ()
    ended_on: date | None = None
    # Since when the agreement has ended: the instant of everything that follows from it.
    since: datetime | None = None
    look_at: datetime | None = None


class RecipientToTell(BaseModel):
    """A notice to a bank that got data and is to delete them; `disclosed_under`: the numbers under which it got them.

    One bank gets several where a notice does not take all numbers.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    recipient: str
    request_number: str
    told: bool
    reply: Literal["none", "received", "erased", "kept"]
    scope: ClosureScope
    disclosed_under: tuple[str, ...]


class RecipientReply(_Value):
    """What a bank has replied to a notice of erasure."""

    request_number: str
    now: datetime
    reply: Literal["received", "erased", "kept"]
    reason: str | None = None
