"""Resources as the API answers them. Amounts are integers of minor units; instants have a zone.

A field that this version does not know is ignored, and a word that it does not know stays a plain string.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from .states import BindingState, ConsentKind, Origin, PayeeKind, PaymentState, RefundState, Verification, WaitReason

Word = Field(union_mode="left_to_right")
AnyBindingState = Annotated[BindingState | str, Word]
AnyPaymentState = Annotated[PaymentState | str, Word]
AnyRefundState = Annotated[RefundState | str, Word]
AnyWaitReason = Annotated[WaitReason | str, Word]
AnyVerification = Annotated[Verification | str, Word]
AnyPayeeKind = Annotated[PayeeKind | str, Word]
AnyOrigin = Annotated[Origin | str, Word]
AnyConsentKind = Annotated[ConsentKind | str, Word]


class Resource(BaseModel):
    """Base of what the API answers."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class WaitingFor(Resource):
    """What a resource that is not final waits for; `until` is when something happens by itself at the latest."""

    reason: AnyWaitReason
    since: datetime
    until: datetime | None = None
    deadline: datetime | None = None


class Waitable(Resource):
    """A resource with states. It is final, or rests, when it waits for nothing."""

    id: str
    waiting_for: WaitingFor | None

    @property
    def is_waiting(self) -> bool:
        """Whether anything more is to happen by itself, or by a code."""
        return self.waiting_for is not None

    @property
    def needs_code(self) -> bool:
        """Whether the payer has been texted a code, and it is waited for."""
        return self.waiting_for is not None and self.waiting_for.reason == WaitReason.PAYER_CODE


class User(Resource):
    """A user of yours."""

    id: str
    merchant_user_ref: str | None = None
    type: str
    region: str
    state: str
    created_at: datetime


class Consent(Resource):
    """What a user did or was shown, as recorded."""

    user_id: str
    kind: AnyConsentKind
    version: str
    acted_at: datetime
    recorded_at: datetime
    until_on: date | None = None
    case_id: str | None = None


class Agreement(Resource):
    """The agreement in force, as users have to be shown it."""

    version: str
    content_hash: str
    in_force_from: datetime
    text: str


class Binding(Waitable):
    """A card of a user; it can pay when `open`."""

    user_id: str
    bank_code: str
    card_last4: str | None = None
    card_type: str
    state: AnyBindingState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime
    code_expires_at: datetime | None = None


class LimitLeft(Resource):
    """One limit and what is left of it; `window_start` is a date in Asia/Shanghai."""

    subject: str
    window: str
    limit_minor: int
    remaining_minor: int
    window_start: date | None = None


class Limits(Resource):
    """How much a user may still pay."""

    user_id: str
    currency: str
    limits: tuple[LimitLeft, ...]


class Text(Resource):
    """The same in Chinese and English."""

    zh: str
    en: str


class Conditions(Resource):
    """What an individual has to be shown before confirming."""

    product: str
    version: str
    quantity: Text
    fee: Text
    term: Text
    method: Text
    cautions: Text
    risk: Text
    dispute: Text


class OrderShown(Resource):
    """What a preview and a payment have in common: the order, the payee and the fee."""

    user_id: str
    binding_id: str
    order_number: str
    amount_minor: int
    currency: str
    payee_kind: AnyPayeeKind
    payee_name: str
    fee_minor: int
    fee_rule: str
    verification: AnyVerification
    confirmation_hash: str


class PaymentPreview(OrderShown):
    """What the user is to confirm. Show all of it, then pay with its `confirmation_hash`."""

    limits: tuple[LimitLeft, ...]
    conditions: Conditions | None = None


class Payment(Waitable, OrderShown):
    """Money collected from a card."""

    bank_code: str
    agreement_version: str
    origin: AnyOrigin
    mandate_reference: str | None = None
    state: AnyPaymentState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime
    order_expires_at: datetime
    code_expires_at: datetime | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    corrected_at: datetime | None = None
    report_path: str | None = None
    refunded_minor: int
    refunding_minor: int
    refundable_minor: int


class Refund(Waitable):
    """Money on its way back to the payer's card."""

    payment_id: str
    bank_code: str
    amount_minor: int
    fee_back_minor: int
    currency: str
    reason_code: str
    state: AnyRefundState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime
    bank_reference: str | None = None
    booked_at: datetime | None = None
    report_path: str | None = None


class AccountBalance(Resource):
    """Money on one account: posted is held, frozen and available together. What is frozen stays its owner's."""

    account: str
    currency: str
    posted_minor: int
    held_minor: int
    frozen_minor: int = 0
    available_minor: int


class Balances(Resource):
    """Your accounts: `pending` and `available`."""

    balances: tuple[AccountBalance, ...]


class Movement(Resource):
    """One line of a statement."""

    version: int
    kind: str
    change_minor: int
    posted_after_minor: int
    booked_at: datetime
    recorded_at: datetime
    instruction_id: str
    reference: str | None = None


class WaiverApplication(Waitable):
    """Your application for payment without a code."""

    limit_minor: int
    currency: str
    state: str
    applied_at: datetime
    decided_at: datetime | None = None


class Waiver(Resource):
    """Payment without a code, as it is in force for you."""

    enabled: bool
    version: str | None = None
    limit_minor: int | None = None
    currency: str | None = None
    law_limit_minor: int
    application: WaiverApplication | None = None


Item = TypeVar("Item", bound=Resource)


class Page(Resource, Generic[Item]):
    """Items, and the cursor of the next page if there is one."""

    object: Literal["list"] = "list"
    items: tuple[Item, ...]
    next_cursor: str | None = None


class Plain(Resource):
    """An answer without a model of its own: its fields as JSON gives them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return self.model_dump()
