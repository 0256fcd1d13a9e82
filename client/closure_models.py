"""Closures, the answers to them, and disputes; days are those of Asia/Shanghai."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any

from .models import Resource, Waitable, Word
from .states import (
    ClosureScope,
    ClosureState,
    DisputeReason,
    DisputeState,
    ErasureReply,
    IdentityMethod,
    ObstacleKind,
)

AnyClosureScope = Annotated[ClosureScope | str, Word]
AnyClosureState = Annotated[ClosureState | str, Word]
AnyDisputeReason = Annotated[DisputeReason | str, Word]
AnyDisputeState = Annotated[DisputeState | str, Word]
AnyErasureReply = Annotated[ErasureReply | str, Word]
AnyIdentityMethod = Annotated[IdentityMethod | str, Word]
AnyObstacleKind = Annotated[ObstacleKind | str, Word]


@dataclass(frozen=True)
class FundsRecord:
    """One order behind the user's money, to be handed over; text stays out of logs."""

    order_number: str
    amount_minor: int
    currency: str
    traded_on: date
    description: str = field(repr=False)
    counterparty: str = field(repr=False)

    def as_body(self) -> dict[str, Any]:
        """As the API takes it."""
        return {**vars(self), "traded_on": self.traded_on.isoformat()}


class Obstacle(Resource):
    """What keeps an account from being closed; `detail` of a balance is currency and minor units, as in `CNY 1200`."""

    kind: AnyObstacleKind
    subject_id: str | None = None
    since: datetime | None = None
    detail: str | None = None


class CheckedIdentity(Resource):
    """How it was made sure that the user asks."""

    method: AnyIdentityMethod
    checked_at: datetime


class Notice(Resource):
    """A recipient of the user's data that is told to delete them, and what it has replied."""

    recipient: str
    kind: str
    name_zh: str
    name_en: str
    told_at: datetime | None = None
    reply: AnyErasureReply
    reply_reason: str | None = None
    replied_at: datetime | None = None


class Closure(Waitable):
    """A request to close an account or quick pay, or to delete data, whatever the channel."""

    user_id: str
    scope: AnyClosureScope
    channel: str
    state: AnyClosureState
    state_since: datetime
    received_at: datetime
    due_on: date
    due_is_provisional: bool
    is_escalated: bool
    is_overdue: bool
    identity: CheckedIdentity | None = None
    ground: str | None = None
    fields: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    records_received_at: datetime | None = None
    records_waived: bool
    ended_on: date | None = None
    reason: str | None = None
    answered_at: datetime | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def needs_records(self) -> bool:
        """Whether it waits for your records of where the user's funds came from."""
        return any(obstacle.kind == ObstacleKind.RECORDS for obstacle in self.obstacles)

    @property
    def needs_payout(self) -> bool:
        """Whether it waits for you to pay the user's balance out."""
        return any(obstacle.kind == ObstacleKind.BALANCE for obstacle in self.obstacles)


class Destroyed(Resource):
    """What is gone, since when; `by_key`: the user's own key, so copies are unreadable too."""

    fields: tuple[str, ...]
    items: int
    at: datetime
    by_key: bool


class Kept(Resource):
    """What is kept apart; `until` is the first day on which it may be destroyed."""

    kind: str
    event_year: int
    records: int
    until: date
    ground: str


class Certificate(Resource):
    """The answer to the user: `outcome` is `completed` or `refused`."""

    closure_id: str
    user_id: str
    merchant_name: str
    scope: AnyClosureScope
    channel: str
    outcome: str
    received_at: datetime
    due_on: date
    answered_at: datetime
    agreement_ended_on: date | None = None
    deletion_ground: str | None = None
    refusal_ground: str | None = None
    destroyed: Destroyed | None = None
    kept: tuple[Kept, ...] = ()
    told: tuple[Notice, ...] = ()
    pseudonymous: tuple[str, ...] = ()
    key_backups_expire_on: date | None = None
    backups_expire_on: date | None = None


class Dispute(Resource):
    """Something between a user and you that is not settled: while it is open, the account is not closed."""

    id: str
    user_id: str
    subject_id: str
    reason: AnyDisputeReason
    evidence_ref: str | None = None
    state: AnyDisputeState
    opened_at: datetime
    resolved_at: datetime | None = None
