"""From a remittance to CNY on the whole stack: every answer of a desk, suspense, quota, another desk, an excess."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from banks.simulator.payee_accounts import example_account
from cli.operators_api import OpsRefusedError
from client import LiushuiError
from client.states import FxState
from demo.banks import Banks
from runtime.stack import LocalStack
from tests.end_to_end.conftest import Matter
from tests.end_to_end.foreign import (
    ABROAD,
    BUYS,
    DESK,
    DESK_OFFICE,
    OTHER_DESK_OFFICE,
    SPELT,
    Holder,
    holder,
    in_suspense,
    number_of,
    open_offices,
    open_positions,
    times_dealt,
)
from tests.end_to_end.play import Merchant
from tests.end_to_end.staff import OTHER_TREASURY, TREASURY, Staff
from tests.end_to_end.test_callbacks import last_record
from tests.end_to_end.world import World, world_on

# A desk that misbehaves once: before or after it has dealt, with its answer, or with its word about it later.
DEALT_IN_THE_END = (
    "time_out_after", "arrives_late", "error_after", "processing_then_success",
    "late_success", "duplicate_callbacks", "callbacks_out_of_order", "slow", "answer_unsigned", "answer_unreadable",
    "line_broken",
)  # fmt: skip
REFUSED_IN_THE_END = {"processing_then_failure": "other", "forged_callback": "other", "answer_forged": "other"}
# What never reached the desk: that is certain once nothing can arrive any more, and it is dealt under the next number.
NEVER_ARRIVED = ("time_out_before", "error_before")
EACH_MINOR, EACH_CNY = 10_000, 71_234


@pytest.fixture
async def staff(world: World) -> Staff:
    staff = await Staff(world).arrive()
    await open_offices(staff)
    return staff


@pytest.fixture(scope="module")
def turned_away(stack: LocalStack) -> Matter:
    """A desk that says that it is closed is not hurried: this takes a minute."""

    async def begin() -> Matter:
        async with world_on(stack) as world:
            await open_offices(await Staff(world).arrive())
            who = await holder(world, await world.merchant("潮声书局"), mandate=False)
            await who.funded(EACH_MINOR)
            await world.control("faults", {"operation": "fx-deals", "kind": "decline", "code": "DESK_CLOSED"})
            fx = await who.convert(EACH_MINOR)
            await _when(world, "SELECT 1 FROM app.effect WHERE subject_id = :id AND reason = 'desk_closed'", fx)
            return Matter(who.payer, fx["id"])

    return asyncio.run(begin())


async def test_what_arrives_is_credited_once_and_converted_under_a_mandate_at_the_published_rate(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = Holder(world, await merchant.payer(), SPELT)
    body = {"currency": "USD", "holder_name": who.name}
    refused = await merchant.send("POST", f"/v1/users/{who.user_id}/receiving_accounts", body)
    assert refused.json()["code"] == "DATA_EXPORT_NOT_ALLOWED"
    await who.agree_to_export()
    assert (await who.open_account())["bank_code"] == ABROAD
    mandate, before = await who.mandate(), await last_record(world)
    reference = await who.remit(100_000, times=5)
    [fx] = await who.conversions()
    settled = await who.rests(fx["id"])
    assert (settled.state, settled.mandate_id, settled.desk) == (FxState.SETTLED, mandate["id"], DESK)
    assert settled.rate is not None
    assert (f"{settled.rate.rate:.4f}", settled.cny_minor, settled.remainder_e8) == (BUYS, 712_340, 0)
    assert (await who.balance("USD"), await who.balance("CNY")) == ((0, 0), (712_340, 0))
    again = (
        "SELECT 1 FROM app.operation WHERE id > :id AND action = 'bank_callback' AND reason = 'duplicate'"
        " AND partner = 'OSPB' HAVING count(*) = 4"
    )
    await _when(world, again, {"id": before})
    [inbound] = (await merchant.get(f"/v1/inbounds?user_id={who.user_id}"))["items"]
    assert (inbound["id"], inbound["reference"], inbound["state"]) == (settled.inbound_id, reference, "credited")
    assert inbound["remitter"] is not None
    assert "Harbour" not in str(inbound)
    assert await who.told(fx["id"]) == ["fx.accepted", "fx.scheduled", "fx.settled"]
    assert await times_dealt(world, fx) == 1
    assert await world.wrong() == []


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_what_never_reached_its_desk_is_dealt_under_another_number_once_it_cannot_arrive_any_more(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant, mandate=False)
    await who.funded(len(NEVER_ARRIVED) * EACH_MINOR)
    await staff.close_bank(DESK_OFFICE, 600)
    accepted = [await who.convert(EACH_MINOR) for _ in NEVER_ARRIVED]
    for fx, kind in zip(accepted, NEVER_ARRIVED, strict=True):
        await world.control("faults", {"operation": "fx-deals", "request_number": number_of(fx), "kind": kind})
        await who.waits_for(fx["id"], "fx_desk_window")
    await staff.open_bank(DESK_OFFICE)
    for fx in await asyncio.gather(*(who.ended(fx["id"], within_seconds=300) for fx in accepted)):
        assert (fx["state"], await times_dealt(world, fx)) == ("settled", 1)
        [number] = await world.rows(
            "SELECT request_number FROM app.effect WHERE subject_id = :id AND outcome = 'succeeded'", id=fx["id"]
        )
        assert number["request_number"] == number_of(fx, 1)
    assert await who.balance("CNY") == (len(NEVER_ARRIVED) * EACH_CNY, 0)


@pytest.mark.long
async def test_every_answer_of_a_desk_ends_a_conversion_as_it_must_and_deals_it_once_or_never(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    """They are told apart by their numbers, which are known while an operator's closure keeps them all waiting."""
    declined = {"FX_POLICY_REFUSED": "fx_refused_by_policy", "SYSTEM_DECLINED": "other", "QUOTE_EXPIRED": None}
    kinds = [*DEALT_IN_THE_END, *REFUSED_IN_THE_END]
    who = await holder(world, merchant, mandate=False)
    await who.funded((len(kinds) + len(declined)) * EACH_MINOR)
    await staff.close_bank(DESK_OFFICE, 600)
    accepted = [await who.convert(EACH_MINOR) for _ in (*kinds, *declined)]
    faults: list[dict[str, str]] = [{"kind": kind} for kind in kinds]
    faults += [{"kind": "decline", "code": code} for code in declined]
    for fx, fault in zip(accepted, faults, strict=True):
        order = {"operation": "fx-deals", "request_number": number_of(fx)} | fault
        await world.control("faults", order)
        assert (await who.waits_for(fx["id"], "fx_desk_window"))["state"] == "waiting"
    async with _settings(world, late_success_seconds=3.0):
        await staff.open_bank(DESK_OFFICE)
        ended = await asyncio.gather(*(who.ended(fx["id"]) for fx in accepted))
    assert (await world.http.get(f"{world.simulator}/control/faults")).json() == [], "a fault was never met"
    found = {
        fault.get("code", fault["kind"]): (fx["state"], fx["reason"], await times_dealt(world, fx))
        for fault, fx in zip(faults, ended, strict=True)
    }
    expected: dict[str, tuple[str, str | None, int]] = dict.fromkeys(DEALT_IN_THE_END, ("settled", None, 1))
    expected |= {kind: ("refused", reason, 0) for kind, reason in REFUSED_IN_THE_END.items()}
    expected |= {code: ("refused", reason, 0) for code, reason in declined.items() if reason}
    assert found == expected | {"QUOTE_EXPIRED": ("settled", None, 1)}
    refused = [fx for fx in ended if fx["state"] == "refused"]
    dealt = len(ended) - len(refused)
    assert await who.balance("CNY") == (dealt * EACH_CNY, 0)
    assert await who.balance("USD") == (0, len(refused) * EACH_MINOR)
    released = await merchant.client.fx.release(refused[0]["id"])
    assert released.state == FxState.RELEASED
    assert await who.balance("USD") == (EACH_MINOR, (len(refused) - 1) * EACH_MINOR)
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_desk_without_a_rate_of_now_is_asked_again_until_it_has_one(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant, mandate=False)
    await who.funded(EACH_MINOR)
    rates = {"bank_code": DESK, "currency": "USD"}
    try:
        await world.control("fx-rates", rates | {"published_age_seconds": 3_600})
        fx = await who.convert(EACH_MINOR)
        assert (await who.waits_for(fx["id"], "fx_quote"))["state"] == "waiting"
        assert (await _preview(who))["rate_unavailable"] == "no_quote"
        await world.control("fx-desk", {"bank_code": DESK, "open": False})
        await world.control("fx-rates", rates | {"buys": "7.0950"})
        assert (await _preview(who))["rate_unavailable"] == "desk_closed"
        assert (await who.waits_for(fx["id"], "fx_quote"))["state"] == "waiting"
        assert await world.rows("SELECT 1 FROM app.effect WHERE subject_id = :id", id=fx["id"]) == []
    finally:
        await world.control("fx-desk", {"bank_code": DESK, "open": True})
    settled = await who.ended(fx["id"])
    await world.control("fx-rates", rates | {"buys": BUYS})
    assert (settled["state"], settled["rate"]["rate"], settled["cny_minor"]) == ("settled", "7.0950", 70_950)
    assert await world.wrong() == []


