"""Remittances of foreign currency that have arrived for a merchant's users (A2.3a-b, A5.1a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Operation, page_of, run_read
from api.documentation import documented, query_parameter
from api.filters import user_filter
from api.fx_resources import Inbound, PageOfInbounds
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier

router = APIRouter(prefix="/v1/inbounds", tags=["foreign currency"])
C = ErrorCode

READ = Operation("read_inbound", "fx:read")


@router.get(
    "",
    **documented(
        "List remittances",
        READ.scope,
        {200: PageOfInbounds},
        paged=True,
        parameters=[query_parameter("user_id", "Only remittances to this user.")],
    ),
)
async def list_inbounds(request: Request) -> Response:
    """Those that are credited. What names no user of yours is in suspense at the institution, and not here."""

    async def read(call: Call) -> Mapping[str, Any]:
        before, limit = call.page(lambda value: is_identifier(value, IdPrefix.INBOUND))
        found = await call.services.fx_reading.many(
            "inbound", call.merchant_id, before, limit, user_id=user_filter(call)
        )
        page = page_of(found, limit, lambda item: item["id"])
        return page | {"items": await _shown(call, page["items"])}

    return await run_read(request, READ, read)


@router.get("/{inbound_id}", **documented("Read a remittance", READ.scope, {200: Inbound}, [C.INBOUND_NOT_FOUND]))
async def read_inbound(request: Request, inbound_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        found = None
        if is_identifier(inbound_id, IdPrefix.INBOUND):
            found = await call.services.fx_reading.one("inbound", call.merchant_id, inbound_id)
        if found is None:
            raise NotFoundError(C.INBOUND_NOT_FOUND)
        [shown] = await _shown(call, [found])
        return shown

    return await run_read(request, READ, read)


async def _shown(call: Call, views: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Remittances as they go out: with the masked names of who sent them; null for one that is erased."""
    names = await _masked_remitters(call, [view["id"] for view in views])
    # Why it was once in suspense is a matter of the institution.
    kept = ({name: value for name, value in view.items() if name != "reason"} for view in views)
    return [view | {"remitter": names.get(view["id"])} for view in kept]


async def _masked_remitters(call: Call, inbound_ids: Sequence[str]) -> dict[str, str]:
    """By remittance. The names of one user's are under one key; of what was in suspense, each under its own."""
    sealed = await call.services.fx_reading.remitters(inbound_ids)
    by_key = sorted(((key, token, inbound_id) for inbound_id, (key, token) in sealed.items()))
    names: dict[str, str] = {}
    for key, group in groupby(by_key, lambda each: each[0]):
        of_key = list(group)
        masked = await call.services.vault.masked(key, [token for _, token, _ in of_key])
        names |= {inbound_id: masked[token] for _, token, inbound_id in of_key if token in masked}
    return names
