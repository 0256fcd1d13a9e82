"""What a connector makes of a bank at which foreign currency arrives: remittances, returns, numbers, callbacks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime

import pytest

from domain.banking import BankOutcome, CallbackRejectedError, DeclineReason
from domain.fx_banking import (
    FxAnswer,
    ReceivingAccountRequest,
    RemittanceUnavailableError,
    RemittanceUnreadableError,
)
from tests.contracts.fx_stage import ABROAD, DESK, FxStage, fx_query_until, reference, return_of
from tests.contracts.harness import number
from tests.contracts.test_bank_callbacks import callbacks_of, listening
from tests.contracts.test_fx_deals import lines_of

S, D, P, U, N = (
    BankOutcome.SUCCEEDED,
    BankOutcome.DECLINED,
    BankOutcome.PROCESSING,
    BankOutcome.UNKNOWN,
    BankOutcome.NOT_FOUND,
)


def receiving_account(currency: str = "USD") -> ReceivingAccountRequest:
    return ReceivingAccountRequest(request_number=number("RA"), currency=currency, holder_name="陈小满")


async def test_what_arrived_is_told_whole_and_lies_on_the_reserve(fx: FxStage) -> None:
    before = await fx.reserve(ABROAD, "JPY")
    arrived = await fx.arrive(
        54_321, "JPY", remitter_name="大阪商事", remitter_country="JP", purpose_code="122030", value_date="2026-11-27"
    )
    told = await fx.abroad.inbound(arrived)
    assert (told.reference, told.amount_minor, told.currency) == (arrived, 54_321, "JPY")
    assert (told.value_date, told.purpose_code, told.remitter_country) == (date(2026, 11, 27), "122030", "JP")
    assert (told.account_number, told.receiver_name) == ("OSPB000000000001", "Chen Xiaoman")
    assert told.remitter_name == "大阪商事"
    assert await fx.reserve(ABROAD, "JPY") == before + 54_321
    [line] = await lines_of(fx.abroad, arrived)
    assert (line.amount_minor, line.currency, line.booked_at) == (54_321, "JPY", told.booked_at)
    for personal in (told.account_number, told.receiver_name, told.remitter_name):
        assert personal not in repr(told)


async def test_only_the_banks_own_word_says_that_nothing_arrived(fx: FxStage) -> None:
    with pytest.raises(RemittanceUnavailableError) as unknown:
        await fx.abroad.inbound(reference())
    assert (unknown.value.reason, unknown.value.is_unknown) == ("REMITTANCE_NOT_FOUND", True)
    elsewhere = await fx.arrive()
    with pytest.raises(RemittanceUnavailableError) as at_another_bank:
        await fx.desk.inbound(elsewhere)
    assert at_another_bank.value.is_unknown


@pytest.mark.parametrize(
    "fault",
    ["time_out_before", "error_before", "answer_unsigned", "answer_forged", "answer_unreadable", "line_broken"],
)
async def test_a_remittance_without_a_trustworthy_answer_is_asked_for_again(fx: FxStage, fault: str) -> None:
    arrived = await fx.arrive()
    await fx.fault(fault, arrived, "inbound-remittances")
    with pytest.raises(RemittanceUnavailableError) as doubtful:
        await fx.impatient_abroad.inbound(arrived)
    assert not doubtful.value.is_unknown
    # Only what the bank has signed is its word, however little it means.
    assert isinstance(doubtful.value, RemittanceUnreadableError) is (fault == "answer_unreadable")
    assert (await fx.abroad.inbound(arrived)).amount_minor == 10_000


async def test_a_notice_of_a_remittance_names_its_reference_however_often_it_comes(
    fx: FxStage, callback_port: int
) -> None:
    async with listening(callback_port) as queue:
        arrived = await fx.arrive(times=3)
        found = await callbacks_of(queue, arrived, 3)
    notices = [fx.abroad.read_callback(*callback, datetime.now(UTC)) for callback in found]
    assert {(notice.inbound_reference, notice.request_number) for notice in notices} == {(arrived, arrived)}
    assert len({notice.notice_id for notice in notices}) == 1
    assert notices[0].announces is S
    assert not notices[0].is_excess
    with pytest.raises(CallbackRejectedError):
        fx.desk.read_callback(*found[0], datetime.now(UTC))
    assert "Chen" not in str(found)


async def test_a_forged_notice_of_a_remittance_is_rejected_and_nothing_arrived(fx: FxStage, callback_port: int) -> None:
    before = await fx.reserve(ABROAD, "USD")
    async with listening(callback_port) as queue:
        forged = await fx.arrive(forged=True)
        [callback] = await callbacks_of(queue, forged, 1)
    with pytest.raises(CallbackRejectedError, match="signature_invalid"):
        fx.abroad.read_callback(*callback, datetime.now(UTC))
    with pytest.raises(RemittanceUnavailableError) as unknown:
        await fx.abroad.inbound(forged)
    assert unknown.value.is_unknown
    assert await fx.reserve(ABROAD, "USD") == before


async def test_a_deal_is_called_back_when_it_is_dealt_when_it_is_delivered_and_for_each_excess(
    fx: FxStage, callback_port: int
) -> None:
    await fx.process.change_settings(fx_delivery_seconds=0.3)
    conversion = await fx.conversion()
    where = {"bank_code": DESK, "request_number": conversion.request_number}
    async with listening(callback_port) as queue:
        await fx.desk.deal(conversion)
        both = await callbacks_of(queue, conversion.request_number, 2)
        await fx.order("fx-excess", **where, excess_minor=700)
        [excess] = await callbacks_of(queue, conversion.request_number, 1)
    assert [json.loads(body)["status"] for *_, body in (*both, excess)] == ["SUCCESS", "SUCCESS", "EXCESS"]
    told = [fx.desk.read_callback(*callback, datetime.now(UTC)) for callback in (*both, excess)]
    assert [(notice.announces, notice.is_excess) for notice in told] == [(S, False), (S, False), (S, True)]
    assert {notice.inbound_reference for notice in told} == {None}


async def test_a_remittance_goes_back_in_parts_and_never_more_than_arrived(fx: FxStage) -> None:
    arrived = await fx.arrive(10_000)
    before = await fx.reserve(ABROAD, "USD")
    part = return_of(arrived, 4_000)
    answer = await fx.abroad.return_inbound(part)
    assert (answer.outcome, answer.amount_minor) == (S, 4_000)
    assert answer.bank_reference is not None
    assert answer.booked_at is not None
    assert await fx.abroad.return_inbound(part) == answer
    assert await fx.abroad.fx_query(part.request_number) == answer
    over = await fx.abroad.return_inbound(return_of(arrived, 6_001))
    assert (over.outcome, over.reason) == (D, DeclineReason.RETURN_EXCEEDS_REMITTANCE)
    assert (await fx.abroad.return_inbound(return_of(arrived, 6_000))).outcome is S
    assert await fx.reserve(ABROAD, "USD") == before - 10_000
    assert await fx.returns_booked(part.request_number) == 1
    [line] = await lines_of(fx.abroad, part.request_number)
    assert (line.amount_minor, line.bank_reference) == (-4_000, answer.bank_reference)


async def test_racing_returns_never_send_back_more_than_arrived(fx: FxStage) -> None:
    arrived = await fx.arrive(1_000)
    returns = [return_of(arrived, 300) for _ in range(8)]
    answers = await asyncio.gather(*(fx.abroad.return_inbound(one) for one in returns))
    assert sum(answer.outcome is S for answer in answers) == 3
    assert sum(answer.reason is DeclineReason.RETURN_EXCEEDS_REMITTANCE for answer in answers) == 5


async def test_what_never_arrived_or_is_of_another_currency_does_not_go_back(fx: FxStage) -> None:
    nothing = await fx.abroad.return_inbound(return_of(reference(), 1))
    assert (nothing.outcome, nothing.reason) == (D, DeclineReason.REMITTANCE_NOT_FOUND)
    other = await fx.abroad.return_inbound(return_of(await fx.arrive(), 1, "HKD"))
    assert (other.outcome, other.raw_code) == (D, "CURRENCY_NOT_SUPPORTED")


@pytest.mark.parametrize(
    ("fault", "first", "end", "booked"),
    [
        ("time_out_after", U, S, 1),
        ("error_after", U, S, 1),
        ("line_broken", U, S, 1),
        ("answer_unsigned", U, S, 1),
        ("answer_unreadable", U, S, 1),
        ("arrives_late", U, S, 1),
        ("time_out_before", U, N, 0),
        ("error_before", U, N, 0),
        ("answer_forged", U, D, 0),
        ("processing_then_success", P, S, 1),
        ("processing_then_failure", P, D, 0),
    ],
)
async def test_a_return_that_goes_wrong_ends_as_the_bank_decides_and_is_booked_once(
    fx: FxStage, fault: str, first: BankOutcome, end: BankOutcome, booked: int
) -> None:
    back = return_of(await fx.arrive(), 10_000)
    await fx.fault(fault, back.request_number, "inbound-returns")
    connector = fx.impatient_abroad if first is U else fx.abroad
    assert (await connector.return_inbound(back)).outcome is first
    assert (await fx_query_until(fx.abroad, back.request_number, end)).outcome is end
    again = await fx.abroad.return_inbound(back)
    assert again.outcome is (S if end is N else end)
    assert await fx.returns_booked(back.request_number) == (1 if end is N else booked)


async def test_a_return_in_process_counts_until_it_fails(fx: FxStage) -> None:
    arrived = await fx.arrive(100)
    failing = return_of(arrived, 100)
    await fx.fault("processing_then_failure", failing.request_number, "inbound-returns")
    assert (await fx.abroad.return_inbound(failing)).outcome is P
    assert (await fx.abroad.return_inbound(return_of(arrived, 1))).reason is DeclineReason.RETURN_EXCEEDS_REMITTANCE
    await fx_query_until(fx.abroad, failing.request_number, D)
    assert (await fx.abroad.return_inbound(return_of(arrived, 100))).outcome is S


async def test_each_request_for_a_receiving_account_brings_a_number_of_its_own(fx: FxStage) -> None:
    first, second = receiving_account(), receiving_account("JPY")
    answers = [await fx.abroad.open_receiving_account(one) for one in (first, second, first)]
    assert [answer.outcome for answer in answers] == [S, S, S]
    assert answers[0] == answers[2] == await fx.abroad.fx_query(first.request_number)
    assert answers[0].account_number != answers[1].account_number
    assert str(answers[0].account_number).startswith(ABROAD)
    assert str(answers[0].account_number) not in repr(answers[0])


@pytest.mark.parametrize(
    ("fault", "first", "end"),
    [
        ("time_out_after", U, S),
        ("error_after", U, S),
        ("line_broken", U, S),
        ("answer_unsigned", U, S),
        ("answer_unreadable", U, S),
        ("time_out_before", U, N),
        ("error_before", U, N),
        ("answer_forged", U, D),
    ],
)
async def test_a_receiving_account_that_goes_wrong_is_unknown_until_it_is_asked_for(
    fx: FxStage, fault: str, first: BankOutcome, end: BankOutcome
) -> None:
    request = receiving_account()
    await fx.fault(fault, request.request_number, "receiving-accounts")
    assert (await fx.impatient_abroad.open_receiving_account(request)).outcome is first
    found = await fx_query_until(fx.abroad, request.request_number, end)
    again: FxAnswer = await fx.abroad.open_receiving_account(request)
    assert again.outcome is (S if end is N else end)
    if end is S:
        assert again.account_number == found.account_number


async def test_a_bank_that_opens_no_such_accounts_declines(fx: FxStage) -> None:
    here = await fx.desk.open_receiving_account(receiving_account())
    assert (here.outcome, here.reason, here.raw_code) == (D, DeclineReason.OTHER, "NOT_OFFERED")
    held = await fx.abroad.open_receiving_account(receiving_account("EUR"))
    assert (held.outcome, held.raw_code) == (D, "CURRENCY_NOT_SUPPORTED")


@pytest.mark.parametrize("fault", ["error_before", "answer_unsigned", "answer_forged", "answer_unreadable"])
async def test_a_query_without_a_trustworthy_answer_is_unknown_never_not_found(fx: FxStage, fault: str) -> None:
    never_sent = number("FX")
    await fx.fault(fault, never_sent, "requests")
    assert (await fx.desk.fx_query(never_sent)).outcome is U
    assert (await fx.desk.fx_query(never_sent)).outcome is N
