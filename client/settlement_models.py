"""Settlements to you as the API answers them."""

from __future__ import annotations

from datetime import date, datetime

from .models import Resource, Waitable
from .payout_models import PayeeBank


class SettlementAccount(Resource):
    """A bank account that you are paid to, or want to be; name and number are masked."""

    id: str
    state: str
    holder_type: str
    region: str
    bank_id: PayeeBank
    name: str
    account: str
    created_at: datetime
    removed_at: datetime | None = None


class SettlementAccounts(Resource):
    """The one in force, and the one that waits for the institution's approval."""

    active: SettlementAccount | None
    proposed: SettlementAccount | None


class Settlement(Waitable):
    """What your users paid you through a day, net of fees and refunds; amounts are in minor units.

    `net_minor` is gross - fees - refunds + fees back - brought forward; below zero the next settlement bears it.
    """

    id: str
    business_date: date
    through_date: date
    currency: str
    payment_count: int
    refund_count: int
    gross_minor: int
    fees_minor: int
    refunds_minor: int
    fees_back_minor: int
    brought_forward_minor: int
    net_minor: int
    payable_minor: int
    shortfall_minor: int
    state: str
    state_since: datetime
    payout_id: str | None = None
    created_at: datetime


class SettlementLine(Resource):
    """One payment or refund; `net_minor` is what it adds, below zero for a refund."""

    kind: str
    subject_id: str
    order_number: str
    amount_minor: int
    fee_minor: int
    net_minor: int
    at: datetime


class SettlementReport(Resource):
    """A settlement with all of its lines."""

    settlement: Settlement
    lines: tuple[SettlementLine, ...]
