"""One id leads from the merchant's request to every line that any process writes about it."""

from __future__ import annotations

import json
from typing import Any

from runtime.stack import LocalStack
from tests.end_to_end.play import Merchant, fresh_key
from tests.end_to_end.world import World


def lines_of(stack: LocalStack, part: str, request_id: str) -> list[dict[str, Any]]:
    text = (stack.folder / "log" / f"{part}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if request_id in line]


async def test_what_the_worker_says_of_a_silent_bank_names_the_request_and_the_payment(
    stack: LocalStack, world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    await world.control("faults", {"operation": "debits", "kind": "error_after", "card_number": payer.card})
    answer = await merchant.send("POST", "/v1/payments", await payer.order(12_800), fresh_key())
    payment = answer.json()
    assert (await merchant.ended(payment["id"]))["state"] == "succeeded"
    [line] = lines_of(stack, "worker", answer.headers["X-Request-Id"])
    assert line["message"] == "a bank gave no answer that can be trusted"
    assert (line["subject_id"], line["workflow_id"]) == (payment["id"], f"collect-payment/{payment['id']}")
    assert (line["reason"], line["asked"]) == ("HTTP_502", "POST debits")


async def test_the_id_of_the_request_that_brought_the_code_takes_over(
    stack: LocalStack, world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer()
    payment = await payer.pay(30_000)
    await world.control("faults", {"operation": "debits", "kind": "error_after", "card_number": payer.card})
    answer = await payer.enter_code(payment["id"])
    assert (await merchant.ended(payment["id"]))["state"] == "succeeded"
    assert [line["asked"] for line in lines_of(stack, "worker", answer.headers["X-Request-Id"])] == ["POST debits"]
