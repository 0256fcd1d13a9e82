"""Webhook endpoints as merchants manage them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.api.conftest import Stage
from tests.api.refused_webhooks import ENDPOINT, new_endpoint

ENDPOINTS = "/v1/webhook_endpoints"


async def test_an_endpoints_secret_is_shown_once_and_sealed_in_the_books(stage: Stage) -> None:
    merchant = await stage.merchant()
    first = await merchant.post(ENDPOINTS, ENDPOINT, key="the-same-key-1")
    again = await merchant.post(ENDPOINTS, ENDPOINT, key="the-same-key-1")
    secret = first.json()["secret"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert again.json() == {name: value for name, value in first.json().items() if name != "secret"} | {"secret": None}
    read = (await merchant.get(f"{ENDPOINTS}/{first.json()['id']}")).json()
    assert "secret" not in read
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    dump = await stage.rows(
        "SELECT s::text AS t FROM app.webhook_secret s UNION ALL SELECT d::text FROM app.idempotency d"
    )
    assert len(dump) >= 2
    for row in dump:
        assert secret not in row["t"]
        assert raw.hex() not in row["t"]


async def test_endpoints_are_added_listed_disabled_enabled_and_deleted(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await new_endpoint(merchant, event_types=["payment.*"], description="orders")
    address = f"{ENDPOINTS}/{made['id']}"
    assert (made["state"], made["event_types"], made["description"]) == ("enabled", ["payment.*"], "orders")
    assert [item["id"] for item in (await merchant.get(ENDPOINTS)).json()["items"]] == [made["id"]]
    disabled = (await merchant.post(f"{address}/disable")).json()
    assert (disabled["state"], disabled["reason"]) == ("disabled", "by_merchant")
    assert (await merchant.post(f"{address}/enable")).json()["state"] == "enabled"
    assert (await merchant.delete(address)).json()["state"] == "deleted"
    assert (await merchant.get(address)).status_code == 404
    assert await stage.rows("SELECT * FROM app.webhook_secret") == []
    assert [record["action"] for record in await stage.records(subject_id=made["id"], outcome="done")] == [
        "create_webhook_endpoint",
        "disable_webhook_endpoint",
        "enable_webhook_endpoint",
        "delete_webhook_endpoint",
    ]


async def test_a_command_that_takes_no_field_refuses_any(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await new_endpoint(merchant)
    for command in ("enable", "disable", "test"):
        answer = await merchant.post(f"{ENDPOINTS}/{made['id']}/{command}", {"from": "now"})
        assert answer.json()["errors"] == [{"field": "from", "code": "unknown_field"}]


async def test_a_deleted_endpoint_makes_room_for_another(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = [await new_endpoint(merchant) for _ in range(10)]
    assert (await merchant.post(ENDPOINTS, ENDPOINT)).status_code == 409
    await merchant.delete(f"{ENDPOINTS}/{made[0]['id']}")
    assert (await merchant.post(ENDPOINTS, ENDPOINT)).status_code == 201


async def test_another_merchants_endpoint_is_not_there(stage: Stage) -> None:
    theirs, merchant = await stage.merchant("别家"), await stage.merchant()
    made = await new_endpoint(theirs)
    address = f"{ENDPOINTS}/{made['id']}"
    delivery = (await theirs.post(f"{address}/test")).json()
    answers = [
        await merchant.get(address),
        await merchant.delete(address),
        await merchant.post(f"{address}/enable"),
        await merchant.post(f"{address}/disable"),
        await merchant.post(f"{address}/test"),
        await merchant.post(f"{address}/rotate_secret", {}),
        await merchant.post(f"{address}/replay", {"event_id": delivery["event_id"]}),
        await merchant.get(f"{address}/deliveries"),
        await merchant.get(f"{address}/deliveries/{delivery['id']}"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    own = await new_endpoint(merchant)
    answer = await merchant.post(f"{ENDPOINTS}/{own['id']}/replay", {"event_id": delivery["event_id"]})
    assert answer.json()["code"] == "EVENT_NOT_FOUND"
    assert (await theirs.get(address)).json()["state"] == "enabled"


async def test_a_rotated_secret_is_new_and_shown_once(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await new_endpoint(merchant)
    address = f"{ENDPOINTS}/{made['id']}/rotate_secret"
    rotated = (await merchant.post(address, {"overlap_seconds": 3600}, key="rotate-once-1")).json()
    assert rotated["secret"] not in (None, made["secret"])
    assert (await merchant.post(address, {"overlap_seconds": 3600}, key="rotate-once-1")).json()["secret"] is None
    rows = await stage.rows("SELECT expires_at FROM app.webhook_secret ORDER BY created_at, id")
    assert [row["expires_at"] is None for row in rows] == [False, True]
    assert (await merchant.post(address, {"overlap_seconds": 7 * 86400 + 1})).status_code == 400


async def test_deliveries_are_listed_in_pages_and_read_with_their_attempts(stage: Stage) -> None:
    merchant = await stage.merchant()
    made = await new_endpoint(merchant)
    address = f"{ENDPOINTS}/{made['id']}"
    tests = [(await merchant.post(f"{address}/test")).json()["id"] for _ in range(3)]
    first = (await merchant.get(f"{address}/deliveries", limit=2)).json()
    second = (await merchant.get(f"{address}/deliveries", limit=2, cursor=first["next_cursor"])).json()
    assert [item["id"] for item in first["items"] + second["items"]] == tests[::-1]
    assert second["next_cursor"] is None
    one = (await merchant.get(f"{address}/deliveries/{tests[0]}")).json()
    assert (one["kind"], one["state"], one["log"]) == ("test", "pending", [])
    assert (await merchant.get(f"{address}/deliveries", state="delivered")).json()["items"] == []
    found = (await merchant.get(f"{address}/deliveries", event_id=one["event_id"])).json()["items"]
    assert [item["id"] for item in found] == [tests[0]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event_id": "evt_1"},
        {"from": "2026-11-20T00:00:00Z"},
        {"from": "2026-11-20T00:00:00Z", "until": "2026-11-20T00:00:00Z"},
        {"from": "2026-01-01T00:00:00Z", "until": "2026-11-20T00:00:00Z"},
        {"event_id": f"evt_{'0' * 32}", "from": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"},
    ],
)
async def test_a_replay_is_of_one_event_or_of_a_span(stage: Stage, body: dict[str, Any]) -> None:
    merchant = await stage.merchant()
    made = await new_endpoint(merchant)
    answer = await merchant.post(f"{ENDPOINTS}/{made['id']}/replay", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")


@pytest.mark.parametrize(
    ("body", "field", "fault"),
    [
        ({"url": "http://shop.example/"}, "url", "not_https"),
        ({"url": "https://a:b@shop.example/"}, "url", "holds_user_name"),
        ({"url": "https://2130706433/"}, "url", "host_not_allowed"),
        ({"url": "https://shop.example/", "event_types": ["payment.succeded"]}, "event_types.0", "wrong_format"),
        ({"url": "https://shop.example/", "secret": "mine"}, "secret", "unknown_field"),
        ({}, "url", "missing"),
    ],
)
async def test_a_wrong_endpoint_is_refused_by_field(stage: Stage, body: Any, field: str, fault: str) -> None:
    merchant = await stage.merchant()
    answer = await merchant.post(ENDPOINTS, body)
    assert answer.json()["errors"] == [{"field": field, "code": fault}]
    assert (await merchant.get(ENDPOINTS)).json()["items"] == []
