"""Payment codes, one-use authorisations, debits and refunds."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from banks.simulator.agreements import agreement_with_account, check_code, forced_decline, new_code, text_code
from banks.simulator.books import CURRENCY, house_account, move, shown_instant
from banks.simulator.faults import FaultKind
from banks.simulator.notices import NoticeQueue, enqueue_final_notices, enqueue_forged_notice
from banks.simulator.protocol import (
    Answer,
    BankCode,
    DebitBody,
    Operation,
    PaymentCodeBody,
    PaymentCodeVerificationBody,
    RefundBody,
    Status,
    Verification,
)
from banks.simulator.requests import Call, remember_end
from banks.simulator.settings import Behaviour
from banks.simulator.tables import authorisations, instructions, payment_codes
from domain.money import Money

_OPEN_OR_BOOKED = (Status.SUCCESS.value, Status.PROCESSING.value)
# What an authorisation is good for: nothing but this.
_BOUND = (
    payment_codes.c.debit_request_number,
    payment_codes.c.agreement_number,
    payment_codes.c.amount_minor,
    payment_codes.c.currency,
    payment_codes.c.payee,
)


def send_payment_code(call: Call, body: PaymentCodeBody) -> Answer:
    """Texts a code that names payee and amount; it replaces an earlier code for the same debit."""
    agreement = agreement_with_account(call.connection, call.bank_code, body.agreement_number)
    wrong = forced_decline(call) or _agreement_fault(agreement) or _amount_fault(call, body)
    if wrong is not None:
        return call.declined(wrong)
    expires_at = call.now + int(call.behaviour.code_validity_seconds * 1000)
    code = new_code()
    call.connection.execute(
        update(payment_codes)
        .where(
            payment_codes.c.bank_code == call.bank_code,
            payment_codes.c.debit_request_number == body.debit_request_number,
            payment_codes.c.expires_at > call.now,
        )
        .values(expires_at=call.now)
    )
    call.connection.execute(
        insert(payment_codes).values(
            bank_code=call.bank_code,
            code=code,
            expires_at=expires_at,
            attempts_left=call.behaviour.code_attempts,
            **body.model_dump(),
        )
    )
    amount = f"{body.amount_minor // 100}.{body.amount_minor % 100:02d}"
    text = f"验证码{code}，向{body.payee}支付{amount}元。Code to pay CNY {amount}."
    text_code(call, agreement.mobile, purpose="payment", code=code, expires_at=expires_at, text=text)
    return call.succeeded(code_expires_at=shown_instant(expires_at))


def verify_payment_code(call: Call, body: PaymentCodeVerificationBody) -> Answer:
    """A right code earns one authorisation, tied to the debit number, amount and payee of its code."""
    row = call.connection.execute(
        select(payment_codes)
        .where(
            payment_codes.c.bank_code == call.bank_code,
            payment_codes.c.request_number == body.code_request_number,
        )
        .order_by(payment_codes.c.payment_code_id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return call.declined(BankCode.CODE_REQUEST_NOT_FOUND)
    wrong, left = check_code(call, row, body.code, used=bool(row.used))
    values = {"attempts_left": left, "used": int(wrong is None)} if wrong is not BankCode.CODE_USED else {"used": 1}
    this_code = payment_codes.c.payment_code_id == row.payment_code_id
    call.connection.execute(update(payment_codes).where(this_code).values(**values))
    if wrong is not None:
        return call.declined(wrong, attempts_left=left)
    authorisation = f"AU{secrets.token_hex(16)}"
    expires_at = call.now + int(call.behaviour.authorisation_validity_seconds * 1000)
    call.connection.execute(
        insert(authorisations).values(
            authorisation=authorisation, payment_code_id=row.payment_code_id, expires_at=expires_at
        )
    )
    return call.succeeded(authorisation=authorisation)


def debit(call: Call, body: DebitBody) -> Answer:
    """Moves money from the payer to the institution's reserve and spends the authorisation, in one
    transaction.
    """
    agreement = agreement_with_account(call.connection, call.bank_code, body.agreement_number)
    wrong = _agreement_fault(agreement) or forced_decline(call) or _amount_fault(call, body)
    wrong = wrong or _spend_authorisation(call, body)
    if wrong is not None:
        return call.declined(wrong)
    return _take_in(call, agreement.account_id, None, body.amount_minor)


def refund(call: Call, body: RefundBody) -> Answer:
    """Gives back part or all of a debit; refunds under way count, so their sum never exceeds it."""
    original = call.connection.execute(
        select(instructions)
        .where(
            instructions.c.bank_code == call.bank_code,
            instructions.c.operation == Operation.DEBIT.value,
            instructions.c.request_number == body.debit_request_number,
            instructions.c.status == Status.SUCCESS.value,
        )
        .order_by(instructions.c.instruction_id.desc())
        .limit(1)
    ).one_or_none()
    if original is None:
        return call.declined(BankCode.DEBIT_NOT_FOUND)
    if body.currency != original.currency:
        return call.declined(BankCode.CURRENCY_NOT_SUPPORTED)
    given_back = call.connection.execute(
        select(func.coalesce(func.sum(instructions.c.amount_minor), 0)).where(
            instructions.c.debit_id == original.instruction_id, instructions.c.status.in_(_OPEN_OR_BOOKED)
        )
    ).scalar_one()
    if given_back + body.amount_minor > original.amount_minor:
        return call.declined(BankCode.REFUND_OVER_DEBIT)
    forced = forced_decline(call)
    if forced is not None:
        return call.declined(forced)
    return _take_in(call, original.account_id, original.instruction_id, body.amount_minor)


def _agreement_fault(agreement: Any) -> BankCode | None:
    if agreement is None:
        return BankCode.AGREEMENT_NOT_FOUND
    return BankCode.AGREEMENT_TERMINATED if agreement.ended_at is not None else None


def _amount_fault(call: Call, body: PaymentCodeBody | DebitBody) -> BankCode | None:
    if body.currency != CURRENCY:
        return BankCode.CURRENCY_NOT_SUPPORTED
    return BankCode.LIMIT_EXCEEDED if body.amount_minor > call.behaviour.per_transaction_limit_minor else None


def _spend_authorisation(call: Call, body: DebitBody) -> BankCode | None:
    if body.verification is Verification.WAIVED:
        return BankCode.AUTHORISATION_INVALID if body.authorisation is not None else None
    if body.authorisation is None:
        return BankCode.AUTHORISATION_REQUIRED
    row = call.connection.execute(
        select(authorisations.c.spent_by, authorisations.c.expires_at, *_BOUND)
        .join(payment_codes, payment_codes.c.payment_code_id == authorisations.c.payment_code_id)
        .where(authorisations.c.authorisation == body.authorisation, payment_codes.c.bank_code == call.bank_code)
    ).one_or_none()
    if row is None or row.spent_by is not None or call.now >= row.expires_at:
        return BankCode.AUTHORISATION_INVALID
    if tuple(row[2:]) != (
        call.request_number,
        body.agreement_number,
        body.amount_minor,
        body.currency,
        body.payee,
    ):
        return BankCode.AUTHORISATION_INVALID
    call.connection.execute(
        update(authorisations)
        .where(authorisations.c.authorisation == body.authorisation)
        .values(spent_by=call.request_number)
    )
    return None


def delayed_end(call: Call) -> tuple[int, BankCode] | None:
    """When and how an instruction ends that is not booked at once."""
    soon, late = call.behaviour.processing_seconds, call.behaviour.late_success_seconds
    ends = {
        FaultKind.PROCESSING_THEN_SUCCESS: (soon, BankCode.OK),
        FaultKind.PROCESSING_THEN_FAILURE: (soon, BankCode.SYSTEM_DECLINED),
        FaultKind.FORGED_CALLBACK: (soon, BankCode.SYSTEM_DECLINED),
        FaultKind.LATE_SUCCESS: (late, BankCode.OK),
    }
    end = ends.get(call.fault.kind) if call.fault is not None else None
    return (call.now + int(end[0] * 1000), end[1]) if end is not None else None


def _take_in(call: Call, account_id: int, debit_id: int | None, amount_minor: int) -> Answer:
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return call.declined(BankCode.SYSTEM_DECLINED)
    columns: dict[str, Any] = {
        "request_id": call.request_id,
        "bank_code": call.bank_code,
        "operation": call.operation.value,
        "request_number": call.request_number,
        "account_id": account_id,
        "debit_id": debit_id,
        "amount_minor": amount_minor,
        "currency": CURRENCY,
    }
    queue = NoticeQueue(call.connection, call.behaviour, call.bank_code, call.now)
    money = Money(amount_minor=amount_minor, currency=CURRENCY)
    end = delayed_end(call)
    if end is None:
        answer = _book(call.connection, columns, BankCode.OK, call.now)
        call.connection.execute(insert(instructions).values(status=answer.status.value, **columns))
        enqueue_final_notices(queue, answer, money, call.fault)
        return answer
    due_at, due_code = end
    call.connection.execute(
        insert(instructions).values(status=Status.PROCESSING.value, due_at=due_at, due_code=due_code.value, **columns)
    )
    answer = call.answered(Status.PROCESSING, BankCode.IN_PROCESS, amount_minor=amount_minor, currency=CURRENCY)
    if call.fault is not None and call.fault.kind is FaultKind.FORGED_CALLBACK:
        enqueue_forged_notice(queue, answer, money)
    return answer


def _book(connection: Connection, row: dict[str, Any], code: BankCode, now: int) -> Answer:
    """Books one instruction, or ends it with the code it fails with."""
    operation = Operation(row["operation"])
    base: dict[str, Any] = {"request_number": row["request_number"], "operation": operation}
    reference = None
    if code is BankCode.OK:
        payer, reserve = row["account_id"], house_account(connection, row["bank_code"], "reserve")
        source, target = (payer, reserve) if operation is Operation.DEBIT else (reserve, payer)
        reference = move(
            connection,
            row["bank_code"],
            kind=operation.value,
            request_number=row["request_number"],
            amount_minor=row["amount_minor"],
            source=source,
            target=target,
            now=now,
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
        **base,
    )


def finish_due(connection: Connection, behaviour: Behaviour, now: int) -> int | None:
    """Ends every instruction whose time has come; answers when the next one is due, in Unix milliseconds."""
    rows = connection.execute(
        select(instructions).where(instructions.c.due_at <= now).order_by(instructions.c.due_at)
    ).all()
    for row in rows:
        columns = dict(row._mapping)
        answer = _book(connection, columns, BankCode(row.due_code), now)
        connection.execute(
            update(instructions)
            .where(instructions.c.instruction_id == row.instruction_id)
            .values(status=answer.status.value, due_at=None)
        )
        remember_end(connection, row.request_id, answer)
        queue = NoticeQueue(connection, behaviour, row.bank_code, now)
        money = Money(amount_minor=row.amount_minor, currency=row.currency)
        enqueue_final_notices(queue, answer, money, None)
    next_due: int | None = connection.execute(select(func.min(instructions.c.due_at))).scalar_one()
    return next_due
