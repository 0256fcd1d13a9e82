"""What is retained of users who left: who has what, what was purged, opening it for an order (P4.5e, P2.4c).

Nothing of what it says is shown here: it leaves sealed to the authority's key, or not at all.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.schemas import read_as
from domain.errors import ErrorCode, FieldError, NotFoundError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.pages import cursor_of
from ops.queries import limit_of
from ops.retention_schemas import NewDisclosure, RetainedOfPerson, RetainedOfUser, SealedDisclosure, SearchOfPerson
from ops.schemas import Listed
from storage.ops_retention import OpsRetention, SearchRetained
from vault.indexing import IndexKind
from vault.retained_archive import Authority, check_recipient, seal_archive
from vault.retention_reading import RetentionRefusedError

router = APIRouter(prefix="/ops/v1/retention", tags=["retention"])
C = ErrorCode

SEARCH = Operation("search_retained", "retention:read")
READ = Operation("read_retained", "retention:read")
DISCLOSE = Operation("disclose_retained", "retention:read")
REPORTS = Operation("list_purge_reports", "retention:read")


@router.post("/search", **documented("Who has something retained", SEARCH, RetainedOfPerson, body=SearchOfPerson))
async def search_retained(request: Request) -> Response:
    """By the number that an authority names: it is compared as a keyed digest and kept nowhere."""

    async def search(call: Call, payload: dict[str, Any]) -> Done:
        number = read_as(SearchOfPerson, payload).id_number
        command = SearchRetained(
            now=call.now,
            request_id=call.request_id,
            operator_id=call.operator_id,
            person_index=call.services.vault.blind_index(IndexKind.PERSON, number),
        )
        found = await call.recorded(_book(call).search(command))
        return Done({"object": "retained_of_person", "users": found})

    return await run_command(request, SEARCH, search)


@router.get("/users/{user_id}", **documented("What is retained of a user", READ, RetainedOfUser, [C.USER_NOT_FOUND]))
async def read_retained(request: Request, user_id: str) -> Response:
    """Kinds, years and until when; the holds that stop the clocks; who opened it, or wanted to."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _book(call).of_user(user_id) if is_identifier(user_id, IdPrefix.USER) else None
        if found is None:
            raise NotFoundError(C.USER_NOT_FOUND)
        call.merchant_id = found["merchant_id"]
        return {"object": "retained_of_user", **found}

    return await run_read(request, READ, read)


@router.post(
    "/disclosures",
    **documented(
        "Open what is retained for an order",
        DISCLOSE,
        SealedDisclosure,
        [C.DECISION_NOT_FOUND, C.DECISION_NOT_APPLICABLE, C.SECOND_PERSON_REQUIRED, C.ORDER_NOT_IN_FORCE],
        body=NewDisclosure,
    ),
)
async def disclose_retained(request: Request) -> Response:
    """What two people have decided (`retention.disclose`), by one of the two, while the order is in force: an archive
    that only the authority's key opens. Each time is on record."""
    return await run_command(request, DISCLOSE, _disclose)


async def _disclose(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewDisclosure, payload)
    try:
        recipient = check_recipient(given.recipient)
    except ValueError:
        fault = FieldError("recipient", "wrong_format")
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=[fault]) from None
    decision = await _book(call).decision(given.decision_id)
    call.subject_id, call.merchant_id = given.decision_id, decision["merchant_id"] if decision else None
    call.detail = {"recipient": given.recipient}
    try:
        records = await call.services.retained.open_for_order(given.decision_id, call.operator_id)
    except RetentionRefusedError as refused:
        # What is wrong with decision or order, besides the code.
        call.detail |= {"said": refused.reason}
        raise
    assert decision is not None  # noqa: S101 - it was opened by it
    authority = Authority(
        decision_id=given.decision_id,
        order_id=decision["detail"]["order_id"],
        user_id=decision["subject_id"],
        opened_at=call.now,
    )
    sealed = seal_archive(records, authority, recipient)
    call.detail |= {"order_id": authority.order_id, "records": len(records), "sha256": sealed.sha256}
    return Done(
        {
            "object": "retention_disclosure",
            "decision_id": given.decision_id,
            "recipient": given.recipient,
            "manifest": sealed.manifest,
            "sha256": sealed.sha256,
            "archive": base64.b64encode(sealed.content).decode("ascii"),
        }
    )


@router.get("/reports", **documented("What was purged, and why", REPORTS, Listed, paged=True))
async def list_reports(request: Request) -> Response:
    """The latest run first: what went by which clock, what was due and is held, what is not finished (P3.3b)."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit = limit_of(call)
        found = await _book(call).reports(_before(call), limit)
        return page_of(found, limit, lambda item: f"{item['run_on']} {item['at']}")

    return await run_read(request, REPORTS, read)


def _before(call: Call) -> tuple[date, datetime] | None:
    given = cursor_of(call, r"\d{4}-\d\d-\d\d \d{4}-\d\d-\d\dT[0-9:.]{8,15}Z")
    if given is None:
        return None
    day, at = given.split(" ")
    try:
        return date.fromisoformat(day), datetime.fromisoformat(at)
    except ValueError:
        raise ValidationRefusedError(C.CURSOR_INVALID) from None


def _book(call: Call) -> OpsRetention:
    return OpsRetention(call.services.engine, call.services.retention_rules)
