"""Only what Liushui signed, lately, counts as a message from it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from client import Payment, WebhookRejectedError, webhooks

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
SECRET, OTHER = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment.succeeded",
    "object_id": "pay_1",
    "sequence": 4,
    "created_at": "2026-11-20T03:59:59Z",
    "data": {"object": "payment", "amount_minor": 12800},
    "something_new": True,
}
BODY = json.dumps(EVENT).encode()


def _headers(body: bytes = BODY, *secrets: str, at: datetime = NOW, message_id: str = "evt_1") -> dict[str, str]:
    text = body.decode("utf-8", "replace")
    signatures = [Webhook(secret).sign(message_id, at, text) for secret in secrets or (SECRET,)]
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }


def test_a_signed_message_is_an_event() -> None:
    event = webhooks.verify(BODY, _headers(), SECRET, now=NOW)
    assert (event.type, event.object_id, event.sequence) == ("payment.succeeded", "pay_1", 4)
    assert event.created_at == datetime(2026, 11, 20, 3, 59, 59, tzinfo=UTC)
    assert type(event.data["amount_minor"]) is int


def test_each_of_two_secrets_is_enough_while_one_replaces_the_other() -> None:
    both = _headers(BODY, OTHER, SECRET)
    assert webhooks.verify(BODY, both, SECRET, now=NOW).id == "evt_1"
    assert webhooks.verify(BODY, both, OTHER, now=NOW).id == "evt_1"
    assert webhooks.verify(BODY, _headers(), [OTHER, SECRET], now=NOW).id == "evt_1"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_message_and_one_from_the_future_are_rejected(minutes: int) -> None:
    with pytest.raises(WebhookRejectedError, match="too_old_or_too_new"):
        webhooks.verify(BODY, _headers(at=NOW + timedelta(minutes=minutes)), SECRET, now=NOW)


def test_the_tolerance_is_the_receivers_choice() -> None:
    headers = _headers(at=NOW - timedelta(minutes=6))
    assert webhooks.verify(BODY, headers, SECRET, now=NOW, tolerance_seconds=600).id == "evt_1"


def test_a_foreign_secret_is_rejected() -> None:
    with pytest.raises(WebhookRejectedError, match="signature_invalid"):
        webhooks.verify(BODY, _headers(BODY, OTHER), SECRET, now=NOW)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_rejected(name: str) -> None:
    headers = {key: value for key, value in _headers().items() if key != name}
    with pytest.raises(WebhookRejectedError, match="header_missing"):
        webhooks.verify(BODY, headers, SECRET, now=NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Webhook-Id", "evt_2"),
        ("Webhook-Timestamp", str(int(NOW.timestamp()) + 1)),
        ("Webhook-Timestamp", "nan"),
        ("Webhook-Timestamp", "9" * 11),
        ("Webhook-Timestamp", "9" * 12),
        ("Webhook-Timestamp", "9" * 4000),
        ("Webhook-Signature", "v1,not base64"),
        ("Webhook-Signature", "v1"),
        ("Webhook-Signature", "v2,AAAA"),
        ("Webhook-Signature", ","),
        ("Webhook-Signature", "v1,"),
    ],
)
def test_an_altered_or_malformed_header_is_rejected(name: str, value: str) -> None:
    with pytest.raises(WebhookRejectedError):
        webhooks.verify(BODY, _headers() | {name: value}, SECRET, now=NOW)


@pytest.mark.parametrize("body", [BODY.replace(b"12800", b"99900"), b"", b"\xff\xfe", b"null"])
def test_an_altered_body_is_rejected(body: bytes) -> None:
    with pytest.raises(WebhookRejectedError):
        webhooks.verify(body, _headers(), SECRET, now=NOW)


@pytest.mark.parametrize("body", [b"null", b"{}", b"[]", b"not json", json.dumps(EVENT | {"id": "evt_2"}).encode()])
def test_a_signed_message_that_is_no_event_is_rejected(body: bytes) -> None:
    with pytest.raises(WebhookRejectedError, match="not_an_event"):
        webhooks.verify(body, _headers(body), SECRET, now=NOW)


def test_without_a_secret_nothing_is_accepted() -> None:
    with pytest.raises(WebhookRejectedError, match="signature_invalid"):
        webhooks.verify(BODY, _headers(), [], now=NOW)


def test_data_becomes_the_thing_it_is() -> None:
    data = {
        "id": "pay_1",
        "object": "payment",
        "user_id": "usr_1",
        "binding_id": "bnd_1",
        "bank_code": "HBRB",
        "order_number": "1",
        "amount_minor": 12800,
        "currency": "CNY",
        "payee_kind": "merchant",
        "payee_name": "海棠书店",
        "fee_minor": 77,
        "fee_rule": "2026.1/quick_pay_merchant",
        "confirmation_hash": "0" * 64,
        "agreement_version": "2026-01-01",
        "origin": "user_relayed",
        "verification": "biometric_of_a_later_version",
        "state": "succeeded",
        "state_since": "2026-11-20T03:59:59+00:00",
        "accepted_at": "2026-11-20T03:59:59+00:00",
        "order_expires_at": "2026-11-20T04:59:59+00:00",
        "refunded_minor": 0,
        "refunding_minor": 0,
        "refundable_minor": 12800,
        "waiting_for": None,
    }
    body = json.dumps(EVENT | {"data": data}).encode()
    resource = webhooks.verify(body, _headers(body), SECRET, now=NOW).resource
    assert isinstance(resource, Payment)
    assert resource.state == "succeeded"
    assert not resource.is_waiting
    assert resource.verification == "biometric_of_a_later_version"
    body = json.dumps(EVENT | {"data": {"object": "thing_of_a_later_version"}}).encode()
    assert webhooks.verify(body, _headers(body), SECRET, now=NOW).resource is None
