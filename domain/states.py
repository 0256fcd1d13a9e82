"""States of the instructions and the steps between them that are legal; the database holds the same table."""

from __future__ import annotations

from enum import StrEnum

from domain.closing import ClosureState, DisputeState


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


class PayoutState(StrEnum):
    """Money that leaves for a bank account (A2.5a-e). The amount and the fee are held from the first state on.

    `failed`, `refused` and `closed` end without money having left; the reason says why.
    """

    AWAITING_CONFIRMATION = "awaiting_confirmation"  # the payer has to say once more that this is meant
    CHECKING = "checking"  # rules and lists are being applied
    UNDER_REVIEW = "under_review"  # a person looks at it
    COOLING_OFF = "cooling_off"
    SCHEDULED = "scheduled"  # waits for its release slot: the bank's hours, its turn, or a freeze to be decided
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    RETURNED = "returned"  # paid, and sent back by the payee's bank: the money is on the balance again
    FAILED = "failed"  # the bank's definite no, or withdrawn by the institution before it was sent
    REFUSED = "refused"  # by the rules, by a list, by a reviewer, or because nobody decided in time
    CLOSED = "closed"  # not confirmed in time


class ReceivingAccountState(StrEnum):
    """A number at a bank under which remittances reach one user."""

    OPENING = "opening"
    OPEN = "open"
    DECLINED = "declined"
    CLOSED = "closed"


class InboundState(StrEnum):
    """Foreign currency that has arrived. `suspense`: nobody knows yet whose it is."""

    CREDITED = "credited"
    SUSPENSE = "suspense"
    RETURNING = "returning"
    RETURNED = "returned"


class InboundReturnState(StrEnum):
    """Foreign currency on its way back to where it came from."""

    READY = "ready"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class FxState(StrEnum):
    """A conversion into CNY, or its reversal (A5.1a-b, A5.2a-c). What is to be converted is held from the first on.

    `refused`: it could not be converted, and its money is still held; the merchant says what becomes of it.
    """

    WAITING = "waiting"  # for windows, value date, its turn, a quote, or for what stops it to be decided
    SENDING = "sending"
    UNKNOWN = "unknown"
    CONVERTED = "converted"  # dealt at a rate; the currencies have not been delivered yet
    SETTLED = "settled"
    REFUSED = "refused"  # by law, policy or quota, or by the desk (A5.2a)
    RELEASED = "released"  # the money is free on the balance again
    RETURNING = "returning"  # on its way back to where it came from
    RETURNED = "returned"


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
    CONFIRMATION = "confirmation"
    RISK_CHECK = "risk_check"
    SCREENING = "screening"  # the lists cannot be asked, so that nothing is sent
    REVIEW = "review"
    EVIDENCE = "evidence"  # the reviewer has asked the merchant for it
    COOLING_OFF = "cooling_off"
    BANK_WINDOW = "bank_window"  # its release slot, inside the bank's working hours
    FREEZE = "freeze"  # funds frozen or a function suspended: goes on or ends when that is decided
    PARTNER = "partner"  # the bank is switched off
    FX_DESK_WINDOW = "fx_desk_window"  # the desk is closed
    FX_AUTHORITY_WINDOW = "fx_authority_window"  # the FX authority is closed
    VALUE_DATE = "value_date"  # the money is good only then
    FX_QUEUE = "fx_queue"  # its turn, under the desk's rate
    FX_QUOTE = "fx_quote"  # the desk gives no rate that can be dealt at
    FX_DELIVERY = "fx_delivery"  # dealt; the desk has not delivered yet
    AUTHORITY_RATE = "authority_rate"  # without the authority's rate of the month the quota cannot be counted
    IDENTITY_CHECK = "identity_check"  # whose request it is has not been verified yet
    OBSTACLES = "obstacles"  # what keeps an account from being closed; the closure lists it
    ERASURE = "erasure"  # what is kept goes apart, the rest is destroyed


B, P, R, W = BindingState, PaymentState, RefundState, PayoutState
A, N, J, F = ReceivingAccountState, InboundState, InboundReturnState, FxState
C, D = ClosureState, DisputeState

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

_ENDS_UNSENT = frozenset({W.REFUSED, W.FAILED})
PAYOUT_STEPS: dict[PayoutState, frozenset[PayoutState]] = {
    W.AWAITING_CONFIRMATION: frozenset({W.CHECKING, W.CLOSED}) | _ENDS_UNSENT,
    W.CHECKING: frozenset({W.COOLING_OFF, W.UNDER_REVIEW, W.SCHEDULED}) | _ENDS_UNSENT,
    # What was fine may not be any more when a list has changed meanwhile.
    W.COOLING_OFF: frozenset({W.CHECKING, W.UNDER_REVIEW, W.SCHEDULED}) | _ENDS_UNSENT,
    W.UNDER_REVIEW: frozenset({W.SCHEDULED}) | _ENDS_UNSENT,
    W.SCHEDULED: frozenset({W.SENDING, W.CHECKING, W.UNDER_REVIEW}) | _ENDS_UNSENT,
    # Back to scheduled only on the bank's definite word that it is closed, so that nothing was booked (`bank_closed`).
    W.SENDING: frozenset({W.UNKNOWN, W.SUCCEEDED, W.FAILED, W.SCHEDULED}),
    W.UNKNOWN: frozenset({W.SUCCEEDED, W.FAILED, W.SCHEDULED}),
    # Named and recorded: the payee's bank has sent the money back, days later perhaps.
    W.SUCCEEDED: frozenset({W.RETURNED}),
    W.RETURNED: frozenset(),
    W.FAILED: frozenset(),
    W.REFUSED: frozenset(),
    W.CLOSED: frozenset(),
}

