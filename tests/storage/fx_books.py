"""Foreign currency in a small institution: Ocean Span holds it, Harbour and Willow convert it, a user receives it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from config.policy import read_policy
from domain.fx import (
    AcceptFx,
    AcceptFxMandate,
    ClaimedFxEffect,
    ClaimFxEffect,
    DisposeOfFx,
    FxEntry,
    FxSlotRequest,
    OpenReversal,
    ReceivedInbound,
    ReceiveInbound,
)
from domain.fx_banking import FxQuote, InboundRemittance, QuoteSide
from domain.fx_planning import FxPlan, FxWindow
from domain.fx_rules import FxRules
from domain.identifiers import BankStep, request_number
from domain.instructions import RequestContext
from domain.personal_data import PersonalField
from domain.rates import convert, parse_rate
from storage.fx import FxAcceptance, FxBook, FxSlots
from storage.fx_rules import accounts_of_fx, register_fx_rules
from tests.conftest import Database
from tests.storage.books import ELEMENTS, Books, open_books
from vault.fx_steps import FxVault

RULES = FxRules.model_validate(read_policy()["fx"])
OVERSEAS, DESK, OTHER_DESK = "OSPB", "HBRB", "WLWB"
OFFICES = {DESK: "FX-HBRB", OTHER_DESK: "FX-WLWB"}
HOLDER = "TEST JIA"
NUMBER = "880000000001"
# A Monday at 10:00 in Shanghai.
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
RATE = "7.1234"


@dataclass
class FxBooks:
    """The gateways under test, over the books of one merchant and one user; more of both can be added."""

    books: Books
    acceptance: FxAcceptance
    book: FxBook
    slots: FxSlots
    vault: FxVault
    numbers: Any = field(default_factory=lambda: count(1))

    async def open_account(self, user_id: str | None = None, currency: str = "USD", number: str = NUMBER) -> str:
        """A receiving account that is open, as its process would have left it."""
        user_id, account_id = user_id or self.books.user_id, self.books.new_id("rca")
        merchant = await self.books.value("SELECT merchant_id FROM app.end_user WHERE id = :u", u=user_id)
        await self.books.vault.ensure_user_key(user_id)
        [name] = await self.books.vault.seal(user_id, {PersonalField.NAME: HOLDER})
        sealed = await self.vault.seal_number(user_id, number)
        rows = json.dumps([name.model_dump(mode="json"), sealed.item])
        await self.books.run("SELECT vault.store_items(CAST(:rows AS jsonb))", rows=rows)
        await self.books.run(
            "INSERT INTO app.receiving_account (id, merchant_id, user_id, bank_code, currency, holder_index,"
            " account_index, account_last4, element_tokens, cross_border, state, state_since, accepted_at)"
            " VALUES (:id, :m, :u, :b, :c, :h, :a, :l, CAST(:t AS jsonb), true, 'open', :at, :at)",
            id=account_id, m=merchant, u=user_id, b=OVERSEAS, c=currency, h=self.vault.name_index(HOLDER),
            a=sealed.blind_index, l=sealed.last4, at=NOW,
            t=json.dumps({"name": name.token, "account_number": sealed.token}),
        )  # fmt: skip
        return account_id

    async def receive(
        self, amount_minor: int, currency: str = "USD", now: datetime = NOW, **changes: Any
    ) -> ReceivedInbound:
        """A remittance as the bank describes it, received; by default to the user's number and name."""
        stated = {
            "reference": f"IN{next(self.numbers):010d}", "amount_minor": amount_minor, "currency": currency,
            "value_date": date(2026, 11, 23), "booked_at": now, "purpose_code": "121010", "remitter_country": "US",
            "account_number": NUMBER, "receiver_name": HOLDER, "remitter_name": "ACME TRADING LLC",
        } | {name: value for name, value in changes.items() if name in InboundRemittance.model_fields}  # fmt: skip
        remittance = InboundRemittance.model_validate(stated)
        number, name = (
            self.vault.number_index(remittance.account_number),
            self.vault.name_index(remittance.receiver_name),
        )
        inbound_id = changes.get("id") or self.books.new_id("inb")
        owner = await self.book.receiver_of(OVERSEAS, number, name, currency) or inbound_id
        sealed = await self.vault.seal_remittance(owner, remittance)
        kept = ("reference", "amount_minor", "currency", "value_date", "booked_at", "purpose_code", "remitter_country")
        return await self.book.receive_inbound(
            ReceiveInbound.model_validate(
                {each: stated[each] for each in kept}
                | {
                    "now": now, "id": inbound_id, "fx_id": self.books.new_id("fx"), "bank_code": OVERSEAS,
                    "account_index": number, "receiver_index": name, "sealed": sealed.items, "sealed_under": owner,
                    "element_tokens": sealed.tokens,
                }
            )
        )  # fmt: skip

    def mandate(self, currency: str = "USD", **changes: Any) -> AcceptFxMandate:
        values = {
            "request": self.books.context(), "now": NOW, "id": self.books.new_id("fxm"), "user_id": self.books.user_id,
            "currency": currency, "purpose_code": "121010", "is_trade": False, "residency": "domestic_individual",
            "over_quota": "split", "mandate_reference": "agreement:1", "agreement_version": "1.0",
            "blocked_regions": ("KP",),
        }  # fmt: skip
        return AcceptFxMandate.model_validate(values | changes)

    def instruction(self, amount_minor: int, currency: str = "USD", **changes: Any) -> AcceptFx:
        values = {
            "request": self.books.context(), "now": NOW, "id": self.books.new_id("fx"), "user_id": self.books.user_id,
            "order_number": self.books.ids.ulid(), "amount_minor": amount_minor, "currency": currency,
            "banks": (OVERSEAS,), "purpose_code": "121010", "is_trade": False, "residency": "domestic_individual",
            "over_quota": "split", "confirmation_hash": "0" * 64, "agreement_version": "1.0",
            "blocked_regions": ("KP",),
        }  # fmt: skip
        return AcceptFx.model_validate(values | changes)

    async def accept(self, amount_minor: int, currency: str = "USD", **changes: Any) -> dict[str, Any]:
        return await self.acceptance.accept(self.instruction(amount_minor, currency, **changes))

    async def funded(self, amount_minor: int, currency: str = "USD", **changes: Any) -> dict[str, Any]:
        """A conversion of money that has just arrived for it."""
        await self.receive(amount_minor, currency)
        return await self.accept(amount_minor, currency, **changes)

    async def plan(self, fx_id: str, now: datetime = NOW, **changes: Any) -> Any:
        """A slot in a window that is open from `opens_at` (now) on, for ten hours."""
        opens_at = changes.pop("opens_at", now)
        window = FxWindow(
            opens_at, changes.pop("closes_at", opens_at + timedelta(hours=10)), changes.pop("waits_for", None)
        )
        values = {
            "fx_id": fx_id, "now": now, "why": "first", "desk": DESK, "office": OFFICES[changes.get("desk") or DESK],
            "rate": 1000, "version": await self.books.value("SELECT app.current_plan_version()"),
            "plan": FxPlan((window,)),
        }  # fmt: skip
        return await self.slots.allocate(FxSlotRequest(**(values | changes)))

    def quote(self, fx: dict[str, Any], now: datetime = NOW, rate: str = RATE, **changes: Any) -> FxQuote:
        values = {
            "quote_id": f"Q{next(self.numbers):09d}", "bank_code": DESK, "currency": fx["currency"],
            "side": QuoteSide.BUYS if fx["kind"] == "conversion" else QuoteSide.SELLS, "rate_e8": parse_rate(rate),
            "publisher": "Harbour Bank FX desk", "published_at": now, "valid_until": now + timedelta(seconds=60),
        }  # fmt: skip
        return FxQuote.model_validate(values | changes)

    async def claim(self, fx: dict[str, Any], now: datetime = NOW, attempt: int = 0, **changes: Any) -> ClaimedFxEffect:
        """Raises EffectRefusedError."""
        step = BankStep.FX_CONVERSION if fx["kind"] == "conversion" else BankStep.FX_REVERSAL
        values = {
            "now": now, "kind": "fx", "id": fx["id"], "step": step.value, "attempt": attempt,
            "request_number": request_number(step, fx["id"], attempt), "quote": self.quote(fx, now),
        }  # fmt: skip
        return await self.book.claim(ClaimFxEffect.model_validate(values | changes))

    def dealt(
        self, fx: dict[str, Any], now: datetime = NOW, rate: str = RATE, attempt: int = 0, **changes: Any
    ) -> FxEntry:
        """The desk's word: dealt, and delivered at once."""
        step = BankStep.FX_CONVERSION if fx["kind"] == "conversion" else BankStep.FX_REVERSAL
        rate_e8 = parse_rate(rate)
        values = {
            "key": f"{fx['id']}:settled", "kind": "fx", "id": fx["id"], "expect": ("sending", "unknown"),
            "state": "settled", "at": now, "action": "settle_fx", "outcome": "done", "bank_reference": "BANK1",
            "booked_at": now, "effect_number": request_number(step, fx["id"], attempt), "effect_outcome": "succeeded",
            "event_type": "fx.settled", "rate_e8": rate_e8, "delivered_at": now, "delivery_reference": "DLV1",
            "cny_minor": convert(fx["amount_minor"], fx["currency"], rate_e8, "half_up").minor,
        }  # fmt: skip
        return FxEntry.model_validate(values | changes)

    async def convert(self, fx: dict[str, Any], now: datetime = NOW, rate: str = RATE) -> dict[str, Any]:
        """Through all of it: planned, claimed, dealt and delivered. Answers the resource."""
        await self.plan(fx["id"], now)
        fx = await self.view(fx["id"])
        await self.claim(fx, now, quote=self.quote(fx, now, rate))
        await self.book.settle(self.dealt(fx, now, rate))
        return await self.view(fx["id"])

    async def reverse(self, fx: dict[str, Any], excess_minor: int, now: datetime = NOW) -> str | None:
        """The reversal that an excess comes to; it is then converted like any."""
        return await self.book.open_reversal(
            OpenReversal(now=now, fx_id=fx["id"], excess_minor=excess_minor, reversal_id=self.books.new_id("fx"))
        )

    async def dispose(
        self, fx_id: str, action: str, now: datetime = NOW, request: RequestContext | None = None
    ) -> dict[str, Any]:
        return await self.acceptance.dispose(
            DisposeOfFx(
                request=request or self.books.context(), now=now, id=fx_id, action=action,  # type: ignore[arg-type]
                return_id=self.books.new_id("inr"),
            )
        )  # fmt: skip

    async def view(self, fx_id: str) -> dict[str, Any]:
        found = await self.books.value("SELECT app.fx_view(f)::text FROM app.fx f WHERE id = :id", id=fx_id)
        view: dict[str, Any] = json.loads(found)
        return view

    async def balances(self) -> dict[str, tuple[int, int]]:
        """Posted and held of every account that has ever moved, by code."""
        async with self.books.owner.connect() as connection:
            import sqlalchemy as sa

            rows = await connection.execute(
                sa.text(
                    "SELECT a.code, b.posted, b.held FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id"
                    " WHERE b.version > 0"
                )
            )
            return {row.code: (row.posted, row.held) for row in rows}

    async def quota(self, year: int = 2026, person: str = "person-1") -> tuple[int, int] | None:
        """Reserved and used of a person's year, in cents."""
        row = await self.books.value(
            "SELECT ARRAY[reserved_usd_minor, used_usd_minor] FROM app.fx_quota WHERE person_index = :p AND year = :y",
            p=person, y=year,
        )  # fmt: skip
        return None if row is None else (row[0], row[1])


