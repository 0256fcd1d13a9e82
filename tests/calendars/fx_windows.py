"""Windows of conversions by config/fx.toml and by the libraries' calendars, in the words of Asia/Shanghai."""

from __future__ import annotations

from datetime import date

from calendars.book import fx_opening_of
from config.policy import read_policy
from domain.calendars import BankHours, Closure, LoadedCalendars
from domain.fx_planning import FxPlan, plan_fx
from domain.fx_rules import FxRules
from tests.calendars.planned import NOTHING, shanghai

RULES = FxRules.model_validate(read_policy()["fx"])


def windows(
    currency: str, desk: str, value_date: str | None, arrives: str, loaded: LoadedCalendars = NOTHING
) -> FxPlan:
    at = shanghai(arrives)
    value = None if value_date is None else date.fromisoformat(value_date)
    return plan_fx(fx_opening_of(RULES, desk, currency, loaded, at), at, value)


def closed(code: str, from_at: str, until_at: str) -> LoadedCalendars:
    closure = Closure(bank_code=code, from_at=shanghai(from_at), until_at=shanghai(until_at))
    return LoadedCalendars(1, closures=(closure,))


def days(code: str, **works: bool) -> LoadedCalendars:
    """`d2026_10_10=True` is a working day of a calendar."""
    stated = {date.fromisoformat(day[1:].replace("_", "-")): is_working for day, is_working in works.items()}
    return LoadedCalendars(1, days={code: stated})


def hours(code: str, *ranges: tuple[tuple[int, ...], str, str]) -> LoadedCalendars:
    stated = [{"weekdays": weekdays, "opens": opens, "closes": closes} for weekdays, opens, closes in ranges]
    return LoadedCalendars(1, hours={code: BankHours.model_validate({"ranges": stated})})
