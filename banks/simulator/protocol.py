"""The agreement-payment protocol as the simulated banks speak it: request bodies, the answer, and the
banks' own codes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_BODY_BYTES = 16 * 1024
# A notice of erasure names up to 1000 requests.
MAX_NOTICE_BYTES = 64 * 1024

RequestNumber = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{8,40}$", examples=["DB01K9ZQ5Y8C6W3T2R1P0N9M8L7K"])]
AgreementNumber = Annotated[str, Field(pattern=r"^[A-Z0-9]{10,40}$", examples=["HBRBAG4F2A9C1D7E3B5A60"])]
Amount = Annotated[int, Field(strict=True, gt=0, le=10**13, examples=[12_345])]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]
DealKind = Literal["conversion", "reversal"]
Erasure = Literal["erased", "kept"]
KeptReason = Literal["law", "own_authorisation"]
Payee = Annotated[str, Field(min_length=1, max_length=100, examples=["晨光书店"])]
Code = Annotated[str, Field(pattern=r"^[0-9]{6}$", examples=["042917"])]


class Operation(StrEnum):
    """What can be asked of a bank; the value is also the resource's name in the path."""

    SIGN_APPLICATION = "sign-applications"
    SIGN_CONFIRMATION = "sign-confirmations"
    UNSIGN = "unsigns"
    PAYMENT_CODE = "payment-codes"
    PAYMENT_CODE_VERIFICATION = "payment-code-verifications"
    DEBIT = "debits"
    REFUND = "refunds"
    PAYOUT = "payouts"
    QUERY = "requests"
    FX_QUOTE = "fx-quotes"
    FX_DEAL = "fx-deals"
    RECEIVING_ACCOUNT = "receiving-accounts"
    INBOUND = "inbound-remittances"
    INBOUND_RETURN = "inbound-returns"
    OFFICIAL_QUOTA = "official-quotas"
    ERASURE_NOTICE = "erasure-notices"
    STATEMENT = "statements"
    DECLARATIONS = "declarations"


class Status(StrEnum):
    """Where a request stands. FAILED and RETURNED are final; SUCCESS is, but for a payout that is sent back."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PROCESSING = "PROCESSING"
    RETURNED = "RETURNED"  # a payout that was booked, and whose payee's bank has sent the money back
    EXCESS = "EXCESS"  # only in a callback: a part of a deal has been found to be above the quota
    REFUSED = "REFUSED"  # not taken in at all: nothing is recorded under the number


class BankCode(StrEnum):
    """The banks' answer codes. A connector translates them; nobody else reads them."""

    OK = "OK"
    IN_PROCESS = "IN_PROCESS"
    # A bank's no; the request is recorded and final.
    NAME_NOT_MATCHED = "NAME_NOT_MATCHED"
    ID_NOT_MATCHED = "ID_NOT_MATCHED"
    CARD_NOT_FOUND = "CARD_NOT_FOUND"
    MOBILE_NOT_MATCHED = "MOBILE_NOT_MATCHED"
    CARD_TYPE_NOT_SUPPORTED = "CARD_TYPE_NOT_SUPPORTED"
    CARD_FROZEN = "CARD_FROZEN"
    BALANCE_NOT_ENOUGH = "BALANCE_NOT_ENOUGH"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    AGREEMENT_NOT_FOUND = "AGREEMENT_NOT_FOUND"
    AGREEMENT_TERMINATED = "AGREEMENT_TERMINATED"
    APPLICATION_NOT_FOUND = "APPLICATION_NOT_FOUND"
    CODE_REQUEST_NOT_FOUND = "CODE_REQUEST_NOT_FOUND"
    CODE_WRONG = "CODE_WRONG"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_USED = "CODE_USED"
    CODE_TOO_MANY_ATTEMPTS = "CODE_TOO_MANY_ATTEMPTS"
    AUTHORISATION_REQUIRED = "AUTHORISATION_REQUIRED"
    AUTHORISATION_INVALID = "AUTHORISATION_INVALID"
    CURRENCY_NOT_SUPPORTED = "CURRENCY_NOT_SUPPORTED"
    DEBIT_NOT_FOUND = "DEBIT_NOT_FOUND"
    REFUND_OVER_DEBIT = "REFUND_OVER_DEBIT"
    RISK_REFUSED = "RISK_REFUSED"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
    BANK_ID_INVALID = "BANK_ID_INVALID"
    REGION_NOT_SUPPORTED = "REGION_NOT_SUPPORTED"
    BANK_CLOSED = "BANK_CLOSED"
    SYSTEM_DECLINED = "SYSTEM_DECLINED"
    DESK_CLOSED = "DESK_CLOSED"
    QUOTE_EXPIRED = "QUOTE_EXPIRED"
    FX_QUOTA_EXCEEDED = "FX_QUOTA_EXCEEDED"
    FX_POLICY_REFUSED = "FX_POLICY_REFUSED"
    DEAL_NOT_FOUND = "DEAL_NOT_FOUND"
    REVERSAL_OVER_DEAL = "REVERSAL_OVER_DEAL"
    REMITTANCE_NOT_FOUND = "REMITTANCE_NOT_FOUND"
    RETURN_OVER_REMITTANCE = "RETURN_OVER_REMITTANCE"
    NOT_OFFERED = "NOT_OFFERED"
    # Not taken in; nothing is recorded.
    REQUEST_INVALID = "REQUEST_INVALID"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    REQUEST_NUMBER_REUSED = "REQUEST_NUMBER_REUSED"
    REQUEST_NOT_FOUND = "REQUEST_NOT_FOUND"
    BANK_NOT_FOUND = "BANK_NOT_FOUND"
    SIGNATURE_REFUSED = "SIGNATURE_REFUSED"
    NONCE_REPLAYED = "NONCE_REPLAYED"
    STATEMENT_NOT_READY = "STATEMENT_NOT_READY"


