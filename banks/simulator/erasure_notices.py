"""Notices of erasure: taken in, carried out at once, later or on command, and replied to."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from banks.simulator.agreements import forced_decline
from banks.simulator.erasure import erase
from banks.simulator.faults import FaultKind
from banks.simulator.payments import delayed_end
from banks.simulator.protocol import Answer, BankCode, ErasureNoticeBody, KeptReason, Operation, Status
from banks.simulator.requests import Call, remember_end
from banks.simulator.settings import Behaviour
from banks.simulator.tables import erasure_notices

_KEPT: dict[FaultKind, KeptReason] = {
    FaultKind.KEPT_BY_LAW: "law",
    FaultKind.KEPT_BY_OWN_AUTHORISATION: "own_authorisation",
}


class NotWaitingError(Exception):
    """Only a notice that was not replied to yet can be. `status` is where it stands, or None."""

    def __init__(self, status: str | None) -> None:
        super().__init__(status or "unknown")
        self.status = status


def take_notice(call: Call, body: ErasureNoticeBody) -> Answer:
    """Deletes what may be deleted, and replies; or takes it in, and does so later."""
    wrong = _refusal(call)
    if wrong is not None:
        return call.declined(wrong)
    columns: dict[str, Any] = {
        "request_id": call.request_id,
        "bank_code": call.bank_code,
        "request_number": call.request_number,
        "scope": body.scope,
        "disclosed_under": json.dumps(body.disclosed_under),
        "received_at": call.now,
    }
    waits = _waiting(call)
    if waits is not None:
        call.connection.execute(insert(erasure_notices).values(**columns, status=Status.PROCESSING, **waits))
        return call.answered(Status.PROCESSING, BankCode.IN_PROCESS)
    kept = _KEPT.get(call.fault.kind) if call.fault is not None else None
    done = _carry_out(call.connection, columns, BankCode.OK, kept, call.now)
    call.connection.execute(insert(erasure_notices).values(**columns, **done))
    return _answer_of({**columns, **done}, BankCode.OK)


def _refusal(call: Call) -> BankCode | None:
    if call.fault is not None and call.fault.kind is FaultKind.ANSWER_FORGED:
        return BankCode.SYSTEM_DECLINED
    return forced_decline(call)


def _waiting(call: Call) -> dict[str, Any] | None:
    """When it is replied to, if that is not now."""
    kind = call.fault.kind if call.fault is not None else None
    if kind is FaultKind.REPLIES_ON_COMMAND:
        return {}
    end = delayed_end(call)
    if end is None and call.behaviour.erasure_reply_seconds and kind not in _KEPT:
        end = (call.now + int(call.behaviour.erasure_reply_seconds * 1000), BankCode.OK)
    return None if end is None else {"due_at": end[0], "due_code": end[1].value}


def _carry_out(
    connection: Connection, row: dict[str, Any], code: BankCode, kept: KeptReason | None, now: int
) -> dict[str, Any]:
    """Answers what of the row that makes. `kept`: nothing is deleted, for this reason."""
    done: dict[str, Any] = {"due_at": None, "replied_at": now}
    if code is not BankCode.OK:
        return done | {"status": Status.FAILED}
    numbers: list[str] = json.loads(row["disclosed_under"])
    reasons = erase(connection, row["bank_code"], numbers, now) if kept is None else [kept] * len(numbers)
    done |= {"status": Status.SUCCESS, "erasure": "kept" if reasons else "erased"}
    if reasons:
        # What the law demands comes first: the person can withdraw the other.
        done |= {"kept_reason": "law" if "law" in reasons else reasons[0], "kept_count": len(reasons)}
    return done


def _answer_of(row: dict[str, Any], code: BankCode) -> Answer:
    return Answer(
        request_number=row["request_number"],
        operation=Operation.ERASURE_NOTICE,
        status=Status(row["status"]),
        code=code,
        erasure=row.get("erasure"),
        kept_reason=row.get("kept_reason"),
        kept_count=row.get("kept_count"),
    )


def finish_due_notices(connection: Connection, behaviour: Behaviour, now: int) -> int | None:
    """Replies to every notice whose time has come; answers when the next is due, in Unix milliseconds."""
    due = select(erasure_notices).where(erasure_notices.c.due_at <= now).order_by(erasure_notices.c.due_at)
    for row in connection.execute(due).all():
        _reply(connection, dict(row._mapping), BankCode(row.due_code), None, now)
    next_due: int | None = connection.execute(select(func.min(erasure_notices.c.due_at))).scalar_one()
    return next_due


def reply_now(connection: Connection, bank_code: str, request_number: str, kept: KeptReason | None, now: int) -> Answer:
    """Replies to a notice that waits: deletes what may be deleted, or keeps all. Raises `NotWaitingError`."""
    here = (erasure_notices.c.bank_code == bank_code, erasure_notices.c.request_number == request_number)
    row = connection.execute(select(erasure_notices).where(*here)).one_or_none()
    if row is None or row.status != Status.PROCESSING:
        raise NotWaitingError(None if row is None else row.status)
    return _reply(connection, dict(row._mapping), BankCode.OK, kept, now)


def _reply(connection: Connection, row: dict[str, Any], code: BankCode, kept: KeptReason | None, now: int) -> Answer:
    done = _carry_out(connection, row, code, kept, now)
    this = erasure_notices.c.erasure_id == row["erasure_id"]
    connection.execute(update(erasure_notices).where(this).values(**done))
    answer = _answer_of({**row, **done}, code)
    remember_end(connection, row["request_id"], answer)
    return answer
