"""Refusals of webhook endpoints, their deliveries and replays."""

from __future__ import annotations

from typing import Any

from domain.error_codes import ErrorCode
from domain.webhooks import MAX_ENDPOINTS, MAX_REPLAYED
from tests.api.conftest import Merchant, Stage
from tests.api.refusals import Ask, change, refused_with

C = ErrorCode
ENDPOINT = {"url": "https://shop.example/events"}
NOWHERE = "whe_01KB5N3E4H6Q8Z2T7V9W0X1Y2T"


async def new_endpoint(merchant: Merchant, **other: Any) -> dict[str, Any]:
    answer = await merchant.post("/v1/webhook_endpoints", ENDPOINT | other)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@refused_with(C.WEBHOOK_ENDPOINT_NOT_FOUND)
async def no_endpoint(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post(f"/v1/webhook_endpoints/{NOWHERE}/disable")


@refused_with(C.WEBHOOK_DELIVERY_NOT_FOUND)
async def no_delivery(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    endpoint = await new_endpoint(merchant)
    return lambda: merchant.get(f"/v1/webhook_endpoints/{endpoint['id']}/deliveries/whd_{'0' * 32}")


@refused_with(C.WEBHOOK_URL_NOT_ALLOWED)
async def private_address(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    return lambda: merchant.post("/v1/webhook_endpoints", {"url": "https://169.254.169.254/latest"})


@refused_with(C.WEBHOOK_ENDPOINTS_TOO_MANY)
async def one_endpoint_more(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    for _ in range(MAX_ENDPOINTS):
        await new_endpoint(merchant)
    return lambda: merchant.post("/v1/webhook_endpoints", ENDPOINT)


@refused_with(C.WEBHOOK_ENDPOINT_DISABLED)
async def disabled_endpoint(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    endpoint = await new_endpoint(merchant)
    await merchant.post(f"/v1/webhook_endpoints/{endpoint['id']}/disable")
    return lambda: merchant.post(f"/v1/webhook_endpoints/{endpoint['id']}/test")


@refused_with(C.EVENT_NOT_FOUND)
async def replay_of_no_event(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    endpoint = await new_endpoint(merchant)
    body = {"event_id": f"evt_{'0' * 32}"}
    return lambda: merchant.post(f"/v1/webhook_endpoints/{endpoint['id']}/replay", body)


@refused_with(C.REPLAY_TOO_LARGE)
async def replay_of_too_much(stage: Stage) -> Ask:
    merchant = await stage.merchant()
    endpoint = await new_endpoint(merchant)
    await change(
        stage,
        "INSERT INTO app.event (merchant_id, object_id, sequence, type, at, body)"  # noqa: S608
        f" SELECT '{merchant.id}', 'pay_' || n, 1, 'payment.accepted', '{stage.clock.now().isoformat()}', '{{}}'"
        f" FROM generate_series(1, {MAX_REPLAYED + 1}) n",
    )
    # As the sender leaves it when it has handed them out.
    await change(stage, "UPDATE app.webhook_endpoint SET cursor_xid = app.event_horizon()")
    body = {"from": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
    return lambda: merchant.post(f"/v1/webhook_endpoints/{endpoint['id']}/replay", body)
