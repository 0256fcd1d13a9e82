"""Working days and hours (A6.4b, Q4): which days a calendar works, which hours a bank has, when a bank is closed.

A calendar is Monday to Friday with exceptions: public holidays, and make-up days, which are working days on a weekend
in the mainland only. A year is published when its days are known; a date that rests on another one is provisional.
Hours and dates are those of Asia/Shanghai, whose offset Hong Kong, Macao and Taiwan share, all the year round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from domain.decisions import Instant, NoPersonalData, Reason
from domain.routes import BankCode, Hours

FIRST_YEAR, LAST_YEAR = 2020, 2099
LONGEST_CLOSURE = timedelta(days=60)
# Regions of payouts, and the centres of currencies: where these are open a currency is delivered.
GeneralCalendar = Literal["CN", "HK", "MO", "TW", "US", "JP"]
# An office that converts foreign currency, or permits it (domain/fx_rules.py), with days and hours of its own.
OfficeCode = Annotated[str, Field(pattern=r"^FX-[A-Z]{4}$")]
# A general calendar, or a bank's or an office's own: what differs there from the general one (Q4).
CalendarCode = GeneralCalendar | BankCode | OfficeCode
DayName = Annotated[str, Field(min_length=1, max_length=60), NoPersonalData]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Calendar:
    """`days`: the exceptions from Monday to Friday, true for a working day; `published`: the years that are known."""

    code: str
    days: Mapping[date, bool] = field(default_factory=dict)
    published: frozenset[int] = frozenset()

    def is_working(self, day: date) -> bool:
        """Whether there is business on a day."""
        return self.days.get(day, day.isoweekday() <= 5)

    def corrected(self, days: Mapping[date, bool], published: Iterable[int] = ()) -> Calendar:
        """The same with other exceptions on top. A year that is published anew is stated as a whole: what was thought
        of it before falls away.
        """
        years = frozenset(published)
        kept = {day: works for day, works in self.days.items() if day.year not in years}
        return Calendar(self.code, {**kept, **days}, self.published | years)

    def without_make_up_days(self) -> Calendar:
        """The same for whoever is shut on every weekend, whatever the general calendar says (Q4)."""
        kept = {day: works for day, works in self.days.items() if not (works and day.isoweekday() > 5)}
        return Calendar(self.code, kept, self.published)


def working_day_after(day: date, count: int, calendar: Calendar) -> date:
    """The `count`th working day after a day, which itself does not count, whether it is one or not (Q3)."""
    return _working_day(day, count, calendar, timedelta(days=1))


def working_day_before(day: date, count: int, calendar: Calendar) -> date:
    """The `count`th working day before a day, which itself does not count."""
    return _working_day(day, count, calendar, timedelta(days=-1))


def _working_day(day: date, count: int, calendar: Calendar, step: timedelta) -> date:
    """Ends: the exceptions of a calendar are finitely many."""
    if count < 1:
        raise ValueError("count working days from one on")
    while count:
        day += step
        count -= calendar.is_working(day)
    return day


class CalendarDay(_Value):
    """One day that differs from Monday to Friday, or from what was loaded before."""

    day: date
    working: bool
    name: DayName


class CalendarYear(_Value):
    """A whole year as published: every day on which it differs from Monday to Friday."""

    calendar: GeneralCalendar
    year: int = Field(ge=FIRST_YEAR, le=LAST_YEAR)
    days: tuple[CalendarDay, ...] = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _is_one_year(self) -> Self:
        if outside := sorted(day.day.isoformat() for day in self.days if day.day.year != self.year):
            raise _fault("not_in_year", f"{outside[0]} is not in {self.year}")
        _refuse_repeated(day.day for day in self.days)
        if not any(not day.working and day.day.isoweekday() <= 5 for day in self.days):
            raise _fault("year_without_holiday", "a published year has at least one holiday from Monday to Friday")
        return self


class CalendarCorrection(CalendarDay):
    """A day of a calendar that is otherwise than it was thought to be."""

    calendar: CalendarCode


class CalendarFile(_Value):
    """What an operator loads (`config/calendars/*.toml`): published years, and corrections, which win over years."""

    note: Reason
    years: tuple[CalendarYear, ...] = Field(default=(), max_length=8)
    corrections: tuple[CalendarCorrection, ...] = Field(default=(), max_length=400)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.years and not self.corrections:
            raise _fault("empty", "it holds neither years nor corrections")
        if len({(year.calendar, year.year) for year in self.years}) < len(self.years):
            raise _fault("duplicate", "a year of a calendar is there twice")
        for calendar in {correction.calendar for correction in self.corrections}:
            _refuse_repeated(each.day for each in self.corrections if each.calendar == calendar)
        if outside := [each for each in self.corrections if not FIRST_YEAR <= each.day.year <= LAST_YEAR]:
            raise _fault("out_of_range", f"{outside[0].day.isoformat()} is too far away")
        return self


class HoursOnDays(Hours):
    """A range of hours on some days of the week; 1 is Monday."""

    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(min_length=1, max_length=7)


class BankHours(_Value):
    """The hours of one bank on its working days.

    A make-up day on a weekend has the hours of a Monday, unless its own weekday is stated; a bank that is shut on
    make-up days says so in its calendar.
    """

    ranges: tuple[HoursOnDays, ...] = Field(min_length=1, max_length=28)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not any(1 in each.weekdays for each in self.ranges):
            raise _fault("monday_missing", "the hours of Monday are missing")
        for weekday in range(1, 8):
            hours = self._of(weekday)
            if any(later.opens < earlier.closes for earlier, later in pairwise(hours)):
                raise _fault("overlap", f"hours overlap on weekday {weekday}")
        return self

    def _of(self, weekday: int) -> tuple[Hours, ...]:
        return tuple(sorted((each for each in self.ranges if weekday in each.weekdays), key=lambda each: each.opens))

    def on(self, day: date) -> tuple[Hours, ...]:
        """Those of a working day, earliest first."""
        stated = self._of(day.isoweekday())
        return stated if stated or day.isoweekday() <= 5 else self._of(1)

    @classmethod
    def daily(cls, hours: Hours) -> BankHours:
        """The same on every working day."""
        return cls(ranges=(HoursOnDays(weekdays=(1, 2, 3, 4, 5, 6, 7), opens=hours.opens, closes=hours.closes),))


class Closure(_Value):
    """A bank, or an office, takes nothing from `from_at` until `until_at`, whatever the day and the hour."""

    bank_code: BankCode | OfficeCode
    from_at: Instant
    until_at: Instant

    @model_validator(mode="after")
    def _begins_first(self) -> Self:
        if self.until_at - self.from_at > LONGEST_CLOSURE:
            raise _fault("too_long", f"a closure lasts {LONGEST_CLOSURE.days} days at most; close it again if need be")
        if self.from_at >= self.until_at:
            raise _fault("ends_before_it_begins", "a closure ends after it begins")
        return self


@dataclass(frozen=True)
class LoadedCalendars:
    """What operators have loaded, as of one version: it decides what every plan rests on."""

    version: int
    days: Mapping[str, Mapping[date, bool]] = field(default_factory=dict)
    published: Mapping[str, frozenset[int]] = field(default_factory=dict)
    hours: Mapping[str, BankHours] = field(default_factory=dict)
    closures: tuple[Closure, ...] = ()

    def closures_of(self, bank_code: str, after: datetime) -> tuple[Closure, ...]:
        """Those of a bank or an office that are not over."""
        return tuple(each for each in self.closures if each.bank_code == bank_code and each.until_at > after)


def _fault(code: str, sentence: str) -> PydanticCustomError:
    """The code is for programs, the sentence for whoever keeps the file; neither holds anything else of it."""
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence})


def _refuse_repeated(days: Iterable[date]) -> None:
    seen: set[date] = set()
    for day in days:
        if day in seen:
            raise _fault("duplicate", f"{day.isoformat()} is there twice")
        seen.add(day)
