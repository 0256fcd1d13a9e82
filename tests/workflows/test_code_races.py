"""Codes of a payment that meet something else: another code, the deadline, a crash, a database that is away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.banking import DeclineReason
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.messages import CodeResendMessage

Payment = dict[str, Any]


async def awaiting_code(house: House) -> Payment:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    return payment


async def end_of(house: House, payment: Payment) -> tuple[str, str | None]:
    result = await house.end_of(names.Process.COLLECT_PAYMENT, payment["id"])
    return result.state, result.reason


async def test_a_right_code_counts_although_another_was_asked_for_at_the_same_time(house: House) -> None:
    payment = await awaiting_code(house)
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-1")
    assert await house.processes.tell_resend("payment", payment["id"], CodeResendMessage(attempt=1))
    await house.tell("payment", payment["id"], attempt, "confirmed")
    assert await end_of(house, payment) == ("succeeded", None)
    assert len(house.bank.asked("send_payment_code")) == 1


async def test_a_code_typed_in_the_instant_of_the_deadline_is_judged_before_the_order_closes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await awaiting_code(house)
    await house.books.run("UPDATE app.payment SET code_expires_at = code_expires_at + interval '1 day'")
    real, typed = house.books.instructions.settle, False

    async def typed_meanwhile(settlement: Any) -> str | None:
        nonlocal typed
        if not typed and settlement.state == "closed":
            typed = True
            await house.type_code("payment", payment["id"], None)
        return await real(settlement)

    monkeypatch.setattr(house.books.instructions, "settle", typed_meanwhile)
    house.bank.script("query", UNKNOWN, SUCCEEDED.model_copy(update={"authorisation": "AUTH-2"}))
    assert await end_of(house, payment) == ("closed", "order_expired")
    assert await house.books.value("SELECT verdict FROM app.code_attempt") == "confirmed"
    assert (await house.payment(payment["id"]))["state"] == "closed"
    assert house.bank.asked("debit") == []


async def test_an_issuers_final_no_that_was_lost_in_a_crash_fails_the_payment_once_it_is_learned(house: House) -> None:
    payment = await awaiting_code(house)
    attempt = await house.type_code("payment", payment["id"], None)
    house.bank.script("query", UNKNOWN, declined(DeclineReason.CARD_LOST_OR_FROZEN))
    await house.tell("payment", payment["id"], attempt, None)
    assert await end_of(house, payment) == ("failed", "code_declined")
    assert await house.ended_after("payment", payment["id"]) < timedelta(minutes=5)


async def test_while_the_payer_stands_there_the_bank_is_asked_promptly_about_a_code(house: House) -> None:
    payment = await awaiting_code(house)
    attempt = await house.type_code("payment", payment["id"], None)
    house.bank.script("query", *[UNKNOWN] * 12, SUCCEEDED.model_copy(update={"authorisation": "AUTH-4"}))
    await house.tell("payment", payment["id"], attempt, None)
    assert await end_of(house, payment) == ("succeeded", None)
    assert await house.ended_after("payment", payment["id"]) < timedelta(seconds=75)


async def test_a_code_that_is_being_judged_counts_although_the_issuer_refuses_to_send_another(house: House) -> None:
    payment = await awaiting_code(house)
    attempt = await house.type_code("payment", payment["id"], None)
    house.bank.script("send_payment_code", declined(DeclineReason.OTHER))
    assert await house.processes.tell_resend("payment", payment["id"], CodeResendMessage(attempt=1))
    await house.until("SELECT count(*) FROM app.effect WHERE step = 'PC'", 2)
    house.bank.script("query", SUCCEEDED.model_copy(update={"authorisation": "AUTH-6"}))
    await house.tell("payment", payment["id"], attempt, None)
    assert await end_of(house, payment) == ("succeeded", None)
    assert [debit.authorisation for debit in house.bank.asked("debit")] == ["AUTH-6"]


async def test_a_forged_no_ends_nothing(house: House) -> None:
    payment = await awaiting_code(house)
    await house.tell("payment", payment["id"], "att_forged", "declined")
    attempt = await house.type_code("payment", payment["id"], "confirmed", authorisation="AUTH-3")
    await house.tell("payment", payment["id"], attempt, "confirmed")
    assert await end_of(house, payment) == ("succeeded", None)


async def test_a_bank_that_is_away_for_days_with_a_code_is_asked_ever_more_rarely(house: House) -> None:
    payment = await awaiting_code(house)
    await house.type_code("payment", payment["id"], None)
    house.bank.script("query", *[PROCESSING] * 100, declined(DeclineReason.CODE_WRONG))
    assert await end_of(house, payment) == ("closed", "order_expired")
    assert await house.ended_after("payment", payment["id"]) > timedelta(hours=12)


async def test_an_issuer_that_never_answers_about_a_code_lets_the_order_expire(house: House) -> None:
    house.bank.script("send_payment_code", UNKNOWN)
    house.bank.script("query", UNKNOWN)
    payment = await house.accept()
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("closed", "order_expired")


async def test_a_payment_whose_claim_failed_until_its_order_was_over_is_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(command: object) -> None:
        raise ConnectionError("the database is away")

    payment = await house.accept_waived()
    monkeypatch.setattr(house.books.instructions, "claim_effect", away)
    house.bank.script("query", NOT_FOUND)
    result = await house.collect(payment)
    assert (result.state, result.reason) == ("closed", "order_expired")
    found = await house.payment(payment["id"])
    assert (found["state"], found["waiting_for"]) == ("closed", None)
    assert house.bank.asked("debit") == []
    assert await house.books.value("SELECT sum(used_minor) FROM app.limit_usage") == 0
