"""Where a payout stands, for its process, which looks for itself when it is told that something may have changed."""

from __future__ import annotations

from temporalio import activity

from activities import names
from activities.interfaces import PayoutQuestion, PayoutStanding
from activities.ports import InstructionBook


class Looking:
    """The activity that looks, and changes nothing."""

    def __init__(self, book: InstructionBook) -> None:
        self._book = book

    @activity.defn(name=names.LOOK_AT_PAYOUT)
    async def look_at_payout(self, question: PayoutQuestion) -> PayoutStanding:
        """The state that holds, and what of the kinds that pass stands in the way of sending it."""
        found = await self._book.payout_standing(question.payout_id, question.now)
        if found is None:
            return PayoutStanding(state="not_found")
        return PayoutStanding.model_validate(found.model_dump(mode="json"))
