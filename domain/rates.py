"""Rates and what they make of amounts: exact, in integers, with a stated rounding rule (A5.1b).

A rate is CNY, or USD, for one major unit of a foreign currency, times 10^8; `7.1234` is 712,340,000. Written for people
and partners it is a decimal with at most eight places. What rounding leaves is known to the hundred-millionth of a fen.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.money import MINOR_DIGITS

PLACES = 8
SCALE = 100_000_000
# Of the currencies that amounts are turned into here: CNY and USD.
TARGET_DIGITS = 2
MOST_RATE_E8 = 10**13
Rounding = Literal["half_up", "up"]
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,4})(?:\.([0-9]{1,8}))?")


class Converted(BaseModel):
    """`minor` is the rounded amount; `remainder_e8` is what is exact and was rounded away, in 10^-8 minor units.

    Below zero where it was rounded up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minor: int
    remainder_e8: int


def parse_rate(text: str) -> int:
    """`7.1234` as 712340000. Raises ValueError for what is no such decimal, and for nought."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError("a rate is a decimal with at most five digits before its point and eight after it")
    rate_e8 = int(found.group(1)) * SCALE + int((found.group(2) or "").ljust(PLACES, "0"))
    if not 0 < rate_e8 <= MOST_RATE_E8:
        raise ValueError("a rate is above nought, and not above 100000")
    return rate_e8


def format_rate(rate_e8: int) -> str:
    """712340000 as `7.1234`; four places at least, as banks write them."""
    whole, rest = divmod(rate_e8, SCALE)
    places = f"{rest:0{PLACES}d}".rstrip("0").ljust(4, "0")
    return f"{whole}.{places}"


def _from_text(value: object) -> object:
    return parse_rate(value) if isinstance(value, str) else value


RateE8 = Annotated[int, Field(strict=True, gt=0, le=MOST_RATE_E8)]
# The same as a file states it, or a partner: a decimal in a string.
WrittenRate = Annotated[RateE8, BeforeValidator(_from_text)]


def convert(foreign_minor: int, currency: str, rate_e8: int, rounding: Rounding) -> Converted:
    """What `foreign_minor` of a currency comes to at a rate, in minor units of CNY or USD.

    Raises KeyError for a currency that is not held.
    """
    exact_e8 = foreign_minor * rate_e8 * _scale(currency)
    whole, rest = divmod(exact_e8, SCALE)
    minor = whole + (rest > 0 if rounding == "up" else 2 * rest >= SCALE)
    return Converted(minor=minor, remainder_e8=exact_e8 - minor * SCALE)


def most_within(limit_minor: int, currency: str, rate_e8: int) -> int:
    """The most of a currency that comes to `limit_minor` or less, rounded up: what is left of a quota buys no more."""
    return limit_minor * SCALE // (rate_e8 * _scale(currency))


def _scale(currency: str) -> int:
    """Of a minor unit against that of CNY or USD: 100 for a currency without any."""
    return int(10 ** (TARGET_DIGITS - MINOR_DIGITS[currency]))
