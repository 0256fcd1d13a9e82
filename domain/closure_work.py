"""What operators do about closures and disputes, after the request was understood (P4.4a, P4.5a-b)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.closing import ClosureScope, DeletionGround, DisputeReason, IdentityMethod
from domain.personal_data import PersonalField


class _Work(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    now: datetime
    request_id: str
    operator_id: str


class RecordClosure(_Work):
    """A request that came by telephone or email; whose it is has to be verified first.

    `due_on` and `escalate_on` by the calendar in force, counted from `received_at`: days of Asia/Shanghai.
    """

    id: str
    user_id: str
    scope: ClosureScope
    channel: Literal["hotline", "email"]
    ground: DeletionGround | None = None
    fields: tuple[PersonalField, ...] = ()
    evidence_ref: str | None = None
    received_at: datetime
    due_on: date
    escalate_on: date
    due_is_provisional: bool


class VerifyIdentity(_Work):
    """Whether it is the user who asks: a person says so, or the index of the number that was said is the user's.

    The index is compared and kept nowhere. `most`: how often it may be tried.
    """

    closure_id: str
    method: IdentityMethod
    holds: bool | None = None
    person_index: str | None = Field(default=None, repr=False)
    evidence_ref: str | None = None
    most: int


class RecordDispute(_Work):
    """A user reports that they and the merchant are at odds; `subject_id` may be the user: it is about the account."""

    id: str
    user_id: str
    subject_id: str
    reason: DisputeReason
    evidence_ref: str | None = None
