"""Where new identifiers come from: ULIDs, for `domain.identifiers.identifier(prefix, ulid)`."""

from __future__ import annotations

import time
from collections.abc import Callable

from ulid import ULIDGenerator


class UlidSource:
    """Sorts by creation within one process, also inside a millisecond and when the clock steps back."""

    def __init__(self, milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._milliseconds = milliseconds
        self._latest = 0
        self._generator = ULIDGenerator(clock=self._never_backwards)

    def ulid(self) -> str:
        """26 characters of Crockford's base 32; 48 bits of time, 80 bits of chance."""
        return str(self._generator.generate())

    def _never_backwards(self) -> int:
        self._latest = max(self._latest, self._milliseconds())
        return self._latest
