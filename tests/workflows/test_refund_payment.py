"""Every branch of a refund: what was held leaves when the bank has paid it, and is free again when it has not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.banking import DeclineReason
from domain.errors import RefusedError
from domain.identifiers import BankStep, request_number
from tests.storage.books import BANK
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names


async def paid(house: House, **changes: Any) -> dict[str, Any]:
    """A payment of 100 yuan that succeeded, with a fee of 60 fen."""
    payment = await house.accept_waived(**changes)
    assert (await house.collect(payment)).state == "succeeded"
    return payment


async def booked(house: House) -> tuple[int, int, int]:
    """In the reserve, owed to the merchant, earned in fees."""
    pending = await house.books.balance(f"merchant_pending:{house.books.merchant_id}:CNY")
    return await house.books.balance(f"reserve:{BANK}:CNY"), pending, await house.books.balance("fee_income:CNY")


async def held(house: House) -> int:
    """What the merchant and the fee income cannot use while a refund is on its way."""
    return int(
        await house.books.value(
            "SELECT sum(b.held) FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id"
            " WHERE a.code NOT LIKE 'reserve:%'"
        )
    )


async def test_a_full_refund_gives_everything_back_and_the_fee_too(house: House) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 10_000)
    assert await held(house) == 10_000
    assert (await house.refund(refund)).state == "succeeded"
    [request] = house.bank.asked("refund")
    assert request.request_number == request_number(BankStep.REFUND, refund["id"])
    assert (request.amount_minor, request.debit_request_number) == (
        10_000, request_number(BankStep.DEBIT, payment["id"]),
    )  # fmt: skip
    assert await booked(house) == (0, 0, 0)
    assert await held(house) == 0
    found = await house.payment(payment["id"])
    assert (found["state"], found["refunded_minor"], found["refundable_minor"]) == ("succeeded", 10_000, 0)
    assert await house.events(refund["id"]) == ["refund.accepted", "refund.succeeded"]


async def test_a_partial_refund_leaves_the_rest_refundable_and_no_more(house: House) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 2_500)
    await house.refund(refund)
    assert await booked(house) == (7_500, 7_455, 45)
    assert (await house.payment(payment["id"]))["refundable_minor"] == 7_500
    with pytest.raises(RefusedError, match="REFUND_EXCEEDS_PAYMENT"):
        await house.accept_refund(payment["id"], 7_501)


async def test_a_refund_of_a_payment_into_the_users_balance_comes_out_of_that_balance(house: House) -> None:
    payment = await paid(house, payee_kind="user", fee_minor=0)
    await house.refund(await house.accept_refund(payment["id"], 4_000))
    assert await house.books.balance(f"user:{house.books.user_id}:CNY") == 6_000


async def test_a_refund_that_the_bank_declines_frees_what_was_held_and_can_be_asked_for_again(house: House) -> None:
    payment = await paid(house)
    house.bank.script("refund", declined(DeclineReason.CARD_LOST_OR_FROZEN))
    refund = await house.accept_refund(payment["id"], 10_000)
    result = await house.refund(refund)
    assert (result.state, result.reason) == ("failed", "card_lost_or_frozen")
    assert await booked(house) == (10_000, 9_940, 60)
    assert await held(house) == 0
    assert (await house.payment(payment["id"]))["refundable_minor"] == 10_000
    house.bank.script("refund", SUCCEEDED)
    again = await house.accept_refund(payment["id"], 10_000)
    assert (await house.refund(again)).state == "succeeded"
    first, second = house.bank.asked("refund")
    assert first.request_number != second.request_number


async def test_a_refund_of_which_nothing_was_heard_is_asked_about_and_not_sent_again(house: House) -> None:
    payment = await paid(house)
    house.bank.script("refund", UNKNOWN)
    house.bank.script("query", *[UNKNOWN] * 8, PROCESSING, SUCCEEDED)
    refund = await house.accept_refund(payment["id"], 10_000)
    assert (await house.refund(refund)).state == "succeeded"
    assert len(house.bank.asked("refund")) == 1
    assert await house.events(refund["id"]) == ["refund.accepted", "refund.unknown", "refund.succeeded"]
    assert await booked(house) == (0, 0, 0)


async def test_a_refund_that_never_arrived_is_sent_again_under_the_same_number(house: House) -> None:
    payment = await paid(house)
    house.bank.script("refund", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    assert (await house.refund(await house.accept_refund(payment["id"], 10_000))).state == "succeeded"
    first, second = house.bank.asked("refund")
    assert first == second


async def test_a_refund_is_not_sent_again_once_the_bank_may_have_forgotten_its_number(house: House) -> None:
    payment = await paid(house)
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("refund", UNKNOWN)
    # Silent for longer than it remembers, so that its "not found" says nothing any more.
    house.bank.script("query", *[UNKNOWN] * 150, *[NOT_FOUND] * 5, SUCCEEDED)
    refund = await house.accept_refund(payment["id"], 10_000)
    assert (await house.refund(refund)).state == "succeeded"
    assert await house.ended_after("refund", refund["id"]) > timedelta(hours=2)
    assert len(house.bank.asked("refund")) == 1


async def test_of_two_refunds_at_once_the_one_that_fails_frees_only_its_own(house: House) -> None:
    payment = await paid(house)
    first = await house.accept_refund(payment["id"], 6_000)
    second = await house.accept_refund(payment["id"], 4_000)
    house.bank.script("refund", declined(DeclineReason.OTHER), SUCCEEDED)
    results = [await house.refund(first), await house.refund(second)]
    assert [result.state for result in results] == ["failed", "succeeded"]
    assert await booked(house) == (6_000, 5_964, 36)
    assert await held(house) == 0
    found = await house.payment(payment["id"])
    assert (found["refunded_minor"], found["refunding_minor"], found["refundable_minor"]) == (4_000, 0, 6_000)


async def test_refunds_of_any_split_give_the_whole_fee_back_in_the_end(house: House) -> None:
    payment = await paid(house)
    for amount in (1, 3_332, 3_333, 3_333, 1):
        await house.refund(await house.accept_refund(payment["id"], amount))
    assert await booked(house) == (0, 0, 0)


@pytest.mark.parametrize("spoil", ["UPDATE app.partner SET enabled = false"])
async def test_a_refund_that_is_stopped_before_it_was_sent_frees_what_was_held(house: House, spoil: str) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 10_000)
    await house.books.run(spoil)
    result = await house.refund(refund)
    assert (result.state, result.reason) == ("failed", "partner_not_available")
    assert house.bank.asked("refund") == []
    assert await held(house) == 0


async def test_a_suspended_user_still_gets_money_back(house: House) -> None:
    payment = await paid(house)
    refund = await house.accept_refund(payment["id"], 10_000)
    await house.books.run("UPDATE app.end_user SET state = 'suspended'")
    assert (await house.refund(refund)).state == "succeeded"


async def test_a_refund_that_was_terminated_and_started_again_is_paid_once(house: House) -> None:
    payment = await paid(house)
    house.bank.script("refund", UNKNOWN)
    house.bank.script("query", PROCESSING)
    refund = await house.accept_refund(payment["id"], 10_000)
    await house.processes.refund_payment(house.refund_order(refund))
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    await house.handle(names.Process.REFUND_PAYMENT, refund["id"]).terminate()
    house.bank.script("query", SUCCEEDED)
    assert await house.processes.refund_payment(house.refund_order(refund))
    await house.until("SELECT state FROM app.refund", "succeeded")
    assert len(house.bank.asked("refund")) == 1
    assert await booked(house) == (0, 0, 0)


async def test_a_notice_of_the_bank_is_followed_by_a_question_at_once(house: House) -> None:
    payment = await paid(house)
    house.bank.script("refund", PROCESSING)
    house.bank.script("query", PROCESSING)
    refund = await house.accept_refund(payment["id"], 10_000)
    await house.processes.refund_payment(house.refund_order(refund))
    async with asyncio.timeout(10):
        await house.bank.was_asked("query")
    house.bank.script("query", SUCCEEDED)
    assert await house.processes.tell_bank_notice(names.Process.REFUND_PAYMENT, refund["id"])
    await house.until("SELECT state FROM app.refund", "succeeded")