RECEIVING_ACCOUNT_STEPS: dict[ReceivingAccountState, frozenset[ReceivingAccountState]] = {
    A.OPENING: frozenset({A.OPEN, A.DECLINED}),
    A.OPEN: frozenset({A.CLOSED}),
    A.DECLINED: frozenset(),
    A.CLOSED: frozenset(),
}

INBOUND_STEPS: dict[InboundState, frozenset[InboundState]] = {
    N.SUSPENSE: frozenset({N.CREDITED, N.RETURNING}),
    N.RETURNING: frozenset({N.RETURNED, N.SUSPENSE}),
    N.CREDITED: frozenset(),
    N.RETURNED: frozenset(),
}

INBOUND_RETURN_STEPS: dict[InboundReturnState, frozenset[InboundReturnState]] = {
    J.READY: frozenset({J.SENDING, J.FAILED}),
    J.SENDING: frozenset({J.UNKNOWN, J.SUCCEEDED, J.FAILED}),
    J.UNKNOWN: frozenset({J.SUCCEEDED, J.FAILED}),
    J.SUCCEEDED: frozenset(),
    J.FAILED: frozenset(),
}

FX_STEPS: dict[FxState, frozenset[FxState]] = {
    F.WAITING: frozenset({F.SENDING, F.REFUSED, F.RELEASED}),
    # Back to waiting only on the desk's definite word that it has not dealt: it was closed, or its quote was over.
    F.SENDING: frozenset({F.WAITING, F.UNKNOWN, F.CONVERTED, F.SETTLED, F.REFUSED}),
    F.UNKNOWN: frozenset({F.WAITING, F.CONVERTED, F.SETTLED, F.REFUSED}),
    F.CONVERTED: frozenset({F.SETTLED}),
    F.REFUSED: frozenset({F.RELEASED, F.RETURNING}),
    F.RETURNING: frozenset({F.RETURNED, F.REFUSED}),
    F.SETTLED: frozenset(),
    F.RELEASED: frozenset(),
    F.RETURNED: frozenset(),
}

CLOSURE_STEPS: dict[ClosureState, frozenset[ClosureState]] = {
    C.RECEIVED: frozenset({C.DECIDING, C.CLOSING, C.REFUSED}),
    C.DECIDING: frozenset({C.CLOSING, C.REFUSED}),
    C.CLOSING: frozenset({C.UNSIGNING, C.FORGETTING, C.REFUSED}),
    # Back where something came in while the banks were being told: it is in the way again.
    C.UNSIGNING: frozenset({C.CLOSING, C.FORGETTING}),
    C.FORGETTING: frozenset({C.COMPLETED}),
    C.COMPLETED: frozenset(),
    C.REFUSED: frozenset(),
}

DISPUTE_STEPS: dict[DisputeState, frozenset[DisputeState]] = {
    D.OPEN: frozenset({D.RESOLVED}),
    D.RESOLVED: frozenset(),
}

# A card may have one of these at a time for one user, also when two applications race.
BINDING_LIVE_STATES = (B.ACCEPTED, B.APPLYING, B.AWAITING_CODE, B.OPEN, B.UNBINDING)
PAYMENT_FINAL_STATES = frozenset({P.SUCCEEDED, P.FAILED, P.CLOSED, P.LATE_REFUNDED})
REFUND_FINAL_STATES = frozenset({R.SUCCEEDED, R.FAILED})
PAYOUT_UNSENT_STATES = frozenset({W.AWAITING_CONFIRMATION, W.CHECKING, W.UNDER_REVIEW, W.COOLING_OFF, W.SCHEDULED})
PAYOUT_FINAL_STATES = frozenset({W.SUCCEEDED, W.RETURNED, W.FAILED, W.REFUSED, W.CLOSED})
FX_FINAL_STATES = frozenset({F.SETTLED, F.RELEASED, F.RETURNED})
INBOUND_RETURN_FINAL_STATES = frozenset({J.SUCCEEDED, J.FAILED})
CLOSURE_FINAL_STATES = frozenset({C.COMPLETED, C.REFUSED})
BINDING_FINAL_STATES = frozenset({B.DECLINED, B.EXPIRED, B.UNBOUND})
