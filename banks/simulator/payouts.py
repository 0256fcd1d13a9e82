"""Payouts: taken in, booked at once or later, and sent back by the payee's bank at once, later or on command."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from banks.simulator.agreements import forced_decline
from banks.simulator.books import house_account, move, shown_instant
from banks.simulator.faults import FaultKind
from banks.simulator.notices import (
    NoticeQueue,
    ReturnCallbacks,
    enqueue_final_notices,
    enqueue_forged_notice,
    enqueue_return_notices,
)
from banks.simulator.payee_accounts import payee_fault
from banks.simulator.payments import delayed_end
from banks.simulator.protocol import Answer, BankCode, Operation, PayoutBody, Status
from banks.simulator.requests import Call, remember_anew, remember_end
from banks.simulator.settings import Behaviour
from banks.simulator.tables import payouts
from domain.money import Money


class NotReturnableError(Exception):
    """Only a payout that was paid, and has not come back, can be sent back. `status` is where it stands, or None."""

    def __init__(self, status: str | None) -> None:
        super().__init__(status or "unknown")
        self.status = status


def pay_out(call: Call, body: PayoutBody) -> Answer:
    """Moves money from the institution's reserve to the payees of other banks; a closed bank books nothing."""
    columns: dict[str, Any] = {
        **body.model_dump(),
        "request_id": call.request_id,
        "bank_code": call.bank_code,
        "received_at": call.now,
    }
    wrong = _refusal(call, body)
    end = delayed_end(call) if wrong is None else None
    money = Money(amount_minor=body.amount_minor, currency=body.currency)
    queue = NoticeQueue(call.connection, call.behaviour, call.bank_code, call.now)
    if end is not None:
        due = {"due_at": end[0], "due_code": end[1].value}
        _keep(call, columns, status=Status.PROCESSING, code=BankCode.IN_PROCESS, **due)
        answer = call.answered(Status.PROCESSING, BankCode.IN_PROCESS, **money.model_dump())
        if call.fault is not None and call.fault.kind is FaultKind.FORGED_CALLBACK:
            enqueue_forged_notice(queue, answer, money)
        return answer
    booked = _book(call.connection, columns, wrong or BankCode.OK, call.now)
    _keep(call, columns, return_due_at=_return_due_at(call, booked), **booked)
    answer = _answer_of({**columns, **booked})
    if answer.status is Status.SUCCESS:
        enqueue_final_notices(queue, answer, money, call.fault)
    return answer


def _refusal(call: Call, body: PayoutBody) -> BankCode | None:
    if not call.is_bank_open:
        return BankCode.BANK_CLOSED
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return BankCode.SYSTEM_DECLINED
    wrong = payee_fault(call.bank_code, body) or forced_decline(call)
    if wrong is None and body.amount_minor > call.behaviour.payout_limit_minor:
        return BankCode.LIMIT_EXCEEDED
    return wrong


def _return_due_at(call: Call, booked: dict[str, Any]) -> int | None:
    if booked["status"] != Status.SUCCESS or call.fault is None:
        return None
    later = int(call.behaviour.return_seconds * 1000)
    waits = {FaultKind.RETURNED_AT_ONCE: 0, FaultKind.RETURNED_LATER: later}
    wait = waits.get(call.fault.kind)
    return None if wait is None else call.now + wait


def _keep(call: Call, columns: dict[str, Any], **further: Any) -> None:
    call.connection.execute(insert(payouts).values(**columns, **further))


def _book(connection: Connection, row: dict[str, Any], code: BankCode, now: int) -> dict[str, Any]:
    """Books a payout, or ends it with the code it fails with; answers what of the row that makes."""
    reference = None
    if code is BankCode.OK:
        reference = move(
            connection,
            row["bank_code"],
            kind=Operation.PAYOUT.value,
            request_number=row["request_number"],
            amount_minor=row["amount_minor"],
            source=house_account(connection, row["bank_code"], "reserve", row["currency"]),
            target=house_account(connection, row["bank_code"], "payees", row["currency"]),
            now=now,
            currency=row["currency"],
        )
        code = BankCode.OK if reference is not None else BankCode.BALANCE_NOT_ENOUGH
    if reference is None:
        return {"status": Status.FAILED, "code": code, "bank_reference": None, "booked_at": None}
    return {"status": Status.SUCCESS, "code": code, "bank_reference": reference, "booked_at": now}


