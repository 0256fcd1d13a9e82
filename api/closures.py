"""Closing a user's account or quick pay: asked, followed, and answered (P4.5a-f, P3.4, A4.4c, P4.2b).

What is behind the user's money comes in here and is sealed at once: no log, record or stored answer has any of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.closure_resources import Closure, ClosureCertificate, PageOfClosures
from api.closure_schemas import FundsRecord, NewClosure, NewErasureReply, NewRecords
from api.documentation import documented, query_parameter
from api.filters import state_filter, user_filter
from api.schemas import read_as
from documents.closing import render
from documents.closure_answers import closure_answer
from domain.business_time import business_date
from domain.closing import ClosureAnswer, ClosureScope, ClosureState, IdentityMethod
from domain.closure_requests import AcceptClosure, HandOverRecords, ReplyToErasure
from domain.due_dates import due_date
from domain.errors import ConflictError, ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.retention import EARLIEST_EVENT, RetainedKind
from vault.retention import RetainedRecord
from workflows.messages import ClosureOrder

router = APIRouter(prefix="/v1", tags=["closing"])
C = ErrorCode

ACCEPT = Operation("accept_closure", "closures:write", 201, IdPrefix.CLOSURE)
HAND_OVER = Operation("hand_over_records", "closures:write")
REPLY = Operation("reply_to_erasure", "closures:write")
READ = Operation("read_closure", "closures:read")

_CALENDAR = "CN"
_STATES = frozenset(ClosureState)
_TAKE_RECORDS = frozenset({ClosureState.RECEIVED, ClosureState.CLOSING, ClosureState.UNSIGNING})
# Whoever asks is checked when they ask, not some other day (P4.4a).
_OLDEST_CHECK = timedelta(hours=24)
_CLOCK_DIFFERENCE = timedelta(seconds=5)


@router.post(
    "/users/{user_id}/closures",
    **documented(
        "Ask that a user's account, or quick pay, is closed",
        ACCEPT.scope,
        {201: Closure},
        [C.USER_NOT_FOUND, C.IDENTITY_CHECK_INVALID, C.CLOSURE_EXISTS, C.USER_NOT_ACTIVE, C.QUICK_PAY_NOT_OPEN],
        body=NewClosure,
        command=True,
        signed=True,
    ),
)
async def ask_to_close(request: Request, user_id: str) -> Response:
    """From now on nothing new is accepted for the user but what empties the account; what was accepted finishes. What
    is in the way shows in `obstacles`, and the closing goes on by itself when it is gone. It cannot be called off."""
    return await run_command(request, ACCEPT, lambda call, payload: _ask(call, user_id, payload))


async def _ask(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewClosure, payload)
    if not is_identifier(user_id, IdPrefix.USER):
        raise NotFoundError(C.USER_NOT_FOUND)
    check = body.identity_check
    if not call.now - _OLDEST_CHECK <= check.checked_at <= call.now + _CLOCK_DIFFERENCE:
        raise RefusedError(C.IDENTITY_CHECK_INVALID, field="identity_check.checked_at")
    due = due_date(call.now, call.services.policy.closing, await call.services.calendars.calendar(_CALENDAR))
    command = AcceptClosure(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        scope=body.scope,
        identity_method=IdentityMethod(check.method),
        identity_checked_at=check.checked_at,
        identity_evidence_ref=check.evidence_ref,
        due_on=due.due_on,
        escalate_on=due.escalate_on,
        due_is_provisional=due.provisional,
    )
    closure = await call.accept(call.services.closures.accept, command)
    # Should this not get through, the sweeper starts it under the same id.
    order = ClosureOrder(closure_id=closure["id"], merchant_id=call.merchant_id, user_id=user_id)
    await call.services.processes.close_account(order)
    return Done(closure)


@router.post(
    "/closures/{closure_id}/records",
    **documented(
        "Hand over records of where the user's funds came from",
        HAND_OVER.scope,
        {200: Closure},
        [C.CLOSURE_NOT_FOUND, C.RECORDS_NOT_AWAITED],
        body=NewRecords,
        command=True,
        signed=True,
    ),
)
async def hand_over_records(request: Request, closure_id: str) -> Response:
    """Of the orders behind what the user was paid. They are sealed on arrival for as long as the law says, readable for
    nobody but an authority with an order. An order that was handed over stays as it was told first. The last request
    says `complete`: before that the account stays open."""
    return await run_command(request, HAND_OVER, lambda call, payload: _hand_over(call, closure_id, payload))


async def _hand_over(call: Call, closure_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewRecords, payload)
    _check_records(call, body.records)
    standing = None
    if is_identifier(closure_id, IdPrefix.CLOSURE):
        standing = await call.services.closures.standing(call.merchant_id, closure_id)
    if standing is None:
        raise NotFoundError(C.CLOSURE_NOT_FOUND)
    if standing["scope"] != ClosureScope.ACCOUNT or standing["state"] not in _TAKE_RECORDS:
        raise ConflictError(C.RECORDS_NOT_AWAITED)
    # Kept before they are counted: what is lost in between is handed over again and kept once.
    await call.services.retention.keep(_retained(call, closure_id, standing, record) for record in body.records)
    command = HandOverRecords(
        request=call.context, now=call.now, closure_id=closure_id, count=len(body.records), complete=body.complete
    )
    closure = await call.accept(call.services.closures.hand_over, command)
    await call.services.processes.tell_closure(closure_id)
    return Done(closure)


def _check_records(call: Call, records: Sequence[FundsRecord]) -> None:
    """Raises ValidationRefusedError that names the places, never a value."""
    today, seen, faults = business_date(call.now), set[str](), []
    for number, record in enumerate(records):
        if record.order_number in seen:
            faults.append(FieldError(f"records.{number}.order_number", "repeated"))
        if not EARLIEST_EVENT <= record.traded_on <= today:
            faults.append(FieldError(f"records.{number}.traded_on", "out_of_range"))
        seen.add(record.order_number)
    if faults:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=faults[:20])


def _retained(call: Call, closure_id: str, standing: dict[str, Any], record: FundsRecord) -> RetainedRecord:
    """Kept at least as long as the last booking that it may explain, whatever day the merchant names (A4.4a)."""
    clock = standing["clock"]
    booked_on = date.fromisoformat(clock["booked_on"]) if clock["booked_on"] else record.traded_on
    order = hashlib.sha256(record.order_number.encode()).hexdigest()
    return RetainedRecord(
        record_id=call.services.new_id(IdPrefix.RETAINED_RECORD),
        user_id=standing["user_id"],
        merchant_id=call.merchant_id,
        kind=RetainedKind.SOURCE_OF_FUNDS,
        # An order number may be longer than there is room.
        source_id=f"{closure_id}:{order[:40]}",
        event_on=max(record.traded_on, booked_on),
        consent_until=clock["consent_until"],
        content=record.model_dump(mode="json"),
    )


@router.post(
    "/closures/{closure_id}/erasure_reply",
    **documented(
        "Say what you did with the user's data",
        REPLY.scope,
        {200: Closure},
        [C.CLOSURE_NOT_FOUND, C.ERASURE_NOT_ASKED, C.ERASURE_REPLIED],
        body=NewErasureReply,
        command=True,
    ),
)
async def reply_to_erasure(request: Request, closure_id: str) -> Response:
    """`closure.completed` asks you to delete what you got about the user from the institution. The reply stands in the
    user's answer, and cannot be changed."""
    return await run_command(request, REPLY, lambda call, payload: _reply(call, closure_id, payload))


