"""Calendars, hours and closures as operators loaded them, and the release slots of payouts, a method a SQL function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.calendars import BankHours, CalendarFile, Closure, LoadedCalendars
from domain.planning import ReleaseWindow
from domain.slots import AllocatedSlot, PayoutToPlan, PlanRefusedError, SlotRequest
from storage.administration import Act
from storage.instructions import refusal

Resource = dict[str, Any]

_VERSION = sa.text("SELECT app.current_plan_version()")
_LOADED = sa.text("SELECT app.loaded_calendars() AS answer").columns(answer=JSONB)
_FACTS = sa.text("SELECT app.planning_facts(:payout) AS answer").columns(answer=JSONB)
_TO_REPLAN = sa.text("SELECT * FROM app.payouts_to_replan(:version, :after_at, :after_id, :most)")
_TO_REPLAN_FROM = sa.text("SELECT app.version_to_replan(:now, :older_than)")
_PLANNED = sa.text(
    "SELECT id FROM app.payout WHERE state = 'scheduled' AND plan_version >= :version"
    " AND (CAST(:after_at AS timestamptz) IS NULL OR (accepted_at, id) > (:after_at, :after_id))"
    " ORDER BY accepted_at, id LIMIT :most"
)
_HISTORY = sa.text(
    "SELECT version, kind, loaded_by, note, at FROM app.calendar_version ORDER BY version DESC LIMIT :most"
)


class Calendars:
    """Reads what was loaded, and loads: the database behind `calendars.book.CalendarBook`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def current_version(self) -> int:
        """Of calendars, hours and closures together; 0 before anything was loaded."""
        async with self._engine.connect() as connection:
            return int(await connection.scalar(_VERSION) or 0)

    async def loaded(self) -> LoadedCalendars:
        """What is in force."""
        async with self._engine.connect() as connection:
            return _loaded_from(await connection.scalar(_LOADED) or {})

    async def history(self, most: int = 20) -> list[Resource]:
        """The latest versions, last first."""
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(_HISTORY, {"most": most})).mappings()]

    async def load_file(self, act: Act, operator_id: str, file: CalendarFile) -> Resource:
        """Raises DomainError: PERMISSION_MISSING, BANK_NOT_FOUND."""
        corrected = {(each.calendar, each.day) for each in file.corrections}
        days = [{"calendar": each.calendar, **_day(each)} for each in file.corrections] + [
            {"calendar": year.calendar, **_day(each)}
            for year in file.years
            for each in year.days
            if (year.calendar, each.day) not in corrected
        ]
        years = [{"calendar": each.calendar, "year": each.year} for each in file.years]
        return await self._load(act, operator_id, "calendar", file.note, {"days": days, "years": years})

    async def load_hours(
        self, act: Act, operator_id: str, bank_code: str, hours: BankHours | None, note: str
    ) -> Resource:
        """None: the hours of the routes again. Raises as `load_file` does."""
        ranges = None if hours is None else hours.model_dump(mode="json")["ranges"]
        return await self._load(act, operator_id, "hours", note, {"bank_code": bank_code, "ranges": ranges})

    async def load_closure(self, act: Act, operator_id: str, closure: Closure, note: str) -> Resource:
        """A bank takes nothing for a while. Raises as `load_file` does."""
        return await self._load(act, operator_id, "closure", note, closure.model_dump(mode="json"))

    async def open_again(self, act: Act, operator_id: str, bank_code: str, note: str) -> Resource:
        """Ends every closure of a bank that is known, also what has not begun. Raises as `load_file` does."""
        more = {"bank_code": bank_code, "from_at": act.at.isoformat(), "until_at": None}
        return await self._load(act, operator_id, "closure", note, more)

    async def _load(self, act: Act, operator_id: str, kind: str, note: str, more: Mapping[str, Any]) -> Resource:
        stated = {"kind": kind, "note": note, **more}
        fingerprint = hashlib.sha256(json.dumps(stated, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        item = stated | {
            "now": act.at.isoformat(), "actor": act.actor, "actor_id": operator_id, "request_id": act.request_id,
            "fingerprint": fingerprint,
        }  # fmt: skip
        async with self._engine.begin() as connection:
            answer: Resource = await connection.scalar(_call("app.load_calendar"), {"item": item}) or {}
        if not answer["ok"]:
            raise refusal(answer)
        return {"version": answer["version"], "already": answer["already"]}


async def version_to_replan(engine: AsyncEngine, now: datetime, older_than: timedelta) -> int | None:
    """The version of the calendars, if it is older than that and payouts still wait by plans before it."""
    async with engine.connect() as connection:
        found = await connection.scalar(_TO_REPLAN_FROM, {"now": now, "older_than": older_than})
        return None if found is None else int(found)


class ReleaseSlots:
    """Allocates release slots; the worker's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def payout(self, payout_id: str) -> PayoutToPlan | None:
        """What a plan is made from; None if there is no such payout."""
        async with self._engine.connect() as connection:
            found = await connection.scalar(_FACTS, {"payout": payout_id})
        return None if found is None else PayoutToPlan.model_validate(found)

    async def to_replan(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[PayoutToPlan]:
        """What waits by a plan of an older version, in order of acceptance."""
        after_at, after_id = after or (None, None)
        given = {"version": version, "after_at": after_at, "after_id": after_id, "most": most}
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_TO_REPLAN, given)).mappings()
            return [PayoutToPlan.model_validate(dict(row)) for row in rows]

    async def planned(self, version: int, after: tuple[datetime, str] | None, most: int) -> list[str]:
        """What was planned by a version already, in order of acceptance."""
        after_at, after_id = after or (None, None)
        given = {"version": version, "after_at": after_at, "after_id": after_id, "most": most}
        async with self._engine.connect() as connection:
            return list((await connection.scalars(_PLANNED, given)).all())

    async def allocate(self, request: SlotRequest) -> AllocatedSlot:
        """In its turn, by the row of its bank. Raises PlanRefusedError."""
        item = {
            "payout_id": request.payout_id,
            "now": request.now.isoformat(),
            "why": request.why,
            "plan_version": request.version,
            "rate": request.rate,
            "windows": [_window(each) for each in request.plan.windows],
        }
        async with self._engine.begin() as connection:
            answer: Resource = await connection.scalar(_call("app.plan_payout"), {"item": item}) or {}
        if not answer["ok"]:
            raise PlanRefusedError(answer["error"])
        return AllocatedSlot.model_validate(answer)


def _window(window: ReleaseWindow) -> Resource:
    after = window.arrives_after
    return {
        "opens_at": window.opens_at.isoformat(),
        "closes_at": window.closes_at.isoformat(),
        "arrives_at": None if window.arrives_at is None else window.arrives_at.isoformat(),
        "arrives_after_seconds": None if after is None else int(after.total_seconds()),
        "provisional": bool(window.rests_on),
    }


def _call(function: str) -> sa.TextualSelect:
    statement = sa.text(f"SELECT {function}(:item) AS answer")
    return statement.bindparams(sa.bindparam("item", type_=JSONB)).columns(answer=JSONB)


def _day(each: Any) -> Resource:
    return {"day": each.day.isoformat(), "working": each.working, "name": each.name}


def _loaded_from(answer: Mapping[str, Any]) -> LoadedCalendars:
    days: dict[str, dict[date, bool]] = {}
    for calendar, day, is_working in answer["days"]:
        days.setdefault(calendar, {})[date.fromisoformat(day)] = is_working
    published: dict[str, frozenset[int]] = {}
    for calendar, year in answer["years"]:
        published[calendar] = published.get(calendar, frozenset()) | {year}
    hours = {bank: BankHours.model_validate({"ranges": ranges}) for bank, ranges in answer["hours"].items()}
    closures = tuple(Closure.model_validate(each) for each in answer["closures"])
    return LoadedCalendars(answer["version"], days, published, hours, closures)
