"""What a connector makes of an FX desk: quotes, deals, refusals, silence, delivery, an excess found late (A5.1-2)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from domain.banking import BankOutcome, DeclineReason, StatementLine
from domain.fx_banking import FxConnector, QuoteSide, QuoteUnavailableError
from domain.rates import parse_rate
from tests.contracts.fx_stage import (
    ABROAD,
    DESK,
    FxStage,
    conversion_at,
    fx_query_until,
    id_number,
    reversal_of,
)
from tests.contracts.harness import number, until

S, D, P, U, N = (
    BankOutcome.SUCCEEDED,
    BankOutcome.DECLINED,
    BankOutcome.PROCESSING,
    BankOutcome.UNKNOWN,
    BankOutcome.NOT_FOUND,
)


async def lines_of(connector: object, request_number: str) -> list[StatementLine]:
    day = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    statement = connector.statement(day)  # type: ignore[attr-defined]
    return [line async for line in statement if line.request_number == request_number]


@pytest.mark.parametrize(
    ("currency", "side", "rate"),
    [
        ("USD", QuoteSide.BUYS, "7.1234"),
        ("USD", QuoteSide.SELLS, "7.1434"),
        ("HKD", QuoteSide.BUYS, "0.9131"),
        ("JPY", QuoteSide.SELLS, "0.0479"),
    ],
)
async def test_a_quote_says_who_published_it_when_and_until_when_it_holds(
    fx: FxStage, currency: str, side: QuoteSide, rate: str
) -> None:
    """A5.1b."""
    quote = await fx.desk.fx_quote(currency, side)
    assert (quote.bank_code, quote.currency, quote.side, quote.rate_e8) == (DESK, currency, side, parse_rate(rate))
    assert quote.publisher == "Harbour Bank FX desk"
    assert quote.valid_until - quote.published_at == timedelta(seconds=60)
    assert abs(datetime.now(UTC) - quote.published_at) < timedelta(seconds=30)


async def test_a_stale_and_an_expired_quote_reach_whoever_decides_with_their_instants(fx: FxStage) -> None:
    await fx.order("fx-rates", bank_code=DESK, currency="USD", buys="7.2", published_age_seconds=400, valid_seconds=9)
    stale = await fx.desk.fx_quote("USD", QuoteSide.BUYS)
    assert stale.rate_e8 == 720_000_000
    assert stale.published_at < datetime.now(UTC) - timedelta(seconds=390)
    assert stale.valid_until > stale.published_at + timedelta(seconds=400)
    await fx.order("fx-rates", bank_code=DESK, currency="USD", valid_seconds=0)
    expired = await fx.desk.fx_quote("USD", QuoteSide.BUYS)
    assert expired.valid_until == expired.published_at


async def test_a_closed_desk_quotes_nothing_and_deals_nothing(fx: FxStage) -> None:
    """A5.1a."""
    conversion = await fx.conversion()
    await fx.order("fx-desk", bank_code=DESK, open=False)
    with pytest.raises(QuoteUnavailableError) as closed:
        await fx.desk.fx_quote("USD", QuoteSide.BUYS)
    assert closed.value.reason == "DESK_CLOSED"
    answer = await fx.desk.deal(conversion)
    assert (answer.outcome, answer.reason) == (D, DeclineReason.DESK_CLOSED)
    await fx.order("fx-desk", bank_code=DESK, open=True)
    assert await fx.desk.deal(conversion) == answer
    assert (await fx.desk.deal(conversion.model_copy(update={"request_number": number("FX")}))).outcome is S
    assert await fx.booked(conversion.request_number) == (0, 0)


async def test_a_desk_that_closes_for_a_time_opens_by_itself(fx: FxStage) -> None:
    doors = await fx.order("fx-desk", bank_code=DESK, open=False, seconds=0.3)
    assert (doors[DESK]["desk_open"], doors[DESK]["open"]) == (False, True)

    async def ask() -> str:
        try:
            return (await fx.desk.fx_quote("USD", QuoteSide.BUYS)).quote_id
        except QuoteUnavailableError:
            return ""

    assert await until(ask, bool, 10)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("error_before", "HTTP_500"),
        ("line_broken", "LINE_BROKEN"),
        ("answer_unsigned", "ANSWER_UNSIGNED"),
        ("answer_forged", "ANSWER_UNSIGNED"),
        ("answer_unreadable", "ANSWER_UNREADABLE"),
        ("time_out_after", "TIME_OUT"),
    ],
)
async def test_a_quote_without_a_trustworthy_answer_is_none(fx: FxStage, fault: str, reason: str) -> None:
    await fx.process.order_fault("fx-quotes", fault)
    with pytest.raises(QuoteUnavailableError) as none:
        await fx.impatient.fx_quote("USD", QuoteSide.BUYS)
    assert none.value.reason == reason


async def test_a_desk_quotes_only_what_it_deals(fx: FxStage) -> None:
    for connector, currency in ((fx.desk, "EUR"), (fx.desk, "CNY"), (fx.abroad, "USD")):
        with pytest.raises(QuoteUnavailableError, match="NO_QUOTE"):
            await connector.fx_quote(currency, QuoteSide.BUYS)


@pytest.mark.parametrize(
    ("currency", "foreign_minor", "cny_minor"),
    [("USD", 10_000, 71_234), ("HKD", 12_345, 11_272), ("JPY", 1_001, 4_765), ("USD", 5, 36)],
)
async def test_a_conversion_moves_both_currencies_once_at_the_quoted_rate(
    fx: FxStage, currency: str, foreign_minor: int, cny_minor: int
) -> None:
    conversion = await fx.conversion(foreign_minor, currency)
    before = (await fx.reserve(ABROAD, currency), await fx.reserve(DESK, "CNY"))
    answer = await fx.desk.deal(conversion)
    assert (answer.outcome, answer.cny_minor, answer.foreign_minor) == (S, cny_minor, foreign_minor)
    assert (answer.rate_e8, answer.foreign_currency, answer.excess_minor) == (conversion.rate_e8, currency, 0)
    assert answer.bank_reference is not None
    assert answer.delivered_at == answer.booked_at
    assert await fx.desk.fx_query(conversion.request_number) == answer
    assert await fx.desk.deal(conversion) == answer
    assert await fx.booked(conversion.request_number) == (1, 1)
    after = (await fx.reserve(ABROAD, currency), await fx.reserve(DESK, "CNY"))
    assert after == (before[0] - foreign_minor, before[1] + cny_minor)
    [cny] = await lines_of(fx.desk, conversion.request_number)
    assert (cny.amount_minor, cny.currency, cny.bank_reference) == (cny_minor, "CNY", answer.delivery_reference)
    [foreign] = await lines_of(fx.abroad, conversion.request_number)
    assert (foreign.amount_minor, foreign.currency) == (-foreign_minor, currency)


async def test_currency_that_lies_at_the_desks_own_bank_is_converted_there(fx: FxStage) -> None:
    await fx.fund(300, "USD", DESK)
    quote = await fx.desk.fx_quote("USD", QuoteSide.BUYS)
    conversion = conversion_at(quote, 300, foreign_at=DESK)
    assert (await fx.desk.deal(conversion)).outcome is S
    lines = await lines_of(fx.desk, conversion.request_number)
    assert sorted((line.currency, line.amount_minor) for line in lines) == [("CNY", 2_137), ("USD", -300)]


async def test_one_quote_is_good_for_several_deals_until_it_expires(fx: FxStage) -> None:
    await fx.process.change_settings(fx_quote_valid_seconds=1.0)
    first = await fx.conversion(100)
    await fx.fund(200)
    second, late = (first.model_copy(update={"request_number": number("FX")}) for _ in range(2))
    assert [(await fx.desk.deal(one)).outcome for one in (first, second)] == [S, S]
    await asyncio.sleep(1.05)
    expired = await fx.desk.deal(late)
    assert (expired.outcome, expired.reason) == (D, DeclineReason.QUOTE_EXPIRED)


@pytest.mark.parametrize(
    "change",
    [
        {"quote_id": "HBRBQT0000000000"},
        {"rate_e8": 712_350_000},
        {"foreign_currency": "HKD"},
        {"kind": "reversal", "reverses": "FX00000001"},
    ],
)
async def test_a_deal_at_anything_but_a_quote_of_just_this_is_refused(fx: FxStage, change: dict[str, object]) -> None:
    """A5.1b: the desk deals at what it published, on the side on which it published it."""
    await fx.fund(10_000, "HKD")
    conversion = (await fx.conversion()).model_copy(update=change)
    answer = await fx.desk.deal(conversion)
    assert (answer.outcome, answer.reason) == (D, DeclineReason.QUOTE_EXPIRED)
    assert await fx.booked(conversion.request_number) == (0, 0)


async def test_more_than_lies_there_is_not_converted(fx: FxStage) -> None:
    conversion = (await fx.conversion(100, "JPY")).model_copy(update={"foreign_minor": 10**9, "is_trade": True})
    answer = await fx.desk.deal(conversion)
    assert (answer.outcome, answer.reason) == (D, DeclineReason.INSUFFICIENT_FUNDS)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("FX_POLICY_REFUSED", DeclineReason.FX_REFUSED_BY_POLICY),
        ("FX_QUOTA_EXCEEDED", DeclineReason.FX_QUOTA_EXCEEDED),
        ("RISK_REFUSED", DeclineReason.REJECTED_BY_RISK),
        ("SYSTEM_DECLINED", DeclineReason.OTHER),
    ],
)
async def test_each_reason_against_a_deal_is_told_and_nothing_is_booked(
    fx: FxStage, code: str, reason: DeclineReason
) -> None:
    """A5.2a."""
    conversion = await fx.conversion()
    await fx.fault("decline", conversion.request_number, code=code)
    answer = await fx.desk.deal(conversion)
    assert (answer.outcome, answer.reason, answer.raw_code) == (D, reason, code)
    assert await fx.desk.fx_query(conversion.request_number) == answer
    assert await fx.booked(conversion.request_number) == (0, 0)


@pytest.mark.parametrize(
    "fault", ["time_out_after", "error_after", "line_broken", "answer_unsigned", "answer_unreadable"]
)
async def test_a_deal_without_a_good_answer_is_unknown_and_the_query_finds_it(fx: FxStage, fault: str) -> None:
    conversion = await fx.conversion()
    await fx.fault(fault, conversion.request_number)
    assert (await fx.impatient.deal(conversion)).outcome is U
    assert (await fx_query_until(fx.desk, conversion.request_number, S)).cny_minor == 71_234
    assert (await fx.desk.deal(conversion)).outcome is S
    assert await fx.booked(conversion.request_number) == (1, 1)


@pytest.mark.parametrize("fault", ["time_out_before", "error_before"])
async def test_a_deal_that_never_arrived_is_not_found_and_a_resend_deals_it_once(fx: FxStage, fault: str) -> None:
    conversion = await fx.conversion()
    await fx.fault(fault, conversion.request_number)
    assert (await fx.impatient.deal(conversion)).outcome is U
    assert (await fx.desk.fx_query(conversion.request_number)).outcome is N
    assert (await fx.desk.deal(conversion)).outcome is S
    assert await fx.booked(conversion.request_number) == (1, 1)


async def test_a_declined_deal_whose_answer_is_forged_into_success_is_unknown_then_declined(fx: FxStage) -> None:
    conversion = await fx.conversion()
    await fx.fault("answer_forged", conversion.request_number)
    forged = await fx.desk.deal(conversion)
    assert (forged.outcome, forged.bank_reference) == (U, None)
    assert (await fx.desk.fx_query(conversion.request_number)).outcome is D
    assert await fx.booked(conversion.request_number) == (0, 0)


@pytest.mark.long
async def test_deals_that_take_their_time_end_as_the_desk_decides(fx: FxStage) -> None:
    async def play(fault: str, sender: FxConnector, first: BankOutcome, end: BankOutcome) -> None:
        conversion = await fx.conversion()
        await fx.fault(fault, conversion.request_number)
        assert (await sender.deal(conversion)).outcome is first, fault
        assert (await fx_query_until(fx.desk, conversion.request_number, S, D)).outcome is end, fault
        assert await fx.booked(conversion.request_number) == ((1, 1) if end is S else (0, 0))

    await asyncio.gather(
        play("processing_then_success", fx.desk, P, S),
        play("processing_then_failure", fx.desk, P, D),
        play("late_success", fx.impatient, U, S),
        play("arrives_late", fx.impatient, U, S),
    )


async def test_a_used_number_with_other_content_is_refused_and_the_first_deal_stays(fx: FxStage) -> None:
    conversion = await fx.conversion()
    first = await fx.desk.deal(conversion)
    other = await fx.desk.deal(conversion.model_copy(update={"foreign_minor": 9_999}))
    assert (other.outcome, other.reason) == (D, DeclineReason.REQUEST_NUMBER_REUSED)
    assert await fx.desk.fx_query(conversion.request_number) == first


async def test_one_number_sent_twenty_times_at_once_is_dealt_once(fx: FxStage) -> None:
    conversion = await fx.conversion()
    answers = await asyncio.gather(*(fx.desk.deal(conversion) for _ in range(20)))
    assert {answer.outcome for answer in answers} == {S}
    assert len({answer.bank_reference for answer in answers}) == 1
    assert await fx.booked(conversion.request_number) == (1, 1)


async def test_a_deal_that_is_delivered_later_says_so_first_and_then_with_what(fx: FxStage) -> None:
    await fx.process.change_settings(fx_delivery_seconds=0.6)
    conversion = await fx.conversion()
    before = await fx.reserve(ABROAD, "USD")
    dealt = await fx.desk.deal(conversion)
    assert (dealt.outcome, dealt.delivered_at, dealt.delivery_reference) == (S, None, None)
    assert dealt.bank_reference is not None
    assert await fx.booked(conversion.request_number) == (0, 0)
    assert await fx.reserve(ABROAD, "USD") == before
    delivered = await until(
        lambda: fx.desk.fx_query(conversion.request_number), lambda found: found.delivered_at is not None, 10
    )
    assert delivered.delivery_reference is not None
    assert (delivered.bank_reference, delivered.booked_at) == (dealt.bank_reference, dealt.booked_at)
    assert await fx.booked(conversion.request_number) == (1, 1)
    assert await fx.reserve(ABROAD, "USD") == before - 10_000


async def test_what_is_dealt_and_not_delivered_yet_is_not_dealt_again(fx: FxStage) -> None:
    await fx.process.change_settings(fx_delivery_seconds=600)
    first = await fx.conversion(100)
    holds = await fx.reserve(ABROAD, "USD")
    assert (await fx.desk.deal(first)).outcome is S
    rest = first.model_copy(update={"request_number": number("FX"), "foreign_minor": holds, "is_trade": True})
    assert (await fx.desk.deal(rest)).reason is DeclineReason.INSUFFICIENT_FUNDS


async def test_a_delivery_to_come_survives_a_kill(fx: FxStage) -> None:
    await fx.process.change_settings(fx_delivery_seconds=1)
    conversion = await fx.conversion()
    assert (await fx.desk.deal(conversion)).delivered_at is None
    fx.process.kill()
    fx.process.start()
    await until(lambda: fx.desk.fx_query(conversion.request_number), lambda found: found.delivered_at is not None, 10)
    assert await fx.booked(conversion.request_number) == (1, 1)


async def test_an_individual_settles_fifty_thousand_dollars_a_year_and_no_cent_more(fx: FxStage) -> None:
    """L9, and A5.2d for trade."""
    person = id_number()
    await fx.order("fx-quota", id_number=person, usd_used_minor=4_999_000)
    over = await fx.conversion(1_001, id_number=person)
    refused = await fx.desk.deal(over)
    assert (refused.outcome, refused.reason) == (D, DeclineReason.FX_QUOTA_EXCEEDED)
    assert (await fx.desk.deal(await fx.conversion(1_000, id_number=person))).outcome is S
    assert (await fx.desk.deal(await fx.conversion(1, id_number=person))).outcome is D
    assert (await fx.desk.deal(await fx.conversion(500, id_number=person, is_trade=True))).outcome is S
    firm = await fx.conversion(500, residency="enterprise", name=None, id_number=None)
    assert (await fx.desk.deal(firm)).outcome is S
    assert await fx.booked(over.request_number) == (0, 0)


async def test_a_desk_that_notices_late_deals_and_tells_of_each_excess_afterwards(fx: FxStage) -> None:
    """A5.2c: 60 000 with 10 000 over."""
    person = id_number()
    await fx.order("fx-quota", id_number=person, mode="late")
    conversion = await fx.conversion(6_000_000, id_number=person)
    assert (await fx.desk.deal(conversion)).excess_minor == 0
    where = {"bank_code": DESK, "request_number": conversion.request_number}
    await fx.order("fx-excess", **where, excess_minor=900_000)
    assert (await fx.desk.fx_query(conversion.request_number)).excess_minor == 900_000
    await fx.order("fx-excess", **where, excess_minor=100_000)
    found = await fx.desk.fx_query(conversion.request_number)
    assert (found.outcome, found.excess_minor) == (S, 1_000_000)
    assert await fx.desk.deal(conversion) == found
    quote = await fx.desk.fx_quote("USD", QuoteSide.SELLS)
    reversal = reversal_of(conversion, quote, 1_000_000)
    back = await fx.desk.deal(reversal)
    assert (back.outcome, back.cny_minor) == (S, 7_143_400)
    assert await fx.booked(reversal.request_number) == (1, 1)
    quota = await fx.desk.official_quota("陈小满", person, datetime.now(ZoneInfo("Asia/Shanghai")).year)
    assert quota is not None
    assert (quota.remaining_usd_minor, quota.is_exceeded) == (0, False)


async def test_a_reversal_gives_the_currency_back_and_never_more_than_was_converted(fx: FxStage) -> None:
    conversion = await fx.conversion(1_000)
    await fx.desk.deal(conversion)
    before = (await fx.reserve(ABROAD, "USD"), await fx.reserve(DESK, "CNY"))
    quote = await fx.desk.fx_quote("USD", QuoteSide.SELLS)
    await fx.fund(10_000, "CNY", DESK)
    first = reversal_of(conversion, quote, 600)
    answer = await fx.desk.deal(first)
    assert (answer.outcome, answer.foreign_minor, answer.cny_minor) == (S, 600, 4_286)
    after = (await fx.reserve(ABROAD, "USD"), await fx.reserve(DESK, "CNY"))
    assert after == (before[0] + 600, before[1] + 10_000 - 4_286)
    over = await fx.desk.deal(reversal_of(conversion, quote, 401))
    assert (over.outcome, over.reason) == (D, DeclineReason.REVERSAL_EXCEEDS_DEAL)
    unknown = await fx.desk.deal(reversal_of(conversion, quote, 1, reverses=number("FX")))
    assert (unknown.outcome, unknown.reason) == (D, DeclineReason.FX_DEAL_NOT_FOUND)
    [cny] = await lines_of(fx.desk, first.request_number)
    assert (cny.amount_minor, cny.bank_reference) == (-4_286, answer.delivery_reference)


async def test_the_official_quota_is_told_where_it_is_offered_and_no_error_elsewhere(fx: FxStage) -> None:
    """A5.2a: nobody has a duty to ask."""
    person, year = id_number(), datetime.now(ZoneInfo("Asia/Shanghai")).year
    await fx.order("fx-quota", id_number=person, usd_used_minor=1_234_567)
    found = await fx.desk.official_quota("陈小满", person, year)
    assert found is not None
    assert (found.year, found.remaining_usd_minor, found.is_exceeded) == (year, 3_765_433, False)
    await fx.order("fx-quota", id_number=person, usd_used_minor=5_000_001)
    exceeded = await fx.desk.official_quota("陈小满", person, year)
    assert exceeded is not None
    assert (exceeded.remaining_usd_minor, exceeded.is_exceeded) == (0, True)
    last_year = await fx.desk.official_quota("陈小满", person, year - 1)
    assert last_year is not None
    assert last_year.remaining_usd_minor == 5_000_000
    assert await fx.abroad.official_quota("陈小满", person, year) is None


@pytest.mark.parametrize("fault", ["time_out_after", "error_before", "answer_forged", "answer_unsigned", "line_broken"])
async def test_an_official_quota_without_a_trustworthy_answer_is_none(fx: FxStage, fault: str) -> None:
    await fx.process.order_fault("official-quotas", fault)
    assert await fx.impatient.official_quota("陈小满", id_number(), 2026) is None
