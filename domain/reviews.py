"""Reviews of payouts by people: how long each may take, what a merchant can be asked for, and what is done with one.

The rules are data (`config/reviews.toml`); who may and whether it can take place is judged in the database (A2.5d).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.decisions import Instant, Reason, Reference
from domain.instructions import RequestContext


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ReviewState(StrEnum):
    """`open` and `evidence` (asked for, and not there yet) are under way; `closed`: the payout ended otherwise."""

    OPEN = "open"
    EVIDENCE = "evidence"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CLOSED = "closed"


class EvidenceKind(StrEnum):
    """What a merchant can be asked to show about a payout (A8.1c): a closed list, so that nothing else is told (L5)."""

    ORDER_DETAILS = "order_details"
    DELIVERY_PROOF = "delivery_proof"
    INVOICE = "invoice"
    CONTRACT = "contract"
    SOURCE_OF_FUNDS = "source_of_funds"
    PAYEE_RELATION = "payee_relation"
    USER_CONFIRMATION = "user_confirmation"


class EvidenceText(_Value):
    """A kind of evidence in words."""

    zh: str
    en: str


EVIDENCE_TEXTS: Mapping[EvidenceKind, EvidenceText] = {
    EvidenceKind.ORDER_DETAILS: EvidenceText(zh="订单明细", en="Details of the order"),
    EvidenceKind.DELIVERY_PROOF: EvidenceText(zh="发货或交付凭证", en="Proof of delivery"),
    EvidenceKind.INVOICE: EvidenceText(zh="发票", en="Invoice"),
    EvidenceKind.CONTRACT: EvidenceText(zh="合同或协议", en="Contract"),
    EvidenceKind.SOURCE_OF_FUNDS: EvidenceText(zh="资金来源说明", en="Where the funds come from"),
    EvidenceKind.PAYEE_RELATION: EvidenceText(zh="与收款人的关系说明", en="How payer and payee are related"),
    EvidenceKind.USER_CONFIRMATION: EvidenceText(zh="用户本人确认记录", en="The user's own confirmation"),
}


class ReviewTier(_Value):
    """How long a review may take above an amount (minor units of CNY), and who takes over what is late.

    From the opening: due after `due_hours`, expired after `open_hours`, and never open beyond `longest_hours`.
    """

    above_minor: int = Field(ge=0)
    due_hours: int = Field(gt=0, le=24 * 30)
    open_hours: int = Field(gt=0, le=24 * 30)
    longest_hours: int = Field(gt=0, le=24 * 60)
    extension_hours: int = Field(gt=0, le=24 * 30)
    most_extensions: int = Field(ge=0, le=20)
    escalation_role: str = Field(pattern=r"^[a-z][a-z_]{1,39}$")

    @model_validator(mode="after")
    def _one_after_the_other(self) -> ReviewTier:
        if not self.due_hours <= self.open_hours <= self.longest_hours:
            raise ValueError("due_hours, open_hours and longest_hours follow one another")
        return self


class TargetHours(_Value):
    """In which time money is sent, by speed; what takes longer becomes a matter for a person (A2.5d)."""

    real_time: int = Field(gt=0, le=24 * 30)
    within_two_hours: int = Field(gt=0, le=24 * 30)
    next_working_day: int = Field(gt=0, le=24 * 30)


class ReviewRules(_Value):
    """`config/reviews.toml` as a value. Raises ValidationError if an amount is in no tier, or in two."""

    tiers: tuple[ReviewTier, ...] = Field(min_length=1, max_length=10)
    target_hours: TargetHours

    @model_validator(mode="after")
    def _every_amount_is_in_one(self) -> ReviewRules:
        amounts = [tier.above_minor for tier in self.tiers]
        if amounts[0] != 0 or amounts != sorted(set(amounts)):
            raise ValueError("reviews.toml: the tiers begin at above_minor = 0 and go up")
        return self

    @property
    def roles(self) -> frozenset[str]:
        """Those that reviews are escalated to."""
        return frozenset(tier.escalation_role for tier in self.tiers)


Act = Literal["take", "release", "ask", "extend", "note"]


class WorkOnReview(_Value):
    """What a reviewer does with a review besides deciding it. `note` is words for colleagues."""

    now: datetime
    request_id: str
    operator_id: str
    id: str
    act: Act
    note: Reason | None = None
    kinds: tuple[EvidenceKind, ...] = Field(default=(), max_length=len(EvidenceKind))
    until: Instant | None = None

    @model_validator(mode="after")
    def _says_what_it_needs(self) -> WorkOnReview:
        if (self.act == "ask") != bool(self.kinds) or (self.act == "ask") != (self.until is not None):
            raise ValueError("who asks for evidence says which and until when, and nobody else does")
        if self.act in ("extend", "note") and self.note is None:
            raise ValueError("an extension has a reason, and a note has words")
        return self


class Evidence(_Value):
    """One thing that the merchant keeps and names, never the thing itself."""

    kind: EvidenceKind
    reference: Annotated[Reference, Field(examples=["file:2026/11/22/0007"])]


class GiveEvidence(_Value):
    """What the merchant has to show about its payout."""

    request: RequestContext
    now: datetime
    payout_id: str
    evidence: tuple[Evidence, ...] = Field(min_length=1, max_length=10)


class Standing(_Value):
    """Where a review stands."""

    state: ReviewState
    due_at: datetime
    expires_at: datetime
    escalated: bool
