"""Where webhooks are sent to, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from .core import Ask
from .models import Page, Plain, Resource
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class WebhookEndpoint(Resource):
    """An address of yours. `secret` is there only in the answer that made it."""

    id: str
    url: str
    state: str
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    created_at: datetime
    secret: str | None = Field(default=None, repr=False)


class WebhookEndpoints(Noun[Mode]):
    """`client.webhook_endpoints`"""

    @asks
    def create(
        self,
        url: str,
        *,
        event_types: Sequence[str] | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[WebhookEndpoint]:
        """Registers an address; the answer holds the secret (`whsec_…`), once. Without types it gets all events."""
        body: dict[str, Any] = {"url": url}
        if event_types is not None:
            body["event_types"] = list(event_types)
        if description is not None:
            body["description"] = description
        where = path("webhook_endpoints")
        return Ask("POST", where, WebhookEndpoint, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def get(self, endpoint_id: str) -> Ask[WebhookEndpoint]:
        """Reads an endpoint."""
        return Ask("GET", path("webhook_endpoints", endpoint_id), WebhookEndpoint)

    @lists
    def list(self) -> Ask[Page[WebhookEndpoint]]:
        """Your endpoints."""
        return Ask("GET", path("webhook_endpoints"), Page[WebhookEndpoint], query={"limit": PAGE_SIZE})

    @asks
    def delete(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[Plain]:
        """Nothing more is sent there."""
        where = path("webhook_endpoints", endpoint_id)
        return Ask("DELETE", where, Plain, is_command=True, idempotency_key=idempotency_key)

    @asks
    def rotate_secret(
        self, endpoint_id: str, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> Ask[WebhookEndpoint]:
        """A new secret; for the time of the overlap messages are signed with both."""
        body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        where = path("webhook_endpoints", endpoint_id, "rotate_secret")
        return Ask("POST", where, WebhookEndpoint, body, is_command=True, idempotency_key=idempotency_key)

    @asks
    def enable(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookEndpoint]:
        """Sends there again."""
        where = path("webhook_endpoints", endpoint_id, "enable")
        return Ask("POST", where, WebhookEndpoint, is_command=True, idempotency_key=idempotency_key)

    @asks
    def disable(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookEndpoint]:
        """Sends nothing there until it is enabled; events wait."""
        where = path("webhook_endpoints", endpoint_id, "disable")
        return Ask("POST", where, WebhookEndpoint, is_command=True, idempotency_key=idempotency_key)

    @asks
    def test(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[Plain]:
        """Sends a test event."""
        where = path("webhook_endpoints", endpoint_id, "test")
        return Ask("POST", where, Plain, is_command=True, idempotency_key=idempotency_key)

    @lists
    def deliveries(self, endpoint_id: str) -> Ask[Page[Plain]]:
        """What was sent there, when, and how it was answered."""
        where = path("webhook_endpoints", endpoint_id, "deliveries")
        return Ask("GET", where, Page[Plain], query={"limit": PAGE_SIZE})

    @asks
    def replay(
        self,
        endpoint_id: str,
        *,
        event_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[Plain]:
        """Sends one event again, or all between two instants."""
        body = {"event_id": event_id} if event_id else _span(since, until)
        where = path("webhook_endpoints", endpoint_id, "replay")
        return Ask("POST", where, Plain, body, is_command=True, idempotency_key=idempotency_key)


def _span(since: datetime | None, until: datetime | None) -> dict[str, str]:
    given = {"from": since, "until": until}
    return {name: value.isoformat() for name, value in given.items() if value is not None}
