"""Disputes of users and merchants: while one is open, the account is not closed (P4.5b). A decision resolves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from domain.closing import DisputeState
from domain.closure_work import RecordDispute
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier
from ops.calls import Call, Operation, run_command, run_read
from ops.closing_schemas import DisputeOfUser, NewDispute
from ops.closures import tell_closure_of
from ops.documentation import documented
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.ops_closures import OpsClosures

router = APIRouter(prefix="/ops/v1/disputes", tags=["closures"])
C = ErrorCode

RECORD = Operation("record_dispute", "disputes:write", 201)
LIST = Operation("list_disputes", "closures:read")
READ = Operation("read_dispute", "closures:read")
_STATES = [state.value for state in DisputeState]


@router.post(
    "",
    **documented(
        "Record a dispute",
        RECORD,
        DisputeOfUser,
        [C.USER_NOT_FOUND, C.DISPUTE_SUBJECT_NOT_FOUND, C.DISPUTE_EXISTS],
        body=NewDispute,
    ),
)
async def record_dispute(request: Request) -> Response:
    """What a user reports to the institution; merchants report theirs over their API. It ends by `dispute.resolve`."""
    return await run_command(request, RECORD, _record)


async def _record(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewDispute, payload)
    command = RecordDispute(
        now=call.now,
        request_id=call.request_id,
        operator_id=call.operator_id,
        id=call.services.new_id(IdPrefix.DISPUTE),
        user_id=given.user_id,
        subject_id=given.subject_id or given.user_id,
        reason=given.reason,
        evidence_ref=given.evidence_ref,
    )
    await call.recorded(_book(call).work(RECORD.action, command))
    await tell_closure_of(call, command.user_id)
    return Done(await _one(call, command.id))


@router.get(
    "",
    **documented(
        "Disputes",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=_STATES),
            query_parameter("merchant_id", "Only those of one merchant."),
            query_parameter("user_id", "Only those of one user."),
        ],
    ),
)
async def list_disputes(request: Request) -> Response:
    """The newest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _book(call).disputes(
            cursor_of(call, r"dsp_[0-9A-Z]{26}"),
            limit,
            state=text_of(call, "state", "|".join(_STATES)),
            merchant_id=text_of(call, "merchant_id", r"mch_[0-9A-Z]{26}"),
            user_id=text_of(call, "user_id", r"usr_[0-9A-Z]{26}"),
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/{dispute_id}", **documented("One dispute", READ, DisputeOfUser, [C.DISPUTE_NOT_FOUND]))
async def read_dispute(request: Request, dispute_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return await _one(call, dispute_id)

    return await run_read(request, READ, read)


async def _one(call: Call, dispute_id: str) -> dict[str, Any]:
    found = await _book(call).dispute(dispute_id) if is_identifier(dispute_id, IdPrefix.DISPUTE) else None
    if found is None:
        raise NotFoundError(C.DISPUTE_NOT_FOUND)
    call.merchant_id = found["merchant_id"]
    return found


def _book(call: Call) -> OpsClosures:
    return OpsClosures(call.services.engine)
