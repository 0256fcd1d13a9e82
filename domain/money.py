"""Money: an integer count of minor units and an ISO 4217 currency. There is no float anywhere near it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# ISO 4217 exponents of the currencies the institution holds. CNH is not an ISO code and is not accepted.
MINOR_DIGITS = {"CNY": 2, "HKD": 2, "MOP": 2, "TWD": 2, "USD": 2, "EUR": 2, "GBP": 2, "JPY": 0}

# One transfer may never exceed this; it keeps every sum of a ledger account far inside a 64-bit integer.
MAX_AMOUNT_MINOR = 10**13

AmountMinor = Annotated[int, Field(strict=True, gt=0, le=MAX_AMOUNT_MINOR)]
Currency = Annotated[str, Field(strict=True, pattern=r"^[A-Z]{3}$")]


class Money(BaseModel):
    """A positive amount: `amount_minor` in minor units (fen for CNY) and its currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount_minor: AmountMinor
    currency: Currency


def format_amount(amount_minor: int, currency: str) -> str:
    """Shows minor units as people write them: `123456, CNY` is `1,234.56 CNY`."""
    digits = MINOR_DIGITS.get(currency, 2)
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**digits)
    fraction = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{fraction} {currency}"


def share_rounded_half_up(amount_minor: int, parts_per_million: int) -> int:
    """A rate of `parts_per_million` applied to an amount, in whole minor units, halves up. Exact, in integers."""
    return (amount_minor * parts_per_million * 2 + 1_000_000) // 2_000_000
