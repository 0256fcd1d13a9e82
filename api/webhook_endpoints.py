"""Webhook endpoints: where a merchant is told of events, with what secret, and what became of each telling."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, cursor, run_command, run_read
from api.documentation import documented, query_parameter
from api.schemas import read_as
from api.webhook_schemas import (
    NewWebhookEndpoint,
    NoFields,
    PageOfWebhookDeliveries,
    Replay,
    SecretRotation,
    WebhookDelivery,
    WebhookDeliveryWithLog,
    WebhookEndpoint,
    WebhookEndpoints,
    WebhookEndpointWithSecret,
    WebhookReplay,
)
from domain.errors import DomainError, ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.webhooks import MAX_REPLAY_SPAN, SECRET_BYTES, secret_place, shown_secret, url_fault
from storage.webhooks import EndpointCommand, SealedSecret
from vault.sealing import encrypt

router = APIRouter(prefix="/v1/webhook_endpoints", tags=["webhooks"])
C = ErrorCode

CREATE = Operation("create_webhook_endpoint", "webhooks:write", 201, IdPrefix.WEBHOOK_ENDPOINT)
ROTATE = Operation("rotate_webhook_secret", "webhooks:write")
ENABLE = Operation("enable_webhook_endpoint", "webhooks:write")
DISABLE = Operation("disable_webhook_endpoint", "webhooks:write")
DELETE = Operation("delete_webhook_endpoint", "webhooks:write")
TEST = Operation("test_webhook_endpoint", "webhooks:write", 202, IdPrefix.WEBHOOK_TEST)
REPLAY = Operation("replay_webhook_events", "webhooks:write", 202)
READ = Operation("read_webhook_endpoint", "webhooks:read")
STATES = ("waiting", "pending", "delivered", "given_up", "cancelled")


@router.post(
    "",
    **documented(
        "Add a webhook endpoint; its secret is shown once",
        CREATE.scope,
        {201: WebhookEndpointWithSecret},
        [C.WEBHOOK_URL_NOT_ALLOWED, C.WEBHOOK_ENDPOINTS_TOO_MANY],
        body=NewWebhookEndpoint,
        command=True,
    ),
)
async def create_endpoint(request: Request) -> Response:
    return await run_command(request, CREATE, _create)


async def _create(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewWebhookEndpoint, payload)
    fault = url_fault(body.url, private_networks=call.services.webhook_rules.private_networks)
    if fault is not None:
        raise RefusedError(C.WEBHOOK_URL_NOT_ALLOWED, fields=[FieldError("url", fault.value)])
    secret, sealed = _new_secret(call, call.resource_id)
    filters = tuple(dict.fromkeys(body.event_types))
    work = call.services.webhooks.create(_command(call, call.resource_id), body.url, filters, body.description, sealed)
    return Done(await _decided(call, work) | {"secret": shown_secret(secret)})


@router.get("", **documented("List webhook endpoints", READ.scope, {200: WebhookEndpoints}))
async def list_endpoints(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return {
            "object": "list",
            "items": await call.services.webhooks.endpoints(call.merchant_id),
            "next_cursor": None,
        }

    return await run_read(request, READ, read)


@router.get(
    "/{endpoint_id}",
    **documented("Read a webhook endpoint", READ.scope, {200: WebhookEndpoint}, [C.WEBHOOK_ENDPOINT_NOT_FOUND]),
)
async def read_endpoint(request: Request, endpoint_id: str) -> Response:
    return await run_read(request, READ, lambda call: _endpoint(call, endpoint_id))


@router.delete(
    "/{endpoint_id}",
    **documented(
        "Delete a webhook endpoint and its secrets",
        DELETE.scope,
        {200: WebhookEndpoint},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND],
        command=True,
    ),
)
async def delete_endpoint(request: Request, endpoint_id: str) -> Response:
    return await run_command(request, DELETE, lambda call, body: _switch(call, endpoint_id, body, "deleted"))


@router.post(
    "/{endpoint_id}/enable",
    **documented(
        "Send events to it again, from now on",
        ENABLE.scope,
        {200: WebhookEndpoint},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND],
        command=True,
    ),
)
async def enable_endpoint(request: Request, endpoint_id: str) -> Response:
    return await run_command(request, ENABLE, lambda call, body: _switch(call, endpoint_id, body, "enabled"))


@router.post(
    "/{endpoint_id}/disable",
    **documented(
        "Send no events to it any more",
        DISABLE.scope,
        {200: WebhookEndpoint},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND],
        command=True,
    ),
)
async def disable_endpoint(request: Request, endpoint_id: str) -> Response:
    return await run_command(request, DISABLE, lambda call, body: _switch(call, endpoint_id, body, "disabled"))


async def _switch(
    call: Call, endpoint_id: str, payload: dict[str, Any], to: Literal["enabled", "disabled", "deleted"]
) -> Done:
    read_as(NoFields, payload)
    return Done(await _decided(call, call.services.webhooks.switch(_command(call, _checked(endpoint_id)), to)))


@router.post(
    "/{endpoint_id}/rotate_secret",
    **documented(
        "A new secret; the former one signs as well for a while",
        ROTATE.scope,
        {200: WebhookEndpointWithSecret},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND],
        body=SecretRotation,
        command=True,
    ),
)
async def rotate_secret(request: Request, endpoint_id: str) -> Response:
    return await run_command(request, ROTATE, lambda call, payload: _rotate(call, endpoint_id, payload))


async def _rotate(call: Call, endpoint_id: str, payload: dict[str, Any]) -> Done:
    overlap = timedelta(seconds=read_as(SecretRotation, payload).overlap_seconds)
    secret, sealed = _new_secret(call, _checked(endpoint_id))
    work = call.services.webhooks.rotate_secret(_command(call, endpoint_id), sealed, overlap)
    return Done(await _decided(call, work) | {"secret": shown_secret(secret)})


@router.post(
    "/{endpoint_id}/test",
    **documented(
        "Send it a `webhook_endpoint.test`",
        TEST.scope,
        {202: WebhookDelivery},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND, C.WEBHOOK_ENDPOINT_DISABLED],
        command=True,
    ),
)
async def send_test(request: Request, endpoint_id: str) -> Response:
    async def test(call: Call, payload: dict[str, Any]) -> Done:
        read_as(NoFields, payload)
        work = call.services.webhooks.send_test(_command(call, _checked(endpoint_id)), call.resource_id)
        return Done(await _decided(call, work))

    return await run_command(request, TEST, test)


@router.post(
    "/{endpoint_id}/replay",
    **documented(
        "Send one event again, or those of a span",
        REPLAY.scope,
        {202: WebhookReplay},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND, C.WEBHOOK_ENDPOINT_DISABLED, C.EVENT_NOT_FOUND, C.REPLAY_TOO_LARGE],
        body=Replay,
        command=True,
    ),
)
async def replay_events(request: Request, endpoint_id: str) -> Response:
    return await run_command(request, REPLAY, lambda call, payload: _replay(call, endpoint_id, payload))


async def _replay(call: Call, endpoint_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(Replay, payload)
    command, webhooks = _command(call, _checked(endpoint_id)), call.services.webhooks
    if body.event_id is not None and body.since is None and body.until is None:
        return Done(await _decided(call, webhooks.replay_event(command, body.event_id)))
    if body.event_id is not None or body.span is None:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("event_id", "or_from_and_until")])
    since, until = body.span
    if not since < until or until - since > MAX_REPLAY_SPAN:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("until", "out_of_range")])
    return Done(await _decided(call, webhooks.replay_span(command, since, until)))


@router.get(
    "/{endpoint_id}/deliveries",
    **documented(
        "What became of the events for it, newest first",
        READ.scope,
        {200: PageOfWebhookDeliveries},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND],
        paged=True,
        parameters=[
            query_parameter("event_id", "Of this event."),
            query_parameter("state", "In this state.", enum=list(STATES)),
        ],
    ),
)
async def list_deliveries(request: Request, endpoint_id: str) -> Response:
    return await run_read(request, READ, lambda call: _deliveries(call, endpoint_id))


async def _deliveries(call: Call, endpoint_id: str) -> Mapping[str, Any]:
    before, limit = call.page(lambda value: re.fullmatch(r"[0-9]{1,18}", value) is not None)
    state, event_id = call.query.get("state"), call.query.get("event_id")
    if state is not None and state not in STATES:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("state", "not_one_of_the_values")])
    if event_id is not None and re.fullmatch(r"evt_[0-9A-Z]{26,32}", event_id) is None:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("event_id", "wrong_format")])
    await _endpoint(call, endpoint_id)
    found = await call.services.webhooks.deliveries(
        endpoint_id, int(before) if before else None, limit + 1, event_id=event_id, state=state
    )
    shown = found[:limit]
    return {
        "object": "list",
        "items": [view for _, view in shown],
        "next_cursor": cursor(shown[-1][0]) if len(found) > limit else None,
    }


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    **documented(
        "One delivery with each of its attempts",
        READ.scope,
        {200: WebhookDeliveryWithLog},
        [C.WEBHOOK_ENDPOINT_NOT_FOUND, C.WEBHOOK_DELIVERY_NOT_FOUND],
    ),
)
async def read_delivery(request: Request, endpoint_id: str, delivery_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        await _endpoint(call, endpoint_id)
        found = None
        if re.fullmatch(r"whd_[0-9A-Z]{26,32}", delivery_id):
            found = await call.services.webhooks.delivery(call.merchant_id, endpoint_id, delivery_id)
        if found is None:
            raise NotFoundError(C.WEBHOOK_DELIVERY_NOT_FOUND)
        return found

    return await run_read(request, READ, read)


async def _endpoint(call: Call, endpoint_id: str) -> Mapping[str, Any]:
    found = await call.services.webhooks.endpoint(call.merchant_id, _checked(endpoint_id))
    if found is None:
        raise NotFoundError(C.WEBHOOK_ENDPOINT_NOT_FOUND)
    return found


def _checked(endpoint_id: str) -> str:
    if not is_identifier(endpoint_id, IdPrefix.WEBHOOK_ENDPOINT):
        raise NotFoundError(C.WEBHOOK_ENDPOINT_NOT_FOUND)
    return endpoint_id


def _command(call: Call, endpoint_id: str) -> EndpointCommand:
    return EndpointCommand(request=call.context, now=call.now, id=endpoint_id)


async def _decided(call: Call, work: Any) -> dict[str, Any]:
    """The function records its decision and keeps its answer, in which there is no secret."""
    try:
        resource: dict[str, Any] = await work
    except DomainError:
        call.is_recorded = True
        raise
    call.is_recorded = True
    return resource


def _new_secret(call: Call, endpoint_id: str) -> tuple[bytes, SealedSecret]:
    secret, secret_id = os.urandom(SECRET_BYTES), call.services.new_id(IdPrefix.WEBHOOK_SECRET)
    sealed = encrypt(call.services.webhook_rules.key, secret, secret_place(endpoint_id, secret_id))
    return secret, SealedSecret(id=secret_id, sealed=sealed)
