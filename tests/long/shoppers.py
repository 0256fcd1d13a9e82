"""Merchants' customers who go on shopping while plugs are pulled, and remember what they were told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from banks.simulator.payer import NoMessageError
from tests.end_to_end.play import Merchant, Payer, fresh_key

# A card now and then whose bank is difficult as well: processing, lost answers before and after booking, broken lines.
CARDS = (None, None, None, 30, 31, 32, 33, 34, 35, 36, 37, 44, 45, 54, 64)
ORDER_SECONDS = 150
_PATIENCE_SECONDS = 200


@dataclass
class Told:
    """What merchants were answered, which must still be true at the end."""

    payments: dict[str, int] = field(default_factory=dict)
    final: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    bindings: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


class Shopper:
    """One person at one merchant: binds a card and goes on buying until it is time to go home."""

    def __init__(self, merchant: Merchant, waiver: str, chance: random.Random, told: Told, closing: asyncio.Event):
        self._merchant, self._waiver, self._chance = merchant, waiver, chance
        self._told, self._closing = told, closing

    async def shop(self) -> None:
        while not self._closing.is_set():
            payer = await self._bound_payer()
            for _ in range(self._chance.randint(4, 9)):
                if self._closing.is_set() or payer is None:
                    break
                await self._buy(payer)
            if payer is not None and self._chance.random() < 0.3:
                await self._merchant.send("DELETE", f"/v1/users/{payer.user_id}/bindings/{payer.binding_id}")
                self._told.counts["unbindings"] += 1

    async def _bound_payer(self) -> Payer | None:
        payer = await self._merchant.register(self._chance.choice(("HBRB", "WLWB")), self._chance.choice(CARDS))
        await payer.apply()
        self._told.bindings.add(payer.binding_id)
        for _ in range(8):
            binding = await payer.binding()
            if binding.get("state") == "open":
                self._told.counts["bindings"] += 1
                await payer.consent("waiver_authorisation", self._waiver)
                await payer.consent("waiver_notice", self._waiver)
                return payer
            if binding.get("state") in ("declined", "expired"):
                break
            await self._try_code(payer, "SG", payer.binding_id, payer.send_code)
        self._told.counts["bindings given up"] += 1
        return None

    async def _buy(self, payer: Payer) -> None:
        with_code = self._chance.random() < 0.35
        amount = self._chance.randint(20_001, 60_000) if with_code else self._chance.randint(100, 20_000)
        payee = self._chance.choice(("merchant", "merchant", "user"))
        order = await payer.order(amount, seconds=ORDER_SECONDS, payee_kind=payee)
        answer = await self._merchant.send("POST", "/v1/payments", order, fresh_key())
        if not answer.is_success:
            self._told.counts[f"refused: {answer.json().get('code')}"] += 1
            return
        payment = answer.json()
        self._told.payments[payment["id"]] = amount
        if payment["verification"] == "code":
            await self._confirm(payer, payment["id"])
        ended = await self._merchant.ended(payment["id"], _PATIENCE_SECONDS)
        self._told.final[payment["id"]] = ended["state"]
        self._told.counts[f"payments {ended['state']}"] += 1
        if ended["state"] == "succeeded" and self._chance.random() < 0.3:
            await self._refund(payment["id"], amount)

    async def _confirm(self, payer: Payer, payment_id: str) -> None:
        for _ in range(8):
            payment = await payer.code_awaited(payment_id, _PATIENCE_SECONDS)
            if payment["state"] != "awaiting_code":
                return
            await self._try_code(payer, "PC", payment_id, lambda code: payer.enter_code(payment_id, code))

    async def _try_code(self, payer: Payer, step: str, subject_id: str, enter: Any) -> None:
        """The phone shows a code unless its bank is down; it is typed in again as long as nobody took it."""
        try:
            code = await payer.texted(step, subject_id, within_seconds=5)
        except (NoMessageError, httpx.HTTPError):
            await asyncio.sleep(1)
            return
        answer = await enter(code)
        self._told.counts[f"codes {answer.status_code}"] += 1
        if answer.status_code != 200:
            await asyncio.sleep(2)

    async def _refund(self, payment_id: str, amount: int) -> None:
        part = self._chance.choice((amount, self._chance.randint(1, amount)))
        answers = await asyncio.gather(*(self._merchant.refund(payment_id, part) for _ in range(2)))
        for answer in answers:
            if answer.is_success:
                refund = answer.json()
                self._told.refunds[refund["id"]] = part
                ended = await self._merchant.refund_ended(refund["id"], _PATIENCE_SECONDS)
                self._told.counts[f"refunds {ended['state']}"] += 1