def _answer_of(row: dict[str, Any]) -> Answer:
    """What a request number of a payout that is final is answered with."""
    status = Status(row["status"])
    answer = Answer(
        request_number=row["request_number"], operation=Operation.PAYOUT, status=status, code=BankCode(row["code"])
    )
    if status is Status.FAILED:
        return answer
    fields: dict[str, Any] = {
        "bank_reference": row["bank_reference"],
        "booked_at": shown_instant(row["booked_at"]),
        "amount_minor": row["amount_minor"],
        "currency": row["currency"],
    }
    if status is Status.RETURNED:
        fields |= {"return_reference": row["return_reference"], "returned_at": shown_instant(row["returned_at"])}
        fields["returned_minor"] = row["amount_minor"]
    return answer.model_copy(update=fields)


def finish_due_payouts(connection: Connection, behaviour: Behaviour, now: int) -> int | None:
    """Ends every payout and sends back every one whose time has come; answers when the next is due, in Unix
    milliseconds.
    """
    for row in _rows(connection, payouts.c.due_at <= now, payouts.c.due_at):
        _end(connection, behaviour, row, now)
    for row in _rows(connection, payouts.c.return_due_at <= now, payouts.c.return_due_at):
        send_back(connection, behaviour, row, now=now)
    dues = (select(func.min(column)).scalar_subquery() for column in (payouts.c.due_at, payouts.c.return_due_at))
    found = [due for due in connection.execute(select(*dues)).one() if due is not None]
    return min(found, default=None)


def _rows(connection: Connection, condition: Any, order: Any) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(payouts).where(condition).order_by(order))]


def _end(connection: Connection, behaviour: Behaviour, row: dict[str, Any], now: int) -> None:
    booked = _book(connection, row, BankCode(row["due_code"]), now)
    this = payouts.c.payout_id == row["payout_id"]
    connection.execute(update(payouts).where(this).values(due_at=None, **booked))
    answer = _answer_of({**row, **booked})
    remember_end(connection, row["request_id"], answer)
    money = Money(amount_minor=row["amount_minor"], currency=row["currency"])
    enqueue_final_notices(NoticeQueue(connection, behaviour, row["bank_code"], now), answer, money, None)


def paid_payout(connection: Connection, bank_code: str, request_number: str) -> dict[str, Any]:
    """The payout under this number, which has to be paid. Raises `NotReturnableError`."""
    here = (payouts.c.bank_code == bank_code, payouts.c.request_number == request_number)
    newest = select(payouts).where(*here).order_by(payouts.c.payout_id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    if row is None or row.status != Status.SUCCESS:
        raise NotReturnableError(None if row is None else row.status)
    return dict(row._mapping)


def send_back(
    connection: Connection,
    behaviour: Behaviour,
    row: dict[str, Any],
    *,
    now: int,
    code: BankCode = BankCode.ACCOUNT_CLOSED,
    callbacks: ReturnCallbacks = ReturnCallbacks.ORDINARY,
) -> Answer:
    """The payee's bank sends the money of a paid payout back, whole; `code` says why. Forged callbacks move nothing."""
    money = Money(amount_minor=row["amount_minor"], currency=row["currency"])
    queue = NoticeQueue(connection, behaviour, row["bank_code"], now)
    if callbacks is ReturnCallbacks.FORGED:
        answer = _answer_of(row)
        enqueue_return_notices(queue, answer, money, callbacks)
        return answer
    reference = move(
        connection,
        row["bank_code"],
        kind="payout-returns",
        request_number=row["request_number"],
        amount_minor=row["amount_minor"],
        source=house_account(connection, row["bank_code"], "payees", row["currency"]),
        target=house_account(connection, row["bank_code"], "reserve", row["currency"]),
        now=now,
        currency=row["currency"],
    )
    returned = {"status": Status.RETURNED, "code": code, "return_reference": reference, "returned_at": now}
    this = payouts.c.payout_id == row["payout_id"]
    connection.execute(update(payouts).where(this).values(return_due_at=None, **returned))
    answer = _answer_of({**row, **returned})
    remember_anew(connection, row["request_id"], answer, now)
    enqueue_return_notices(queue, answer, money, callbacks)
    return answer
