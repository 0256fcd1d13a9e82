"""States of the instructions and the steps between them that are legal; the database holds the same table."""

from __future__ import annotations

from enum import StrEnum


class BindingState(StrEnum):
    """Quick-pay binding of one card (A2.1a). Only an issuer's confirmation opens it."""

    ACCEPTED = "accepted"
    APPLYING = "applying"  # the four elements are, or may be, at the issuer
    AWAITING_CODE = "awaiting_code"
    OPEN = "open"
    DECLINED = "declined"
    EXPIRED = "expired"
    UNBINDING = "unbinding"
    UNBOUND = "unbound"


class PaymentState(StrEnum):
    """One collection. `unknown`: sent, and the bank has not said what became of it."""

    AWAITING_CODE = "awaiting_code"
    READY = "ready"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"  # the order expired, or the payer gave up, before anything was sent
    LATE_REFUNDING = "late_refunding"  # succeeded after the order was over; booked, and on its way back
    LATE_REFUNDED = "late_refunded"


class RefundState(StrEnum):
    """Money on its way back to the payer's card."""

    READY = "ready"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WaitReason(StrEnum):
    """What a resource that is not final waits for."""

    PROCESS_START = "process_start"
    ISSUER_ANSWER = "issuer_answer"
    PAYER_CODE = "payer_code"
    BANK_ANSWER = "bank_answer"
    BANK_PROCESSING = "bank_processing"
    BANK_REFUND = "bank_refund"
    OPERATOR = "operator"
    AUTHORITY_ORDER = "authority_order"  # held by it, and sent once it is lifted or over


B, P, R = BindingState, PaymentState, RefundState

BINDING_STEPS: dict[BindingState, frozenset[BindingState]] = {
    # Expired where even the send claim failed until the deadline, so that nothing was sent.
    B.ACCEPTED: frozenset({B.APPLYING, B.DECLINED, B.EXPIRED}),
    B.APPLYING: frozenset({B.AWAITING_CODE, B.DECLINED, B.EXPIRED}),
    B.AWAITING_CODE: frozenset({B.OPEN, B.DECLINED, B.EXPIRED}),
    B.OPEN: frozenset({B.UNBINDING}),
    B.UNBINDING: frozenset({B.UNBOUND}),
    B.DECLINED: frozenset(),
    B.EXPIRED: frozenset(),
    B.UNBOUND: frozenset(),
}

PAYMENT_STEPS: dict[PaymentState, frozenset[PaymentState]] = {
    P.AWAITING_CODE: frozenset({P.READY, P.FAILED, P.CLOSED}),
    P.READY: frozenset({P.SENDING, P.FAILED, P.CLOSED}),
    P.SENDING: frozenset({P.UNKNOWN, P.SUCCEEDED, P.FAILED, P.LATE_REFUNDING}),
    P.UNKNOWN: frozenset({P.SUCCEEDED, P.FAILED, P.LATE_REFUNDING}),
    P.LATE_REFUNDING: frozenset({P.LATE_REFUNDED}),
    # The bank's word prevails (A4.1c): a failure that turns out to have been booked is corrected, on the record.
    P.FAILED: frozenset({P.LATE_REFUNDING}),
    P.CLOSED: frozenset(),
    P.SUCCEEDED: frozenset(),
    P.LATE_REFUNDED: frozenset(),
}

REFUND_STEPS: dict[RefundState, frozenset[RefundState]] = {
    R.READY: frozenset({R.SENDING, R.FAILED}),
    R.SENDING: frozenset({R.UNKNOWN, R.SUCCEEDED, R.FAILED}),
    R.UNKNOWN: frozenset({R.SUCCEEDED, R.FAILED}),
    R.SUCCEEDED: frozenset(),
    R.FAILED: frozenset(),
}

# A card may have one of these at a time for one user, also when two applications race.
BINDING_LIVE_STATES = (B.ACCEPTED, B.APPLYING, B.AWAITING_CODE, B.OPEN, B.UNBINDING)
PAYMENT_FINAL_STATES = frozenset({P.SUCCEEDED, P.FAILED, P.CLOSED, P.LATE_REFUNDED})
REFUND_FINAL_STATES = frozenset({R.SUCCEEDED, R.FAILED})
BINDING_FINAL_STATES = frozenset({B.DECLINED, B.EXPIRED, B.UNBOUND})
