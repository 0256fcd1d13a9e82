"""Faults on demand: for the next N requests of an operation, or for ever by card number (`cards.py`)."""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from banks.simulator.protocol import BankCode, Operation


class FaultKind(StrEnum):
    """What goes wrong. "Before" means the request leaves no trace at the bank; "after" means its effect is
    booked.
    """

    DECLINE = "decline"
    TIME_OUT_BEFORE = "time_out_before"
    TIME_OUT_AFTER = "time_out_after"
    ARRIVES_LATE = "arrives_late"
    ERROR_BEFORE = "error_before"
    ERROR_AFTER = "error_after"
    PROCESSING_THEN_SUCCESS = "processing_then_success"
    PROCESSING_THEN_FAILURE = "processing_then_failure"
    LATE_SUCCESS = "late_success"
    DUPLICATE_CALLBACKS = "duplicate_callbacks"
    CALLBACKS_OUT_OF_ORDER = "callbacks_out_of_order"
    FORGED_CALLBACK = "forged_callback"
    SLOW = "slow"
    ANSWER_UNSIGNED = "answer_unsigned"
    ANSWER_FORGED = "answer_forged"
    ANSWER_UNREADABLE = "answer_unreadable"
    LINE_BROKEN = "line_broken"
    RETURNED_LATER = "returned_later"
    RETURNED_AT_ONCE = "returned_at_once"
    KEPT_BY_LAW = "kept_by_law"
    KEPT_BY_OWN_AUTHORISATION = "kept_by_own_authorisation"
    REPLIES_ON_COMMAND = "replies_on_command"


RETURNS = frozenset({FaultKind.RETURNED_LATER, FaultKind.RETURNED_AT_ONCE})
ERASURE_REPLIES = frozenset({FaultKind.KEPT_BY_LAW, FaultKind.KEPT_BY_OWN_AUTHORISATION, FaultKind.REPLIES_ON_COMMAND})


class Fault(BaseModel):
    """One misbehaviour; `code` is the bank's code of a decline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    code: BankCode | None = None

    @model_validator(mode="after")
    def _a_decline_has_a_code(self) -> Self:
        if (self.kind is FaultKind.DECLINE) != (self.code is not None):
            raise ValueError("`code` goes with `decline`, and only with it")
        return self


class FaultOrder(Fault):
    """A fault for the next `count` requests of an operation, narrowed by bank, card or request number if
    given.
    """

    operation: Operation
    count: int = Field(default=1, ge=1, le=1_000_000)
    bank_code: str | None = None
    card_number: str | None = Field(default=None, repr=False)
    request_number: str | None = None

    @model_validator(mode="after")
    def _only_a_payout_is_returned(self) -> Self:
        if self.kind in RETURNS and self.operation is not Operation.PAYOUT:
            raise ValueError("only `payouts` are returned")
        return self

    @model_validator(mode="after")
    def _only_a_notice_of_erasure_is_replied_to(self) -> Self:
        if self.kind in ERASURE_REPLIES and self.operation is not Operation.ERASURE_NOTICE:
            raise ValueError("only `erasure-notices` are replied to")
        return self

    def fits(self, bank_code: str, operation: Operation, request_number: str, card_number: str | None) -> bool:
        """Whether this order is meant for such a request."""
        wanted = (self.bank_code, self.card_number, self.request_number)
        given = (bank_code, card_number, request_number)
        return self.operation is operation and all(w in (None, g) for w, g in zip(wanted, given, strict=True))


class FaultRegistry:
    """Orders in the sequence they were given. They live in memory: a restarted simulator has none."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._orders: dict[int, FaultOrder] = {}
        self._left: dict[int, int] = {}
        self._shown: set[tuple[str, str]] = set()

    def add(self, order: FaultOrder) -> int:
        """Takes an order and answers its number."""
        number = next(self._numbers)
        self._orders[number], self._left[number] = order, order.count
        return number

    def clear(self) -> None:
        """Forgets every order."""
        self._orders.clear()
        self._left.clear()

    def listed(self) -> list[dict[str, object]]:
        """The orders that still wait for requests, without card numbers."""
        return [
            {
                "fault_id": number,
                "left": self._left[number],
                **order.model_dump(mode="json", exclude={"card_number"}),
            }
            for number, order in self._orders.items()
        ]

    def take(self, bank_code: str, operation: Operation, request_number: str, card_number: str | None) -> Fault | None:
        """The fault ordered for this request; each order is used up by `count` requests."""
        for number, order in self._orders.items():
            if order.fits(bank_code, operation, request_number, card_number):
                self._left[number] -= 1
                if not self._left[number]:
                    del self._orders[number], self._left[number]
                return Fault(kind=order.kind, code=order.code)
        return None

    def first_time(self, bank_code: str, request_number: str) -> bool:
        """A fault card misbehaves at the first sending of a request number only, so that a resend can
        succeed.
        """
        key = (bank_code, request_number)
        if key in self._shown:
            return False
        self._shown.add(key)
        return True
