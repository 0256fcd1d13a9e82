"""What every connector must make of a bank that pays out: every answer, every silence, and what comes back later."""

from __future__ import annotations

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from domain.banking import BankConnector, BankOutcome, DeclineReason, StatementLine
from tests.contracts.harness import (
    BANK_IDS,
    BankHarness,
    Region,
    funded_payout,
    payout_to,
    query_until,
)

S, D, P, U, N, R = (
    BankOutcome.SUCCEEDED,
    BankOutcome.DECLINED,
    BankOutcome.PROCESSING,
    BankOutcome.UNKNOWN,
    BankOutcome.NOT_FOUND,
    BankOutcome.RETURNED,
)


async def todays_lines(connector: BankConnector, request_number: str) -> list[StatementLine]:
    day = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    return [line async for line in connector.statement(day) if line.request_number == request_number]


@pytest.mark.parametrize(
    ("region", "currency"),
    [("CN", "CNY"), ("HK", "CNY"), ("HK", "HKD"), ("MO", "CNY"), ("MO", "MOP"), ("TW", "CNY"), ("TW", "TWD")],
)
async def test_a_payout_is_paid_from_the_reserve_in_its_currency_once(
    bank: BankHarness, connector: BankConnector, region: Region, currency: str
) -> None:
    await bank.fund(5_000, currency)
    before = await bank.reserve_minor(currency)
    payout = payout_to(bank.payee_account(region), region, amount_minor=1_234, currency=currency)
    answer = await connector.pay_out(payout)
    assert (answer.outcome, answer.amount_minor) == (S, 1_234)
    assert answer.bank_reference
    assert answer.booked_at is not None
    assert (answer.return_reference, answer.returned_at) == (None, None)
    assert await connector.query(payout.request_number) == answer
    assert await connector.pay_out(payout) == answer
    assert await bank.payouts_booked(payout.request_number) == (1, 0)
    assert await bank.reserve_minor(currency) == before - 1_234
    [line] = await todays_lines(connector, payout.request_number)
    assert (line.amount_minor, line.currency, line.bank_reference) == (-1_234, currency, answer.bank_reference)


async def test_one_number_sent_twenty_times_at_once_is_paid_once(bank: BankHarness, connector: BankConnector) -> None:
    payout = await funded_payout(bank)
    answers = await asyncio.gather(*(connector.pay_out(payout) for _ in range(20)))
    assert {answer.outcome for answer in answers} == {S}
    assert len({answer.bank_reference for answer in answers}) == 1
    assert await bank.payouts_booked(payout.request_number) == (1, 0)


@pytest.mark.parametrize("change", [{"amount_minor": 999}, {"account_number": "0000000000018800000"}])
async def test_a_used_number_with_other_content_is_refused_and_the_first_payout_stays(
    bank: BankHarness, connector: BankConnector, change: dict[str, object]
) -> None:
    payout = await funded_payout(bank)
    first = await connector.pay_out(payout)
    other = await connector.pay_out(payout.model_copy(update=change))
    assert (other.outcome, other.reason) == (D, DeclineReason.REQUEST_NUMBER_REUSED)
    assert await connector.query(payout.request_number) == first
    assert await bank.payouts_booked(payout.request_number) == (1, 0)


