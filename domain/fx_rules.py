"""Rules of the conversion of foreign currency as data (A5.1, A5.2): who converts what, when, and how we count.

What an operator edits in `config/fx.toml`, as typed values; a file that cannot be right stops the start with a
sentence. Amounts are in minor units, rates in 10^-8 (`domain.rates`), hours in Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from domain.calendars import BankHours, GeneralCalendar, OfficeCode
from domain.money import MINOR_DIGITS, Currency
from domain.rates import SCALE, Rounding, WrittenRate
from domain.routes import BankCode

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
_Words = Annotated[str, Field(min_length=1, max_length=200)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _with_ranges(stated: object) -> object:
    return {"ranges": stated} if isinstance(stated, list | tuple) else stated


class Office(_Value):
    """Who has to be open for a conversion, with days and hours of its own; operators load changes under its code.

    It works on the days of all its `calendars`. `open_on_make_up_days`: whether also on a weekend that is worked (Q4).
    """

    code: OfficeCode
    calendars: tuple[GeneralCalendar, ...] = Field(min_length=1)
    open_on_make_up_days: bool
    hours: Annotated[BankHours, BeforeValidator(_with_ranges)]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        _refuse_repeated(self.calendars, f"{self.code}: its calendars name one twice")
        return self


class Desk(Office):
    """The FX desk of a bank, and how fast it is given conversions."""

    conversions_per_second: int = Field(gt=0, le=10_000)


class CurrencyRules(_Value):
    """Where a currency is delivered, at which banks we hold it, and who converts it; the latter two by preference."""

    value_calendars: tuple[GeneralCalendar, ...] = Field(min_length=1)
    banks: tuple[BankCode, ...] = Field(min_length=1)
    desks: tuple[BankCode, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for name in ("value_calendars", "banks", "desks"):
            _refuse_repeated(getattr(self, name), f"{name} names one twice")
        return self


class AuthorityRates(_Value):
    """What the authority published for a month: USD for one unit of each currency (L9)."""

    month: Month
    source: _Words
    rates: dict[Currency, WrittenRate]

    @model_validator(mode="after")
    def _is_about_others(self) -> Self:
        if stated := sorted({"USD", "CNY"} & self.rates.keys()):
            raise ValueError(f"authority_rates of {self.month}: {stated[0]} is not stated there")
        _refuse_not_held(self.rates, f"authority_rates of {self.month}")
        return self

    def rate_e8(self, currency: str) -> int | None:
        """USD for one unit, times 10^8; that of USD itself is one. None: it was not published."""
        return SCALE if currency == "USD" else self.rates.get(currency)


class ExportContract(_Value):
    """To whom personal data goes beyond the border, by which contract, on which ground, and until when (P6).

    And how it is protected: `encryption` on the way, `access` by whom at the recipient (P6b).
    """

    bank: BankCode
    recipient: str = Field(min_length=1, max_length=120)
    contract: str = Field(min_length=1, max_length=120)
    ground: _Words
    purpose: _Words
    fields: tuple[Literal["name"], ...] = Field(min_length=1, max_length=1)
    encryption: _Words
    access: tuple[_Words, ...] = Field(min_length=1, max_length=20)
    valid_until: date


class FxRules(_Value):
    """The whole of `config/fx.toml`."""

    version: str = Field(pattern=r"^[0-9a-z.-]{1,20}$")
    yearly_quota_usd_minor: int = Field(gt=0, le=10**13)
    longest_quote_age_seconds: int = Field(gt=0, le=86_400)
    answer_hours: int = Field(gt=0, le=240)
    delivery_hours: int = Field(gt=0, le=240)
    authority_rates_valid_days: int = Field(gt=0, le=366)
    rounding: dict[Currency, Rounding]
    currencies: dict[Currency, CurrencyRules] = Field(min_length=1)
    authority: Office
    desks: dict[BankCode, Desk] = Field(min_length=1)
    authority_rates: tuple[AuthorityRates, ...] = Field(min_length=1)
    export_contracts: tuple[ExportContract, ...] = ()

    @model_validator(mode="after")
    def _currencies_are_right(self) -> Self:
        if "CNY" not in self.rounding:
            raise ValueError("how amounts in CNY are rounded is not stated")
        _refuse_not_held(self.rounding, "rounding")
        if self.rounding != {"CNY": "half_up"}:
            raise ValueError("rounding: books and desks round CNY half_up, and nothing else is rounded by this file")
        _refuse_not_held(self.currencies, "currencies")
        if "CNY" in self.currencies:
            raise ValueError("CNY is what others are converted into, and is not converted")
        counted = {currency for each in self.authority_rates for currency in each.rates} | {"USD"}
        if uncounted := sorted(self.currencies.keys() - counted):
            raise ValueError(f"no rate of the authority is stated for: {', '.join(uncounted)}")
        _refuse_repeated((each.month for each in self.authority_rates), "authority_rates state a month twice")
        return self

    @model_validator(mode="after")
    def _offices_are_right(self) -> Self:
        unstated = {bank for each in self.currencies.values() for bank in each.desks} - self.desks.keys()
        if unstated:
            raise ValueError(f"a currency is converted by a desk that is not stated: {', '.join(sorted(unstated))}")
        _refuse_repeated(self.office_codes, "two offices have one code")
        return self

    @model_validator(mode="after")
    def _contracts_are_right(self) -> Self:
        _refuse_repeated(
            ((each.bank, each.valid_until) for each in self.export_contracts),
            "export_contracts state a bank twice until one day",
        )
        for each in self.export_contracts:
            _refuse_repeated(each.access, f"export_contracts of {each.bank}: access names one twice")
        held_at = {bank for each in self.currencies.values() for bank in each.banks}
        if others := sorted({each.bank for each in self.export_contracts} - held_at):
            raise ValueError(f"export_contracts name a bank at which nothing is held: {', '.join(others)}")
        return self

    def desks_for(self, currency: str) -> tuple[str, ...]:
        """The banks whose desks convert a currency, by preference; none for one that is not converted."""
        found = self.currencies.get(currency)
        return () if found is None else found.desks

    @property
    def office_codes(self) -> tuple[str, ...]:
        """Under which operators load days, hours and closures: the authority's and those of the desks."""
        return (self.authority.code, *(desk.code for desk in self.desks.values()))

    def office_of_desk(self, bank: str) -> Desk:
        """The desk of a bank. Raises KeyError: one that was taken out of the file converts no more."""
        return self.desks[bank]


def _refuse_repeated(values: Iterable[object], sentence: str) -> None:
    listed = list(values)
    if len(set(listed)) < len(listed):
        raise ValueError(sentence)


def _refuse_not_held(currencies: Iterable[str], where: str) -> None:
    if unknown := sorted(currency for currency in currencies if currency not in MINOR_DIGITS):
        raise ValueError(f"{where}: the institution holds no {', '.join(unknown)}")
