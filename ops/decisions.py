"""Decisions of people: asked for, approved by another, read; and what stands in whose way (A8.1a, A8.3, A3.9e).

Who may is judged by the database with each decision's kind, so these routes ask for a session and no permission.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from domain.decisions import (
    DETAILS,
    TOLD_TO_PROCESSES,
    AnswerDecision,
    DecisionKind,
    DecisionState,
    RequestDecision,
    read_detail,
)
from domain.errors import ErrorCode, FieldError, NotAllowedError, NotFoundError, RefusedError, ValidationRefusedError
from domain.identifiers import IdPrefix, is_identifier
from ops.calls import SUBJECT, Call, Operation, run_command, run_read
from ops.closures import tell_closure_of
from ops.decision_schemas import DecisionResource, NewDecision
from ops.documentation import documented
from ops.matters import sees_reviews
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.schemas import Listed
from storage.calendars import Calendars
from storage.decisions import Decisions
from storage.ops_fx import OpsFx
from storage.ops_payouts import OpsPayouts

router = APIRouter(prefix="/ops/v1", tags=["decisions"])
C = ErrorCode

REQUEST = Operation("request_decision", None, 201)
APPROVE = Operation("approve_decision", None)
REJECT = Operation("reject_decision", None)
READ = Operation("read_decision", "payments:read")
LIST = Operation("list_decisions", "payments:read")
RESTRICTIONS = Operation("list_restrictions", "payments:read")
ORDERS = Operation("list_authority_orders", "payments:read")

_CANNOT = (
    C.SUBJECT_NOT_FOUND, C.DECISION_NOT_APPLICABLE, C.DECISION_DATE_INVALID, C.ALREADY_SENT, C.REVIEW_ENDED,
    C.REVIEW_EXPIRED, C.SCREENING_NOT_CLEARED, C.ORDER_NOT_IN_FORCE,
)  # fmt: skip
_OF_SUBJECT = query_parameter("subject_id", "Only about this.")
_OF_REVIEWS = frozenset({DecisionKind.REVIEW_APPROVE, DecisionKind.REVIEW_REJECT})
# What can set payouts and conversions free that wait for it.
_LETS_GO_ON = frozenset(
    {
        DecisionKind.FUNDS_RELEASE,
        DecisionKind.USER_RESUME,
        DecisionKind.MERCHANT_RESUME,
        DecisionKind.PARTNER_ENABLE,
        DecisionKind.AUTHORITY_ORDER_REGISTER,
    }
)
# What ends a closure, or may have been in its way.
_MOVES_CLOSURES = _LETS_GO_ON | {
    DecisionKind.CLOSURE_REFUSE,
    DecisionKind.CLOSURE_GRANT,
    DecisionKind.CLOSURE_WAIVE_RECORDS,
    DecisionKind.DISPUTE_RESOLVE,
}
_MOVES_CONVERSIONS = frozenset({DecisionKind.PARTNER_DISABLE, DecisionKind.PARTNER_ENABLE})
_FAULTS = {"missing": "missing", "extra_forbidden": "unknown_field", "literal_error": "not_one_of_the_values"}


@router.post(
    "/decisions",
    **documented(
        "Ask for a decision",
        REQUEST,
        DecisionResource,
        [C.PERMISSION_MISSING, C.DECISION_KIND_UNKNOWN, C.GROUND_UNKNOWN, C.DECISION_PENDING, *_CANNOT],
        body=NewDecision,
    ),
)
async def request_decision(request: Request) -> Response:
    """Needs the permission `<kind>:request`. Where one person decides it is committed at once, and needs
    `<kind>:approve` as well."""
    return await run_command(request, REQUEST, _request)


async def _request(call: Call, payload: dict[str, Any]) -> Done:
    given = read_as(NewDecision, payload)
    try:
        kind = DecisionKind(given.kind)
    except ValueError:
        raise RefusedError(C.DECISION_KIND_UNKNOWN, field="kind") from None
    command = RequestDecision(
        now=call.now,
        request_id=call.request_id,
        operator_id=call.operator_id,
        id=call.services.new_id(IdPrefix.DECISION),
        kind=kind,
        subject_id=given.subject_id,
        ground=given.ground,
        reason=given.reason,
        detail=_detail_of(kind, given.detail),
    )
    call.needed = f"{kind}:request"
    return await _done(call, await call.recorded(_decisions(call).request(command)))


@router.post(
    "/decisions/{decision_id}/approve",
    **documented(
        "Approve a decision as the second person",
        APPROVE,
        DecisionResource,
        [
            C.DECISION_NOT_FOUND,
            C.PERMISSION_MISSING,
            C.SECOND_PERSON_REQUIRED,
            C.REQUESTER_NOT_PERMITTED,
            C.DECISION_ENDED,
            C.DECISION_EXPIRED,
            *_CANNOT,
        ],
    ),
)
async def approve_decision(request: Request, decision_id: str) -> Response:
    """Needs `<kind>:approve`. It takes place with this, or is `refused` if it can no longer; never by who asked."""

    async def approve(call: Call, _: dict[str, Any]) -> Done:
        return await _answered(call, _decisions(call).approve, decision_id)

    return await run_command(request, APPROVE, approve)


@router.post(
    "/decisions/{decision_id}/reject",
    **documented(
        "Reject a decision, or take one back",
        REJECT,
        DecisionResource,
        [C.DECISION_NOT_FOUND, C.PERMISSION_MISSING, C.DECISION_ENDED],
    ),
)
async def reject_decision(request: Request, decision_id: str) -> Response:
    """By whoever may approve it, or by who asked for it."""

    async def reject(call: Call, _: dict[str, Any]) -> Done:
        return await _answered(call, _decisions(call).reject, decision_id)

    return await run_command(request, REJECT, reject)


@router.get(
    "/decisions",
    **documented(
        "List decisions",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these.", enum=[state.value for state in DecisionState]),
            query_parameter("kind", "Only these.", enum=[kind.value for kind in DecisionKind]),
            _OF_SUBJECT,
        ],
    ),
)
async def list_decisions(request: Request) -> Response:
    """The newest first; those on reviews and screening matches only for who has `reviews:read`, those on what is
    retained for `retention:read`."""

    async def read(call: Call) -> Mapping[str, Any]:
        state = text_of(call, "state", "|".join(DecisionState))
        kind = text_of(call, "kind", "|".join(word.replace(".", r"\.") for word in DecisionKind))
        subject, limit = text_of(call, "subject_id", SUBJECT), limit_of(call)
        before = cursor_of(call, r"dec_[0-9A-Z]{26}")
        found = await _decisions(call).page(
            before, limit, state=state, kind=kind, subject_id=subject, **await _seen_by(call)
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/decisions/{decision_id}", **documented("Read a decision", READ, DecisionResource, [C.DECISION_NOT_FOUND]))
async def read_decision(request: Request, decision_id: str) -> Response:
    async def read(call: Call) -> Mapping[str, Any]:
        found = None
        if is_identifier(decision_id, IdPrefix.DECISION):
            found = await _decisions(call).read(decision_id, **await _seen_by(call))
        if found is None:
            raise NotFoundError(C.DECISION_NOT_FOUND)
        return found

    return await run_read(request, READ, read)


@router.get(
    "/restrictions",
    **documented(
        "Suspensions, freezes and orders in force",
        RESTRICTIONS,
        Listed,
        paged=True,
        parameters=[_OF_SUBJECT, query_parameter("ended", "Those that ended, too.", enum=["included"])],
    ),
)
async def list_restrictions(request: Request) -> Response:
    """The newest first."""

    async def read(call: Call) -> Mapping[str, Any]:
        subject, limit = text_of(call, "subject_id", SUBJECT), limit_of(call)
        with_ended = text_of(call, "ended", "included") is not None
        before = cursor_of(call, r"rst_[0-9A-Z]{1,40}")
        found = await _decisions(call).restrictions(
            before, limit, subject_id=subject, now=call.now, with_ended=with_ended
        )
        if not await sees_reviews(call):
            found = [_without_hit(restriction) for restriction in found]
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, RESTRICTIONS, read)


@router.get(
    "/authority_orders",
    **documented("Registered orders of authorities", ORDERS, Listed, paged=True, parameters=[_OF_SUBJECT]),
)
async def list_authority_orders(request: Request) -> Response:
    """The newest first; a `hold` is in force until it expires or another order releases it."""

    async def read(call: Call) -> Mapping[str, Any]:
        subject, limit = text_of(call, "subject_id", SUBJECT), limit_of(call)
        before = cursor_of(call, r"ord_[0-9A-Z]{1,40}")
        found = await _decisions(call).authority_orders(before, limit, subject_id=subject)
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, ORDERS, read)


def _without_hit(restriction: dict[str, Any]) -> dict[str, Any]:
    """A suspension that a hit on a list has placed by itself, without what tells of the hit (L5)."""
    by_hit = restriction["placed_by"].startswith("case_")
    return restriction | {"ground": None, "placed_by": None} if by_hit else restriction


async def _seen_by(call: Call) -> dict[str, bool]:
    may = OpsPayouts(call.services.engine).may(call.operator_id, "retention:read", call.now)
    return {"all_kinds": await sees_reviews(call), "retained": await may}


def _decisions(call: Call) -> Decisions:
    return Decisions(call.services.engine)


async def _answered(
    call: Call, answer: Callable[[AnswerDecision], Awaitable[dict[str, Any]]], decision_id: str
) -> Done:
    if not is_identifier(decision_id, IdPrefix.DECISION):
        raise NotFoundError(C.DECISION_NOT_FOUND)
    command = AnswerDecision(now=call.now, request_id=call.request_id, operator_id=call.operator_id, id=decision_id)
    try:
        decision = await call.recorded(answer(command))
    except NotAllowedError:
        found = await _decisions(call).read(decision_id)
        call.needed = f"{found['kind']}:approve" if found else None
        raise
    return await _done(call, decision)


def _detail_of(kind: DecisionKind, given: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_detail(kind, given)
    except ValidationError as error:
        faults = [
            FieldError(".".join(("detail", *(part for part in _to_blame(item) if part in _named(kind)))), fault)
            for item in error.errors(include_input=False, include_url=False, include_context=False)
            for fault in [_FAULTS.get(item["type"], item["type"] if item["type"] == "personal_data" else "invalid")]
        ]
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=faults[:20]) from None


def _to_blame(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The field of a fault; of one that several have together, the one that it is called by."""
    if item["loc"]:
        return (str(item["loc"][0]),)
    return ({"missing": "review_at", "amount": "amount_minor"}.get(item["type"], item["type"]),)