class Body(BaseModel):
    """Request bodies take no field beyond their own: a fifth element is refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    request_number: RequestNumber


class SignApplicationBody(Body):
    """Apply to sign. The four elements are exactly what the issuer compares with its records."""

    name: str = Field(min_length=1, max_length=100, repr=False, examples=["陈小满"])
    id_number: str = Field(min_length=6, max_length=30, repr=False, examples=["11010119900307889X"])
    card_number: str = Field(pattern=r"^[0-9]{14,19}$", repr=False, examples=["9901011234567890128"])
    mobile: str = Field(pattern=r"^\+?[0-9]{8,15}$", repr=False, examples=["13800000000"])


class SignConfirmationBody(Body):
    """The code that was texted for an application."""

    application_request_number: RequestNumber
    code: Code = Field(repr=False)


class UnsignBody(Body):
    """End an agreement."""

    agreement_number: AgreementNumber = Field(repr=False)


class PaymentCodeBody(Body):
    """Text a code that is good for one debit only: this number, this amount, this payee."""

    debit_request_number: RequestNumber
    agreement_number: AgreementNumber = Field(repr=False)
    amount_minor: Amount
    currency: CurrencyCode
    payee: Payee


class PaymentCodeVerificationBody(Body):
    """The code that was texted for a payment; a right one earns a one-use authorisation."""

    code_request_number: RequestNumber
    code: Code = Field(repr=False)


class Verification(StrEnum):
    """How the payer was verified."""

    AUTHORISATION = "authorisation"
    WAIVED = "waived"


class DebitBody(Body):
    """Debit. `verification` says `authorisation` (and carries it) or `waived` (and carries none)."""

    agreement_number: AgreementNumber = Field(repr=False)
    amount_minor: Amount
    currency: CurrencyCode
    payee: Payee
    verification: Verification
    authorisation: str | None = Field(default=None, max_length=64, repr=False)


class RefundBody(Body):
    """Give back all or part of a debit."""

    debit_request_number: RequestNumber
    amount_minor: Amount
    currency: CurrencyCode


class PayoutBody(Body):
    """Pay an account of any bank in mainland China, Hong Kong, Macao or Taiwan."""

    name: str = Field(min_length=1, max_length=100, repr=False, examples=["陈小满"])
    account_number: str = Field(pattern=r"^[0-9A-Z]{4,34}$", repr=False, examples=["0000000000018800000"])
    region: Literal["CN", "HK", "MO", "TW"]
    bank_id_kind: Literal["cnaps", "bic", "hk_clearing", "tw_clearing"]
    bank_id: str = Field(pattern=r"^[0-9A-Z]{3,12}$", examples=["102100099996"])
    amount_minor: Amount
    currency: CurrencyCode


class ErasureNoticeBody(Body):
    """Delete what came under these request numbers. Whoever is meant is in the bank's own books."""

    disclosed_under: list[RequestNumber] = Field(min_length=1, max_length=1000)
    scope: Literal["account", "quick_pay", "deletion"] = Field(
        description="the account with the institution has ended, quick pay alone has, or neither, but data are deleted"
    )

    @field_validator("disclosed_under")
    @classmethod
    def _names_each_once(cls, numbers: list[str]) -> list[str]:
        if len(set(numbers)) < len(numbers):
            raise ValueError("a request number is named twice")
        return numbers


