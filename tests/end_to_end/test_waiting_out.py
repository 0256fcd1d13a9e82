"""What takes a minute by its nature: begun before all other tests of this folder, and looked at after them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.end_to_end.audit import books_of_the_banks
from tests.end_to_end.conftest import Matter, SlowMatters
from tests.end_to_end.world import World


async def test_a_success_after_the_order_is_over_is_booked_given_back_and_says_so(
    world: World, slow_matters: SlowMatters
) -> None:
    late = slow_matters.late_payment
    merchant = late.of(world)
    payment = await merchant.ended(late.id, 90)
    assert (payment["state"], payment["reason"]) == ("late_refunded", "succeeded_after_order_expired")
    ulid = late.id.removeprefix("pay_")
    bank = (await books_of_the_banks(world.simulator))["banks"]["HBRB"]
    assert bank["debits_per_request_number"][f"DB{ulid}"] == 1
    assert bank["refunds_per_request_number"][f"LR{ulid}"] == 1
    assert {item["posted_minor"] for item in (await merchant.get("/v1/balances"))["balances"]} == {0}
    assert await world.wrong() == []


async def test_a_payment_whose_code_no_bank_ever_judges_is_closed_with_its_order(
    world: World, slow_matters: SlowMatters
) -> None:
    matter = slow_matters.never_judged_payment
    payment = await matter.of(world).ended(matter.id, 90)
    assert (payment["state"], payment["reason"]) == ("closed", "order_expired")
    assert await world.wrong() == []


async def test_a_payment_code_that_was_lost_can_be_typed_again_and_pays(
    world: World, slow_matters: SlowMatters
) -> None:
    matter = slow_matters.lost_payment_code
    payer = matter.payer(world)
    answer = await _when_lost(world, matter, lambda: payer.enter_code(matter.id, matter.code))
    assert answer.status_code == 200
    assert (await payer.merchant.ended(matter.id))["state"] == "succeeded"
    assert await world.wrong() == []


async def test_a_code_of_a_binding_that_was_lost_can_be_typed_again_and_opens_it(
    world: World, slow_matters: SlowMatters
) -> None:
    matter = slow_matters.lost_binding_code
    payer = matter.payer(world)
    assert (await _when_lost(world, matter, lambda: payer.send_code(matter.code))).status_code == 200
    assert (await payer.binding())["state"] == "open"
    never = slow_matters.never_judged_binding
    assert (await _when_lost(world, never, never.payer(world).binding))["state"] == "awaiting_code"


async def _when_lost(world: World, matter: Matter, then: Callable[[], Awaitable[Any]]) -> Any:
    """The bank says for certain that it never got the code once a request sent then can no longer arrive."""
    statement = "SELECT verdict FROM app.code_attempt WHERE subject_id = :id AND number = 1"
    async with asyncio.timeout(90):
        while (await world.rows(statement, id=matter.id))[0]["verdict"] is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)
    assert (await world.rows(statement, id=matter.id))[0]["verdict"] == "lost"
    return await then()
