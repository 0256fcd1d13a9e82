"""Where the review of a payout stands, for the process that waits for it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from temporalio import activity

from activities import names
from activities.interfaces import ReviewQuestion, ReviewStanding
from domain.reviews import Standing


class ReviewBook(Protocol):
    """The reviews in the books (`storage.reviews.Reviews`)."""

    async def standing(self, payout_id: str, review_id: str, now: datetime) -> Standing: ...


class Reviewing:
    """The activity that looks after a review while nobody does."""

    def __init__(self, book: ReviewBook) -> None:
        self._book = book

    @activity.defn(name=names.REVIEW_STANDING)
    async def review_standing(self, question: ReviewQuestion) -> ReviewStanding:
        """Escalates a review that is due and ends one whose time is over; asked again, it changes nothing more."""
        found = await self._book.standing(question.payout_id, question.review_id, question.now)
        return ReviewStanding.model_validate(found.model_dump(mode="json"))
