"""Answers about foreign currency that a hostile or broken bank could give: none may book what was not dealt."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banks.agreement_pay import fx_translate, translate
from banks.agreement_pay.errors import DECLINE_REASONS
from domain.banking import BankCapabilities, BankOutcome, DeclineReason
from domain.disclosure import DisclosureRefusedError
from domain.fx_banking import (
    ConversionRequest,
    FxAnswer,
    FxQuote,
    InboundRemittance,
    InboundReturnRequest,
    QuoteSide,
    QuoteUnavailableError,
    ReceivingAccountRequest,
    RemittanceUnavailableError,
    RemittanceUnreadableError,
    check_value_date,
)
from domain.rates import convert, format_rate

CONVERSION = ConversionRequest(
    request_number="FX01K9ZQ5Y8C6W3T2R1P0N9M8L7K",
    kind="conversion",
    quote_id="HBRBQT00000001",
    rate_e8=712_340_000,
    foreign_minor=10_000,
    foreign_currency="USD",
    foreign_at="OSPB",
    purpose_code="421990",
    is_trade=False,
    residency="domestic_individual",
    name="陈小满",
    id_number="11010119900307889X",
)
DEALT: dict[str, Any] = {
    "request_number": CONVERSION.request_number,
    "operation": "fx-deals",
    "status": "SUCCESS",
    "code": "OK",
    "bank_reference": "HBRBFX1",
    "booked_at": "2026-11-30T10:00:00.123+08:00",
    "kind": "conversion",
    "quote_id": "HBRBQT00000001",
    "rate": "7.1234",
    "foreign_minor": 10_000,
    "foreign_currency": "USD",
    "foreign_at": "OSPB",
    "cny_minor": 71_234,
}
DELIVERED = DEALT | {"delivered_at": "2026-12-01T10:00:00.000+08:00", "delivery_reference": "HBRB1"}
RETURN = InboundReturnRequest(
    request_number="RT01K9ZQ5Y8C6W3T2R1P0N9M8L7K", inbound_reference="OSPBIN000001", amount_minor=500, currency="USD"
)
SENT_BACK: dict[str, Any] = {
    "request_number": RETURN.request_number,
    "operation": "inbound-returns",
    "status": "SUCCESS",
    "code": "OK",
    "bank_reference": "OSPB1",
    "booked_at": "2026-11-30T10:00:00.123+08:00",
    "amount_minor": 500,
    "currency": "USD",
    "inbound_reference": "OSPBIN000001",
}


def told(content: dict[str, Any], request: ConversionRequest = CONVERSION, http_status: int = 200) -> FxAnswer:
    return fx_translate.read_fx_answer(http_status, json.dumps(content).encode(), fx_translate.deal(request))


def asked(content: dict[str, Any], http_status: int = 200) -> FxAnswer:
    return fx_translate.read_fx_query_answer(http_status, json.dumps(content).encode(), CONVERSION.request_number)


def test_what_is_whole_is_believed_from_an_answer_and_from_a_query() -> None:
    for read in (told, asked):
        dealt = read(DEALT)
        assert (dealt.outcome, dealt.cny_minor, dealt.delivered_at) == (BankOutcome.SUCCEEDED, 71_234, None)
        assert read(DELIVERED).delivery_reference == "HBRB1"
        assert read(DEALT | {"excess_minor": 10_000}).excess_minor == 10_000
        assert read(DEALT | {"rate": "7.12340000"}).rate_e8 == 712_340_000


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "reversal"},
        {"status": "FAILED", "code": "FX_REFUSED", "operation": "inbound-returns"},
        {"status": "FAILED", "code": "FX_REFUSED", "kind": "reversal"},
        {"status": "PROCESSING", "code": "OK", "operation": "receiving-accounts"},
    ],
)
def test_what_a_query_is_told_of_another_kind_of_step_is_not_about_its_number(change: dict[str, Any]) -> None:
    answer = asked(DEALT | change)
    assert (answer.outcome, answer.raw_code) == (BankOutcome.UNKNOWN, "ANSWER_MISMATCH")


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("bank_reference", "booked_at", "kind", "rate", "cny_minor")),
        *({name: None} for name in ("foreign_minor", "foreign_currency", "operation")),
        {"cny_minor": 71_233},
        {"cny_minor": 71_235},
        {"cny_minor": "71234"},
        {"rate": "7.1235"},
        {"rate": 712_340_000},
        {"rate": 7.1234},
        {"rate": "-7.1234"},
        {"rate": "7,1234"},
        {"foreign_minor": 9_999},
        {"foreign_minor": 0, "cny_minor": 0},
        {"foreign_currency": "HKD"},
        {"foreign_currency": "JPY"},
        {"foreign_currency": "XAU"},
        {"foreign_currency": "CNY", "rate": "1.0000", "cny_minor": 10_000},
        {"booked_at": "2026-11-30T10:00:00"},
        {"delivered_at": "2026-12-01T10:00:00+08:00"},
        {"delivery_reference": "HBRB1"},
        {"delivered_at": "2026-11-29T10:00:00+08:00", "delivery_reference": "HBRB1"},
        {"excess_minor": -1},
        {"excess_minor": 10_001},
        {"kind": "reversal", "excess_minor": 1},
        {"kind": "netting"},
        {"operation": "debits"},
        {"status": "RETURNED"},
        {"status": "EXCESS"},
        {"request_number": "FX01K9ZQ5Y8C6W3T2R1P0N9M8L7X"},
        {"request_number": None},
    ],
)
def test_a_deal_without_every_proof_or_whose_amounts_do_not_agree_is_unknown(change: dict[str, Any]) -> None:
    if change == {"foreign_currency": "HKD"}:
        # By itself it agrees; only the request says that it was about another currency.
        assert told(DEALT | change).raw_code == "ANSWER_MISMATCH"
        return
    for read in (told, asked):
        assert read(DEALT | change).outcome is BankOutcome.UNKNOWN, change


@pytest.mark.parametrize(
    "change",
    [
        {"rate": "7.2", "cny_minor": 72_000},
        {"foreign_minor": 20_000, "cny_minor": 142_468},
        {"foreign_currency": "HKD"},
        {"kind": "reversal"},
        {"quote_id": "HBRBQT00000002"},
        {"foreign_at": "HBRB"},
    ],
)
def test_a_deal_of_something_else_than_was_asked_for_is_unknown(change: dict[str, Any]) -> None:
    assert told(DEALT | change).raw_code == "ANSWER_MISMATCH"


def test_a_reversal_has_to_say_what_it_takes_back() -> None:
    reversal = CONVERSION.model_copy(update={"kind": "reversal", "reverses": "FX00000001"})
    whole = DEALT | {"kind": "reversal", "reverses": "FX00000001"}
    assert told(whole, reversal).outcome is BankOutcome.SUCCEEDED
    for change in ({"reverses": None}, {"reverses": "FX00000002"}, {"kind": "conversion"}):
        assert told(whole | change, reversal).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code"),
    [("FAILED", "NEW_CODE_17"), ("SUCCESS", "PARTLY"), ("SETTLED", "OK"), ("FAILED", "陈小满"), ("FAILED", "OK")],
)
def test_a_word_that_nobody_knows_is_neither_a_yes_nor_a_no(status: str, code: str) -> None:
    for read in (told, asked):
        answer = read(DEALT | {"status": status, "code": code})
        assert answer.outcome is BankOutcome.UNKNOWN
        assert answer.raw_code in (code, "CODE_UNREADABLE")
    back = json.dumps(SENT_BACK | {"status": status, "code": code}).encode()
    assert fx_translate.read_fx_answer(200, back, fx_translate.inbound_return(RETURN)).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("http_status", "code", "outcome"),
    [
        (400, "REQUEST_INVALID", BankOutcome.DECLINED),
        (409, "REQUEST_NUMBER_REUSED", BankOutcome.DECLINED),
        (401, "NONCE_REPLAYED", BankOutcome.UNKNOWN),
        (404, "REQUEST_NOT_FOUND", BankOutcome.UNKNOWN),
        (403, "QUOTE_EXPIRED", BankOutcome.UNKNOWN),
    ],
)
def test_only_a_definite_refusal_of_a_deal_is_a_no(http_status: int, code: str, outcome: BankOutcome) -> None:
    assert told({"status": "REFUSED", "code": code}, http_status=http_status).outcome is outcome


def test_only_the_banks_word_for_this_very_number_says_that_it_is_not_known() -> None:
    refused = {"status": "REFUSED", "code": "REQUEST_NOT_FOUND", "request_number": CONVERSION.request_number}
    assert asked(refused, 404).outcome is BankOutcome.NOT_FOUND
    assert asked(refused | {"request_number": "FX000000"}, 404).outcome is BankOutcome.UNKNOWN
    assert asked(refused | {"code": "REMITTANCE_NOT_FOUND"}, 404).outcome is BankOutcome.UNKNOWN
    assert asked(refused, 200).outcome is BankOutcome.UNKNOWN
    payment = {"request_number": CONVERSION.request_number, "operation": "debits", "status": "FAILED", "code": "X"}
    assert asked(payment).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 499},
        {"currency": "HKD"},
        {"inbound_reference": "OSPBIN000002"},
        {"bank_reference": None},
        {"booked_at": None},
        {"amount_minor": None},
        {"operation": "fx-deals"},
    ],
)
def test_a_return_of_another_amount_or_without_its_proof_is_unknown(change: dict[str, Any]) -> None:
    instruction = fx_translate.inbound_return(RETURN)
    whole = fx_translate.read_fx_answer(200, json.dumps(SENT_BACK).encode(), instruction)
    assert (whole.outcome, whole.amount_minor) == (BankOutcome.SUCCEEDED, 500)
    answer = fx_translate.read_fx_answer(200, json.dumps(SENT_BACK | change).encode(), instruction)
    assert answer.outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    "change", [{"account_number": None}, {"account_number": ""}, {"account_number": "9" * 35}, {"currency": "HKD"}]
)
def test_an_account_without_its_number_or_in_another_currency_is_unknown(change: dict[str, Any]) -> None:
    request = ReceivingAccountRequest(request_number="RA00000001", currency="USD", holder_name="陈小满")
    content = {
        "request_number": "RA00000001",
        "operation": "receiving-accounts",
        "status": "SUCCESS",
        "code": "OK",
        "account_number": "OSPB000000000001",
        "currency": "USD",
    }
    instruction = fx_translate.receiving_account(request)
    assert fx_translate.read_fx_answer(200, json.dumps(content).encode(), instruction).account_number
    answer = fx_translate.read_fx_answer(200, json.dumps(content | change).encode(), instruction)
    assert answer.outcome is BankOutcome.UNKNOWN


def test_exactly_the_individuals_name_and_id_number_go_to_a_desk_and_nothing_of_an_enterprise() -> None:
    """A4.3, P2.1.3."""
    body = fx_translate.deal(CONVERSION).body
    assert (body["name"], body["id_number"], body["rate"]) == ("陈小满", "11010119900307889X", "7.1234")
    firm = CONVERSION.model_copy(update={"residency": "enterprise", "name": None, "id_number": None})
    assert not {"name", "id_number"} & set(fx_translate.deal(firm).body)
    for change in ({"name": None}, {"id_number": None}, {"name": None, "id_number": None}, {"residency": "enterprise"}):
        with pytest.raises(DisclosureRefusedError):
            fx_translate.deal(CONVERSION.model_copy(update=change))
    assert "陈" not in repr(fx_translate.deal(CONVERSION))


NOW = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)
QUOTE: dict[str, Any] = {
    "status": "SUCCESS",
    "code": "OK",
    "currency": "USD",
    "side": "buys",
    "quote_id": "HBRBQT00000001",
    "rate": "7.1234",
    "publisher": "Harbour Bank FX desk",
    "published_at": "2026-11-30T09:59:00+08:00",
    "valid_until": "2026-11-30T10:01:00+08:00",
}


def quoted(content: dict[str, Any], http_status: int = 200) -> FxQuote:
    capabilities = BankCapabilities(
        bank_code="HBRB",
        remembers_request_numbers_seconds=100,
        request_validity_seconds=60,
        timeout_seconds=1,
        requests_per_second=1,
    )
    ask = fx_translate.AskedQuote(capabilities, "USD", QuoteSide.BUYS, NOW)
    return fx_translate.read_quote(http_status, json.dumps(content).encode(), ask)


def test_a_whole_quote_is_believed_also_if_its_clock_is_a_little_ahead() -> None:
    assert quoted(QUOTE).rate_e8 == 712_340_000
    assert quoted(QUOTE | {"published_at": "2026-11-30T10:00:59+08:00"}).bank_code == "HBRB"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"currency": "HKD"}, "ANSWER_MISMATCH"),
        ({"side": "sells"}, "ANSWER_MISMATCH"),
        ({"side": None}, "ANSWER_MISMATCH"),
        ({"code": "INDICATIVE"}, "ANSWER_MISMATCH"),
        ({"status": "PROCESSING"}, "ANSWER_MISMATCH"),
        ({"quote_id": None}, "ANSWER_MISMATCH"),
        ({"quote_id": "short"}, "ANSWER_MISMATCH"),
        ({"rate": None}, "ANSWER_MISMATCH"),
        ({"publisher": ""}, "ANSWER_MISMATCH"),
        ({"published_at": None}, "ANSWER_MISMATCH"),
        ({"valid_until": None}, "ANSWER_MISMATCH"),
        ({"published_at": "2026-11-30T10:01:01+08:00", "valid_until": "2026-11-30T10:09:00+08:00"}, "ANSWER_MISMATCH"),
        ({"valid_until": "2026-11-30T09:58:59+08:00"}, "ANSWER_MISMATCH"),
        ({"rate": 7.1234}, "ANSWER_UNREADABLE"),
        ({"rate": "0"}, "ANSWER_UNREADABLE"),
        ({"published_at": "2026-11-30T09:59:00"}, "ANSWER_UNREADABLE"),
        ({"status": "FAILED", "code": "DESK_CLOSED"}, "DESK_CLOSED"),
        ({"status": "FAILED", "code": "CURRENCY_NOT_SUPPORTED"}, "NO_QUOTE"),
    ],
)
def test_a_quote_of_something_else_or_out_of_time_is_none(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(QuoteUnavailableError) as none:
        quoted(QUOTE | change)
    assert none.value.reason == reason


REMITTANCE: dict[str, Any] = {
    "status": "SUCCESS",
    "code": "OK",
    "reference": "OSPBIN000001",
    "amount_minor": 500,
    "currency": "USD",
    "value_date": "2026-11-30",
    "booked_at": "2026-11-30T10:00:00+08:00",
    "purpose_code": "421990",
    "remitter_country": "HK",
    "account_number": "OSPB000000000001",
    "receiver_name": "Chen Xiaoman",
    "remitter_name": "Harbour Trading Ltd",
}


def arrived(content: dict[str, Any], http_status: int = 200) -> InboundRemittance:
    return fx_translate.read_remittance(http_status, json.dumps(content).encode(), "OSPBIN000001")


@pytest.mark.parametrize(
    ("change", "http_status", "is_unknown"),
    [
        *(({name: None}, 200, False) for name in REMITTANCE if name not in ("status", "code")),
        ({"reference": "OSPBIN000002"}, 200, False),
        ({"amount_minor": 0}, 200, False),
        ({"amount_minor": "500"}, 200, False),
        ({"currency": "CNY"}, 200, False),
        ({"currency": "XAU"}, 200, False),
        ({"purpose_code": "trade"}, 200, False),
        ({"remitter_country": "hk"}, 200, False),
        ({"booked_at": "2026-11-30T10:00:00"}, 200, False),
        ({"status": "PROCESSING"}, 200, False),
        ({"status": "REFUSED", "code": "REMITTANCE_NOT_FOUND"}, 404, True),
        ({"status": "REFUSED", "code": "REMITTANCE_NOT_FOUND"}, 200, False),
        ({"status": "REFUSED", "code": "REMITTANCE_NOT_FOUND", "reference": "OSPBIN000002"}, 404, False),
        ({"status": "REFUSED", "code": "SIGNATURE_REFUSED", "reference": None}, 401, False),
    ],
)
def test_a_remittance_that_is_not_whole_is_none(change: dict[str, Any], http_status: int, is_unknown: bool) -> None:
    assert arrived(REMITTANCE).amount_minor == 500
    with pytest.raises(RemittanceUnavailableError) as none:
        arrived(REMITTANCE | change, http_status)
    assert none.value.is_unknown is is_unknown


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        *(({name: None}, (name,)) for name in REMITTANCE if name not in ("status", "code")),
        ({"reference": "OSPBIN000002"}, ("reference",)),
        ({"currency": "CNY"}, ("currency",)),
        ({"currency": "XAU"}, ("currency",)),
        ({"amount_minor": "500"}, ("amount_minor",)),
        ({"purpose_code": "42199", "value_date": "soon"}, ("value_date",)),
        ({"purpose_code": "42199", "remitter_name": "H" * 141}, ("purpose_code", "remitter_name")),
    ],
)
def test_what_a_bank_says_of_a_remittance_and_cannot_be_booked_is_unreadable_and_names_what_is_wrong(
    change: dict[str, Any], fields: tuple[str, ...]
) -> None:
    with pytest.raises(RemittanceUnreadableError) as wrong:
        arrived(REMITTANCE | change)
    assert wrong.value.fields == fields


@pytest.mark.parametrize(
    ("change", "http_status"),
    [
        ({"status": "PROCESSING"}, 200),
        ({"status": "FAILED", "code": "BUSY"}, 200),
        ({"status": "REFUSED", "code": "REMITTANCE_NOT_FOUND"}, 404),
        ({"status": "REFUSED", "code": "REMITTANCE_NOT_FOUND", "reference": "OSPBIN000002"}, 404),
        ({"status": "REFUSED", "code": "SIGNATURE_REFUSED", "reference": None}, 401),
        ({"status": None}, 429),
    ],
)
def test_a_bank_that_does_not_describe_a_remittance_has_not_said_anything_unreadable(
    change: dict[str, Any], http_status: int
) -> None:
    with pytest.raises(RemittanceUnavailableError) as none:
        arrived(REMITTANCE | change, http_status)
    assert not isinstance(none.value, RemittanceUnreadableError)


@pytest.mark.parametrize(
    ("believed", "absurd_one"),
    [("2027-01-29", "2027-01-30"), ("2025-10-26", "2025-10-25"), ("2026-11-30", "9999-12-31")],
)
def test_a_value_date_far_from_the_day_on_which_a_remittance_is_received_is_absurd(
    believed: str, absurd_one: str
) -> None:
    check_value_date(arrived(REMITTANCE | {"value_date": believed}), date(2026, 11, 30))
    with pytest.raises(RemittanceUnreadableError) as absurd:
        check_value_date(arrived(REMITTANCE | {"value_date": absurd_one}), date(2026, 11, 30))
    assert (absurd.value.reason, absurd.value.fields) == ("VALUE_DATE_ABSURD", ("value_date",))


@pytest.mark.parametrize(
    ("change", "reference", "is_excess"),
    [
        ({"operation": "inbound-remittances", "request_number": "OSPBIN000001"}, "OSPBIN000001", False),
        ({"operation": "fx-deals", "status": "EXCESS"}, None, True),
        ({"operation": "payouts", "status": "EXCESS"}, None, False),
        ({"operation": None, "status": "SUCCESS"}, None, False),
    ],
)
def test_a_notice_says_whether_it_is_of_a_remittance_or_of_an_excess(
    change: dict[str, Any], reference: str | None, is_excess: bool
) -> None:
    content = {"notice_id": "NT00000001", "bank_code": "HBRB", "request_number": "FX00000001", "status": "SUCCESS"}
    notice = translate.read_notice(json.dumps(content | change).encode(), "HBRB")
    assert notice is not None
    assert (notice.inbound_reference, notice.is_excess) == (reference, is_excess)
    announced = None if change["operation"] == "payouts" else BankOutcome.SUCCEEDED
    assert notice.announces is announced


def test_a_notice_of_a_remittance_under_what_is_no_reference_is_unreadable() -> None:
    content = {"notice_id": "NT00000001", "bank_code": "HBRB", "request_number": "ospbin000001"}
    body = json.dumps(content | {"operation": "inbound-remittances", "status": "SUCCESS"}).encode()
    assert translate.read_notice(body, "HBRB") is None


ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "request_number": st.sampled_from([CONVERSION.request_number, "FX01K9ZQ5Y8C6W3T2R1P0N9M8L7X", None]),
        "operation": st.sampled_from(["fx-deals", "debits", "inbound-returns", None]),
        "status": st.sampled_from(["SUCCESS", "FAILED", "PROCESSING", "RETURNED", "EXCESS", "REFUSED", None]),
        "code": st.sampled_from(["OK", "QUOTE_EXPIRED", "DESK_CLOSED", "IN_PROCESS", "NEW_CODE", "", "陈"]),
        "bank_reference": st.sampled_from(["HBRBFX1", None, 7]),
        "booked_at": st.sampled_from([DEALT["booked_at"], "today", None]),
        "kind": st.sampled_from(["conversion", "reversal", None]),
        "rate": st.sampled_from(["7.1234", "7.12", 7.1234, None]),
        "foreign_minor": st.sampled_from([10_000, 9_999, 0, -1, "10000", None]),
        "foreign_currency": st.sampled_from(["USD", "HKD", "JPY", "CNY", None]),
        "cny_minor": st.sampled_from([71_234, 71_200, 7_123_400, None]),
        "delivered_at": st.sampled_from([DELIVERED["delivered_at"], DEALT["booked_at"], "2020-01-01T00:00:00Z", None]),
        "delivery_reference": st.sampled_from(["HBRB1", "", None]),
        "excess_minor": st.sampled_from([0, 1, 10_001, None]),
    },
)


@given(ANSWERS, st.booleans())
def test_only_a_whole_answer_about_this_deal_says_that_money_moved_or_did_not(
    change: dict[str, Any], is_delivered: bool
) -> None:
    content = (DELIVERED if is_delivered else DEALT) | change
    answer = told(content)
    if answer.outcome is BankOutcome.SUCCEEDED:
        proof = set(DEALT) - {"booked_at"}
        assert {name: content[name] for name in proof} == {name: DEALT[name] for name in proof}
        assert (answer.delivered_at is None) == (answer.delivery_reference is None)
    elif answer.outcome is BankOutcome.DECLINED:
        assert (content["status"], content["operation"]) == ("FAILED", "fx-deals")
        assert content["request_number"] == CONVERSION.request_number
        assert answer.reason is DECLINE_REASONS[content["code"]]
        assert answer.reason is not DeclineReason.OTHER
    by_query = asked(content)
    if by_query.outcome is BankOutcome.SUCCEEDED:
        assert content["request_number"] == CONVERSION.request_number
        assert (
            by_query.cny_minor
            == convert(content["foreign_minor"], content["foreign_currency"], by_query.rate_e8 or 0, "half_up").minor
        )
        assert format_rate(by_query.rate_e8 or 0).startswith(content["rate"])
