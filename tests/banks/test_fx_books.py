"""Whatever arrives, is dealt, taken back, sent back, found in excess: the books balance, each number is booked once."""

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
from banks.simulator.fx_desk import NotDealtError, find_excess, finish_due_deals
from banks.simulator.fx_protocol import FxDealBody, InboundReturnBody
from banks.simulator.fx_quota import quota_of, year_of
from banks.simulator.fx_quotes import Desk, DeskRates, quote
from banks.simulator.inbound import arrive, finish_due_returns
from banks.simulator.operations import HANDLERS
from banks.simulator.overview import overview
from banks.simulator.protocol import Answer, Body, Operation, Status
from banks.simulator.requests import Call, first_answer, remember, remembered
from banks.simulator.settings import Behaviour
from banks.simulator.tables import open_books
from domain.rates import convert, parse_rate

DESK, ABROAD, PERSON = "HBRB", "OSPB", "11010119900307889X"
CNY_AT_FIRST = 1_000
FAULTS = st.sampled_from(
    [
        *[None] * 6,
        FaultKind.PROCESSING_THEN_SUCCESS,
        FaultKind.PROCESSING_THEN_FAILURE,
        FaultKind.LATE_SUCCESS,
        FaultKind.ANSWER_FORGED,
    ]
)
NUMBERS, AMOUNTS = st.integers(0, 4), st.integers(1, 60)
IS_OPEN = st.sampled_from([True, True, True, False])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 3), AMOUNTS),
        st.tuples(st.just("convert"), NUMBERS, AMOUNTS, FAULTS, IS_OPEN),
        st.tuples(st.just("reverse"), NUMBERS, NUMBERS, AMOUNTS, FAULTS),
        st.tuples(st.just("send_back"), NUMBERS, st.integers(0, 2), AMOUNTS, FAULTS),
        st.tuples(st.just("excess"), NUMBERS, AMOUNTS),
        st.tuples(st.just("deliver_after"), st.sampled_from([0, 5])),
        st.tuples(st.just("wait"), st.sampled_from([100, 6_000, 200_000])),
    ),
    min_size=12,
    max_size=30,
)


@dataclass
class PlayedBanks:
    """A desk and a bank abroad in one transaction, with a clock of their own."""

    connection: Connection
    now: int = 1_800_000_000_000
    behaviour: Behaviour = field(default_factory=Behaviour)
    sent: dict[tuple[str, str], Body] = field(default_factory=dict)
    arrived: dict[int, int] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def arrive(self, number: int, amount_minor: int) -> None:
        if number in self.arrived:
            return
        self.arrived[number] = amount_minor
        row = {"bank_code": ABROAD, "reference": f"OSPBIN{number:08d}", "amount_minor": amount_minor}
        row |= {"currency": "USD", "value_date": "2027-01-15", "purpose_code": "421990", "remitter_country": "HK"}
        arrive(
            self.connection, row | dict.fromkeys(("account_number", "receiver_name", "remitter_name"), "x"), self.now
        )

    def convert(self, number: int, amount_minor: int, kind: FaultKind | None, is_open: bool) -> None:
        self._deal(f"FX{number:026d}", amount_minor, kind, is_open, kind_of_deal="conversion", reverses=None)

    def reverse(self, number: int, of: int, amount_minor: int, kind: FaultKind | None) -> None:
        """Of one that was dealt, if there is any."""
        deals = self.answers(FxDealBody)
        dealt = [n for n, answer in deals.items() if n.startswith("FX") and answer.status is Status.SUCCESS]
        reverses = dealt[of % len(dealt)] if dealt else f"FX{of:026d}"
        self._deal(f"RV{number:026d}", amount_minor, kind, True, kind_of_deal="reversal", reverses=reverses)

    def _deal(
        self,
        number: str,
        amount_minor: int,
        kind: FaultKind | None,
        is_open: bool,
        *,
        kind_of_deal: str,
        reverses: str | None,
    ) -> None:
        desk = Desk(self.connection, self.behaviour, DeskRates(), DESK, True, self.now)
        at = quote(desk, "USD", "buys" if kind_of_deal == "conversion" else "sells", None)
        content = {"request_number": number, "kind": kind_of_deal, "quote_id": at.quote_id, "rate": at.rate}
        content |= {"foreign_minor": amount_minor, "foreign_currency": "USD", "foreign_at": ABROAD}
        content |= {"purpose_code": "421990", "is_trade": False, "residency": "domestic_individual"}
        content |= {"name": "陈小满", "id_number": PERSON, "reverses": reverses}
        self._send(DESK, Operation.FX_DEAL, FxDealBody.model_validate(content), kind, is_open)

    def send_back(self, number: int, of: int, amount_minor: int, kind: FaultKind | None) -> None:
        body = InboundReturnBody(
            request_number=f"RT{number:026d}",
            inbound_reference=f"OSPBIN{of:08d}",
            amount_minor=amount_minor,
            currency="USD",
        )
        self._send(ABROAD, Operation.INBOUND_RETURN, body, kind, True)

    def _send(self, bank_code: str, operation: Operation, body: Body, kind: FaultKind | None, is_open: bool) -> None:
        known = remembered(self.connection, bank_code, body.request_number, 0)
        if known is not None:
            assert first_answer(known, operation, self.sent[bank_code, body.request_number])
            return
        self.sent[bank_code, body.request_number] = body
        fault = None if kind is None else Fault(kind=kind)
        call = Call(
            self.connection,
            self.behaviour,
            bank_code,
            operation,
            body.request_number,
            next(self.ids),
            fault,
            self.now,
            is_desk_open=is_open,
        )
        remember(call, body, HANDLERS[operation](call, body))

    def excess(self, number: int, excess_minor: int) -> None:
        try:
            find_excess(self.connection, self.behaviour, (DESK, f"FX{number:026d}"), excess_minor, self.now)
        except (NotDealtError, ValueError):
            return

    def deliver_after(self, seconds: int) -> None:
        self.behaviour.fx_delivery_seconds = seconds

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds
        for finish in (finish_due_deals, finish_due_returns):
            due_at = finish(self.connection, self.behaviour, self.now)
            assert due_at is None or due_at > self.now

    def query(self, bank_code: str, request_number: str) -> Answer:
        return Answer.model_validate_json(remembered(self.connection, bank_code, request_number, 0).answer)

    def answers(self, kind: type[Body]) -> dict[str, Answer]:
        return {number: self.query(bank, number) for (bank, number), body in self.sent.items() if type(body) is kind}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    engine, opened = open_books(tmp_path_factory.mktemp("books") / "books.sqlite")
    with opened.begin():
        open_house_accounts(opened, BANK_NAMES)
    yield opened
    opened.close()
    engine.dispose()


