"""What a conversion would come to now: asked of a desk and of the calendars, and never promised (A5.1a-b, A3.12)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from api.calls import Call
from api.fx_schemas import FxToConvert
from api.resources import instant
from domain.conditions import fx_values
from domain.errors import ErrorCode, RefusedError
from domain.fx_banking import FxQuote, QuoteSide, QuoteUnavailableError
from domain.fx_rules import CurrencyRules
from domain.planning import NoWindowError
from domain.rates import convert, format_rate

_PATIENCE_FOR_A_QUOTE_SECONDS = 3.0
# A desk's reasons that a merchant can do something with; everything else is a desk that could not be asked.
_REASONS = {"DESK_CLOSED": "desk_closed", "NO_QUOTE": "no_quote"}
_HOW_ROUNDED = {
    "half_up": {"zh": "四舍五入至分", "en": "to the fen, half a fen up"},
    "up": {"zh": "向上取整至分", "en": "up to the next fen"},
}


def currency_rules(call: Call, currency: str) -> CurrencyRules:
    """Raises RefusedError for a currency that is not converted."""
    found = call.services.policy.fx.currencies.get(currency)
    if found is None:
        raise RefusedError(ErrorCode.CURRENCY_NOT_SUPPORTED, field="currency")
    return found


async def indicative_terms(call: Call, order: FxToConvert) -> dict[str, Any]:
    """Desk, rate, amount in CNY and window as of now, each null where nobody can say."""
    desk = await _desk(call, order.currency)
    if desk is None:
        return _without_rate("partner") | {"desk": None, "planned": None}
    planned = await _planned(call, desk, order)
    try:
        quote = await _quote(call, desk, order.currency)
    except QuoteUnavailableError as unavailable:
        return _without_rate(_REASONS.get(unavailable.reason, "no_answer")) | {"desk": desk, "planned": planned}
    rounding = call.services.policy.fx.rounding["CNY"]
    rate = {
        "rate": format_rate(quote.rate_e8),
        "publisher": quote.publisher,
        "published_at": instant(quote.published_at),
        "valid_until": instant(quote.valid_until),
    }
    cny_minor = convert(order.amount_minor, order.currency, quote.rate_e8, rounding).minor
    return {"rate": rate, "rate_unavailable": None, "cny_minor": cny_minor, "desk": desk, "planned": planned}


def rounding_of(call: Call) -> dict[str, Any]:
    """The stated rule by which amounts in CNY are rounded."""
    rule = call.services.policy.fx.rounding["CNY"]
    return {"currency": "CNY", "rule": rule, "text": _HOW_ROUNDED[rule]}


def conditions_of(call: Call, order: FxToConvert) -> dict[str, object]:
    """What an individual has to be shown before confirming, in Chinese and English (A3.12, L13)."""
    policy = call.services.policy
    values = fx_values(
        order_number=order.order_number,
        amount_minor=order.amount_minor,
        currency=order.currency,
        yearly_quota_usd_minor=policy.fx.yearly_quota_usd_minor,
    )
    return policy.conditions.shown_for_fx(over_quota=order.over_quota, values=values)


def _without_rate(reason: str) -> dict[str, Any]:
    return {"rate": None, "rate_unavailable": reason, "cny_minor": None}


async def _desk(call: Call, currency: str) -> str | None:
    desks = await call.services.reading.switched_on(call.services.policy.fx.desks_for(currency))
    return desks[0] if desks else None


async def _quote(call: Call, desk: str, currency: str) -> FxQuote:
    """One that could be dealt at now. Raises QuoteUnavailableError."""
    try:
        async with asyncio.timeout(_PATIENCE_FOR_A_QUOTE_SECONDS):
            quote = await call.services.banks.fx_connector(desk).fx_quote(currency, QuoteSide.BUYS)
    except (TimeoutError, RefusedError):
        raise QuoteUnavailableError("TIME_OUT") from None
    oldest = call.now - timedelta(seconds=call.services.policy.fx.longest_quote_age_seconds)
    if quote.valid_until <= call.now or quote.published_at < oldest:
        raise QuoteUnavailableError("NO_QUOTE")
    return quote


async def _planned(call: Call, desk: str, order: FxToConvert) -> dict[str, Any] | None:
    """By the value date that the books would give the conversion if it were accepted now."""
    services, currency = call.services, order.currency
    value_date = await services.fx_reading.value_date_ahead(order.user_id, currency, call.now)
    try:
        _, plan = await services.calendars.plan_fx(services.policy.fx, desk, currency, value_date, call.now)
    except (KeyError, NoWindowError):
        return None
    first = plan.first
    return {"at": instant(first.opens_at), "waits_for": first.waits_for, "provisional": first.provisional}
