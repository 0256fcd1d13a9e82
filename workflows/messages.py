"""What goes into and comes out of processes and activities: identifiers, amounts, instants, verdicts.

No personal information, no free text, no codes. New fields are optional, so that running processes go on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.banking import BankOutcome
from domain.instructions import CodeVerdict


class Message(BaseModel):
    """Base of all of them; unknown fields are ignored so that an older worker can read a newer message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PaymentOrder(Message):
    """Starts `collect-payment` and `correct-payment`. `resumed`: an earlier run has sent it already."""

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


class BindingOrder(Message):
    """Starts `bind-card` and `unbind-card`. `deadline`: when an application that got no right code ends."""

    binding_id: str
    merchant_id: str
    user_id: str
    bank_code: str
    deadline: datetime | None = None


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


class EffectRequest(Message):
    """Do one step at a bank for one instruction. `resend` only after the bank said it never got the first."""

    kind: Literal["payment", "refund", "binding"]
    subject_id: str
    bank_code: str
    request_number: str
    now: datetime
    attempt: int = 0
    resend: bool = False


class EffectResult(Message):
    """What is known of a step at a bank. `blocked`: the send claim was refused and nothing was sent."""

    outcome: BankOutcome
    reason: str | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    code_expires_at: datetime | None = None
    claimed_at: datetime | None = None
    blocked: str | None = None
    blocked_state: str | None = None


class EffectQuery(Message):
    """Ask a bank what became of a request number."""

    bank_code: str
    request_number: str


class AttemptQuestion(Message):
    """Learn the verdict on a code attempt from the database or, failing that, from the bank."""

    kind: Literal["payment", "binding"]
    subject_id: str
    now: datetime


class AttemptVerdicts(Message):
    """What is known now: is an attempt still without verdict, and in which state is the instruction."""

    state: str
    open_attempts: int


class SettleResult(Message):
    """`state` that now holds; `refused` is the code where the settlement did not fit."""

    state: str | None = None
    refused: str | None = None
