"""Users, what they agreed to, and how much they may still pay."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, run_command, run_read
from api.documentation import documented, query_parameter
from api.limits import user_limits
from api.resources import Consent, Limits, User
from api.schemas import NewConsent, NewUser, read_as
from domain.business_time import business_date
from domain.errors import ErrorCode, FieldError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.instructions import AcceptUser, RecordConsent
from storage.instructions import refusal
from storage.reading import CardOfBinding

router = APIRouter(prefix="/v1/users", tags=["users"])
C = ErrorCode

REGISTER = Operation("accept_user", "users:write", 201, IdPrefix.USER)
CONSENT = Operation("record_consent", "users:write", 201, IdPrefix.CASE)
READ = Operation("read_user", "users:read")

# An act is recorded when it happens or soon after, not made up later (A0.1).
_OLDEST_ACT = timedelta(hours=24)
_CLOCK_DIFFERENCE = timedelta(seconds=5)
_LONGEST_RETENTION_YEARS = 30


@router.post(
    "",
    **documented(
        "Register a user",
        REGISTER.scope,
        {201: User},
        [C.MERCHANT_USER_EXISTS, C.MERCHANT_SUSPENDED, C.REGION_NOT_SERVED],
        body=NewUser,
        command=True,
    ),
)
async def register_user(request: Request) -> Response:
    return await run_command(request, REGISTER, _register)


async def _register(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewUser, payload)
    command = AcceptUser(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        merchant_user_ref=body.merchant_user_ref,
        type=body.type,
        region=body.region,
        blocked_regions=call.services.policy.blocked_regions,
    )
    return Done(await call.accept(call.services.instructions.accept_user, command))


@router.get("/{user_id}", **documented("Read a user", READ.scope, {200: User}, [C.USER_NOT_FOUND]))
async def read_user(request: Request, user_id: str) -> Response:
    return await run_read(request, READ, lambda call: user_of(call, user_id))


@router.get(
    "/{user_id}/limits",
    **documented(
        "Limits, and what is left of them",
        READ.scope,
        {200: Limits},
        [C.USER_NOT_FOUND, C.BINDING_NOT_FOUND],
        parameters=[query_parameter("binding_id", "A card of the user: what its issuer allows is shown as well.")],
    ),
)
async def read_limits(request: Request, user_id: str) -> Response:
    """For your own users only (A2.5e). Days and months are those of Asia/Shanghai."""

    async def read(call: Call) -> Mapping[str, Any]:
        await user_of(call, user_id)
        limits = await user_limits(call, user_id, await _card(call, user_id))
        return {"object": "limits", "user_id": user_id, "currency": "CNY", "limits": limits}

    return await run_read(request, READ, read)


@router.post(
    "/{user_id}/consents",
    **documented(
        "Record a consent, a statement, a notice or an objection",
        CONSENT.scope,
        {201: Consent},
        [
            C.USER_NOT_FOUND,
            C.ACCEPTED_AT_INVALID,
            C.AGREEMENT_VERSION_UNKNOWN,
            C.WAIVER_NOT_ENABLED,
            C.WAIVER_VERSION_UNKNOWN,
            C.RETENTION_END_INVALID,
            C.USER_NOT_ACTIVE,
        ],
        body=NewConsent,
        command=True,
    ),
)
async def record_consent(request: Request, user_id: str) -> Response:
    return await run_command(request, CONSENT, lambda call, payload: _consent(call, user_id, payload))


async def _consent(call: Call, user_id: str, payload: dict[str, Any]) -> Done:
    body = read_as(NewConsent, payload)
    _check_shape(user_id)
    if body.kind in ("agreement", "data_export") and body.content_hash is None:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("content_hash", "missing")])
    _check_end(body, business_date(call.now))
    if not call.now - _OLDEST_ACT <= body.acted_at <= call.now + _CLOCK_DIFFERENCE:
        raise RefusedError(C.ACCEPTED_AT_INVALID, field="acted_at")
    export = call.services.policy.data_export
    if body.kind == "data_export" and (body.version, body.content_hash) != (export.version, export.content_hash):
        raise RefusedError(C.AGREEMENT_VERSION_UNKNOWN, field="version")
    command = RecordConsent(
        request=call.context,
        now=call.now,
        user_id=user_id,
        kind=body.kind,
        version=body.version,
        content_hash=body.content_hash,
        channel=body.channel,
        evidence_ref=body.evidence_ref,
        acted_at=body.acted_at,
        case_id=call.resource_id,
        until_on=body.until_on,
    )
    return Done(await call.accept(call.services.instructions.record_consent, command))


def _check_end(body: NewConsent, today: date) -> None:
    """A consent to keep data longer ends, and no other does (P4.5f)."""
    until = body.until_on
    if (body.kind == "longer_retention") != (until is not None):
        fault = "missing" if until is None else "goes_with_longer_retention"
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("until_on", fault)])
    latest = (today.year + _LONGEST_RETENTION_YEARS, today.month, today.day)
    if until is not None and not (today < until and (until.year, until.month, until.day) <= latest):
        raise RefusedError(C.RETENTION_END_INVALID, field="until_on")


async def _card(call: Call, user_id: str) -> CardOfBinding | None:
    """The card that was asked about, if one was. Raises NotFoundError for anybody else's."""
    binding_id = call.query.get("binding_id")
    if binding_id is None:
        return None
    card = None
    if is_identifier(binding_id, IdPrefix.BINDING):
        card = await call.services.reading.card_of_binding(call.merchant_id, user_id, binding_id)
    if card is None:
        raise NotFoundError(C.BINDING_NOT_FOUND)
    return card


async def user_of(call: Call, user_id: str) -> Mapping[str, Any]:
    """The merchant's own user. Raises NotFoundError for anybody else's too."""
    _check_shape(user_id)
    user = await call.services.reading.user(call.merchant_id, user_id)
    if user is None:
        raise NotFoundError(C.USER_NOT_FOUND)
    return user


async def check_beforehand(call: Call, function: str, user_id: str) -> None:
    """Raises what an instruction of this user would be refused with because of who gives it, as of one who leaves."""
    reading = call.services.reading
    obstacle = await reading.obstacle_beforehand(function, call.merchant_id, user_id, call.now)
    if obstacle is not None:
        raise refusal({"error": obstacle})


def _check_shape(user_id: str) -> None:
    if not is_identifier(user_id, IdPrefix.USER):
        raise NotFoundError(C.USER_NOT_FOUND)
