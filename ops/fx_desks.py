"""Which offices are open now and until when, and how many conversions wait for each and what for (A5.1a, Q4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from calendars.book import calendar_in_force, office_opening_of
from domain.business_time import business_date
from domain.calendars import LoadedCalendars
from domain.fx_rules import FxRules, Office
from domain.planning import Opening, days_from, open_on

Resource = dict[str, Any]


def opening_now(opening: Opening, now: datetime) -> tuple[bool, datetime | None]:
    """Whether it is open, and until when; or when it opens next, None if not within the horizon."""
    until: datetime | None = None
    for interval in (each for day in days_from(now) for each in open_on(opening, day, now)):
        if until is None and interval.opens_at > now:
            return False, interval.opens_at
        # Hours that follow upon each other without a break are one.
        if until is not None and interval.opens_at != until:
            break
        until = interval.closes_at
    return until is not None, until


def desks_in_view(rules: FxRules, loaded: LoadedCalendars, found: Mapping[str, Any], now: datetime) -> Resource:
    """`found`: what waits where, as `storage.ops_fx.OpsFx.desks` says."""
    authority = {"kind": "authority", "bank_code": None, "enabled": True, "currencies": sorted(rules.currencies)}
    offices = [_office(rules.authority, loaded, now) | authority | {"waiting": [], "at_desk": []}]
    for bank, desk in rules.desks.items():
        of_desk = {
            "kind": "desk",
            "bank_code": bank,
            "enabled": bool(found["enabled"].get(bank)),
            "currencies": [currency for currency, rule in rules.currencies.items() if bank in rule.desks],
            "conversions_per_second": desk.conversions_per_second,
        }
        queue = {"waiting": _of(bank, found["waiting"]), "at_desk": _of(bank, found["at_desks"])}
        offices.append(_office(desk, loaded, now) | of_desk | queue)
    return {
        "object": "fx_desks",
        "at": now.isoformat(),
        "offices": offices,
        "centres": [_centre(rules, currency, loaded, now) for currency in sorted(rules.currencies)],
        "unplanned": [each for each in found["waiting"] if each["desk"] not in rules.desks],
    }


def _office(office: Office, loaded: LoadedCalendars, now: datetime) -> Resource:
    is_open, change = opening_now(office_opening_of(office, loaded, now), now)
    at = None if change is None else change.isoformat()
    return {
        "code": office.code,
        "is_open": is_open,
        "open_until": at if is_open else None,
        "opens_at": None if is_open else at,
    }


def _of(bank: str, rows: Sequence[Mapping[str, Any]]) -> list[Resource]:
    return [{name: value for name, value in row.items() if name != "desk"} for row in rows if row["desk"] == bank]


def _centre(rules: FxRules, currency: str, loaded: LoadedCalendars, now: datetime) -> Resource:
    codes = rules.currencies[currency].value_calendars
    today = business_date(now)
    works = all(calendar_in_force(code, loaded).is_working(today) for code in codes)
    return {"currency": currency, "calendars": list(codes), "works_today": works}
