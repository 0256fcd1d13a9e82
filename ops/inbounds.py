"""Remittances that have arrived, the suspense queue among them, and returns (A2.3a-b, A5.1a)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import page_of
from api.documentation import query_parameter
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier
from domain.states import InboundReturnState, InboundState
from ops.calls import Call, Operation, run_read
from ops.documentation import documented
from ops.fx_schemas import FullInbound
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.ops_fx import OpsFx
from storage.ops_payouts import OpsPayouts

router = APIRouter(prefix="/ops/v1", tags=["fx"])
C = ErrorCode

LIST = Operation("list_inbounds", "fx:read")
READ = Operation("look_at_inbound", "fx:read")
RETURNS = Operation("list_inbound_returns", "fx:read")

_STATES = [state.value for state in InboundState]
_RETURN_STATES = [state.value for state in InboundReturnState]


@router.get(
    "/inbounds",
    **documented(
        "Remittances of all users, and of nobody known",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these; `suspense` is what waits for people.", enum=_STATES),
            query_parameter("bank_code", "Only those that one bank has booked."),
            query_parameter("reference", "The bank's own."),
            query_parameter("user_id", "Only those of one user."),
        ],
    ),
)
async def list_inbounds(request: Request) -> Response:
    """The newest first, names and numbers masked."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _reading(call).inbounds(
            cursor_of(call, r"inb_[0-9A-Z]{26}"),
            limit,
            state=text_of(call, "state", "|".join(_STATES)),
            bank_code=text_of(call, "bank_code", r"[A-Z0-9]{3,12}"),
            reference=text_of(call, "reference", r"[A-Z0-9]{8,40}"),
            user_id=text_of(call, "user_id", r"usr_[0-9A-Z]{26}"),
        )
        return page_of([await _masked(call, item) for item in found], limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/inbounds/{inbound_id}", **documented("One remittance", READ, FullInbound, [C.INSTRUCTION_NOT_FOUND]))
async def read_inbound(request: Request, inbound_id: str) -> Response:
    """What `inbound.assign` and `inbound.return` are about: nobody decides what nobody has seen."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _reading(call).inbound(inbound_id) if is_identifier(inbound_id, IdPrefix.INBOUND) else None
        if found is None:
            raise NotFoundError(C.INSTRUCTION_NOT_FOUND)
        call.merchant_id = found["merchant_id"]
        decisions = await OpsPayouts(call.services.engine).decisions(inbound_id)
        return await _masked(call, found) | {"decisions": decisions}

    return await run_read(request, READ, read)


@router.get(
    "/inbound_returns",
    **documented(
        "Remittances on their way back",
        RETURNS,
        Listed,
        paged=True,
        parameters=[query_parameter("state", "Only these.", enum=_RETURN_STATES)],
    ),
)
async def list_returns(request: Request) -> Response:
    """The newest first: out of suspense, or what could not be converted (then with `fx_id`)."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit, state = limit_of(call), text_of(call, "state", "|".join(_RETURN_STATES))
        found = await _reading(call).inbound_returns(cursor_of(call, r"inr_[0-9A-Z]{26}"), limit, state=state)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, RETURNS, read)


async def _masked(call: Call, inbound: Mapping[str, Any]) -> dict[str, Any]:
    """Who sent it and to whom, masked; nothing once the key that it is sealed under was destroyed."""
    shown = dict(inbound)
    tokens: Mapping[str, str] = shown.pop("tokens")
    masks = await call.services.vault.masked(shown.pop("sealed_under"), list(tokens.values()))
    return shown | {"elements": {name: masks[token] for name, token in tokens.items() if token in masks}}


def _reading(call: Call) -> OpsFx:
    return OpsFx(call.services.engine)
