"""The rules of webhooks: which addresses may be called, which events there are, when an attempt is made again.

Notices are never a condition of a payment: whatever happens to them, its state stays what it is (A4.1b).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

# Events

EVENT_TYPES = (
    "payment.accepted",
    "payment.code_sent",
    "payment.confirmed",
    "payment.succeeded",
    "payment.failed",
    "payment.closed",
    "payment.unknown",
    "payment.waits_for_operator",
    "payment.late_success",
    "payment.late_refunded",
    "payment.corrected",
    "refund.accepted",
    "refund.succeeded",
    "refund.failed",
    "refund.unknown",
    "refund.waits_for_operator",
    "binding.accepted",
    "binding.code_sent",
    "binding.opened",
    "binding.declined",
    "binding.expired",
    "binding.unbinding",
    "binding.unbound",
    "payout.accepted",
    "payout.confirmed",
    "payout.closed",
    "payout.delayed",
    "payout.under_review",
    "payout.evidence_requested",
    "payout.scheduled",
    "payout.rescheduled",
    "payout.stopped",
    "payout.resumed",
    "payout.unknown",
    "payout.waits_for_operator",
    "payout.succeeded",
    "payout.failed",
    "payout.refused",
    "payout.returned",
    "receiving_account.accepted",
    "receiving_account.opened",
    "receiving_account.declined",
    "receiving_account.closed",
    "inbound.credited",
    "fx_mandate.accepted",
    "fx_mandate.ended",
    "fx.accepted",
    "fx.scheduled",
    "fx.rescheduled",
    "fx.split",
    "fx.stopped",
    "fx.resumed",
    "fx.unknown",
    "fx.waits_for_operator",
    "fx.converted",
    "fx.settled",
    "fx.refused",
    "fx.released",
    "fx.returning",
    "fx.returned",
    "fx.return_failed",
    "fx.reversed",
    "closure.accepted",
    "closure.identity_verified",
    "closure.granted",
    "closure.closing",
    "closure.unsigning",
    "closure.ended",
    "closure.completed",
    "closure.refused",
    "dispute.opened",
    "dispute.resolved",
    "settlement.reported",
    "settlement.paid",
    "settlement.failed",
    "webhook_endpoint.disabled",
    "webhook_endpoint.test",
)
_FILTERS = frozenset(EVENT_TYPES) | {f"{name.partition('.')[0]}.*" for name in EVENT_TYPES}


def is_event_filter(text: str) -> bool:
    """Whether a text names a type of event, or a family of them as `payment.*` does."""
    return text in _FILTERS


# Endpoints

MAX_ENDPOINTS = 10
MAX_URL_LENGTH = 500
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
DEFAULT_OVERLAP, MAX_OVERLAP = timedelta(hours=24), timedelta(days=7)
MAX_SECRETS = 3
MAX_REPLAYED = 1000
MAX_REPLAY_SPAN = timedelta(days=31)

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What a browser would read as an IPv4 address in one of its old notations: 2130706433, 0x7f.1, 127.1
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNPRINTABLE = re.compile(r"[^!-~]")
_LOWEST_FREE_PORT = 1024


class UrlFault(StrEnum):
    """Why an address cannot be an endpoint's."""

    MALFORMED = "wrong_format"
    TOO_LONG = "too_long"
    NOT_HTTPS = "not_https"
    USER_INFO = "holds_user_name"
    FRAGMENT = "holds_fragment"
    HOST = "host_not_allowed"
    PORT = "port_not_allowed"


def url_fault(url: str, *, private_networks: bool) -> UrlFault | None:
    """What is wrong with an endpoint's address by its form alone; where its name leads is looked at on every attempt.

    `https` with a host name or a public address literal; `http` and any host where private networks are allowed.
    """
    parts = _split(url)
    if len(url) > MAX_URL_LENGTH or parts is None:
        return UrlFault.TOO_LONG if len(url) > MAX_URL_LENGTH else UrlFault.MALFORMED
    is_https = parts.scheme == "https" or (private_networks and parts.scheme == "http")
    checks = (
        (is_https, UrlFault.NOT_HTTPS),
        ("@" not in parts.netloc, UrlFault.USER_INFO),
        ("#" not in url, UrlFault.FRAGMENT),
        (_is_host(parts.hostname or "", private_networks=private_networks), UrlFault.HOST),
        (_is_port(parts.port, private_networks=private_networks), UrlFault.PORT),
    )
    return next((fault for holds, fault in checks if not holds), None)


