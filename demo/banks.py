"""The banks' side of the stage: their books, and how long their faults last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from client import Payment, Refund
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
