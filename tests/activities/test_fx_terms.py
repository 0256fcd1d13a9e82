"""A desk's yes is believed if it is about what was sent to it, to the fen and about when it was sent (A5.1b)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.fx_terms import difference, is_deal, terms_of
from domain.banking import BankOutcome
from domain.fx import ClaimedFxEffect
from domain.fx_banking import FxAnswer

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SENT = terms_of(
    ClaimedFxEffect(
        already=False, bank_code="HBRB", claimed_at=NOW, state="sending", kind="conversion", amount_minor=100_000,
        currency="USD", quote_id="QHBRB000000", rate_e8=712_340_000,
    )
)  # fmt: skip
DEALT = FxAnswer(
    outcome=BankOutcome.SUCCEEDED, bank_reference="REF1", booked_at=NOW, kind="conversion", rate_e8=712_340_000,
    foreign_minor=100_000, foreign_currency="USD", cny_minor=712_340,
)  # fmt: skip
LATER = NOW + timedelta(days=3)


def test_what_was_sent_is_believed_whenever_it_is_asked_about_and_with_or_without_its_kind() -> None:
    assert difference(DEALT, SENT, NOW) is None
    assert difference(DEALT, SENT, LATER) is None
    assert difference(DEALT.model_copy(update={"kind": None}), SENT, LATER) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"foreign_minor": 99_999}, "BANK_AMOUNT_DIFFERS"),
        ({"foreign_minor": None}, "BANK_AMOUNT_DIFFERS"),
        ({"foreign_currency": "HKD"}, "BANK_AMOUNT_DIFFERS"),
        ({"cny_minor": 712_341}, "BANK_AMOUNT_DIFFERS"),
        ({"cny_minor": None}, "BANK_AMOUNT_DIFFERS"),
        ({"rate_e8": 712_340_001}, "BANK_TERMS_DIFFER"),
        ({"kind": "reversal"}, "BANK_TERMS_DIFFER"),
        ({"booked_at": None}, "BANK_TERMS_DIFFER"),
        ({"booked_at": NOW - timedelta(hours=1, seconds=1)}, "BANK_TERMS_DIFFER"),
        ({"booked_at": LATER + timedelta(hours=1, seconds=1)}, "BANK_TERMS_DIFFER"),
    ],
)
def test_what_is_about_something_else_is_not(changes: dict[str, Any], word: str) -> None:
    assert difference(DEALT.model_copy(update=changes), SENT, LATER) == word


@pytest.mark.parametrize("outcome", [BankOutcome.DECLINED, BankOutcome.PROCESSING, BankOutcome.NOT_FOUND])
def test_any_other_answer_has_no_terms(outcome: BankOutcome) -> None:
    assert difference(FxAnswer(outcome=outcome), SENT, NOW) is None


def test_a_deal_is_known_by_its_number() -> None:
    assert [is_deal(number) for number in ("FX01", "FR01", "IR01", "RA01", "PO01")] == [True, True, False, False, False]
