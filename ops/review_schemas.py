"""What reviewers send, and reviews as they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body, Instant
from domain.decisions import Reason
from domain.reviews import EvidenceKind, ReviewState
from ops.schemas import OpsResource


class EvidenceAsked(Body):
    """What the merchant has to show, and until when; it is told the kinds and nothing of the note."""

    kinds: Annotated[
        list[Annotated[EvidenceKind, Field(strict=False)]], Field(min_length=1, max_length=len(EvidenceKind))
    ] = Field(examples=[["invoice", "contract"]])
    until: Instant = Field(description="No later than the review's `latest_at`.", examples=["2026-11-25T09:00:00Z"])
    note: Reason | None = Field(default=None, description="For colleagues; without anybody's numbers.")


class Extension(Body):
    """Why the review needs more time."""

    reason: Reason = Field(description="For colleagues; without anybody's numbers.", examples=["等待收款行确认"])


class ReviewNote(Body):
    """Words for colleagues."""

    note: Reason = Field(description="Without anybody's numbers.", examples=["已致电商户核实"])


class ReviewResource(OpsResource):
    id: str
    object: Literal["review"]
    payout_id: str
    merchant_id: str
    amount_minor: int
    currency: str
    state: ReviewState
    opened_at: str
    owner: str | None
    owner_login: str | None
    due_at: str
    expires_at: str = Field(description="Undecided by then, the payout is refused.")
    latest_at: str = Field(description="Nothing moves `expires_at` beyond it.")
    overdue: bool
    escalated_at: str | None
    escalation_role: str = Field(description="Whoever has it may take over what is overdue.")
    extensions_left: int
    evidence: dict[str, Any] | None
    decided_by: str | None = Field(description="The decision.")
    ended_at: str | None


class FullReview(ReviewResource):
    needs_second_person: bool = Field(description="Of an approval.")
    payout: dict[str, Any]
    payee: dict[str, Any] = Field(description="Masked.")
    recent: dict[str, Any] = Field(description="The user's last payments and payouts.")
    hits: list[dict[str, Any]] = Field(description="What made it necessary, in words with its numbers.")
    matches: list[dict[str, Any]] = Field(description="Listed names that the user or the payee is like.")
    decisions: list[dict[str, Any]]
    history: list[dict[str, Any]]
