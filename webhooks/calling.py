"""One call to an address that a merchant chose, which may be hostile: it must not reach into our own networks.

The name is resolved here, every address behind it is checked, and the connection goes to exactly the address that was
checked, while host and TLS name stay those of the URL. This is done anew for each call, so that a name that leads
elsewhere today gains nothing. Redirects are not followed, environment proxies, cookies and shared connections are not
used, and of the answer only the beginning is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from domain.webhooks import (
    ATTEMPT_TIMEOUT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    MAX_EXCERPT_BYTES,
    Address,
    address_of,
    allowed_addresses,
    excerpt,
    url_fault,
)

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
# Names whose servers do not answer hold a thread each for a while; those of other merchants must not wait for one.
_RESOLVING_THREADS = 64
_ANSWER_SECONDS = 2.0
_MOST_ADDRESSES = 4


@dataclass(frozen=True)
class Answer:
    """What came back: a status, or an error code of ours; and the beginning of the body."""

    status: int | None
    error: str | None = None
    retry_after: str | None = None
    body: str | None = None


class SystemResolver:
    """The machine's own resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return [ip_address(address.partition("%")[0]) for address in dict.fromkeys(found)]

    def close(self) -> None:
        """Whoever still waits for a name server is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def plain_transport(verify: ssl.SSLContext | bool = True) -> httpx.AsyncHTTPTransport:
    """Connections of one call each: two endpoints behind one address must not share one made for the other's name."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits, retries=0)


class Caller:
    """Posts a body to an endpoint, and answers whatever happens."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        resolve: Resolve,
        *,
        private_networks: bool,
        timeout_seconds: float = ATTEMPT_TIMEOUT_SECONDS,
    ) -> None:
        self._transport = transport
        self._resolve = resolve
        self._private_networks = private_networks
        self._timeout_seconds = timeout_seconds

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Within the time-out from the first look-up to the status. Never raises for what the other side does."""
        if url_fault(url, private_networks=self._private_networks) is not None:
            return Answer(None, "address_not_allowed")
        try:
            target = httpx.URL(url)
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await self._addresses(target)
                if not addresses:
                    return Answer(None, "address_not_allowed")
                response = await self._send(target, addresses, headers, body)
        except TimeoutError:
            return Answer(None, "timeout")
        except (OSError, httpx.TransportError, httpx.InvalidURL, UnicodeError) as error:
            return Answer(None, _error_code(error))
        return await _read(response)

    async def _addresses(self, target: httpx.URL) -> Sequence[Address]:
        host = _name_of(target)
        literal = address_of(host)
        found = [literal] if literal is not None else await self._resolve(host, target.port or 443)
        return allowed_addresses(found, private_networks=self._private_networks)[:_MOST_ADDRESSES]

    async def _send(
        self, target: httpx.URL, addresses: Sequence[Address], headers: Mapping[str, str], body: bytes
    ) -> httpx.Response:
        """To the first address that takes a connection: where none was made, nothing was sent."""
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._transport.handle_async_request(self._request(target, address, headers, body))
        return await self._transport.handle_async_request(self._request(target, addresses[-1], headers, body))

    def _request(self, target: httpx.URL, address: Address, headers: Mapping[str, str], body: bytes) -> httpx.Request:
        seconds = self._timeout_seconds
        timeouts = {"connect": min(CONNECT_TIMEOUT_SECONDS, seconds), "read": seconds, "write": seconds, "pool": None}
        return httpx.Request(
            "POST",
            target.copy_with(host=str(address)),
            headers={"Host": target.netloc.decode("ascii"), "Accept-Encoding": "identity", "Connection": "close"}
            | dict(headers),
            content=body,
            extensions={"timeout": timeouts, "sni_hostname": _name_of(target).removesuffix(".")},
        )


def _name_of(target: httpx.URL) -> str:
    """As it is in the name system, never in Unicode: resolver and TLS would read that by an older standard, in which
    straße.example is strasse.example, which somebody else may own."""
    return target.raw_host.decode("ascii")


async def _read(response: httpx.Response) -> Answer:
    """The status counts as soon as it is there; a body that does not come changes nothing."""
    head = bytearray()
    with contextlib.suppress(TimeoutError, httpx.TransportError, httpx.StreamError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            async for chunk in response.aiter_raw():
                head += chunk
                if len(head) >= MAX_EXCERPT_BYTES:
                    break
    with contextlib.suppress(TimeoutError, httpx.TransportError, OSError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await response.aclose()
    redirected = "redirect_not_followed" if 300 <= response.status_code < 400 else None
    return Answer(response.status_code, redirected, response.headers.get("retry-after"), excerpt(bytes(head)) or None)


def _error_code(error: BaseException) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "name_not_resolved"
    if isinstance(error, httpx.ConnectTimeout):
        return "connect_timeout"
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    if _is_caused_by(error, ssl.SSLError):
        return "tls_failed"
    return "connect_failed" if isinstance(error, httpx.ConnectError | OSError) else "connection_lost"


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
