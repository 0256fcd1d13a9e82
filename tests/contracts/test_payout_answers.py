"""Answers to a payout that a hostile or broken bank could give: none may free money that left, or book what did not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banks.agreement_pay import translate
from banks.agreement_pay.errors import DECLINE_REASONS
from domain.banking import BankAnswer, BankOutcome, DeclineReason, PayoutRequest

PAYOUT = PayoutRequest(
    request_number="PO01K9ZQ5Y8C6W3T2R1P0N9M8L7K",
    amount_minor=100,
    currency="CNY",
    region="CN",
    payee_name="陈小满",
    account_number="0000000000018800000",
    bank_id_kind="cnaps",
    bank_id="102100099996",
)
SUCCESS = {
    "request_number": PAYOUT.request_number,
    "operation": "payouts",
    "status": "SUCCESS",
    "code": "OK",
    "bank_reference": "HBRB1",
    "booked_at": "2026-11-22T16:20:00.123+08:00",
    "amount_minor": 100,
    "currency": "CNY",
}
RETURNED = SUCCESS | {
    "status": "RETURNED",
    "code": "ACCOUNT_CLOSED",
    "return_reference": "HBRB2",
    "returned_at": "2026-11-27T09:00:00.000+08:00",
    "returned_minor": 100,
}


def told(content: dict[str, Any]) -> BankAnswer:
    return translate.read_answer(200, json.dumps(content).encode(), translate.payout(PAYOUT))


def asked(content: dict[str, Any]) -> BankAnswer:
    return translate.read_query_answer(200, json.dumps(content).encode(), PAYOUT.request_number)


def test_what_is_whole_is_believed_from_an_answer_and_from_a_query() -> None:
    for read in (told, asked):
        assert read(SUCCESS).outcome is BankOutcome.SUCCEEDED
        back = read(RETURNED)
        assert (back.outcome, back.return_reference, back.reason) == (
            BankOutcome.RETURNED,
            "HBRB2",
            DeclineReason.ACCOUNT_CLOSED,
        )


@pytest.mark.parametrize(
    "change",
    [
        {"bank_reference": None},
        {"booked_at": None},
        {"amount_minor": None},
        {"currency": None},
        {"return_reference": None},
        {"returned_at": None},
        {"returned_at": "2026-11-27T09:00:00"},
        {"returned_minor": None},
        {"returned_minor": 99},
        {"returned_minor": 101},
        {"operation": "debits"},
        {"operation": None},
    ],
)
def test_a_return_without_every_proof_or_not_whole_is_unknown(change: dict[str, Any]) -> None:
    assert told(RETURNED | change).outcome is BankOutcome.UNKNOWN
    assert asked(RETURNED | change).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize("change", [{"amount_minor": 99}, {"currency": "HKD"}, {"amount_minor": True}])
def test_another_amount_or_currency_is_neither_a_success_nor_a_return(change: dict[str, Any]) -> None:
    assert told(SUCCESS | change).outcome is BankOutcome.UNKNOWN
    assert told(RETURNED | {"returned_minor": change.get("amount_minor", 100)} | change).outcome is BankOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code"),
    [("FAILED", "NEW_CODE_17"), ("SUCCESS", "PARTLY"), ("SETTLED", "OK"), ("FAILED", "陈小满"), ("FAILED", "OK")],
)
def test_a_word_that_nobody_knows_is_neither_a_yes_nor_a_no(status: str, code: str) -> None:
    for read in (told, asked):
        answer = read(SUCCESS | {"status": status, "code": code})
        assert answer.outcome is BankOutcome.UNKNOWN
        assert answer.raw_code in (code, "CODE_UNREADABLE")


@pytest.mark.parametrize("operation", ["novelties", None])
def test_a_query_about_something_else_says_nothing_not_even_no(operation: str | None) -> None:
    failed = {**SUCCESS, "status": "FAILED", "code": "ACCOUNT_CLOSED", "operation": operation}
    assert asked(failed).outcome is BankOutcome.UNKNOWN


WORDS = st.sampled_from(["OK", "ACCOUNT_CLOSED", "BANK_CLOSED", "IN_PROCESS", "NEW_CODE", "", "ok", "陈"])
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "request_number": st.sampled_from([PAYOUT.request_number, "PO01K9ZQ5Y8C6W3T2R1P0N9M8L7X", None]),
        "operation": st.sampled_from(["payouts", "debits", None]),
        "status": st.sampled_from(["SUCCESS", "FAILED", "PROCESSING", "RETURNED", "REFUSED", "DONE", None]),
        "code": WORDS,
        "bank_reference": st.sampled_from(["HBRB1", None, 7]),
        "booked_at": st.sampled_from([SUCCESS["booked_at"], "today", None]),
        "amount_minor": st.sampled_from([100, 99, 0, -100, "100", 100.0, None]),
        "currency": st.sampled_from(["CNY", "HKD", None]),
        "return_reference": st.sampled_from(["HBRB2", None]),
        "returned_at": st.sampled_from([RETURNED["returned_at"], None]),
        "returned_minor": st.sampled_from([100, 1, None]),
    },
)


@given(ANSWERS, st.booleans())
def test_only_a_whole_answer_about_this_payout_says_that_money_moved_or_did_not(
    change: dict[str, Any], is_returned: bool
) -> None:
    content = (RETURNED if is_returned else SUCCESS) | change
    answer = told(content)
    genuine = (content["request_number"], content["operation"]) == (PAYOUT.request_number, "payouts")
    whole = genuine and all(
        content[name] == SUCCESS[name] for name in ("bank_reference", "booked_at", "amount_minor", "currency")
    )
    if answer.outcome is BankOutcome.SUCCEEDED:
        assert whole
        assert (content["status"], content["code"]) == ("SUCCESS", "OK")
    elif answer.outcome is BankOutcome.RETURNED:
        assert whole
        assert content["status"] == "RETURNED"
        assert (answer.return_reference, content["returned_minor"]) == ("HBRB2", 100)
    elif answer.outcome is BankOutcome.DECLINED:
        assert genuine
        assert content["status"] == "FAILED"
        assert content["code"] in DECLINE_REASONS
