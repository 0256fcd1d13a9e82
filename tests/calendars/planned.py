"""Plans by the routes of config/ and by the libraries' calendars, in the words of Asia/Shanghai."""

from __future__ import annotations

from datetime import datetime

from calendars.book import opening_of
from config.policy import read_policy
from domain.business_time import SHANGHAI
from domain.calendars import LoadedCalendars
from domain.planning import ReleasePlan, plan
from domain.routes import Route, RouteBook

ROUTES = RouteBook.model_validate(read_policy()["payout_routes"])
NOTHING = LoadedCalendars(version=0)
REAL_TIME, TWO_HOURS, NEXT_DAY = "real_time", "within_two_hours", "next_working_day"


def shanghai(text: str) -> datetime:
    """`2026-09-30 17:00:00` as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def words(instant: datetime) -> str:
    return instant.astimezone(SHANGHAI).isoformat(" ", "seconds").removesuffix("+08:00")


def planned(
    route: str | Route, speed: str, earliest: str, loaded: LoadedCalendars = NOTHING, bank: str = "HBRB"
) -> ReleasePlan:
    found = ROUTES.route(route) if isinstance(route, str) else route
    at = shanghai(earliest)
    return plan(found, opening_of(found, bank, loaded, at), speed, at)
