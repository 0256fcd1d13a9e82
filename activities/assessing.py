"""Assessing a payout: rules and lists applied to it, and the verdict committed (A1.4, P1.1.3, L11).

The names that are compared stay here; what comes out are identifiers, amounts and words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from temporalio import activity

from activities import names
from activities.interfaces import Assessment, AssessmentRequest
from domain.identifiers import IdPrefix, identifier
from domain.risk import Hit, RiskInputs, RiskOutcome, RiskVerdict, evaluate
from domain.risk_rules import RuleSet
from domain.screening import Screened, ScreeningOutcome, ScreeningUnavailableError

log = logging.getLogger(__name__)


class BegunAssessment(Protocol):
    """`storage.risk.BegunAssessment`."""

    @property
    def state(self) -> str: ...
    @property
    def answer(self) -> Mapping[str, Any] | None: ...
    @property
    def inputs(self) -> RiskInputs: ...
    @property
    def settled(self) -> Sequence[str]: ...
    @property
    def subjects(self) -> Sequence[Any]: ...


class RiskBook(Protocol):
    """Where payouts and verdicts are (`storage.risk.RiskBook`)."""

    async def begin(self, payout_id: str, now: datetime) -> BegunAssessment | None: ...

    async def record(self, item: dict[str, Any]) -> Mapping[str, Any]: ...


class Screener(Protocol):
    """Compares users and payees with the lists (`screening.screener.Screener`)."""

    async def screen(self, subjects: Sequence[Any], actor: str) -> Screened: ...


class Assessing:
    """The activity that judges payouts. `rules` are those of the worker's start."""

    def __init__(self, book: RiskBook, screener: Screener, rules: RuleSet, new_ulid: Callable[[], str]) -> None:
        self._book = book
        self._screener = screener
        self._rules = rules
        self._new_ulid = new_ulid

    @activity.defn(name=names.ASSESS_PAYOUT)
    async def assess_payout(self, request: AssessmentRequest) -> Assessment:
        """Idempotent by payout and instant. What cannot be screened is `unavailable`, and nothing is decided."""
        begun = await self._book.begin(request.payout_id, request.now)
        if begun is None:
            return Assessment(outcome="ended", state="unknown")
        item = {"now": request.now.isoformat(), "payout_id": request.payout_id, "again": request.again}
        if begun.answer is None:
            item |= await self._judged(request, begun)
        return Assessment.model_validate(await self._book.record(item))

    async def _judged(self, request: AssessmentRequest, begun: BegunAssessment) -> dict[str, Any]:
        try:
            screened = await self._screener.screen(begun.subjects, f"process:{request.payout_id}")
        except ScreeningUnavailableError as error:
            log.warning("screening is unavailable", extra={"subject_id": request.payout_id, "reason": str(error)})
            return {"outcome": ScreeningOutcome.UNAVAILABLE.value}
        verdict = evaluate(self._rules, begun.inputs, begun.settled)
        outcome = _worse_of(verdict, screened)
        return {
            "decision_id": self._new_id(IdPrefix.RISK_DECISION),
            "rules_version": self._rules.version,
            "rules_fingerprint": self._rules.fingerprint,
            "inputs": begun.inputs.model_dump(mode="json"),
            "hits": [hit.model_dump(mode="json", exclude_none=True) for hit in verdict.hits],
            "outcome": outcome.word,
            "delay_hours": verdict.delay_hours,
            "cases": [{"id": self._new_id(IdPrefix.CASE), "kind": kind} for kind in _cases(verdict.hits)],
            "screening_outcome": screened.outcome.value,
            "screened_version": screened.version,
            "screened": list(screened.subjects),
            "matches": [row.model_dump(mode="json") for row in screened.matches],
            "stop_user": screened.is_certain,
        }

    def _new_id(self, prefix: IdPrefix) -> str:
        return identifier(prefix, self._new_ulid())


def _worse_of(verdict: RiskVerdict, screened: Screened) -> RiskOutcome:
    """A hit is for a person to look at; the very identity number of a listed one is not (L11: stop at once)."""
    if screened.is_certain:
        return RiskOutcome.REFUSE
    if screened.outcome is ScreeningOutcome.HIT:
        return max(verdict.outcome, RiskOutcome.REVIEW)
    return verdict.outcome


def _cases(hits: Sequence[Hit]) -> list[str]:
    """The kinds of case that hits open, each once. What the payout has been through has had its case."""
    return sorted({hit.case for hit in hits if hit.case is not None and not hit.settled})
