"""Payouts are assessed and planned as a test writes down; what follows is committed in the real books."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from temporalio import activity

from activities import names as activity_names
from activities.interfaces import Assessment, AssessmentRequest, Plan, PlanRequest
from activities.reviewing import Reviewing
from domain.identifiers import BankStep, request_number
from storage.reviews import Reviews
from tests.storage.books import Books

# From an instant on: when the bank is next open.
Opens = Callable[[datetime], datetime]
RATE = 100
_ANSWER_WITHIN = timedelta(hours=24)


def at_once(now: datetime) -> datetime:
    return now


class ScriptedChecks:
    """Plays rules, lists and calendars: each question takes the next answer, the last one for ever.

    What follows is committed by the functions that the real ones call.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._verdicts: deque[dict[str, Any]] = deque([{"outcome": "pass"}])
        self._opens: deque[Opens] = deque([at_once])
        self.assessed: list[AssessmentRequest] = []
        self.planned: list[PlanRequest] = []
        self.was_asked = asyncio.Event()

    def judge(self, *verdicts: dict[str, Any]) -> None:
        self._verdicts = deque(verdicts)

    def open_bank(self, *opens: Opens | datetime) -> None:
        """When the bank is next open, from an instant on."""
        self._opens = deque(one if callable(one) else _always(one) for one in opens)

    def activities(self) -> list[Callable[..., Any]]:
        return [self.assess_payout, self.plan_payout, Reviewing(Reviews(self._books.app)).review_standing]

    @activity.defn(name=activity_names.ASSESS_PAYOUT)
    async def assess_payout(self, request: AssessmentRequest) -> Assessment:
        self.assessed.append(request)
        self.was_asked.set()
        verdict = {"hits": [], "screened": [], "cases": [], "matches": [], "stop_user": False} | _next(self._verdicts)
        item = verdict | {
            "payout_id": request.payout_id, "now": request.now.isoformat(), "again": request.again,
            "decision_id": self._books.new_id("rsk"), "rules_version": "test", "rules_fingerprint": "0" * 64,
            "inputs": {}, "screening_outcome": "no_hit", "screened_version": await self._version(),
        }  # fmt: skip
        answer = await self._call("app.record_assessment", item)
        return Assessment.model_validate(answer)

    @activity.defn(name=activity_names.PLAN_PAYOUT)
    async def plan_payout(self, request: PlanRequest) -> Plan:
        self.planned.append(request)
        opens = _next(self._opens)(request.now)
        window = {
            "opens_at": opens.isoformat(), "closes_at": (opens + timedelta(days=3650)).isoformat(),
            "arrives_after_seconds": 7200, "provisional": False,
        }  # fmt: skip
        item = {
            "payout_id": request.payout_id, "now": request.now.isoformat(), "why": request.why, "rate": RATE,
            "plan_version": await self._books.value("SELECT app.current_plan_version()"), "windows": [window],
        }  # fmt: skip
        answer = await self._call("app.plan_payout", item)
        assert answer["ok"], answer
        return Plan(
            state=answer["state"], slot_at=answer["slot_at"], predicted_arrival_at=answer["predicted_arrival_at"],
            answer_within_seconds=int(_ANSWER_WITHIN.total_seconds()),
        )  # fmt: skip

    async def _version(self) -> int:
        return int(await self._books.value("SELECT app.current_screening_version()"))

    async def _call(self, function: str, item: dict[str, Any]) -> dict[str, Any]:
        statement = sa.text(f"SELECT {function}(:item) AS answer").bindparams(sa.bindparam("item", type_=JSONB))
        async with self._books.app.begin() as connection:
            answer: dict[str, Any] = await connection.scalar(statement.columns(answer=JSONB), {"item": item})
        return answer


def _always(instant: datetime) -> Opens:
    return lambda now: max(now, instant)


def _next(answers: deque[Any]) -> Any:
    return answers.popleft() if len(answers) > 1 else answers[0]


def number_of(payout: dict[str, Any], attempt: int = 0) -> str:
    return request_number(BankStep.PAYOUT, payout["id"], attempt)
