"""Remittances that arrive for the institution's users, and those that it sends back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from banks.simulator.agreements import forced_decline
from banks.simulator.books import house_account, move, shown_instant
from banks.simulator.faults import FaultKind
from banks.simulator.fx_protocol import InboundReturnBody, Remittance
from banks.simulator.notices import NoticeQueue, enqueue_final_notices, enqueue_forged_notice
from banks.simulator.payments import delayed_end
from banks.simulator.protocol import Answer, BankCode, Operation, Status
from banks.simulator.requests import Call, remember_end
from banks.simulator.settings import Behaviour
from banks.simulator.tables import inbound_remittances, inbound_returns
from domain.money import Money


class ReferenceTakenError(Exception):
    """A remittance has arrived under this reference before."""


def remittance(connection: Connection, bank_code: str, reference: str) -> Remittance:
    """What has arrived under a reference."""
    row = _find(connection, bank_code, reference)
    if row is None:
        return Remittance(status=Status.REFUSED, code=BankCode.REMITTANCE_NOT_FOUND, reference=reference)
    told = {name: value for name, value in row._mapping.items() if name not in ("bank_code", "booked_at")}
    return Remittance(status=Status.SUCCESS, code=BankCode.OK, booked_at=shown_instant(row.booked_at), **told)


def _find(connection: Connection, bank_code: str, reference: str) -> Any:
    here = (inbound_remittances.c.bank_code == bank_code, inbound_remittances.c.reference == reference)
    return connection.execute(select(inbound_remittances).where(*here)).one_or_none()


def arrive(connection: Connection, row: dict[str, Any], now: int) -> str | None:
    """Books a remittance on the institution's reserve; answers the bank's reference. Raises `ReferenceTakenError`."""
    bank_code, currency = row["bank_code"], row["currency"]
    if _find(connection, bank_code, row["reference"]) is not None:
        raise ReferenceTakenError
    booked = move(
        connection,
        bank_code,
        kind=Operation.INBOUND.value,
        request_number=row["reference"],
        amount_minor=row["amount_minor"],
        source=house_account(connection, bank_code, "issue", currency),
        target=house_account(connection, bank_code, "reserve", currency),
        now=now,
        currency=currency,
    )
    connection.execute(insert(inbound_remittances).values(**row, bank_reference=booked, booked_at=now))
    return booked


def return_inbound(call: Call, body: InboundReturnBody) -> Answer:
    """Sends what is left of a remittance back, or a part of it, from the institution's reserve."""
    row: dict[str, Any] = {**body.model_dump(), "request_id": call.request_id, "bank_code": call.bank_code}
    wrong = _refusal(call, body)
    end = delayed_end(call) if wrong is None else None
    queue = NoticeQueue(call.connection, call.behaviour, call.bank_code, call.now)
    money = Money(amount_minor=body.amount_minor, currency=body.currency)
    if end is not None:
        due = {"due_at": end[0], "due_code": end[1].value}
        call.connection.execute(insert(inbound_returns).values(**row, status=Status.PROCESSING, **due))
        answer = call.answered(Status.PROCESSING, BankCode.IN_PROCESS, **money.model_dump())
        if call.fault is not None and call.fault.kind is FaultKind.FORGED_CALLBACK:
            enqueue_forged_notice(queue, answer, money)
        return answer
    answer = _book(call.connection, row, wrong or BankCode.OK, call.now)
    call.connection.execute(insert(inbound_returns).values(**row, status=answer.status))
    if answer.status is Status.SUCCESS:
        enqueue_final_notices(queue, answer, money, call.fault)
    return answer


def _refusal(call: Call, body: InboundReturnBody) -> BankCode | None:
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return BankCode.SYSTEM_DECLINED
    arrived = _find(call.connection, call.bank_code, body.inbound_reference)
    if arrived is None:
        return BankCode.REMITTANCE_NOT_FOUND
    if arrived.currency != body.currency:
        return BankCode.CURRENCY_NOT_SUPPORTED
    if _sent_back(call.connection, call.bank_code, body.inbound_reference) + body.amount_minor > arrived.amount_minor:
        return BankCode.RETURN_OVER_REMITTANCE
    return forced_decline(call)


def _sent_back(connection: Connection, bank_code: str, reference: str) -> int:
    """What has been sent back of a remittance, or is about to be."""
    here = (
        inbound_returns.c.bank_code == bank_code,
        inbound_returns.c.inbound_reference == reference,
        inbound_returns.c.status.in_((Status.SUCCESS, Status.PROCESSING)),
    )
    total = select(func.coalesce(func.sum(inbound_returns.c.amount_minor), 0)).where(*here)
    return int(connection.execute(total).scalar_one())


def _book(connection: Connection, row: dict[str, Any], code: BankCode, now: int) -> Answer:
    """Books a return, or ends it with the code it fails with."""
    base: dict[str, Any] = {"request_number": row["request_number"], "operation": Operation.INBOUND_RETURN}
    reference = None
    if code is BankCode.OK:
        reference = move(
            connection,
            row["bank_code"],
            kind=Operation.INBOUND_RETURN.value,
            request_number=row["request_number"],
            amount_minor=row["amount_minor"],
            source=house_account(connection, row["bank_code"], "reserve", row["currency"]),
            target=house_account(connection, row["bank_code"], "payees", row["currency"]),
            now=now,
            currency=row["currency"],
        )
        code = BankCode.OK if reference is not None else BankCode.BALANCE_NOT_ENOUGH
    if reference is None:
        return Answer(status=Status.FAILED, code=code, **base)
    return Answer(
        status=Status.SUCCESS,
        code=code,
        bank_reference=reference,
        booked_at=shown_instant(now),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        inbound_reference=row["inbound_reference"],
        **base,
    )


def finish_due_returns(connection: Connection, behaviour: Behaviour, now: int) -> int | None:
    """Ends every return whose time has come; answers when the next is due, in Unix milliseconds."""
    due_at = inbound_returns.c.due_at
    for row in connection.execute(select(inbound_returns).where(due_at <= now).order_by(due_at)).all():
        answer = _book(connection, dict(row._mapping), BankCode(row.due_code), now)
        this = inbound_returns.c.return_id == row.return_id
        connection.execute(update(inbound_returns).where(this).values(status=answer.status, due_at=None))
        remember_end(connection, row.request_id, answer)
        money = Money(amount_minor=row.amount_minor, currency=row.currency)
        enqueue_final_notices(NoticeQueue(connection, behaviour, row.bank_code, now), answer, money, None)
    next_due: int | None = connection.execute(select(func.min(due_at))).scalar_one()
    return next_due