@pytest.mark.long
async def test_what_names_no_user_of_ours_is_in_suspense_until_two_people_have_decided_about_it(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant)
    forged = await who.remit(900, forged=True)
    nobody = await who.remit(EACH_MINOR, account_number=f"{ABROAD}404404404404")
    misnamed = await who.remit(2 * EACH_MINOR, receiver_name="TEST NOBODY")
    other_currency = await who.remit(3 * EACH_MINOR, currency="HKD")
    found = {one: await in_suspense(staff, one) for one in (nobody, misnamed, other_currency)}
    assert [each["reason"] for each in found.values()] == [
        "receiver_unknown", "receiver_name_differs", "currency_differs",
    ]  # fmt: skip
    assert (await merchant.get(f"/v1/inbounds?user_id={who.user_id}"))["items"] == []
    two = {"by": TREASURY, "approved_by": OTHER_TREASURY}
    with pytest.raises(OpsRefusedError, match="SECOND_PERSON_REQUIRED"):
        await staff.decide("inbound.return", found[nobody]["id"], by=TREASURY, approved_by=TREASURY)
    [asked] = (await staff.as_person(TREASURY, lambda ops: ops.get("/decisions", subject_id=found[nobody]["id"])))[
        "items"
    ]
    await staff.as_person(TREASURY, lambda ops: ops.post(f"/decisions/{asked['id']}/reject"))
    await staff.decide("inbound.assign", found[nobody]["id"], user_id=who.user_id, **two)
    # Plans that are made anew at this moment are not made for what its own process has not begun with.
    await staff.close_bank(OTHER_DESK_OFFICE, 1)
    for sent_back in (misnamed, other_currency):
        await staff.decide("inbound.return", found[sent_back]["id"], **two)
    [fx] = await who.conversions()
    assert (await who.ended(fx["id"]))["cny_minor"] == EACH_CNY
    for sent_back in (misnamed, other_currency):
        returned = "SELECT 1 FROM app.inbound WHERE id = :id AND state = 'returned'"
        await _when(world, returned, found[sent_back])
    assert await world.rows("SELECT 1 FROM app.inbound WHERE reference = :r", r=forged) == []
    refused = "SELECT 1 FROM app.operation WHERE action = 'bank_callback' AND reason = 'signature_invalid'"
    assert await world.rows(refused)
    assert await world.wrong() == []


