"""Settlement of merchants (A2.5, A10.2b): which day is settled when, and the values that its process hands around.

What was collected for a merchant is paid to it on the nth working day after the day on which the payment succeeded
(T+n). Days are those of Asia/Shanghai, working days those of the mainland.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from domain.business_time import business_date
from domain.calendars import Calendar
from domain.instructions import RequestContext
from domain.payees import HolderType
from domain.routes import BankIdKind, Region, Speed

CALENDAR = "CN"
MOST_WORKING_DAYS = 20
# What follows these characters is taken for a formula by programs that open CSV.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class SettlementState(StrEnum):
    """The states of a merchant's settlement of one day."""

    REPORTED = "reported"  # added up, and to be paid out
    PAYING = "paying"  # its payout is under way
    PAID = "paid"
    FAILED = "failed"  # its payout failed, or came back: a person looks
    CARRIED = "carried"  # nothing to pay out; a shortfall is borne by the next one


class SettlementWait(StrEnum):
    """What a settlement that has not been paid waits for."""

    PROCESS_START = "process_start"
    PAYOUT = "payout"
    OPERATOR = "operator"
    NO_SETTLEMENT_ACCOUNT = "no_settlement_account"
    ACCOUNT_NOT_ON_ROUTE = "account_not_on_route"
    MERCHANT_SUSPENDED = "merchant_suspended"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    PAYOUT_BANK_WITHOUT_FUNDS = "payout_bank_without_funds"
    PARTNER_NOT_AVAILABLE = "partner_not_available"
    AUTHORITY_HOLD = "authority_hold"
    FUNDS_FROZEN = "funds_frozen"
    FUNCTION_SUSPENDED = "function_suspended"


class LineKind(StrEnum):
    """What a line of a settlement is about."""

    PAYMENT = "payment"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"  # of one that an earlier settlement had taken off


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SettlementRules(_Value):
    """`config/settlements.toml`: T+`working_days`, started at `run_at` in Asia/Shanghai, paid by a route and speed."""

    working_days: int = Field(ge=1, le=MOST_WORKING_DAYS)
    run_at: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    catch_up_days: int = Field(ge=1, le=31)
    route: str
    speed: Speed


class SettlementRoute(_Value):
    """By what a settlement is paid out; `banks` by preference."""

    code: str
    region: Region
    banks: tuple[str, ...] = Field(min_length=1)
    speed: Speed


class MerchantDay(_Value):
    """One merchant's money in one currency, to be settled on a business date."""

    merchant_id: str
    currency: str


class PaySettlement(_Value):
    """Pay a settlement out, once for each attempt."""

    now: datetime
    settlement_id: str
    payout_id: str
    route: SettlementRoute
    agreement_version: str


class ProposeSettlementAccount(_Value):
    """The account that a merchant wants to be settled to; name and number are sealed under the merchant's own key."""

    request: RequestContext
    now: datetime
    id: str
    holder_type: HolderType
    region: Region
    bank_id_kind: BankIdKind
    bank_id: str
    account_index: str
    account_last4: str
    name_index: str
    sealed: tuple[dict[str, Any], ...]
    element_tokens: dict[str, str]


class SettlementStuckError(Exception):
    """One merchant's settlement cannot be written or paid; that of the others goes on. `reason` is a stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def through_date(on: date, working_days: int, calendar: Calendar) -> date | None:
    """The last day whose payments are settled on a business date; None where that is no working day.

    The last day after which there are `working_days` working days up to and with `on`.
    """
    if not calendar.is_working(on):
        return None
    day, left = on, working_days
    while True:
        left -= calendar.is_working(day)
        day -= timedelta(days=1)
        if left == 0:
            return day


def date_of_run(workflow_id: str, scheduled_at: datetime | None) -> date | None:
    """The business date of a run: of its own id, or of the instant for which the schedule started it."""
    found = re.fullmatch(r"[a-z-]+/(\d{4}-\d\d-\d\d)", workflow_id)
    if found:
        return _date(found.group(1))
    return None if scheduled_at is None else business_date(scheduled_at)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def harmless_cell(text: str) -> str:
    """A cell of a CSV file that no program takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
