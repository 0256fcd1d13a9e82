"""What waits for a person: cases, parked instructions, applications; and opening a case."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from domain.case_texts import explain_case
from domain.errors import ErrorCode, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix
from domain.risk_rules import CONFIDENTIAL_CASES
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Case, Listed, NewCase, holds_personal_number
from storage.ops_payouts import OpsPayouts

router = APIRouter(prefix="/ops/v1", tags=["matters"])
C = ErrorCode

MATTERS = Operation("list_matters", "payments:read")
CASES = Operation("list_cases", "payments:read")
OPEN = Operation("open_case", "cases:open", 201)
APPLICATIONS = Operation("list_waiver_applications", "payments:read")
PARTNERS = Operation("list_partners", "payments:read")


@router.get("/matters", **documented("What waits for a person", MATTERS, Listed))
async def list_matters(request: Request) -> Response:
    """The oldest first, with its age in seconds; of a case with what it is about in words (`says`).

    What lists and rules found only for who has `reviews:read`.
    """

    async def read(call: Call) -> Mapping[str, Any]:
        found = await call.services.reading.matters(await hidden_cases(call))
        return listed([_told(item) | {"age_seconds": _age(item["since"], call.now)} for item in found])

    return await run_read(request, MATTERS, read)


@router.get(
    "/cases",
    **documented(
        "List cases",
        CASES,
        Listed,
        paged=True,
        parameters=[query_parameter("state", "Only these.", enum=["open", "resolved"])],
    ),
)
async def list_cases(request: Request) -> Response:
    """The newest first, with what it is about in words; `merchant_id` is empty where it is no merchant's affair."""

    async def read(call: Call) -> Mapping[str, Any]:
        state, limit = text_of(call, "state", "open|resolved"), limit_of(call)
        before = cursor_of(call, r"case_[0-9A-Z]{1,40}")
        found = await call.services.reading.cases(state, before, limit, await hidden_cases(call))
        return page_of([item | {"says": explain_case(item["kind"])} for item in found], limit, lambda item: item["id"])

    return await run_read(request, CASES, read)


@router.post(
    "/cases",
    **documented("Open a case", OPEN, Case, [C.INSTRUCTION_NOT_FOUND, C.REASON_HOLDS_PERSONAL_DATA], body=NewCase),
)
async def open_case(request: Request) -> Response:
    """Puts something on the list of what waits for a person; it changes nothing besides."""
    return await run_command(request, OPEN, _open)


async def _open(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewCase, payload)
    check_reason(given.reason_text)
    case_id = call.services.new_id(IdPrefix.CASE)
    item = {"now": call.now.isoformat(), "actor": call.actor, "request_id": call.request_id, "id": case_id}
    item |= {"subject_id": given.subject_id, "reason_text": given.reason_text}
    merchant_id = await call.services.operators.open_case(item)
    call.is_recorded = True
    return Done({"id": case_id, "object": "case", "subject_id": given.subject_id, "merchant_id": merchant_id})


@router.get("/waiver_applications", **documented("Applications for payment without a code", APPLICATIONS, Listed))
async def list_waiver_applications(request: Request) -> Response:
    """Those that wait for a decision (A3.11a)."""

    async def read(call: Call) -> Mapping[str, Any]:
        return listed(await call.services.reading.waiver_applications())

    return await run_read(request, APPLICATIONS, read)


@router.get("/partners", **documented("The registered banks", PARTNERS, Listed))
async def list_partners(request: Request) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        return listed(await call.services.reading.partners())

    return await run_read(request, PARTNERS, read)


async def sees_reviews(call: Call) -> bool:
    """Whether this person may know what lists, rules and reviewers say (L5)."""
    return await OpsPayouts(call.services.engine).may(call.operator_id, "reviews:read", call.now)


async def hidden_cases(call: Call) -> frozenset[str]:
    """The kinds of case that this person is not told of."""
    return frozenset() if await sees_reviews(call) else CONFIDENTIAL_CASES


def listed(items: list[Any]) -> dict[str, Any]:
    """A list without further pages."""
    return {"object": "list", "items": items, "next_cursor": None}


def check_reason(text: str) -> None:
    """Reasons stay on record, so they hold nobody's numbers. Raises RefusedError, ValidationRefusedError."""
    if holds_personal_number(text):
        raise RefusedError(C.REASON_HOLDS_PERSONAL_DATA, field="reason_text")
    if not text.strip():
        raise ValidationRefusedError(C.REQUEST_INVALID, field="reason_text")


def _told(matter: Mapping[str, Any]) -> dict[str, Any]:
    return dict(matter) | {"says": explain_case(matter["why"]) if matter["kind"] == "case" else None}


def _age(since: str, now: datetime) -> int:
    return max(int((now - datetime.fromisoformat(since)).total_seconds()), 0)
