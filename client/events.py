"""What happened, in order for each thing: as webhooks bring it, and as `client.events.list()` reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from .closure_models import Closure, Dispute
from .core import Ask
from .fx_models import Conversion, FxMandate, Inbound, ReceivingAccount
from .models import Binding, Page, Payment, Refund, Resource, User, WaiverApplication
from .nouns import PAGE_SIZE, Mode, Noun, asks, lists, path
from .payout_models import Payout

_MODELS: dict[str, type[Resource]] = {
    "payment": Payment,
    "refund": Refund,
    "payout": Payout,
    "receiving_account": ReceivingAccount,
    "inbound": Inbound,
    "fx_mandate": FxMandate,
    "fx": Conversion,
    "binding": Binding,
    "closure": Closure,
    "dispute": Dispute,
    "user": User,
    "waiver_application": WaiverApplication,
}


class Event(Resource):
    """One change of one thing. `sequence` counts from 1 for each `object_id`, without a gap; `data` is the thing then.

    The same event may come more than once, and events may come out of order: keep `id`s, and act on the highest
    `sequence`.
    """

    id: str
    type: str
    object_id: str
    sequence: int
    created_at: datetime
    data: dict[str, Any]

    @property
    def resource(self) -> Resource | None:
        """`data` as Payment, Refund, Payout, Binding …; None if this version has no model for it."""
        model = _MODELS.get(str(self.data.get("object")))
        try:
            return model.model_validate(self.data) if model else None
        except ValidationError:
            return None


class EventPage(Page[Event]):
    """Events, and where to go on: `next_cursor` while there are more now, `resume_cursor` the next time you ask."""

    resume_cursor: str | None = None


class Events(Noun[Mode]):
    """`client.events`, for those who poll"""

    @lists
    def list(self, *, type: str | None = None, object_id: str | None = None) -> Ask[Page[Event]]:
        """Your events, oldest first; of one type (`payment.*` is a family) or one thing, if named."""
        query = {"type": type, "object_id": object_id, "limit": PAGE_SIZE}
        return Ask("GET", path("events"), Page[Event], query=query)

    @asks
    def page(
        self,
        *,
        cursor: str | None = None,
        type: str | None = None,
        object_id: str | None = None,
        limit: int = PAGE_SIZE,
    ) -> Ask[EventPage]:
        """What came after a cursor: keep `resume_cursor` with what you did, and ask with it the next time."""
        query = {"cursor": cursor, "type": type, "object_id": object_id, "limit": limit}
        return Ask("GET", path("events"), EventPage, query=query)
