"""What the activities of a closure take and answer: identifiers, states, instants; no personal data."""

from __future__ import annotations

from datetime import date, datetime

from activities.interfaces import Message
from domain.closing import ClosureScope, ClosureState, ObstacleKind


class ClosureQuestion(Message):
    """About one closure; `user_id`: whose, in case that the books do not know it."""

    closure_id: str
    now: datetime
    user_id: str | None = None


class ClosureSeen(Message):
    """Where a closure stands; `obstacles` are the kinds of what is in its way.

    `look_at`: when something is due at the latest; `since`: since when the state has held.
    """

    state: ClosureState | None = None
    scope: ClosureScope | None = None
    obstacles: tuple[ObstacleKind, ...] = ()
    ended_on: date | None = None
    since: datetime | None = None
    look_at: datetime | None = None


class RetainPage(Message):
    """Copy a page of what the law keeps, from `after` on; with the first the identity."""

    closure_id: str
    user_id: str
    scope: ClosureScope
    ended_on: date | None
    after: str = ""


class RetainedPage(Message):
    """Where to go on; None when all of it is kept."""

    after: str | None = None


class ForgetOrder(Message):
    """Destroy and anonymise what the closure says. `at`: since when it is forgotten, the same at every attempt."""

    closure_id: str
    user_id: str
    scope: ClosureScope
    ended_on: date | None
    at: datetime


class RecipientsTold(Message):
    """How many have not replied for good, the merchant among them; how many banks have not even been reached.

    `answered`: whether the books have the answer to the user. Those of a backup from before it have not.
    """

    unanswered: int
    unreached: int = 0
    answered: bool = True


class ClosureCompleted(Message):
    """The state that holds, and until when recipients may reply."""

    state: ClosureState
    reply_by: datetime
