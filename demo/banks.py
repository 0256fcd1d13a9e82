"""The banks' side of the stage: their books, and how long their faults last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from client import Conversion, Payment, Refund
from domain.identifiers import BankStep, request_number


class Banks:
    """The simulator's control (loopback only, no part of a bank)."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def books(self) -> dict[str, Any]:
        """What `GET /control/books` says."""
        answer = await self._http.get("/control/books")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    async def times_booked(self, step: BankStep, instruction: Payment | Refund) -> int:
        """How often a bank has booked that step of a payment or refund."""
        bank = (await self.books())["banks"][instruction.bank_code]
        kind = "debits_per_request_number" if step is BankStep.DEBIT else "refunds_per_request_number"
        counts: dict[str, int] = bank[kind]
        return counts.get(request_number(step, instruction.id), 0)

    async def times_paid_out(self, bank_code: str, payout_id: str) -> tuple[int, int]:
        """How often a bank has paid a payout, under whatever attempt's number, and how often it has taken it back."""
        bank = (await self.books())["banks"][bank_code]
        number = request_number(BankStep.PAYOUT, payout_id)
        kinds = ("payouts_per_request_number", "returns_per_request_number")
        paid, returned = (sum(n for at, n in bank[kind].items() if at.startswith(number)) for kind in kinds)
        return paid, returned

    async def send_back(self, bank_code: str, number: str) -> None:
        """The payee's bank sends a paid payout back."""
        order = {"bank_code": bank_code, "request_number": number}
        (await self._http.post("/control/returns", json=order)).raise_for_status()

    async def close(self, bank_code: str, seconds: float) -> None:
        """A bank that is outside its hours for a while: it declines payouts, and books nothing."""
        order = {"bank_code": bank_code, "open": False, "seconds": seconds}
        (await self._http.post("/control/hours", json=order)).raise_for_status()

    async def remit(self, bank_code: str, currency: str, amount_minor: int, **order: object) -> str:
        """Foreign currency arrives from abroad: `account_number`, `receiver_name` and more; answers its reference."""
        body = {"bank_code": bank_code, "currency": currency, "amount_minor": amount_minor, **order}
        answer = await self._http.post("/control/inbound", json=body)
        reference: str = answer.raise_for_status().json()["reference"]
        return reference

    async def find_excess(self, bank_code: str, number: str, excess_minor: int) -> None:
        """A desk finds out that so much of what it has dealt was above the quota."""
        order = {"bank_code": bank_code, "request_number": number, "excess_minor": excess_minor}
        (await self._http.post("/control/fx-excess", json=order)).raise_for_status()

    async def publish(self, bank_code: str, currency: str, **rates: str) -> None:
        """A desk deals at other rates from now on: `buys`, `sells`."""
        order = {"bank_code": bank_code, "currency": currency, **rates}
        (await self._http.post("/control/fx-rates", json=order)).raise_for_status()

    @asynccontextmanager
    async def dealing_at(self, bank_code: str, currency: str, **rates: str) -> AsyncIterator[None]:
        """A desk's rates for a while; those before come back."""
        shown = (await self._http.get("/control/fx-rates")).raise_for_status().json()
        before = {side: shown[bank_code][currency][side] for side in ("buys", "sells")}
        await self.publish(bank_code, currency, **rates)
        try:
            yield
        finally:
            await self.publish(bank_code, currency, **before)

    async def times_dealt(self, conversion: Conversion) -> int:
        """How often the desk has moved CNY for a conversion or a reversal, under whatever attempt's number."""
        step = BankStep.FX_REVERSAL if conversion.kind == "reversal" else BankStep.FX_CONVERSION
        number, books = request_number(step, conversion.id), (await self.books())["banks"]
        deals: dict[str, int] = books[conversion.desk or ""]["deals_per_request_number"] if conversion.desk else {}
        return sum(times for at, times in deals.items() if at.startswith(number))

    async def sent_back(self, bank_code: str, currency: str) -> int:
        """How much of what arrived a bank has ever sent back, in minor units."""
        sums: dict[str, int] = (await self.books())["banks"][bank_code]["sent_back"]
        return sums.get(currency, 0)

    @asynccontextmanager
    async def set_to(self, **settings: float) -> AsyncIterator[None]:
        """Other times for a while; those before come back."""
        before = await self._change({})
        await self._change(settings)
        try:
            yield
        finally:
            await self._change({name: before[name] for name in settings})

    async def _change(self, settings: dict[str, float]) -> dict[str, Any]:
        answer = await self._http.post("/control/settings", json=settings)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found
