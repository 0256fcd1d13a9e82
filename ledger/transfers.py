"""What can be asked of the ledger: the transfers that a settlement hands to `ledger.apply`, and its refusals.

A transfer is idempotent by `key` (up to 100 of `A-Z a-z 0-9 _ . : / -`, like `instruction` and `reference`): the same
key with the same content changes nothing, with other content it is refused. The moment of booking is not content.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

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


class LedgerErrorCode(StrEnum):
    """Why an item was refused; nothing of it was written."""

    INVALID_TRANSFER = "invalid_transfer"
    INVALID_AMOUNT = "invalid_amount"
    TOO_MANY_TRANSFERS = "too_many_transfers"
    KEY_REUSED = "key_reused"
    ACCOUNT_NOT_FOUND = "account_not_found"
    ACCOUNT_CLOSED = "account_closed"
    CURRENCY_MISMATCH = "currency_mismatch"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    HOLD_NOT_FOUND = "hold_not_found"
    HOLD_ALREADY_ENDED = "hold_already_ended"
    AMOUNT_EXCEEDS_HOLD = "amount_exceeds_hold"
    BALANCE_OUT_OF_RANGE = "balance_out_of_range"


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


Transfer = Post | Hold | PostHold | ReleaseHold


def as_json(transfers: Sequence[Transfer]) -> list[dict[str, Any]]:
    """The `transfers` of an item for `ledger.apply`; its parts happen all or not at all."""
    return [transfer.model_dump(mode="json", exclude_none=True) for transfer in transfers]


def reversal_of(posted: Post, *, key: str, reference: str, booked_at: datetime) -> Post:
    """The transfer that undoes another one; corrections are always new transfers."""
    opposite = {"debit": posted.credit, "credit": posted.debit, "kind": TransferKind.REVERSAL}
    return Post(**{**posted.model_dump(), **opposite, "key": key, "reference": reference, "booked_at": booked_at})
