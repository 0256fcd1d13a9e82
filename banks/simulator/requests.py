"""What the bank remembers of requests: the nonces it has seen, and under each request number what it
answered.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from banks.simulator.faults import Fault
from banks.simulator.protocol import Answer, BankCode, Body, Operation, Status
from banks.simulator.settings import Behaviour
from banks.simulator.tables import nonces, requests


class RequestRefusedError(Exception):
    """The request is not taken in: nothing of it is booked or remembered."""

    def __init__(self, http_status: int, code: BankCode, invalid_fields: list[str] | None = None) -> None:
        super().__init__(code.value)
        self.http_status = http_status
        self.answer = Answer(status=Status.REFUSED, code=code, invalid_fields=invalid_fields)


@dataclass(frozen=True)
class Call:
    """One verified request on its way through one transaction; `now` in Unix milliseconds."""

    connection: Connection
    behaviour: Behaviour
    bank_code: str
    operation: Operation
    request_number: str
    request_id: int
    fault: Fault | None
    now: int
    is_bank_open: bool = True
    is_desk_open: bool = True

    def answered(self, status: Status, code: BankCode, **fields: Any) -> Answer:
        """The answer to this request."""
        return Answer(request_number=self.request_number, operation=self.operation, status=status, code=code, **fields)

    def succeeded(self, **fields: Any) -> Answer:
        """Done, and final."""
        return self.answered(Status.SUCCESS, BankCode.OK, **fields)

    def declined(self, code: BankCode, **fields: Any) -> Answer:
        """The bank's no, and final."""
        return self.answered(Status.FAILED, code, **fields)


def use_nonce(connection: Connection, nonce: str, now: int) -> None:
    """Marks a nonce as seen in the same transaction as the effect; refuses one that was seen before."""
    try:
        connection.execute(insert(nonces).values(nonce=nonce, seen_at=now))
    except IntegrityError:
        raise RequestRefusedError(401, BankCode.NONCE_REPLAYED) from None


def forget_nonces(connection: Connection, before: int) -> None:
    """Drops nonces so old that their timestamps would be refused anyway."""
    connection.execute(delete(nonces).where(nonces.c.seen_at < before))


def content_hash(operation: Operation, body: Body) -> str:
    """Equal for equal content, whatever the order and spacing of the JSON."""
    content = json.dumps([operation.value, body.model_dump(mode="json")], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def remembered(connection: Connection, bank_code: str, request_number: str, oldest: int) -> Any:
    """The row of a request number received at or after `oldest`; an older one is forgotten now, its
    bookings stay. A notice of erasure may be replied to after months: its number is never forgotten.
    """
    row = connection.execute(
        select(requests).where(
            requests.c.bank_code == bank_code,
            requests.c.request_number == request_number,
            requests.c.forgotten == 0,
        )
    ).one_or_none()
    if row is None or row.received_at >= oldest or row.operation == Operation.ERASURE_NOTICE:
        return row
    connection.execute(update(requests).where(requests.c.request_id == row.request_id).values(forgotten=1))
    return None


def first_answer(row: Any, operation: Operation, body: Body) -> Answer:
    """What this number was answered (for one that was processing: what became of it). Other content is
    refused.
    """
    if row.content_hash != content_hash(operation, body):
        raise RequestRefusedError(409, BankCode.REQUEST_NUMBER_REUSED)
    return Answer.model_validate_json(row.answer)


def remember(call: Call, body: Body, answer: Answer) -> None:
    """Keeps the answer under the request number."""
    call.connection.execute(
        insert(requests).values(
            request_id=call.request_id,
            bank_code=call.bank_code,
            request_number=call.request_number,
            operation=call.operation.value,
            content_hash=content_hash(call.operation, body),
            answer=answer.model_dump_json(exclude_none=True),
            received_at=call.now,
        )
    )


def remember_end(connection: Connection, request_id: int, answer: Answer) -> None:
    """Replaces the answer of a request that was processing by its final one."""
    connection.execute(
        update(requests)
        .where(requests.c.request_id == request_id)
        .values(answer=answer.model_dump_json(exclude_none=True))
    )


def remember_anew(connection: Connection, request_id: int, answer: Answer, now: int) -> None:
    """Replaces the answer of what has changed after it was final (a payout that came back, a deal that was delivered or
    is above the quota), and remembers its number anew from now on, so that it can be asked about however late that is;
    unless the number, forgotten, was used again meanwhile.
    """
    this = requests.c.request_id == request_id
    remember_end(connection, request_id, answer)
    number = select(requests.c.bank_code, requests.c.request_number).where(this).subquery()
    again = select(requests.c.request_id).where(
        requests.c.bank_code == number.c.bank_code,
        requests.c.request_number == number.c.request_number,
        requests.c.request_id != request_id,
        requests.c.forgotten == 0,
    )
    if connection.execute(again).first() is None:
        connection.execute(update(requests).where(this).values(received_at=now, forgotten=0))


def last_request_id(connection: Connection) -> int:
    """The highest number given so far; the one process that owns the file counts on from it."""
    return int(connection.execute(select(func.coalesce(func.max(requests.c.request_id), 0))).scalar_one())
