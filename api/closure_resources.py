"""Closures, their answers, and disputes as merchants get them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.resources import Resource, WaitingFor


class Obstacle(Resource):
    """What keeps an account from being closed."""

    kind: str = Field(examples=["dispute"])
    subject_id: str | None
    since: str | None
    detail: str | None


class CheckedIdentity(Resource):
    method: str
    checked_at: str


class Notice(Resource):
    """A recipient of the user's data that is told to delete them, and what it replied (P4.2b)."""

    recipient: str
    kind: Literal["merchant", "bank"]
    name_zh: str
    name_en: str
    told_at: str | None
    reply: Literal["none", "received", "erased", "kept"]
    reply_reason: str | None
    replied_at: str | None


class Closure(Resource):
    """A request to close an account or quick pay, or to delete data, whatever the channel (P4.5a, P4.2a)."""

    id: str
    object: Literal["closure"]
    user_id: str
    scope: Literal["account", "quick_pay", "deletion"]
    channel: Literal["merchant", "hotline", "email"]
    state: str
    state_since: str
    received_at: str
    due_on: str = Field(description="The last day on which an answer is in time, in Asia/Shanghai (P3.4).")
    due_is_provisional: bool = Field(description="It rests on a calendar that is not published yet.")
    is_escalated: bool
    is_overdue: bool
    identity: CheckedIdentity | None
    ground: str | None = Field(description="Of a deletion: which of the five grounds.")
    fields: list[str] = Field(description="Of a deletion: what is to be deleted.")
    obstacles: list[Obstacle] = Field(description="What is in the way now.")
    records_received_at: str | None
    records_waived: bool
    ended_on: str | None = Field(description="On which day the agreement, or quick pay, has ended (P4.5c).")
    reason: str | None = Field(description="Why it was refused, where that may be told.")
    answered_at: str | None
    notices: list[Notice]
    waiting_for: WaitingFor | None


class PageOfClosures(Resource):
    object: Literal["list"]
    items: list[Closure]
    next_cursor: str | None


class Destroyed(Resource):
    fields: list[str]
    items: int
    at: str
    by_key: bool = Field(description="The user's own key is destroyed, so copies are unreadable too.")


class Kept(Resource):
    kind: Literal["identity", "transaction", "source_of_funds"]
    event_year: int
    records: int
    until: str = Field(description="The first day on which it may be destroyed.")
    ground: Literal["law", "agreement", "consent"]


class ClosureCertificate(Resource):
    """The answer to the user: a certificate, or why not. By default it is a page in Chinese and English to print."""

    closure_id: str
    user_id: str
    merchant_name: str
    scope: str
    channel: str
    outcome: Literal["completed", "refused"]
    received_at: str
    due_on: str
    answered_at: str
    agreement_ended_on: str | None
    deletion_ground: str | None
    refusal_ground: str | None
    destroyed: Destroyed | None
    kept: list[Kept]
    told: list[Notice]
    pseudonymous: list[str] = Field(description="What outlives the person under a keyed pseudonym.")
    key_backups_expire_on: str | None
    backups_expire_on: str | None


class Dispute(Resource):
    """While it is open, the user's account is not closed (P4.5b). The institution resolves it."""

    id: str
    object: Literal["dispute"]
    user_id: str
    subject_id: str
    reason: str
    evidence_ref: str | None
    state: str
    opened_at: str
    resolved_at: str | None


class PageOfDisputes(Resource):
    object: Literal["list"]
    items: list[Dispute]
    next_cursor: str | None
