"""Waiting until an instant, or until somebody says that what is waited for may have changed."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow


class Waker:
    """A word that comes while the process is busy is not lost: the next wait is over at once."""

    def __init__(self) -> None:
        self._woken = False

    @property
    def is_woken(self) -> bool:
        """Whether a word has come that no wait has taken yet."""
        return self._woken

    def wake(self) -> None:
        """Something may have changed."""
        self._woken = True

    async def woken_by(self, instant: datetime, why: str) -> bool:
        """Waits; True if a word came before the instant did. One durable timer, and nothing else, while it lasts."""
        left = instant - workflow.now()
        if left.total_seconds() > 0:
            try:
                await workflow.wait_condition(lambda: self._woken, timeout=left, timeout_summary=why)
            except TimeoutError:
                return False
        woken, self._woken = self._woken, False
        return woken
