"""The OpenAPI document of each route of the operators' API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from api import documentation as merchants
from api.problems import MEDIA_TYPE
from api.schemas import Body
from domain.error_codes import ErrorCode
from ops.calls import Operation

C = ErrorCode
_OF_A_CALL = (C.SESSION_MISSING, C.SESSION_INVALID, C.RATE_LIMITED, C.REQUEST_INVALID)
_OF_A_PERMISSION = (C.PERMISSION_MISSING, C.CREDENTIALS_EXPIRED, C.TRAINING_EXPIRED)
_OF_A_BODY = (C.REQUEST_INVALID, C.BODY_NOT_JSON)


def documented(
    summary: str,
    operation: Operation,
    answer: type[BaseModel],
    refusals: Sequence[ErrorCode] = (),
    *,
    body: type[Body] | None = None,
    paged: bool = False,
    parameters: Sequence[dict[str, Any]] = (),
    needs_session: bool = True,
    media_type: str | None = None,
) -> dict[str, Any]:
    """Arguments of a route's decorator: what it answers, and every code with which it can refuse."""
    codes = [*(_OF_A_CALL if needs_session else (C.RATE_LIMITED,)), *(_OF_A_PERMISSION if operation.permission else ())]
    codes += [*(_OF_A_BODY if body is not None else ()), *refusals]
    if body is not None and not operation.has_password:
        codes.append(C.FORBIDDEN_CARD_DATA)
    made = merchants.documented(
        summary,
        None,
        {operation.status: answer},
        codes,
        body=body,
        paged=paged,
        parameters=parameters,
        media_type=media_type,
    )
    if needs_session:
        made["openapi_extra"] |= {"security": [{"session": []}]}
    if operation.permission:
        made["openapi_extra"] |= {"x-permission": operation.permission}
    return made


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Adds what no single route knows: the session, and the problem's shape."""
    merchants.complete(openapi)
    openapi["components"]["securitySchemes"] = {
        "session": {
            "type": "http",
            "scheme": "bearer",
            "description": "`lso_{ULID}_{secret}`, from POST /ops/v1/login.",
        }
    }
    used = _codes_of(openapi)
    openapi["x-error-codes"] = {code.value: merchants.problem_example(code) for code in C if code.value in used}
    return openapi


def _codes_of(openapi: dict[str, Any]) -> set[str]:
    found = set(merchants.NOWHERE)
    for methods in openapi["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                problem = response.get("content", {}).get(MEDIA_TYPE)
                found |= set(problem["examples"]) if problem else set()
    return {str(code) for code in found}
