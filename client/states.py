"""Words that resources use. A later version may add some: fields hold the plain string then, and nothing breaks."""

from __future__ import annotations

from enum import StrEnum


class BindingState(StrEnum):
    """A card: usable when `open`."""

    ACCEPTED = "accepted"
    APPLYING = "applying"
    AWAITING_CODE = "awaiting_code"
    OPEN = "open"
    DECLINED = "declined"
    EXPIRED = "expired"
    UNBINDING = "unbinding"
    UNBOUND = "unbound"


class PaymentState(StrEnum):
    """A payment: final when `succeeded`, `failed`, `closed` or `late_refunded`."""

    AWAITING_CODE = "awaiting_code"
    READY = "ready"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CLOSED = "closed"
    LATE_REFUNDING = "late_refunding"
    LATE_REFUNDED = "late_refunded"


class RefundState(StrEnum):
    """A refund: final when `succeeded` or `failed`."""

    READY = "ready"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PayoutState(StrEnum):
    """A payout: `succeeded`, `returned`, `failed`, `refused` and `closed` are ends; money left in the first two."""

    AWAITING_CONFIRMATION = "awaiting_confirmation"
    CHECKING = "checking"
    UNDER_REVIEW = "under_review"
    COOLING_OFF = "cooling_off"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    RETURNED = "returned"
    FAILED = "failed"
    REFUSED = "refused"
    CLOSED = "closed"


class ReceivingAccountState(StrEnum):
    """A number under which foreign currency reaches a user: usable when `open`."""

    OPENING = "opening"
    OPEN = "open"
    DECLINED = "declined"
    CLOSED = "closed"


class FxState(StrEnum):
    """A conversion into CNY: `settled`, `released` and `returned` are ends; `refused` waits for you."""

    WAITING = "waiting"
    SENDING = "sending"
    UNKNOWN = "unknown"
    CONVERTED = "converted"
    SETTLED = "settled"
    REFUSED = "refused"
    RELEASED = "released"
    RETURNING = "returning"
    RETURNED = "returned"


class ClosureState(StrEnum):
    """A request to close: `completed` and `refused` are ends; `obstacles` says what a `closing` one waits for."""

    RECEIVED = "received"
    DECIDING = "deciding"
    CLOSING = "closing"
    UNSIGNING = "unsigning"
    FORGETTING = "forgetting"
    COMPLETED = "completed"
    REFUSED = "refused"


class ClosureScope(StrEnum):
    """What ends: the account with everything, the bound cards alone, or nothing but data."""

    ACCOUNT = "account"
    QUICK_PAY = "quick_pay"
    DELETION = "deletion"


class ObstacleKind(StrEnum):
    """What keeps an account from being closed."""

    IDENTITY = "identity"
    DECISION = "decision"
    DISPUTE = "dispute"
    INSTRUCTION = "instruction"
    BALANCE = "balance"
    FROZEN_FUNDS = "frozen_funds"
    FREEZE = "freeze"
    AUTHORITY_ORDER = "authority_order"
    SUSPENSION = "suspension"
    RECORDS = "records"
    DATA_IN_USE = "data_in_use"
    AGREEMENT = "agreement"


class IdentityMethod(StrEnum):
    """How it was made sure that the user asks."""

    LOGIN = "login"
    FACE = "face"
    COUNTER = "counter"
    DOCUMENT = "document"
    ID_NUMBER = "id_number"


class ErasureReply(StrEnum):
    """What a recipient of the user's data has said to the notice that asks to delete them."""

    NONE = "none"
    RECEIVED = "received"
    ERASED = "erased"
    KEPT = "kept"


class DisputeState(StrEnum):
    """A dispute: the institution resolves it."""

    OPEN = "open"
    RESOLVED = "resolved"


class DisputeReason(StrEnum):
    """What a dispute is about."""

    NOT_AUTHORISED = "not_authorised"
    NOT_RECEIVED = "not_received"
    NOT_AS_DESCRIBED = "not_as_described"
    AMOUNT_DIFFERS = "amount_differs"
    REFUND_MISSING = "refund_missing"
    OTHER = "other"


class OverQuota(StrEnum):
    """If a conversion is more than what is left of the yearly quota: convert what is left, or nothing."""

    SPLIT = "split"
    HOLD = "hold"


class WaitReason(StrEnum):
    """What a resource that is not final waits for."""

    PROCESS_START = "process_start"
    ISSUER_ANSWER = "issuer_answer"
    PAYER_CODE = "payer_code"
    BANK_ANSWER = "bank_answer"
    BANK_PROCESSING = "bank_processing"
    BANK_REFUND = "bank_refund"
    OPERATOR = "operator"
    AUTHORITY_ORDER = "authority_order"
    CONFIRMATION = "confirmation"
    RISK_CHECK = "risk_check"
    SCREENING = "screening"
    REVIEW = "review"
    EVIDENCE = "evidence"
    COOLING_OFF = "cooling_off"
    BANK_WINDOW = "bank_window"
    FREEZE = "freeze"
    PARTNER = "partner"
    FX_DESK_WINDOW = "fx_desk_window"
    FX_AUTHORITY_WINDOW = "fx_authority_window"
    VALUE_DATE = "value_date"
    FX_QUEUE = "fx_queue"
    FX_QUOTE = "fx_quote"
    FX_DELIVERY = "fx_delivery"
    AUTHORITY_RATE = "authority_rate"
    IDENTITY_CHECK = "identity_check"
    OBSTACLES = "obstacles"
    ERASURE = "erasure"


class Speed(StrEnum):
    """How fast a payout is to arrive; a payee lists those of its destination."""

    REAL_TIME = "real_time"
    WITHIN_TWO_HOURS = "within_two_hours"
    NEXT_WORKING_DAY = "next_working_day"


class NameMatch(StrEnum):
    """A payee's name against the user's verified one."""

    MATCH = "match"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


class Verification(StrEnum):
    """What a payment needs: a code, nothing, or first the notice of payment without a code."""

    CODE = "code"
    WAIVED = "waived"
    NOTICE = "notice"


class PayeeKind(StrEnum):
    """Who gets the money: you, or the user's own balance."""

    MERCHANT = "merchant"
    USER = "user"


class Origin(StrEnum):
    """Where an instruction comes from: the user just now, or an arrangement that you have with the user."""

    USER_RELAYED = "user_relayed"
    STANDING_MANDATE = "standing_mandate"


class ConsentKind(StrEnum):
    """What a user did or was shown."""

    AGREEMENT = "agreement"
    CAPACITY_STATEMENT = "capacity_statement"
    WAIVER_AUTHORISATION = "waiver_authorisation"
    WAIVER_NOTICE = "waiver_notice"
    WAIVER_OBJECTION = "waiver_objection"
    DATA_EXPORT = "data_export"
    LONGER_RETENTION = "longer_retention"


class RefundReason(StrEnum):
    """Why money goes back."""

    REQUESTED_BY_PAYER = "requested_by_payer"
    DUPLICATE = "duplicate"
    GOODS_NOT_DELIVERED = "goods_not_delivered"
    ORDER_CHANGED = "order_changed"
    OTHER = "other"
