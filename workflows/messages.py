"""What goes into and comes out of processes: identifiers, amounts, instants, verdicts.

No personal information, no free text, no codes. New fields are optional, so that running processes go on.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.instructions import CodeVerdict


class Message(BaseModel):
    """Base of all of them; unknown fields are ignored so that an older worker can read a newer message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PaymentOrder(Message):
    """Starts `collect-payment` and `correct-payment`. `resumed`: an earlier run has sent it already.

    `state`: where the payment stood when this run was started, so that what is done is not asked for again.
    """

    payment_id: str
    merchant_id: str
    user_id: str
    order_number: str
    bank_code: str
    amount_minor: int
    fee_minor: int
    currency: str
    payee_account: str
    verification: Literal["code", "waived"]
    order_expires_at: datetime
    resumed: bool = False
    state: str | None = None


class RefundOrder(Message):
    """Starts `refund-payment`."""

    refund_id: str
    payment_id: str
    merchant_id: str
    bank_code: str
    amount_minor: int
    fee_back_minor: int
    currency: str
    resumed: bool = False


class PayoutOrder(Message):
    """Starts `send-payout` and `return-payout`. `user_id` is None for the settlement of a merchant.

    `state`: where the payout stood when this run was started, so that what is done is not asked for again.
    """

    payout_id: str
    merchant_id: str
    user_id: str | None
    kind: Literal["withdrawal", "transfer", "merchant_settlement"]
    bank_code: str
    amount_minor: int
    fee_minor: int
    currency: str
    order_number: str
    state: str
    region: str
    confirmation_deadline: datetime | None = None
    review_id: str | None = None
    cool_until: datetime | None = None
    # How often the bank has turned it away because it was closed: each attempt has a request number of its own.
    attempt: int = 0
    # By when the bank's answer is due; after it a person is asked.
    answer_by: datetime | None = None
    # What has stopped it, and since when: that was told already.
    stopped_by: str | None = None


class ReplanOrder(Message):
    """Starts `replan-payouts`; the rest is how far it has come, for a fresh history."""

    version: int
    after_at: datetime | None = None
    after_id: str | None = None
    planned: int = 0
    told: int = 0
    failed: int = 0


class SettledMerchants(Message):
    """What a run of `settle-merchants` came to; with `through` None nothing new was settled."""

    business_date: date
    through: date | None = None
    reported: int = 0
    paid: int = 0
    waiting: int = 0
    failed: int = 0


class BindingOrder(Message):
    """Starts `bind-card` and `unbind-card`. `deadline`: when an application without a right code ends."""

    binding_id: str
    merchant_id: str
    user_id: str
    bank_code: str
    deadline: datetime


class ProcessResult(Message):
    """How a process ended: the final state of its instruction and the reason, both stable codes."""

    state: str
    reason: str | None = None


class CodeVerdictMessage(Message):
    """An attempt was judged, or (`verdict` None) its judge died before telling: ask the bank."""

    attempt_id: str
    verdict: CodeVerdict | None = None


class CodeResendMessage(Message):
    """The payer asked for another code; `attempt` is the number of the send."""

    attempt: int


class DecisionMessage(Message):
    """People have decided about this instruction; the database says what."""

    decision_id: str


class DecisionTaken(Message):
    """Whether the decision held for this instruction; if not, nothing was changed."""

    holds: bool
