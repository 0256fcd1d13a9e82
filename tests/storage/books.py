"""A small institution in a test database: one bank, one merchant, one user with an open binding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from config.policy import read_policy
from domain.decisions import DecisionRules
from domain.instructions import AcceptPayment, AcceptRefund, RequestContext
from domain.limits import LimitSet, windows_to_take
from domain.payouts import AcceptPayee, AcceptPayout, ConfirmPayout
from domain.personal_data import PersonalField
from runtime.id_source import UlidSource
from storage.batcher import Batcher
from storage.database import create_engine
from storage.decisions import register_decision_rules
from storage.instructions import Instructions
from tests.conftest import Database
from vault.bank_steps import BankStepVault
from vault.sealing import MasterKeys
from vault.vault import Vault
from wiring import ONE_AT_A_TIME

BATCHED = (
    "app.begin_requests", "app.accept_payments", "app.accept_refunds", "app.accept_payouts", "app.claim_effects",
    "app.settle",
)  # fmt: skip
BANK, OTHER_BANK = "HBRB", "LKSB"
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LIMITS = LimitSet(per_transaction_minor=500_000, per_day_minor=1_000_000, per_month_minor=5_000_000)
ELEMENTS = {
    "name": "测试甲",
    "id_number": "11010519900307765X",
    "card_number": "6200010000000000018",
    "mobile": "13800138000",
}


@dataclass
class Books:
    """The gateway under test and the names in its books."""

    owner: AsyncEngine
    app: AsyncEngine
    instructions: Instructions
    batchers: dict[str, Batcher]
    vault: Vault
    bank_vault: BankStepVault
    merchant_id: str
    user_id: str
    binding_id: str
    ids: UlidSource

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{self.ids.ulid()}"

    def context(self, key: str | None = None) -> RequestContext:
        return RequestContext(
            merchant_id=self.merchant_id, key_id="key_test", request_id=self.new_id("req"), idempotency_key=key
        )

    def payment(self, amount_minor: int = 10_000, **changes: Any) -> AcceptPayment:
        now = changes.pop("now", NOW)
        limits = changes.pop("limit_set", LIMITS)
        values = {
            "request": self.context(), "now": now, "id": self.new_id("pay"), "user_id": self.user_id,
            "binding_id": self.binding_id, "order_number": self.ids.ulid(),
            "order_expires_at": now + timedelta(minutes=15),
            "amount_minor": amount_minor, "currency": "CNY", "payee_kind": "merchant", "payee_name": "示例商户",
            "fee_minor": amount_minor * 6 // 1000, "fee_rule": "2026.1/quick_pay", "confirmation_hash": "0" * 64,
            "agreement_version": "1.0", "blocked_regions": ("KP",), "waiver_cap_minor": 20_000,
            "limits": tuple(windows_to_take([(f"user:{self.user_id}", limits)], amount_minor, now)),
        }  # fmt: skip
        return AcceptPayment.model_validate(values | changes)

    def refund(self, payment_id: str, amount_minor: int, **changes: Any) -> AcceptRefund:
        values = {
            "request": self.context(), "now": NOW, "id": self.new_id("rfd"), "payment_id": payment_id,
            "amount_minor": amount_minor, "reason_code": "requested_by_payer",
        }  # fmt: skip
        return AcceptRefund.model_validate(values | changes)

    async def value(self, statement: str, **parameters: Any) -> Any:
        async with self.owner.connect() as connection:
            return await connection.scalar(sa.text(statement), parameters)

    async def run(self, statement: str, **parameters: Any) -> None:
        async with self.owner.begin() as connection:
            await connection.execute(sa.text(statement), parameters)

    async def balance(self, code: str) -> int:
        found = await self.value(
            "SELECT b.posted FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id WHERE a.code = :code",
            code=code,
        )
        return int(found)

    async def held(self, code: str) -> int:
        found = await self.value(
            "SELECT b.held FROM ledger.balance b JOIN ledger.account a ON a.id = b.account_id WHERE a.code = :code",
            code=code,
        )
        return int(found)

    async def fund(self, amount_minor: int, bank: str = BANK, user_id: str | None = None) -> None:
        """Money that a user paid in, at a bank."""
        key = self.new_id("pay")
        transfer = {
            "action": "post", "key": f"{key}:collection", "kind": "collection", "direction": "in",
            "debit": f"reserve:{bank}:CNY", "credit": f"user:{user_id or self.user_id}:CNY", "currency": "CNY",
            "amount": amount_minor, "instruction": key, "reference": key, "booked_at": NOW.isoformat(),
        }  # fmt: skip
        items = json.dumps([{"item": 0, "transfers": [transfer]}])
        async with self.owner.begin() as connection:
            statement = sa.text("SELECT error FROM ledger.apply(CAST(:items AS jsonb))")
            assert await connection.scalar(statement, {"items": items}) is None

    async def open_bank(self, code: str = OTHER_BANK) -> None:
        """A second bank, without money."""
        await self.run("SELECT ledger.open_accounts(ARRAY[:account])", account=f"reserve:{code}:CNY")
        await self.run(
            "INSERT INTO app.partner VALUES (:c, 'domestic_bank', 'Lakeside Bank', '湖滨银行', true, :at)",
            c=code, at=NOW,
        )  # fmt: skip

    async def payee(self, **changes: Any) -> AcceptPayee:
        """The user's own account in the mainland, its name and number sealed."""
        user_id = changes.get("user_id", self.user_id)
        sealed = await self.vault.seal(
            user_id, {PersonalField.NAME: ELEMENTS["name"], PersonalField.ACCOUNT_NUMBER: "6217001234567891234"}
        )
        values = {
            "request": self.context(), "now": NOW, "id": self.new_id("pye"), "user_id": user_id, "relation": "own",
            "holder_type": "individual", "region": "CN", "bank_id_kind": "cnaps", "bank_id": "102100099996",
            "account_index": self.ids.ulid(), "account_last4": "1234", "name_index": "name-1", "name_match": "match",
            "sealed": tuple(item.model_dump(mode="json") for item in sealed),
            "element_tokens": {item.field.value: item.token for item in sealed}, "blocked_regions": ("KP",),
        }  # fmt: skip
        return AcceptPayee.model_validate(values | changes)

    async def known_payee(self, **changes: Any) -> str:
        """The id of one that was accepted."""
        return str((await self.instructions.accept_payee(await self.payee(**changes)))["id"])

    def payout(self, payee_id: str, amount_minor: int = 10_000, **changes: Any) -> AcceptPayout:
        now, user_id = changes.get("now", NOW), changes.get("user_id", self.user_id)
        limits = changes.pop("limit_sets", [(f"user:{user_id}", LIMITS)])
        values = {
            "request": self.context(), "now": now, "id": self.new_id("po"), "user_id": user_id, "payee_id": payee_id,
            "order_number": self.ids.ulid(), "amount_minor": amount_minor, "currency": "CNY", "fee_minor": 200,
            "fee_rule": "2026.1/payout_cn", "speed": "real_time", "route": "CN", "banks": (BANK,),
            "own_name_only": False, "confirmation_hash": "0" * 64, "confirmation_seconds": 900,
            "agreement_version": "1.0", "blocked_regions": ("KP",),
            "limits": tuple(windows_to_take(limits, amount_minor, now)),
        }  # fmt: skip
        return AcceptPayout.model_validate(values | changes)

    def confirmation(self, payout_id: str, now: datetime = NOW, shown: str = "0" * 64) -> ConfirmPayout:
        return ConfirmPayout(request=self.context(), now=now, id=payout_id, confirmation_hash=shown)

    async def schedule(self, payout_id: str, slot_at: datetime = NOW) -> None:
        """What its process would have it go through: assessed, and planned."""
        await self.run(
            "UPDATE app.payout SET state = 'scheduled', state_since = :now, wait_reason = 'bank_window', slot_at = :at,"
            " plan_version = app.current_plan_version(), process_started_at = :now WHERE id = :id",
            id=payout_id, now=NOW, at=slot_at,
        )  # fmt: skip

    async def enable_waiver(self, limit_minor: int = 5_000) -> str:
        """Merchant applied, institution approved, user authorised, notice shown."""
        waiver_id = self.new_id("wvr")
        await self.run(
            "INSERT INTO app.waiver_application"
            " VALUES (:id, :m, :limit, 'CNY', 'approved', :at, 'key_test', :at, 'approver')",
            id=waiver_id, m=self.merchant_id, limit=limit_minor, at=NOW,
        )  # fmt: skip
        await self.run("INSERT INTO app.user_waiver VALUES (:u, :v, :v, NULL)", u=self.user_id, v=waiver_id)
        return waiver_id


