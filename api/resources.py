"""Resources as merchants get them; new fields may be added at any time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field


def instant(at: datetime) -> str:
    """As the database's views write it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    merchant_user_ref: str | None = Field(description="Null once the user has been forgotten.")
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
    until_on: str | None
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
    card_last4: str | None = Field(description="Null once the card has been forgotten.")
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
