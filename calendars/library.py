"""The years that libraries know. What they do not know as published is a guess, and is marked as such.

`chinese_calendar` has the mainland's published years with make-up days. `holidays` computes the others', and the
mainland's statutory days without make-up days; for years that nobody has published yet it is the better guess than
Monday to Friday, since a bank that is surely shut is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache

import holidays
from chinese_calendar import constants

from domain.calendars import FIRST_YEAR, Calendar

_LAST_GUESSED_YEAR = 2040
_YEARS = range(FIRST_YEAR, _LAST_GUESSED_YEAR + 1)
# Years for which the three governments' lists were compared with the library; later ones an operator loads. Taiwan had
# make-up days until 2024, which the library leaves out; the law of 2025 ended them.
_COMPARED = frozenset({2025, 2026})
# Banks in Hong Kong and Macao keep the general holidays, of which the statutory ones are only a part.
_GENERAL = ("public", "optional")


@cache
def library_calendar(code: str) -> Calendar:
    """CN, HK, MO or TW as far as libraries know. Raises KeyError for another code."""
    return {"CN": _mainland, "HK": _hong_kong, "MO": _macao, "TW": _taiwan}[code]()


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


def _closed(code: str, categories: Sequence[str]) -> dict[date, bool]:
    return dict.fromkeys(holidays.country_holidays(code, years=_YEARS, categories=tuple(categories)), False)
