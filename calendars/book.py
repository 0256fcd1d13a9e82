"""Which calendars, hours and closures payouts and conversions are planned by: the libraries' with what operators loaded
on top.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Protocol

from calendars.library import library_calendar
from domain.calendars import BankHours, Calendar, LoadedCalendars
from domain.fx_planning import FxOpening, FxPlan, plan_fx
from domain.fx_rules import FxRules, Office
from domain.planning import Opening, ReleasePlan, plan
from domain.routes import Route


class CalendarSource(Protocol):
    """Where the loaded calendars are: the database."""

    async def current_version(self) -> int: ...

    async def loaded(self) -> LoadedCalendars: ...


class CalendarBook:
    """Plans by the version in force; what was loaded is read again only when the version has changed."""

    def __init__(self, source: CalendarSource) -> None:
        self._source = source
        self._loaded: LoadedCalendars | None = None

    async def in_force(self) -> LoadedCalendars:
        """What operators have loaded, as of now."""
        version = await self._source.current_version()
        if self._loaded is None or self._loaded.version != version:
            self._loaded = await self._source.loaded()
        return self._loaded

    async def version(self) -> int:
        """Of what is in force."""
        return (await self.in_force()).version

    async def calendar(self, code: str) -> Calendar:
        """A general calendar in force."""
        return calendar_in_force(code, await self.in_force())

    async def predict(self, route: Route, bank_code: str, speed: str, earliest: datetime) -> ReleasePlan:
        """When a payout that is accepted at `earliest` would leave and arrive; nothing is reserved."""
        _, found = await self.plan(route, bank_code, speed, earliest)
        return found

    async def plan(self, route: Route, bank_code: str, speed: str, earliest: datetime) -> tuple[int, ReleasePlan]:
        """The same with the version that it rests on. Raises as `domain.planning.plan` does."""
        loaded = await self.in_force()
        return loaded.version, plan(route, opening_of(route, bank_code, loaded, earliest), speed, earliest)

    async def plan_fx(
        self, rules: FxRules, desk_bank: str, currency: str, value_date: date | None, earliest: datetime
    ) -> tuple[int, FxPlan]:
        """When a currency may be converted by a desk, with the version that it rests on (A5.1a).

        Raises KeyError for a currency or a desk that the rules do not know, NoWindowError where nothing opens.
        """
        loaded = await self.in_force()
        opening = fx_opening_of(rules, desk_bank, currency, loaded, earliest)
        return loaded.version, plan_fx(opening, earliest, value_date)


def calendar_in_force(code: str, loaded: LoadedCalendars) -> Calendar:
    """A general calendar with what was loaded for it."""
    return library_calendar(code).corrected(loaded.days.get(code, {}), loaded.published.get(code, ()))


def opening_of(route: Route, bank_code: str, loaded: LoadedCalendars, earliest: datetime) -> Opening:
    """When a bank takes payouts of a route, from `earliest` on."""
    hours = loaded.hours.get(bank_code) or BankHours.daily(route.hours)
    return Opening(calendars_of(route, bank_code, loaded), hours, loaded.closures_of(bank_code, earliest))


def calendars_of(route: Route, bank_code: str, loaded: LoadedCalendars) -> tuple[Calendar, ...]:
    """Those of a route; the first, which is the paying bank's, with the bank's own days on top (Q4)."""
    general = [calendar_in_force(code, loaded) for code in route.calendars]
    return (general[0].corrected(loaded.days.get(bank_code, {})), *general[1:])


def fx_opening_of(
    rules: FxRules, desk_bank: str, currency: str, loaded: LoadedCalendars, earliest: datetime
) -> FxOpening:
    """The three that have to be open together for a conversion. Raises KeyError for an unknown currency or desk."""
    return FxOpening(
        desk=office_opening_of(rules.office_of_desk(desk_bank), loaded, earliest),
        authority=office_opening_of(rules.authority, loaded, earliest),
        value=tuple(calendar_in_force(code, loaded) for code in rules.currencies[currency].value_calendars),
    )


def office_opening_of(office: Office, loaded: LoadedCalendars, earliest: datetime) -> Opening:
    """When an office works. What was loaded under its own code is its last word: days, hours, closures (Q4)."""
    general = [calendar_in_force(code, loaded) for code in office.calendars]
    kept = general if office.open_on_make_up_days else [each.without_make_up_days() for each in general]
    calendars = tuple(each.corrected(loaded.days.get(office.code, {})) for each in kept)
    hours = loaded.hours.get(office.code) or office.hours
    return Opening(calendars, hours, loaded.closures_of(office.code, earliest))
