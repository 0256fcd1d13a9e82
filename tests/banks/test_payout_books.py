"""Whatever is paid, refused, left in process and sent back: the banks' books balance, and each number is paid once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from banks.simulator.books import fund_reserve, open_house_accounts
from banks.simulator.cards import BANK_NAMES
from banks.simulator.faults import Fault, FaultKind
from banks.simulator.overview import overview
from banks.simulator.payee_accounts import example_account
from banks.simulator.payouts import NotReturnableError, finish_due_payouts, paid_payout, pay_out, send_back
from banks.simulator.protocol import Answer, Operation, PayoutBody, Status
from banks.simulator.requests import Call, RequestRefusedError, first_answer, remember, remembered
from banks.simulator.settings import Behaviour
from banks.simulator.tables import open_books

FAULTS = st.sampled_from(
    [
        None,
        FaultKind.PROCESSING_THEN_SUCCESS,
        FaultKind.PROCESSING_THEN_FAILURE,
        FaultKind.LATE_SUCCESS,
        FaultKind.RETURNED_LATER,
        FaultKind.RETURNED_AT_ONCE,
        FaultKind.ANSWER_FORGED,
    ]
)
NUMBERS = st.integers(0, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), NUMBERS, st.integers(1, 90), FAULTS, st.booleans()),
        st.tuples(st.just("resend"), NUMBERS),
        st.tuples(st.just("return"), NUMBERS),
        st.tuples(st.just("wait"), st.sampled_from([100, 6_000, 200_000])),
    ),
    max_size=25,
)


@dataclass
class PlayedBank:
    """One bank in one transaction, with a clock of its own, and what it answered to whom."""

    connection: Connection
    now: int = 1_800_000_000_000
    behaviour: Behaviour = field(default_factory=Behaviour)
    sent: dict[str, PayoutBody] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def pay(self, number: int, amount_minor: int, kind: FaultKind | None, is_open: bool) -> Answer | None:
        body = PayoutBody(
            request_number=f"PO{number:026d}",
            name="陈小满",
            account_number=example_account("HK"),
            region="HK",
            bank_id_kind="hk_clearing",
            bank_id="004",
            amount_minor=amount_minor,
            currency="HKD",
        )
        known = remembered(self.connection, "HBRB", body.request_number, 0)
        if known is not None:
            return self._again(known, body)
        self.sent[body.request_number] = body
        fault = None if kind is None else Fault(kind=kind)
        call = Call(
            self.connection, self.behaviour, "HBRB", Operation.PAYOUT, body.request_number, next(self.ids), fault,
            self.now, is_open,
        )  # fmt: skip
        answer = pay_out(call, body)
        remember(call, body, answer)
        return answer

    def _again(self, known: Any, body: PayoutBody) -> Answer | None:
        try:
            return first_answer(known, Operation.PAYOUT, body)
        except RequestRefusedError:
            return None

    def resend(self, number: int) -> None:
        body = self.sent.get(f"PO{number:026d}")
        if body is not None:
            again = self.pay(number, body.amount_minor, FaultKind.RETURNED_AT_ONCE, True)
            assert again is not None
            assert again == self.query(body.request_number)

    def give_back(self, number: int) -> None:
        try:
            row = paid_payout(self.connection, "HBRB", f"PO{number:026d}")
        except NotReturnableError:
            return
        send_back(self.connection, self.behaviour, row, now=self.now)

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds
        due_at = finish_due_payouts(self.connection, self.behaviour, self.now)
        assert due_at is None or due_at > self.now

    def query(self, request_number: str) -> Answer:
        row = remembered(self.connection, "HBRB", request_number, 0)
        return Answer.model_validate_json(row.answer)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    engine, opened = open_books(tmp_path_factory.mktemp("books") / "books.sqlite")
    with opened.begin():
        open_house_accounts(opened, BANK_NAMES)
    yield opened
    opened.close()
    engine.dispose()


@contextmanager
def played_bank(connection: Connection) -> Iterator[PlayedBank]:
    transaction = connection.begin()
    try:
        yield PlayedBank(connection)
    finally:
        transaction.rollback()


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_any_sequence_of_payouts_and_returns_leaves_books_that_balance_and_answers_that_are_true(
    connection: Connection, steps: list[Any]
) -> None:
    with played_bank(connection) as bank:
        fund_reserve(bank.connection, "HBRB", "HKD", 200, bank.now)
        does: dict[str, Callable[..., object]] = {
            "pay": bank.pay,
            "resend": bank.resend,
            "return": bank.give_back,
            "wait": bank.wait,
        }
        for what, *values in steps:
            does[what](*values)
            _check(bank)
        bank.wait(10_000_000)
        _check(bank)
        assert {bank.query(number).status for number in bank.sent} <= {Status.SUCCESS, Status.FAILED, Status.RETURNED}


def _check(bank: PlayedBank) -> None:
    books: Any = overview(bank.connection)
    theirs = books["banks"]["HBRB"]
    assert books["balanced"]
    paid, returned = theirs["payouts_per_request_number"], theirs["returns_per_request_number"]
    answers = {number: bank.query(number) for number in bank.sent}
    booked = {number for number, answer in answers.items() if answer.status in (Status.SUCCESS, Status.RETURNED)}
    assert paid == dict.fromkeys(booked, 1)
    back = {number for number, answer in answers.items() if answer.status is Status.RETURNED}
    assert returned == dict.fromkeys(back, 1)
    out = sum(bank.sent[number].amount_minor for number in booked - back)
    assert theirs["reserves"]["HKD"] == 200 - out >= 0
