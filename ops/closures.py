"""Closing and deletion: requests recorded, identities verified, obstacles, answers (P3.4, P4.2, P4.4, P4.5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from calendars.book import CalendarBook
from documents.closing import render
from documents.closure_answers import closure_answer
from domain.business_time import business_date
from domain.closing import ClosureScope, ClosureState, DeletionGround, IdentityMethod
from domain.closure_work import RecordClosure, VerifyIdentity
from domain.due_dates import due_date
from domain.errors import ConflictError, ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.personal_data import PersonalField
from ops.calls import Call, Operation, run_command, run_read
from ops.closing_schemas import Certificate, ClosureOfUser, IdentityCheck, NewClosure
from ops.documentation import documented
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.calendars import Calendars
from storage.ops_closures import OpsClosures
from storage.ops_retention import OpsRetention
from vault.indexing import IndexKind
from workflows.messages import ClosureOrder

router = APIRouter(prefix="/ops/v1/closures", tags=["closures"])
C = ErrorCode

RECORD = Operation("record_closure", "closures:write", 201)
VERIFY = Operation("verify_identity", "closures:verify")
LIST = Operation("list_closures", "closures:read")
READ = Operation("read_closure", "closures:read")
CERTIFICATE = Operation("read_certificate", "closures:read")
_STATES = [state.value for state in ClosureState]
# The answer loads nothing and runs nothing, whatever it is opened with.
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.post(
    "",
    **documented(
        "Record a request to close or to delete",
        RECORD,
        ClosureOfUser,
        [
            C.USER_NOT_FOUND,
            C.USER_NOT_ACTIVE,
            C.CLOSURE_EXISTS,
            C.QUICK_PAY_NOT_OPEN,
            C.NOTHING_TO_DELETE,
            C.RECEIVED_AT_INVALID,
        ],
        body=NewClosure,
    ),
)
async def record_closure(request: Request) -> Response:
    """What came by telephone or email; nothing happens with it before the identity is verified."""
    return await run_command(request, RECORD, _record)


async def _record(call: Call, payload: dict[str, Any]) -> Done:
    given, rules = read_as(NewClosure, payload), call.services.closing_rules
    given.check_whole()
    oldest = call.now - timedelta(days=rules.received_at_most_days_ago)
    received_at = given.received_at or call.now
    if not oldest <= received_at <= call.now:
        raise RefusedError(C.RECEIVED_AT_INVALID, field="received_at")
    calendar = await CalendarBook(Calendars(call.services.engine)).calendar("CN")
    due = due_date(received_at, rules, calendar)
    command = RecordClosure(
        now=call.now,
        request_id=call.request_id,
        operator_id=call.operator_id,
        id=call.services.new_id(IdPrefix.CLOSURE),
        user_id=given.user_id,
        scope=ClosureScope(given.scope),
        channel=given.channel,
        ground=DeletionGround(given.ground) if given.ground else None,
        fields=tuple(PersonalField(name) for name in dict.fromkeys(given.fields)),
        evidence_ref=given.evidence_ref,
        received_at=received_at,
        due_on=due.due_on,
        escalate_on=due.escalate_on,
        due_is_provisional=due.provisional,
    )
    made = await call.recorded(_closures(call).work(RECORD.action, command))
    # Should this not get through, the sweeper starts it under the same id.
    order = ClosureOrder(closure_id=made["id"], merchant_id=made["merchant_id"], user_id=made["user_id"])
    await call.services.processes.close_account(order)
    return Done(made)


@router.post(
    "/{closure_id}/identity",
    **documented(
        "Verify who asks",
        VERIFY,
        ClosureOfUser,
        [C.CLOSURE_NOT_FOUND, C.IDENTITY_NOT_AWAITED, C.IDENTITY_DIFFERS, C.IDENTITY_ATTEMPTS_EXHAUSTED],
        body=IdentityCheck,
    ),
)
async def verify_identity(request: Request, closure_id: str) -> Response:
    """The number is compared as a keyed digest and stands in no record, log or answer; the outcome is kept (P4.4a)."""

    async def verify(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(IdentityCheck, payload)
        given.check_whole()
        number = given.id_number
        command = VerifyIdentity(
            now=call.now,
            request_id=call.request_id,
            operator_id=call.operator_id,
            closure_id=_checked(closure_id),
            method=IdentityMethod(given.method),
            holds=given.holds,
            person_index=call.services.vault.blind_index(IndexKind.PERSON, number) if number else None,
            evidence_ref=given.evidence_ref,
            most=call.services.closing_rules.identity_attempts,
        )
        made = await call.recorded(_closures(call).work(VERIFY.action, command))
        await call.services.processes.tell_closure(closure_id)
        return Done(made)

    return await run_command(request, VERIFY, verify)


@router.get(
    "",
    **documented(
        "Requests to close or to delete",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=_STATES),
            query_parameter("overdue", "Only those that should have been answered by now.", enum=["true"]),
            query_parameter("merchant_id", "Only those of one merchant."),
            query_parameter("user_id", "Only those of one user."),
        ],
    ),
)
async def list_closures(request: Request) -> Response:
    """The newest first, each with what is in its way now."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _closures(call).page(
            cursor_of(call, r"cls_[0-9A-Z]{26}"),
            limit,
            now=call.now,
            today=business_date(call.now),
            state=text_of(call, "state", "|".join(_STATES)),
            merchant_id=text_of(call, "merchant_id", r"mch_[0-9A-Z]{26}"),
            user_id=text_of(call, "user_id", r"usr_[0-9A-Z]{26}"),
            overdue=text_of(call, "overdue", "true") is not None,
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/{closure_id}", **documented("One request", READ, ClosureOfUser, [C.CLOSURE_NOT_FOUND]))
async def read_closure(request: Request, closure_id: str) -> Response:
    """What is in its way, by when it is due, who was told and what they replied."""

    async def read(call: Call) -> Mapping[str, Any]:
        closure: dict[str, Any] = (await _facts(call, closure_id))["closure"]
        return closure

    return await run_read(request, READ, read)


