"""Bodies about closing, records of where funds came from, and disputes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.schemas import Body, Day, EvidenceRef, Instant, OrderNumber, Part
from domain.closing import DisputeReason
from domain.money import AmountMinor, Currency

MOST_RECORDS = 500


class IdentityCheck(Part):
    """How you made sure that it is the user who asks (P4.4a). Never the evidence itself."""

    method: Literal["login", "document", "face", "counter"]
    checked_at: Instant
    evidence_ref: EvidenceRef | None = None


class NewClosure(Body):
    """The user's request, whose identity you have checked."""

    scope: Literal["account", "quick_pay"] = Field(
        description="`account`: everything, and the agreement ends. `quick_pay`: the bound cards alone.",
        examples=["account"],
    )
    identity_check: IdentityCheck = Field(
        examples=[{"method": "login", "checked_at": "2026-11-22T08:00:00Z", "evidence_ref": "click-log:992"}]
    )


class FundsRecord(Part):
    """One order behind the user's money: what was sold, to whom. Sealed on arrival, and shown to nobody."""

    order_number: OrderNumber
    amount_minor: AmountMinor
    currency: Currency
    traded_on: Day
    description: Annotated[str, Field(min_length=1, max_length=200, repr=False)]
    counterparty: Annotated[str, Field(min_length=1, max_length=100, repr=False)]


class NewRecords(Body):
    """Records of where the user's funds came from (A4.4c)."""

    records: Annotated[list[FundsRecord], Field(min_length=1, max_length=MOST_RECORDS)] = Field(
        description="As many as fit into a request (64 KiB), each order once.",
        examples=[
            [
                {
                    "order_number": "order-20261122-0001",
                    "amount_minor": 12800,
                    "currency": "CNY",
                    "traded_on": "2026-11-22",
                    "description": "Ceramic tea set",
                    "counterparty": "Haitang Books",
                }
            ]
        ],
        repr=False,
    )
    complete: bool = Field(description="Whether these are the last of them.", examples=[True])


class NewErasureReply(Body):
    """What you have done with what you got about the user (P4.2b)."""

    outcome: Literal["erased", "kept"] = Field(examples=["erased"])
    reason: Literal["law", "own_authorisation"] | None = Field(
        default=None, description="Why you keep some of it: needed with `kept`, refused without it."
    )

    @model_validator(mode="after")
    def _a_reason_goes_with_kept(self) -> Self:
        if (self.outcome == "kept") != (self.reason is not None):
            raise PydanticCustomError("reason_of_kept", "reason goes with kept")
        return self


class NewDispute(Body):
    """Something between the user and you that is not settled (P4.5b)."""

    subject_id: Annotated[str, Field(pattern=r"^(usr|pay|rfd|po|fx)_[0-9A-HJKMNP-TV-Z]{26}$")] | None = Field(
        default=None,
        description="The user's payment, refund, payout or conversion that it is about; the account, if left out.",
    )
    reason: DisputeReason = Field(examples=["not_received"])
    evidence_ref: EvidenceRef | None = Field(default=None, examples=["chat:4712"])
