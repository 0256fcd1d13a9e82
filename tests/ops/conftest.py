"""The operators' API over real databases, with people who log in, and processes that a test plays itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pyrage import x25519

from api.rate_limits import RateLimits
from config.policy import read_policy
from config.roles import read_roles
from domain.policy import Policy
from domain.roles import RoleBook
from ops.application import build
from ops.credentials import PasswordCost, Passwords, SecondFactors
from ops.direct_enrolment import DirectCredentials, enrol_directly
from ops.services import OpsServices, SessionRules
from runtime.id_source import UlidSource
from storage.administration import register_institution
from storage.database import create_engine
from storage.operators import ActRecords, Operators
from storage.ops_reading import OpsReading
from tests.api.conftest import FakeClock, FakeProcesses, stage
from tests.applications import Applications
from tests.conftest import Database
from vault.retention_reading import RetentionReader
from vault.sealing import MasterKeys
from vault.vault import Vault
from wiring import read_bank_register

# The merchants' API as a fixture here too, for tests that need both.
__all__ = ["OpsStage", "Person", "open_ops_stage", "ops", "stage"]

OPERATOR_KEY = b"o" * 32
RETENTION_KEY = str(x25519.Identity.generate())
# As strong as a test needs it; the parameters stand in every hash.
CHEAP = PasswordCost(iterations=1, memory_kib=64)
ROLES = RoleBook.model_validate(read_roles())
POLICY = Policy.model_validate(read_policy())
# A test asks more often in a second than people do in a minute.
PLENTY = {"unauthenticated": 100_000}
_APPLICATIONS = Applications(partial(build, needs_tls=False))
_numbers = count(1)


@dataclass
class Person:
    """Somebody with credentials, and a session once logged in."""

    http: httpx.AsyncClient
    clock: FakeClock
    credentials: DirectCredentials
    token: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        return self.credentials.operator_id

    @property
    def login(self) -> str:
        return self.credentials.login

    @property
    def actor(self) -> str:
        """As records name this person."""
        return f"operator:{self.login}"

    async def log_in(self, **other: str) -> httpx.Response:
        """With the code that the authenticator shows now; each is good once, so move the clock between two."""
        body = {"login": self.login, "password": self.credentials.password}
        body |= {"totp": self.credentials.code(self.clock.now())} | other
        answer = await self.http.post("/ops/v1/login", json=body)
        if answer.status_code == 200:
            self.token = answer.json()["token"]
        return answer

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.http.get(f"/ops/v1{path}", params=query or None, headers=self.headers)

    async def post(self, path: str, body: Any = None) -> httpx.Response:
        return await self.http.post(f"/ops/v1{path}", json=body, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class OpsStage:
    """Everything on which a test plays."""

    database: Database
    services: OpsServices
    clock: FakeClock
    processes: FakeProcesses
    http: httpx.AsyncClient
    ids: UlidSource

    async def operator(self, *roles: str, login: str = "", logged_in: bool = True, **options: Any) -> Person:
        """Somebody with these roles, logged in."""
        credentials = await enrol_directly(
            self.database.owner_engine,
            OPERATOR_KEY,
            login or f"{roles[0][:20]}{next(_numbers)}",
            roles,
            ulid=self.ids.ulid(),
            now=self.clock.now(),
            passwords=self.services.passwords,
            **options,
        )
        person = Person(self.http, self.clock, credentials)
        if logged_in:
            answer = await person.log_in()
            assert answer.status_code == 200, answer.text
        return person

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.database.owner_engine.begin() as connection:
            found = await connection.execute(sa.text(statement), parameters)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def records(self, **where: str) -> list[dict[str, Any]]:
        """The operation records that have these values."""
        condition = " AND ".join(f"{name} = :{name}" for name in where) or "true"
        return await self.rows(f"SELECT * FROM app.operation WHERE {condition} ORDER BY id", **where)  # noqa: S608

    def openapi(self) -> dict[str, Any]:
        document: dict[str, Any] = self.http._transport.app.openapi()  # type: ignore[attr-defined]
        return document


@pytest.fixture
async def ops(database: Database) -> AsyncIterator[OpsStage]:
    async with open_ops_stage(database) as stage:
        yield stage


@asynccontextmanager
async def open_ops_stage(
    database: Database, clock: FakeClock | None = None, processes: FakeProcesses | None = None
) -> AsyncIterator[OpsStage]:
    """Over a database of its own, or one on which another stage plays too."""
    clock, processes, ids = clock or FakeClock(), processes or FakeProcesses(), UlidSource()
    await register_institution(
        database.owner_engine,
        POLICY,
        read_bank_register().banks,
        clock.now(),
        ROLES,
    )
    async with AsyncExitStack() as stack:
        main, keys = create_engine(database.ops_url), create_engine(database.key_ops_url)
        stack.push_async_callback(main.dispose)
        stack.push_async_callback(keys.dispose)
        retained = create_engine(database.retention_url)
        stack.push_async_callback(retained.dispose)
        services = OpsServices(
            clock=clock,
            ids=ids,
            engine=main,
            operators=Operators(main),
            records=ActRecords(main),
            reading=OpsReading(main),
            vault=Vault(
                main=main, keys=keys, master_keys=MasterKeys([b"m" * 32]), index_key=b"i" * 32, clock=clock.now
            ),
            processes=processes,  # type: ignore[arg-type]
            passwords=Passwords(CHEAP),
            second_factors=SecondFactors(OPERATOR_KEY),
            rate_limits=RateLimits(POLICY.rate_limits.model_copy(update=PLENTY)),
            fx_rules=POLICY.fx,
            closing_rules=POLICY.closing,
            retention_rules=POLICY.retention,
            contact=POLICY.contact,
            retained=RetentionReader(retained, keys, RETENTION_KEY, clock.now),
            temporal_namespace="liushui",
            ready={},
            rules=SessionRules(),
        )
        app = await stack.enter_async_context(_APPLICATIONS.started(services))
        transport = httpx.ASGITransport(app=app)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://ops.test"))
        yield OpsStage(database, services, clock, processes, http, ids)
