"""Correcting a payment that had failed: only the bank's word, asked for anew, and always on the record (A4.1c)."""

from __future__ import annotations

from typing import Any

from domain.banking import DeclineReason
from domain.identifiers import BankStep, request_number
from tests.storage.books import BANK
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined


async def failed(house: House) -> dict[str, Any]:
    house.bank.script("debit", declined(DeclineReason.INSUFFICIENT_FUNDS))
    payment = await house.accept_waived()
    assert (await house.collect(payment)).state == "failed"
    return payment


async def booked(house: House) -> tuple[int, int, int]:
    """Reserve, suspense, and the number of transfers."""
    transfers = int(await house.books.value("SELECT count(*) FROM ledger.transfer"))
    return await house.books.balance(f"reserve:{BANK}:CNY"), await house.books.balance("suspense:CNY"), transfers


async def test_a_failure_that_the_bank_had_booked_is_corrected_on_the_record_and_given_back(house: House) -> None:
    payment = await failed(house)
    assert (await house.payment(payment["id"]))["corrected_at"] is None
    house.bank.script("query", SUCCEEDED)
    result = await house.correct(payment)
    assert (result.state, result.reason) == ("late_refunded", "succeeded_after_order_expired")
    found = await house.payment(payment["id"])
    assert found["corrected_at"] is not None
    assert found["reason"] == "bank_says_succeeded"
    assert await booked(house) == (0, 0, 2)
    assert await house.events(payment["id"]) == [
        "payment.accepted", "payment.failed", "payment.corrected", "payment.late_refunded",
    ]  # fmt: skip
    record = await house.books.value("SELECT reason FROM app.operation WHERE outcome = 'corrected'")
    assert record == "bank_says_succeeded"


async def test_what_is_corrected_stands_in_suspense_until_the_bank_has_given_it_back(house: House) -> None:
    payment = await failed(house)
    house.bank.script("query", SUCCEEDED)
    house.bank.script("refund", declined(DeclineReason.OTHER))
    await house.processes.correct_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "operator")
    assert await booked(house) == (10_000, 10_000, 1)
    found = await house.payment(payment["id"])
    assert (found["state"], found["waiting_for"]["reason"]) == ("late_refunding", "operator")


async def test_giving_back_is_tried_anew_under_another_number_after_the_banks_no(house: House) -> None:
    payment = await failed(house)
    house.bank.script("query", SUCCEEDED)
    house.bank.script("refund", declined(DeclineReason.OTHER), SUCCEEDED)
    assert (await house.correct(payment)).state == "late_refunded"
    # A bank answers a number that it has refused with the same no for ever.
    numbers = [request.request_number for request in house.bank.asked("refund")]
    assert numbers == [request_number(BankStep.LATE_REFUND, payment["id"], attempt) for attempt in range(2)]
    assert await booked(house) == (0, 0, 2)


async def test_a_failure_that_the_bank_confirms_stays_as_it_is(house: House) -> None:
    payment = await failed(house)
    before = await house.payment(payment["id"])
    for word in (declined(DeclineReason.INSUFFICIENT_FUNDS), NOT_FOUND):
        house.bank.script("query", UNKNOWN, PROCESSING, word)
        result = await house.correct(payment)
        assert (result.state, result.reason) == ("failed", "bank_confirms_failure")
    assert await house.payment(payment["id"]) == before
    assert await booked(house) == (0, 0, 0)
    assert len(house.bank.asked("debit")) == 1


async def test_a_bank_that_takes_its_confirmation_back_is_still_believed(house: House) -> None:
    payment = await failed(house)
    house.bank.script("query", declined(DeclineReason.OTHER))
    await house.correct(payment)
    house.bank.script("query", SUCCEEDED)
    assert (await house.correct(payment)).state == "late_refunded"


async def test_correcting_twice_corrects_and_gives_back_once(house: House) -> None:
    payment = await failed(house)
    house.bank.script("query", SUCCEEDED)
    results = [await house.correct(payment), await house.correct(payment)]
    assert [result.state for result in results] == ["late_refunded", "late_refunded"]
    assert len(house.bank.asked("refund")) == 1
    assert await booked(house) == (0, 0, 2)


async def test_a_payment_that_succeeded_is_not_corrected(house: House) -> None:
    payment = await house.accept_waived()
    await house.collect(payment)
    result = await house.correct(payment)
    assert (result.state, result.reason) == ("succeeded", "state_conflict")
    assert house.bank.asked("refund") == []
    assert await booked(house) == (10_000, 0, 2)
