"""A merchant's server is told of a payment by the sender as it runs in the stack."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from standardwebhooks import Webhook

from tests.end_to_end.play import until
from tests.end_to_end.world import World
from tests.webhooks.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    opened = await Receiver().open()
    yield opened
    await opened.close()


async def test_a_merchant_is_told_of_its_payment_as_it_is(world: World, receiver: Receiver) -> None:
    merchant = await world.merchant("晨报社")
    endpoint = await merchant.done("POST", "/v1/webhook_endpoints", {"url": receiver.url, "event_types": ["payment.*"]})
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    payment = await payer.pay_to_the_end()
    arrived = await receiver.has(2)
    told = [Webhook(endpoint["secret"]).verify(each.body, each.headers) for each in arrived]
    assert [event["type"] for event in told] == ["payment.accepted", "payment.succeeded"]
    assert [event["sequence"] for event in told] == [1, 2]
    assert told[-1]["data"] == payment
    polled = await merchant.get(f"/v1/events?object_id={payment['id']}")
    assert polled["items"] == told

    async def log() -> dict[str, object]:
        page = await merchant.get(f"/v1/webhook_endpoints/{endpoint['id']}/deliveries")
        states = {item["state"] for item in page["items"]}
        return {"state": "all delivered" if states == {"delivered"} else str(states)}

    await until(log, ("all delivered",))
