"""Payouts under way of all merchants, by what they wait for; one of them is at /ops/v1/instructions/{id}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import page_of
from api.documentation import query_parameter
from domain.states import PAYOUT_FINAL_STATES, PayoutState, WaitReason
from ops.calls import Call, Operation, run_read
from ops.documentation import documented
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.ops_payouts import OpsPayouts

router = APIRouter(prefix="/ops/v1/payouts", tags=["instructions"])

LIST = Operation("list_payouts", "payments:read")

_STATES = [state.value for state in PayoutState if state not in PAYOUT_FINAL_STATES]
_REASONS = [reason.value for reason in WaitReason]


@router.get(
    "",
    **documented(
        "Payouts under way",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=_STATES),
            query_parameter("waiting_for", "Only what waits for this.", enum=_REASONS),
            query_parameter("bank_code", "Only those of one bank."),
            query_parameter(
                "provisional", "Only those whose date rests on a calendar not yet published.", enum=["true"]
            ),
        ],
    ),
)
async def list_payouts(request: Request) -> Response:
    """The oldest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await OpsPayouts(call.services.engine).page(
            cursor_of(call, r"po_[0-9A-Z]{26}"),
            limit,
            state=text_of(call, "state", "|".join(_STATES)),
            awaited=text_of(call, "waiting_for", "|".join(_REASONS)),
            bank_code=text_of(call, "bank_code", r"[A-Z0-9]{3,12}"),
            provisional=text_of(call, "provisional", "true") is not None,
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)
