"""Events as merchants read them, their endpoints, and the queue from which the sender takes what is due."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import webhooks as rules
from domain.instructions import RequestContext
from storage.instructions import refusal

Resource = dict[str, Any]
FAN_OUT_BATCH = 500
PURGE_BATCH = 1000


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndpointCommand(_Value):
    """A merchant's command about one endpoint; `id` is its id, also of one that is to be made."""

    request: RequestContext
    now: datetime
    id: str


class SealedSecret(_Value):
    """A secret as it is stored: `sealed` opens with the webhook key, for this endpoint and id only."""

    id: str
    sealed: bytes = Field(repr=False)


# Merchants

_EVENTS = sa.text(
    "SELECT CAST(e.xid AS text) || '.' || e.position AS place, app.event_view(e) AS view FROM app.event e"
    " WHERE e.merchant_id = :merchant AND e.xid < app.event_horizon()"
    " AND (e.xid, e.position) > (CAST(CAST(:xid AS text) AS xid8), :position)"
    " AND (CAST(:object AS text) IS NULL OR e.object_id = :object)"
    " AND (CAST(:type AS text) IS NULL OR app.event_matches(e.type, ARRAY[CAST(:type AS text)]))"
    " ORDER BY e.xid, e.position LIMIT :limit"
)
_ENDPOINTS = sa.text(
    "SELECT app.webhook_endpoint_view(w) FROM app.webhook_endpoint w"
    " WHERE w.merchant_id = :merchant AND w.state <> 'deleted' ORDER BY w.id"
)
_ENDPOINT = sa.text(
    "SELECT app.webhook_endpoint_view(w) FROM app.webhook_endpoint w"
    " WHERE w.merchant_id = :merchant AND w.id = :id AND w.state <> 'deleted'"
)
_DELIVERIES = sa.text(
    "SELECT d.position, app.webhook_delivery_view(d) AS view FROM app.webhook_delivery d"
    " WHERE d.endpoint_id = :endpoint AND (CAST(:before AS bigint) IS NULL OR d.position < :before)"
    " AND (CAST(:event AS text) IS NULL OR d.event_id = :event)"
    " AND (CAST(:state AS text) IS NULL OR d.state = :state) ORDER BY d.position DESC LIMIT :limit"
)
_DELIVERY = sa.text(
    "SELECT app.webhook_delivery_view(d) || jsonb_build_object('log', coalesce((SELECT"
    " jsonb_agg(app.webhook_attempt_view(a) ORDER BY a.number) FROM app.webhook_attempt a"
    " WHERE a.delivery = d.position), '[]'))"
    " FROM app.webhook_delivery d JOIN app.webhook_endpoint w ON w.id = d.endpoint_id"
    " WHERE d.id = :id AND d.endpoint_id = :endpoint AND w.merchant_id = :merchant AND w.state <> 'deleted'"
)


