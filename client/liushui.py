"""The two clients: `Liushui` for plain code, `AsyncLiushui` for asyncio. They differ in nothing but that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self

import httpx

from .balances import Balances
from .bindings import Bindings
from .closures import Closures
from .core import DEFAULT_TIMEOUT, Ask, Core, Flow, Pause, Send, Settings, check_line
from .disputes import Disputes
from .events import Events
from .fx import Fx
from .fx_mandates import FxMandates
from .inbounds import Inbounds
from .models import Plain
from .nouns import Async, Carrier, Mode, Sync
from .payees import Payees
from .payments import Payments
from .payouts import Payouts
from .receiving_accounts import ReceivingAccounts
from .refunds import Refunds
from .reports import Reports
from .retries import Retries
from .settlements import Settlements
from .signing import SigningKey
from .signing_keys import SigningKeys
from .users import Users
from .waiver import Waiver
from .webhook_endpoints import WebhookEndpoints


class _Nouns(Generic[Mode]):
    """What both clients offer."""

    core: Core

    def __init__(self, core: Core, carrier: Carrier) -> None:
        self.core = core
        self.users: Users[Mode] = Users(carrier)
        self.bindings: Bindings[Mode] = Bindings(carrier)
        self.payments: Payments[Mode] = Payments(carrier)
        self.refunds: Refunds[Mode] = Refunds(carrier)
        self.payees: Payees[Mode] = Payees(carrier)
        self.payouts: Payouts[Mode] = Payouts(carrier)
        self.receiving_accounts: ReceivingAccounts[Mode] = ReceivingAccounts(carrier)
        self.inbounds: Inbounds[Mode] = Inbounds(carrier)
        self.fx_mandates: FxMandates[Mode] = FxMandates(carrier)
        self.fx: Fx[Mode] = Fx(carrier)
        self.settlements: Settlements[Mode] = Settlements(carrier)
        self.reports: Reports[Mode] = Reports(carrier)
        self.disputes: Disputes[Mode] = Disputes(carrier)
        self.closures: Closures[Mode] = Closures(carrier)
        self.balances: Balances[Mode] = Balances(carrier)
        self.waiver: Waiver[Mode] = Waiver(carrier)
        self.events: Events[Mode] = Events(carrier)
        self.signing_keys: SigningKeys[Mode] = SigningKeys(carrier)
        self.webhook_endpoints: WebhookEndpoints[Mode] = WebhookEndpoints(carrier)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.core.settings.base_url!r})"


class Liushui(_Nouns[Sync]):
    """`with Liushui(address, api_key, signing_key) as client: client.payments.get("pay_…")`.

    One instance serves many threads. `http` is your own httpx.Client, which stays yours to close; without it the
    address has to be https://, or of this machine. Every call raises LiushuiError.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        signing_key: SigningKey | None = None,
        *,
        retries: Retries | None = None,
        timeout: httpx.Timeout = DEFAULT_TIMEOUT,
        http: httpx.Client | None = None,
    ) -> None:
        if http is None:
            check_line(base_url)
        super().__init__(Core(Settings(base_url, api_key, signing_key, retries or Retries(), timeout)), self)
        self._is_own = http is None
        self._http = http or httpx.Client()

    def carry_out(self, flow: Flow[Any]) -> Any:
        """Does what a flow asks for until it returns its answer."""
        step = _begin(flow)
        while not isinstance(step, _End):
            given: httpx.Response | None = None
            failure: httpx.TransportError | None = None
            try:
                given = self._take(step)
            except httpx.TransportError as error:
                failure = error
            # Not in the handler: the request, with all that it holds, would become the context of our own error.
            step = _go_on(flow, given, failure)
        return step.answer

    def pages(self, ask: Ask[Any]) -> Iterator[Any]:
        """Every item of every page."""
        cursor: str | None = None
        while True:
            page = self.carry_out(self.core.perform(_at(ask, cursor)))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """For what this version has no method for: signed, retried and judged like everything else."""
        answer: Plain = self.carry_out(self.core.perform(_plain(method, path, body, idempotency_key)))
        return answer.as_dict()

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> httpx.Response:
        """As `request`, and the response as it came: a refusal is no error here."""
        response: httpx.Response = self.carry_out(self.core.raw(_plain(method, path, body, idempotency_key)))
        return response

    def close(self) -> None:
        """Closes the connections, if they are this client's own."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self._http.send(step.request, follow_redirects=False)


class AsyncLiushui(_Nouns[Async]):
    """`async with AsyncLiushui(address, api_key, signing_key) as client: await client.payments.get("pay_…")`.

    As `Liushui`, for one event loop; lists are for `async for`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        signing_key: SigningKey | None = None,
        *,
        retries: Retries | None = None,
        timeout: httpx.Timeout = DEFAULT_TIMEOUT,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        if http is None:
            check_line(base_url)
        super().__init__(Core(Settings(base_url, api_key, signing_key, retries or Retries(), timeout)), self)
        self._is_own = http is None
        self._http = http or httpx.AsyncClient()

    async def carry_out(self, flow: Flow[Any]) -> Any:
        """Does what a flow asks for until it returns its answer."""
        step = _begin(flow)
        while not isinstance(step, _End):
            given: httpx.Response | None = None
            failure: httpx.TransportError | None = None
            try:
                given = await self._take(step)
            except httpx.TransportError as error:
                failure = error
            # Not in the handler: the request, with all that it holds, would become the context of our own error.
            step = _go_on(flow, given, failure)
        return step.answer

    async def pages(self, ask: Ask[Any]) -> AsyncIterator[Any]:
        """Every item of every page."""
        cursor: str | None = None
        while True:
            page = await self.carry_out(self.core.perform(_at(ask, cursor)))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """For what this version has no method for: signed, retried and judged like everything else."""
        answer: Plain = await self.carry_out(self.core.perform(_plain(method, path, body, idempotency_key)))
        return answer.as_dict()

    async def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> httpx.Response:
        """As `request`, and the response as it came: a refusal is no error here."""
        response: httpx.Response = await self.carry_out(self.core.raw(_plain(method, path, body, idempotency_key)))
        return response

    async def close(self) -> None:
        """Closes the connections, if they are this client's own."""
        if self._is_own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _take(self, step: Send | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self._http.send(step.request, follow_redirects=False)


class _End:
    """A flow has returned."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


def _begin(flow: Flow[Any]) -> Send | Pause | _End:
    return _go_on(flow, None, None)


def _go_on(flow: Flow[Any], given: object, error: Exception | None) -> Send | Pause | _End:
    try:
        return flow.send(given) if error is None else flow.throw(error)
    except StopIteration as end:
        return _End(end.value)


def _at(ask: Ask[Any], cursor: str | None) -> Ask[Any]:
    return ask if cursor is None else replace(ask, query={**ask.query, "cursor": cursor})


def _plain(method: str, path: str, body: Mapping[str, Any] | None, idempotency_key: str | None) -> Ask[Plain]:
    is_command = method not in ("GET", "HEAD") and not path.endswith("/preview")
    return Ask(method, path, Plain, body, is_command=is_command, idempotency_key=idempotency_key)
