"""What the routes of the operators' API are handed: one value, wired by `ops/app.py` and by the tests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from api.rate_limits import RateLimits
from api.services import Clock, IdSource, UninterruptedWork
from domain.closing import ClosingRules, Contact
from domain.fx_rules import FxRules
from domain.identifiers import IdPrefix, identifier
from domain.retention import RetentionRules
from ops.credentials import Passwords, SecondFactors
from storage.operators import ActRecords, Operators
from storage.ops_reading import OpsReading
from vault.retention_reading import RetentionReader
from vault.vault import Vault
from workflows.starting import Processes


@dataclass(frozen=True)
class SessionRules:
    """How long what proves a person is good, and how fast it may be guessed at."""

    session: timedelta = timedelta(hours=8)
    idle: timedelta = timedelta(minutes=30)
    credentials: timedelta = timedelta(days=90)
    enrolment: timedelta = timedelta(days=3)
    attempts_a_login: int = 5
    attempts_an_address: int = 30


class Acquaintances:
    """Tokens that were good a moment ago: who shows another one counts as a stranger until it is found good."""

    def __init__(self, most: int = 1000) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def knows(self, token_hash: str) -> bool:
        return token_hash in self._known

    def learn(self, token_hash: str) -> None:
        self._known[token_hash] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, token_hash: str) -> None:
        self._known.pop(token_hash, None)


@dataclass(frozen=True)
class OpsServices:
    """Everything a route may use; one instance a process. `engine` is that of the ops role."""

    clock: Clock
    ids: IdSource
    engine: AsyncEngine
    operators: Operators
    records: ActRecords
    reading: OpsReading
    vault: Vault
    processes: Processes
    passwords: Passwords
    second_factors: SecondFactors
    rate_limits: RateLimits
    fx_rules: FxRules
    closing_rules: ClosingRules
    retention_rules: RetentionRules
    contact: Contact
    retained: RetentionReader
    temporal_namespace: str
    ready: Mapping[str, Callable[[], Awaitable[bool]]]
    rules: SessionRules = SessionRules()
    acquaintances: Acquaintances = field(default_factory=Acquaintances)
    work: UninterruptedWork = field(default_factory=UninterruptedWork)

    @property
    def requests(self) -> ActRecords:
        """Where the envelope records what did not get as far as a call."""
        return self.records

    def new_id(self, prefix: IdPrefix) -> str:
        """A fresh identifier such as `dec_01J…`."""
        return identifier(prefix, self.ids.ulid())


def services_of(request: Request) -> OpsServices:
    """The services of the application that a request came to."""
    services: OpsServices = request.app.state.services
    return services
