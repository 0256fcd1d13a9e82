"""The review queue (A2.5d): payouts that a person has to look at; take one, see why, ask for evidence, extend.

Approved or rejected it is by a decision (`review.approve`, `review.reject`), above an amount by two people.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done, page_of
from api.documentation import query_parameter
from api.schemas import read_as
from domain.errors import ErrorCode, NotFoundError
from domain.hit_texts import explain_hit
from domain.identifiers import IdPrefix, is_identifier
from domain.reviews import Act, ReviewState, WorkOnReview
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from ops.instructions import instruction_of, payee_of
from ops.pages import cursor_of
from ops.queries import limit_of, text_of
from ops.review_schemas import EvidenceAsked, Extension, FullReview, ReviewNote, ReviewResource
from ops.schemas import Listed
from storage.ops_payouts import OpsPayouts
from storage.reviews import Reviews

router = APIRouter(prefix="/ops/v1/reviews", tags=["reviews"])
C = ErrorCode

LIST = Operation("list_reviews", "reviews:read")
READ = Operation("read_review", "reviews:read")
TAKE = Operation("review_take", "reviews:write")
RELEASE = Operation("review_release", "reviews:write")
ASK = Operation("review_ask", "reviews:write")
EXTEND = Operation("review_extend", "reviews:write")
NOTE = Operation("review_note", "reviews:write")

_ENDED = (C.REVIEW_NOT_FOUND, C.REVIEW_ENDED, C.REVIEW_EXPIRED)
# Of the payout; its story is at its own address.
_SHOWN = (
    "id", "object", "merchant_id", "user_id", "kind", "order_number", "amount_minor", "currency", "fee_minor", "region",
    "route", "bank_code", "speed", "state", "state_since", "reason", "accepted_at", "confirmation", "waiting_for",
)  # fmt: skip


@router.get(
    "",
    **documented(
        "The review queue",
        LIST,
        Listed,
        paged=True,
        parameters=[
            query_parameter("state", "Only these; if left out, those under way.", enum=[s.value for s in ReviewState]),
            query_parameter("owner", "`me`, `none`, or an operator's id."),
            query_parameter("overdue", "Only those that should have been decided by now.", enum=["true"]),
        ],
    ),
)
async def list_reviews(request: Request) -> Response:
    """What is due first comes first."""

    async def read(call: Call) -> Mapping[str, Any]:
        limit, state = limit_of(call), text_of(call, "state", "|".join(ReviewState))
        owner = text_of(call, "owner", r"me|none|opr_[0-9A-Z]{26}")
        found = await _reviews(call).page(
            cursor_of(call, r"rev_[0-9A-Z]{26}"),
            limit,
            now=call.now,
            state=state,
            owner={"me": call.operator_id, "none": None}.get(owner or "none", owner),
            unowned=owner == "none",
            overdue=text_of(call, "overdue", "true") is not None,
        )
        return page_of(found, limit, lambda item: item["id"])

    return await run_read(request, LIST, read)


@router.get("/{review_id}", **documented("Everything about one", READ, FullReview, [C.REVIEW_NOT_FOUND]))
async def read_review(request: Request, review_id: str) -> Response:
    """Who pays how much to whom, why that needs a person, what the user did lately, and what was done so far."""

    async def read(call: Call) -> Mapping[str, Any]:
        found = await _reviews(call).read(_checked(review_id), call.now)
        if found is None:
            raise NotFoundError(C.REVIEW_NOT_FOUND)
        return found | await _surroundings(call, found)

    return await run_read(request, READ, read)


async def _surroundings(call: Call, review: Mapping[str, Any]) -> dict[str, Any]:
    payouts = OpsPayouts(call.services.engine)
    payout = await instruction_of(call, review["payout_id"])
    return {
        "payout": {name: payout[name] for name in _SHOWN},
        "payee": await payee_of(call, payout["payee_id"]),
        "recent": await payouts.recent(payout["user_id"]),
        "hits": [explain_hit(hit, review["currency"]) for hit in review["hits"]],
        "matches": await payouts.matches(payout["id"]),
        "decisions": await payouts.decisions(review["id"]),
        "needs_second_person": await payouts.approval_takes_two(review["id"]),
    }


@router.post(
    "/{review_id}/take",
    **documented("Take a review", TAKE, ReviewResource, [*_ENDED, C.REVIEW_TAKEN]),
)
async def take_review(request: Request, review_id: str) -> Response:
    """It is yours then; what is overdue can be taken over by the role that it was escalated to."""
    return await run_command(request, TAKE, _worked_on(review_id, "take"))


@router.post(
    "/{review_id}/release",
    **documented("Give a review back to the queue", RELEASE, ReviewResource, [*_ENDED, C.REVIEW_NOT_TAKEN]),
)
async def release_review(request: Request, review_id: str) -> Response:
    return await run_command(request, RELEASE, _worked_on(review_id, "release"))


@router.post(
    "/{review_id}/ask",
    **documented(
        "Ask the merchant for evidence",
        ASK,
        ReviewResource,
        [*_ENDED, C.REVIEW_NOT_TAKEN, C.REVIEW_DATE_INVALID],
        body=EvidenceAsked,
    ),
)
async def ask_for_evidence(request: Request, review_id: str) -> Response:
    """The merchant gets the event `payout.evidence_requested` with the kinds and the date; the review waits for it."""
    return await run_command(request, ASK, _worked_on(review_id, "ask", EvidenceAsked))


@router.post(
    "/{review_id}/extend",
    **documented(
        "Extend a review",
        EXTEND,
        ReviewResource,
        [*_ENDED, C.REVIEW_NOT_TAKEN, C.REVIEW_NOT_EXTENDABLE],
        body=Extension,
    ),
)
async def extend_review(request: Request, review_id: str) -> Response:
    """By the time that config/reviews.toml says, as often as it says, and never beyond `latest_at`."""
    return await run_command(request, EXTEND, _worked_on(review_id, "extend", Extension))


@router.post("/{review_id}/note", **documented("Add a note", NOTE, ReviewResource, _ENDED, body=ReviewNote))
async def note_on_review(request: Request, review_id: str) -> Response:
    return await run_command(request, NOTE, _worked_on(review_id, "note", ReviewNote))


def _worked_on(
    review_id: str, act: Act, body: type[EvidenceAsked | Extension | ReviewNote] | None = None
) -> Callable[[Call, dict[str, Any]], Awaitable[Done]]:
    async def work(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(body, payload).model_dump(exclude_none=True) if body is not None else {}
        command = WorkOnReview(
            now=call.now,
            request_id=call.request_id,
            operator_id=call.operator_id,
            id=_checked(review_id),
            act=act,
            kinds=tuple(dict.fromkeys(given.get("kinds", ()))),
            until=given.get("until"),
            note=given.get("reason", given.get("note")),
        )
        review = await call.recorded(_reviews(call).work_on(command))
        if act in ("ask", "extend"):
            # Its process waits for another instant now; if it does not hear of it, it looks at the old one.
            await call.services.processes.tell_payout(review["payout_id"])
        return Done(review)

    return work


def _checked(review_id: str) -> str:
    if not is_identifier(review_id, IdPrefix.REVIEW):
        raise NotFoundError(C.REVIEW_NOT_FOUND)
    return review_id


def _reviews(call: Call) -> Reviews:
    return Reviews(call.services.engine)
