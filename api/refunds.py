"""Refunds: all or part of a payment goes back to the payer's card, never more than was paid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, page_of, run_command, run_read
from api.documentation import documented
from api.payments import payment_of
from api.resources import PageOfRefunds, Refund
from api.schemas import NewRefund, read_as
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier
from domain.instructions import AcceptRefund
from workflows.starting import refund_order

router = APIRouter(prefix="/v1", tags=["refunds"])
C = ErrorCode

REFUND = Operation("accept_refund", "refunds:write", 201, IdPrefix.REFUND)
READ = Operation("read_refund", "refunds:read")


@router.post(
    "/payments/{payment_id}/refunds",
    **documented(
        "Refund a payment",
        REFUND.scope,
        {201: Refund},
        [
            C.PAYMENT_NOT_FOUND,
            C.MERCHANT_SUSPENDED,
            C.USER_NOT_ACTIVE,
            C.ACCOUNT_CLOSING,
            C.QUICK_PAY_CLOSING,
            C.FUNCTION_SUSPENDED,
            C.FUNDS_FROZEN,
            C.AUTHORITY_HOLD,
            C.PAYMENT_NOT_REFUNDABLE,
            C.REFUND_EXCEEDS_PAYMENT,
            C.INSUFFICIENT_FUNDS,
            C.PARTNER_NOT_AVAILABLE,
        ],
        body=NewRefund,
        command=True,
        signed=True,
    ),
)
async def refund_payment(request: Request, payment_id: str) -> Response:
    return await run_command(request, REFUND, lambda call, payload: _refund(call, payment_id, payload))


async def _refund(call: Call, payment_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewRefund, payload)
    if not is_identifier(payment_id, IdPrefix.PAYMENT):
        raise NotFoundError(C.PAYMENT_NOT_FOUND)
    command = AcceptRefund(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        payment_id=payment_id,
        amount_minor=body.amount_minor,
        reason_code=body.reason_code,
    )
    refund = await call.accept(call.services.instructions.accept_refund, command)
    await call.services.processes.refund_payment(refund_order(refund, call.merchant_id))
    return Done(refund)


@router.get(
    "/payments/{payment_id}/refunds",
    **documented("List a payment's refunds", READ.scope, {200: PageOfRefunds}, [C.PAYMENT_NOT_FOUND], paged=True),
)
async def list_refunds(request: Request, payment_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.REFUND))
        await payment_of(call, payment_id)
        found = await call.services.reading.refunds(call.merchant_id, payment_id, before, limit)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, READ, read)


@router.get("/refunds/{refund_id}", **documented("Read a refund", READ.scope, {200: Refund}, [C.REFUND_NOT_FOUND]))
async def read_refund(request: Request, refund_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        found = None
        if is_identifier(refund_id, IdPrefix.REFUND):
            found = await call.services.reading.refund(call.merchant_id, refund_id)
        if found is None:
            raise NotFoundError(C.REFUND_NOT_FOUND)
        return found

    return await run_read(request, READ, read)
