"""When a payout can leave and when it arrives: pure, from a route, calendars, hours and closures (A6.4b, A2.5d).

An interval begins with its first moment and ends before its last: a bank that closes at 17:00 takes what comes at
16:59:59.999 and not what comes at 17:00:00.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from domain.business_time import SHANGHAI, business_date
from domain.calendars import BankHours, Calendar, Closure
from domain.routes import Route

# Far enough for any backlog, and for the longest closure that may be loaded.
WINDOWS_A_PLAN = 8
HORIZON = timedelta(days=400)


class NoWindowError(Exception):
    """No day or hour within the horizon is open: calendars or closures have to be corrected."""


@dataclass(frozen=True)
class ReleaseWindow:
    """A time in which a payout may leave. It arrives at `arrives_at`, or `arrives_after` its release."""

    opens_at: datetime
    closes_at: datetime
    arrives_at: datetime | None = None
    arrives_after: timedelta | None = None
    rests_on: tuple[str, ...] = ()

    def arrival(self, sent_at: datetime) -> datetime:
        """When what leaves at `sent_at` arrives."""
        return self.arrives_at or sent_at + (self.arrives_after or timedelta())


@dataclass(frozen=True)
class ReleasePlan:
    """The first moment at which a payout can leave, when it arrives then, and the windows that follow.

    `rests_on`: the unpublished years of calendars, as in `CN:2027`, on which it rests; with any it is provisional.
    """

    send_at: datetime
    arrives_at: datetime
    rests_on: tuple[str, ...]
    windows: tuple[ReleaseWindow, ...]

    @property
    def provisional(self) -> bool:
        """Whether it rests on a year that is not published."""
        return bool(self.rests_on)


@dataclass(frozen=True)
class Opening:
    """When a bank takes payouts, or an office works: on days of all `calendars`, in its `hours`, never in a closure."""

    calendars: Sequence[Calendar]
    hours: BankHours
    closures: Sequence[Closure] = ()


def plan(route: Route, opening: Opening, speed: str, earliest: datetime) -> ReleasePlan:
    """The release of a payout from `earliest` (aware) on.

    Raises RefusedError for a speed that the route does not offer, NoWindowError where nothing opens within the horizon.
    """
    terms = route.terms(speed)
    around_the_clock = terms.window == "around_the_clock"
    days = _Days(opening, earliest)
    if terms.arrives_within_seconds is None:
        found = _by_the_next_working_day(days, route.cut_off)
    else:
        opened = _around_the_clock(opening, earliest) if around_the_clock else days.intervals()
        found = _within(opened, timedelta(seconds=terms.arrives_within_seconds))
    rests_on = () if around_the_clock else opening.calendars
    windows = tuple(_with_years(each, rests_on, earliest) for each in islice(found, WINDOWS_A_PLAN))
    if not windows:
        raise NoWindowError(route.code)
    first = windows[0]
    return ReleasePlan(first.opens_at, first.arrival(first.opens_at), first.rests_on, windows)


@dataclass(frozen=True)
class Interval:
    """From `opens_at` on, until `closes_at`, which is the first moment that is too late."""

    opens_at: datetime
    closes_at: datetime

    @property
    def length(self) -> timedelta:
        """How long it is open."""
        return self.closes_at - self.opens_at


def days_from(earliest: datetime) -> Iterator[date]:
    """Every business date from that of `earliest` on, within the horizon."""
    first = business_date(earliest)
    return (first + timedelta(days=n) for n in range(HORIZON.days))


def open_on(opening: Opening, day: date, earliest: datetime) -> list[Interval]:
    """What is open on a day from `earliest` on, earliest first; nothing on a day that some calendar does not work."""
    if not all(calendar.is_working(day) for calendar in opening.calendars):
        return []
    stated = [Interval(_at(day, each.opens), _at(day, each.closes)) for each in opening.hours.on(day)]
    return [piece for each in stated for piece in _open_pieces(each, opening.closures, earliest)]


def unpublished(calendars: Iterable[Calendar], first: datetime, last: datetime) -> tuple[str, ...]:
    """The years from that of `first` to that of `last` that are not published, as in `CN:2027`; each once."""
    years = range(business_date(first).year, business_date(last).year + 1)
    found = (f"{each.code}:{year}" for each in calendars for year in years if year not in each.published)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class _Days:
    """Each day on which all calendars work and the bank is open for a while, with the intervals that are left of it."""

    opening: Opening
    earliest: datetime

    def __iter__(self) -> Iterator[tuple[date, list[Interval]]]:
        for day in days_from(self.earliest):
            if left := open_on(self.opening, day, self.earliest):
                yield day, left

    def intervals(self) -> Iterator[Interval]:
        return (each for _, left in self for each in left)


def _at(day: date, hour: time) -> datetime:
    return datetime.combine(day, hour, tzinfo=SHANGHAI).astimezone(UTC)


def _open_pieces(interval: Interval, closures: Sequence[Closure], earliest: datetime) -> list[Interval]:
    """What is left of an interval without the closures and without what is before `earliest`."""
    pieces = [replace(interval, opens_at=max(interval.opens_at, earliest.astimezone(UTC)))]
    for closure in closures:
        pieces = [
            part
            for piece in pieces
            for part in (
                Interval(piece.opens_at, min(piece.closes_at, closure.from_at)),
                Interval(max(piece.opens_at, closure.until_at), piece.closes_at),
            )
            if part.opens_at < part.closes_at
        ]
    return [piece for piece in pieces if piece.opens_at < piece.closes_at]


def _around_the_clock(opening: Opening, earliest: datetime) -> Iterator[Interval]:
    start = earliest.astimezone(UTC)
    yield from _open_pieces(Interval(start, start + HORIZON), opening.closures, earliest)


def _by_the_next_working_day(days: _Days, cut_off: time) -> Iterator[ReleaseWindow]:
    """What leaves before the cut-off arrives by the close of the next day that works."""
    upcoming = iter(days)
    today = next(upcoming, None)
    while today and (tomorrow := next(upcoming, None)):
        day, intervals = today
        for each in intervals:
            closes_at = min(each.closes_at, _at(day, cut_off))
            if each.opens_at < closes_at:
                yield ReleaseWindow(each.opens_at, closes_at, arrives_at=tomorrow[1][-1].closes_at)
        today = tomorrow


def _within(opened: Iterator[Interval], target: timedelta) -> Iterator[ReleaseWindow]:
    """Arrival after `target` of open time: what is left of it at the close goes on when the bank opens again."""
    ahead = list(islice(opened, 1))
    while ahead:
        this = ahead[0]
        # Released at `start` or later, the last of it falls into the interval that is looked at, `shift` later.
        start, close, shift, index = this.opens_at, this.closes_at - target, timedelta(), 0
        while start < this.closes_at:
            if (end := min(close, this.closes_at)) > start:
                yield ReleaseWindow(start, end, arrives_after=target + shift)
                start = end
            index += 1
            if index == len(ahead):
                ahead += islice(opened, 1)
            if index == len(ahead):
                return
            shift += ahead[index].opens_at - ahead[index - 1].closes_at
            close += ahead[index].length
        ahead.pop(0)
        ahead = ahead or list(islice(opened, 1))


def _with_years(window: ReleaseWindow, calendars: Sequence[Calendar], earliest: datetime) -> ReleaseWindow:
    return replace(window, rests_on=unpublished(calendars, earliest, window.arrival(window.closes_at)))
