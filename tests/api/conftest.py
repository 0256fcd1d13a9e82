"""The API over real databases, with banks and processes that a test plays itself."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyrage import x25519
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import RegisteredBanks
from api.application import build
from api.rate_limits import RateLimits
from api.services import Services, WebhookRules
from api.signatures import Signatures
from banks.card_prefixes import read_card_prefixes
from banks.directory import BankDirectory, BankRegister
from calendars.book import CalendarBook
from client.signing import SigningKey
from config.policy import export_text, read_agreement, read_policy
from domain import chart
from domain.banking import (
    BankAnswer,
    BankCapabilities,
    BankNotice,
    BankOutcome,
    CallbackRejectedError,
    PaymentCodeVerification,
    SignConfirmation,
)
from domain.fx_banking import FxQuote, QuoteSide, QuoteUnavailableError
from domain.identifiers import BankStep, request_number
from domain.instructions import ClaimEffect
from domain.policy import Policy
from domain.settlement import Settlement
from runtime.id_source import UlidSource
from screening.names import is_spelling_of
from storage.administration import SCOPES, Act, create_merchant, issue_key, register_institution
from storage.batcher import Batcher
from storage.calendars import Calendars
from storage.closure_requests import ClosureRequests
from storage.database import create_engine
from storage.fx import FxAcceptance
from storage.fx_reading import FxReading
from storage.instructions import Instructions
from storage.payouts import PayoutReading
from storage.reading import Reading
from storage.requests import Requests
from storage.reviews import Reviews
from storage.settlements import SettlementReading
from storage.signing_keys import SigningKeys, register
from storage.webhooks import Webhooks
from tests.api.document import api_document
from tests.applications import Applications
from tests.conftest import Database
from vault.evidence import EvidenceSeal
from vault.retention import RetentionStore
from vault.sealing import MasterKeys
from vault.vault import Vault
from wiring import ONE_AT_A_TIME

CONFIG = Path(__file__).parents[2] / "config"
NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)  # 12:00 in Shanghai
ELEMENTS = {
    "name": "张三",
    "id_number": "11010119900307803X",
    "card_number": "9901010000000000018",
    "mobile": "13800138000",
}
_BATCHED = (
    "app.begin_requests",
    "app.accept_payments",
    "app.accept_refunds",
    "app.accept_payouts",
    "app.claim_effects",
    "app.settle",
)
_APPLICATIONS = {needs_tls: Applications(partial(build, needs_tls=needs_tls)) for needs_tls in (False, True)}
# Opens what was handed over to be kept; the API has its public half alone.
RETENTION_IDENTITY = x25519.Identity.generate()
_numbers = count(1)


_SIGNED = ("/refunds", "/payees", "/payouts", "/fx", "/fx_mandates", "/disposal", "/closures", "/records")


@dataclass
class FakeClock:
    """Stands still until a test moves it."""

    instant: datetime = NOON

    def now(self) -> datetime:
        return self.instant

    def advance(self, **by: float) -> None:
        self.instant += timedelta(**by)


@dataclass
class FakeProcesses:
    """Writes down what it was asked to start or tell."""

    started: list[tuple[str, Any]] = field(default_factory=list)
    told: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: bool = True
    takes_notices: bool = True
    bank_record: Any = None

    async def collect_payment(self, order: Any) -> bool:
        return self._start("collect_payment", order)

    async def correct_payment(self, order: Any) -> bool:
        return self._start("correct_payment", order)

    async def refund_payment(self, order: Any) -> bool:
        return self._start("refund_payment", order)

    async def send_payout(self, order: Any) -> bool:
        return self._start("send_payout", order)

    async def settle_merchants(self, on: Any) -> bool:
        return self._start("settle_merchants", on)

    async def replan_payouts(self, version: int) -> bool:
        return self._start("replan_payouts", version)

    async def replan_fx(self, version: int) -> bool:
        return self._start("replan_fx", version)

    async def tell_fx(self, fx_id: str) -> bool:
        self.told.append(("fx", fx_id, "look_again"))
        return self.answers

    async def return_payout(self, order: Any) -> bool:
        return self._start("return_payout", order)

    async def tell_payout(self, payout_id: str) -> bool:
        self.told.append(("payout", payout_id, "look_again"))
        return self.answers

    async def read_bank_record(self, bank_code: str, request_number: str, days: Any) -> Any:
        self.told.append(("bank_record", request_number, days))
        return self.bank_record

    async def settle_fx(self, order: Any) -> bool:
        return self._start("settle_fx", order)

    async def return_inbound(self, order: Any) -> bool:
        return self._start("return_inbound", order)

    async def open_receiving_account(self, order: Any) -> bool:
        return self._start("open_receiving_account", order)

    async def receive_inbound(self, bank_code: str, reference: str) -> bool:
        return self._start("receive_inbound", (bank_code, reference))

    async def learn_excess(self, *what: Any) -> bool:
        return self._start("learn_excess", what)

    async def close_account(self, order: Any) -> bool:
        return self._start("close_account", order)

    async def tell_closure(self, closure_id: str) -> bool:
        self.told.append(("closure", closure_id, "look_again"))
        return self.answers

    async def bind_card(self, order: Any) -> bool:
        return self._start("bind_card", order)

    async def unbind_card(self, order: Any) -> bool:
        return self._start("unbind_card", order)

    async def tell_verdict(self, kind: str, subject_id: str, message: Any) -> bool:
        self.told.append((kind, subject_id, message))
        return self.answers

    async def tell_resend(self, kind: str, subject_id: str, message: Any) -> bool:
        self.told.append((kind, subject_id, message))
        return self.answers

    async def tell_bank_notice(self, process: Any, subject_id: str) -> bool:
        self.told.append((str(process.value), subject_id, "notice"))
        return self.answers and self.takes_notices

    async def tell_decision(self, resource: Any, decision_id: str) -> bool:
        self.told.append(("decision", resource["id"], decision_id))
        return self.answers

    async def revive(self, process: Any, subject_id: str, order: Any) -> bool:
        return self._start(f"revive {process.value} {subject_id}", order)

    def _start(self, name: str, order: Any) -> bool:
        self.started.append((name, order))
        return self.answers


class FakeBank:
    """A bank that takes `right_code` and answers anything else as `next_answer` or `wrong` says."""

    right_code = "482913"

    def __init__(self, capabilities: BankCapabilities) -> None:
        self.capabilities = capabilities
        self.asked: list[Any] = []
        self.next_answer: BankAnswer | None = None
        self.gate: Any = None
        self.quote: FxQuote | None = None
        self.no_quote = "DESK_CLOSED"

    async def fx_quote(self, currency: str, side: QuoteSide) -> FxQuote:
        self.asked.append((currency, side))
        if self.gate is not None:
            await self.gate()
        if self.quote is None:
            raise QuoteUnavailableError(self.no_quote)
        return self.quote

    async def confirm_sign(self, request: SignConfirmation) -> BankAnswer:
        return await self._judge(request, request.code, agreement_number=f"AG{request.request_number}")

    async def verify_payment_code(self, request: PaymentCodeVerification) -> BankAnswer:
        return await self._judge(request, request.code, authorisation=f"AU{request.request_number}")

    def read_callback(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> BankNotice:
        if headers.get("x-test-signature") != "right":
            raise CallbackRejectedError("signature_invalid")
        notice_id, number, *words = body.decode().split()
        return BankNotice(
            notice_id=notice_id,
            request_number=number,
            announces=next((BankOutcome(word) for word in words if word in set(BankOutcome)), None),
            inbound_reference=number if "inbound" in words else None,
            is_excess="excess" in words,
        )

    async def close(self) -> None:
        return None

    async def _judge(self, request: Any, code: str, **given: str) -> BankAnswer:
        self.asked.append(request)
        if self.gate is not None:
            await self.gate()
        if self.next_answer is not None:
            return self.next_answer
        if code == self.right_code:
            return BankAnswer(outcome=BankOutcome.SUCCEEDED, **given)  # type: ignore[arg-type]
        return BankAnswer(outcome=BankOutcome.DECLINED, reason="code_wrong", raw_code="CODE_WRONG", attempts_left=4)


@dataclass
class Merchant:
    """A merchant's client: its key is in every request, and each command gets a fresh Idempotency-Key.

    It has a signing key from its first refund on, or once `stage.sign` was called, and then signs every command.
    """

    id: str
    key: str
    http: httpx.AsyncClient
    stage: Stage

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.http.get(path, params=query or None, headers=self.headers(None))

    async def post(self, path: str, body: Any = None, *, key: str | None = "") -> httpx.Response:
        if path.endswith(_SIGNED):
            await self.stage.sign(self)
        return await self.send(self.http.build_request("POST", path, json=body, headers=self.headers(key)))

    async def raw(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        merged = self.headers("") | {"Content-Type": "application/json"} | headers
        return await self.send(self.http.build_request("POST", path, content=body, headers=merged))

    async def delete(self, path: str, *, key: str | None = "") -> httpx.Response:
        return await self.send(self.http.build_request("DELETE", path, headers=self.headers(key)))

    async def send(self, request: httpx.Request) -> httpx.Response:
        signing_key = self.stage.signing_keys.get(self.id)
        if signing_key is not None:
            signing_key.sign(request, created=self.stage.clock.now(), nonce=self.stage.ids.ulid())
        return await self.http.send(request)

    def headers(self, key: str | None) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.key}"}
        if key is not None:
            own["Idempotency-Key"] = key or f"test-key-{next(_numbers):08d}"
        return own


@dataclass
class Stage:
    """Everything on which a test plays."""

    database: Database
    services: Services
    policy: Policy
    clock: FakeClock
    processes: FakeProcesses
    banks: dict[str, FakeBank]
    http: httpx.AsyncClient
    instructions: Instructions
    ids: UlidSource
    engine: AsyncEngine
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)
    equipping: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign(self, merchant: Merchant) -> SigningKey:
        """From now on the merchant has a signing key, registered by the institution."""
        async with self.equipping:
            if merchant.id not in self.signing_keys:
                self.signing_keys[merchant.id] = await self.new_signing_key(merchant.id)
        return self.signing_keys[merchant.id]

    async def new_signing_key(self, merchant_id: str, **options: Any) -> SigningKey:
        ulid, private_key = self.ids.ulid(), Ed25519PrivateKey.generate()
        signing_key = SigningKey(f"sgk_{ulid}", private_key)
        act = Act("operator:test", self.clock.now())
        owner = self.database.owner_engine
        await register(owner, act, ulid, merchant_id, signing_key.public_key_pem, **options)
        return signing_key

    async def merchant(self, name: str = "海棠书店", scopes: tuple[str, ...] = SCOPES) -> Merchant:
        merchant_id = f"mch_{self.ids.ulid()}"
        act = Act("test", self.clock.now())
        until = self.clock.now() + timedelta(days=365)
        await create_merchant(self.database.owner_engine, act, merchant_id, name, until)
        return await self.with_key(merchant_id, scopes)

    async def with_key(self, merchant_id: str, scopes: tuple[str, ...] = SCOPES, **options: Any) -> Merchant:
        act = Act("test", self.clock.now())
        key = await issue_key(self.database.owner_engine, act, self.ids.ulid(), merchant_id, scopes, **options)
        return Merchant(merchant_id, key, self.http, self)

    async def user(self, merchant: Merchant, *, agreed: bool = True, region: str = "CN") -> str:
        body = {"merchant_user_ref": f"customer-{next(_numbers)}", "type": "individual", "region": region}
        answer = await merchant.post("/v1/users", body)
        assert answer.status_code == 201, answer.text
        user_id: str = answer.json()["id"]
        if agreed:
            assert (await self.consent(merchant, user_id)).status_code == 201
        return user_id

    async def consent(self, merchant: Merchant, user_id: str, kind: str = "agreement", **other: Any) -> httpx.Response:
        agreement = self.policy.agreement
        body = {"kind": kind, "version": agreement.version, "channel": "app", "evidence_ref": "click:1"}
        body |= {"acted_at": self.clock.now().isoformat()} | other
        if kind == "agreement":
            body.setdefault("content_hash", agreement.content_hash)
        return await merchant.post(f"/v1/users/{user_id}/consents", body)

    async def binding(self, merchant: Merchant, user_id: str, *, awaiting: bool = True, **other: str) -> str:
        """Applied for; with `awaiting`, the process has had the issuer text a code."""
        answer = await merchant.post(f"/v1/users/{user_id}/bindings", ELEMENTS | other)
        assert answer.status_code == 202, answer.text
        binding_id: str = answer.json()["id"]
        if awaiting:
            await self.code_sent("binding", binding_id)
        return binding_id

    async def open_binding(self, merchant: Merchant, user_id: str, **other: str) -> str:
        binding_id = await self.binding(merchant, user_id, **other)
        answer = await merchant.post(f"/v1/users/{user_id}/bindings/{binding_id}/code", {"code": FakeBank.right_code})
        assert answer.json()["state"] == "open", answer.text
        return binding_id

    async def payer(self, merchant: Merchant) -> tuple[str, str]:
        """A user with an open binding."""
        user_id = await self.user(merchant)
        return user_id, await self.open_binding(merchant, user_id)

    def order(self, user_id: str, binding_id: str, **other: Any) -> dict[str, Any]:
        return {
            "user_id": user_id,
            "binding_id": binding_id,
            "order_number": f"order-{next(_numbers)}",
            "amount_minor": 12_800,
            "currency": "CNY",
            "payee_kind": "merchant",
        } | other

    async def confirmed(self, merchant: Merchant, order: dict[str, Any]) -> dict[str, Any]:
        """The order as the user confirmed it after a preview."""
        preview = await merchant.post("/v1/payments/preview", order, key=None)
        assert preview.status_code == 200, preview.text
        expires_at = (self.clock.now() + timedelta(minutes=30)).isoformat()
        return order | {
            "confirmation_hash": preview.json()["confirmation_hash"],
            "order_expires_at": expires_at,
        }

    async def payment(self, merchant: Merchant, user_id: str, binding_id: str, **other: Any) -> dict[str, Any]:
        """Accepted, and its code texted."""
        body = await self.confirmed(merchant, self.order(user_id, binding_id, **other))
        answer = await merchant.post("/v1/payments", body)
        assert answer.status_code == 201, answer.text
        resource: dict[str, Any] = answer.json()
        if resource["verification"] == "code":
            await self.code_sent("payment", resource["id"])
        return resource

    async def paid(self, merchant: Merchant, user_id: str, binding_id: str, **other: Any) -> dict[str, Any]:
        """Collected and settled, as the process would have done it."""
        payment = await self.payment(merchant, user_id, binding_id, **other)
        confirmed = await merchant.post(f"/v1/payments/{payment['id']}/code", {"code": FakeBank.right_code})
        assert confirmed.json()["state"] == "ready", confirmed.text
        await self.debit_sent(payment["id"])
        await self.settle_payment(merchant, payment, "succeeded")
        return (await merchant.get(f"/v1/payments/{payment['id']}")).json()  # type: ignore[no-any-return]

    async def debit_sent(self, payment_id: str) -> str:
        number = request_number(BankStep.DEBIT, payment_id)
        await self.instructions.claim_effect(
            ClaimEffect(now=self.clock.now(), kind="payment", id=payment_id, step="DB", request_number=number)
        )
        return number

    async def settle_payment(self, merchant: Merchant, payment: dict[str, Any], state: str) -> None:
        from domain.journal import collection

        transfers = collection(
            payment["id"],
            payment["bank_code"],
            chart.merchant_pending(merchant.id, "CNY"),
            payment["amount_minor"],
            payment["fee_minor"],
            "CNY",
            self.clock.now(),
        )
        await self.instructions.settle(
            Settlement(
                key=f"{payment['id']}:{state}",
                kind="payment",
                id=payment["id"],
                expect=("sending", "unknown"),
                state=state,
                at=self.clock.now(),
                action="settle_payment",
                outcome="done" if state == "succeeded" else "failed",
                effect_number=request_number(BankStep.DEBIT, payment["id"]),
                effect_outcome="succeeded" if state == "succeeded" else "declined",
                release_limits=state == "failed",
                event_type=f"payment.{state}",
                transfers=transfers if state == "succeeded" else (),
            )
        )

    async def code_sent(self, kind: str, subject_id: str, send: int = 0) -> None:
        """What the process does until the payer has a text message."""
        step = BankStep.SIGN if kind == "binding" else BankStep.PAYMENT_CODE
        number = request_number(step, subject_id, send)
        now = self.clock.now()
        await self.instructions.claim_effect(
            ClaimEffect(now=now, kind=kind, id=subject_id, step=step.value, request_number=number, attempt=send)
        )
        await self.instructions.settle(
            Settlement(
                key=f"{subject_id}:code:{send}",
                kind=kind,
                id=subject_id,
                expect=("applying", "awaiting_code"),
                state="awaiting_code",
                at=now,
                action="send_code",
                outcome="done",
                wait_reason="payer_code",
                wait_until=now + timedelta(minutes=5),
                code_request_number=number,
                code_sent_at=now,
                code_expires_at=now + timedelta(minutes=5),
                event_type=f"{kind}.code_sent",
            )
        )

    def openapi(self) -> dict[str, Any]:
        return api_document()

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.database.owner_engine.connect() as connection:
            found = await connection.execute(sa.text(statement), parameters)
            return [dict(row) for row in found.mappings()]

    async def records(self, **where: str) -> list[dict[str, Any]]:
        """The operation records that have these values."""
        condition = " AND ".join(f"{name} = :{name}" for name in where) or "true"
        return await self.rows(f"SELECT * FROM app.operation WHERE {condition} ORDER BY id", **where)  # noqa: S608


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield await _set(database, stack)


async def _set(database: Database, stack: AsyncExitStack) -> Stage:
    clock, processes, ids = FakeClock(), FakeProcesses(), UlidSource()
    register = BankRegister.from_toml(tomllib.loads((CONFIG / "banks.toml").read_text()))
    fakes = {record.code: FakeBank(record.capabilities) for record in register.banks}
    directory = BankDirectory({record.code: record for record in register.banks}, fakes)  # type: ignore[arg-type]
    policy = Policy.model_validate(read_policy())
    await register_institution(database.owner_engine, policy, register.banks, clock.now())
    main, keys = create_engine(database.app_url), create_engine(database.key_app_url)
    signing_keys = SigningKeys(main)
    stack.push_async_callback(main.dispose)
    stack.push_async_callback(keys.dispose)
    batchers = {
        name: await stack.enter_async_context(Batcher(main, name, max_batch=1 if name in ONE_AT_A_TIME else 256))
        for name in _BATCHED
    }
    instructions = Instructions(main, batchers)
    prefixes = read_card_prefixes((CONFIG / "card_prefixes.csv").read_text(), set(fakes))
    reading = Reading(main)
    services = Services(
        clock=clock,
        ids=ids,
        policy=policy,
        agreement_text=read_agreement(policy.agreement.version),
        data_export_text=read_agreement(export_text(policy.data_export.version)),
        requests=Requests(main, batchers["app.begin_requests"]),
        instructions=instructions,
        reading=reading,
        payouts=PayoutReading(main),
        settlements=SettlementReading(main),
        reviews=Reviews(main),
        fx=FxAcceptance(main),
        fx_reading=FxReading(main),
        closures=ClosureRequests(main),
        calendars=CalendarBook(Calendars(main)),
        is_spelling_of=is_spelling_of,
        vault=Vault(
            main=main,
            keys=keys,
            master_keys=MasterKeys([b"m" * 32]),
            index_key=b"i" * 32,
            clock=clock.now,
        ),
        retention=RetentionStore(main, keys, str(RETENTION_IDENTITY.to_public()), clock.now, policy.retention),
        banks=RegisteredBanks(directory, prefixes),
        processes=processes,  # type: ignore[arg-type]
        signatures=Signatures(signing_keys, EvidenceSeal([b"m" * 32])),
        signing_keys=signing_keys,
        rate_limits=RateLimits(policy.rate_limits),
        webhooks=Webhooks(main),
        webhook_rules=WebhookRules(b"w" * 32, private_networks=False),
        ready={"database": reading.answers},
    )
    http = await stack.enter_async_context(_served(services))
    return Stage(database, services, policy, clock, processes, fakes, http, instructions, ids, main)


@asynccontextmanager
async def _served(services: Services, *, needs_tls: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        _APPLICATIONS[needs_tls].started(services) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://liushui.test") as client,
    ):
        yield client


served = _served
