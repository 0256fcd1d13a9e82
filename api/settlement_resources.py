"""What the API answers about settlements to the merchant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.payout_resources import PayeeBank
from api.resources import Resource, WaitingFor


class SettlementAccount(Resource):
    id: str
    object: Literal["settlement_account"]
    state: Literal["proposed", "active", "removed"]
    holder_type: str
    region: str
    bank_id: PayeeBank
    name: str = Field(description="Masked.")
    account: str = Field(description="Masked.", examples=["****2345"])
    created_at: str
    removed_at: str | None


class SettlementAccounts(Resource):
    object: Literal["settlement_accounts"]
    active: SettlementAccount | None = Field(description="Where you are paid to.")
    proposed: SettlementAccount | None = Field(description="Takes its place once the institution has approved it.")


class Settlement(Resource):
    id: str
    object: Literal["settlement"]
    business_date: str
    through_date: str = Field(description="Payments that succeeded until the end of this day, in Asia/Shanghai.")
    currency: str
    payment_count: int
    refund_count: int
    gross_minor: int
    fees_minor: int
    refunds_minor: int = Field(description="Less what failed of those that an earlier settlement had taken off.")
    fees_back_minor: int
    brought_forward_minor: int = Field(description="What earlier settlements were short of.")
    net_minor: int = Field(description="gross - fees - refunds + fees back - brought forward.")
    payable_minor: int
    shortfall_minor: int = Field(description="Borne by the next settlement.")
    state: Literal["reported", "paying", "paid", "failed", "carried"]
    state_since: str
    payout_id: str | None
    created_at: str
    waiting_for: WaitingFor | None


class SettlementLine(Resource):
    kind: Literal["payment", "refund", "refund_failed"]
    subject_id: str
    order_number: str
    amount_minor: int
    fee_minor: int
    net_minor: int = Field(description="Signed: what the line adds to the settlement.")
    at: str


class PageOfSettlements(Resource):
    object: Literal["list"]
    items: list[Settlement]
    next_cursor: str | None


class PageOfSettlementLines(Resource):
    object: Literal["list"]
    items: list[SettlementLine]
    next_cursor: str | None


class SettlementReport(Resource):
    object: Literal["settlement_report"]
    settlement: Settlement
    lines: list[SettlementLine]
