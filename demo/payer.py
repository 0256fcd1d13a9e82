"""A payer: reads what there is to agree to, types card numbers, and copies codes from the phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from banks.simulator.payer import Phone
from client import (
    AsyncLiushui,
    Binding,
    LiushuiError,
    Payee,
    Payment,
    PaymentPreview,
    Payout,
    PayoutPreview,
    Refund,
    is_done,
    is_done_or_needs_code,
)
from client.states import PayeeKind, PaymentState, PayoutState, Verification
from demo.people import Person
from demo.wording import amount, ended, short

_BANKS_ZH = {"HBRB": "港湾银行", "WLWB": "柳岸银行"}
# 工商银行资金清算中心's number; accounts there behave as the simulator's own do.
ACCOUNTS_BANK = "102100099996"
# Where a payout may stay for a while.
_WAITS = frozenset({PayoutState.COOLING_OFF, PayoutState.UNDER_REVIEW})
ORDER_MINUTES = 15.0
PATIENCE_SECONDS, LONG_SECONDS = 60.0, 120.0


@dataclass(frozen=True)
class Confirmed:
    """What the payer was shown and said yes to."""

    preview: PaymentPreview
    expires_at: datetime


class Payer:
    """One person with a phone, at one merchant. `say` tells the audience what happens."""

    def __init__(self, person: Person, merchant: AsyncLiushui, phone: Phone, say: Callable[[str], None]) -> None:
        self._person, self._merchant, self._phone, self._say = person, merchant, phone, say
        self._last_message = 0
        self._orders = 0
        self.user_id = self.reference = ""

    async def join(self) -> None:
        """Becomes a user of the merchant and accepts the agreement in force."""
        self.reference = f"customer-{self._person.mobile[-6:]}-{datetime.now(UTC):%H%M%S}"
        self.user_id = (await self._merchant.users.create(self.reference)).id
        agreement = await self._merchant.users.agreement()
        title = agreement.text.splitlines()[0].strip("# ")
        self._say(f"reads and accepts the agreement: 《{title}》 {agreement.version}")
        await self.consent("agreement", agreement.version, content_hash=agreement.content_hash)

    async def consent(self, kind: str, version: str, content_hash: str | None = None) -> None:
        """Something that the payer did or was shown, with evidence."""
        await self._merchant.users.consent(
            self.user_id,
            kind,
            version,
            acted_at=datetime.now(UTC),
            content_hash=content_hash,
            evidence_ref="demo:click",
        )

    async def bind(self, card_number: str) -> Binding:
        """Gives the four elements and the code that the issuer texts. Answers the binding, open or declined."""
        bindings, who = self._merchant.bindings, self._person
        binding = await bindings.create(
            self.user_id, name=who.name, id_number=who.id_number, card_number=card_number, mobile=who.mobile
        )
        bank = _BANKS_ZH.get(binding.bank_code, binding.bank_code)
        self._say(f"asks to bind the card that ends in {binding.card_last4} ({bank})")
        binding = await bindings.wait(self.user_id, binding.id, until=is_done_or_needs_code)
        if binding.needs_code:
            await bindings.confirm(self.user_id, binding.id, await self.read_code("sign"))
            binding = await bindings.wait(self.user_id, binding.id)
        self._say(f"the card is {ended(binding)}")
        return binding

    async def unbind(self, binding: Binding) -> Binding:
        """Takes the card away again."""
        await self._merchant.bindings.unbind(self.user_id, binding.id)
        unbound = await self._merchant.bindings.wait(self.user_id, binding.id)
        self._say("the card is unbound")
        return unbound

    async def confirm(
        self,
        binding: Binding,
        amount_minor: int,
        payee_kind: str = PayeeKind.MERCHANT,
        minutes: float = ORDER_MINUTES,
    ) -> Confirmed:
        """Looks at what is to be paid, and says yes."""
        self._orders += 1
        preview = await self._merchant.payments.preview(
            user_id=self.user_id,
            binding_id=binding.id,
            order_number=f"{self.user_id[-6:]}-{self._orders}",
            amount_minor=amount_minor,
            payee_kind=payee_kind,
        )
        self._say(f"is shown and confirms: 向「{preview.payee_name}」支付 {amount(amount_minor)}")
        return Confirmed(preview, datetime.now(UTC) + timedelta(minutes=minutes))

    async def instruct(self, confirmed: Confirmed, idempotency_key: str | None = None) -> Payment:
        """Has the merchant send what was confirmed. Raises LiushuiError."""
        return await self._merchant.payments.pay(
            confirmed.preview, order_expires_at=confirmed.expires_at, idempotency_key=idempotency_key
        )

    async def pay(
        self,
        binding: Binding,
        amount_minor: int,
        payee_kind: str = PayeeKind.MERCHANT,
        minutes: float = ORDER_MINUTES,
    ) -> Payment:
        """Confirms, enters the code if there is one, and waits for the end."""
        return await self.finish(await self.instruct(await self.confirm(binding, amount_minor, payee_kind, minutes)))

    async def finish(self, payment: Payment) -> Payment:
        """From an accepted payment to its final state."""
        if payment.verification == Verification.CODE:
            await self.wait_for_code(payment)
            await self.enter_code(payment, await self.read_code("payment"))
        return await self.final(payment)

    async def wait_for_code(self, payment: Payment) -> None:
        """Until the payment waits for the payer's code."""
        await self._merchant.payments.wait(payment.id, until=is_done_or_needs_code)

    async def enter_code(self, payment: Payment, code: str) -> None:
        """Types a code. Raises LiushuiError."""
        try:
            await self._merchant.payments.confirm(payment.id, code)
        except LiushuiError as refused:
            self._say(f"is told: {refused.title_zh} ({refused.code}, attempts left: {refused.attempts_left})")
            raise

    async def final(self, payment: Payment) -> Payment:
        """Waits for the end, and says what it waits for on the way."""
        told: set[str] = set()

        def is_over(seen: Payment) -> bool:
            waiting = seen.waiting_for
            if waiting and seen.state in (PaymentState.UNKNOWN, PaymentState.LATE_REFUNDING) and seen.state not in told:
                told.add(seen.state)
                self._say(f"payment {short(seen)} is {seen.state}, waiting for {waiting.reason}")
            return waiting is None

        seen = await self._merchant.payments.wait(payment.id, until=is_over, within_seconds=LONG_SECONDS)
        self._say(f"payment {short(seen)} of {amount(seen.amount_minor)} {ended(seen)}")
        return seen

    async def refund(self, payment: Payment, amount_minor: int) -> Refund:
        """The merchant gives money back. Raises LiushuiError."""
        refund = await self._merchant.refunds.create(payment.id, amount_minor)
        seen = await self._merchant.refunds.wait(refund.id)
        self._say(f"refund {short(seen)} of {amount(amount_minor)} {ended(seen)}")
        return seen

    async def name_account(self, account_number: str) -> Payee:
        """Names an account of the payer's own, to be paid out to."""
        payee = await self._merchant.payees.create(
            self.user_id, name=self._person.name, account_number=account_number, bank_id=ACCOUNTS_BANK
        )
        self._say(f"names an account: {payee.name} {payee.account}, the name is a {payee.name_match}")
        return payee

    async def confirm_payout(self, payee: Payee, amount_minor: int) -> PayoutPreview:
        """Looks at what is to leave, and says yes."""
        self._orders += 1
        preview = await self._merchant.payouts.preview(
            user_id=self.user_id,
            payee_id=payee.id,
            order_number=f"{self.user_id[-6:]}-{self._orders}",
            amount_minor=amount_minor,
        )
        what = f"提现 {amount(amount_minor)} 至 {preview.payee_account}，手续费 {amount(preview.fee_minor)}"
        self._say(f"is shown and confirms: {what}")
        return preview

    async def withdraw(self, payee: Payee, amount_minor: int) -> Payout:
        """Confirms, and has the merchant send it; answers it as soon as it waits for something, or has ended."""
        payout = await self._merchant.payouts.pay(await self.confirm_payout(payee, amount_minor))
        return await self.payout(payout, until=lambda seen: is_done(seen) or seen.state in _WAITS)

    async def payout(self, payout: Payout, until: Callable[[Payout], bool] = is_done) -> Payout:
        """Reads a payout until it is as wanted, by default final."""
        seen = await self._merchant.payouts.wait(payout.id, until=until, within_seconds=PATIENCE_SECONDS)
        self._say(f"payout {short(seen)} of {amount(seen.amount_minor)} {ended(seen)}")
        return seen

    async def read_code(self, purpose: str) -> str:
        """The code in the newest text message, as a person reads it."""
        message = await self._phone.message(purpose=purpose, after_message_id=self._last_message, within_seconds=30)
        self._last_message = message["message_id"]
        # A code is for one pair of eyes, also on a stage.
        self._say(f"gets a text message: {re.sub(message['code'], '••••••', message['text'])}")
        return str(message["code"])
