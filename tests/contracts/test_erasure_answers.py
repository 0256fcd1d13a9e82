"""Replies to a notice of erasure that a hostile or broken bank could give: none may pass for "erased" (P4.2b)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banks.agreement_pay import erasure_translate
from domain.banking import DeclineReason, ErasureNotice, ErasureOutcome, ErasureReply, KeptReason
from domain.closing import ClosureScope
from domain.disclosure import PartnerOperation, PartnerRole, allowed_fields, check_disclosure
from domain.personal_data import PersonalField

NOTICE = ErasureNotice(
    request_number="EN01K9ZQ5Y8C6W3T2R1P0N9M8L7K",
    disclosed_under=("SG01K9ZQ5Y8C6W3T2R1P0N9M8L7K", "PO01K9ZQ5Y8C6W3T2R1P0N9M8L7K"),
    scope=ClosureScope.ACCOUNT,
)
ERASED: dict[str, Any] = {
    "request_number": NOTICE.request_number,
    "operation": "erasure-notices",
    "status": "SUCCESS",
    "code": "OK",
    "erasure": "erased",
}
KEPT = ERASED | {"erasure": "kept", "kept_reason": "law", "kept_count": 2}
RECEIVED = ERASED | {"status": "PROCESSING", "code": "IN_PROCESS", "erasure": None}


def told(content: dict[str, Any] | bytes, http_status: int = 200) -> ErasureReply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return erasure_translate.read_reply(http_status, body, NOTICE)


def asked(content: dict[str, Any] | bytes, http_status: int = 200) -> ErasureReply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return erasure_translate.read_query_reply(http_status, body, NOTICE.request_number)


def test_what_is_whole_is_believed_from_a_reply_and_from_a_query() -> None:
    for read in (told, asked):
        assert read(ERASED).outcome is ErasureOutcome.ERASED
        assert read(RECEIVED).outcome is ErasureOutcome.RECEIVED
        kept = read(KEPT)
        assert (kept.outcome, kept.kept_reason, kept.kept_count) == (ErasureOutcome.KEPT, KeptReason.LAW, 2)
        assert read(KEPT | {"kept_reason": "own_authorisation"}).kept_reason is KeptReason.OWN_AUTHORISATION
        declined = read(ERASED | {"status": "FAILED", "code": "SYSTEM_DECLINED", "erasure": None})
        assert (declined.outcome, declined.reason) == (ErasureOutcome.DECLINED, DeclineReason.OTHER)


@pytest.mark.parametrize(
    "change",
    [
        {"request_number": "EN01K9ZQ5Y8C6W3T2R1P0N9M8L7X"},
        {"request_number": None},
        {"operation": "payouts"},
        {"operation": None},
        {"erasure": None},
        {"erasure": "mostly"},
        {"kept_reason": "law"},
        {"kept_count": 1},
        {"code": "PARTLY"},
        {"status": "DONE"},
        {"status": "RETURNED"},
        {"status": "FAILED", "code": "A_NEW_WORD"},
        {"erasure": "kept"},
        {"erasure": "kept", "kept_reason": "law"},
        {"erasure": "kept", "kept_count": 1},
        {"erasure": "kept", "kept_reason": "habit", "kept_count": 1},
        {"erasure": "kept", "kept_reason": "law", "kept_count": 0},
        {"erasure": "kept", "kept_reason": "law", "kept_count": "1"},
        {"erasure": "kept", "kept_reason": "law", "kept_count": 1001},
    ],
)
def test_a_reply_that_contradicts_itself_or_is_about_something_else_is_unknown(change: dict[str, Any]) -> None:
    for read in (told, asked):
        assert read(ERASED | change).outcome is ErasureOutcome.UNKNOWN


def test_more_kept_than_was_named_is_not_believed() -> None:
    assert told(KEPT | {"kept_count": 3}).outcome is ErasureOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "REQUEST_INVALID", ErasureOutcome.DECLINED),
        (409, "REQUEST_NUMBER_REUSED", ErasureOutcome.DECLINED),
        (413, "REQUEST_TOO_LARGE", ErasureOutcome.DECLINED),
        (401, "NONCE_REPLAYED", ErasureOutcome.UNKNOWN),
        (404, "BANK_NOT_FOUND", ErasureOutcome.UNKNOWN),
        (404, "REQUEST_NOT_FOUND", ErasureOutcome.UNKNOWN),
        (400, "OK", ErasureOutcome.UNKNOWN),
    ],
)
def test_only_a_definite_refusal_of_a_notice_is_a_no(status: int, code: str, outcome: ErasureOutcome) -> None:
    assert told({"status": "REFUSED", "code": code}, status).outcome is outcome
    assert told(ERASED | {"code": code}, status).outcome is ErasureOutcome.UNKNOWN


def test_only_the_banks_own_word_about_this_number_is_not_found() -> None:
    absent = {"status": "REFUSED", "code": "REQUEST_NOT_FOUND", "request_number": NOTICE.request_number}
    assert asked(absent, 404).outcome is ErasureOutcome.NOT_FOUND
    for wrong in (
        asked(absent | {"request_number": "EN01K9ZQ5Y8C6W3T2R1P0N9M8L7X"}, 404),
        asked(absent | {"code": "BANK_NOT_FOUND"}, 404),
        asked(absent | {"status": "SUCCESS"}, 404),
        asked(absent, 200),
        asked(absent, 401),
    ):
        assert wrong.outcome is ErasureOutcome.UNKNOWN


@given(st.binary(max_size=200), st.sampled_from([200, 400, 401, 404, 409, 413]))
def test_no_bytes_raise_or_pass_for_a_reply(body: bytes, status: int) -> None:
    for read in (told, asked):
        assert read(body, status).outcome is ErasureOutcome.UNKNOWN


def test_free_text_of_a_bank_never_reaches_the_raw_code() -> None:
    assert told(ERASED | {"code": "陈小满 has left", "status": "FAILED"}).raw_code == "CODE_UNREADABLE"


def test_a_notice_carries_no_personal_field_to_anybody_and_no_other_operation_hides_in_it() -> None:
    """P2.1.3, P4.2b"""
    for role in PartnerRole:
        check_disclosure(role, PartnerOperation.ERASURE_NOTICE, ())
        assert allowed_fields(role, PartnerOperation.ERASURE_NOTICE) == frozenset()
    assert set(erasure_translate.body_of(NOTICE)) & {field.value for field in PersonalField} == set()


def test_the_same_requests_in_another_order_are_the_same_notice() -> None:
    turned = NOTICE.model_copy(update={"disclosed_under": NOTICE.disclosed_under[::-1]})
    assert erasure_translate.body_of(turned) == erasure_translate.body_of(NOTICE)
