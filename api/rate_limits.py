"""How much one merchant may ask for, and one address that shows no key (A7.8); counted in this process alone.

Library `limits`, sliding windows. With n processes the quota is n times as large (docs/decisions/0009).
"""

from __future__ import annotations

import math
import time
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request

from domain.errors import DomainError, ErrorCode
from domain.policy import RatePolicy

_MONEY_COMMANDS = frozenset(
    {"accept_payment", "accept_refund", "accept_payout", "confirm_payout", "accept_fx", "dispose_of_fx"}
)


class Quota(StrEnum):
    """What is counted apart, by the name that the RateLimit headers give it."""

    READS = "reads"
    COMMANDS = "commands"
    MONEY_COMMANDS = "money_commands"
    UNAUTHENTICATED = "unauthenticated"


class Standing(NamedTuple):
    """Where somebody stands towards a quota, after asking."""

    quota: Quota
    is_within: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    # Of several refusals in a window one goes on record.
    is_first_refusal: bool = False

    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit` (IETF draft of the HTTPAPI group)."""
        return {
            "RateLimit-Policy": f'"{self.quota}";q={self.limit};w={self.window_seconds}',
            "RateLimit": f'"{self.quota}";r={self.remaining};t={self.reset_seconds}',
        }


class RateLimitedError(DomainError):
    """Asked too often."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, retry_after_seconds=standing.reset_seconds)


def quota_of(action: str, *, is_command: bool) -> Quota:
    """Which quota an operation counts towards."""
    if not is_command:
        return Quota.READS
    return Quota.MONEY_COMMANDS if action in _MONEY_COMMANDS else Quota.COMMANDS


class RateLimits:
    """Counts requests; one instance a process."""

    def __init__(self, policy: RatePolicy) -> None:
        window = policy.window_seconds
        self._limits: dict[Quota, RateLimitItem] = {
            quota: RateLimitItemPerSecond(getattr(policy, quota.value), window, namespace=quota.value)
            for quota in Quota
        }
        self._once: dict[Quota, RateLimitItem] = {
            quota: RateLimitItemPerSecond(1, window, namespace=f"record {quota.value}") for quota in Quota
        }
        # Apart, so that many addresses make no merchant's request slower.
        self._merchants = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._addresses = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def take(self, quota: Quota, whom: str) -> Standing:
        """Counts one request of a merchant, or of an address (`UNAUTHENTICATED`)."""
        counter = self._addresses if quota is Quota.UNAUTHENTICATED else self._merchants
        limit = self._limits[quota]
        is_within = await counter.hit(limit, whom)
        reset_time, remaining = await counter.get_window_stats(limit, whom)
        return Standing(
            quota,
            is_within,
            limit.amount,
            limit.get_expiry(),
            max(0, remaining) if is_within else 0,
            max(1, math.ceil(reset_time - time.time())),
            not is_within and await counter.hit(self._once[quota], whom),
        )


def address_of(request: Request) -> str:
    """Where a request comes from; an IPv6 network counts as one, because its owner has all of its addresses."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or f"{IPv6Address(int(address) >> 64 << 64)}/64")
