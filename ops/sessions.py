"""Logging in and out, and what people do with their own credentials."""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.calls import Done
from api.problems import answer_of, error_of, problem
from api.schemas import read_as
from domain.errors import DomainError, ErrorCode, NotAllowedError, RefusedError
from domain.identifiers import IdPrefix, identifier
from ops.authentication import Claim, brake_of, log_in
from ops.calls import Call, Operation, count_stranger, read_body, run_command, run_read
from ops.credentials import Token, is_strong, otpauth_uri
from ops.documentation import documented
from ops.schemas import ChangedPassword, Ended, Enrolment, LoginAttempt, Me, SecondFactor, Session
from ops.services import OpsServices, services_of
from storage.operators import JudgedPassword, RedeemedEnrolment

router = APIRouter(prefix="/ops/v1", tags=["sessions"])
C = ErrorCode

LOG_IN = Operation("log_in", None, has_password=True)
LOG_OUT = Operation("log_out", None)
READ_ME = Operation("read_me", None, keeps_quiet=True)
CHANGE_PASSWORD = Operation("change_password", None, has_password=True)
REDEEM = Operation("redeem_enrolment", None, has_password=True)

# Recorded by the functions that judge.
_RECORDED = frozenset({C.LOGIN_FAILED, C.LOGIN_LOCKED, C.ENROLMENT_INVALID})
Open = Callable[[OpsServices, Request, dict[str, Any]], Coroutine[Any, Any, Mapping[str, Any]]]


async def run_open(request: Request, operation: Operation, handle: Open) -> Response:
    """Serves a request of somebody who has no session yet."""
    services, request_id = services_of(request), request.state.request_id
    await count_stranger(request, operation)
    payload, fault = read_body(request, await request.body(), has_password=operation.has_password)
    try:
        if fault is not None:
            raise fault
        resource = await services.work.finish(handle(services, request, payload))
    except Exception as error:
        found = error_of(error)
        if found.code not in _RECORDED:
            await _record(services, operation, found, request_id)
        return problem(answer_of(found), request_id)
    return JSONResponse(resource, operation.status)


async def _record(services: OpsServices, operation: Operation, error: DomainError, request_id: str) -> None:
    outcome = "failed" if error.code is C.SERVICE_UNAVAILABLE else "refused"
    try:
        await services.records.record_operation(
            services.clock.now(), "unknown", operation.action, outcome, error.code.value.lower(), request_id=request_id
        )
    except Exception as failure:
        # The answer is the same whether or not it can be recorded.
        error_of(failure)


@router.post(
    "/login",
    **documented("Log in", LOG_IN, Session, [C.LOGIN_FAILED, C.LOGIN_LOCKED], body=LoginAttempt, needs_session=False),
)
async def open_session(request: Request) -> Response:
    """A session of 8 hours at most, 30 minutes without use. Send its token as `Authorization: Bearer`."""

    async def handle(services: OpsServices, asked: Request, payload: dict[str, Any]) -> Mapping[str, Any]:
        given = read_as(LoginAttempt, payload)
        return await log_in(services, asked, Claim(given.login, given.password, given.totp))

    return await run_open(request, LOG_IN, handle)


@router.post("/logout", **documented("Log out", LOG_OUT, Ended))
async def close_session(request: Request) -> Response:
    async def handle(call: Call, _payload: dict[str, Any]) -> Done:
        await call.services.operators.end_session(call.now, call.operator.session_id)
        return Done({"object": "session_end"})

    return await run_command(request, LOG_OUT, handle)


@router.get("/me", **documented("Who am I, and what may I do", READ_ME, Me))
async def read_me(request: Request) -> Response:
    return await run_read(request, READ_ME, _me)


async def _me(call: Call) -> Mapping[str, Any]:
    known = call.operator.model_dump(mode="json", exclude={"session_id"})
    roles = {role["name"]: role["permissions"] for role in await call.services.operators.roles()}
    permissions = {word for name in call.operator.roles for word in roles.get(name, ())}
    return {"object": "me", **known, "permissions": sorted(permissions)}


@router.post(
    "/me/password",
    **documented(
        "Change my password",
        CHANGE_PASSWORD,
        Ended,
        [C.PASSWORD_WRONG, C.PASSWORD_TOO_WEAK, C.LOGIN_LOCKED],
        body=ChangedPassword,
    ),
)
async def change_password(request: Request) -> Response:
    """Also when it has expired. Ends all your sessions, this one too."""

    async def handle(call: Call, payload: dict[str, Any]) -> Done:
        await _change_password(call, request, read_as(ChangedPassword, payload))
        return Done({"object": "session_end"})

    return await run_command(request, CHANGE_PASSWORD, handle)


async def _change_password(call: Call, request: Request, given: ChangedPassword) -> None:
    if not is_strong(given.new_password, call.login) or given.new_password == given.password:
        raise RefusedError(C.PASSWORD_TOO_WEAK, field="new_password")
    services = call.services
    brake = brake_of(services, request, call.login)
    known = await services.operators.begin_login(call.now, call.request_id, "change_password", call.login, brake)
    phc = known.password_phc if known else None
    verified = await services.passwords.verify(given.password, phc)
    judged = JudgedPassword(
        now=call.now,
        request_id=call.request_id,
        verified=verified,
        brake=brake,
        operator_id=call.operator_id,
        old_phc=phc,
        new_phc=await services.passwords.hash(given.new_password),
        credentials_expire_at=call.now + services.rules.credentials,
    )
    await services.operators.change_password(judged)


@router.post(
    "/enrolment",
    **documented(
        "Set my password and second factor",
        REDEEM,
        SecondFactor,
        [C.ENROLMENT_INVALID, C.PASSWORD_TOO_WEAK],
        body=Enrolment,
        needs_session=False,
    ),
)
async def redeem_enrolment(request: Request) -> Response:
    """With the token that an administrator gave you; it works once. Then put the secret into an authenticator."""

    async def handle(services: OpsServices, asked: Request, payload: dict[str, Any]) -> Mapping[str, Any]:
        given = read_as(Enrolment, payload)
        return await _redeem(services, asked.state.request_id, given)

    return await run_open(request, REDEEM, handle)


async def _redeem(services: OpsServices, request_id: str, given: Enrolment) -> Mapping[str, Any]:
    now, token = services.clock.now(), Token.read("lse", given.token)
    ulid, token_hash = (token.ulid, token.hash) if token else ("0" * 26, "0" * 64)
    operator_id = identifier(IdPrefix.OPERATOR, ulid)
    login = await services.operators.invited_login(operator_id, token_hash, now)
    if login is not None and not is_strong(given.password, login):
        raise RefusedError(C.PASSWORD_TOO_WEAK, field="password")
    secret = services.second_factors.new_secret()
    # A token that is no good is recorded by the function that refuses it; no password is hashed for it.
    phc = await services.passwords.hash(given.password) if login is not None else ""
    enrolment = RedeemedEnrolment(
        now=now,
        request_id=request_id,
        operator_id=operator_id,
        token_hash=token_hash,
        password_phc=phc,
        sealed_totp=services.second_factors.seal(operator_id, secret),
        credentials_expire_at=now + services.rules.credentials,
    )
    operator = await services.operators.redeem(enrolment)
    if login is None:
        raise NotAllowedError(C.ENROLMENT_INVALID)
    text = base64.b32encode(secret).decode().rstrip("=")
    return {
        "object": "second_factor",
        "login": operator["login"],
        "totp_secret": text,
        "otpauth_uri": otpauth_uri(operator["login"], text),
    }
