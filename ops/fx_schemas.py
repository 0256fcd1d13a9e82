"""Foreign currency as operators see it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ops.schemas import OpsResource


class FullFx(OpsResource):
    """What its merchant sees, and what lies behind it."""

    id: str
    object: Literal["fx"]
    merchant_id: str
    state: str
    reason: str | None
    waiting_for: dict[str, Any] | None
    raw_code: str | None = Field(description="The desk's own code.")
    slot_at: str | None
    held_minor: int = Field(description="Held on the user's balance; of a reversal in CNY.")
    quotes: list[dict[str, Any]] = Field(description="The last that it was sent with; `dealt` if it was dealt at.")
    effects: list[dict[str, Any]] = Field(description="What left for the desk, under which number, and its answer.")
    reversals: list[dict[str, Any]] = Field(description="What of it was taken back, each with a rate of its own.")
    rests: list[dict[str, Any]] = Field(description="What of it was beyond the quota.")
    receivables: list[dict[str, Any]] = Field(description="What the user owes because it had been taken out.")
    returns: list[dict[str, Any]] = Field(description="Of a conversion that was refused: its way back.")
    process: dict[str, str]


class FullInbound(OpsResource):
    id: str
    object: Literal["inbound"]
    merchant_id: str | None = Field(description="Null while nobody knows whose it is.")
    state: str
    reason: str | None = Field(description="Why it is in suspense.")
    elements: dict[str, str] = Field(description="Remitter, receiver and account, masked.")
    returns: list[dict[str, Any]]
    fx_ids: list[str] = Field(description="The conversions that it began.")
    decisions: list[dict[str, Any]]


class FxPositions(OpsResource):
    object: Literal["fx_positions"]
    balances: list[dict[str, Any]] = Field(
        description="Each position and suspense account beside the sum of what explains it; `agrees`: both are one."
    )
    open_deals: list[dict[str, Any]] = Field(description="Dealt and not delivered, the oldest first; 100 at most.")


class FxDesks(OpsResource):
    object: Literal["fx_desks"]
    at: str
    offices: list[dict[str, Any]] = Field(
        description="The FX authority and each desk: whether it is open, until when or from when, and what waits there."
    )
    centres: list[dict[str, Any]] = Field(description="Of each currency: whether its centre works today.")
    unplanned: list[dict[str, Any]] = Field(description="What waits and has no desk.")


class FxQuota(OpsResource):
    object: Literal["fx_quota"]
    user_id: str
    year: int
    is_known: bool = Field(description="Whether a bank has confirmed who the user is; nobody else has a quota.")
    quota_usd_minor: int | None
    used_usd_minor: int
    reserved_usd_minor: int
    left_usd_minor: int | None
    exceeded_at: str | None = Field(description="Since when a partner's word that it is exceeded is known.")
    entries: list[dict[str, Any]] = Field(description="How it came about, across merchants, the latest first.")


class Exports(OpsResource):
    object: Literal["exports"]
    year: int
    items: list[dict[str, Any]]
