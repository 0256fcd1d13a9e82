"""Routes of payouts as data (A2.5a): where money can go, by which bank, in which currency, when, for what fee.

What an operator edits in `config/payout_routes.toml`, as typed values; a route that cannot be right stops the start
with a sentence. Amounts are in minor units of the payout's currency, hours in Asia/Shanghai, whose offset Hong Kong,
Macao and Taiwan share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from domain.errors import ErrorCode, FieldError, RefusedError
from domain.fees import FeeRule
from domain.limits import LimitSet
from domain.money import MINOR_DIGITS, Currency

Region = Literal["CN", "HK", "MO", "TW"]
Speed = Literal["real_time", "within_two_hours", "next_working_day"]
BankIdKind = Literal["cnaps", "bic", "hk_clearing", "tw_clearing"]
BankCode = Annotated[str, Field(pattern=r"^[A-Z]{4}$")]

# The form of a bank's identification; whether its check digit holds is judged where the request is read.
BANK_ID_PATTERNS: Mapping[BankIdKind, re.Pattern[str]] = {
    "cnaps": re.compile(r"[0-9]{12}"),
    "bic": re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"),
    "hk_clearing": re.compile(r"[0-9]{3}"),
    "tw_clearing": re.compile(r"[0-9]{7}"),  # three digits of the bank, four of the branch
}
_LATIN_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9 .,'()/&-]{0,68}[A-Za-z.)0-9])?")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def clock_time(value: object) -> object:
    """`08:30` as the time it is; a time as pydantic reads it would also take seconds and zones."""
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError("write a time of day as in 08:30")
    return time.fromisoformat(value)


ClockTime = Annotated[time, BeforeValidator(clock_time), PlainSerializer(lambda value: value.strftime("%H:%M"))]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataExport(_Value):
    """What a payee's personal data leaves the mainland under (P6): to whom, by which contract, on which ground."""

    recipient: str = Field(min_length=1, max_length=120)
    contract: str = Field(min_length=1, max_length=120)
    ground: str = Field(min_length=1, max_length=200)


class Hours(_Value):
    """From `opens` on, until `closes`, which is the first moment that is too late."""

    opens: ClockTime
    closes: ClockTime

    @model_validator(mode="after")
    def _opens_first(self) -> Self:
        if self.opens >= self.closes:
            raise ValueError("a bank opens before it closes, on the same day")
        return self


class SpeedTerms(_Value):
    """One speed: its fee, when its money can leave, and how long the bank takes.

    `around_the_clock`: on every day and at every hour; `bank_hours`: on working days of all calendars of the route.
    `arrives_within_seconds`: of bank hours, or of the clock around the clock; None: by the close of the next working
    day.
    """

    fee: FeeRule
    window: Literal["around_the_clock", "bank_hours"]
    arrives_within_seconds: int | None = Field(default=None, gt=0, le=86_400)

    @model_validator(mode="after")
    def _has_a_target(self) -> Self:
        if self.window == "around_the_clock" and self.arrives_within_seconds is None:
            raise ValueError("a speed around the clock says within how many seconds money arrives")
        return self


