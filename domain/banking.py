"""The port through which the rules reach a bank, whichever bank it is.

Every effect carries a `request_number` that was stored before the first attempt. An answer is one of few outcomes;
`UNKNOWN` (a time-out, a broken line, a 5xx, an answer that cannot be read) is neither success nor failure: ask again by
request number until the bank knows. A connector never raises for what a bank or a network did; it answers `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from domain.closing import ClosureScope
from domain.money import AmountMinor, Currency


class Frozen(BaseModel):
    """Values that are compared and passed on, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BankOutcome(StrEnum):
    """What is known about one request at a bank."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"  # only as the answer to a query
    RETURNED = "returned"  # a payout that was booked, and that the payee's bank has sent back


class DeclineReason(StrEnum):
    """Why a bank said no, in our words; each connector translates its bank's codes into these."""

    NAME_MISMATCH = "name_mismatch"
    ACCOUNT_NUMBER_INVALID = "account_number_invalid"
    ACCOUNT_CLOSED = "account_closed"
    BANK_CLOSED = "bank_closed"  # outside its working hours: nothing was booked, and it can be sent again later
    ID_NUMBER_MISMATCH = "id_number_mismatch"
    CARD_NUMBER_INVALID = "card_number_invalid"
    MOBILE_MISMATCH = "mobile_mismatch"
    CARD_NOT_SUPPORTED = "card_not_supported"
    CARD_LOST_OR_FROZEN = "card_lost_or_frozen"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BANK_LIMIT_EXCEEDED = "bank_limit_exceeded"
    AGREEMENT_NOT_FOUND = "agreement_not_found"
    AGREEMENT_ENDED = "agreement_ended"
    CODE_WRONG = "code_wrong"
    CODE_EXPIRED = "code_expired"
    CODE_ATTEMPTS_EXHAUSTED = "code_attempts_exhausted"
    AUTHORISATION_INVALID = "authorisation_invalid"
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    PAYMENT_NOT_FOUND = "payment_not_found"
    REQUEST_NUMBER_REUSED = "request_number_reused"  # same number, other content
    REJECTED_BY_RISK = "rejected_by_risk"
    DESK_CLOSED = "desk_closed"  # the FX desk is outside its hours: nothing was dealt (A5.1a)
    QUOTE_EXPIRED = "quote_expired"
    FX_QUOTA_EXCEEDED = "fx_quota_exceeded"  # A5.2a, L9
    FX_REFUSED_BY_POLICY = "fx_refused_by_policy"  # law or policy stands in the way (A5.2a)
    FX_DEAL_NOT_FOUND = "fx_deal_not_found"
    REVERSAL_EXCEEDS_DEAL = "reversal_exceeds_deal"
    REMITTANCE_NOT_FOUND = "remittance_not_found"
    RETURN_EXCEEDS_REMITTANCE = "return_exceeds_remittance"
    OTHER = "other"


class BankCapabilities(Frozen):
    """What a bank declares of itself; the processes plan by it."""

    bank_code: str
    currencies: tuple[Currency, ...] = ("CNY",)
    # For how long the bank recognises a request number: inside it a resend cannot debit twice.
    remembers_request_numbers_seconds: int = Field(gt=0)
    # A signed request older than this is refused by the bank, so what is "not found" after it can never be booked.
    request_validity_seconds: int = Field(gt=0)
    # The whole of one HTTP exchange; every activity's start-to-close time-out is longer than the largest of these.
    timeout_seconds: float = Field(gt=0)
    requests_per_second: int = Field(gt=0)


class FourElements(Frozen):
    """Exactly what an issuer verifies for quick pay (A2.1a, P1.1.1-1, P2.1.3-1a); there is no fifth field."""

    name: str = Field(repr=False)
    id_number: str = Field(repr=False)
    card_number: str = Field(repr=False)
    mobile: str = Field(repr=False)


class SignApplication(Frozen):
    """Apply to sign a payment agreement: the issuer verifies the elements and texts a code to the reserved mobile."""

    request_number: str
    elements: FourElements


class SignConfirmation(Frozen):
    """The payer's code for an application; `request_number` numbers this attempt."""

    request_number: str
    application_request_number: str
    code: str = Field(repr=False)


class UnsignRequest(Frozen):
    """End an agreement. An agreement that has already ended answers SUCCEEDED."""

    request_number: str
    agreement_number: str = Field(repr=False)


class PaymentCodeRequest(Frozen):
    """Have the issuer text a code that is bound to one debit: its number, its amount and its payee (A3.7b)."""

    request_number: str
    debit_request_number: str
    agreement_number: str = Field(repr=False)
    amount_minor: AmountMinor
    currency: Currency
    payee: str


class PaymentCodeVerification(Frozen):
    """The payer's code; a right one earns a one-use authorisation that the debit spends."""

    request_number: str
    code_request_number: str
    code: str = Field(repr=False)


class DebitRequest(Frozen):
    """Debit by agreement number. `authorisation` is None only under the verification waiver (A3.11)."""

    request_number: str
    agreement_number: str = Field(repr=False)
    amount_minor: AmountMinor
    currency: Currency
    payee: str
    authorisation: str | None = Field(default=None, repr=False)


