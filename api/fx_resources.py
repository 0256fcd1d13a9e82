"""Foreign currency as merchants get it.

Rates go out as decimals in strings; events carry them in 10^-8, as the books do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from api.resources import Conditions, Resource, Text, WaitingFor
from domain.rates import format_rate


class FxEvidence(Resource):
    kind: str = Field(examples=["contract"])
    reference: str


class ReceivingAccount(Resource):
    """A number under which remittances reach one user. Tell it to whoever pays the user."""

    id: str
    object: Literal["receiving_account"]
    user_id: str
    bank_code: str
    currency: str
    holder: str | None = Field(description="The holder's name, masked; null once it is erased.", examples=["Z***"])
    account_number: str | None = Field(description="In full; null until the bank has opened it, and once it is erased.")
    state: Literal["opening", "open", "declined", "closed"]
    reason: str | None
    state_since: str
    accepted_at: str
    waiting_for: WaitingFor | None


class Inbound(Resource):
    """Foreign currency that has arrived for a user. What nobody can be found for is not here."""

    id: str
    object: Literal["inbound"]
    user_id: str
    bank_code: str
    reference: str = Field(description="The bank's.")
    receiving_account_id: str | None
    amount_minor: int
    currency: str
    value_date: str = Field(description="From this day on the money is good, and can be converted.")
    booked_at: str
    purpose_code: str
    remitter: str | None = Field(description="Who sent it, masked; null once it is erased.", examples=["A***"])
    remitter_country: str
    state: str
    state_since: str
    received_at: str


class FxMandate(Resource):
    """What arrives for a user in a currency is converted as soon as it may be (A3.2b)."""

    id: str
    object: Literal["fx_mandate"]
    user_id: str
    currency: str
    purpose_code: str
    is_trade: bool
    evidence: list[FxEvidence]
    residency: str
    over_quota: str
    mandate_reference: str
    agreement_version: str
    valid_until: str | None
    state: Literal["active", "ended"]
    created_at: str
    ended_at: str | None


class IndicativeRate(Resource):
    rate: str = Field(description="CNY for one unit of the currency.", examples=["7.1234"])
    publisher: str
    published_at: str
    valid_until: str


class FxRate(IndicativeRate):
    """The rate that was used (A5.1b)."""

    used_at: str


class PlannedFx(Resource):
    at: str
    provisional: bool = Field(description="It rests on a calendar that is not published yet.")


class PlannedWindow(PlannedFx):
    waits_for: str | None = Field(description="What opens last; null if it is open now.", examples=["fx_desk_window"])


class FxRounding(Resource):
    currency: str
    rule: str = Field(examples=["half_up"])
    text: Text


class FxPreview(Resource):
    """Rate and amount in CNY are indicative: what counts is the desk's rate at the time of conversion (A5.1b)."""

    object: Literal["fx_preview"]
    user_id: str
    order_number: str
    amount_minor: int
    currency: str
    purpose_code: str
    is_trade: bool
    evidence: list[FxEvidence]
    over_quota: str
    indicative: Literal[True]
    rate: IndicativeRate | None
    rate_unavailable: str | None = Field(
        description="Why there is no rate now: `desk_closed`, `no_quote`, `no_answer`, `partner`."
    )
    cny_minor: int | None = Field(description="What it would come to at this rate.")
    desk: str | None = Field(description="Which bank would convert it now; null where none is switched on.")
    planned: PlannedWindow | None = Field(description="When it would be converted; null where nobody can say.")
    fee_minor: int
    rounding: FxRounding
    conditions: Conditions
    confirmation_hash: str


class QuotaOfFx(Resource):
    decision: str = Field(
        description="`within`, `exempt_trade`, `documents`, `not_subject`, `exceeded`, `known_exceeded`."
    )
    year: int | None = Field(description="The calendar year of the conversion, in which it counts.")
    usd_minor: int | None = Field(description="What it counts for, at the authority's rate.")


class Fx(Resource):
    """A conversion of foreign currency into CNY, or the reversal of what of one was above the quota (A5.2c)."""

    id: str
    object: Literal["fx"]
    user_id: str
    kind: Literal["conversion", "reversal"]
    origin: str
    order_number: str | None
    mandate_id: str | None
    inbound_id: str | None
    rest_of: str | None = Field(description="Of which conversion this is the part beyond the quota.")
    rest_id: str | None = Field(description="The conversion that is the part of this one beyond the quota.")
    reversal_of: str | None
    amount_minor: int
    currency: str
    held_at: str = Field(description="The bank at which the currency lies.")
    purpose_code: str
    is_trade: bool
    evidence: list[FxEvidence]
    residency: str
    over_quota: str
    value_date: str | None
    confirmation_hash: str | None
    agreement_version: str
    state: str
    reason: str | None
    state_since: str
    accepted_at: str
    desk: str | None
    planned: PlannedFx | None
    quota: QuotaOfFx | None = Field(description="What was decided about this one. What is left is told to nobody.")
    cny_minor: int | None
    rate: FxRate | None
    remainder_e8: int | None = Field(
        description="What rounding has left, in 10^-8 fen; below nought if it was rounded up."
    )
    dealt_at: str | None
    bank_reference: str | None
    delivered_at: str | None
    delivery_reference: str | None
    reversed_minor: int = Field(description="How much of it was taken back since, in its currency.")
    shortfall_minor: int | None = Field(description="Of a reversal: CNY that the user no longer had, and owes.")
    rate_difference_minor: int | None = Field(
        description="Of a reversal: what the two rates differ by, in CNY (A6.4c)."
    )
    waiting_for: WaitingFor | None


class PageOfReceivingAccounts(Resource):
    object: Literal["list"]
    items: list[ReceivingAccount]
    next_cursor: str | None


class PageOfInbounds(Resource):
    object: Literal["list"]
    items: list[Inbound]
    next_cursor: str | None


class PageOfFxMandates(Resource):
    object: Literal["list"]
    items: list[FxMandate]
    next_cursor: str | None


class PageOfFx(Resource):
    object: Literal["list"]
    items: list[Fx]
    next_cursor: str | None


def as_shown(view: Mapping[str, Any]) -> dict[str, Any]:
    """A conversion as it goes out, from `app.fx_view`: with the rate that was used as people write it."""
    shown = {name: value for name, value in view.items() if name not in ("rate_e8", "return_id")}
    rate = shown["rate"]
    if rate is not None:
        written = {"rate": format_rate(rate["rate_e8"])}
        shown["rate"] = written | {name: value for name, value in rate.items() if name != "rate_e8"}
    return shown
