"""What the routes are handed: one value that `api/app.py` wires, and the ports behind which other rooms stand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from api.authentication import Callers
from api.rate_limits import RateLimits
from api.signatures import Signatures
from domain.banking import BankConnector
from domain.calendars import Calendar
from domain.fx_banking import FxConnector
from domain.fx_planning import FxPlan
from domain.fx_rules import FxRules
from domain.identifiers import IdPrefix, identifier
from domain.limits import LimitSet
from domain.planning import ReleasePlan
from domain.policy import Policy
from domain.routes import Route
from storage.closure_requests import ClosureRequests
from storage.fx import FxAcceptance
from storage.fx_reading import FxReading
from storage.instructions import Instructions
from storage.payouts import PayoutReading
from storage.reading import Reading
from storage.requests import Requests
from storage.reviews import Reviews
from storage.settlements import SettlementReading
from storage.signing_keys import SigningKeys
from storage.webhooks import Webhooks
from vault.retention import RetentionStore
from vault.vault import Vault
from workflows.starting import Processes

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Clock(Protocol):
    """Where the present instant comes from, aware and in UTC."""

    def now(self) -> datetime: ...


class IdSource(Protocol):
    """Where new ULIDs come from."""

    def ulid(self) -> str: ...


@dataclass(frozen=True)
class CardIssuer:
    """Who issued a card, by its number's prefix."""

    bank_code: str
    card_type: str


class Banks(Protocol):
    """The registered banks."""

    def issuer(self, card_number: str) -> CardIssuer | None: ...

    def limits(self, bank_code: str) -> LimitSet:
        """What the issuer allows one card."""

    def currencies(self, bank_code: str) -> tuple[str, ...]: ...

    def connector(self, bank_code: str) -> BankConnector:
        """Raises `RefusedError(PARTNER_NOT_AVAILABLE)` for an unregistered or disabled bank."""

    def connector_for_sent(self, bank_code: str) -> BankConnector:
        """Also of a disabled bank; raises for an unregistered one."""

    def fx_connector(self, bank_code: str) -> FxConnector:
        """The FX desk of a bank. Raises `RefusedError(PARTNER_NOT_AVAILABLE)` for an unregistered or disabled one."""

    def opens_receiving_accounts(self, bank_code: str, currency: str) -> bool:
        """Whether a registered and enabled bank opens numbers under which this currency reaches one user."""

    def is_overseas(self, bank_code: str) -> bool:
        """Whether what such a bank is told leaves the mainland (P6)."""


class Calendars(Protocol):
    """By which calendars, hours and closures payouts and conversions are planned, and answers are due."""

    async def calendar(self, code: str) -> Calendar:
        """A general calendar in force."""

    async def predict(self, route: Route, bank_code: str, speed: str, earliest: datetime) -> ReleasePlan:
        """When a payout accepted at `earliest` would leave and arrive. Raises RefusedError(SPEED_NOT_OFFERED)."""

    async def plan_fx(
        self, rules: FxRules, desk_bank: str, currency: str, value_date: date | None, earliest: datetime
    ) -> tuple[int, FxPlan]:
        """When a desk may convert, and by which version. Raises KeyError for an unknown desk, NoWindowError."""


@dataclass(frozen=True)
class WebhookRules:
    """How endpoints are taken: the key that seals their secrets, and whether they may be in private networks."""

    key: bytes = field(repr=False)
    private_networks: bool


class UninterruptedWork:
    """Work that goes on when the caller has hung up, and that the process waits for before it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The work's answer; a caller that is cancelled stops waiting, not the work."""
        return await asyncio.shield(self._begin(work))

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work whose outcome nobody waits for; a failure is logged by its type."""
        self._begin(work).add_done_callback(_log_failure)

    async def wait_until_done(self) -> None:
        """For the end of the process: everything that was begun has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background work failed", extra={"reason": type(error).__name__})


@dataclass(frozen=True)
class Services:
    """Everything a route may use; one instance a process."""

    clock: Clock
    ids: IdSource
    policy: Policy
    agreement_text: str
    data_export_text: str
    requests: Requests
    instructions: Instructions
    reading: Reading
    payouts: PayoutReading
    settlements: SettlementReading
    reviews: Reviews
    fx: FxAcceptance
    fx_reading: FxReading
    closures: ClosureRequests
    calendars: Calendars
    # Whether a name in Latin letters is the pinyin of a Chinese one.
    is_spelling_of: Callable[[str, str], bool]
    vault: Vault
    # What the law keeps goes in; nothing comes out.
    retention: RetentionStore
    banks: Banks
    processes: Processes
    signatures: Signatures
    signing_keys: SigningKeys
    rate_limits: RateLimits
    webhooks: Webhooks
    webhook_rules: WebhookRules
    ready: Mapping[str, Callable[[], Awaitable[bool]]]
    work: UninterruptedWork = field(default_factory=UninterruptedWork)
    callers: Callers = field(default_factory=Callers)

    def new_id(self, prefix: IdPrefix) -> str:
        """A fresh identifier such as `pay_01J…`."""
        return identifier(prefix, self.ids.ulid())


def services_of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services
