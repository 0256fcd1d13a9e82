"""Merchants, their API keys and their signing keys (A0.3, A3.2b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.resources import SigningKeyResource
from api.schemas import NewSigningKey, read_as
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.matters import listed
from ops.schemas import IssuedKey, Listed, Merchant, NewKey, NewMerchant, RevokedKey
from storage import signing_keys
from storage.administration import create_merchant, issue_key, revoke_key

router = APIRouter(prefix="/ops/v1", tags=["merchants"])
C = ErrorCode

LIST = Operation("list_merchants", "merchants:read")
CREATE = Operation("create_merchant", "merchants:write", 201)
LIST_KEYS = Operation("list_keys", "merchants:read")
ISSUE = Operation("issue_key", "keys:write", 201)
REVOKE = Operation("revoke_key", "keys:write")
LIST_SIGNING = Operation("list_signing_keys", "merchants:read")
REGISTER_SIGNING = Operation("register_signing_key", "signing_keys:write", 201)
REVOKE_SIGNING = Operation("revoke_signing_key", "signing_keys:write")


@router.get("/merchants", **documented("List merchants", LIST, Listed))
async def list_merchants(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return listed(await call.services.reading.merchants())

    return await run_read(request, LIST, read)


@router.post(
    "/merchants", **documented("Create a merchant", CREATE, Merchant, [C.CONTRACT_END_INVALID], body=NewMerchant)
)
async def new_merchant(request: Request) -> Response:
    """With its accounts; it can do nothing until a key is issued."""

    async def create(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(NewMerchant, payload)
        merchant_id = call.services.new_id(IdPrefix.MERCHANT)
        await create_merchant(call.services.engine, call.act, merchant_id, given.name, given.contract_until)
        call.is_recorded = True
        return Done({"id": merchant_id, "object": "merchant", "name": given.name})

    return await run_command(request, CREATE, create)


@router.get(
    "/merchants/{merchant_id}/keys", **documented("A merchant's API keys", LIST_KEYS, Listed, [C.MERCHANT_NOT_FOUND])
)
async def list_keys(request: Request, merchant_id: str) -> Response:
    """Without their secrets, which nobody has."""

    async def read(call: Call) -> Mapping[str, Any]:
        await _merchant_of(call, merchant_id)
        return listed(await call.services.reading.keys(merchant_id))

    return await run_read(request, LIST_KEYS, read)


@router.post(
    "/merchants/{merchant_id}/keys",
    **documented("Issue an API key", ISSUE, IssuedKey, [C.MERCHANT_NOT_FOUND], body=NewKey),
)
async def new_key(request: Request, merchant_id: str) -> Response:
    """The key is shown this once. If the answer gets lost, revoke the key and issue another."""

    async def issue(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(NewKey, payload)
        ulid, services = call.services.ids.ulid(), call.services
        key = await issue_key(
            services.engine, call.act, ulid, merchant_id, given.scopes, label=given.label, expires_at=given.expires_at
        )
        call.is_recorded = True
        return Done({"id": f"key_{ulid}", "object": "api_key", "merchant_id": merchant_id, "key": key})

    return await run_command(request, ISSUE, issue)


@router.post("/keys/{key_id}/revoke", **documented("Revoke an API key", REVOKE, RevokedKey, [C.KEY_NOT_FOUND]))
async def end_key(request: Request, key_id: str) -> Response:
    async def revoke(call: Call, _payload: dict[str, Any]) -> Done:
        await revoke_key(call.services.engine, call.act, key_id)
        call.is_recorded = True
        return Done({"id": key_id, "object": "api_key"})

    return await run_command(request, REVOKE, revoke)


@router.get(
    "/merchants/{merchant_id}/signing-keys",
    **documented("A merchant's signing keys", LIST_SIGNING, Listed, [C.MERCHANT_NOT_FOUND]),
)
async def list_signing_keys(request: Request, merchant_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        await _merchant_of(call, merchant_id)
        return listed(await signing_keys.list_keys(call.services.engine, merchant_id))

    return await run_read(request, LIST_SIGNING, read)


@router.post(
    "/merchants/{merchant_id}/signing-keys",
    **documented(
        "Register a signing key",
        REGISTER_SIGNING,
        SigningKeyResource,
        [C.MERCHANT_NOT_FOUND, C.SIGNING_KEY_INVALID, C.SIGNING_KEY_EXISTS, C.SIGNING_KEYS_EXHAUSTED],
        body=NewSigningKey,
    ),
)
async def new_signing_key(request: Request, merchant_id: str) -> Response:
    """A merchant's first one above all: it registers the others itself, in requests signed with a current key."""

    async def register(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(NewSigningKey, payload)
        key = await signing_keys.register(
            call.services.engine,
            call.act,
            call.services.ids.ulid(),
            merchant_id,
            given.public_key,
            algorithm=given.algorithm,
            label=given.label,
            not_before=given.not_before,
        )
        return Done(key)

    return await run_command(request, REGISTER_SIGNING, register)


@router.post(
    "/merchants/{merchant_id}/signing-keys/{key_id}/revoke",
    **documented(
        "End a signing key", REVOKE_SIGNING, SigningKeyResource, [C.SIGNING_KEY_NOT_FOUND, C.MERCHANT_NOT_FOUND]
    ),
)
async def end_signing_key(request: Request, merchant_id: str, key_id: str) -> Response:
    """Also its last one."""

    async def revoke(call: Call, _payload: dict[str, Any]) -> Done:
        return Done(await signing_keys.revoke(call.services.engine, call.act, merchant_id, key_id))

    return await run_command(request, REVOKE_SIGNING, revoke)


async def _merchant_of(call: Call, merchant_id: str) -> None:
    if merchant_id not in {merchant["id"] for merchant in await call.services.reading.merchants()}:
        raise NotFoundError(C.MERCHANT_NOT_FOUND)
    call.merchant_id = merchant_id
