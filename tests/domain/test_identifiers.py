"""Identifiers say what they name, and request numbers are derived from them alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import BankStep, IdPrefix, identifier, is_identifier, request_number
from runtime.id_source import UlidSource

ULIDS = st.from_regex(r"\A[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
STEPS = st.sampled_from(BankStep)
PREFIXES = st.sampled_from(IdPrefix)
ATTEMPTS = st.integers(0, 99)


@given(PREFIXES, PREFIXES, ULIDS)
def test_an_identifier_is_one_of_its_prefix_and_of_no_other(prefix: IdPrefix, other: IdPrefix, ulid: str) -> None:
    assert is_identifier(identifier(prefix, ulid), prefix)
    assert is_identifier(identifier(prefix, ulid), other) == (prefix is other)


@pytest.mark.parametrize(
    "value",
    ["", "pay_", "pay_01", "pay_01J8ZQ4X0000000000000000O0", "PAY_01J8ZQ4X000000000000000000",
     "pay_01J8ZQ4X000000000000000000\n", "xpay_01J8ZQ4X000000000000000000", "pay_01j8zq4x000000000000000000"],
)  # fmt: skip
def test_what_only_looks_like_an_identifier_is_none(value: str) -> None:
    assert not is_identifier(value, IdPrefix.PAYMENT)


@given(STEPS, ULIDS, ATTEMPTS)
def test_a_request_number_fits_every_bank(step: BankStep, ulid: str, attempt: int) -> None:
    number = request_number(step, identifier(IdPrefix.PAYMENT, ulid), attempt)
    assert re.fullmatch(r"[A-Z0-9]{28,30}", number)


@given(st.tuples(STEPS, ULIDS, ATTEMPTS), st.tuples(STEPS, ULIDS, ATTEMPTS))
def test_two_steps_never_share_a_request_number(
    one: tuple[BankStep, str, int], other: tuple[BankStep, str, int]
) -> None:
    numbers = {request_number(step, f"pay_{ulid}", attempt) for step, ulid, attempt in (one, other)}
    assert len(numbers) == len({one, other})


def test_the_same_step_has_the_same_number_for_ever() -> None:
    assert request_number(BankStep.DEBIT, "pay_01J8ZQ4X000000000000000000") == "DB01J8ZQ4X000000000000000000"
    assert request_number(BankStep.VERIFY_CODE, "bnd_01J8ZQ4X000000000000000000", 3) == "VC01J8ZQ4X00000000000000000003"


def test_identifiers_made_later_sort_later() -> None:
    source = UlidSource()
    made = [identifier(IdPrefix.PAYMENT, source.ulid()) for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(is_identifier(one, IdPrefix.PAYMENT) for one in made)
