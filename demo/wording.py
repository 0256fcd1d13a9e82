"""How the demo says amounts, counts and ends."""

from __future__ import annotations

from client import Binding, Payment, Payout, Refund
from domain.money import format_amount


def amount(minor: int) -> str:
    """An amount in CNY."""
    return format_amount(minor, "CNY")


def times(count: int) -> str:
    """How often."""
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def ended(seen: Binding | Payment | Refund | Payout) -> str:
    """How something ended, and why if there is more to say."""
    return f"{seen.state} ({seen.reason})" if seen.reason else str(seen.state)


def short(seen: Payment | Refund | Payout) -> str:
    """An identifier for the ear."""
    return f"…{seen.id[-6:]}"
