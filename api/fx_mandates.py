"""Standing mandates: what arrives for a user in a currency is converted as soon as it may be (A3.2b, A5.1a)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.documentation import documented, query_parameter
from api.filters import state_filter, user_filter
from api.fx_identity import OBSTACLES, residency_class
from api.fx_resources import FxMandate, PageOfFxMandates
from api.fx_schemas import NewFxMandate
from api.fx_terms import currency_rules
from api.schemas import read_as
from api.users import user_of
from domain.errors import ErrorCode, NotFoundError
from domain.fx import AcceptFxMandate, EndFxMandate
from domain.identifiers import IdPrefix, is_identifier

router = APIRouter(prefix="/v1/fx_mandates", tags=["foreign currency"])
C = ErrorCode

ACCEPT = Operation("accept_fx_mandate", "fx:write", 201, IdPrefix.FX_MANDATE)
END = Operation("end_fx_mandate", "fx:write")
READ = Operation("read_fx_mandate", "fx:read")
_STATES = frozenset({"active", "ended"})


@router.post(
    "",
    **documented(
        "Record a standing mandate of a user",
        ACCEPT.scope,
        {201: FxMandate},
        [C.USER_NOT_FOUND, C.CURRENCY_NOT_SUPPORTED, *OBSTACLES, C.MANDATE_END_INVALID, C.FX_MANDATE_EXISTS],
        body=NewFxMandate,
        command=True,
        signed=True,
    ),
)
async def accept_fx_mandate(request: Request) -> Response:
    """What arrives from now on is converted under it; what lies on the balance already is not. One at a time for each
    user and currency. The user has to have been shown what a conversion's preview shows."""
    return await run_command(request, ACCEPT, _accept)


async def _accept(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewFxMandate, payload)
    currency_rules(call, body.currency)
    policy = call.services.policy
    command = AcceptFxMandate(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=body.user_id,
        currency=body.currency,
        purpose_code=body.purpose_code,
        is_trade=body.is_trade,
        evidence=body.given_evidence(),
        residency=await residency_class(call, await user_of(call, body.user_id)),
        over_quota=body.over_quota,
        mandate_reference=body.mandate_reference,
        agreement_version=policy.agreement.version,
        valid_until=body.valid_until,
        blocked_regions=policy.blocked_regions,
    )
    return Done(await call.accept(call.services.fx.accept_mandate, command))


@router.post(
    "/{fx_mandate_id}/end",
    **documented("End a mandate", END.scope, {200: FxMandate}, [C.FX_MANDATE_NOT_FOUND], command=True),
)
async def end_fx_mandate(request: Request, fx_mandate_id: str) -> Response:
    """Nothing that arrives later is converted under it; what was accepted is converted all the same (A3.3a)."""

    async def end(call: Call, _payload: dict[str, Any]) -> Done:
        _check_shape(fx_mandate_id)
        command = EndFxMandate(request=call.context, now=call.now, id=fx_mandate_id)
        return Done(await call.accept(call.services.fx.end_mandate, command))

    return await run_command(request, END, end)


@router.get(
    "",
    **documented(
        "List mandates",
        READ.scope,
        {200: PageOfFxMandates},
        paged=True,
        parameters=[
            query_parameter("user_id", "Only mandates of this user."),
            query_parameter("state", "Only mandates in this state.", enum=sorted(_STATES)),
        ],
    ),
)
async def list_fx_mandates(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.FX_MANDATE))
        found = await call.services.fx_reading.many(
            "fx_mandate", call.merchant_id, before, limit, user_id=user_filter(call), state=state_filter(call, _STATES)
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get(
    "/{fx_mandate_id}",
    **documented("Read a mandate", READ.scope, {200: FxMandate}, [C.FX_MANDATE_NOT_FOUND]),
)
async def read_fx_mandate(request: Request, fx_mandate_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        _check_shape(fx_mandate_id)
        found = await call.services.fx_reading.one("fx_mandate", call.merchant_id, fx_mandate_id)
        if found is None:
            raise NotFoundError(C.FX_MANDATE_NOT_FOUND)
        return found

    return await run_read(request, READ, read)


def _check_shape(fx_mandate_id: str) -> None:
    if not is_identifier(fx_mandate_id, IdPrefix.FX_MANDATE):
        raise NotFoundError(C.FX_MANDATE_NOT_FOUND)
