"""Planted people to whom foreign currency comes, and everything that can become of it."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from tests.end_to_end.audit import live
from tests.end_to_end.foreign import Holder, holder, in_suspense, number_of, open_offices
from tests.end_to_end.play import Merchant
from tests.end_to_end.staff import OTHER_TREASURY, TREASURY
from tests.end_to_end.staff import Staff as People
from tests.end_to_end.world import World

# To whom it comes, who sends it, and whom nobody knows.
ABROAD: dict[str, str] = {
    "receiver's name": "Wolfeschlegelsteinhausen Quintilia",
    "remitter's name": "Bartholomaeus Oyelaran Shipping",
    "unknown receiver's name": "Thorvaldsdottir Aoibheann",
    "unknown receiver's number": "OSPB731904428816",
    "other remitter's name": "Chukwuemeka Vandersloot Trading",
}


async def foreign_life(world: World, merchant: Merchant) -> dict[str, str | bytes]:
    """Converted, refused, sent back, taken back; from suspense assigned and returned. Answers all that was planted."""
    people = await People(world).arrive()
    await open_offices(people)
    who = await holder(world, merchant, ABROAD["receiver's name"])
    known = {"receiver's number": who.account_number, "receiver's ID number": who.payer.id_number}
    known |= {"receiver's card": who.payer.card, "receiver's mobile": who.payer.mobile}
    await who.remit(100_000, remitter_name=ABROAD["remitter's name"])
    [fx] = await who.conversions()
    await who.ended(fx["id"])
    await world.control("fx-excess", {"bank_code": "HBRB", "request_number": number_of(fx), "excess_minor": 30_000})
    [reversal] = await who.conversions(kind="reversal")
    await who.ended(reversal["id"])
    await who.remit(50_000, remitter_name=ABROAD["remitter's name"])
    refused = await who.ended((await who.conversions(2))[1]["id"])
    assert refused["reason"] == "quota_known_exceeded"
    await merchant.done("POST", f"/v1/fx/{refused['id']}/disposal", {"action": "return"})
    await who.ended(refused["id"], ("returned",))
    unknown = {
        "receiver_name": ABROAD["unknown receiver's name"],
        "account_number": ABROAD["unknown receiver's number"],
        "remitter_name": ABROAD["other remitter's name"],
    }
    references = [await who.remit(20_000, **unknown), await who.remit(20_000, receiver_name=unknown["receiver_name"])]
    two = {"by": TREASURY, "approved_by": OTHER_TREASURY}
    assigned, returned = [(await in_suspense(people, each))["id"] for each in references]
    assert await people.as_person(TREASURY, lambda ops: ops.get(f"/inbounds/{assigned}")["elements"])
    await people.decide("inbound.assign", assigned, user_id=who.user_id, **two)
    await people.decide("inbound.return", returned, **two)
    await _hostile_about_fx(merchant, who, {**ABROAD, **known})
    await _quiet_about_fx(world)
    return {**ABROAD, **known}


async def _hostile_about_fx(merchant: Merchant, who: Holder, values: dict[str, str]) -> None:
    """The same values where they do not belong."""
    places = [f"/v1/users/{who.user_id}/receiving_accounts", "/v1/fx_mandates", "/v1/fx/preview", "/v1/fx"]
    for value in values.values():
        hostile = {"currency": value, "holder_name": value, "user_id": value, "order_number": value, value: value}
        hostile |= {"purpose_code": value, "evidence": [{"kind": value, "reference": value}], "amount_minor": value}
        for place in places:
            assert 400 <= (await merchant.send("POST", place, hostile)).status_code < 500
        for path in ("receiving_accounts", "inbounds", "fx", "fx_mandates"):
            assert (await merchant.send("GET", f"/v1/{path}/{quote(value, safe='')}")).status_code == 404
            assert (
                await merchant.send("GET", f"/v1/{path}?user_id={quote(value)}&state={quote(value)}")
            ).status_code >= 400


async def _quiet_about_fx(world: World) -> None:
    """What was decided is done."""
    async with asyncio.timeout(60):
        while await live(world.owner, "fx", "inbound_return"):  # noqa: ASYNC110 - another process ends them
            await asyncio.sleep(0.2)
