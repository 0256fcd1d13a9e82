"""Amounts, shares of them, and fees: exact in integers for every amount there can be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import RefusedError
from domain.fees import FeeRule, FeeSchedule
from domain.money import MAX_AMOUNT_MINOR, MINOR_DIGITS, Money, format_amount, share_rounded_half_up

AMOUNTS = st.integers(1, MAX_AMOUNT_MINOR)
RATES = st.integers(0, 1_000_000)
RULE = FeeRule(rule="quick_pay", rate_per_million=6_000, minimum_minor=1, cap_minor=10_000)


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT_MINOR + 1, 1.0, 1.5, "1", True, None])
def test_money_is_a_positive_integer_of_minor_units_and_nothing_else(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount_minor": amount, "currency": "CNY"})


@pytest.mark.parametrize("currency", ["cny", "CN", "CNYY", "", "人民币", 156])
def test_a_currency_is_three_capital_letters(currency: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount_minor": 1, "currency": currency})


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (1, "CNY", "0.01 CNY"),
        (100, "CNY", "1.00 CNY"),
        (123_456, "CNY", "1,234.56 CNY"),
        (-123_456, "CNY", "-1,234.56 CNY"),
        (1_234_567, "JPY", "1,234,567 JPY"),
        (0, "HKD", "0.00 HKD"),
    ],
)
def test_an_amount_is_shown_as_people_write_it(amount_minor: int, currency: str, shown: str) -> None:
    assert format_amount(amount_minor, currency) == shown


@given(st.integers(-MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR), st.sampled_from(sorted(MINOR_DIGITS)))
def test_what_is_shown_reads_back_as_the_same_amount(amount_minor: int, currency: str) -> None:
    number, shown_currency = format_amount(amount_minor, currency).split(" ")
    assert Fraction(number.replace(",", "")) * 10 ** MINOR_DIGITS[currency] == amount_minor
    assert shown_currency == currency


@given(AMOUNTS, RATES)
def test_a_share_is_within_half_a_unit_of_the_exact_one_and_halves_go_up(amount_minor: int, rate: int) -> None:
    exact = Fraction(amount_minor * rate, 1_000_000)
    share = share_rounded_half_up(amount_minor, rate)
    assert Fraction(-1, 2) < share - exact <= Fraction(1, 2)


@given(AMOUNTS, AMOUNTS, RATES)
def test_more_money_never_has_a_smaller_share(one: int, other: int, rate: int) -> None:
    small, large = sorted((one, other))
    assert share_rounded_half_up(small, rate) <= share_rounded_half_up(large, rate)


@given(AMOUNTS, RATES, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_fee_is_never_below_its_minimum_above_its_cap_or_as_much_as_the_amount(
    amount_minor: int, rate: int, one: int, other: int
) -> None:
    minimum, cap = sorted((one, other))
    rule = FeeRule(rule="r", rate_per_million=rate, minimum_minor=minimum, cap_minor=cap)
    wanted = min(max(share_rounded_half_up(amount_minor, rate), minimum), cap)
    if wanted >= amount_minor:
        with pytest.raises(RefusedError, match="FEE_EXCEEDS_AMOUNT"):
            rule.fee_minor(amount_minor)
    else:
        assert minimum <= rule.fee_minor(amount_minor) == wanted <= cap


@given(AMOUNTS)
def test_between_minimum_and_cap_the_fee_is_the_rate(amount_minor: int) -> None:
    share = share_rounded_half_up(amount_minor, 6_000)
    assume(1 <= share <= 10_000)
    assert RULE.fee_minor(amount_minor) == share


@pytest.mark.parametrize(("amount_minor", "fee"), [(10_000, 60), (83, 1), (84, 1), (250, 2), (10**9, 10_000)])
def test_fees_of_known_amounts(amount_minor: int, fee: int) -> None:
    assert RULE.fee_minor(amount_minor) == fee


def test_a_fee_that_would_eat_the_amount_is_refused() -> None:
    with pytest.raises(RefusedError, match="FEE_EXCEEDS_AMOUNT") as refused:
        RULE.fee_minor(1)
    assert refused.value.field == "amount_minor"


def test_a_payment_remembers_the_version_and_rule_of_its_fee() -> None:
    free = RULE.model_copy(update={"rule": "own_balance", "rate_per_million": 0, "minimum_minor": 0})
    schedule = FeeSchedule(version="2026.1", quick_pay_to_merchant=RULE, quick_pay_to_user=free)
    assert schedule.reference(schedule.for_payee("merchant")) == "2026.1/quick_pay"
    assert schedule.reference(schedule.for_payee("user")) == "2026.1/own_balance"
    assert schedule.for_payee("user").fee_minor(1) == 0
