"""Reports of users that a payment was not theirs, or something is not safe: their payments stop at once (A3.9a)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, run_command
from api.documentation import documented
from api.resources import Report
from api.schemas import NewReport, read_as
from domain.errors import ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.instructions import ReportUser

router = APIRouter(prefix="/v1/users", tags=["reports"])
C = ErrorCode

REPORT = Operation("report_user", "reports:write", 201, IdPrefix.CASE)
_CLOCK_DIFFERENCE = timedelta(seconds=5)


@router.post(
    "/{user_id}/reports",
    **documented(
        "Report misuse, theft or tampering",
        REPORT.scope,
        {201: Report},
        [C.USER_NOT_FOUND, C.PAYMENT_NOT_FOUND, C.DISCOVERED_AT_INVALID],
        body=NewReport,
        command=True,
    ),
)
async def report_user(request: Request, user_id: str) -> Response:
    """From the instant at which it is received here no further payment of this user is accepted, no code of one is
    taken, and none that waits is sent to a bank. A case is open; the institution resumes payments once it is clear."""
    return await run_command(request, REPORT, lambda call, payload: _report(call, user_id, payload))


async def _report(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewReport, payload)
    if not is_identifier(user_id, IdPrefix.USER):
        raise NotFoundError(C.USER_NOT_FOUND)
    if body.discovered_at is not None and body.discovered_at > call.now + _CLOCK_DIFFERENCE:
        raise RefusedError(C.DISCOVERED_AT_INVALID, field="discovered_at")
    command = ReportUser(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=user_id,
        kind=body.kind,
        payment_id=body.payment_id,
        discovered_at=body.discovered_at,
        channel=body.channel,
        evidence_ref=body.evidence_ref,
    )
    return Done(await call.accept(call.services.instructions.report_user, command))
