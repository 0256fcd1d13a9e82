"""Users as operators see them: masked, and with a role and a reason in the open (A4.2b, P3.1b-c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.schemas import read_as
from domain.errors import ErrorCode, FieldError, NotFoundError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.personal_data import PersonalField, Purpose
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.matters import check_reason
from ops.schemas import MaskedUser, PersonalData, Reveal
from vault.errors import TokenNotFoundError, UserErasedError

router = APIRouter(prefix="/ops/v1/users", tags=["users"])
C = ErrorCode

READ = Operation("look_at_user", "payments:read")
REVEAL = Operation("reveal_personal_data", "personal_data:read", announced=False)

_PURPOSES = {
    "support_case": Purpose.SUPPORT,
    "fraud_investigation": Purpose.FRAUD_PREVENTION,
    "user_request": Purpose.USER_REQUEST,
}


@router.get("/{user_id}", **documented("A user, masked", READ, MaskedUser, [C.USER_NOT_FOUND]))
async def read_user(request: Request, user_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        user = await user_of(call, user_id)
        tokens = [token for binding in user["bindings"] for token in binding["element_tokens"].values()]
        masks = await call.services.vault.masked(user_id, tokens[:100])
        return user | {"bindings": [_masked(binding, masks) for binding in user["bindings"]]}

    return await run_read(request, READ, read)


@router.post(
    "/{user_id}/personal-data",
    **documented(
        "Personal data in the open",
        REVEAL,
        PersonalData,
        [C.USER_NOT_FOUND, C.PERSONAL_DATA_NOT_FOUND, C.REASON_HOLDS_PERSONAL_DATA],
        body=Reveal,
    ),
)
async def reveal_personal_data(request: Request, user_id: str) -> Response:
    """Only the fields that are asked for, for one binding; the reason is on record before anything is opened."""

    async def reveal(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(Reveal, payload)
        check_reason(given.reason_text)
        return Done(await _reveal(call, user_id, given))

    return await run_command(request, REVEAL, reveal)


async def _reveal(call: Call, user_id: str, given: Reveal) -> Mapping[str, Any]:
    purpose = _PURPOSES[given.reason_code]
    call.detail = given.model_dump(exclude_none=True) | {"roles": list(call.operator.roles), "purpose": purpose.value}
    user = await user_of(call, user_id)
    if given.case_id is not None and not await call.services.reading.has_case(given.case_id):
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("case_id", "unknown")])
    binding = _binding_of(user, given.binding_id)
    tokens = [binding["element_tokens"][name] for name in given.fields if name in binding["element_tokens"]]
    if len(tokens) < len(given.fields):
        raise NotFoundError(C.PERSONAL_DATA_NOT_FOUND)
    await call.record(REVEAL, "received", given.reason_code)
    try:
        values = await call.services.vault.reveal(user_id, tokens, purpose, call.actor)
    except (TokenNotFoundError, UserErasedError):
        raise NotFoundError(C.PERSONAL_DATA_NOT_FOUND) from None
    return {
        "object": "personal_data",
        "user_id": user_id,
        "binding_id": binding["id"],
        "values": {name: values[PersonalField(name)] for name in given.fields},
    }


async def user_of(call: Call, user_id: str) -> dict[str, Any]:
    """Any merchant's user. Raises NotFoundError."""
    found = await call.services.reading.user(user_id) if is_identifier(user_id, IdPrefix.USER) else None
    if found is None:
        raise NotFoundError(C.USER_NOT_FOUND)
    call.merchant_id, user = found
    return user | {"merchant_id": call.merchant_id}


def _binding_of(user: Mapping[str, Any], binding_id: str | None) -> Mapping[str, Any]:
    for binding in user["bindings"]:
        if binding_id in (None, binding["id"]):
            return dict(binding)
    raise NotFoundError(C.PERSONAL_DATA_NOT_FOUND)


def _masked(binding: Mapping[str, Any], masks: Mapping[str, str]) -> dict[str, Any]:
    tokens = binding["element_tokens"]
    shown = {name: masks[token] for name, token in tokens.items() if token in masks}
    return {name: value for name, value in binding.items() if name != "element_tokens"} | {"elements": shown}
