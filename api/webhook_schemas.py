"""Bodies and resources of events and webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from api.resources import Resource
from api.schemas import Body, Instant, NoPersonalData
from domain.webhooks import DEFAULT_OVERLAP, MAX_OVERLAP, MAX_URL_LENGTH, is_event_filter

_DESCRIPTION = "Types of events to be sent, `payment.succeeded`, or families of them, `payment.*`; none: all."


def _read_filter(value: str) -> str:
    if not is_event_filter(value):
        raise ValueError("not a type of event")
    return value


EventFilter = Annotated[str, Field(max_length=60), AfterValidator(_read_filter)]


class NewWebhookEndpoint(Body):
    """Where you want to be told of events."""

    url: str = Field(max_length=MAX_URL_LENGTH, min_length=1, examples=["https://shop.example/liushui-events"])
    event_types: list[EventFilter] = Field(
        default=[], max_length=50, description=_DESCRIPTION, examples=[["payment.*", "refund.*"]]
    )
    description: Annotated[str, Field(max_length=200), NoPersonalData] = Field(
        default="", description="For yourself; no personal data.", examples=["orders service"]
    )


class NoFields(Body):
    """A command that needs none; what is sent all the same is refused, not ignored."""


class SecretRotation(Body):
    """A new secret; the former one goes on signing for a while."""

    overlap_seconds: int = Field(
        default=int(DEFAULT_OVERLAP.total_seconds()),
        ge=0,
        le=int(MAX_OVERLAP.total_seconds()),
        description="How long both secrets sign; 0 after a leak.",
        examples=[86400],
    )


class Replay(Body):
    """One event, or those that happened from `from` until before `until`."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["event_id"]}, {"required": ["from", "until"]}]},
    )

    event_id: Annotated[str, Field(pattern=r"^evt_[0-9A-Z]{26,32}$")] | None = Field(
        default=None, examples=["evt_8C2FD0A1B7A94A63A3B5B6A0B7B7C0DE"]
    )
    since: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """From when until when, if that is what is asked for."""
        return (self.since, self.until) if self.since is not None and self.until is not None else None


class Event(Resource):
    """What happened to an object, with the object as it then was in `data`."""

    id: str
    object: Literal["event"]
    type: str
    object_id: str
    sequence: int = Field(description="Of the object: 1, 2, 3 and so on, without a gap.")
    created_at: str
    data: dict[str, Any]


class PageOfEvents(Resource):
    object: Literal["list"]
    items: list[Event]
    next_cursor: str | None = Field(description="Of the next page; null when there is none yet.")
    resume_cursor: str | None = Field(description="Where to go on the next time you ask, also after the last page.")


class WebhookEndpoint(Resource):
    id: str
    object: Literal["webhook_endpoint"]
    url: str
    event_types: list[str]
    description: str
    state: Literal["enabled", "disabled", "deleted"]
    state_since: str
    reason: str | None = Field(description="Of being disabled: `by_merchant`, `gone` (410) or `failing` (three days).")
    created_at: str
    failing_since: str | None


class WebhookEndpointWithSecret(WebhookEndpoint):
    secret: str | None = Field(description="`whsec_…`. Shown once: null where an Idempotency-Key is repeated.")


class WebhookEndpoints(Resource):
    object: Literal["list"]
    items: list[WebhookEndpoint]
    next_cursor: None


class WebhookAttempt(Resource):
    number: int
    started_at: str
    duration_ms: int
    status: int | None
    error: str | None
    response: str | None


class WebhookDelivery(Resource):
    id: str
    object: Literal["webhook_delivery"]
    endpoint_id: str
    event_id: str
    event_type: str
    object_id: str
    sequence: int
    kind: Literal["event", "replay", "test"]
    state: Literal["waiting", "pending", "delivered", "given_up", "cancelled"]
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None
    attempts: int
    last_attempt: WebhookAttempt | None


class WebhookDeliveryWithLog(WebhookDelivery):
    log: list[WebhookAttempt]


class PageOfWebhookDeliveries(Resource):
    object: Literal["list"]
    items: list[WebhookDelivery]
    next_cursor: str | None


class WebhookReplay(Resource):
    object: Literal["webhook_replay"]
    endpoint_id: str
    deliveries: int = Field(description="How many were made; what was still on its way is not sent twice.")
