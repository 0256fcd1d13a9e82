"""Who the operators are: inviting people, their roles, suspending them, resetting what they lost (P3.1b-c)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.schemas import read_as
from domain.errors import ErrorCode, RefusedError
from domain.identifiers import IdPrefix, identifier
from ops.calls import Call, Operation, run_command, run_read
from ops.credentials import Token
from ops.documentation import documented
from ops.matters import listed
from ops.schemas import ChangedRoles, Invitation, Listed, NewOperator, Operator, Training
from storage import operators as stored

router = APIRouter(prefix="/ops/v1", tags=["operators"])
C = ErrorCode

LIST = Operation("list_operators", "operators:write")
LIST_ROLES = Operation("list_roles", "operators:write")
ENROL = Operation("enrol_operator", "operators:write", 201)
CHANGE_ROLES = Operation("operator_roles", "operators:write")
TRAIN = Operation("operator_training", "operators:write")
SUSPEND = Operation("operator_suspend", "operators:write")
RESUME = Operation("operator_resume", "operators:write")
LEAVE = Operation("operator_leave", "operators:write")
RESET = Operation("operator_reset", "operators:write")

_OF_SOMEBODY_ELSE = [C.OPERATOR_NOT_FOUND, C.OPERATOR_IS_ONESELF, C.OPERATOR_HAS_LEFT]
_LONGEST_TRAINING = timedelta(days=731)


@router.get("/operators", **documented("List operators", LIST, Listed))
async def list_operators(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return listed(await call.services.operators.everybody())

    return await run_read(request, LIST, read)


@router.get("/roles", **documented("List roles", LIST_ROLES, Listed))
async def list_roles(request: Request) -> Response:
    """What each may do, and which no one person may have together; they are edited in config/roles.toml."""

    async def read(call: Call) -> Mapping[str, Any]:
        return listed(await call.services.operators.roles())

    return await run_read(request, LIST_ROLES, read)


@router.post(
    "/operators",
    **documented(
        "Invite somebody",
        ENROL,
        Invitation,
        [C.OPERATOR_EXISTS, C.ROLE_UNKNOWN, C.ROLES_INCOMPATIBLE],
        body=NewOperator,
    ),
)
async def enrol_operator(request: Request) -> Response:
    """Hand the token over in person: with it they set password and second factor (POST /ops/v1/enrolment)."""
    return await run_command(request, ENROL, _enrol)


async def _enrol(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewOperator, payload)
    token = Token.new("lse", call.services.ids.ulid())
    expires_at = call.now + call.services.rules.enrolment
    operator = stored.NewOperator(
        now=call.now,
        actor=call.actor,
        request_id=call.request_id,
        id=identifier(IdPrefix.OPERATOR, token.ulid),
        login=given.login,
        name=given.name,
        roles=tuple(given.roles),
        token_hash=token.hash,
        token_expires_at=expires_at,
    )
    made = await call.services.operators.enrol(operator)
    call.is_recorded = True
    return Done(made | {"enrolment_token": token.text, "enrolment_expires_at": expires_at.isoformat()})


@router.post(
    "/operators/{operator_id}/roles",
    **documented(
        "Change somebody's roles",
        CHANGE_ROLES,
        Operator,
        [*_OF_SOMEBODY_ELSE, C.ROLE_UNKNOWN, C.ROLES_INCOMPATIBLE],
        body=ChangedRoles,
    ),
)
async def change_roles(request: Request, operator_id: str) -> Response:
    """All roles from now on. Ends the person's sessions."""

    async def change(call: Call, payload: dict[str, Any]) -> Done:
        return await _change(call, operator_id, "roles", roles=tuple(read_as(ChangedRoles, payload).roles))

    return await run_command(request, CHANGE_ROLES, change)


@router.post(
    "/operators/{operator_id}/training",
    **documented(
        "Note a privacy training", TRAIN, Operator, [*_OF_SOMEBODY_ELSE, C.TRAINING_END_INVALID], body=Training
    ),
)
async def note_training(request: Request, operator_id: str) -> Response:
    """Personal data can be seen only with a current mark (P3.1c)."""

    async def change(call: Call, payload: dict[str, Any]) -> Done:
        until = read_as(Training, payload).trained_until
        if not call.now < until <= call.now + _LONGEST_TRAINING:
            raise RefusedError(C.TRAINING_END_INVALID, field="trained_until")
        return await _change(call, operator_id, "training", trained_until=until)

    return await run_command(request, TRAIN, change)


@router.post(
    "/operators/{operator_id}/suspend",
    **documented("Suspend somebody", SUSPEND, Operator, [*_OF_SOMEBODY_ELSE, C.OPERATOR_STATE_DIFFERS]),
)
async def suspend_operator(request: Request, operator_id: str) -> Response:
    """Ends the person's sessions at once."""
    return await run_command(request, SUSPEND, lambda call, _: _change(call, operator_id, "suspend"))


@router.post(
    "/operators/{operator_id}/resume",
    **documented("Let somebody in again", RESUME, Operator, [*_OF_SOMEBODY_ELSE, C.OPERATOR_STATE_DIFFERS]),
)
async def resume_operator(request: Request, operator_id: str) -> Response:
    return await run_command(request, RESUME, lambda call, _: _change(call, operator_id, "resume"))


@router.post("/operators/{operator_id}/leave", **documented("Somebody has left", LEAVE, Operator, _OF_SOMEBODY_ELSE))
async def operator_left(request: Request, operator_id: str) -> Response:
    """For good: the login is never given to another person."""
    return await run_command(request, LEAVE, lambda call, _: _change(call, operator_id, "leave"))


@router.post(
    "/operators/{operator_id}/reset", **documented("Reset somebody's credentials", RESET, Invitation, _OF_SOMEBODY_ELSE)
)
async def reset_operator(request: Request, operator_id: str) -> Response:
    """For a lost authenticator or password: nobody gets in until the person has redeemed the new token."""

    async def reset(call: Call, _payload: dict[str, Any]) -> Done:
        token = Token.new("lse", operator_id.removeprefix("opr_")[:26])
        expires_at = call.now + call.services.rules.enrolment
        done = await _change(call, operator_id, "reset", token_hash=token.hash, token_expires_at=expires_at)
        shown = {"enrolment_token": token.text, "enrolment_expires_at": expires_at.isoformat()}
        return Done(dict(done.resource) | shown)

    return await run_command(request, RESET, reset)


async def _change(call: Call, operator_id: str, change: str, **what: Any) -> Done:
    changed = stored.ChangedOperator(
        now=call.now,
        actor=call.actor,
        actor_id=call.operator_id,
        request_id=call.request_id,
        id=operator_id[:40],
        change=change,
        **what,
    )
    operator = await call.services.operators.change(changed)
    call.is_recorded = True
    return Done(operator)