def _split(url: str) -> SplitResult | None:
    # A backslash is a slash to some readers and part of a host to others.
    if _UNPRINTABLE.search(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        # What stands in brackets is an address; RFC 3986 leaves room for more, and clients do not.
        is_literal = "[" not in parts.netloc or address_of(parts.hostname or "") is not None
        usable = bool(parts.hostname) and parts.port != 0 and is_literal
    except ValueError:
        return None
    return parts if usable else None


def _is_host(host: str, *, private_networks: bool) -> bool:
    literal = address_of(host)
    if literal is not None:
        return is_address_allowed(literal, private_networks=private_networks)
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
        return False
    return private_networks or (len(labels) > 1 and labels[-1] not in ("localhost", "local", "internal"))


def _is_port(port: int | None, *, private_networks: bool) -> bool:
    return port in (None, 443) or private_networks or (port or 0) >= _LOWEST_FREE_PORT


# Addresses

Address = IPv4Address | IPv6Address
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def address_of(text: str) -> Address | None:
    """An address literal as a value; None for a name, and for every notation but the strict ones."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_address_allowed(address: Address, *, private_networks: bool) -> bool:
    """Whether a notice may be sent there (P3.1b): public addresses only, also inside of what embeds an IPv4 address.

    Where private networks are allowed, loopback and private ones too; link-local ones, where clouds keep their
    credentials, never.
    """
    embedded = _embedded(address)
    if embedded is not None:
        return is_address_allowed(embedded, private_networks=private_networks)
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if private_networks and (address.is_private or address.is_loopback):
        return True
    return _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_reserved


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour if address in _SIX_TO_FOUR else None


def allowed_addresses(addresses: Iterable[Address], *, private_networks: bool) -> tuple[Address, ...]:
    """Where one may connect: all addresses of a name, or none at all if any of them is not allowed."""
    found = tuple(addresses)
    return found if all(is_address_allowed(item, private_networks=private_networks) for item in found) else ()


# Secrets


def secret_place(endpoint_id: str, secret_id: str) -> Sequence[str | int]:
    """Where a sealed secret belongs: it opens for this endpoint and under this name only."""
    return ("webhook secret", endpoint_id, secret_id)


def shown_secret(secret: bytes) -> str:
    """A secret as a merchant gets it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")


# Attempts

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
# The pause after the first failure, after the second, and so on: fifteen attempts in a little over three days.
RETRY_PAUSES = (
    5 * SECOND,
    30 * SECOND,
    2 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    1 * HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    12 * HOUR,
    12 * HOUR,
    12 * HOUR,
    12 * HOUR,
    8 * HOUR + 30 * MINUTE,
)
MAX_ATTEMPTS = len(RETRY_PAUSES) + 1
# A pause is made longer by up to a fifth, so that what failed together does not come again together.
JITTER_PERCENT = 20
# An endpoint that nothing has reached for so long is disabled.
DISABLED_AFTER = timedelta(days=3)
# One that comes back after so long gets what it missed at once, not when each pause of hours is over.
RECOVERED_AFTER = 15 * MINUTE
# Tries that come early because of that do not use up the schedule; this ends it in any case.
GIVEN_UP_AFTER = timedelta(days=4)
MAX_RETRY_AFTER = 1 * HOUR
# Longer than an attempt and its record take, however slow both are.
LEASE = timedelta(seconds=30)
ATTEMPT_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS = 10.0, 5.0
MAX_EXCERPT_BYTES = 2048
MAX_EXCERPT_CHARACTERS = 500
# An endpoint that takes longer is slow: it keeps one slot, as one that fails does.
SLOW_SECONDS = 3
HEALTHY_SLOTS, FAILING_SLOTS = 4, 1
KEPT_DELIVERIES = timedelta(days=90)


class Outcome(StrEnum):
    """What an attempt means for its delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"


_GONE = 410
_ASKED_TO_WAIT = (429, 503)


def outcome_of(status: int | None) -> Outcome:
    """2xx is delivered, 410 ends the endpoint, everything else is tried again; a redirect is a failure like any."""
    if status is not None and 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.GONE if status == _GONE else Outcome.RETRY


def retry_pause(
    failures: int, age: timedelta, jitter_percent: int, retry_after: timedelta | None = None
) -> timedelta | None:
    """How long to wait after the `failures`-th failure (from 1) of a delivery of this age; None when it is given up.

    `jitter_percent` from 0 to 20 comes from a source of chance. `retry_after` is what the endpoint asked for: never
    sooner than the schedule says, and up to an hour later.
    """
    if failures > len(RETRY_PAUSES) or age >= GIVEN_UP_AFTER:
        return None
    pause = RETRY_PAUSES[failures - 1]
    pause += pause * jitter_percent // 100
    return max(pause, min(retry_after, MAX_RETRY_AFTER)) if retry_after is not None else pause


def read_retry_after(status: int | None, header: str | None) -> timedelta | None:
    """The `Retry-After` of a 429 or 503 in seconds; dates and nonsense count as none."""
    if status not in _ASKED_TO_WAIT or header is None or re.fullmatch(r"[0-9]{1,6}", header.strip()) is None:
        return None
    return timedelta(seconds=int(header))


def excerpt(body: bytes) -> str:
    """What is kept of an answer: a few hundred printable characters."""
    text = body[:MAX_EXCERPT_BYTES].decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown[:MAX_EXCERPT_CHARACTERS].strip()
