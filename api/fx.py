"""Conversions of foreign currency into CNY: show what is known, take the instruction, dispose of a refused one.

A5.1a-b, A5.2a-c, A6.4b-c. There is no way to cancel one: an accepted instruction is irrevocable (A3.3a).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_preview, run_read
from api.documentation import documented, query_parameter
from api.filters import state_filter, user_filter
from api.fx_identity import OBSTACLES, check_identity, residency_class
from api.fx_resources import Fx, FxPreview, PageOfFx, as_shown
from api.fx_schemas import FxDisposal, FxToConvert, NewFx
from api.fx_terms import conditions_of, currency_rules, indicative_terms, rounding_of
from api.schemas import read_as
from api.services import Services
from api.users import check_beforehand, user_of
from domain.confirmation import ConfirmedFx
from domain.errors import ConflictError, ErrorCode, NotFoundError
from domain.fx import AcceptFx, DisposeOfFx
from domain.identifiers import IdPrefix, is_identifier
from domain.states import FxState
from workflows.starting_fx import fx_order, inbound_return_order

router = APIRouter(prefix="/v1", tags=["foreign currency"])
C = ErrorCode
# None is charged, and one that is not in the schedule cannot be (A6.2a).
FEE_MINOR = 0


async def _shown(_services: Services, view: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_shown(view)


PREVIEW = Operation("preview_fx", "fx:write")
CONVERT = Operation("accept_fx", "fx:write", 201, IdPrefix.FX, complete=_shown)
DISPOSE = Operation("dispose_of_fx", "fx:write", 200, IdPrefix.INBOUND_RETURN, complete=_shown)
READ = Operation("read_fx", "fx:read")

_ORDER_REFUSALS = [C.USER_NOT_FOUND, C.CURRENCY_NOT_SUPPORTED, C.IDENTITY_NOT_VERIFIED]
# Because of whose money it is.
_USER_REFUSALS = [C.USER_NOT_ACTIVE, C.ACCOUNT_CLOSING, C.FUNCTION_SUSPENDED, C.AUTHORITY_HOLD]
_STATES = frozenset(state.value for state in FxState)


def confirmation_hash(call: Call, order: FxToConvert) -> str:
    """Over what the user is to confirm; the rate is none of it."""
    return ConfirmedFx(
        merchant_id=call.merchant_id,
        user_id=order.user_id,
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        purpose_code=order.purpose_code,
        is_trade=order.is_trade,
        over_quota=order.over_quota,
        fee_minor=FEE_MINOR,
    ).confirmation_hash()


@router.post(
    "/fx/preview",
    **documented(
        "What the user is to confirm, with an indicative rate",
        PREVIEW.scope,
        {200: FxPreview},
        [C.REQUEST_INVALID, C.BODY_NOT_JSON, C.FORBIDDEN_CARD_DATA, *_ORDER_REFUSALS, *_USER_REFUSALS],
        body=FxToConvert,
    ),
)
async def preview_fx(request: Request) -> Response:
    """Changes nothing and needs no Idempotency-Key. Show the user everything, with all `conditions`. Rate, amount in
    CNY and time are what the desk and the calendars say now: the hash does not bind them. Without a rate it can be
    instructed all the same. What is left of the user's quota is not said: it is the person's at all merchants."""
    return await run_preview(request, PREVIEW, _preview)


async def _preview(call: Call, payload: dict[str, Any]) -> Mapping[str, Any]:
    order = read_as(FxToConvert, payload)
    currency_rules(call, order.currency)
    await check_identity(call, await user_of(call, order.user_id))
    await check_beforehand(call, "fx", order.user_id)
    return {
        "object": "fx_preview",
        **order.model_dump(mode="json"),
        "indicative": True,
        **await indicative_terms(call, order),
        "fee_minor": FEE_MINOR,
        "rounding": rounding_of(call),
        "conditions": conditions_of(call, order),
        "confirmation_hash": confirmation_hash(call, order),
    }


@router.post(
    "/fx",
    **documented(
        "Convert foreign currency of a user's balance into CNY",
        CONVERT.scope,
        {201: Fx},
        [
            *_ORDER_REFUSALS,
            *OBSTACLES,
            C.CONFIRMATION_CHANGED,
            C.FX_ORDER_EXISTS,
            C.INSUFFICIENT_FUNDS,
            C.FX_BANK_WITHOUT_FUNDS,
        ],
        body=NewFx,
        command=True,
        signed=True,
    ),
)
async def convert_fx(request: Request) -> Response:
    """Accepted or refused at once; from then on the amount is held. It is converted when desk, authority and value date
    allow, at the rate of that time. It cannot be cancelled."""
    return await run_command(request, CONVERT, _convert)


async def _convert(call: Call, payload: dict[str, Any]) -> Done:
    order = read_as(NewFx, payload)
    rules = currency_rules(call, order.currency)
    user = await user_of(call, order.user_id)
    if confirmation_hash(call, order) != order.confirmation_hash:
        raise ConflictError(C.CONFIRMATION_CHANGED, field="confirmation_hash")
    policy = call.services.policy
    command = AcceptFx(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        user_id=order.user_id,
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        banks=rules.banks,
        purpose_code=order.purpose_code,
        is_trade=order.is_trade,
        evidence=order.given_evidence(),
        residency=await residency_class(call, user),
        over_quota=order.over_quota,
        confirmation_hash=order.confirmation_hash,
        agreement_version=policy.agreement.version,
        blocked_regions=policy.blocked_regions,
    )
    fx = await call.accept(call.services.fx.accept, command)
    # Should this not get through, the sweeper starts it under the same id.
    await call.services.processes.settle_fx(fx_order(fx, call.merchant_id))
    return Done(fx)


@router.post(
    "/fx/{fx_id}/disposal",
    **documented(
        "Say what becomes of a refused conversion",
        DISPOSE.scope,
        {200: Fx},
        [
            C.FX_NOT_FOUND,
            C.FX_NOT_REFUSED,
            C.FX_WITHOUT_REMITTANCE,
            C.FUNCTION_SUSPENDED,
            C.FUNDS_FROZEN,
            C.AUTHORITY_HOLD,
        ],
        body=FxDisposal,
        command=True,
        signed=True,
    ),
)
async def dispose_of_fx(request: Request, fx_id: str) -> Response:
    """Of a conversion in `refused`, whose currency is still held: release it, or send it back to where it came from.
    A return that the bank refuses is `refused` again, with `fx.return_failed`."""
    return await run_command(request, DISPOSE, lambda call, payload: _dispose(call, fx_id, payload))


async def _dispose(call: Call, fx_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(FxDisposal, payload)
    _check_shape(fx_id)
    command = DisposeOfFx(request=call.context, now=call.now, id=fx_id, action=body.action, return_id=call.resource_id)
    fx = await call.accept(call.services.fx.dispose, command)
    if body.action == "return" and fx["return_id"] is not None:
        await _start_return(call, fx["return_id"])
    return Done(fx)


async def _start_return(call: Call, return_id: str) -> None:
    found = await call.services.fx_reading.inbound_return(return_id)
    if found is not None:
        await call.services.processes.return_inbound(inbound_return_order(found, call.merchant_id))


@router.get(
    "/fx",
    **documented(
        "List conversions",
        READ.scope,
        {200: PageOfFx},
        paged=True,
        parameters=[
            query_parameter("user_id", "Only conversions of this user."),
            query_parameter("state", "Only conversions in this state.", enum=sorted(_STATES)),
        ],
    ),
)
async def list_fx(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.FX))
        found = await call.services.fx_reading.many(
            "fx", call.merchant_id, before, limit, user_id=user_filter(call), state=state_filter(call, _STATES)
        )
        return page_of([as_shown(view) for view in found], limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/fx/{fx_id}", **documented("Read a conversion", READ.scope, {200: Fx}, [C.FX_NOT_FOUND]))
async def read_fx(request: Request, fx_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        _check_shape(fx_id)
        found = await call.services.fx_reading.one("fx", call.merchant_id, fx_id)
        if found is None:
            raise NotFoundError(C.FX_NOT_FOUND)
        return as_shown(found)

    return await run_read(request, READ, read)


def _check_shape(fx_id: str) -> None:
    if not is_identifier(fx_id, IdPrefix.FX):
        raise NotFoundError(C.FX_NOT_FOUND)
