"""Whether a message is from Liushui: Standard Webhooks, checked without a client and without the network."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError
from standardwebhooks import Webhook

from .errors import WebhookRejectedError
from .events import Event

TOLERANCE_SECONDS = 300
_LONGEST_BODY = 1 << 20
_MOST_SIGNATURES = 16


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    now: datetime | None = None,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Event:
    """The event in a message. Raises WebhookRejectedError.

    `body` is what came, unchanged; `secret` is `whsec_…`, or several while you change from one to the next. Answer with
    2xx only after you have kept the event; a message that you have had (`event.id`) needs no more than the 2xx.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    message_id, stamp, given = (lower.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (message_id and stamp and given):
        raise WebhookRejectedError("header_missing")
    sent_at = _instant(stamp)
    if abs(((now or datetime.now(UTC)) - sent_at).total_seconds()) > tolerance_seconds:
        raise WebhookRejectedError("too_old_or_too_new")
    if len(body) > _LONGEST_BODY:
        raise WebhookRejectedError("too_large")
    _check_signature(body, message_id, sent_at, given, [secret] if isinstance(secret, str) else secret)
    return _event(body, message_id)


def _instant(stamp: str) -> datetime:
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 11):
        raise WebhookRejectedError("timestamp_malformed")
    return datetime.fromtimestamp(int(stamp), UTC)


def _check_signature(body: bytes, message_id: str, sent_at: datetime, given: str, secrets: Sequence[str]) -> None:
    try:
        text = body.decode()
        signatures = [_raw(entry[3:]) for entry in given.split()[:_MOST_SIGNATURES] if entry.startswith("v1,")]
        expected = [_raw(Webhook(secret).sign(message_id, sent_at, text)[3:]) for secret in secrets]
    except (UnicodeDecodeError, binascii.Error):
        raise WebhookRejectedError("signature_malformed") from None
    # Every pair is compared, so that the time taken tells nothing.
    matches = [hmac.compare_digest(one, other) for one in expected for other in signatures]
    if not any(matches):
        raise WebhookRejectedError("signature_invalid")


def _raw(signature: str) -> bytes:
    return base64.b64decode(signature, validate=True)


def _event(body: bytes, message_id: str) -> Event:
    try:
        event = Event.model_validate_json(body)
    except ValidationError:
        raise WebhookRejectedError("not_an_event") from None
    if event.id != message_id:
        raise WebhookRejectedError("not_an_event")
    return event
