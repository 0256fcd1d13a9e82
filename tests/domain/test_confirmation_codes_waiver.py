"""What a payer confirms, what a bank's verdict on a code means, and when no code is needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.banking import BankAnswer, BankOutcome, DeclineReason
from domain.codes import verdict_of
from domain.confirmation import ConfirmedContent
from domain.waiver import liability_standard, waiver_cap_minor

CONTENT = ConfirmedContent(
    merchant_id="mch_1", user_id="usr_1", binding_id="bnd_1", order_number="A-1", amount_minor=10_000, currency="CNY",
    payee_kind="merchant", payee_name="示例商户", fee_minor=60, fee_rule="2026.1/quick_pay",
)  # fmt: skip
TEXTS = st.text(max_size=12)
CONTENTS = st.builds(
    ConfirmedContent, merchant_id=TEXTS, user_id=TEXTS, binding_id=TEXTS, order_number=TEXTS,
    amount_minor=st.integers(1, 10**6), currency=st.sampled_from(["CNY", "HKD"]),
    payee_kind=st.sampled_from(["merchant", "user"]), payee_name=TEXTS, fee_minor=st.integers(0, 100), fee_rule=TEXTS,
)  # fmt: skip
AMOUNTS = st.integers(1, 10**9)


@pytest.mark.parametrize(
    "change",
    [
        {"merchant_id": "mch_2"}, {"user_id": "usr_2"}, {"binding_id": "bnd_2"}, {"order_number": "A-2"},
        {"amount_minor": 10_001}, {"currency": "HKD"}, {"payee_kind": "user"}, {"payee_name": "示例商户 "},
        {"fee_minor": 61}, {"fee_rule": "2026.2/quick_pay"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_changes_after_the_payer_confirmed_changes_the_hash(change: dict[str, Any]) -> None:
    assert CONTENT.model_copy(update=change).confirmation_hash() != CONTENT.confirmation_hash()


def test_every_field_that_a_payer_was_shown_is_covered() -> None:
    assert set(ConfirmedContent.model_fields) == {
        "merchant_id", "user_id", "binding_id", "order_number", "amount_minor", "currency", "payee_kind", "payee_name",
        "fee_minor", "fee_rule",
    }  # fmt: skip


@given(CONTENTS, CONTENTS)
def test_two_contents_have_one_hash_only_if_they_are_the_same(one: ConfirmedContent, other: ConfirmedContent) -> None:
    assert (one.confirmation_hash() == other.confirmation_hash()) == (one == other)


@given(TEXTS, TEXTS)
def test_text_cannot_move_from_one_field_into_the_next(one: str, other: str) -> None:
    split = CONTENT.model_copy(update={"order_number": one, "payee_name": other})
    joined = CONTENT.model_copy(update={"order_number": one + other, "payee_name": ""})
    assert (split.confirmation_hash() == joined.confirmation_hash()) == (other == "")


def test_the_hash_is_the_one_that_printf_and_sha256sum_give_for_the_canonical_json() -> None:
    assert CONTENT.confirmation_hash() == "d442ce14cf3f3686d7989d63b0f4bfac0120c767559c267f98d288c4badd28c9"


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (DeclineReason.CODE_WRONG, "wrong"),
        (DeclineReason.CODE_EXPIRED, "expired"),
        (DeclineReason.CODE_ATTEMPTS_EXHAUSTED, "exhausted"),
        (DeclineReason.CARD_LOST_OR_FROZEN, "declined"),
        (DeclineReason.OTHER, "declined"),
        (None, "declined"),
    ],
)
def test_a_banks_no_to_a_code_says_whether_another_may_be_tried(reason: DeclineReason | None, verdict: str) -> None:
    assert verdict_of(BankAnswer(outcome=BankOutcome.DECLINED, reason=reason)) == verdict


def test_only_a_success_confirms_and_silence_is_no_verdict() -> None:
    verdicts = {outcome: verdict_of(BankAnswer(outcome=outcome)) for outcome in BankOutcome}
    assert verdicts == {
        BankOutcome.SUCCEEDED: "confirmed", BankOutcome.DECLINED: "declined", BankOutcome.PROCESSING: None,
        BankOutcome.UNKNOWN: None, BankOutcome.NOT_FOUND: None, BankOutcome.RETURNED: None,
    }  # fmt: skip


@given(AMOUNTS, AMOUNTS)
def test_the_cap_beside_the_merchants_limit_is_the_lower_of_issuer_and_law(issuer: int, law: int) -> None:
    assert waiver_cap_minor(issuer, law) == min(issuer, law)


def test_the_institution_answers_for_less_where_no_code_was_asked_for() -> None:
    assert liability_standard("waived") == "gross_negligence"
    assert liability_standard("code") == "negligence"