def _named(kind: DecisionKind) -> frozenset[str]:
    """Fields of ours: what somebody else called theirs is not repeated."""
    return frozenset(field.alias or name for name, field in DETAILS[kind].model_fields.items())


async def _done(call: Call, decision: dict[str, Any]) -> Done:
    """The decision, and its process told of it if it has one: at once here, or else by the sweeper."""
    call.subject_id = decision["subject_id"]
    if decision["state"] != DecisionState.COMMITTED:
        return Done(decision)
    kind = DecisionKind(decision["kind"])
    if kind in TOLD_TO_PROCESSES:
        instruction = await _decisions(call).instruction(decision["subject_id"])
        told = instruction is not None and await call.services.processes.tell_decision(instruction, decision["id"])
        return Done(decision | {"process_told": told})
    if kind in _OF_REVIEWS:
        payout_id = await OpsPayouts(call.services.engine).payout_of_review(decision["subject_id"])
        told = payout_id is not None and await call.services.processes.tell_payout(payout_id)
        return Done(decision | {"process_told": told})
    if kind in _LETS_GO_ON:
        await _wake_stopped(call, decision["subject_id"])
    if kind in _MOVES_CLOSURES:
        await tell_closure_of(call, decision["subject_id"])
    if kind in _MOVES_CONVERSIONS:
        # The desk of another bank takes over, or this one again.
        await call.services.processes.replan_fx(await Calendars(call.services.engine).current_version())
    return Done(decision)


async def _wake_stopped(call: Call, subject_id: str) -> None:
    """What this may have stopped looks again now; what does not hear of it does so by itself, later."""
    stopped = await OpsPayouts(call.services.engine).stopped(subject_id)
    conversions = await OpsFx(call.services.engine).stopped(subject_id)
    processes = call.services.processes
    await asyncio.gather(
        *(processes.tell_payout(payout_id) for payout_id in stopped),
        *(processes.tell_fx(fx_id) for fx_id in conversions),
    )