class Webhooks:
    """What a merchant reads and changes; each command is one SQL function, and refusals are DomainErrors."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def events(
        self, merchant_id: str, after: str | None, limit: int, *, event_type: str | None, object_id: str | None
    ) -> list[tuple[str, Resource]]:
        """Up to `limit` events with their places, oldest first, after a place; nothing appears before one later on."""
        xid, _, position = (after or "0.0").partition(".")
        where = {"merchant": merchant_id, "xid": xid, "position": int(position), "limit": limit}
        async with self._engine.connect() as connection:
            rows = await connection.execute(_EVENTS, where | {"type": event_type, "object": object_id})
            return [(row.place, row.view) for row in rows]

    async def endpoints(self, merchant_id: str) -> list[Resource]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(_ENDPOINTS, {"merchant": merchant_id})).scalars())

    async def endpoint(self, merchant_id: str, endpoint_id: str) -> Resource | None:
        return await self._one(_ENDPOINT, {"merchant": merchant_id, "id": endpoint_id})

    async def deliveries(
        self, endpoint_id: str, before: int | None, limit: int, *, event_id: str | None, state: str | None
    ) -> list[tuple[int, Resource]]:
        """Newest first. The caller has seen to it that the endpoint is the merchant's."""
        where = {"endpoint": endpoint_id, "before": before, "event": event_id, "state": state, "limit": limit}
        async with self._engine.connect() as connection:
            rows = await connection.execute(_DELIVERIES, where)
            return [(row.position, row.view) for row in rows]

    async def delivery(self, merchant_id: str, endpoint_id: str, delivery_id: str) -> Resource | None:
        """A delivery with the log of its attempts."""
        return await self._one(_DELIVERY, {"merchant": merchant_id, "endpoint": endpoint_id, "id": delivery_id})

    async def create(
        self, command: EndpointCommand, url: str, event_types: Sequence[str], description: str, secret: SealedSecret
    ) -> Resource:
        item = {"url": url, "event_types": list(event_types), "description": description, "most": rules.MAX_ENDPOINTS}
        return await self._run("app.create_webhook_endpoint", command, item | _stored(secret))

    async def rotate_secret(self, command: EndpointCommand, secret: SealedSecret, overlap: timedelta) -> Resource:
        item = {"overlap_seconds": int(overlap.total_seconds()), "most": rules.MAX_SECRETS}
        return await self._run("app.rotate_webhook_secret", command, item | _stored(secret))

    async def switch(self, command: EndpointCommand, to: Literal["enabled", "disabled", "deleted"]) -> Resource:
        return await self._run("app.switch_webhook_endpoint", command, {"to": to})

    async def send_test(self, command: EndpointCommand, test_id: str) -> Resource:
        """Answers the delivery."""
        return await self._run("app.test_webhook_endpoint", command, {"test_id": test_id})

    async def replay_event(self, command: EndpointCommand, event_id: str) -> Resource:
        item = {"event_id": event_id, "most": rules.MAX_REPLAYED}
        return await self._run("app.replay_webhook_events", command, item)

    async def replay_span(self, command: EndpointCommand, since: datetime, until: datetime) -> Resource:
        item = {"from": since.isoformat(), "until": until.isoformat(), "most": rules.MAX_REPLAYED}
        return await self._run("app.replay_webhook_events", command, item)

    async def _run(self, function: str, command: EndpointCommand, more: Mapping[str, Any]) -> Resource:
        statement = sa.text(f"SELECT {function}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
        item = command.model_dump(mode="json") | dict(more)
        async with self._engine.begin() as connection:
            answer = (await connection.execute(statement.columns(answer=JSONB), {"item": item})).scalar_one()
        if not answer["ok"]:
            raise refusal(answer)
        resource: Resource = answer["resource"]
        return resource

    async def _one(self, statement: sa.TextClause, where: Mapping[str, Any]) -> Resource | None:
        async with self._engine.connect() as connection:
            found: Resource | None = await connection.scalar(statement, where)
        return found


def _stored(secret: SealedSecret) -> Resource:
    return {"secret_id": secret.id, "sealed": base64.b64encode(secret.sealed).decode()}


# The sender

_FAN_OUT = sa.text("SELECT app.fan_out_events(:now, :most)")
_CLAIM = sa.text(
    "SELECT * FROM app.claim_webhook_deliveries(:now, :lease, :most_well, :most_ill, :slots_well, :slots_ill)"
).columns(event=JSONB, secrets=JSONB)
_RECORD = sa.text("SELECT app.record_webhook_attempt(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
_PURGE = sa.text("SELECT app.purge_webhook_deliveries(:before, :most)")


class ClaimedDelivery(_Value):
    """One event to be sent to one endpoint now; `ill`: the endpoint fails or is slow and has one slot."""

    delivery: int
    delivery_id: str
    endpoint_id: str
    url: str
    event: Resource
    created_at: datetime
    attempt: int
    failures: int
    ill: bool
    secrets: tuple[SealedSecret, ...]


class AttemptRecord(_Value):
    """What became of one attempt. No `next_attempt_at` for a failure: it is given up."""

    now: datetime
    delivery: int
    attempt: int
    started_at: datetime
    duration_ms: int
    slow: bool
    status: int | None
    error: str | None
    response: str | None
    outcome: rules.Outcome
    next_attempt_at: datetime | None
    quiet_until: datetime | None
    disable_if_failing_since: datetime
    recovered_if_failing_since: datetime


class DeliveryQueue:
    """The sender's side, under a role that may call these functions and read nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def fan_out(self, now: datetime) -> int:
        """Hands new events to the endpoints that want them; answers how many deliveries that made."""
        return int(await self._scalar(_FAN_OUT, {"now": now, "most": FAN_OUT_BATCH}))

    async def claim(self, now: datetime, most_well: int, most_ill: int) -> list[ClaimedDelivery]:
        """Takes what is due under a lease, at most so many for endpoints that are well, and for those that are not."""
        where = {"now": now, "lease": rules.LEASE, "most_well": most_well, "most_ill": most_ill}
        where |= {"slots_well": rules.HEALTHY_SLOTS, "slots_ill": rules.FAILING_SLOTS}
        async with self._statements.connect() as connection:
            rows = (await connection.execute(_CLAIM, where)).mappings().all()
        return [_claimed(dict(row)) for row in rows]

    async def record(self, attempt: AttemptRecord) -> str | None:
        """Answers why the endpoint was disabled, if it was."""
        answer = await self._scalar(_RECORD.columns(answer=JSONB), {"item": attempt.model_dump(mode="json")})
        reason: str | None = answer.get("disabled")
        return reason

    async def purge(self, now: datetime) -> int:
        """Forgets some of what ended long ago; answers how many."""
        where = {"before": now - rules.KEPT_DELIVERIES, "most": PURGE_BATCH}
        return int(await self._scalar(_PURGE, where))

    async def _scalar(self, statement: Any, where: Mapping[str, Any]) -> Any:
        async with self._statements.connect() as connection:
            return await connection.scalar(statement, where)


def _claimed(row: dict[str, Any]) -> ClaimedDelivery:
    # PostgreSQL breaks base64 into lines.
    secrets = [SealedSecret(id=s["id"], sealed=base64.b64decode(s["sealed"])) for s in row["secrets"] or ()]
    return ClaimedDelivery.model_validate(row | {"secrets": secrets})
