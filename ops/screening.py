"""Screening lists as operators keep them, and what was found by them (P1.1.3, L11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from domain.error_codes import ErrorCode
from domain.errors import FieldError, ValidationRefusedError
from domain.screening import ListEntry, NewList
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.matters import listed
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from ops.screening_schemas import NewListEntry, NewScreeningList, ScreeningList
from storage.screening import ScreeningLists
from vault.indexing import IndexKind

router = APIRouter(prefix="/ops/v1", tags=["screening"])
C = ErrorCode

LOAD = Operation("load_screening_list", "screening:write")
LISTS = Operation("list_screening_lists", "reviews:read")
MATCHES = Operation("list_screening_matches", "reviews:read")
LISTS_PATH = "/ops/v1/screening/lists"
# Twenty thousand entries, or somewhat less with many names.
MAX_LIST_BYTES = 6 * 1024 * 1024
_STATES = ("open", "cleared", "entry_changed")


@router.post(
    "/screening/lists",
    **documented("Load a version of a list", LOAD, ScreeningList, [C.SCREENING_LIST_UNKNOWN], body=NewScreeningList),
)
async def load_list(request: Request) -> Response:
    """The list whole, in one piece of up to 6 MiB. From now on nobody is paid before being compared with it, and all
    users and payees are compared with it in the background.
    """
    return await run_command(request, LOAD, _load)


async def _load(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewScreeningList, payload)
    entries = tuple(_entry(call, entry, place) for place, entry in enumerate(given.entries))
    if len({entry.key for entry in entries}) < len(entries):
        raise _wrong("entries", "duplicate")
    new = NewList(code=given.code, source=given.source, entries=entries)
    made = await ScreeningLists(call.services.engine).load(new, call.now, call.operator_id, call.request_id)
    call.is_recorded = True
    return Done(_shown(made, call.now))


def _entry(call: Call, given: NewListEntry, place: int) -> ListEntry:
    born: date | None = None
    try:
        born = date.fromisoformat(given.birth_date) if given.birth_date else None
    except ValueError:
        raise _wrong(f"entries.{place}.birth_date", "wrong_format") from None
    indexes = {call.services.vault.blind_index(IndexKind.PERSON, number) for number in given.id_numbers}
    return ListEntry(
        key=given.key,
        kind=given.kind,
        names=tuple(given.names),
        birth_date=born,
        country=given.country,
        id_indexes=tuple(sorted(indexes)),
    )


@router.get("/screening/lists", **documented("The lists that are asked", LISTS, Listed))
async def list_lists(request: Request) -> Response:
    """Each with its last version and until when it is good; one that is not blocks all payouts."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await ScreeningLists(call.services.engine).lists()
        return listed([_shown(item, call.now) for item in found])

    return await run_read(request, LISTS, read)


@router.get(
    "/screening/matches",
    **documented(
        "What was found by the lists",
        MATCHES,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=list(_STATES)),
            query_parameter("subject_id", "Of this user or payee."),
        ],
    ),
)
async def list_matches(request: Request) -> Response:
    """Newest first. A false one is cleared by a decision `screening.clear` about it, which takes two people."""

    async def read(call: Call) -> Mapping[str, Any]:
        state, limit = text_of(call, "state", "|".join(_STATES)), limit_of(call)
        subject_id = text_of(call, "subject_id", r"(usr|pye)_[0-9A-HJKMNP-TV-Z]{26}")
        before = cursor_of(call, r"scm_[0-9A-HJKMNP-TV-Z]{26}")
        found = await ScreeningLists(call.services.engine).matches(before, limit, state=state, subject_id=subject_id)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, MATCHES, read)


def _shown(standing: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    until = standing["good_until"]
    return {**standing, "is_good": until is not None and datetime.fromisoformat(until) > now}


def _wrong(field: str, code: str) -> ValidationRefusedError:
    return ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError(field, code)])
