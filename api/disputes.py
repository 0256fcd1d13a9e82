"""Disputes between a user and the merchant: while one is open, nothing is closed (P4.5b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.closure_resources import Dispute, PageOfDisputes
from api.closure_schemas import NewDispute
from api.documentation import documented, query_parameter
from api.filters import state_filter, user_filter
from api.schemas import read_as
from domain.closing import DisputeState
from domain.closure_requests import OpenDispute
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier

router = APIRouter(prefix="/v1", tags=["disputes"])
C = ErrorCode

OPEN = Operation("open_dispute", "disputes:write", 201, IdPrefix.DISPUTE)
READ = Operation("read_dispute", "disputes:read")
_STATES = frozenset(DisputeState)


@router.post(
    "/users/{user_id}/disputes",
    **documented(
        "Record a dispute with a user",
        OPEN.scope,
        {201: Dispute},
        [C.USER_NOT_FOUND, C.DISPUTE_SUBJECT_NOT_FOUND, C.DISPUTE_EXISTS],
        body=NewDispute,
        command=True,
    ),
)
async def open_dispute(request: Request, user_id: str) -> Response:
    """About one instruction of the user, or the account as a whole. Payments go on; the account cannot be closed until
    the institution has resolved it, which `dispute.resolved` tells."""
    return await run_command(request, OPEN, lambda call, payload: _open(call, user_id, payload))


async def _open(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewDispute, payload)
    if not is_identifier(user_id, IdPrefix.USER):
        raise NotFoundError(C.USER_NOT_FOUND)
    command = OpenDispute(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        subject_id=body.subject_id or user_id,
        reason=body.reason,
        evidence_ref=body.evidence_ref,
    )
    return Done(await call.accept(call.services.closures.open_dispute, command))


@router.get(
    "/disputes",
    **documented(
        "List disputes",
        READ.scope,
        {200: PageOfDisputes},
        paged=True,
        parameters=[
            query_parameter("user_id", "Only disputes of this user."),
            query_parameter("state", "Only disputes in this state.", enum=sorted(_STATES)),
        ],
    ),
)
async def list_disputes(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.DISPUTE))
        found = await call.services.closures.disputes(
            call.merchant_id, before, limit, user_id=user_filter(call), state=state_filter(call, _STATES)
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/disputes/{dispute_id}", **documented("Read a dispute", READ.scope, {200: Dispute}, [C.DISPUTE_NOT_FOUND]))
async def read_dispute(request: Request, dispute_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        found = None
        if is_identifier(dispute_id, IdPrefix.DISPUTE):
            found = await call.services.closures.dispute(call.merchant_id, dispute_id)
        if found is None:
            raise NotFoundError(C.DISPUTE_NOT_FOUND)
        return found

    return await run_read(request, READ, read)
