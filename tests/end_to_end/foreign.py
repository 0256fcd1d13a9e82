"""Plays people to whom foreign currency comes, and offices that work at every hour of a test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from client import Conversion
from client.waiting import is_done
from domain.business_time import SHANGHAI
from domain.identifiers import BankStep, request_number
from tests.end_to_end.play import Merchant, NotInTimeError, Payer, until
from tests.end_to_end.staff import TREASURY, Staff
from tests.end_to_end.world import World

ABROAD, DESK, OTHER_DESK = "OSPB", "HBRB", "WLWB"
DESK_OFFICE, OTHER_DESK_OFFICE, AUTHORITY_OFFICE = "FX-HBRB", "FX-WLWB", "FX-SAFE"
# The simulator's own.
BUYS, SELLS, BUYS_E8 = "7.1234", "7.1434", 712_340_000
# How a payer's name is written abroad.
SPELT = "ZHANG SAN"
# States in which nothing happens by itself any more.
RESTS = ("settled", "refused", "released", "returned")
PURPOSE = "121010"
_EVERY_HOUR = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "opens": "00:00", "closes": "23:59"}]


async def open_offices(staff: Staff, offices: Collection[str] = (DESK_OFFICE, AUTHORITY_OFFICE)) -> None:
    """They work today and tomorrow, but for the last minute of a day; loaded once more, nothing changes."""
    today = datetime.now(SHANGHAI).date()
    corrections = [
        {"calendar": office, "day": (today + timedelta(days=days)).isoformat(), "working": True, "name": "加班"}
        for office in offices
        for days in range(2)
    ]
    await post(staff, "/calendars", {"note": "加班", "corrections": corrections})
    for office in offices:
        await post(staff, "/bank_hours", {"bank_code": office, "ranges": _EVERY_HOUR, "note": "加班"})


async def post(staff: Staff, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """As the treasurer."""
    return await staff.as_person(TREASURY, lambda ops: ops.post(path, body))


@dataclass
class Holder:
    """A payer with a number abroad, under the name `name`: the payer's own, or its spelling."""

    world: World
    payer: Payer
    name: str
    account_number: str = ""

    @property
    def merchant(self) -> Merchant:
        return self.payer.merchant

    @property
    def user_id(self) -> str:
        return self.payer.user_id

    async def agree_to_export(self) -> None:
        """To exactly what the institution would send abroad."""
        export = await self.merchant.get("/v1/data_export")
        await self.payer.consent("data_export", export["version"], content_hash=export["content_hash"])

    async def open_account(self, currency: str = "USD") -> dict[str, Any]:
        """With the number that the bank has given."""
        body = {"currency": currency, "holder_name": self.name}
        asked = await self.merchant.done("POST", f"/v1/users/{self.user_id}/receiving_accounts", body)
        path = f"/v1/receiving_accounts/{asked['id']}"
        account = await until(lambda: self.merchant.get(path), ("open", "declined"), 60)
        self.account_number = account["account_number"] or ""
        return account

    async def mandate(self, currency: str = "USD", **other: Any) -> dict[str, Any]:
        body = {"user_id": self.user_id, "currency": currency, "purpose_code": PURPOSE}
        return await self.merchant.done("POST", "/v1/fx_mandates", body | {"mandate_reference": "fx-1"} | other)

    async def remit(self, amount_minor: int, currency: str = "USD", **other: Any) -> str:
        """Money comes, valued a week ago; answers the bank's reference."""
        valued = datetime.now(SHANGHAI).date() - timedelta(days=7)
        order = {
            "bank_code": ABROAD,
            "currency": currency,
            "amount_minor": amount_minor,
            "account_number": self.account_number,
            "receiver_name": self.name,
            "purpose_code": PURPOSE,
            "value_date": valued.isoformat(),
        }
        answer = await self.world.http.post(f"{self.world.simulator}/control/inbound", json=order | other)
        reference: str = answer.raise_for_status().json()["reference"]
        return reference

    async def funded(self, amount_minor: int, within_seconds: float = 30) -> None:
        """Money comes, and is free on the balance."""
        await self.remit(amount_minor)
        async with asyncio.timeout(within_seconds):
            while (await self.balance("USD"))[0] < amount_minor:  # noqa: ASYNC110 - another process credits it
                await asyncio.sleep(0.1)

    async def balance(self, currency: str) -> tuple[int, int]:
        """What is available, and what is held."""
        found = await self.merchant.get(f"/v1/users/{self.user_id}/balance?currency={currency}")
        return found["available_minor"], found["held_minor"]

    async def convert(self, amount_minor: int, **other: Any) -> dict[str, Any]:
        """An accepted conversion of what is on the balance."""
        wanted = {
            "user_id": self.user_id,
            "order_number": f"fx-{secrets.token_hex(8)}",
            "amount_minor": amount_minor,
            "currency": "USD",
            "purpose_code": PURPOSE,
        } | other
        shown = await self.merchant.done("POST", "/v1/fx/preview", wanted)
        return await self.merchant.done("POST", "/v1/fx", wanted | {"confirmation_hash": shown["confirmation_hash"]})

    async def conversions(self, so_many: int = 1, within_seconds: float = 30, kind: str = "conversion") -> Any:
        """Those that there are, oldest first, once there are so many."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(within_seconds):
            while len(found) < so_many:
                items = (await self.merchant.get(f"/v1/fx?user_id={self.user_id}"))["items"]
                found = [item for item in reversed(items) if item["kind"] == kind and item["rest_of"] is None]
                await asyncio.sleep(0.1)
        return found

    async def ended(self, fx_id: str, states: Collection[str] = RESTS, within_seconds: float = 90) -> dict[str, Any]:
        """The conversion in one of these states."""
        return await until(lambda: self.merchant.get(f"/v1/fx/{fx_id}"), states, within_seconds)

    async def waits_for(self, fx_id: str, reason: str, within_seconds: float = 30) -> dict[str, Any]:
        """The conversion once it says that it waits for this."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_seconds):
                while (found.get("waiting_for") or {}).get("reason") != reason:
                    found = await self.merchant.get(f"/v1/fx/{fx_id}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotInTimeError(f"does not wait for {reason}: {found}") from None
        return found

    async def rests(self, fx_id: str, until: Callable[[Conversion], bool] = is_done) -> Conversion:
        """The same through the typed client."""
        return await self.merchant.client.fx.wait(fx_id, until=until, within_seconds=90)

    async def told(self, object_id: str) -> list[str]:
        """What the merchant was told of something, in order."""
        return [event["type"] for event in (await self.merchant.get(f"/v1/events?object_id={object_id}"))["items"]]


async def holder(world: World, merchant: Merchant, name: str | None = None, *, mandate: bool = True) -> Holder:
    """A user whom a bank has identified, with a number for USD abroad and, unless told otherwise, a mandate."""
    payer = await merchant.register()
    payer.name = name or payer.name
    await payer.bind()
    found = Holder(world, payer, name or SPELT)
    await found.agree_to_export()
    await found.open_account()
    if mandate:
        await found.mandate()
    return found


async def in_suspense(staff: Staff, reference: str, within_seconds: float = 30) -> dict[str, Any]:
    """A remittance that waits for people, as the treasurer finds it."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(within_seconds):
        while not found:
            query = {"state": "suspense", "reference": reference}
            found = await staff.as_person(TREASURY, lambda ops: ops.get("/inbounds", **query)["items"])  # noqa: B023
            await asyncio.sleep(0.1)
    return found[0]


def number_of(fx: dict[str, Any], attempt: int = 0) -> str:
    """Under which the desk knows it."""
    step = BankStep.FX_REVERSAL if fx["kind"] == "reversal" else BankStep.FX_CONVERSION
    return request_number(step, fx["id"], attempt)


async def times_dealt(world: World, fx: dict[str, Any]) -> int:
    """How often any desk has moved CNY for it, under whatever attempt's number."""
    async with httpx.AsyncClient(trust_env=False) as http:
        banks = (await http.get(f"{world.simulator}/control/books")).raise_for_status().json()["banks"].values()
    numbers = (item for bank in banks for item in bank["deals_per_request_number"].items())
    return sum(times for number, times in numbers if number.startswith(number_of(fx)))


async def open_positions(world: World) -> list[dict[str, Any]]:
    """What was dealt and not delivered."""
    return await world.rows(
        "SELECT a.code, b.posted FROM ledger.account a JOIN ledger.balance b ON b.account_id = a.id"
        " WHERE a.kind = 'fx_position' AND b.posted <> 0"
    )