async def test_racing_payouts_never_take_more_than_the_institution_has(
    bank: BankHarness, connector: BankConnector
) -> None:
    await bank.fund(100, "MOP")
    holds = await bank.reserve_minor("MOP")
    account, each = bank.payee_account("MO"), holds // 3
    payouts = [payout_to(account, "MO", amount_minor=each, currency="MOP") for _ in range(8)]
    answers = await asyncio.gather(*(connector.pay_out(payout) for payout in payouts))
    assert sum(answer.outcome is S for answer in answers) == 3
    assert sum(answer.reason is DeclineReason.INSUFFICIENT_FUNDS for answer in answers) == 5
    assert await bank.reserve_minor("MOP") == holds - 3 * each


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NAME_NOT_MATCHED", DeclineReason.NAME_MISMATCH),
        ("ACCOUNT_CLOSED", DeclineReason.ACCOUNT_CLOSED),
        ("ACCOUNT_NOT_FOUND", DeclineReason.ACCOUNT_NUMBER_INVALID),
        ("BANK_CLOSED", DeclineReason.BANK_CLOSED),
        ("SYSTEM_DECLINED", DeclineReason.OTHER),
    ],
)
async def test_each_reason_against_a_payout_is_told_and_nothing_is_booked(
    bank: BankHarness, connector: BankConnector, code: str, reason: DeclineReason
) -> None:
    payout = await funded_payout(bank, code)
    answer = await connector.pay_out(payout)
    assert (answer.outcome, answer.reason, answer.raw_code) == (D, reason, code)
    assert await connector.query(payout.request_number) == answer
    assert await bank.payouts_booked(payout.request_number) == (0, 0)


@pytest.mark.parametrize(
    ("region", "change", "code"),
    [
        ("CN", {"bank_id": "102100099997"}, "BANK_ID_INVALID"),
        ("CN", {"bank_id_kind": "bic", "bank_id": "ICBKCNBJ"}, "BANK_ID_INVALID"),
        ("HK", {"bank_id_kind": "bic", "bank_id": "BKCHMOMX"}, "BANK_ID_INVALID"),
        ("MO", {"bank_id_kind": "bic", "bank_id": "NOBIC"}, "BANK_ID_INVALID"),
        ("TW", {"bank_id": "00810"}, "BANK_ID_INVALID"),
        ("CN", {"account_number": "1234567"}, "ACCOUNT_NOT_FOUND"),
        ("HK", {"account_number": "12345678A"}, "ACCOUNT_NOT_FOUND"),
        ("CN", {"currency": "HKD"}, "CURRENCY_NOT_SUPPORTED"),
    ],
)
async def test_an_account_or_bank_that_cannot_exist_there_is_declined(
    bank: BankHarness, connector: BankConnector, region: Region, change: dict[str, str], code: str
) -> None:
    await bank.fund(1_000, "CNY")
    payout = payout_to(bank.payee_account(region), region).model_copy(update=change)
    answer = await connector.pay_out(payout)
    assert (answer.outcome, answer.raw_code) == (D, code)
    assert await bank.payouts_booked(payout.request_number) == (0, 0)


@pytest.mark.parametrize("region", ["HK", "TW"])
async def test_banks_there_are_found_by_their_bic_too(
    bank: BankHarness, connector: BankConnector, region: Region
) -> None:
    await bank.fund(1_000, "CNY")
    bic = {"HK": "HSBCHKHHHKH", "TW": "TACBTWTP"}[region]
    payout = payout_to(bank.payee_account(region), region)
    assert (payout.bank_id_kind, payout.bank_id) == BANK_IDS[region]
    answer = await connector.pay_out(payout.model_copy(update={"bank_id_kind": "bic", "bank_id": bic}))
    assert answer.outcome is S


@pytest.mark.parametrize("fault", ["time_out_after", "line_broken"])
async def test_a_payout_that_was_paid_without_a_good_answer_is_unknown_and_the_query_finds_it(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector, fault: str
) -> None:
    payout = await funded_payout(bank, fault)
    assert (await impatient.pay_out(payout)).outcome is U
    assert (await query_until(connector, payout.request_number, S)).amount_minor == payout.amount_minor
    assert (await connector.pay_out(payout)).outcome is S
    assert await bank.payouts_booked(payout.request_number) == (1, 0)


