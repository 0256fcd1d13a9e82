"""Events for those who poll."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Merchant, Stage


async def all_events(merchant: Merchant, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await merchant.get("/v1/events", limit=2, **query, **cursor)).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_a_payments_events_are_read_in_pages_each_once_with_the_state_of_their_moment(stage: Stage) -> None:
    merchant = await stage.merchant()
    payment = await stage.paid(merchant, *await stage.payer(merchant))
    events = await all_events(merchant, object_id=payment["id"])
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events] == [
        "payment.accepted",
        "payment.code_sent",
        "payment.confirmed",
        "payment.succeeded",
    ]
    assert [event["data"]["state"] for event in events] == ["awaiting_code", "awaiting_code", "ready", "succeeded"]
    assert events[-1]["data"] == payment
    assert {event["object_id"] for event in events} == {payment["id"]}


async def test_a_poller_goes_on_where_it_ended_and_gets_only_what_is_new(stage: Stage) -> None:
    merchant = await stage.merchant()
    payer = await stage.payer(merchant)
    page = (await merchant.get("/v1/events", limit=100)).json()
    assert page["next_cursor"] is None
    nothing = (await merchant.get("/v1/events", cursor=page["resume_cursor"])).json()
    assert (nothing["items"], nothing["resume_cursor"]) == ([], page["resume_cursor"])
    payment = await stage.payment(merchant, *payer)
    news = (await merchant.get("/v1/events", cursor=page["resume_cursor"])).json()
    assert {event["object_id"] for event in news["items"]} == {payment["id"]}


async def test_events_are_filtered_by_type_and_by_family(stage: Stage) -> None:
    merchant = await stage.merchant()
    await stage.payment(merchant, *await stage.payer(merchant))
    accepted = await all_events(merchant, type="payment.accepted")
    bindings = await all_events(merchant, type="binding.*")
    assert [event["type"] for event in accepted] == ["payment.accepted"]
    assert {event["type"] for event in bindings} == {"binding.accepted", "binding.code_sent", "binding.opened"}


async def test_a_merchant_reads_its_own_events_only(stage: Stage) -> None:
    theirs, merchant = await stage.merchant("别家"), await stage.merchant()
    payment = await stage.payment(theirs, *await stage.payer(theirs))
    assert await all_events(merchant) == []
    assert await all_events(merchant, object_id=payment["id"]) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"type": "payment.succeded"}, "REQUEST_INVALID"),
        ({"type": "*"}, "REQUEST_INVALID"),
        ({"object_id": "x' OR true"}, "REQUEST_INVALID"),
        ({"limit": "101"}, "REQUEST_INVALID"),
        ({"cursor": "WyJhZnRlciIsICI5OTk5OTk5OTk5OTk5OTk5OTk5OS4xIl0"}, "CURSOR_INVALID"),
        ({"cursor": "nonsense"}, "CURSOR_INVALID"),
    ],
)
async def test_what_cannot_be_meant_is_refused(stage: Stage, query: dict[str, str], code: str) -> None:
    merchant = await stage.merchant()
    answer = await merchant.get("/v1/events", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
