"""What limits a payment: the user's own limits, and the issuer's on the card (A2.5c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.calls import Call
from domain.limits import LimitSet, LimitWindow, windows_to_take
from storage.reading import CardOfBinding

SubjectAndCaps = tuple[str, LimitSet]


def limits_of(call: Call, user_id: str, card: CardOfBinding | None) -> list[SubjectAndCaps]:
    """The subjects that a payment is counted against. A card keeps its count when it is bound anew."""
    found: list[SubjectAndCaps] = [(f"user:{user_id}", call.services.policy.quick_pay_user_limits)]
    if card is not None:
        found.append((f"card:{card.card_index}", call.services.banks.limits(card.bank_code)))
    return found


async def user_limits(call: Call, user_id: str, card: CardOfBinding | None = None) -> list[dict[str, Any]]:
    """Limit and what is left of it, for each subject and window."""
    limits = limits_of(call, user_id, card)
    windows = windows_to_take(limits, 0, call.now)
    return _shown(limits, windows, await call.services.reading.used(windows))


def _shown(
    limits: Sequence[SubjectAndCaps], windows: Sequence[LimitWindow], used: Sequence[int]
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for subject, caps in limits:
        most = caps.per_transaction_minor
        entries.append(_entry(subject, "transaction", most, most, None))
        entries += [
            _entry(subject, w.window_kind, w.cap_minor, max(0, w.cap_minor - taken), w.window_start.isoformat())
            for w, taken in zip(windows, used, strict=True)
            if w.subject == subject
        ]
    return entries


def _entry(subject: str, window: str, limit: int, remaining: int, start: str | None) -> dict[str, Any]:
    return {
        "subject": subject.partition(":")[0],
        "window": window,
        "limit_minor": limit,
        "remaining_minor": remaining,
        "window_start": start,
    }
