"""How a language says a text, a date, an instant and a list. Dates are those of Asia/Shanghai."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from enum import Enum

from domain.business_time import SHANGHAI

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class Language(Enum):
    """The value is its place in a pair of texts."""

    CHINESE = 0
    ENGLISH = 1

    @property
    def tag(self) -> str:
        """As HTML names it."""
        return "zh-CN" if self is Language.CHINESE else "en"

    def say(self, pair: tuple[str, str], **values: str | int) -> str:
        """A text with its values, of which nothing is read as a text again."""
        return pair[self.value].format(**values) if values else pair[self.value]

    def day(self, day: date) -> str:
        """As in `2026年10月15日`, or `15 October 2026`."""
        if self is Language.CHINESE:
            return f"{day.year}年{day.month}月{day.day}日"
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"

    def instant(self, at: datetime) -> str:
        """Of an aware instant, to the minute."""
        if at.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        local = at.astimezone(SHANGHAI)
        between = " " if self is Language.CHINESE else ", "
        return f"{self.day(local.date())}{between}{local:%H:%M}"

    def listed(self, words: Iterable[str]) -> str:
        """One after the other."""
        return ("、" if self is Language.CHINESE else ", ").join(words)


def legible(text: str) -> str:
    """Without what cannot be seen and changes what can: control characters, and marks that turn the direction."""
    return "".join(" " if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else each for each in text)
