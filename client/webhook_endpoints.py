"""Where webhooks are sent to, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from .core import Ask
from .models import Page, Resource
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path


class WebhookEndpoint(Resource):
    """An address of yours; `state` is `enabled`, `disabled` (for `reason`) or `deleted`. No types means all events.

    `secret` is there once, when it is made. It is None if that answer got lost and the call was repeated: rotate then.
    """

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    state: str
    state_since: datetime
    reason: str | None = None
    created_at: datetime
    failing_since: datetime | None = None
    secret: str | None = Field(default=None, repr=False)


class WebhookAttempt(Resource):
    """One try to deliver, and how it was answered."""

    number: int
    started_at: datetime
    duration_ms: int
    status: int | None = None
    error: str | None = None
    response: str | None = None


class WebhookDelivery(Resource):
    """One event on its way to one endpoint; `log` holds each attempt where one delivery is read."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    object_id: str
    sequence: int
    kind: str
    state: str
    created_at: datetime
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int
    last_attempt: WebhookAttempt | None = None
    log: tuple[WebhookAttempt, ...] = ()


class WebhookReplay(Resource):
    """How many deliveries were made anew."""

    endpoint_id: str
    deliveries: int


class WebhookEndpoints(Noun[Mode]):
    """`client.webhook_endpoints`"""

    @asks
    def create(
        self,
        url: str,
        *,
        event_types: Sequence[str] = (),
        description: str = "",
        idempotency_key: str | None = None,
    ) -> Ask[WebhookEndpoint]:
        """Adds an address; the answer holds its secret (`whsec_…`), once. `payment.*` names a family of types."""
        body = {"url": url, "event_types": [*event_types], "description": description}
        return _command("POST", path("webhook_endpoints"), body, idempotency_key)

    @asks
    def get(self, endpoint_id: str) -> Ask[WebhookEndpoint]:
        """Reads an endpoint."""
        return Ask("GET", path("webhook_endpoints", endpoint_id), WebhookEndpoint)

    @lists
    def list(self) -> Ask[Page[WebhookEndpoint]]:
        """Your endpoints."""
        return Ask("GET", path("webhook_endpoints"), Page[WebhookEndpoint])

    @asks
    def delete(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookEndpoint]:
        """Sends nothing there any more, and forgets its secrets."""
        return _command("DELETE", path("webhook_endpoints", endpoint_id), None, idempotency_key)

    @asks
    def rotate_secret(
        self, endpoint_id: str, *, overlap_seconds: int = 86_400, idempotency_key: str | None = None
    ) -> Ask[WebhookEndpoint]:
        """A new secret; messages are signed with both during the overlap, which is 0 after a leak."""
        where = path("webhook_endpoints", endpoint_id, "rotate_secret")
        return _command("POST", where, {"overlap_seconds": overlap_seconds}, idempotency_key)

    @asks
    def enable(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookEndpoint]:
        """Sends there again, from now on; what was missed is replayed on request."""
        return _command("POST", path("webhook_endpoints", endpoint_id, "enable"), None, idempotency_key)

    @asks
    def disable(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookEndpoint]:
        """Sends nothing there until it is enabled."""
        return _command("POST", path("webhook_endpoints", endpoint_id, "disable"), None, idempotency_key)

    @asks
    def test(self, endpoint_id: str, *, idempotency_key: str | None = None) -> Ask[WebhookDelivery]:
        """Sends a `webhook_endpoint.test`."""
        where = path("webhook_endpoints", endpoint_id, "test")
        return Ask("POST", where, WebhookDelivery, is_command=True, idempotency_key=idempotency_key)

    @asks
    def replay(
        self,
        endpoint_id: str,
        *,
        event_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Ask[WebhookReplay]:
        """Sends one event again, or all from `since` until before `until`."""
        given = {"event_id": event_id, "from": _text(since), "until": _text(until)}
        body = {name: value for name, value in given.items() if value is not None}
        where = path("webhook_endpoints", endpoint_id, "replay")
        return Ask("POST", where, WebhookReplay, body, is_command=True, idempotency_key=idempotency_key)

    @lists
    def deliveries(
        self, endpoint_id: str, *, event_id: str | None = None, state: str | None = None
    ) -> Ask[Page[WebhookDelivery]]:
        """What became of the events for it, newest first."""
        query = {"event_id": event_id, "state": state, "limit": PAGE_SIZE}
        return Ask("GET", path("webhook_endpoints", endpoint_id, "deliveries"), Page[WebhookDelivery], query=query)

    @asks
    def delivery(self, endpoint_id: str, delivery_id: str) -> Ask[WebhookDelivery]:
        """One delivery with each of its attempts."""
        return Ask("GET", path("webhook_endpoints", endpoint_id, "deliveries", delivery_id), WebhookDelivery)


def _command(method: str, where: str, body: dict[str, Any] | None, key: str | None) -> Ask[WebhookEndpoint]:
    return Ask(method, where, WebhookEndpoint, body, is_command=True, idempotency_key=key)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
