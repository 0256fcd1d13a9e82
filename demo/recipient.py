"""Somebody to whom foreign currency comes: a payer with a number abroad, and what becomes of what arrives there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from client import Conversion, ConversionPreview, ReceivingAccount, StillWaitingError, is_done
from client.states import FxState, WaitReason
from demo.payer import Payer
from demo.stage import Stage
from demo.wording import amount, ended, short
from domain.business_time import SHANGHAI

CURRENCY = "USD"
# Where foreign currency comes in, and who converts it (config/fx.toml).
ABROAD, DESK = "OSPB", "HBRB"
PURPOSE = "121010"
# What came so long ago is good by now: no centre of a currency is shut for a week.
VALUED_DAYS_AGO = 7
# An office has closed for the last minute of a day, at the latest.
PATIENCE_SECONDS = 150.0
_LOOKS, _PAUSE_SECONDS = 300, 0.2


class Recipient:
    """A payer who gets money from abroad under the name `holder`. `bound` has been identified by a bank."""

    def __init__(self, stage: Stage, payer: Payer, name: str, holder: str) -> None:
        self._stage, self._merchant = stage, stage.merchant
        self.payer, self._name, self._holder = payer, name, holder
        self.account_number = ""

    @classmethod
    async def arrive(cls, stage: Stage, name: str, holder: str) -> Recipient:
        """A user with a bound card: its issuer has confirmed who it is."""
        payer, _ = await stage.payer_with_card(name)
        return cls(stage, payer, name, holder)

    @property
    def user_id(self) -> str:
        return self.payer.user_id

    def say(self, what: str) -> None:
        """Tells the audience."""
        self._stage.tell(self._name, what)

    async def consent(self) -> None:
        """Reads which data go abroad to whom, and agrees."""
        export = await self._merchant.payees.data_export()
        self.say(f"reads and accepts: 《{export.text.splitlines()[0].strip('# ')}》 {export.version}")
        await self.payer.consent("data_export", export.version, content_hash=export.content_hash)

    async def open_account(self) -> ReceivingAccount:
        """Has a bank abroad open a number in the holder's name. Raises LiushuiError without consent."""
        accounts = self._merchant.receiving_accounts
        asked = await accounts.create(self.user_id, holder_name=self._holder, currency=CURRENCY)
        account = await accounts.wait(asked.id, within_seconds=PATIENCE_SECONDS)
        self.account_number = account.account_number or ""
        self.say(f"has a number at {account.bank_code} for {account.currency}: it is {ended(account)}")
        return account

    async def agree_to_conversion(self) -> None:
        """A mandate: what comes is converted as soon as it may be."""
        await self._merchant.fx_mandates.create(
            user_id=self.user_id, currency=CURRENCY, purpose_code=PURPOSE, mandate_reference=f"fx-{self.user_id[-8:]}"
        )
        self.say("agrees that what comes in USD is converted as soon as it may be (结汇委托)")

    async def gets(self, amount_minor: int, account_number: str | None = None) -> str:
        """Somebody abroad sends money, by default to the right number; answers the bank's reference."""
        valued = datetime.now(SHANGHAI).date() - timedelta(days=VALUED_DAYS_AGO)
        reference = await self._stage.banks.remit(
            ABROAD,
            CURRENCY,
            amount_minor,
            account_number=account_number or self.account_number,
            receiver_name=self._holder,
            purpose_code=PURPOSE,
            value_date=valued.isoformat(),
        )
        self._stage.tell("bank abroad", f"{amount(amount_minor, CURRENCY)} have come for {self._holder}")
        return reference

    async def credited(self, amount_minor: int) -> None:
        """Until so much is on the balance. Raises StillWaitingError."""
        for _ in range(_LOOKS):
            if (await self.balance(CURRENCY))[0] >= amount_minor:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
        raise StillWaitingError(None, _LOOKS * _PAUSE_SECONDS)

    async def begun(self, kind: str = "conversion") -> Conversion:
        """The conversion that the mandate began, or what takes a part of it back."""
        for _ in range(_LOOKS):
            async for found in self._merchant.fx.list(user_id=self.user_id):
                if found.kind == kind and found.rest_of is None:
                    return found
            await asyncio.sleep(_PAUSE_SECONDS)
        raise StillWaitingError(None, _LOOKS * _PAUSE_SECONDS)

    async def confirm(self, amount_minor: int) -> ConversionPreview:
        """Looks at what a conversion would come to now, and says yes."""
        preview = await self._merchant.fx.preview(
            user_id=self.user_id,
            order_number=f"fx-{self.user_id[-8:]}",
            amount_minor=amount_minor,
            currency=CURRENCY,
            purpose_code=PURPOSE,
        )
        rate = f"{preview.rate.rate:.4f}" if preview.rate else "unknown"
        self.say(f"is shown and confirms: 结汇 {amount(amount_minor, CURRENCY)}，参考汇率 {rate}")
        return preview

    async def instruct(self, preview: ConversionPreview) -> Conversion:
        """Has the merchant send what was confirmed."""
        return await self._merchant.fx.convert(preview)

    async def seen(self, conversion: Conversion, until: Callable[[Conversion], bool] = is_done) -> Conversion:
        """Reads a conversion until it is as wanted, by default until it rests."""
        found = await self._merchant.fx.wait(conversion.id, until=until, within_seconds=PATIENCE_SECONDS)
        at = f" at {rate_of(found)}" if found.rate else ""
        self.say(f"{found.kind} {short(found)} of {amount(found.amount_minor, CURRENCY)} {ended(found)}{at}")
        return found

    async def balance(self, currency: str) -> tuple[int, int]:
        """What is available, and what is held."""
        found = await self._merchant.users.balance(self.user_id, currency=currency)
        return found.available_minor, found.held_minor

    async def purse(self) -> str:
        """Both balances, in words."""
        cny, _ = await self.balance("CNY")
        available, held = await self.balance(CURRENCY)
        return f"has {amount(cny)}, {amount(available, CURRENCY)}{f', {amount(held, CURRENCY)} held' if held else ''}"

    async def told(self, conversion: Conversion, at_least: int) -> str:
        """What the merchant's webhooks said of it, in their order; the last is on its way for a moment."""
        found: dict[int, str] = {}
        for _ in range(_LOOKS):
            events = self._stage.receiver.events()
            found = {event.sequence: event.type for event in events if event.object_id == conversion.id}
            if len(found) >= at_least:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        return f"told: {', '.join(kind.removeprefix('fx.') for _, kind in sorted(found.items()))}"


def rate_of(conversion: Conversion) -> str:
    """At which it was dealt."""
    return f"{conversion.rate.rate:.4f}" if conversion.rate else "no rate"


def waits_for_the_desk(conversion: Conversion) -> bool:
    """It has its place at a desk that is closed, or has gone further."""
    waiting = conversion.waiting_for
    return conversion.state != FxState.WAITING or (
        waiting is not None and waiting.reason == WaitReason.FX_DESK_WINDOW and waiting.until is not None
    )
