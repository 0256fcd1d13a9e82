"""Money: a merchant's pending and available balance, a user's own balance, and statements of both (A0.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Operation, page_of, run_read
from api.documentation import documented, query_parameter
from api.resources import AccountBalance, Balances, PageOfMovements
from api.users import user_of
from domain.errors import ErrorCode, FieldError, RefusedError, ValidationRefusedError
from storage.reading import statement_account

router = APIRouter(prefix="/v1", tags=["balances"])
C = ErrorCode
CURRENCY = "CNY"

READ = Operation("read_balance", "balances:read")
_OF_A_CURRENCY = query_parameter("currency", "CNY, if left out.", pattern="^[A-Z]{3}$")


@router.get("/balances", **documented("Your balances", READ.scope, {200: Balances}))
async def read_balances(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return {
            "object": "balances",
            "balances": await call.services.reading.merchant_balances(call.merchant_id, CURRENCY, call.now),
        }

    return await run_read(request, READ, read)


@router.get(
    "/users/{user_id}/balance",
    **documented(
        "A user's own balance",
        READ.scope,
        {200: AccountBalance},
        [C.USER_NOT_FOUND, C.CURRENCY_NOT_SUPPORTED],
        parameters=[_OF_A_CURRENCY],
    ),
)
async def read_user_balance(request: Request, user_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        await user_of(call, user_id)
        return await call.services.reading.user_balance(user_id, _currency(call), call.now)

    return await run_read(request, READ, read)


@router.get(
    "/users/{user_id}/balances",
    **documented("A user's own balances in all currencies", READ.scope, {200: Balances}, [C.USER_NOT_FOUND]),
)
async def read_user_balances(request: Request, user_id: str) -> Response:
    """CNY always; a foreign currency from the first remittance in it on."""

    async def read(call: Call) -> Mapping[str, Any]:
        await user_of(call, user_id)
        foreign = call.services.policy.fx.currencies
        return {
            "object": "balances",
            "balances": await call.services.reading.user_balances(user_id, foreign, call.now),
        }

    return await run_read(request, READ, read)


@router.get(
    "/statement",
    **documented(
        "Movements of your balance, newest first",
        READ.scope,
        {200: PageOfMovements},
        paged=True,
        parameters=[
            query_parameter("account", "Which of your balances.", required=True, enum=["pending", "available"])
        ],
    ),
)
async def read_statement(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        kind = call.query.get("account", "")
        if kind not in ("pending", "available"):
            raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("account", "not_one_of_the_values")])
        return await _statement(call, statement_account(kind, call.merchant_id, CURRENCY))

    return await run_read(request, READ, read)


@router.get(
    "/users/{user_id}/statement",
    **documented(
        "Movements of a user's own balance, newest first",
        READ.scope,
        {200: PageOfMovements},
        [C.USER_NOT_FOUND, C.CURRENCY_NOT_SUPPORTED],
        paged=True,
        parameters=[_OF_A_CURRENCY],
    ),
)
async def read_user_statement(request: Request, user_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        await user_of(call, user_id)
        return await _statement(call, statement_account("user", user_id, _currency(call)))

    return await run_read(request, READ, read)


def _currency(call: Call) -> str:
    """The one that was asked for. Raises RefusedError for one that nothing of a user is held in."""
    given = call.query.get("currency", CURRENCY)
    if given != CURRENCY and given not in call.services.policy.fx.currencies:
        raise RefusedError(C.CURRENCY_NOT_SUPPORTED, field="currency")
    return given


async def _statement(call: Call, account: str) -> Mapping[str, Any]:
    before, limit = call.page(lambda value: re.fullmatch(r"[0-9]{1,18}", value) is not None)
    entries = await call.services.reading.statement(account, int(before) if before else None, limit + 1)
    movements = [
        {
            "version": entry.version,
            "kind": entry.kind,
            "change_minor": entry.change,
            "posted_after_minor": entry.posted_after,
            "booked_at": entry.booked_at.isoformat(),
            "recorded_at": entry.recorded_at.isoformat(),
            "instruction_id": entry.instruction,
            "reference": entry.reference,
        }
        for entry in entries
    ]
    return page_of(movements, limit, lambda item: item["version"])
