"""The yearly quota as a model in Python: what the rules say of a sequence of conversions, without the books (L9)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import ceil, floor

from domain.business_time import SHANGHAI
from domain.fx_rules import FxRules

QUOTA = 5_000_000
# How many cents there are in a major unit, against the minor units of the currency.
CENTS = {"USD": 1, "HKD": 1, "JPY": 100}
# A slot that was missed by more is no slot any more.
LOST = timedelta(minutes=5)
Month = date


@dataclass
class Claimed:
    """What a conversion has of somebody's quota."""

    year: int
    usd_minor: int
    month: Month
    usd_per_unit: Fraction


@dataclass
class Conversion:
    fx_id: str
    user: int
    person: str
    amount_minor: int
    currency: str
    over_quota: str
    exempt: bool = False
    documents: bool = False
    state: str = "waiting"
    reason: str | None = None
    slot_at: datetime | None = None
    until: datetime | None = None
    version: int = -1
    attempt: int = 0
    reserved: Claimed | None = None
    used: Claimed | None = None
    reversed_minor: int = 0


def year_of(at: datetime) -> int:
    return at.astimezone(SHANGHAI).year


@dataclass
class QuotaModel:
    """`refused_by` names what a plan or a claim comes to; nothing here is read from the books."""

    rules: FxRules
    conversions: list[Conversion] = field(default_factory=list)
    exceeded: set[tuple[str, int]] = field(default_factory=set)
    # Of whom and when the quota may be overrun: by documents, or because a desk dealt after midnight.
    excused: set[tuple[str, int]] = field(default_factory=set)

    def rate(self, currency: str, at: datetime) -> tuple[Month, Fraction] | None:
        """The authority's rate in force: that of the latest month, if it is not too old."""
        day = at.astimezone(SHANGHAI).date()
        if currency == "USD":
            return day.replace(day=1), Fraction(1)
        months = {date.fromisoformat(f"{each.month}-01"): each for each in self.rules.authority_rates}
        past = [month for month in months if month <= day and currency in months[month].rates]
        if not past or day - max(past) > timedelta(days=self.rules.authority_rates_valid_days):
            return None
        return max(past), Fraction(months[max(past)].rates[currency], 10**8)

    def totals(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Reserved and used, by person and year."""
        found: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        for each in self.conversions:
            for at, claimed in enumerate((each.reserved, each.used)):
                if claimed is not None:
                    found[each.person, claimed.year][at] += claimed.usd_minor
        return {key: (reserved, used) for key, (reserved, used) in found.items()}

    def is_current(self, one: Conversion, at: datetime) -> bool:
        if one.exempt:
            return True
        rate = self.rate(one.currency, at)
        if one.reserved is None:
            return False
        return one.reserved.year == year_of(at) and rate is not None and one.reserved.month == rate[0]

    def plan(self, one: Conversion, at: datetime, until: datetime, version: int, rest_id: str) -> None:
        if one.state != "waiting":
            return
        if one.version == version and one.slot_at is not None and one.until is not None:
            goes_at = max(one.slot_at, at)
            if at - LOST <= one.slot_at and goes_at < one.until and self.is_current(one, goes_at):
                return
        rate = self.rate(one.currency, at)
        if rate is None and not one.exempt:
            one.slot_at, one.version = None, -1
            return
        if not one.exempt and not self.is_current(one, at):
            assert rate is not None
            self._reserve(one, at, rate, rest_id)
        if one.state == "waiting":
            one.slot_at, one.until, one.version = at, until, version

    def _reserve(self, one: Conversion, at: datetime, rate: tuple[Month, Fraction], rest_id: str) -> None:
        year, (month, usd) = year_of(at), rate
        one.reserved = None
        if (one.person, year) in self.exceeded:
            self.refuse(one, "quota_known_exceeded")
            return
        cents = usd * CENTS[one.currency]
        part = one.amount_minor
        if one.documents:
            self.excused.add((one.person, year))
        else:
            left = max(QUOTA - sum(self.totals().get((one.person, year), (0, 0))), 0)
            part = min(part, floor(left / cents))
            if part < one.amount_minor and (one.over_quota == "hold" or part == 0):
                self.refuse(one, "quota_exceeded")
                return
        if part < one.amount_minor:
            rest = Conversion(rest_id, one.user, one.person, one.amount_minor - part, one.currency, one.over_quota)
            self.refuse(rest, "quota_exceeded")
            self.conversions.append(rest)
        one.amount_minor = part
        one.reserved = Claimed(year, ceil(part * cents), month, usd)

    def refuse(self, one: Conversion, reason: str) -> None:
        one.state, one.reason, one.reserved = "refused", reason, None

    def claim(self, one: Conversion, at: datetime, version: int) -> str | None:
        """What a send claim is refused for."""
        slot, until = one.slot_at, one.until
        if slot is None or until is None or one.version != version or not slot <= at < until:
            return "too_early"
        if slot < at - LOST:
            return "too_early"
        if not one.exempt and (one.person, year_of(at)) in self.exceeded:
            return "quota_known_exceeded"
        if not self.is_current(one, at):
            return "quota_outdated"
        one.state = "sending"
        return None

    def dealt(self, one: Conversion, at: datetime) -> None:
        one.state = "settled"
        if one.reserved is not None:
            used = one.reserved
            if used.year != year_of(at):
                self.excused.add((one.person, year_of(at)))
            one.used, one.reserved = Claimed(year_of(at), used.usd_minor, used.month, used.usd_per_unit), None

    def declined(self, one: Conversion, *, learned: bool) -> None:
        if learned and one.reserved is not None:
            self.exceeded.add((one.person, one.reserved.year))
        self.refuse(one, "fx_quota_exceeded" if learned else "declined")

    def taken_back(self, one: Conversion, part: int) -> None:
        """What remains counts, rounded up like all that counts."""
        one.reversed_minor += part
        if one.used is not None:
            self.exceeded.add((one.person, one.used.year))
            rest = one.amount_minor - one.reversed_minor
            one.used.usd_minor = ceil(rest * one.used.usd_per_unit * CENTS[one.currency])