class Answer(BaseModel):
    """The answer to a request and to a query for one. Fields that do not apply are absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_number: str | None = None
    operation: Operation | None = None
    status: Status
    code: BankCode
    bank_reference: str | None = None
    booked_at: str | None = Field(
        default=None, description="ISO 8601 with offset", examples=["2026-11-22T16:20:00.123+08:00"]
    )
    amount_minor: int | None = None
    currency: str | None = None
    return_reference: str | None = Field(default=None, description="of a payout that came back; `code` says why")
    returned_at: str | None = None
    returned_minor: int | None = None
    agreement_number: str | None = Field(default=None, repr=False)
    authorisation: str | None = Field(default=None, repr=False)
    code_expires_at: str | None = None
    attempts_left: int | None = None
    kind: DealKind | None = Field(default=None, description="of a deal, as are those up to `excess_minor`")
    quote_id: str | None = None
    rate: str | None = Field(default=None, description="CNY for one unit of the currency", examples=["7.1234"])
    foreign_minor: int | None = None
    foreign_currency: str | None = None
    foreign_at: str | None = None
    reverses: str | None = None
    cny_minor: int | None = Field(default=None, description="`foreign_minor` at `rate`, half a fen counts as one")
    delivered_at: str | None = Field(default=None, description="when both currencies moved; absent until then")
    delivery_reference: str | None = None
    excess_minor: int | None = Field(default=None, description="found above the quota so far, of `foreign_minor`")
    inbound_reference: str | None = None
    account_number: str | None = Field(default=None, repr=False)
    year: int | None = None
    remaining_usd_minor: int | None = None
    is_exceeded: bool | None = None
    erasure: Erasure | None = Field(
        default=None, description="the reply to a notice of erasure; `kept`: not all is erased"
    )
    kept_reason: KeptReason | None = None
    kept_count: int | None = Field(default=None, description="of how many of the named requests something is kept")
    invalid_fields: list[str] | None = Field(
        default=None, description="names of wrong or unknown fields; never their values"
    )


class Declarations(BaseModel):
    """What the bank declares of itself."""

    bank_code: str
    remembers_request_numbers_seconds: int
    request_validity_seconds: int
    code_validity_seconds: float
    code_attempts: int
    per_transaction_limit_minor: int
    payout_limit_minor: int
    currencies: list[str]
    holds: list[str] = Field(description="foreign currencies that arrive here")
    desk: list[str] = Field(description="currencies that its FX desk converts into CNY")
    pays_out: dict[str, list[str]] = Field(description="currencies by region")


class Notice(BaseModel):
    """The body of a callback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notice_id: str
    bank_code: str
    request_number: str
    operation: Operation
    status: Status
    code: BankCode
    bank_reference: str | None = None
    amount_minor: int
    currency: str
    booked_at: str | None = None
    return_reference: str | None = None
    returned_at: str | None = None
