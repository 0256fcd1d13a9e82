"""A merchant's client of the Liushui API: sync and async, typed. Needs no other folder of this project.

`Liushui` and `AsyncLiushui` talk to the API; `webhooks.verify` reads what the API sends to you.
"""

from . import webhooks
from .closure_models import Certificate, Closure, Dispute, FundsRecord
from .errors import (
    AuthenticationError,
    ConflictError,
    LiushuiError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    RefusedError,
    RequestInvalidError,
    StillWaitingError,
    TooManyRequestsError,
    UnexpectedAnswerError,
    WebhookRejectedError,
)
from .events import Event
from .fx_models import Conversion, ConversionPreview, FxMandate, Inbound, ReceivingAccount
from .liushui import AsyncLiushui, Liushui
from .models import (
    Agreement,
    Binding,
    Consent,
    Limits,
    Payment,
    PaymentPreview,
    Refund,
    User,
    WaiverApplication,
)
from .payout_models import Payee, Payout, PayoutPreview
from .retries import Retries
from .signing import SigningKey
from .waiting import is_done, is_done_or_needs_code

__all__ = [
    "Agreement",
    "AsyncLiushui",
    "AuthenticationError",
    "Binding",
    "Certificate",
    "Closure",
    "ConflictError",
    "Consent",
    "Conversion",
    "ConversionPreview",
    "Dispute",
    "Event",
    "FundsRecord",
    "FxMandate",
    "Inbound",
    "Limits",
    "Liushui",
    "LiushuiError",
    "NoAnswerError",
    "NotAllowedError",
    "NotFoundError",
    "Payee",
    "Payment",
    "PaymentPreview",
    "Payout",
    "PayoutPreview",
    "ReceivingAccount",
    "Refund",
    "RefusedError",
    "RequestInvalidError",
    "Retries",
    "SigningKey",
    "StillWaitingError",
    "TooManyRequestsError",
    "UnexpectedAnswerError",
    "User",
    "WaiverApplication",
    "WebhookRejectedError",
    "is_done",
    "is_done_or_needs_code",
    "webhooks",
]
