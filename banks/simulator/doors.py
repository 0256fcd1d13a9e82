"""Whether a bank pays out now, whether its FX desk deals (their hours), and whether it answers at all. In memory: a
restarted bank is open and up.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from banks.simulator.books import SHANGHAI
from banks.simulator.cards import BANK_NAMES

_UNTIL_OPENED = datetime.max.replace(tzinfo=UTC)


class Doors:
    """Each bank is open around the clock and up, until somebody says otherwise."""

    def __init__(self) -> None:
        self._closed_until: dict[str, datetime] = {}
        self._desk_closed_until: dict[str, datetime] = {}
        self._down_until: dict[str, datetime] = {}

    def close(self, bank_code: str, now: datetime, seconds: float | None = None) -> None:
        """For so long, or until `open`: payouts are declined with BANK_CLOSED; everything else goes on."""
        self._closed_until[bank_code] = _UNTIL_OPENED if seconds is None else now + timedelta(seconds=seconds)

    def open(self, bank_code: str) -> None:
        """Payouts are taken again."""
        self._closed_until.pop(bank_code, None)

    def is_open(self, bank_code: str, now: datetime) -> bool:
        """Whether payouts are taken."""
        until = self._closed_until.get(bank_code)
        return until is None or now >= until

    def close_desk(self, bank_code: str, now: datetime, seconds: float | None = None) -> None:
        """For so long, or until `open_desk`: no quotes, and deals are declined with DESK_CLOSED."""
        self._desk_closed_until[bank_code] = _UNTIL_OPENED if seconds is None else now + timedelta(seconds=seconds)

    def open_desk(self, bank_code: str) -> None:
        """The FX desk deals again."""
        self._desk_closed_until.pop(bank_code, None)

    def is_desk_open(self, bank_code: str, now: datetime) -> bool:
        """Whether the FX desk deals."""
        until = self._desk_closed_until.get(bank_code)
        return until is None or now >= until

    def take_down(self, bank_code: str | None, now: datetime, seconds: float) -> None:
        """One bank, or all, answer nothing for so long; 0 ends it."""
        for code in BANK_NAMES if bank_code is None else (bank_code,):
            self._down_until[code] = now + timedelta(seconds=seconds)

    def is_down(self, bank_code: str, now: datetime) -> bool:
        """Whether it answers nothing."""
        until = self._down_until.get(bank_code)
        return until is not None and now < until

    def shown(self, now: datetime) -> dict[str, dict[str, object]]:
        """`{bank: {open, closed_until, up, desk_open, desk_closed_until}}`; an end that nobody knows is None, too."""
        return {code: self._shown(code, now) for code in BANK_NAMES}

    def _shown(self, bank_code: str, now: datetime) -> dict[str, object]:
        return {
            "open": self.is_open(bank_code, now),
            "closed_until": _shown_end(self._closed_until.get(bank_code), now),
            "up": not self.is_down(bank_code, now),
            "desk_open": self.is_desk_open(bank_code, now),
            "desk_closed_until": _shown_end(self._desk_closed_until.get(bank_code), now),
        }


def _shown_end(until: datetime | None, now: datetime) -> str | None:
    if until is None or until == _UNTIL_OPENED or now >= until:
        return None
    return until.astimezone(SHANGHAI).isoformat(timespec="milliseconds")
