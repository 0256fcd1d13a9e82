"""What stands in a bank's own books under a request number, for a person who has to decide (A2.5d)."""

from __future__ import annotations

from datetime import date

from temporalio import activity

from activities import names
from activities.interfaces import BankRecord, BankRecordLine, BankRecordQuestion
from activities.ports import BankDirectory
from domain.banking import BankConnector, StatementUnavailableError


class BankRecords:
    """The activity that looks into statements."""

    def __init__(self, banks: BankDirectory) -> None:
        self._banks = banks

    @activity.defn(name=names.READ_BANK_RECORD)
    async def read_bank_record(self, question: BankRecordQuestion) -> BankRecord:
        """The bank is asked about the number, and its statements of these days are looked through."""
        bank, number = self._banks.connector_for_sent(question.bank_code), question.request_number
        answer = await bank.query(number)
        lines: list[BankRecordLine] = []
        unread: list[date] = []
        for day in question.days:
            try:
                lines += await _lines(bank, number, day)
            except StatementUnavailableError:
                unread.append(day)
        return BankRecord(
            request_number=number,
            outcome=answer.outcome,
            raw_code=answer.raw_code,
            bank_reference=answer.bank_reference,
            booked_at=answer.booked_at,
            amount_minor=answer.amount_minor,
            lines=tuple(lines),
            unread=tuple(unread),
        )


async def _lines(bank: BankConnector, number: str, day: date) -> list[BankRecordLine]:
    return [
        BankRecordLine(
            bank_reference=line.bank_reference,
            booked_at=line.booked_at,
            amount_minor=line.amount_minor,
            currency=line.currency,
        )
        async for line in bank.statement(day)
        if line.request_number == number
    ]
