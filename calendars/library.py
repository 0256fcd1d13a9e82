"""The years that libraries know. What they do not know as published is a guess, and is marked as such.

`chinese_calendar` has the mainland's published years with make-up days. `holidays` computes the others', and the
mainland's statutory days without make-up days; for years that nobody has published yet it is the better guess than
Monday to Friday, since a bank that is surely shut is not asked. The United States and Japan are there as the centres of
their currencies: their days are those on which the banks settle, not those of all offices.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

import holidays
from chinese_calendar import constants

from domain.calendars import FIRST_YEAR, Calendar

_LAST_GUESSED_YEAR = 2040
_YEARS = range(FIRST_YEAR, _LAST_GUESSED_YEAR + 1)
# Years for which the three governments' lists were compared with the library; later ones an operator loads. Taiwan had
# make-up days until 2024, which the library leaves out; the law of 2025 ended them.
_COMPARED = frozenset({2025, 2026})
# Against the days on which the Federal Reserve Banks are shut, and the Cabinet Office's list of national holidays with
# the days around New Year on which the law lets banks be shut.
_COMPARED_US = frozenset({2024, 2025, 2026, 2027})
_COMPARED_JP = frozenset({2026, 2027})
# Banks in Hong Kong and Macao keep the general holidays, of which the statutory ones are only a part.
_GENERAL = ("public", "optional")


@cache
def library_calendar(code: str) -> Calendar:
    """A general calendar as far as libraries know. Raises KeyError for another code."""
    known = {
        "CN": _mainland, "HK": _hong_kong, "MO": _macao, "TW": _taiwan, "US": _united_states, "JP": _japan,
    }  # fmt: skip
    return known[code]()


def _mainland() -> Calendar:
    published = frozenset(day.year for day in constants.holidays) & frozenset(_YEARS)
    guessed = holidays.country_holidays("CN", years=[year for year in _YEARS if year not in published])
    days = {
        **dict.fromkeys(guessed, False),
        **{day: False for day in constants.holidays if day.year in published},
        **{day: True for day in constants.workdays if day.year in published},
    }
    return Calendar("CN", days, published)


def _hong_kong() -> Calendar:
    return Calendar("HK", _closed("HK", _GENERAL), _COMPARED)


def _macao() -> Calendar:
    return Calendar("MO", _closed("MO", _GENERAL), _COMPARED)


def _taiwan() -> Calendar:
    return Calendar("TW", _closed("TW", ("public",)), _COMPARED)


def _united_states() -> Calendar:
    """The federal holidays as the Federal Reserve Banks keep them: one on a Sunday is kept on Monday, one on a Saturday
    is lost to them, while other offices are shut on the Friday before.
    """
    federal = _closed("US", ("public",))
    kept = {day: works for day, works in federal.items() if day.isoweekday() != 5 or not _is_for_saturday(day, federal)}
    return Calendar("US", kept, _COMPARED_US)


def _is_for_saturday(friday: date, federal: dict[date, bool]) -> bool:
    return friday + timedelta(days=1) in federal


def _japan() -> Calendar:
    return Calendar("JP", _closed("JP", ("public", "bank")), _COMPARED_JP)


def _closed(code: str, categories: Sequence[str]) -> dict[date, bool]:
    return dict.fromkeys(holidays.country_holidays(code, years=_YEARS, categories=tuple(categories)), False)