class RefundRequest(Frozen):
    """Give back all or part of a succeeded debit."""

    request_number: str
    debit_request_number: str
    amount_minor: AmountMinor
    currency: Currency


class PayoutRequest(Frozen):
    """Pay a bank account: the payee's name and account, and what the route needs to find its bank (P2.1.3-1a)."""

    request_number: str
    amount_minor: AmountMinor
    currency: Currency
    region: Literal["CN", "HK", "MO", "TW"]
    payee_name: str = Field(repr=False)
    account_number: str = Field(repr=False)
    bank_id_kind: Literal["cnaps", "bic", "hk_clearing", "tw_clearing"]
    bank_id: str


class BankAnswer(Frozen):
    """What a bank said to a request, or to a query for one; fields that do not apply are None.

    `raw_code` is the bank's own code, for the operator; it never holds personal data or free text.
    """

    outcome: BankOutcome
    reason: DeclineReason | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    amount_minor: int | None = None
    # Of a payout that came back: the bank's reference of the return, when it was booked, why.
    return_reference: str | None = None
    returned_at: datetime | None = None
    agreement_number: str | None = Field(default=None, repr=False)
    authorisation: str | None = Field(default=None, repr=False)
    code_expires_at: datetime | None = None
    attempts_left: int | None = None


class BankNotice(Frozen):
    """A callback whose signature held. It says only that there is something to ask about; the query decides."""

    notice_id: str
    request_number: str
    # What it announces: a hint whether asking is worth while, never an answer. None if it does not say.
    announces: BankOutcome | None = None
    # It tells of a remittance that has arrived under this reference, which is its `request_number`, too.
    inbound_reference: str | None = None
    # It tells that a part of this deal has been found to be above the quota (A5.2c).
    is_excess: bool = False


MOST_NUMBERS_OF_A_NOTICE = 1000
DisclosedUnder = Annotated[str, Field(pattern=r"^[A-Z0-9]{8,40}$")]


class ErasureNotice(Frozen):
    """Tells a recipient to delete what it got under these request numbers (P4.2b). It names no person: what the
    numbers stand for is in the recipient's own books, and in the log of disclosures.
    """

    request_number: str
    disclosed_under: tuple[DisclosedUnder, ...] = Field(min_length=1, max_length=MOST_NUMBERS_OF_A_NOTICE)
    scope: ClosureScope

    @model_validator(mode="after")
    def _names_each_request_once(self) -> Self:
        if len({self.request_number, *self.disclosed_under}) <= len(self.disclosed_under):
            raise PydanticCustomError("disclosed_under", "each request is named once, and the notice itself never")
        return self


class ErasureOutcome(StrEnum):
    """What is known about one notice of erasure."""

    RECEIVED = "received"  # taken in; the recipient replies later, to a query
    ERASED = "erased"  # nothing of it is held any more
    KEPT = "kept"  # some of it is, and `kept_reason` says by what right
    DECLINED = "declined"  # not taken in under this number
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"  # only as the answer to a query


class KeptReason(StrEnum):
    """Why a recipient goes on holding what it got (P4.2b)."""

    LAW = "law"
    OWN_AUTHORISATION = "own_authorisation"  # the person's own, given to the recipient


class ErasureReply(Frozen):
    """What a recipient said to a notice of erasure, or to a query for one. ERASED and KEPT are final.

    `kept_count`: of how many of the named requests something is kept. `reason` goes with DECLINED, `raw_code` is for
    the operator.
    """

    outcome: ErasureOutcome
    kept_reason: KeptReason | None = None
    kept_count: int | None = None
    reason: DeclineReason | None = None
    raw_code: str | None = None


class StatementLine(Frozen):
    """One booked movement on the institution's reserve at the bank; `amount_minor` > 0 came in, < 0 went out."""

    bank_reference: str
    request_number: str
    booked_at: datetime
    amount_minor: int
    currency: Currency


class CallbackRejectedError(Exception):
    """A callback that is unsigned, forged, stale or unreadable; `reason` is a stable word for the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StatementUnavailableError(Exception):
    """The bank gave no statement that can be trusted; ask again later. `reason` is a stable word for the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BankConnector(Protocol):
    """One bank (or clearing organisation) as the processes see it."""

    @property
    def capabilities(self) -> BankCapabilities: ...

    async def apply_to_sign(self, request: SignApplication) -> BankAnswer: ...

    async def confirm_sign(self, request: SignConfirmation) -> BankAnswer: ...

    async def unsign(self, request: UnsignRequest) -> BankAnswer: ...

    async def send_payment_code(self, request: PaymentCodeRequest) -> BankAnswer: ...

    async def verify_payment_code(self, request: PaymentCodeVerification) -> BankAnswer: ...

    async def debit(self, request: DebitRequest) -> BankAnswer: ...

    async def refund(self, request: RefundRequest) -> BankAnswer: ...

    async def pay_out(self, request: PayoutRequest) -> BankAnswer: ...

    async def query(self, request_number: str) -> BankAnswer: ...

    async def send_erasure_notice(self, notice: ErasureNotice) -> ErasureReply: ...

    async def ask_erasure_notice(self, request_number: str) -> ErasureReply: ...

    def statement(self, business_date: date) -> AsyncIterator[StatementLine]: ...

    def read_callback(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> BankNotice: ...

    async def close(self) -> None: ...
