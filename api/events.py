"""Events for those who poll: oldest first, each once, and nothing appears later in front of what was read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Call, Operation, cursor, run_read
from api.documentation import documented, query_parameter
from api.webhook_schemas import PageOfEvents
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from domain.webhooks import is_event_filter

router = APIRouter(prefix="/v1/events", tags=["events"])
C = ErrorCode

READ = Operation("read_event", "events:read")
_MAX_XID, _MAX_POSITION = 2**64, 2**63


@router.get(
    "",
    **documented(
        "List events, oldest first",
        READ.scope,
        {200: PageOfEvents},
        paged=True,
        parameters=[
            query_parameter("type", "Of this type, or of this family: `payment.*`."),
            query_parameter("object_id", "Of this object."),
        ],
    ),
)
async def list_events(request: Request) -> Response:
    return await run_read(request, READ, _events)


async def _events(call: Call) -> Mapping[str, Any]:
    after, limit = call.page(_is_place)
    event_type, object_id = call.query.get("type"), call.query.get("object_id")
    if event_type is not None and not is_event_filter(event_type):
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("type", "not_one_of_the_values")])
    if object_id is not None and re.fullmatch(r"[a-z]{2,6}_[0-9A-Z]{26,32}", object_id) is None:
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError("object_id", "wrong_format")])
    found = await call.services.webhooks.events(
        call.merchant_id, after, limit + 1, event_type=event_type, object_id=object_id
    )
    shown = found[:limit]
    last = shown[-1][0] if shown else after
    resume = cursor(last) if last is not None else None
    return {
        "object": "list",
        "items": [event for _, event in shown],
        "next_cursor": resume if len(found) > limit else None,
        "resume_cursor": resume,
    }


def _is_place(value: str) -> bool:
    if re.fullmatch(r"[0-9]{1,20}\.[0-9]{1,19}", value) is None:
        return False
    xid, _, position = value.partition(".")
    return int(xid) < _MAX_XID and int(position) < _MAX_POSITION