class Route(_Value):
    """One destination: accounts of a region in some currencies, by certain partner banks."""

    code: str = Field(pattern=r"^[A-Z]{2}(-[A-Z]{3})?$")
    region: Region
    currencies: tuple[Currency, ...] = Field(min_length=1)
    # The first of them that is enabled pays.
    banks: tuple[BankCode, ...] = Field(min_length=1)
    bank_id_kinds: tuple[BankIdKind, ...] = Field(min_length=1)
    account_pattern: str = Field(min_length=1, max_length=80)
    name_rule: Literal["chinese_allowed", "latin"]
    # Only to an account in the user's own verified name.
    own_name_only: bool
    cross_border: bool
    data_export: DataExport | None = None
    # All of these are open on a working day of the route; the first is the paying bank's own.
    calendars: tuple[Region, ...] = Field(min_length=1)
    hours: Hours
    # Of the speed next_working_day: what leaves before it counts for the day.
    cut_off: ClockTime
    speeds: dict[Speed, SpeedTerms] = Field(min_length=1)
    payee_limits: LimitSet
    confirmation_minutes: int = Field(gt=0, le=1440)
    # How long the bank's answer may take before a person is asked.
    answer_hours: int = Field(gt=0, le=240)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if fault := self._fault():
            raise ValueError(f"route {self.code}: {fault}")
        return self

    def _fault(self) -> str | None:
        lists = {name: getattr(self, name) for name in ("currencies", "banks", "bank_id_kinds", "calendars")}
        unknown = ", ".join(currency for currency in self.currencies if currency not in MINOR_DIGITS)
        faults = {
            "its calendars lack that of its region": self.region not in self.calendars,
            "data_export is stated for routes across the border, and only there": self.cross_border
            != (self.data_export is not None),
            "the mainland is not across the border, and every other region is": self.cross_border
            == (self.region == "CN"),
            "cut_off lies within the hours": not self.hours.opens < self.cut_off <= self.hours.closes,
            f"the institution holds no {unknown}": bool(unknown),
            "account_pattern is no regular expression": not _is_pattern(self.account_pattern),
        } | {f"{name} names one twice": len(set(values)) < len(values) for name, values in lists.items()}
        return next((sentence for sentence, holds in faults.items() if holds), None)

    def terms(self, speed: str) -> SpeedTerms:
        """The terms of a speed. Raises RefusedError where the route does not offer it."""
        for offered, terms in self.speeds.items():
            if offered == speed:
                return terms
        raise RefusedError(ErrorCode.SPEED_NOT_OFFERED, field="speed")


class BankRelease(_Value):
    """How fast payouts leave by a bank."""

    releases_per_second: int = Field(gt=0, le=10_000)


class RouteBook(_Value):
    """The whole of `config/payout_routes.toml`; `version` is what a payout's fee rule names."""

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    routes: tuple[Route, ...] = Field(min_length=1)
    banks: dict[BankCode, BankRelease]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        codes = [route.code for route in self.routes]
        destinations = [(route.region, currency) for route in self.routes for currency in route.currencies]
        if len(set(codes)) < len(codes):
            raise ValueError("two routes have one code")
        if len(set(destinations)) < len(destinations):
            raise ValueError("two routes lead to one region in one currency")
        if unstated := sorted({bank for route in self.routes for bank in route.banks} - self.banks.keys()):
            raise ValueError(f"how fast payouts leave is not stated for: {', '.join(unstated)}")
        return self

    def route_for(self, region: str, currency: str) -> Route | None:
        """The route to a region in a currency, or None where there is none."""
        found = (route for route in self.routes if route.region == region and currency in route.currencies)
        return next(found, None)

    def routes_to(self, region: str) -> tuple[Route, ...]:
        """Every route to a region; none for a region that is not served (A2.5a)."""
        return tuple(route for route in self.routes if route.region == region)

    def route(self, code: str) -> Route:
        """By its code. Raises KeyError: a payout whose route was taken out of the file cannot be planned."""
        for route in self.routes:
            if route.code == code:
                return route
        raise KeyError(code)

    def fee_reference(self, rule: FeeRule) -> str:
        """What a payout stores of its fee: version and rule (A6.2a)."""
        return f"{self.version}/{rule.rule}"


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def faults_of_payee(
    route: Route, *, account_number: str, name: str, bank_id_kind: str, bank_id: str
) -> tuple[FieldError, ...]:
    """What cannot be right about a payee of this route, a field each; the values are in none of it.

    Codes: `kind_not_of_region`, `format` and `latin_name_required`.
    """
    faults = []
    if not re.fullmatch(route.account_pattern, account_number):
        faults.append(FieldError("account_number", "format"))
    if route.name_rule == "latin" and not _LATIN_NAME.fullmatch(name):
        faults.append(FieldError("name", "latin_name_required"))
    pattern = next((BANK_ID_PATTERNS[kind] for kind in route.bank_id_kinds if kind == bank_id_kind), None)
    if pattern is None:
        faults.append(FieldError("bank_id_kind", "kind_not_of_region"))
    elif not pattern.fullmatch(bank_id):
        faults.append(FieldError("bank_id", "format"))
    return tuple(faults)
