"""A person asks what the bank's own books say: a worker looks, and nothing changes."""

from __future__ import annotations

from datetime import UTC, date, datetime

from domain.banking import BankOutcome, StatementLine
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import SUCCEEDED

NUMBER = "PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
FIRST, SECOND, THIRD = date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25)


def line(number: str, amount_minor: int) -> StatementLine:
    return StatementLine(
        bank_reference="BANKREF1", request_number=number, booked_at=datetime(2026, 11, 24, tzinfo=UTC),
        amount_minor=amount_minor, currency="CNY",
    )  # fmt: skip


async def test_answer_and_statement_lines_of_the_number_come_back_and_unread_days_are_named(house: House) -> None:
    house.bank.script("query", SUCCEEDED)
    house.bank.statements[SECOND] = [line(NUMBER, -5_000), line("PO" + "0" * 26, -7_000)]
    house.bank.days_without_statement.add(THIRD)
    found = await house.processes.read_bank_record("HBRB", NUMBER, (FIRST, SECOND, THIRD))
    assert found is not None
    assert (found.outcome, found.bank_reference) == (BankOutcome.SUCCEEDED, "BANKREF1")
    assert [(made.bank_reference, made.amount_minor) for made in found.lines] == [("BANKREF1", -5_000)]
    assert found.unread == (THIRD,)
    assert house.bank.calls == [("query", NUMBER)]
