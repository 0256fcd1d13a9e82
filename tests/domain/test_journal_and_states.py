"""Entries balance and are known by their keys; states lead to an end and, but for one correction, never out of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journal import collection, late_collection, late_refund, refund_done, refund_failed, refund_holds
from domain.states import (
    BINDING_FINAL_STATES,
    BINDING_LIVE_STATES,
    BINDING_STEPS,
    PAYMENT_FINAL_STATES,
    PAYMENT_STEPS,
    REFUND_FINAL_STATES,
    REFUND_STEPS,
    BindingState,
    PaymentState,
)
from domain.transfers import Transfer

AT = datetime(2026, 11, 23, tzinfo=UTC)
PAYEE = "merchant_pending:mch_1:CNY"
AMOUNTS = st.integers(2, 10**12)


def net(*transfers: Transfer) -> Counter[str]:
    """What each account is owed more (liabilities grow on the credit side)."""
    moved: Counter[str] = Counter()
    for transfer in transfers:
        assert transfer.debit
        assert transfer.credit
        assert transfer.debit != transfer.credit
        moved[transfer.credit] += transfer.amount or 0
        moved[transfer.debit] -= transfer.amount or 0
    return moved


@given(AMOUNTS, st.data())
def test_a_collection_splits_what_came_in_between_payee_and_fee(amount: int, data: st.DataObject) -> None:
    fee = data.draw(st.integers(0, amount - 1))
    moved = net(*collection("pay_1", "HBRB", PAYEE, amount, fee, "CNY", AT))
    assert moved["reserve:HBRB:CNY"] == -amount
    assert (moved[PAYEE], moved["fee_income:CNY"]) == (amount - fee, fee)
    assert sum(moved.values()) == 0


@given(AMOUNTS)
def test_a_late_success_and_its_return_leave_nothing_behind(amount: int) -> None:
    came = late_collection("pay_1", "HBRB", amount, "CNY", AT)
    assert net(*came)["suspense:CNY"] == amount
    assert not any(net(*came, *late_refund("pay_1", "HBRB", amount, "CNY", AT)).values())


def test_every_entry_of_a_payment_has_a_key_of_its_own_and_the_same_one_for_ever() -> None:
    def entries(at: datetime) -> list[str]:
        return [
            transfer.key
            for transfer in (
                *collection("pay_1", "HBRB", PAYEE, 100, 1, "CNY", at),
                *late_collection("pay_1", "HBRB", 100, "CNY", at),
                *late_refund("pay_1", "HBRB", 100, "CNY", at),
            )
        ]

    assert len(set(entries(AT))) == 4
    assert entries(AT) == entries(AT.replace(year=2027))


@given(AMOUNTS, st.data())
def test_a_refund_ends_every_hold_that_was_placed_for_it_once(amount: int, data: st.DataObject) -> None:
    fee_back = data.draw(st.sampled_from([0, 1, amount - 1, amount]))
    holds = refund_holds("pay_1", "rfd_1", amount, fee_back)
    assert len(holds) == (amount > fee_back) + (fee_back > 0)
    assert [transfer.hold for transfer in refund_done("pay_1", holds, AT)] == holds
    assert [transfer.hold for transfer in refund_failed("pay_1", holds, AT)] == holds
    keys = [t.key for t in (*refund_done("pay_1", holds, AT), *refund_failed("pay_1", holds, AT))]
    assert len(set(keys)) == 2 * len(holds)


TABLES = [
    (BINDING_STEPS, BINDING_FINAL_STATES | {BindingState.OPEN}, frozenset()),
    (PAYMENT_STEPS, PAYMENT_FINAL_STATES, frozenset({PaymentState.FAILED})),
    (REFUND_STEPS, REFUND_FINAL_STATES, frozenset()),
]


@pytest.mark.parametrize(("steps", "final", "correctable"), TABLES, ids=["binding", "payment", "refund"])
def test_every_state_can_end_and_what_has_ended_stays(
    steps: dict[StrEnum, frozenset[StrEnum]], final: frozenset[StrEnum], correctable: frozenset[StrEnum]
) -> None:
    assert set(steps) == set(type(next(iter(steps))))
    for state in steps:
        assert reachable(steps, state) & final
    for state in final - correctable - {BindingState.OPEN}:
        assert not steps[state]


def reachable(steps: dict[StrEnum, frozenset[StrEnum]], start: StrEnum) -> set[StrEnum]:
    seen, waiting = {start}, [start]
    while waiting:
        new = set(steps[waiting.pop()]) - seen
        seen |= new
        waiting += new
    return seen


def test_the_only_way_out_of_a_final_state_is_the_banks_correction_of_a_failure() -> None:
    assert PAYMENT_STEPS[PaymentState.FAILED] == {PaymentState.LATE_REFUNDING}
    assert PAYMENT_STEPS[PaymentState.CLOSED] == frozenset()


def test_nothing_that_was_sent_can_be_closed_as_if_it_never_had() -> None:
    for state in (PaymentState.SENDING, PaymentState.UNKNOWN):
        assert PaymentState.CLOSED not in PAYMENT_STEPS[state]


def test_a_card_opens_only_from_awaiting_its_code() -> None:
    assert [state for state, following in BINDING_STEPS.items() if BindingState.OPEN in following] == [
        BindingState.AWAITING_CODE
    ]
    assert set(BINDING_LIVE_STATES) == set(BindingState) - BINDING_FINAL_STATES
