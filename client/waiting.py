"""Reads a resource until it is as wanted, the more slowly the longer that takes and the less there is to expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .core import Ask, Core, Flow, Pause
from .errors import StillWaitingError
from .models import Waitable
from .states import WaitReason

W = TypeVar("W", bound=Waitable)

PATIENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _GROWTH = 0.2, 1.5
# How long a pause becomes at most; for everything else a few seconds.
_LONGEST_PAUSE_SECONDS: dict[str | None, float] = {
    WaitReason.PAYER_CODE: 1.0,
    WaitReason.PROCESS_START: 1.0,
    WaitReason.ISSUER_ANSWER: 1.0,
    WaitReason.OPERATOR: 30.0,
    WaitReason.AUTHORITY_ORDER: 30.0,
    WaitReason.REVIEW: 30.0,
    WaitReason.EVIDENCE: 30.0,
    WaitReason.COOLING_OFF: 30.0,
    WaitReason.BANK_WINDOW: 30.0,
    WaitReason.SCREENING: 30.0,
    WaitReason.FREEZE: 30.0,
    WaitReason.PARTNER: 30.0,
}
_USUAL_PAUSE_SECONDS = 3.0


def is_done(resource: Waitable) -> bool:
    """It waits for nothing: it is final, or, a card, open."""
    return not resource.is_waiting


def is_done_or_needs_code(resource: Waitable) -> bool:
    """It is done, or cannot go on without the payer's code."""
    return not resource.is_waiting or resource.needs_code


def wait_until(core: Core, ask: Ask[W], until: Callable[[W], bool], within_seconds: float) -> Flow[W]:
    """The resource as wanted. Raises StillWaitingError with the last reading."""
    deadline = core.monotonic() + within_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        found = yield from core.perform(ask)
        if until(found):
            return found
        left = deadline - core.monotonic()
        if left <= 0:
            raise StillWaitingError(found, within_seconds)
        reason = found.waiting_for.reason if found.waiting_for else None
        longest = _LONGEST_PAUSE_SECONDS.get(reason, _USUAL_PAUSE_SECONDS)
        yield Pause(min(pause, longest, left))
        pause *= _GROWTH