async def _reply(call: Call, closure_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewErasureReply, payload)
    _check_shape(closure_id)
    command = ReplyToErasure(
        request=call.context, now=call.now, closure_id=closure_id, outcome=body.outcome, reason=body.reason
    )
    closure = await call.accept(call.services.closures.reply_to_erasure, command)
    await call.services.processes.tell_closure(closure_id)
    return Done(closure)


@router.get(
    "/closures",
    **documented(
        "List closures",
        READ.scope,
        {200: PageOfClosures},
        paged=True,
        parameters=[
            query_parameter("user_id", "Only closures of this user."),
            query_parameter("state", "Only closures in this state.", enum=sorted(_STATES)),
        ],
    ),
)
async def list_closures(request: Request) -> Response:
    """Of all channels: also what your users asked for by telephone or email."""

    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.CLOSURE))
        found = await call.services.closures.closures(
            call.merchant_id, before, limit, call.now, user_id=user_filter(call), state=state_filter(call, _STATES)
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/closures/{closure_id}", **documented("Read a closure", READ.scope, {200: Closure}, [C.CLOSURE_NOT_FOUND]))
async def read_closure(request: Request, closure_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        _check_shape(closure_id)
        found = await call.services.closures.closure(call.merchant_id, closure_id, call.now)
        if found is None:
            raise NotFoundError(C.CLOSURE_NOT_FOUND)
        return found

    return await run_read(request, READ, read)


@router.get(
    "/closures/{closure_id}/certificate",
    **documented(
        "The answer to the user, as a document",
        READ.scope,
        {200: ClosureCertificate},
        [C.CLOSURE_NOT_FOUND, C.CLOSURE_NOT_ANSWERED],
        also_as="text/html",
    ),
)
async def read_certificate(request: Request, closure_id: str) -> Response:
    """One page in Chinese and English, to be shown, sent or printed; as JSON with `Accept: application/json`. What
    recipients have replied is as of now."""

    async def read(call: Call) -> Mapping[str, Any] | Response:
        answer = await _answer(call, closure_id)
        if _wants_json(request):
            return answer.model_dump(mode="json")
        return HTMLResponse(render(answer, call.services.policy.contact))

    return await run_read(request, READ, read)


async def _answer(call: Call, closure_id: str) -> ClosureAnswer:
    _check_shape(closure_id)
    facts = await call.services.closures.facts(call.merchant_id, closure_id, call.now)
    if facts is None:
        raise NotFoundError(C.CLOSURE_NOT_FOUND)
    answer = closure_answer(facts, await call.services.retention.kept(facts["closure"]["user_id"]))
    if answer is None:
        raise ConflictError(C.CLOSURE_NOT_ANSWERED)
    return answer


def _wants_json(request: Request) -> bool:
    """Whoever names both gets the page."""
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _check_shape(closure_id: str) -> None:
    if not is_identifier(closure_id, IdPrefix.CLOSURE):
        raise NotFoundError(C.CLOSURE_NOT_FOUND)
