"""Resources as merchants get them; new fields may be added at any time."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Resource(BaseModel):
    """Base of what goes out; new fields may be added at any time."""


class WaitingFor(Resource):
    """What a resource that is not final waits for."""

    reason: str = Field(examples=["payer_code"])
    since: str
    until: str | None
    deadline: str | None


class User(Resource):
    id: str
    object: Literal["user"]
    merchant_user_ref: str
    type: str
    region: str
    state: str
    created_at: str


class Consent(Resource):
    object: Literal["consent"]
    user_id: str
    kind: str
    version: str
    acted_at: str
    recorded_at: str
    case_id: str | None


class Report(Resource):
    id: str = Field(description="The case that it opened.")
    object: Literal["report"]
    user_id: str
    kind: str
    payment_id: str | None
    channel: str
    discovered_at: str | None
    received_at: str = Field(description="When it arrived here; liability turns on it (A3.9b).")
    parties: list[str] = Field(description="Who is to be told: issuers, merchant, institution.")
    suspended: list[str]


class Binding(Resource):
    id: str
    object: Literal["binding"]
    user_id: str
    bank_code: str
    card_last4: str
    card_type: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    code_expires_at: str | None
    waiting_for: WaitingFor | None


class LimitLeft(Resource):
    subject: Literal["user", "card", "payee"]
    window: Literal["transaction", "day", "month"]
    limit_minor: int
    remaining_minor: int
    window_start: str | None


class Limits(Resource):
    object: Literal["limits"]
    user_id: str
    currency: str
    limits: list[LimitLeft]


class Text(Resource):
    zh: str
    en: str


class Conditions(Resource):
    """Everything that an individual has to be shown before confirming (A3.12)."""

    product: str = Field(examples=["quick_pay_to_merchant"])
    version: str
    quantity: Text
    fee: Text
    term: Text
    method: Text
    cautions: Text
    risk: Text
    dispute: Text


class PaymentPreview(Resource):
    object: Literal["payment_preview"]
    user_id: str
    binding_id: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: str
    payee_name: str
    fee_minor: int
    fee_rule: str
    verification: Literal["code", "waived", "notice"]
    limits: list[LimitLeft]
    conditions: Conditions
    confirmation_hash: str


class Payment(Resource):
    id: str
    object: Literal["payment"]
    user_id: str
    binding_id: str
    bank_code: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: str
    payee_name: str
    fee_minor: int
    fee_rule: str
    confirmation_hash: str
    agreement_version: str
    origin: str
    mandate_reference: str | None
    verification: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    order_expires_at: str
    code_expires_at: str | None
    bank_reference: str | None
    booked_at: str | None
    corrected_at: str | None
    report_path: str = Field(description="Where to report that it was not the user's (A3.5b).")
    refunded_minor: int
    refunding_minor: int
    refundable_minor: int
    waiting_for: WaitingFor | None


class Refund(Resource):
    id: str
    object: Literal["refund"]
    payment_id: str
    bank_code: str
    amount_minor: int
    fee_back_minor: int
    currency: str
    reason_code: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    bank_reference: str | None
    booked_at: str | None
    report_path: str = Field(description="Where to report that it was not the user's (A3.5b).")
    waiting_for: WaitingFor | None


class PayeeBank(Resource):
    kind: str = Field(examples=["cnaps"])
    value: str


class Payee(Resource):
    """A bank account that a user named. Name and number are shown masked, and in full to nobody but its bank."""

    id: str
    object: Literal["payee"]
    user_id: str
    relation: Literal["own", "other"]
    holder_type: Literal["individual", "enterprise"]
    region: Literal["CN", "HK", "MO", "TW"]
    bank_id: PayeeBank
    name: str = Field(examples=["张*"])
    account: str = Field(examples=["****3445"])
    name_match: Literal["match", "differs", "unknown"] = Field(
        description="The name against the user's verified one; unknown while no card of the user is bound."
    )
    currencies: list[str] = Field(description="In which this destination can be paid.")
    speeds: list[str] = Field(description="At which it can be paid.")
    state: Literal["active", "removed"]
    created_at: str
    removed_at: str | None


class Arrival(Resource):
    at: str
    provisional: bool = Field(description="It rests on a calendar that is not published yet.")


class NeededConfirmation(Resource):
    needed: bool
    grounds: list[str] = Field(examples=[["repeated_payee"]])


class PayoutPreview(Resource):
    object: Literal["payout_preview"]
    user_id: str
    payee_id: str
    payee_name: str
    payee_account: str
    order_number: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    total_minor: int = Field(description="Amount and fee: what leaves the user's balance.")
    speed: str
    predicted_arrival: Arrival
    confirmation: NeededConfirmation = Field(description="Whether the user will have to confirm once more.")
    limits: list[LimitLeft]
    conditions: Conditions
    confirmation_hash: str


class SecondConfirmation(Resource):
    grounds: list[str]
    deadline: str
    confirmed_at: str | None


class PayoutReturn(Resource):
    reference: str | None
    at: str


class EvidenceRequested(Resource):
    kinds: list[str] = Field(examples=[["order_details"]])
    until: str


class Payout(Resource):
    """Money that leaves for a bank account (A2.5a). Nobody can cancel it once it is accepted (A3.3a)."""

    id: str
    object: Literal["payout"]
    user_id: str | None = Field(description="Null for a settlement to you.")
    payee_id: str
    kind: Literal["withdrawal", "transfer", "merchant_settlement"]
    order_number: str
    region: str
    route: str
    bank_code: str
    amount_minor: int
    currency: str
    fee_minor: int
    fee_rule: str
    speed: str
    confirmation_hash: str
    agreement_version: str
    origin: str
    mandate_reference: str | None
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    confirmation: SecondConfirmation | None = Field(description="Null where one yes was enough.")
    predicted_arrival: Arrival | None
    cool_until: str | None
    evidence_requested: EvidenceRequested | None = Field(
        description="What a reviewer wants to see, while `waiting_for.reason` is `evidence`."
    )
    bank_reference: str | None
    booked_at: str | None
    return_: PayoutReturn | None = Field(alias="return")
    report_path: str | None = Field(description="Where to report that it was not the user's (A3.5b).")
    waiting_for: WaitingFor | None


class PayoutLimits(Resource):
    object: Literal["payout_limits"]
    user_id: str
    payee_id: str | None
    currency: str
    limits: list[LimitLeft]


class PageOfPayees(Resource):
    object: Literal["list"]
    items: list[Payee]
    next_cursor: str | None


class PageOfPayouts(Resource):
    object: Literal["list"]
    items: list[Payout]
    next_cursor: str | None


class DataExportText(Resource):
    object: Literal["data_export"]
    version: str
    content_hash: str
    text: str
    recipients: list[DataRecipient]


class DataRecipient(Resource):
    region: str
    recipient: str
    contract: str
    ground: str


class AgreementInForce(Resource):
    object: Literal["agreement"]
    version: str
    content_hash: str
    in_force_from: str
    text: str


class AccountBalance(Resource):
    account: str
    currency: str
    posted_minor: int = Field(description="All that is on it: held, frozen and available.")
    held_minor: int = Field(description="For what is on its way out: refunds and payouts.")
    frozen_minor: int = Field(description="Yours all the same; it cannot leave until that is decided.")
    available_minor: int


class Balances(Resource):
    object: Literal["balances"]
    balances: list[AccountBalance]


class Movement(Resource):
    version: int
    kind: str
    change_minor: int
    posted_after_minor: int
    booked_at: str
    recorded_at: str
    instruction_id: str
    reference: str | None


class WaiverApplication(Resource):
    id: str
    object: Literal["waiver_application"]
    limit_minor: int
    currency: str
    state: str
    applied_at: str
    decided_at: str | None
    waiting_for: WaitingFor | None


class Waiver(Resource):
    object: Literal["waiver"]
    enabled: bool
    version: str | None
    limit_minor: int | None
    currency: str | None
    law_limit_minor: int
    application: WaiverApplication | None


class PageOfMovements(Resource):
    object: Literal["list"]
    items: list[Movement]
    next_cursor: str | None


class PageOfBindings(Resource):
    object: Literal["list"]
    items: list[Binding]
    next_cursor: str | None


class PageOfPayments(Resource):
    object: Literal["list"]
    items: list[Payment]
    next_cursor: str | None


class PageOfRefunds(Resource):
    object: Literal["list"]
    items: list[Refund]
    next_cursor: str | None


class SigningKeyResource(Resource):
    id: str
    object: Literal["signing_key"]
    algorithm: str
    label: str
    fingerprint: str = Field(description="SHA-256 of the key's SubjectPublicKeyInfo, hex.")
    registered_by: str
    created_at: str
    not_before: str
    revoked_at: str | None


class ListOfSigningKeys(Resource):
    object: Literal["list"]
    items: list[SigningKeyResource]
    next_cursor: str | None


class FaultyField(Resource):
    field: str
    code: str


class Problem(Resource):
    """RFC 9457. Decide by `code`, which never changes its meaning."""

    type: str
    title: str
    title_zh: str
    status: int
    code: str
    detail: str
    action: str
    action_zh: str
    errors: list[FaultyField]
    subject_id: str | None
    request_id: str
    attempts_left: int | None = Field(default=None, description="Of a code that was wrong.")