@asynccontextmanager
async def open_books(database: Database) -> AsyncIterator[Books]:
    """Registers everything a payment needs and hands out the gateway of the app role."""
    app = create_engine(database.app_url, pool_size=20)
    ids = UlidSource()
    batchers = {name: Batcher(app, name, max_batch=1 if name in ONE_AT_A_TIME else 256) for name in BATCHED}
    vault = Vault(
        main=app, keys=database.key_app_engine, master_keys=MasterKeys([b"m" * 32]), index_key=b"i" * 32,
        clock=lambda: datetime.now(UTC),
    )  # fmt: skip
    books = Books(
        owner=database.owner_engine, app=app, instructions=Instructions(app, batchers), batchers=batchers, vault=vault,
        bank_vault=BankStepVault(vault), merchant_id=f"mch_{ids.ulid()}", user_id=f"usr_{ids.ulid()}",
        binding_id=f"bnd_{ids.ulid()}", ids=ids,
    )  # fmt: skip
    await _register(books)
    try:
        yield books
    finally:
        for batcher in batchers.values():
            await batcher.close()
        await app.dispose()


async def _register(books: Books) -> None:
    accounts = [
        f"reserve:{BANK}:CNY", f"merchant_pending:{books.merchant_id}:CNY", f"user:{books.user_id}:CNY",
        "fee_income:CNY", "suspense:CNY",
    ]  # fmt: skip
    await books.run("SELECT ledger.open_accounts(CAST(:codes AS text[]))", codes=accounts)
    await books.run(
        "INSERT INTO app.partner VALUES (:c, 'domestic_bank', 'Harbour Bank', '港湾银行', true, :at)", c=BANK, at=NOW
    )
    await books.run(
        "INSERT INTO app.merchant VALUES (:m, '示例商户', 'active', :until, :at)",
        m=books.merchant_id, until=NOW + timedelta(days=3650), at=NOW - timedelta(days=1),
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.api_key VALUES ('key_test', :m, :hash, ARRAY['payments:write'], '', :at, NULL, NULL)",
        m=books.merchant_id, hash=hashlib.sha256(b"secret").digest(), at=NOW,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.end_user VALUES (:u, :m, 'ref-1', 'individual', 'CN', 'active', 'person-1', :at)",
        u=books.user_id, m=books.merchant_id, at=NOW,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.agreement_version VALUES ('1.0', :h, :at, NULL)", h="a" * 64, at=NOW - timedelta(days=40)
    )
    await books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)"
        " VALUES (:u, :m, 'agreement', '1.0', :h, 'app', :at)",
        u=books.user_id, m=books.merchant_id, h="a" * 64, at=NOW,
    )  # fmt: skip
    async with books.owner.begin() as connection:
        await register_decision_rules(connection, DecisionRules.model_validate(read_policy()["decisions"]))
    await books.vault.ensure_user_key(books.user_id)
    sealed = await books.vault.seal(
        books.user_id,
        {PersonalField(name): value for name, value in ELEMENTS.items()} | {PersonalField.AGREEMENT_NUMBER: "AG-1"},
    )
    rows = [item.model_dump(mode="json") for item in sealed]
    await books.run("SELECT vault.store_items(CAST(:rows AS jsonb))", rows=json.dumps(rows))
    tokens = {item.field.value: item.token for item in sealed}
    agreement = tokens.pop("agreement_number")
    await books.run(
        "INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,"
        " element_tokens, agreement_token, state, state_since, accepted_at)"
        " VALUES (:b, :u, :m, :c, 'card-1', '0018', 'debit', 'person-1', CAST(:tokens AS jsonb), :agreement,"
        " 'open', :at, :at)",
        b=books.binding_id, u=books.user_id, m=books.merchant_id, c=BANK, tokens=json.dumps(tokens),
        agreement=agreement, at=NOW,
    )  # fmt: skip
