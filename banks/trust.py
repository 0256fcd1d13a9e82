"""Whom a process trusts to say who a bank is: read once, because the list of all authorities takes long to read."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted_authorities() -> ssl.SSLContext:
    """What httpx trusts by itself, without regard to the environment; shared by all clients of the process."""
    return httpx.create_ssl_context(trust_env=False)