@contextmanager
def played_banks(connection: Connection) -> Iterator[PlayedBanks]:
    transaction = connection.begin()
    try:
        banks = PlayedBanks(connection)
        fund_reserve(connection, DESK, "CNY", CNY_AT_FIRST, banks.now)
        yield banks
    finally:
        transaction.rollback()


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_any_sequence_of_remittances_deals_and_returns_leaves_books_that_balance_and_answers_that_are_true(
    connection: Connection, steps: list[Any]
) -> None:
    with played_banks(connection) as banks:
        banks.arrive(0, 100)
        for what, *values in steps:
            does: Callable[..., object] = getattr(banks, what)
            does(*values)
            _check(banks)
        banks.wait(10_000_000)
        banks.wait(10_000_000)
        _check(banks)
        final = {banks.query(*key).status for key in banks.sent}
        assert final <= {Status.SUCCESS, Status.FAILED}


def test_a_delivery_for_which_something_else_took_the_currency_waits_until_it_is_there_again(
    connection: Connection,
) -> None:
    with played_banks(connection) as banks:
        banks.arrive(0, 50)
        banks.deliver_after(5)
        banks.convert(1, 50, None, True)
        banks.send_back(1, 0, 30, None)
        banks.wait(6_000)
        assert banks.query(DESK, f"FX{1:026d}").delivered_at is None
        _check(banks)
        banks.arrive(1, 30)
        banks.wait(6_000)
        assert banks.query(DESK, f"FX{1:026d}").delivered_at is not None
        _check(banks)


def _check(banks: PlayedBanks) -> None:
    books: Any = overview(banks.connection)
    assert books["balanced"]
    deals, returns = banks.answers(FxDealBody), banks.answers(InboundReturnBody)
    delivered = {number: answer for number, answer in deals.items() if answer.delivered_at is not None}
    assert books["banks"][DESK]["deals_per_request_number"] == dict.fromkeys(delivered, 1)
    assert books["banks"][ABROAD]["deliveries_per_request_number"] == dict.fromkeys(delivered, 1)
    sent_back = {number for number, answer in returns.items() if answer.status is Status.SUCCESS}
    assert books["banks"][ABROAD]["inbound_returns_per_request_number"] == dict.fromkeys(sent_back, 1)
    usd, cny = sum(banks.arrived.values()), CNY_AT_FIRST
    for answer in delivered.values():
        sign = 1 if answer.kind == "reversal" else -1
        usd += sign * (answer.foreign_minor or 0)
        cny -= sign * (answer.cny_minor or 0)
        exact = convert(answer.foreign_minor or 0, "USD", parse_rate(answer.rate or ""), "half_up")
        assert answer.cny_minor == exact.minor
    usd -= sum(returns[number].amount_minor or 0 for number in sent_back)
    assert books["banks"][ABROAD]["reserves"]["USD"] == usd >= 0
    assert books["banks"][DESK]["reserves"]["CNY"] == cny >= 0
    dealt = [answer for answer in deals.values() if answer.status is Status.SUCCESS]
    net = sum((answer.foreign_minor or 0) * (-1 if answer.kind == "reversal" else 1) for answer in dealt)
    assert quota_of(banks.connection, PERSON, year_of(banks.now))[0] == net >= 0
