"""Foreign currency on a stage: it arrives, waits, is dealt and delivered, as its processes would have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from domain.fx import ClaimFxEffect, FxEntry, OpenReversal, ReceiveInbound
from domain.fx_banking import FxQuote, InboundRemittance, QuoteSide
from domain.identifiers import BankStep, request_number
from storage.fx import FxBook, call
from tests.api.conftest import ELEMENTS, Merchant, Stage
from vault.fx_steps import FxVault

ABROAD, DESK = "OSPB", "HBRB"
REMITTER, NUMBER = "Quillon Trading Ltd", "OSPB880000007351"
_ACCOUNT = (
    "INSERT INTO app.receiving_account (id, merchant_id, user_id, bank_code, currency, holder_index, account_index,"
    " account_last4, element_tokens, cross_border, state, state_since, accepted_at)"
    " VALUES (:id, :merchant, :user, :bank, 'USD', :holder, :number, :last4, '{}', true, 'open', :now, :now)"
)
_MANDATE = (
    "INSERT INTO app.fx_mandate (id, merchant_id, user_id, currency, purpose_code, is_trade, residency, over_quota,"
    " mandate_reference, agreement_version, state, created_at)"
    " VALUES (:id, :merchant, :user, 'USD', '121010', false, 'domestic_individual', 'split', 'M-1', '1', 'active',"
    " :now)"
)


@dataclass
class Currency:
    """A user to whom USD can be sent, on a stage of the merchants' API."""

    stage: Stage
    merchant: Merchant
    user_id: str
    number: str = NUMBER

    @property
    def book(self) -> FxBook:
        return FxBook(self.stage.database.app_engine)

    def id(self, prefix: str) -> str:
        return f"{prefix}_{self.stage.ids.ulid()}"

    async def written(self, statement: str, **values: Any) -> None:
        async with self.stage.database.owner_engine.begin() as connection:
            await connection.execute(sa.text(statement), values)

    async def opened(self) -> Currency:
        """With a receiving account, and a mandate to convert what arrives."""
        vault, now = FxVault(self.stage.services.vault), self.stage.clock.now()
        given: dict[str, Any] = {"merchant": self.merchant.id, "user": self.user_id, "now": now}
        index = {"holder": vault.name_index(ELEMENTS["name"]), "number": vault.number_index(self.number)}
        await self.written(_ACCOUNT, id=self.id("rca"), bank=ABROAD, last4=self.number[-4:], **index, **given)
        await self.written(_MANDATE, id=self.id("fxm"), **given)
        return self

    async def arrive(self, *, known: bool = True, amount_minor: int = 100_000) -> tuple[str, str | None]:
        """A remittance, for this user or for nobody known; its id, and the conversion's that began with it."""
        vault, now, inbound_id = FxVault(self.stage.services.vault), self.stage.clock.now(), self.id("inb")
        number = self.number if known else "OSPB990000000001"
        remittance = InboundRemittance(
            reference=inbound_id[4:], amount_minor=amount_minor, currency="USD",
            value_date=now.date(), booked_at=now, remitter_name=REMITTER, remitter_country="GB", purpose_code="121010",
            account_number=number, receiver_name=ELEMENTS["name"],
        )  # fmt: skip
        owner = self.user_id if known else inbound_id
        sealed = await vault.seal_remittance(owner, remittance)
        found = await self.book.receive_inbound(
            ReceiveInbound(
                now=now, id=inbound_id, fx_id=self.id("fx"), bank_code=ABROAD,
                sealed=sealed.items, sealed_under=owner, element_tokens=sealed.tokens,
                account_index=vault.number_index(number), receiver_index=vault.name_index(ELEMENTS["name"]),
                **remittance.model_dump(
                    include={
                        "reference", "amount_minor", "currency", "value_date", "booked_at", "purpose_code",
                        "remitter_country",
                    }
                ),
            )
        )  # fmt: skip
        assert (found.inbound_id, found.error) == (inbound_id, None)
        return inbound_id, found.fx_id

    async def plan(self, fx_id: str, desk: str | None = DESK) -> None:
        """Into the desk's next hours, which begin now."""
        now = self.stage.clock.now()
        window = {"opens_at": now, "closes_at": now + timedelta(hours=3), "waits_for": "fx_desk_window"}
        shown = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in window.items()}
        item: dict[str, Any] = {"fx_id": fx_id, "now": now.isoformat(), "why": "test", "plan_version": 0, "rate": 20}
        if desk is not None:
            item |= {"desk": desk, "office": f"FX-{desk}"}
        engine = self.stage.database.app_engine
        answer = await call(engine, "app.plan_fx", item | {"windows": [{**shown, "provisional": False}]})
        assert answer["ok"], answer

    async def send(self, fx_id: str, *, step: BankStep = BankStep.FX_CONVERSION) -> str:
        """To the desk, at 7.1234."""
        now, number = self.stage.clock.now(), request_number(step, fx_id)
        quote = FxQuote(
            quote_id=f"Q{fx_id[3:]}", bank_code=DESK, currency="USD",
            side=QuoteSide.BUYS if step == BankStep.FX_CONVERSION else QuoteSide.SELLS, rate_e8=712_340_000,
            publisher="Harbour Bank", published_at=now, valid_until=now + timedelta(seconds=60),
        )  # fmt: skip
        await self.book.claim(
            ClaimFxEffect(now=now, kind="fx", id=fx_id, step=step.value, request_number=number, quote=quote)
        )
        return number

    async def settle(self, fx_id: str, state: str | None, expect: tuple[str, ...], **more: Any) -> None:
        await self.book.settle(
            FxEntry(
                key=f"{fx_id}:{state}:{more.get('wait_reason')}", kind="fx", id=fx_id, expect=expect, state=state,
                at=self.stage.clock.now(), action="convert_fx", outcome="done", **more,
            )
        )  # fmt: skip

    async def deal(self, fx_id: str, cny_minor: int, *, step: BankStep = BankStep.FX_CONVERSION) -> None:
        """Sent and dealt; the currencies have not been delivered yet."""
        number = await self.send(fx_id, step=step)
        await self.settle(
            fx_id, "converted", ("sending",), effect_number=number, effect_outcome="succeeded", rate_e8=712_340_000,
            cny_minor=cny_minor, booked_at=self.stage.clock.now(), bank_reference="HB1", wait_reason="fx_delivery",
        )  # fmt: skip

    async def deliver(self, fx_id: str) -> None:
        await self.settle(
            fx_id, "settled", ("converted",), delivered_at=self.stage.clock.now(), delivery_reference="D1"
        )

    async def exceed(self, fx_id: str, excess_minor: int) -> str:
        """The desk says that so much was above the quota; the reversal's id."""
        reversal_id = self.id("fx")
        found = await self.book.open_reversal(
            OpenReversal(now=self.stage.clock.now(), fx_id=fx_id, excess_minor=excess_minor, reversal_id=reversal_id)
        )
        assert found == reversal_id
        return reversal_id


async def receiver(stage: Stage, merchant: Merchant) -> Currency:
    """Somebody whom a bank has confirmed, with a receiving account and a mandate."""
    user_id, _ = await stage.payer(merchant)
    return await Currency(stage, merchant, user_id).opened()
