"""A payer: reads what there is to agree to, types card numbers, and copies codes from the phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from banks.simulator.payer import Phone
from demo.merchant import Merchant, RefusedError, Resource
from demo.people import Person
from domain.money import format_amount

_BINDING_ENDS = frozenset({"open", "declined", "expired", "unbound"})
_BANKS_ZH = {"HBRB": "港湾银行", "WLWB": "柳岸银行"}
ORDER_MINUTES = 15.0
LONG_SECONDS = 120.0


class Payer:
    """One person with a phone, at one merchant. `say` tells the audience what happens."""

    def __init__(self, person: Person, merchant: Merchant, phone: Phone, say: Callable[[str], None]) -> None:
        self._person, self._merchant, self._phone, self._say = person, merchant, phone, say
        self._last_message = 0
        self._orders = 0
        self.user_id = ""

    async def join(self) -> None:
        """Becomes a user of the merchant and accepts the agreement in force."""
        reference = f"customer-{self._person.mobile[-6:]}-{datetime.now(UTC):%H%M%S}"
        body = {"merchant_user_ref": reference, "type": "individual", "region": "CN"}
        self.user_id = (await self._merchant.post("/v1/users", body))["id"]
        agreement = await self._merchant.get("/v1/agreement")
        title = agreement["text"].splitlines()[0].strip("# ")
        self._say(f"reads and accepts the agreement: 《{title}》 {agreement['version']}")
        await self.consent("agreement", agreement["version"], content_hash=agreement["content_hash"])

    async def consent(self, kind: str, version: str, **more: str) -> None:
        """Something that the payer did or was shown, with evidence."""
        act = {"channel": "app", "acted_at": datetime.now(UTC).isoformat(), "evidence_ref": "demo:click"}
        await self._merchant.post(f"/v1/users/{self.user_id}/consents", {"kind": kind, "version": version} | act | more)

    async def bind(self, card_number: str) -> Resource:
        """Gives the four elements and the code that the issuer texts. Answers the binding, open or declined."""
        four = {"name": self._person.name, "id_number": self._person.id_number, "mobile": self._person.mobile}
        path = f"/v1/users/{self.user_id}/bindings"
        binding = await self._merchant.post(path, four | {"card_number": card_number})
        bank = _BANKS_ZH.get(binding["bank_code"], binding["bank_code"])
        self._say(f"asks to bind the card that ends in {binding['card_last4']} ({bank})")
        path = f"{path}/{binding['id']}"
        binding = await self._merchant.until(path, lambda seen: _wants_code(seen) or seen["state"] in _BINDING_ENDS)
        if _wants_code(binding):
            await self._merchant.post(f"{path}/code", {"code": await self.read_code("sign")})
            binding = await self._merchant.until(path, lambda seen: seen["state"] in _BINDING_ENDS)
        self._say(f"the card is {_ended(binding)}")
        return binding

    async def unbind(self, binding: Resource) -> Resource:
        """Takes the card away again."""
        path = f"/v1/users/{self.user_id}/bindings/{binding['id']}"
        await self._merchant.delete(path)
        unbound = await self._merchant.until(path, lambda seen: seen["state"] == "unbound")
        self._say("the card is unbound")
        return unbound

    async def confirm(
        self, binding: Resource, amount_minor: int, payee_kind: str = "merchant", minutes: float = ORDER_MINUTES
    ) -> tuple[Resource, Resource]:
        """Looks at what is to be paid; answers the preview and the order that was confirmed with it."""
        self._orders += 1
        order = {
            "user_id": self.user_id,
            "binding_id": binding["id"],
            "order_number": f"{self.user_id[-6:]}-{self._orders}",
            "amount_minor": amount_minor,
            "currency": "CNY",
            "payee_kind": payee_kind,
        }
        preview = await self._merchant.post("/v1/payments/preview", order)
        amount = format_amount(amount_minor, "CNY")
        self._say(f"is shown and confirms: 向「{preview['payee_name']}」支付 {amount}")
        expires_at = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
        more = {"confirmation_hash": preview["confirmation_hash"], "order_expires_at": expires_at}
        return preview, order | more

    async def pay(self, binding: Resource, amount_minor: int, **options: Any) -> Resource:
        """Confirms, enters the code if there is one, and waits for the end."""
        _, order = await self.confirm(binding, amount_minor, **options)
        return await self.finish(await self._merchant.post("/v1/payments", order))

    async def finish(self, payment: Resource) -> Resource:
        """From an accepted payment to its final state."""
        if payment["verification"] == "code":
            await self.wait_for_code(payment)
            await self.enter_code(payment, await self.read_code("payment"))
        return await self.final(payment)

    async def wait_for_code(self, payment: Resource) -> None:
        """Until the payment waits for the payer's code."""
        await self._merchant.until(f"/v1/payments/{payment['id']}", _wants_code)

    async def enter_code(self, payment: Resource, code: str) -> None:
        """Types a code. Raises RefusedError."""
        try:
            await self._merchant.post(f"/v1/payments/{payment['id']}/code", {"code": code})
        except RefusedError as refused:
            self._say(f"is told: {refused.title_zh} ({refused.code}, attempts left: {refused.attempts_left})")
            raise

    async def final(self, payment: Resource) -> Resource:
        """Waits for the end, and says what it waits for on the way."""
        told: set[str] = set()

        def ended(seen: Resource) -> bool:
            if seen["state"] in ("unknown", "late_refunding") and seen["state"] not in told:
                told.add(seen["state"])
                self._say(f"payment {_id(seen)} is {seen['state']}, waiting for {seen['waiting_for']['reason']}")
            return seen["waiting_for"] is None

        seen = await self._merchant.until(f"/v1/payments/{payment['id']}", ended, LONG_SECONDS)
        self._say(f"payment {_id(seen)} of {format_amount(seen['amount_minor'], 'CNY')} {_ended(seen)}")
        return seen

    async def refund(self, payment: Resource, amount_minor: int) -> Resource:
        """The merchant gives money back. Raises RefusedError."""
        body = {"amount_minor": amount_minor, "reason_code": "requested_by_payer"}
        refund = await self._merchant.post(f"/v1/payments/{payment['id']}/refunds", body)
        seen = await self._merchant.until(f"/v1/refunds/{refund['id']}", lambda one: one["waiting_for"] is None)
        self._say(f"refund {_id(seen)} of {format_amount(amount_minor, 'CNY')} {_ended(seen)}")
        return seen

    async def read_code(self, purpose: str) -> str:
        """The code in the newest text message, as a person reads it."""
        message = await self._phone.message(purpose=purpose, after_message_id=self._last_message, within_seconds=30)
        self._last_message = message["message_id"]
        # A code is for one pair of eyes, also on a stage.
        self._say(f"gets a text message: {re.sub(message['code'], '••••••', message['text'])}")
        return str(message["code"])


def _wants_code(seen: Resource) -> bool:
    return (seen["waiting_for"] or {}).get("reason") == "payer_code"


def _ended(seen: Resource) -> str:
    return f"{seen['state']} ({seen['reason']})" if seen.get("reason") else str(seen["state"])


def _id(seen: Resource) -> str:
    return f"…{seen['id'][-6:]}"
