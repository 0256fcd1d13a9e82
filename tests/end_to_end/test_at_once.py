"""The same thing twice at the same instant, and very many things at one instant."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.end_to_end.audit import books_of_the_banks
from tests.end_to_end.play import Merchant, fresh_key
from tests.end_to_end.world import World


async def test_the_same_request_twenty_times_at_once_is_one_payment_with_one_answer(
    world: World, merchant: Merchant
) -> None:
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    order, key = await payer.order(12_800), fresh_key()
    answers = await asyncio.gather(*(merchant.send("POST", "/v1/payments", order, key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    payment = await merchant.ended(answers[0].json()["id"])
    assert payment["state"] == "succeeded"
    assert len((await merchant.get("/v1/payments"))["items"]) == 1
    assert [item["kind"] for item in (await merchant.get("/v1/statement?account=pending"))["items"]] == [
        "fee",
        "collection",
    ]
    assert await world.wrong() == []


async def test_the_same_key_with_another_body_is_a_conflict_and_pays_nothing(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    order, key = await payer.order(30_000), fresh_key()
    first = await merchant.done("POST", "/v1/payments", order, key)
    other = await merchant.send("POST", "/v1/payments", await payer.order(30_001), key)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert [item["id"] for item in (await merchant.get("/v1/payments"))["items"]] == [first["id"]]


async def test_one_order_under_two_keys_at_once_is_paid_once(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    order = await payer.order(12_800)
    answers = await asyncio.gather(*(merchant.send("POST", "/v1/payments", order) for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
    [accepted] = [answer.json() for answer in answers if answer.status_code == 201]
    assert {a.json()["subject_id"] for a in answers if a.status_code == 409} == {accepted["id"]}
    assert (await merchant.ended(accepted["id"]))["state"] == "succeeded"
    assert await world.wrong() == []


async def test_a_code_typed_twice_at_once_debits_once(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    code = await payer.texted("PC", payment["id"])
    answers = await asyncio.gather(*(payer.enter_code(payment["id"], code) for _ in range(6)))
    assert any(answer.status_code == 200 for answer in answers)
    assert (await merchant.ended(payment["id"]))["state"] == "succeeded"
    assert await world.wrong() == []


@pytest.mark.long
async def test_of_a_hundred_payments_at_once_exactly_as_many_are_accepted_as_the_days_limit_holds(
    world: World, merchant: Merchant
) -> None:
    """A user may pay 100,000.00 a day. 90,999.90 are paid, so 45 payments of 200.00 fit and 0.10 is left."""
    payer = await merchant.payer(waiver=await world.waiver(merchant))
    for amount in (5_000_000, 4_099_990):
        assert (await payer.pay_to_the_end(amount))["state"] == "succeeded"
    fit = (10_000_000 - 9_099_990) // 20_000
    assert fit == 45
    orders = await asyncio.gather(*(payer.order(20_000) for _ in range(100)))
    answers = await asyncio.gather(*(merchant.send("POST", "/v1/payments", order) for order in orders))
    assert Counter(answer.status_code for answer in answers) == {201: fit, 422: 100 - fit}
    assert {a.json()["code"] for a in answers if a.status_code == 422} == {"LIMIT_PER_DAY"}
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    ended = await asyncio.gather(*(merchant.ended(payment_id, 60) for payment_id in accepted))
    assert {payment["state"] for payment in ended} == {"succeeded"}
    debits = (await books_of_the_banks(world.simulator))["banks"]["HBRB"]["debits_per_request_number"]
    assert [debits.get(f"DB{payment_id.removeprefix('pay_')}") for payment_id in accepted] == [1] * fit
    [left] = [
        limit
        for limit in (await merchant.get(f"/v1/users/{payer.user_id}/limits"))["limits"]
        if (limit["subject"], limit["window"]) == ("user", "day")
    ]
    assert left["remaining_minor"] == 10
    assert await world.wrong() == []


async def test_refunds_at_once_never_give_back_more_than_was_paid(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(100_000)
    answers = await asyncio.gather(*(merchant.refund(payment["id"], 30_000) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 422: 5}
    assert {a.json()["code"] for a in answers if a.status_code == 422} == {"REFUND_EXCEEDS_PAYMENT"}
    for answer in answers:
        if answer.status_code == 201:
            assert (await merchant.refund_ended(answer.json()["id"]))["state"] == "succeeded"
    after = await merchant.payment(payment["id"])
    assert (after["refunded_minor"], after["refundable_minor"]) == (90_000, 10_000)
    assert await world.wrong() == []


async def test_a_refund_sent_twice_under_one_key_goes_back_once(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(100_000)
    key = fresh_key()
    answers = await asyncio.gather(*(merchant.refund(payment["id"], 40_000, key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    [refund_id] = {answer.json()["id"] for answer in answers}
    assert (await merchant.refund_ended(refund_id))["state"] == "succeeded"
    assert (await merchant.payment(payment["id"]))["refunded_minor"] == 40_000
    assert await world.wrong() == []


async def test_a_full_refund_leaves_nothing_and_one_fen_more_is_refused(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer()
    payment = await payer.pay_to_the_end(100_000)
    too_much = await merchant.refund(payment["id"], 100_001)
    assert (too_much.status_code, too_much.json()["code"]) == (422, "REFUND_EXCEEDS_PAYMENT")
    refund = (await merchant.refund(payment["id"], 100_000)).json()
    assert (await merchant.refund_ended(refund["id"]))["fee_back_minor"] == payment["fee_minor"] == 600
    again = await merchant.refund(payment["id"], 1)
    assert again.json()["code"] == "REFUND_EXCEEDS_PAYMENT"
    assert {item["posted_minor"] for item in (await merchant.get("/v1/balances"))["balances"]} == {0}
    assert await world.wrong() == []


async def test_a_payment_that_failed_cannot_be_refunded(world: World, merchant: Merchant) -> None:
    payer = await merchant.payer(fault=20)
    payment = await payer.pay_to_the_end(30_000)
    assert payment["state"] == "failed"
    refused = await merchant.refund(payment["id"], 1)
    assert refused.json()["code"] == "PAYMENT_NOT_REFUNDABLE"
    assert await world.wrong() == []