async def test_what_is_beyond_the_quota_is_held_and_goes_back_or_is_released_as_the_merchant_says(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    split, all_or_nothing = await asyncio.gather(*(holder(world, merchant, mandate=False) for _ in range(2)))
    await split.mandate()
    await all_or_nothing.mandate(over_quota="hold")
    await asyncio.gather(split.remit(6_000_000), all_or_nothing.remit(6_000_000))
    [part], [held] = await split.conversions(), await all_or_nothing.conversions()
    part, held = await split.ended(part["id"]), await all_or_nothing.ended(held["id"])
    assert (part["state"], part["amount_minor"], part["cny_minor"]) == ("settled", 5_000_000, 35_617_000)
    rest = await split.ended(part["rest_id"])
    assert (rest["state"], rest["reason"], rest["amount_minor"]) == ("refused", "quota_exceeded", 1_000_000)
    assert (held["state"], held["reason"], held["quota"]["decision"]) == ("refused", "quota_exceeded", "exceeded")
    assert await split.balance("USD") == (0, 1_000_000)
    await merchant.client.fx.send_back(rest["id"])
    assert (await split.ended(rest["id"], ("returned",)))["state"] == "returned"
    assert await split.balance("USD") == (0, 0)
    await merchant.client.fx.release(held["id"])
    assert await all_or_nothing.balance("USD") == (6_000_000, 0)
    trade = await all_or_nothing.convert(
        5_500_000, is_trade=True, evidence=[{"kind": "contract", "reference": "file:2026/11/0008"}]
    )
    assert (await all_or_nothing.ended(trade["id"]))["quota"]["decision"] == "exempt_trade"
    with pytest.raises(LiushuiError, match="FX_NOT_REFUSED"):
        await merchant.client.fx.release(part["id"])
    assert await world.wrong() == []


async def test_a_desks_word_that_a_quota_is_exceeded_is_learned_and_not_asked_for_again(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant, mandate=False)
    await who.funded(4 * EACH_MINOR)
    await world.control("fx-quota", {"id_number": who.payer.id_number, "usd_used_minor": 4_999_999})
    refused = await who.ended((await who.convert(EACH_MINOR))["id"])
    assert (refused["state"], refused["reason"]) == ("refused", "fx_quota_exceeded")
    known = await who.ended((await who.convert(EACH_MINOR))["id"])
    assert (known["state"], known["reason"]) == ("refused", "quota_known_exceeded")
    assert await world.rows("SELECT 1 FROM app.effect WHERE subject_id = :id", id=known["id"]) == []
    flagged = await who.ended((await who.convert(EACH_MINOR, is_trade=True))["id"])
    assert flagged["reason"] == "quota_known_exceeded"
    assert await who.balance("USD") == (EACH_MINOR, 3 * EACH_MINOR)
    assert await world.wrong() == []


async def test_an_excess_is_taken_back_and_what_was_paid_out_by_then_is_owed_and_a_case(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant)
    await who.remit(EACH_MINOR)
    [fx] = await who.conversions()
    await who.ended(fx["id"])
    payout = await who.payer.pay_out(example_account("CN", serial=811_001), 50_000)
    assert (await merchant.payout_ended(payout["id"]))["state"] == "succeeded"
    left = EACH_CNY - 50_000 - payout["fee_minor"]
    order = {"bank_code": DESK, "request_number": number_of(fx), "excess_minor": EACH_MINOR}
    await world.control("fx-excess", order)
    [reversal] = await who.conversions(kind="reversal")
    reversal = await who.ended(reversal["id"])
    assert (reversal["state"], reversal["rate"]["rate"], reversal["cny_minor"]) == ("settled", "7.1434", 71_434)
    assert (reversal["shortfall_minor"], reversal["rate_difference_minor"]) == (71_434 - left, -200)
    assert (await merchant.get(f"/v1/fx/{fx['id']}"))["reversed_minor"] == EACH_MINOR
    assert (await who.balance("CNY"), await who.balance("USD")) == ((0, 0), (EACH_MINOR, 0))
    owed = "SELECT amount_minor FROM app.user_receivable WHERE fx_id = :id"
    assert await world.rows(owed, id=reversal["id"]) == [{"amount_minor": 71_434 - left}]
    case = "SELECT state FROM app.case_record WHERE kind = 'user_receivable' AND subject_id = :id"
    assert await world.rows(case, id=reversal["id"]) == [{"state": "open"}]
    assert await open_positions(world) == []
    assert await world.wrong() == []


@pytest.mark.long
async def test_a_conversion_that_a_closed_desk_turned_away_is_dealt_under_the_next_number_and_all_positions_are_nought(
    world: World, turned_away: Matter
) -> None:
    who = Holder(world, turned_away.payer(world), "")
    settled = await who.ended(turned_away.id)
    assert (settled["state"], settled["cny_minor"]) == ("settled", EACH_CNY)
    effects = await world.rows(
        "SELECT request_number, outcome FROM app.effect WHERE subject_id = :id ORDER BY claimed_at", id=turned_away.id
    )
    numbers = [number_of(settled), number_of(settled, 1)]
    assert [tuple(each.values()) for each in effects] == list(zip(numbers, ("declined", "succeeded"), strict=True))
    assert await open_positions(world) == []
    assert await world.wrong() == []


async def _preview(who: Holder) -> dict[str, Any]:
    order = {"user_id": who.user_id, "order_number": "fx-shown", "amount_minor": 100, "currency": "USD"}
    return await who.merchant.done("POST", "/v1/fx/preview", order | {"purpose_code": "121010"})


@asynccontextmanager
async def _settings(world: World, **settings: float) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=world.simulator, trust_env=False) as http, Banks(http).set_to(**settings):
        yield


async def _when(world: World, statement: str, subject: dict[str, Any], within_seconds: float = 30) -> None:
    """Once the books say so."""
    async with asyncio.timeout(within_seconds):
        while not await world.rows(statement, id=subject["id"]):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
