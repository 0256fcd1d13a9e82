"""Foreign currency as the API answers it: receiving accounts, remittances, mandates, conversions into CNY."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import model_validator

from .models import AnyOrigin, Conditions, Resource, Text, Waitable, Word
from .states import FxState, OverQuota, ReceivingAccountState

AnyFxState = Annotated[FxState | str, Word]
AnyReceivingAccountState = Annotated[ReceivingAccountState | str, Word]
AnyOverQuota = Annotated[OverQuota | str, Word]


class Evidence(Resource):
    """What you keep and have named."""

    kind: str
    reference: str


class ReceivingAccount(Waitable):
    """A number under which remittances reach one user: tell it to whoever pays the user, once it is `open`."""

    user_id: str
    bank_code: str
    currency: str
    holder: str | None = None
    # In full; not in events.
    account_number: str | None = None
    state: AnyReceivingAccountState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime


class Inbound(Resource):
    """Foreign currency that has arrived for a user; from `value_date` on it can be converted."""

    id: str
    user_id: str
    bank_code: str
    reference: str
    receiving_account_id: str | None = None
    amount_minor: int
    currency: str
    value_date: date
    booked_at: datetime
    purpose_code: str
    # Masked; not in events.
    remitter: str | None = None
    remitter_country: str
    state: str
    state_since: datetime
    received_at: datetime


class FxMandate(Resource):
    """What arrives for a user in a currency is converted as soon as it may be."""

    id: str
    user_id: str
    currency: str
    purpose_code: str
    is_trade: bool
    evidence: tuple[Evidence, ...] = ()
    residency: str
    over_quota: AnyOverQuota
    mandate_reference: str
    agreement_version: str
    valid_until: datetime | None = None
    state: str
    created_at: datetime
    ended_at: datetime | None = None


class IndicativeRate(Resource):
    """CNY for one unit of the currency, as its publisher published it; events carry it times 10^8."""

    rate: Decimal
    publisher: str
    published_at: datetime
    valid_until: datetime

    @model_validator(mode="before")
    @classmethod
    def _from_events(cls, given: Any) -> Any:
        if isinstance(given, dict) and "rate" not in given and isinstance(given.get("rate_e8"), int):
            return given | {"rate": Decimal(given["rate_e8"]).scaleb(-8)}
        return given


class FxRate(IndicativeRate):
    """The rate that was used, and when."""

    used_at: datetime


class PlannedFx(Resource):
    """When it is to be converted; `provisional` while a calendar that it rests on is not published."""

    at: datetime
    provisional: bool


class PlannedWindow(PlannedFx):
    """The same with what opens last, if it is not open now."""

    waits_for: str | None = None


class FxRounding(Resource):
    """The rule by which amounts in CNY are rounded."""

    currency: str
    rule: str
    text: Text


class ConversionShown(Resource):
    """What a preview and a conversion have in common."""

    user_id: str
    order_number: str | None
    amount_minor: int
    currency: str
    purpose_code: str
    is_trade: bool
    evidence: tuple[Evidence, ...] = ()
    over_quota: AnyOverQuota
    confirmation_hash: str | None


class ConversionPreview(ConversionShown):
    """What the user is to confirm. The rate is none of it: it is the desk's at the time of conversion."""

    indicative: bool = True
    rate: IndicativeRate | None = None
    rate_unavailable: str | None = None
    cny_minor: int | None = None
    desk: str | None = None
    planned: PlannedWindow | None = None
    fee_minor: int
    rounding: FxRounding
    conditions: Conditions | None = None


class QuotaOfFx(Resource):
    """What was decided about the yearly quota for one conversion."""

    decision: str
    year: int | None = None
    usd_minor: int | None = None


class Conversion(Waitable, ConversionShown):
    """Foreign currency that becomes CNY, or the `reversal` of what of one was above the quota."""

    kind: str
    origin: AnyOrigin
    mandate_id: str | None = None
    inbound_id: str | None = None
    rest_of: str | None = None
    rest_id: str | None = None
    reversal_of: str | None = None
    held_at: str
    residency: str
    value_date: date | None = None
    agreement_version: str
    state: AnyFxState
    reason: str | None = None
    state_since: datetime
    accepted_at: datetime
    desk: str | None = None
    planned: PlannedFx | None = None
    quota: QuotaOfFx | None = None
    cny_minor: int | None = None
    rate: FxRate | None = None
    remainder_e8: int | None = None
    dealt_at: datetime | None = None
    bank_reference: str | None = None
    delivered_at: datetime | None = None
    delivery_reference: str | None = None
    reversed_minor: int = 0
    shortfall_minor: int | None = None
    rate_difference_minor: int | None = None

    @property
    def needs_disposal(self) -> bool:
        """Whether it could not be converted, and you have to say what becomes of the currency."""
        return self.state == FxState.REFUSED
