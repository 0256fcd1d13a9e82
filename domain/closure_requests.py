"""What a merchant asks for about closing and disputes, after the request was understood (P4.5a-b, A4.4c, P4.2b)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.closing import DisputeReason, IdentityMethod
from domain.instructions import RequestContext


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AcceptClosure(_Value):
    """Close a user's account, or quick pay alone; the merchant has made sure who asks (P4.4a, P4.5a).

    `due_on` and `escalate_on`: by the calendar in force, days of Asia/Shanghai.
    """

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    scope: Literal["account", "quick_pay"]
    identity_method: IdentityMethod
    identity_checked_at: datetime
    identity_evidence_ref: str | None = None
    due_on: date
    escalate_on: date
    due_is_provisional: bool


class HandOverRecords(_Value):
    """So many records of where the user's funds came from are in the retention store; `complete`: these are all."""

    request: RequestContext
    now: datetime
    closure_id: str
    count: int
    complete: bool


class ReplyToErasure(_Value):
    """What the merchant has done with what it got about the user (P4.2b); a reason goes with `kept`."""

    request: RequestContext
    now: datetime
    closure_id: str
    outcome: Literal["erased", "kept"]
    reason: Literal["law", "own_authorisation"] | None = None


class OpenDispute(_Value):
    """The user and the merchant are at odds about an instruction, or about the account (P4.5b)."""

    request: RequestContext
    now: datetime
    id: str
    user_id: str
    subject_id: str
    reason: DisputeReason
    evidence_ref: str | None = None
