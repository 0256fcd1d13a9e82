"""What limits a payment or payout: the user's own limits, and those of the other side (A2.5c).

Payouts are counted apart from payments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.calls import Call
from domain.limits import LimitSet, LimitWindow, windows_to_take
from domain.routes import Route
from storage.payouts import StoredPayee
from storage.reading import CardOfBinding

SubjectAndCaps = tuple[str, LimitSet]


def limits_of(call: Call, user_id: str, card: CardOfBinding | None) -> list[SubjectAndCaps]:
    """The subjects that a payment is counted against. A card keeps its count when it is bound anew."""
    found: list[SubjectAndCaps] = [(f"user:{user_id}", call.services.policy.quick_pay_user_limits)]
    if card is not None:
        found.append((f"card:{card.card_index}", call.services.banks.limits(card.bank_code)))
    return found


def payout_limits_of(call: Call, user_id: str, payee: StoredPayee | None, route: Route | None) -> list[SubjectAndCaps]:
    """The subjects that a payout is counted against. An account is one, whoever names it."""
    found: list[SubjectAndCaps] = [(f"user:{user_id}:payout", call.services.policy.payout_user_limits)]
    if payee is not None and route is not None:
        found.append((f"payee:{payee.account_index}", route.payee_limits))
    return found


async def payout_limits(
    call: Call, user_id: str, currency: str, payee: StoredPayee | None, route: Route | None
) -> list[dict[str, Any]]:
    """Limit and what is left of it, for each subject and window of payouts."""
    limits = payout_limits_of(call, user_id, payee, route)
    windows = windows_to_take(limits, 0, call.now)
    return _shown(limits, windows, await call.services.reading.used(windows, currency))


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
