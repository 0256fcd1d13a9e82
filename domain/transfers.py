"""What can be asked of the ledger: the transfers that a settlement hands to `ledger.apply`.

A transfer is idempotent by `key` (up to 100 of `A-Z a-z 0-9 _ . : / -`, like `instruction` and `reference`): the same
key with the same content changes nothing, with other content it is refused. The moment of booking is not content.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from domain.money import AmountMinor, Currency

Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,100}$")]
AccountCode = Annotated[str, Field(max_length=100)]


class TransferKind(StrEnum):
    """The typed movements that the ledger takes (A0.5); a migration adds to them."""

    COLLECTION = "collection"
    PAYOUT = "payout"
    PAYOUT_RETURN = "payout_return"
    MERCHANT_SETTLEMENT = "merchant_settlement"
    BANK_SETTLEMENT = "bank_settlement"
    SUSPENSE = "suspense"
    FEE = "fee"
    FEE_REFUND = "fee_refund"
    REFUND = "refund"
    LATE_REFUND = "late_refund"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"
    INBOUND = "inbound"  # foreign currency that arrived
    INBOUND_RETURN = "inbound_return"
    FX_CONVERSION = "fx_conversion"
    FX_REVERSAL = "fx_reversal"
    FREEZE = "freeze"  # held, and posted by an authority's order alone (A8.4)


# These need a reference of their own beside the instruction they serve.
KINDS_WITH_REFERENCE = frozenset(
    {
        TransferKind.FEE,
        TransferKind.FEE_REFUND,
        TransferKind.REFUND,
        TransferKind.LATE_REFUND,
        TransferKind.REVERSAL,
        TransferKind.ADJUSTMENT,
    }
)


class Direction(StrEnum):
    """Collection on behalf (in), payout on behalf (out), or neither."""

    IN = "in"
    OUT = "out"
    INTERNAL = "internal"


class _Transfer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Reference
    booked_at: AwareDatetime
    reference: Reference | None = None


class _Movement(_Transfer):
    kind: TransferKind
    direction: Direction
    debit: AccountCode
    credit: AccountCode
    currency: Currency
    amount: AmountMinor
    instruction: Reference


class Post(_Movement):
    """Moves `amount` minor units at once: debits one account and credits the other."""

    action: Literal["post"] = "post"


class Hold(_Movement):
    """Reserves `amount` on whichever of the two accounts the movement would lower, until the hold is ended."""

    action: Literal["hold"] = "hold"


class PostHold(_Transfer):
    """Ends a hold by moving all of it, or `amount` of it; the rest is released. `hold` is the key of the hold."""

    action: Literal["post_hold"] = "post_hold"
    hold: Reference
    amount: AmountMinor | None = None
    instruction: Reference | None = None


class ReleaseHold(_Transfer):
    """Ends a hold without moving anything."""

    action: Literal["release_hold"] = "release_hold"
    hold: Reference
    instruction: Reference | None = None


Transfer = Annotated[Post | Hold | PostHold | ReleaseHold, Field(discriminator="action")]
