"""The exact bytes that are sent, and their signatures (Standard Webhooks)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook

from domain.webhooks import secret_place
from storage.webhooks import ClaimedDelivery
from vault.sealing import decrypt

USER_AGENT = "Liushui-Webhooks/1"


@dataclass(frozen=True)
class Message:
    """A signed event."""

    headers: Mapping[str, str]
    body: bytes


def signed_message(delivery: ClaimedDelivery, key: bytes, now: datetime) -> Message:
    """The event with one signature a living secret; `now` is aware, in UTC. Raises SealBrokenError."""
    text = wire_text(delivery.event)
    event_id: str = delivery.event["id"]
    secrets = (decrypt(key, s.sealed, secret_place(delivery.endpoint_id, s.id)) for s in delivery.secrets)
    signatures = [Webhook(secret).sign(event_id, now, text) for secret in secrets]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return Message(headers, text.encode())


def wire_text(event: Mapping[str, Any]) -> str:
    """An event as JSON; the same event is the same text each time. Amounts are integers in the books and here."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
