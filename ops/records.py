"""Who did what, and what was refused: the operation records, and who read whose personal data (A4.1a, A4.2b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import page_of
from api.documentation import query_parameter
from domain.errors import ErrorCode, NotFoundError
from domain.identifiers import IdPrefix, is_identifier
from ops.calls import Call, Operation, run_read
from ops.documentation import documented
from ops.matters import listed
from ops.pages import cursor_of
from ops.queries import instant_of, limit_of, text_of
from ops.schemas import Listed

router = APIRouter(prefix="/ops/v1", tags=["records"])
C = ErrorCode

READ = Operation("read_records", "records:read")
READ_ACCESSES = Operation("read_accesses", "records:read")

_OUTCOMES = ("received", "done", "refused", "failed", "unknown", "abandoned", "denied", "corrected")


@router.get(
    "/records",
    **documented(
        "Operation records",
        READ,
        Listed,
        paged=True,
        parameters=[
            query_parameter("subject_id", "Of this payment, user, key, operator …"),
            query_parameter("actor", "Of this person: `operator:rui`."),
            query_parameter("outcome", "Only these.", enum=list(_OUTCOMES)),
            query_parameter("from", "From this instant on (RFC 3339).", format="date-time"),
            query_parameter("to", "Before this instant.", format="date-time"),
        ],
    ),
)
async def read_records(request: Request) -> Response:
    """Newest first. Reading records is recorded too, with what was asked for."""
    return await run_read(request, READ, _read)


async def _read(call: Call) -> Mapping[str, Any]:
    limit, before = limit_of(call), cursor_of(call, r"[1-9][0-9]{0,17}")
    subject_id = text_of(call, "subject_id", r"[A-Za-z][A-Za-z0-9_:.-]{0,79}")
    actor = text_of(call, "actor", r"operator:[a-z][a-z0-9._-]{1,39}")
    outcome = text_of(call, "outcome", "|".join(_OUTCOMES))
    since, until = instant_of(call, "from"), instant_of(call, "to")
    # Not before all of it was looked at: what somebody typed in its place has no place in a record.
    asked = {"subject_id": subject_id, "actor": actor, "outcome": outcome, "from": since, "to": until}
    call.detail = {name: str(value) for name, value in asked.items() if value is not None}
    found = await call.services.reading.records(
        subject_id=subject_id,
        actor=actor,
        outcome=outcome,
        since=since,
        until=until,
        before=int(before) if before else None,
        limit=limit,
    )
    return page_of(found, limit, lambda item: item["id"])


@router.get(
    "/users/{user_id}/accesses",
    **documented("Who read a user's personal data", READ_ACCESSES, Listed, [C.USER_NOT_FOUND]),
)
async def read_accesses(request: Request, user_id: str) -> Response:
    """Reads that were granted and reads that were refused, by people and by our own processes; newest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        if not is_identifier(user_id, IdPrefix.USER):
            raise NotFoundError(C.USER_NOT_FOUND)
        return listed(await call.services.reading.accesses(user_id))

    return await run_read(request, READ_ACCESSES, read)
