"""When foreign currency may be converted into CNY: pure, from calendars, hours and closures (A5.1a, A6.4b, Q4).

Two have to be open together: the FX desk of the converting bank, and the FX authority. And the money has to be good: it
is from the beginning of its value day on, which is the first day, from the remittance's value date on, that the centre
of the currency works; later days off of the centre do not matter. Whether a make-up Saturday counts is up to the two
offices. Days begin at 00:00 in Asia/Shanghai. An interval begins with its first moment and ends before its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import reduce
from itertools import islice
from typing import Literal

from domain.business_time import SHANGHAI
from domain.calendars import Calendar
from domain.planning import HORIZON, WINDOWS_A_PLAN, Interval, NoWindowError, Opening, days_from, open_on, unpublished

WaitsFor = Literal["fx_desk_window", "fx_authority_window", "value_date"]


@dataclass(frozen=True)
class FxOpening:
    """When a desk deals, when the authority works, and the calendars of the centre of the currency."""

    desk: Opening
    authority: Opening
    value: Sequence[Calendar]


@dataclass(frozen=True)
class FxWindow:
    """A time in which both offices are open and the money is good.

    `waits_for`: the value date where both offices are open together before, when the value day has not begun; else the
    office that opens later, of two that open together the desk. None: it is open at the moment that was asked for.
    `rests_on`: the unpublished years of calendars on which it rests, as in `CN:2027`.
    """

    opens_at: datetime
    closes_at: datetime
    waits_for: WaitsFor | None
    rests_on: tuple[str, ...] = ()

    @property
    def provisional(self) -> bool:
        """Whether it rests on a year that is not published."""
        return bool(self.rests_on)


@dataclass(frozen=True)
class FxPlan:
    """The windows in which a conversion may be dealt, earliest first; there is at least one."""

    windows: tuple[FxWindow, ...]

    @property
    def first(self) -> FxWindow:
        """The next one, or the one that is open."""
        return self.windows[0]


def plan_fx(opening: FxOpening, earliest: datetime, value_date: date | None = None) -> FxPlan:
    """The windows from `earliest` (aware) on; without a value date the money is there already, and is good.

    Raises NoWindowError where the offices are never open together within the horizon, or the money is not good then.
    """
    windows: list[FxWindow] = []
    asked_at = earliest
    value_day = _value_day(opening.value, value_date)
    centre = () if value_date is None else unpublished(opening.value, _begin(value_date), _begin(value_day))
    both = _together((opening.desk, opening.authority), earliest, value_day)
    for each in islice(both, WINDOWS_A_PLAN):
        waits_for = None if each.opens_at <= asked_at else _held_back_by(opening, asked_at, each.opens_at)
        offices = unpublished((*opening.desk.calendars, *opening.authority.calendars), earliest, each.closes_at)
        windows.append(FxWindow(each.opens_at, each.closes_at, waits_for, tuple(dict.fromkeys((*offices, *centre)))))
        asked_at = each.closes_at
    if not windows:
        raise NoWindowError("fx")
    return FxPlan(tuple(windows))


def _value_day(centre: Sequence[Calendar], value_date: date | None) -> date:
    """From whose beginning on the money is good. `date.max`: the centre does not work within the horizon."""
    if value_date is None:
        return date.min
    days = (value_date + timedelta(days=n) for n in range(HORIZON.days))
    return next((day for day in days if all(calendar.is_working(day) for calendar in centre)), date.max)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=SHANGHAI)


def _together(offices: Sequence[Opening], earliest: datetime, value_day: date = date.min) -> Iterator[Interval]:
    """When all are open at once from `earliest` on, on the value day or later."""
    days = (day for day in days_from(earliest) if day >= value_day)
    return _joined(each for day in days for each in reduce(_overlaps, (open_on(one, day, earliest) for one in offices)))


def _held_back_by(opening: FxOpening, asked_at: datetime, opens_at: datetime) -> WaitsFor:
    """What a window that opens later than it is asked for waits for."""
    both, desk, authority = (
        next(_together(offices, asked_at)).opens_at
        for offices in ((opening.desk, opening.authority), (opening.desk,), (opening.authority,))
    )
    if both < opens_at:
        return "value_date"
    return "fx_authority_window" if authority > desk else "fx_desk_window"


def _overlaps(left: list[Interval], right: list[Interval]) -> list[Interval]:
    """What two have in common; each in order and without overlaps, and so is the answer."""
    common = (Interval(max(a.opens_at, b.opens_at), min(a.closes_at, b.closes_at)) for a in left for b in right)
    return [each for each in common if each.opens_at < each.closes_at]


def _joined(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Hours that follow upon each other without a break are one window."""
    last: Interval | None = None
    for each in intervals:
        if last is not None and last.closes_at == each.opens_at:
            last = replace(last, closes_at=each.closes_at)
        else:
            if last is not None:
                yield last
            last = each
    if last is not None:
        yield last
