"""What a merchant may ask for, after the request was understood: one value an instruction, handed to `storage/`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from domain.limits import LimitWindow
from domain.money import AmountMinor, Currency
from domain.signing import SigningAlgorithm


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestContext(_Value):
    """The request an instruction came in: who, under which key, and what identifies it."""

    merchant_id: str
    key_id: str
    request_id: str
    idempotency_key: str | None


class AcceptUser(_Value):
    """Register a merchant's user (A0.3, A1.1a)."""

    request: RequestContext
    now: datetime
    id: str
    merchant_user_ref: str
    type: Literal["individual", "enterprise"]
    region: str
    blocked_regions: tuple[str, ...]


ConsentKind = Literal[
    "agreement", "capacity_statement", "waiver_authorisation", "waiver_notice", "waiver_objection", "data_export",
    "longer_retention",
]  # fmt: skip
Channel = Literal["web", "app", "mini_program", "counter", "phone"]


class RecordConsent(_Value):
    """An affirmative act of a user, or an objection (A0.1, A3.11b-e, L1)."""

    request: RequestContext
    now: datetime
    user_id: str
    kind: ConsentKind
    version: str
    content_hash: str | None = None
    channel: Channel
    evidence_ref: str | None = None
    acted_at: datetime
    case_id: str | None = None
    # Through which day the user lets data be kept longer (P4.5f): of `longer_retention` alone.
    until_on: date | None = None


ReportKind = Literal["not_me", "instruction_tampered", "instruction_leaked", "lost_device"]


class ReportUser(_Value):
    """A user's notice of misuse, theft or tampering; `now` is when it was received (A3.3b, A3.5b, A3.9a-c)."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    kind: ReportKind
    payment_id: str | None = None
    discovered_at: datetime | None = None
    channel: Channel
    evidence_ref: str | None = None


class AcceptBinding(_Value):
    """Apply to bind a card; the four elements are sealed items of the vault, never plain (A2.1a)."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    bank_code: str
    card_index: str
    card_last4: str
    card_type: Literal["debit", "credit"]
    person_index: str
    age_class: Literal["adult", "minor_16_17"]
    sealed: tuple[dict[str, Any], ...]
    element_tokens: dict[str, str]
    blocked_regions: tuple[str, ...]


class AcceptUnbinding(_Value):
    """End a binding; refused while payments on it are not final."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str


Origin = Literal["user_relayed", "standing_mandate"]


class AcceptPayment(_Value):
    """Collect from a bound card to the merchant or into the user's own balance (A2.1d, A3.4, A3.5a)."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    binding_id: str
    order_number: str
    order_expires_at: datetime
    amount_minor: AmountMinor
    currency: Currency
    payee_kind: Literal["merchant", "user"]
    payee_name: str
    fee_minor: int
    fee_rule: str
    confirmation_hash: str
    agreement_version: str
    blocked_regions: tuple[str, ...]
    waiver_cap_minor: int
    limits: tuple[LimitWindow, ...]
    # Under which arrangement between merchant and user a standing instruction stands (A3.2b).
    origin: Origin = "user_relayed"
    mandate_reference: str | None = None


class AcceptRefund(_Value):
    """Give back all or part of a succeeded payment."""

    request: RequestContext
    now: datetime
    id: str
    payment_id: str
    amount_minor: AmountMinor
    reason_code: Literal["requested_by_payer", "duplicate", "goods_not_delivered", "order_changed", "other"]


class ApplyForWaiver(_Value):
    """A merchant asks for verification-free payment up to a limit of its own (A3.11a, A3.11c)."""

    request: RequestContext
    now: datetime
    id: str
    limit_minor: AmountMinor
    currency: Currency


class AcceptSigningKey(_Value):
    """A merchant registers a public key; `public_key` is SubjectPublicKeyInfo in hex, checked before."""

    request: RequestContext
    now: datetime
    id: str
    merchant_id: str
    algorithm: SigningAlgorithm
    public_key: str
    label: str
    not_before: datetime
    most: int


class EndSigningKey(_Value):
    """A merchant revokes a public key of its own; never its last one in use."""

    request: RequestContext
    now: datetime
    id: str
    merchant_id: str


class ClaimCodeAttempt(_Value):
    """A payer has typed a code: take the next attempt before it goes to the bank. The code is not part of it."""

    now: datetime
    kind: Literal["payment", "binding"]
    id: str
    merchant_id: str
    attempt_id: str
    max_attempts: int
    step: str


CodeVerdict = Literal["confirmed", "wrong", "expired", "exhausted", "declined", "lost"]


class CodeAttempt(_Value):
    """A taken attempt: the numbers under which the bank is asked; `verdict` if it was judged before."""

    attempt_id: str
    request_number: str
    code_request_number: str
    bank_code: str
    number: int
    verdict: CodeVerdict | None = None


class ClaimCodeResend(_Value):
    """A payer wants another code: cool-down and cap are checked here."""

    now: datetime
    kind: Literal["payment", "binding"]
    id: str
    merchant_id: str
    cooldown_seconds: float
    max_sends: int


class ResolveCodeAttempt(_Value):
    """The bank's verdict on an attempt; `agreement` is the sealed agreement number of an opened binding.

    `lost`: the bank never received the attempt and can no longer receive it.
    """

    now: datetime
    attempt_id: str
    verdict: CodeVerdict
    authorisation: str | None = None
    agreement: dict[str, Any] | None = None
    raw_code: str | None = None
    reason: str | None = None


class ClaimEffect(_Value):
    """The send claim before an effect at a bank (house rule 3); `disclosures` are rows for the disclosure log."""

    now: datetime
    kind: Literal["payment", "refund", "binding", "payout"]
    id: str
    step: str
    request_number: str
    attempt: int = 0
    # Sent again on the bank's word that it never got the first; the number is the same.
    resend: bool = False
    # What the bank was sent before this instant it may have forgotten, so it is not sent again.
    remembered_since: datetime | None = None
    disclosures: tuple[dict[str, Any], ...] | None = None


class ClaimedEffect(_Value):
    """What the sender needs. `already`: it was claimed before, so ask the bank before sending again.

    `user_id`: whose key `sealed` is under; the merchant's, where it is paid itself.
    """

    already: bool
    bank_code: str
    user_id: str
    claimed_at: datetime
    state: str
    amount_minor: int | None = None
    currency: str | None = None
    payee: str | None = None
    authorisation: str | None = None
    payment_id: str | None = None
    region: Literal["CN", "HK", "MO", "TW"] | None = None
    bank_id_kind: Literal["cnaps", "bic", "hk_clearing", "tw_clearing"] | None = None
    bank_id: str | None = None
    sealed: tuple[dict[str, Any], ...] = ()


class OpenAttempt(_Value):
    """A code attempt whose verdict nobody has learned yet."""

    attempt_id: str
    request_number: str
    bank_code: str
    user_id: str
    claimed_at: datetime
