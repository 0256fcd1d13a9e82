"""What people decided, checked again before a process acts on it (house rule 8)."""

from __future__ import annotations

from temporalio import activity

from activities import names
from activities.interfaces import DecisionQuestion, DecisionVerdict
from activities.ports import InstructionBook


class Deciding:
    """The activity that reads decisions."""

    def __init__(self, book: InstructionBook) -> None:
        self._book = book

    @activity.defn(name=names.CHECK_DECISION)
    async def check_decision(self, question: DecisionQuestion) -> DecisionVerdict:
        """Only a committed decision about this very instruction holds; the look, and a refusal, are on record."""
        found = await self._book.check_decision(question.subject_id, question.decision_id, question.now)
        detail = found.detail or {}
        return DecisionVerdict(
            holds=found.holds,
            kind=found.kind,
            outcome=detail.get("outcome"),
            bank_reference=detail.get("bank_reference"),
            request_number=detail.get("request_number"),
            refusal=found.refusal,
        )
