"""Payment without a code: a merchant applies, the institution decides, each user authorises (A3.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, run_command, run_read
from api.documentation import documented
from api.resources import Waiver, WaiverApplication
from api.schemas import NewWaiverApplication, read_as
from domain.errors import ErrorCode, RefusedError
from domain.identifiers import IdPrefix
from domain.instructions import ApplyForWaiver

router = APIRouter(prefix="/v1/waiver", tags=["waiver"])
C = ErrorCode
CURRENCY = "CNY"

APPLY = Operation("apply_for_waiver", "waiver:write", 201, IdPrefix.WAIVER)
READ = Operation("read_waiver", "waiver:read")


@router.post(
    "/applications",
    **documented(
        "Apply for payment without a code",
        APPLY.scope,
        {201: WaiverApplication},
        [C.WAIVER_APPLICATION_EXISTS, C.CURRENCY_NOT_SUPPORTED, C.MERCHANT_SUSPENDED],
        body=NewWaiverApplication,
        command=True,
    ),
)
async def apply_for_waiver(request: Request) -> Response:
    return await run_command(request, APPLY, _apply)


async def _apply(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewWaiverApplication, payload)
    if body.currency != CURRENCY:
        raise RefusedError(C.CURRENCY_NOT_SUPPORTED, field="currency")
    command = ApplyForWaiver(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        limit_minor=body.limit_minor,
        currency=body.currency,
    )
    return Done(await call.accept(call.services.instructions.apply_for_waiver, command))


@router.get("", **documented("The waiver in force", READ.scope, {200: Waiver}))
async def read_waiver(request: Request) -> Response:
    """`version` is what users authorise and are shown the notice for. The lowest of your limit, the issuer's and the
    law's counts; a payment of exactly the limit needs no code."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = {item["state"]: item for item in await call.services.reading.waivers(call.merchant_id)}
        in_force = found.get("approved", {})
        return {
            "object": "waiver",
            "enabled": bool(in_force),
            "version": in_force.get("id"),
            "limit_minor": in_force.get("limit_minor"),
            "currency": in_force.get("currency"),
            "law_limit_minor": call.services.policy.waiver_law_limit_minor,
            "application": found.get("pending"),
        }

    return await run_read(request, READ, read)
