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
    """Starts `replan-payouts` and `replan-fx`; the rest is how far it has come, for a fresh history."""

    version: int
    after_at: datetime | None = None
    after_id: str | None = None
    planned: int = 0
    told: int = 0
    failed: int = 0


class FxOrder(Message):
    """Starts `settle-fx`, of a conversion or of a reversal. `desk`: the one that was planned last, if one was.

    `state`: where it stood when this run was started, so that what is done is not asked for again.
    """

    fx_id: str
    merchant_id: str
    user_id: str
    kind: Literal["conversion", "reversal"]
    amount_minor: int
    currency: str
    state: str
    order_number: str | None = None
    desk: str | None = None
    is_enterprise: bool = False
    # How often the desk has turned it away: each attempt has a request number of its own.
    attempt: int = 0
    # The desk has said once that it is at it: that it does not know its number says nothing after that.
    is_known_to_desk: bool = False
    # By when the desk's answer is due, and its delivery; after it a person is asked.
    answer_by: datetime | None = None
    deliver_by: datetime | None = None
    # What has stopped it: that was told already.
    stopped_by: str | None = None


class InboundReturnOrder(Message):
    """Starts `return-inbound`."""

    return_id: str
    bank_code: str
    amount_minor: int
    currency: str
    state: str
    merchant_id: str | None = None
    answer_by: datetime | None = None


class ReceivingOrder(Message):
    """Starts `open-receiving-account`."""

    account_id: str
    merchant_id: str
    user_id: str
    bank_code: str


class InboundOrder(Message):
    """Starts `receive-inbound`: a bank has announced a remittance."""

    bank_code: str
    reference: str


class ExcessOrder(Message):
    """Starts `learn-excess`: a desk says that a part of what it dealt was above the quota."""

    fx_id: str


class ClosureOrder(Message):
    """Starts `close-account`."""

    closure_id: str
    merchant_id: str
    user_id: str


class SettledMerchants(Message):
    """What a run of `settle-merchants` came to; with `through` None nothing new was settled."""

    business_date: date
    through: date | None = None
    reported: int = 0
    paid: int = 0
    waiting: int = 0
    failed: int = 0


class PurgedRetained(Message):
    """What the runs of `purge-retained` for a date came to. `held`: due, and stopped by a hold or an order.

    `erased`: items of users who stay.
    """

    run_on: date
    purged: int = 0
    held: int = 0
    unfinished: int = 0
    erased: int = 0


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
