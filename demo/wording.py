"""How the demo says amounts, counts and ends."""

from __future__ import annotations

from client import Binding, Closure, Conversion, Payment, Payout, ReceivingAccount, Refund
from domain.money import format_amount


def amount(minor: int, currency: str = "CNY") -> str:
    """An amount as people write it."""
    return format_amount(minor, currency)


def times(count: int) -> str:
    """How often."""
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def ended(seen: Binding | Payment | Refund | Payout | ReceivingAccount | Conversion | Closure) -> str:
    """How something ended, and why if there is more to say."""
    return f"{seen.state} ({seen.reason})" if seen.reason else str(seen.state)


def short(seen: Payment | Refund | Payout | Conversion) -> str:
    """An identifier for the ear."""
    return f"…{seen.id[-6:]}"
