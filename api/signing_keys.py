"""Signing keys of a merchant: register another one, list them, end one (A3.2b, L14). Changes are signed themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Done, Operation, run_command, run_read
from api.documentation import documented
from api.resources import ListOfSigningKeys, SigningKeyResource
from api.schemas import NewSigningKey, read_as
from domain.errors import ErrorCode, NotFoundError, RefusedError
from domain.identifiers import IdPrefix, is_identifier
from domain.instructions import AcceptSigningKey, EndSigningKey
from domain.signing import MAX_KEYS, SigningAlgorithm
from storage.public_keys import read_public_key

router = APIRouter(prefix="/v1/signing_keys", tags=["signing keys"])
C = ErrorCode

REGISTER = Operation("register_signing_key", "signing_keys:write", 201, IdPrefix.SIGNING_KEY)
REVOKE = Operation("revoke_signing_key", "signing_keys:write")
READ = Operation("read_signing_keys", "signing_keys:read")

_LATEST_START = timedelta(days=90)


@router.post(
    "",
    **documented(
        "Register another signing key",
        REGISTER.scope,
        {201: SigningKeyResource},
        [C.SIGNING_KEY_INVALID, C.SIGNING_KEY_EXISTS, C.SIGNING_KEYS_EXHAUSTED],
        body=NewSigningKey,
        command=True,
        signed=True,
    ),
)
async def register_signing_key(request: Request) -> Response:
    """Signed with a key that is in use; the institution registers the first one. Several work side by side, so that a
    key is replaced without a pause."""
    return await run_command(request, REGISTER, _register)


async def _register(call: Call, payload: dict[str, Any]) -> Done:
    body = read_as(NewSigningKey, payload)
    not_before = body.not_before or call.now
    if not_before > call.now + _LATEST_START:
        raise RefusedError(C.REQUEST_INVALID, field="not_before")
    algorithm = SigningAlgorithm(body.algorithm)
    command = AcceptSigningKey(
        request=call.context,
        now=call.now,
        id=call.resource_id,
        merchant_id=call.merchant_id,
        algorithm=algorithm,
        public_key=read_public_key(body.public_key, algorithm).hex(),
        label=body.label,
        not_before=max(not_before, call.now),
        most=MAX_KEYS,
    )
    return Done(await call.accept(call.services.signing_keys.accept, command))


@router.get("", **documented("List signing keys", READ.scope, {200: ListOfSigningKeys}))
async def list_signing_keys(request: Request) -> Response:
    """The newest first, those that have ended too."""

    async def read(call: Call) -> Mapping[str, Any]:
        return {"object": "list", "items": await call.services.signing_keys.list(call.merchant_id), "next_cursor": None}

    return await run_read(request, READ, read)


@router.post(
    "/{signing_key_id}/revoke",
    **documented(
        "End a signing key",
        REVOKE.scope,
        {200: SigningKeyResource},
        [C.SIGNING_KEY_NOT_FOUND, C.LAST_SIGNING_KEY],
        command=True,
        signed=True,
    ),
)
async def revoke_signing_key(request: Request, signing_key_id: str) -> Response:
    """At once and for good. The last key in use stays: whose key was stolen asks the institution."""

    async def revoke(call: Call, _payload: dict[str, Any]) -> Done:
        if not is_identifier(signing_key_id, IdPrefix.SIGNING_KEY):
            raise NotFoundError(C.SIGNING_KEY_NOT_FOUND)
        command = EndSigningKey(request=call.context, now=call.now, id=signing_key_id, merchant_id=call.merchant_id)
        return Done(await call.accept(call.services.signing_keys.end, command))

    return await run_command(request, REVOKE, revoke)