async def add_user(fx: FxBooks, merchant_id: str, person: str = "person-1", user_type: str = "individual") -> str:
    """Another user, by default the same person, with what a conversion needs."""
    books, user_id = fx.books, fx.books.new_id("usr")
    await books.run(
        "INSERT INTO app.end_user VALUES (:u, :m, :u, :t, 'CN', 'active', :p, :at)",
        u=user_id, m=merchant_id, t=user_type, p=person if user_type == "individual" else None, at=NOW,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)"
        " VALUES (:u, :m, 'agreement', '1.0', :h, 'app', :at)",
        u=user_id, m=merchant_id, h="a" * 64, at=NOW,
    )  # fmt: skip
    await books.run("SELECT ledger.open_accounts(ARRAY[:a])", a=f"user:{user_id}:CNY")
    await books.vault.ensure_user_key(user_id)
    sealed = await books.vault.seal(user_id, {PersonalField(name): value for name, value in ELEMENTS.items()})
    await books.run(
        "SELECT vault.store_items(CAST(:r AS jsonb))", r=json.dumps([item.model_dump(mode="json") for item in sealed])
    )
    await books.run(
        "INSERT INTO app.binding (id, user_id, merchant_id, bank_code, card_index, card_last4, card_type, person_index,"
        " element_tokens, state, state_since, accepted_at)"
        " VALUES (:b, :u, :m, :c, 'card-1', '0018', 'debit', :p, CAST(:t AS jsonb), 'open', :at, :at)",
        b=books.new_id("bnd"), u=user_id, m=merchant_id, c=DESK, p=person, at=NOW,
        t=json.dumps({item.field.value: item.token for item in sealed}),
    )  # fmt: skip
    return user_id


@asynccontextmanager
async def open_fx_books(database: Database) -> AsyncIterator[FxBooks]:
    """The books with two desks, a bank overseas, and the rules of config/fx.toml."""
    async with open_books(database) as books:
        for code, role, name in (
            (OVERSEAS, "overseas_bank", "Ocean Span Bank"),
            (OTHER_DESK, "domestic_bank", "Willow"),
        ):
            await books.run(
                "INSERT INTO app.partner VALUES (:c, :r, :n, :n, true, :at)", c=code, r=role, n=name, at=NOW
            )
        async with books.owner.begin() as connection:
            await register_fx_rules(connection, RULES, NOW)
        codes = [*accounts_of_fx(RULES), f"reserve:{OTHER_DESK}:CNY", "receivable:CNY"]
        await books.run("SELECT ledger.open_accounts(CAST(:codes AS text[]))", codes=codes)
        fx = FxBooks(books, FxAcceptance(books.app), FxBook(books.app), FxSlots(books.app), FxVault(books.vault))
        await fx.open_account()
        yield fx
