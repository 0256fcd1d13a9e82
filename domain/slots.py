"""Release slots of payouts (A6.4b): what is planned, what is allocated, what waits by a plan that is over."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from domain.planning import ReleasePlan


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PayoutToPlan(_Value):
    """What a plan is made from. `accepted_at` and `wait_reason` are read where many are planned anew."""

    payout_id: str
    route: str
    bank_code: str
    speed: str
    accepted_at: datetime
    wait_reason: str | None = None
    # Not before: a bank that was closed is not tried again at once.
    earliest_at: datetime | None = None


class SlotRequest(BaseModel):
    """A plan for a payout by the calendars of `version`; at most `rate` payouts leave by its bank a second."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    payout_id: str
    now: datetime
    why: str
    version: int
    rate: int
    plan: ReleasePlan


class AllocatedSlot(_Value):
    """What was committed. No slot: the payout has ended, or waits for something else, in `state`.

    `earlier`: the slot is before the one that its process sleeps until. `moved`: how many gave way.
    """

    state: str
    slot_at: datetime | None = None
    predicted_arrival_at: datetime | None = None
    provisional: bool = False
    earlier: bool = False
    moved: int = 0


class PlanRefusedError(Exception):
    """`stale_plan`: compute it again; `no_slot`: all windows are full, look further; `payout_not_found`."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error
