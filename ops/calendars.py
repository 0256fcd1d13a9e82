"""Calendars, hours and closures of banks (A6.4b): what is in force, and loading what has changed.

Whatever is loaded makes a new version; every payout and conversion that waits by an older one is planned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Any, TypeVar, get_args

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.calls import Done
from api.schemas import read_as
from api.strict_json import field_name
from calendars.book import calendar_in_force
from domain.business_time import business_date
from domain.calendars import BankHours, CalendarFile, Closure, GeneralCalendar, LoadedCalendars
from domain.errors import ErrorCode, FieldError, ValidationRefusedError
from ops.calendar_schemas import CalendarsInForce, LoadedVersion, NewBankClosure, NewBankHours, NewCalendar
from ops.calls import Call, Operation, run_command, run_read
from ops.documentation import documented
from storage.calendars import Calendars

router = APIRouter(prefix="/ops/v1", tags=["calendars"])
C = ErrorCode
Value = TypeVar("Value", bound=BaseModel)

READ = Operation("read_calendars", "payments:read")
LOAD = Operation("load_calendar", "calendars:write", 201)
HOURS = Operation("load_hours", "calendars:write", 201)
CLOSURE = Operation("load_closure", "calendars:write", 201)
GENERAL: tuple[str, ...] = get_args(GeneralCalendar)


@router.get("/calendars", **documented("What plans rest on", READ, CalendarsInForce))
async def read_calendars(request: Request) -> Response:
    """Which years are published, what banks and offices have of their own, and when they are closed."""

    async def read(call: Call) -> Mapping[str, Any]:
        book = Calendars(call.services.engine)
        loaded = await book.loaded()
        history = [{**each, "at": each["at"].isoformat()} for each in await book.history()]
        return _in_force(loaded, call) | {"history": history}

    return await run_read(request, READ, read)


def _in_force(loaded: LoadedCalendars, call: Call) -> dict[str, Any]:
    today = business_date(call.now)
    return {
        "object": "calendars",
        "version": loaded.version,
        "calendars": [_shown(code, loaded, today) for code in GENERAL],
        "bank_days": {
            code: {day.isoformat(): works for day, works in sorted(days.items())}
            for code, days in loaded.days.items()
            if code not in GENERAL
        },
        "bank_hours": {code: hours.model_dump(mode="json")["ranges"] for code, hours in loaded.hours.items()},
        "closures": [each.model_dump(mode="json") for each in loaded.closures if each.until_at > call.now],
    }


def _shown(code: str, loaded: LoadedCalendars, today: date) -> dict[str, Any]:
    calendar = calendar_in_force(code, loaded)
    next_year = today.year + 1
    return {
        "calendar": code,
        "published_years": sorted(calendar.published),
        "loaded_years": sorted(loaded.published.get(code, ())),
        "works_today": calendar.is_working(today),
        "next_year_is_published": next_year in calendar.published,
        "corrections": {day.isoformat(): works for day, works in sorted(loaded.days.get(code, {}).items())},
    }


@router.post("/calendars", **documented("Load a calendar", LOAD, LoadedVersion, [C.BANK_NOT_FOUND], body=NewCalendar))
async def load_calendar(request: Request) -> Response:
    """Published years as a whole, and corrections day by day."""

    async def load(call: Call, payload: dict[str, Any]) -> Done:
        file = _value(CalendarFile, read_as(NewCalendar, payload).model_dump())
        return await _loaded(call, lambda book: book.load_file(call.act, call.operator_id, file))

    return await run_command(request, LOAD, load)


@router.post(
    "/bank_hours", **documented("Set a bank's hours", HOURS, LoadedVersion, [C.BANK_NOT_FOUND], body=NewBankHours)
)
async def load_hours(request: Request) -> Response:
    """Which hold from now on, in the place of those of the routes."""

    async def load(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(NewBankHours, payload)
        stated = given.model_dump(include={"ranges"})
        hours = None if given.ranges is None else _value(BankHours, stated)
        return await _loaded(
            call, lambda book: book.load_hours(call.act, call.operator_id, given.bank_code, hours, given.note)
        )

    return await run_command(request, HOURS, load)


@router.post(
    "/bank_closures",
    **documented("Close a bank, or open it again", CLOSURE, LoadedVersion, [C.BANK_NOT_FOUND], body=NewBankClosure),
)
async def load_closure(request: Request) -> Response:
    """While it is closed nothing is sent to it, and what waits leaves in order of acceptance when it opens."""

    async def load(call: Call, payload: dict[str, Any]) -> Done:
        given = read_as(NewBankClosure, payload)
        if given.open_again != (given.until_at is None) or (given.open_again and given.from_at is not None):
            raise _wrong("until_at", "give_until_at_or_open_again")
        if given.open_again:
            return await _loaded(
                call, lambda book: book.open_again(call.act, call.operator_id, given.bank_code, given.note)
            )
        from_at = max(given.from_at or call.now, call.now)
        closure = _value(Closure, {"bank_code": given.bank_code, "from_at": from_at, "until_at": given.until_at})
        return await _loaded(call, lambda book: book.load_closure(call.act, call.operator_id, closure, given.note))

    return await run_command(request, CLOSURE, load)


async def _loaded(call: Call, load: Callable[[Calendars], Awaitable[Mapping[str, Any]]]) -> Done:
    """Loads, and has all that waits planned anew; if Temporal is away, the sweeper does that."""
    found = await load(Calendars(call.services.engine))
    call.is_recorded = True
    await asyncio.gather(
        call.services.processes.replan_payouts(found["version"]), call.services.processes.replan_fx(found["version"])
    )
    return Done({"object": "calendar_version", **found})


def _value(model: type[Value], stated: Mapping[str, Any]) -> Value:
    """What only the whole can tell. Raises ValidationRefusedError that names each wrong field, never a value."""
    try:
        return model.model_validate(dict(stated))
    except ValidationError as error:
        faults = [
            FieldError(field_name(*item["loc"]), _FAULTS.get(item["type"], item["type"]))
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise ValidationRefusedError(C.REQUEST_INVALID, fields=faults[:20]) from None


# What pydantic calls them; the others are words of our own.
_FAULTS = {
    "value_error": "wrong_format",
    "date_from_datetime_parsing": "wrong_format",
    "date_parsing": "wrong_format",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
}


def _wrong(field: str, code: str) -> ValidationRefusedError:
    return ValidationRefusedError(C.REQUEST_INVALID, fields=[FieldError(field, code)])
