"""Plays merchants and payers over HTTP, as they are in the world: they have addresses, keys and a phone, no more."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx

from banks.simulator.cards import example_card
from banks.simulator.payer import Phone
from client import AsyncLiushui, Retries, SigningKey

FINAL_PAYMENT = ("succeeded", "failed", "closed", "late_refunded")
FINAL_REFUND = ("succeeded", "failed")
FINAL_PAYOUT = ("succeeded", "returned", "failed", "refused", "closed")
# 工商银行资金清算中心's; the accounts there are the simulator's own.
CNAPS = "102100099996"
FREE_OF_CODE_MINOR = 12_800
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_serials = count(1)


class NotInTimeError(AssertionError):
    """What a test waited for did not happen; the message says what there was instead."""


def fresh_key() -> str:
    """An Idempotency-Key that nobody used."""
    return f"e2e-{secrets.token_hex(12)}"


def id_number(serial: int) -> str:
    """A well-formed resident ID number of a person of full age."""
    seventeen = f"110101{1960 + serial // 900 % 40}0307{serial % 900 + 100:03d}"
    total = sum(int(digit) * weight for digit, weight in zip(seventeen, _WEIGHTS, strict=True))
    return seventeen + "10X98765432"[total % 11]


async def until(
    read: Callable[[], Awaitable[dict[str, Any]]], states: Collection[str], within_seconds: float = 30
) -> dict[str, Any]:
    """Reads a resource until it is in one of these states."""
    deadline, pause, found = time.monotonic() + within_seconds, 0.05, {}
    while time.monotonic() < deadline:
        found = await read()
        if found.get("state") in states:
            return found
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    raise NotInTimeError(f"not {sorted(states)} within {within_seconds:g} s but {found}")


@dataclass
class Merchant:
    """A merchant and its client. With `patience_seconds` it does what the API's document asks for: whatever gets no
    answer is sent again under the same Idempotency-Key. Without `signing_key` it signs nothing.
    """

    id: str
    key: str = field(repr=False)
    http: httpx.AsyncClient
    simulator: str
    patience_seconds: float = 0
    signing_key: SigningKey | None = None

    @property
    def client(self) -> AsyncLiushui:
        """The typed client."""
        retries = Retries(total_seconds=self.patience_seconds, first_pause_seconds=0.1, longest_pause_seconds=2.0)
        return AsyncLiushui(str(self.http.base_url), self.key, self.signing_key, retries=retries, http=self.http)

    async def send(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        """One request, until it is answered; the answer as it came."""
        return await self.client.send(method, path, body, idempotency_key=key)

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.send("GET", path)
        found: dict[str, Any] = answer.json()
        return found

    async def done(self, method: str, path: str, body: Any = None, key: str | None = None) -> dict[str, Any]:
        """The resource of a request that has to succeed."""
        answer = await self.send(method, path, body, key)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        resource: dict[str, Any] = answer.json()
        return resource

    async def payment(self, payment_id: str) -> dict[str, Any]:
        return await self.get(f"/v1/payments/{payment_id}")

    async def ended(self, payment_id: str, within_seconds: float = 30) -> dict[str, Any]:
        """The payment in its final state."""
        return await until(lambda: self.payment(payment_id), FINAL_PAYMENT, within_seconds)

    async def refund(self, payment_id: str, amount_minor: int, key: str | None = None) -> httpx.Response:
        body = {"amount_minor": amount_minor, "reason_code": "requested_by_payer"}
        return await self.send("POST", f"/v1/payments/{payment_id}/refunds", body, key)

    async def refund_ended(self, refund_id: str, within_seconds: float = 30) -> dict[str, Any]:
        return await until(lambda: self.get(f"/v1/refunds/{refund_id}"), FINAL_REFUND, within_seconds)

    async def payout(self, payout_id: str) -> dict[str, Any]:
        return await self.get(f"/v1/payouts/{payout_id}")

    async def payout_ended(
        self, payout_id: str, states: Collection[str] = FINAL_PAYOUT, within_seconds: float = 30
    ) -> dict[str, Any]:
        """The payout in one of these states; a success may still be followed by a return."""
        return await until(lambda: self.payout(payout_id), states, within_seconds)

    async def balance(self, user_id: str) -> tuple[int, int, int]:
        """What a user has available, held and frozen."""
        found = await self.get(f"/v1/users/{user_id}/balance")
        return found["available_minor"], found["held_minor"], found["frozen_minor"]

    async def register(self, bank_code: str = "HBRB", fault: int | None = None) -> Payer:
        """A new user who has agreed to the agreement and holds a card that this bank opens at its first use."""
        serial = next(_serials)
        body = {"merchant_user_ref": f"customer-{secrets.token_hex(6)}", "type": "individual", "region": "CN"}
        user = await self.done("POST", "/v1/users", body)
        agreement = await self.get("/v1/agreement")
        payer = Payer(self, user["id"], example_card(bank_code, fault, serial), f"139{serial:08d}", id_number(serial))
        await payer.consent("agreement", agreement["version"], content_hash=agreement["content_hash"])
        return payer

    async def payer(self, bank_code: str = "HBRB", fault: int | None = None, *, waiver: str | None = None) -> Payer:
        """A user with an open binding; with `waiver`, also allowed to pay free of code."""
        payer = await self.register(bank_code, fault)
        await payer.bind()
        if waiver is not None:
            await payer.consent("waiver_authorisation", waiver)
            await payer.consent("waiver_notice", waiver)
        return payer


@dataclass
class Payer:
    """A person with a card and a phone, who is a user of one merchant."""

    merchant: Merchant
    user_id: str
    card: str
    mobile: str
    id_number: str
    binding_id: str = ""
    name: str = "张三"

    async def consent(self, kind: str, version: str, **other: Any) -> None:
        act = {"kind": kind, "version": version, "channel": "app", "acted_at": datetime.now(UTC).isoformat()}
        await self.merchant.done("POST", f"/v1/users/{self.user_id}/consents", act | other)

    async def apply(self, key: str | None = None) -> dict[str, Any]:
        """Applies to bind the card, and waits for what the issuer says."""
        elements = {
            "name": self.name,
            "id_number": self.id_number,
            "card_number": self.card,
            "mobile": self.mobile,
        }
        applied = await self.merchant.done("POST", f"/v1/users/{self.user_id}/bindings", elements, key)
        self.binding_id = applied["id"]
        return await until(self.binding, ("awaiting_code", "open", "declined", "expired"), 60)

    async def binding(self) -> dict[str, Any]:
        return await self.merchant.get(f"/v1/users/{self.user_id}/bindings/{self.binding_id}")

    async def bind(self) -> dict[str, Any]:
        """Applies, reads the code from the phone, types it in."""
        await self.apply()
        await self.send_code(await self.texted("SG", self.binding_id))
        return await until(self.binding, ("open",), 60)

    async def send_code(self, code: str) -> httpx.Response:
        """Types in a code for the binding."""
        path = f"/v1/users/{self.user_id}/bindings/{self.binding_id}/code"
        return await self.merchant.send("POST", path, {"code": code})

    async def texted(self, step: str, subject_id: str, within_seconds: float = 15) -> str:
        """The code that the issuer texted for this binding or payment."""
        number = f"{step}{subject_id.rpartition('_')[2]}"
        async with Phone(self.merchant.simulator, self.mobile) as phone:
            return await phone.code(request_number=number, within_seconds=within_seconds)

    async def order(self, amount_minor: int, **other: Any) -> dict[str, Any]:
        """An order that this payer has confirmed after seeing what the merchant showed."""
        wanted = {
            "user_id": self.user_id,
            "binding_id": self.binding_id,
            "order_number": f"order-{secrets.token_hex(8)}",
            "amount_minor": amount_minor,
            "currency": "CNY",
            "payee_kind": "merchant",
        } | {name: value for name, value in other.items() if name != "seconds"}
        shown = await self.merchant.done("POST", "/v1/payments/preview", wanted)
        until_then = datetime.now(UTC) + timedelta(seconds=other.get("seconds", 1800))
        return wanted | {
            "confirmation_hash": shown["confirmation_hash"],
            "order_expires_at": until_then.isoformat(),
        }

    async def pay(self, amount_minor: int = FREE_OF_CODE_MINOR, **other: Any) -> dict[str, Any]:
        """An accepted payment."""
        return await self.merchant.done("POST", "/v1/payments", await self.order(amount_minor, **other))

    async def pay_to_the_end(
        self, amount_minor: int = FREE_OF_CODE_MINOR, within_seconds: float = 30, **other: Any
    ) -> dict[str, Any]:
        """A payment in its final state; the code is typed in where one is needed."""
        payment = await self.pay(amount_minor, **other)
        if payment["verification"] == "code":
            answer = await self.enter_code(payment["id"])
            assert answer.is_success, answer.text
        return await self.merchant.ended(payment["id"], within_seconds)

    async def top_up(self, amount_minor: int) -> None:
        """Collects into this payer's own balance."""
        paid = await self.pay_to_the_end(amount_minor, payee_kind="user")
        assert paid["state"] == "succeeded", paid

    async def name_account(self, account_number: str, **other: Any) -> str:
        """Names an account, of the payer's own unless said otherwise; answers the payee's id."""
        body = {
            "relation": "own",
            "holder_type": "individual",
            "region": "CN",
            "bank_id": {"kind": "cnaps", "value": CNAPS},
            "name": self.name,
            "account_number": account_number,
        } | other
        payee = await self.merchant.done("POST", f"/v1/users/{self.user_id}/payees", body)
        payee_id: str = payee["id"]
        return payee_id

    async def payout_order(self, payee_id: str, amount_minor: int) -> dict[str, Any]:
        """A payout as the payer confirmed it after a preview."""
        wanted = {
            "user_id": self.user_id,
            "payee_id": payee_id,
            "order_number": f"payout-{secrets.token_hex(8)}",
            "amount_minor": amount_minor,
            "currency": "CNY",
            "speed": "real_time",
        }
        shown = await self.merchant.done("POST", "/v1/payouts/preview", wanted)
        return wanted | {"confirmation_hash": shown["confirmation_hash"]}

    async def pay_out(self, account_number: str, amount_minor: int, **payee: Any) -> dict[str, Any]:
        """An accepted payout to an account that is named for it."""
        order = await self.payout_order(await self.name_account(account_number, **payee), amount_minor)
        return await self.merchant.done("POST", "/v1/payouts", order)

    async def enter_code(self, payment_id: str, code: str | None = None, key: str | None = None) -> httpx.Response:
        """Types in what the phone shows, or another code, once the merchant says that one is waited for."""
        await self.code_awaited(payment_id)
        code = code or await self.texted("PC", payment_id)
        return await self.merchant.send("POST", f"/v1/payments/{payment_id}/code", {"code": code}, key)

    async def code_awaited(self, payment_id: str, within_seconds: float = 30) -> dict[str, Any]:
        """The payment once it waits for the payer's code, or no longer does."""

        async def read() -> dict[str, Any]:
            found = await self.merchant.payment(payment_id)
            waits = found["state"] == "awaiting_code" and found["code_expires_at"] is None
            return found if not waits else {"state": "no code yet"}

        return await until(read, ("awaiting_code", "ready", "sending", "unknown", *FINAL_PAYMENT), within_seconds)


def wrong(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
