"""What activities take and answer: identifiers, amounts, instants, outcomes.

No personal information, no free text, no codes. New fields are optional, so that running processes go on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.banking import BankOutcome
from domain.decisions import DecisionKind

SubjectKind = Literal["payment", "refund", "binding"]


class Message(BaseModel):
    """Base of all of them; unknown fields are ignored so that an older worker can read a newer message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EffectRequest(Message):
    """Do one step at a bank for one instruction. `resend` only after the bank said it never got the first."""

    kind: SubjectKind
    subject_id: str
    bank_code: str
    request_number: str
    now: datetime
    # Whose personal data leaves, where the step discloses any.
    user_id: str | None = None
    attempt: int = 0
    resend: bool = False


class EffectResult(Message):
    """What is known of a step at a bank. `blocked`: the send claim was refused and nothing was sent.

    `request_number`: what it is about; a result that was kept and brought again for another step is no answer.
    """

    outcome: BankOutcome
    request_number: str | None = None
    reason: str | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    code_expires_at: datetime | None = None
    claimed_at: datetime | None = None
    # For this long after it was signed a request can still be booked; what is not found later never will be.
    request_validity_seconds: int | None = None
    # For this long after it was sent the bank's "not found" means that it never got it.
    remembered_seconds: int | None = None
    blocked: str | None = None
    blocked_state: str | None = None
    # People decided it, and no bank said it.
    decision_id: str | None = None


class EffectQuery(Message):
    """Ask a bank what became of a request number. `amount_minor`: what a success must be about, where money moves."""

    bank_code: str
    request_number: str
    amount_minor: int | None = None


class AttemptQuestion(Message):
    """Learn the verdict on a code attempt from the database or, failing that, from the bank."""

    kind: Literal["payment", "binding"]
    subject_id: str
    now: datetime


class AttemptVerdicts(Message):
    """What is known now: is an attempt still without verdict, in which state is the instruction, and was the issuer's
    no to a code a final one.
    """

    state: str
    open_attempts: int
    declined: bool = False


class SettleResult(Message):
    """`state` that now holds; `refused` is the code where the settlement did not fit."""

    state: str | None = None
    refused: str | None = None


class DecisionQuestion(Message):
    """A process was told of a decision; does it hold for this instruction?"""

    subject_id: str
    decision_id: str
    now: datetime


class DecisionVerdict(Message):
    """`outcome` and `bank_reference` are those of a conclusion; `request_number` is the step that it is about."""

    holds: bool
    kind: DecisionKind | None = None
    outcome: Literal["succeeded", "failed"] | None = None
    bank_reference: str | None = None
    request_number: str | None = None
    refusal: str | None = None