@router.get(
    "/{closure_id}/certificate",
    **documented(
        "The answer to the user",
        CERTIFICATE,
        Certificate,
        [C.CLOSURE_NOT_FOUND, C.CLOSURE_NOT_ANSWERED],
        media_type="text/html",
    ),
)
async def read_certificate(request: Request, closure_id: str) -> Response:
    """A certificate, or why not; in Chinese and English, without personal data."""

    async def read(call: Call) -> Response:
        facts = await _facts(call, closure_id)
        kept = await OpsRetention(call.services.engine, call.services.retention_rules).kept(facts["closure"]["user_id"])
        answer = closure_answer(facts, kept)
        if answer is None:
            raise ConflictError(C.CLOSURE_NOT_ANSWERED, subject_id=closure_id)
        return HTMLResponse(render(answer, call.services.contact), headers=_PAGE_HEADERS)

    return await run_read(request, CERTIFICATE, read)


async def tell_closure_of(call: Call, subject_id: str) -> None:
    """The closure that a closure, a dispute or a user is about looks again now, if one is under way; else the sweeper
    sees to it."""
    closure_id = await _closures(call).to_tell(subject_id)
    if closure_id is not None:
        await call.services.processes.tell_closure(closure_id)


async def _facts(call: Call, closure_id: str) -> dict[str, Any]:
    found = await _closures(call).facts(_checked(closure_id), call.now)
    if found is None:
        raise NotFoundError(C.CLOSURE_NOT_FOUND)
    call.merchant_id = found["closure"]["merchant_id"]
    return found


def _checked(closure_id: str) -> str:
    if not is_identifier(closure_id, IdPrefix.CLOSURE):
        raise NotFoundError(C.CLOSURE_NOT_FOUND)
    return closure_id


def _closures(call: Call) -> OpsClosures:
    return OpsClosures(call.services.engine)
