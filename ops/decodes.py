"""The codec server asks here before it shows payloads of processes: may this person, and it is on record (P3.1b)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.schemas import read_as
from domain.errors import ErrorCode
from ops.calls import Call, Operation, run_command
from ops.documentation import documented
from ops.matters import check_reason
from ops.schemas import Decode, Decoded

router = APIRouter(prefix="/ops/v1/decodes", tags=["payloads"])
DECODE = Operation("decode_payloads", "payloads:decode", announced=False)
# What of the list of processes goes into the record, which takes 4 KiB.
_SUBJECTS_RECORDED = 20


@router.post(
    "", **documented("May I see payloads", DECODE, Decoded, [ErrorCode.REASON_HOLDS_PERSONAL_DATA], body=Decode)
)
async def record_decode(request: Request) -> Response:
    """200 only once it is on record."""

    async def record(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(Decode, payload)
        if given.reason is not None:
            check_reason(given.reason)
        call.detail = given.model_dump(exclude_none=True) | {"subjects": given.subjects[:_SUBJECTS_RECORDED]}
        if len(given.subjects) > _SUBJECTS_RECORDED:
            call.detail["further_subjects"] = len(given.subjects) - _SUBJECTS_RECORDED
        return Done({"object": "decode", "payloads": given.payloads})

    return await run_command(request, DECODE, record)
