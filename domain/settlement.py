"""The settlement of one instruction: what the database does in one transaction, as a value."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from domain.transfers import Transfer


class Settlement(BaseModel):
    """A state change with all that belongs to it, known by `key`: sent twice it happens once.

    `state` None keeps the state and changes only what is waited for. `expect` lists the states it may start from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    kind: Literal["payment", "refund", "binding", "payout"]
    id: str
    expect: tuple[str, ...]
    state: str | None
    at: datetime
    action: str
    outcome: Literal["done", "failed", "unknown", "refused", "abandoned", "corrected"]
    actor: str = "process"
    reason: str | None = None
    raw_code: str | None = None
    bank_reference: str | None = None
    booked_at: datetime | None = None
    return_reference: str | None = None
    returned_at: datetime | None = None
    corrected: bool = False
    wait_reason: str | None = None
    wait_until: datetime | None = None
    wait_deadline: datetime | None = None
    code_request_number: str | None = None
    code_sent_at: datetime | None = None
    code_expires_at: datetime | None = None
    release_limits: bool = False
    effect_number: str | None = None
    effect_outcome: Literal["succeeded", "declined"] | None = None
    event_type: str | None = None
    transfers: tuple[Transfer, ...] = ()