async def test_a_payout_that_never_arrived_is_unknown_then_not_found_and_a_resend_pays_it_once(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    payout = await funded_payout(bank, "time_out_before")
    assert (await impatient.pay_out(payout)).outcome is U
    assert (await connector.query(payout.request_number)).outcome is N
    assert (await connector.pay_out(payout)).outcome is S
    assert await bank.payouts_booked(payout.request_number) == (1, 0)


async def test_a_declined_payout_whose_answer_is_forged_into_success_is_unknown_then_declined(
    bank: BankHarness, connector: BankConnector
) -> None:
    payout = await funded_payout(bank, "answer_forged")
    forged = await connector.pay_out(payout)
    assert (forged.outcome, forged.bank_reference) == (U, None)
    assert (await connector.query(payout.request_number)).outcome is D
    assert await bank.payouts_booked(payout.request_number) == (0, 0)


@pytest.mark.long
async def test_payouts_that_take_their_time_end_as_the_bank_decides(
    bank: BankHarness, connector: BankConnector, impatient: BankConnector
) -> None:
    """At once, because all of it is waiting. `first` is what the sender hears, `then` what a query may say after it."""

    async def play(
        fault: str, sender: BankConnector, first: BankOutcome, then: set[BankOutcome], end: BankOutcome
    ) -> None:
        payout = await funded_payout(bank, fault)
        assert (await sender.pay_out(payout)).outcome is first, fault
        assert (await query_until(connector, payout.request_number, P, N, S, D)).outcome in then, fault
        assert (await query_until(connector, payout.request_number, S, D)).outcome is end, fault
        assert await bank.payouts_booked(payout.request_number) == (1 if end is S else 0, 0)

    await asyncio.gather(
        play("processing_then_success", connector, P, {P, S}, S),
        play("processing_then_failure", connector, P, {P, D}, D),
        play("late_success", impatient, U, {P}, S),
        play("arrives_late", impatient, U, {N}, S),
    )


@pytest.mark.parametrize("fault", ["returned_later", "returned_at_once"])
async def test_a_payout_that_comes_back_is_first_paid_and_then_returned_with_both_bookings(
    bank: BankHarness, connector: BankConnector, fault: str
) -> None:
    payout = await funded_payout(bank, fault, amount_minor=777)
    before = await bank.reserve_minor("CNY")
    paid = await connector.pay_out(payout)
    assert paid.outcome is S
    back = await query_until(connector, payout.request_number, R)
    assert (back.bank_reference, back.booked_at) == (paid.bank_reference, paid.booked_at)
    assert (back.amount_minor, back.reason) == (777, DeclineReason.ACCOUNT_CLOSED)
    assert back.return_reference not in (None, paid.bank_reference)
    assert back.returned_at is not None
    assert paid.booked_at is not None
    assert back.returned_at >= paid.booked_at
    assert await connector.pay_out(payout) == back
    assert await bank.payouts_booked(payout.request_number) == (1, 1)
    assert await bank.reserve_minor("CNY") == before
    lines = await todays_lines(connector, payout.request_number)
    assert [(line.amount_minor, line.bank_reference) for line in lines] == [
        (-777, paid.bank_reference),
        (777, back.return_reference),
    ]


async def test_a_payout_in_process_is_not_returned_and_a_returned_one_not_again(
    bank: BankHarness, connector: BankConnector
) -> None:
    payout = await funded_payout(bank, "processing_then_success")
    await connector.pay_out(payout)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await bank.send_back(payout.request_number)
    await query_until(connector, payout.request_number, S)
    await bank.send_back(payout.request_number)
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await bank.send_back(payout.request_number)
    assert await bank.payouts_booked(payout.request_number) == (1, 1)


async def test_a_closed_bank_books_nothing_and_its_no_holds_for_that_number_only(
    bank: BankHarness, connector: BankConnector
) -> None:
    payout = await funded_payout(bank)
    await bank.close_bank()
    closed = await connector.pay_out(payout)
    assert (closed.outcome, closed.reason) == (D, DeclineReason.BANK_CLOSED)
    assert await connector.query(payout.request_number) == closed
    await bank.open_bank()
    assert await connector.pay_out(payout) == closed
    anew = payout.model_copy(update={"request_number": f"{payout.request_number}01"})
    assert (await connector.pay_out(anew)).outcome is S
    assert await bank.payouts_booked(payout.request_number) == (0, 0)
    assert await bank.payouts_booked(anew.request_number) == (1, 0)
