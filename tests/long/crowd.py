"""Fifty planted people through every process, and what was planted of each: some of it may nobody find in the clear."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from banks.simulator.cards import example_card
from banks.simulator.payee_accounts import example_account
from cli.operators_api import OpsClient
from tests.end_to_end.foreign import Holder, in_suspense, open_offices
from tests.end_to_end.play import Merchant, Payer, id_number
from tests.end_to_end.staff import COMPLIANCE, OTHER_TREASURY, TREASURY, Staff
from tests.end_to_end.world import World

PEOPLE, LEAVERS = 50, 10
# Of these two the second is the first, at another merchant.
ABROAD, SAME_PERSON = 4, 49
DECLINED_FAULT = 1
BALANCE_MINOR, REMITTED_MINOR = 30_000, 10_000
_SURNAMES = ("欧阳", "司徒", "尉迟", "上官", "慕容", "端木", "夏侯", "轩辕", "呼延", "濮阳")
_GIVEN = "澄璃映雪岚墟梧霁曜珩琬翊骞煦昶"
# What sounds like a listed person (EX-MPS-2 of config/screening), written in five ways.
_LISTED = ("陆漠墟", "卢墨徐", "鹿陌旭", "路默序", "禄沫叙")
_AT_ONCE = 4


@dataclass
class Member:
    """One of them. `personal`: in the clear nowhere, of nobody; `told`: the merchant's and our people's own words and
    references, which are there as long as the user is.
    """

    number: int
    payer: Payer
    personal: dict[str, str] = field(default_factory=dict, repr=False)
    told: dict[str, str] = field(default_factory=dict, repr=False)
    holder: Holder | None = None

    @property
    def user_id(self) -> str:
        return self.payer.user_id

    @property
    def merchant(self) -> Merchant:
        return self.payer.merchant

    def says(self, what: str) -> str:
        """A reference that points to this user and holds no personal data; each is remembered."""
        value = f"{what}-" + "".join(random.choice(string.ascii_lowercase) for _ in range(18))
        self.told[f"{what} {len(self.told)}"] = value
        return value

    async def asks(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A command under a key that was chosen with this user in mind."""
        return await self.merchant.done("POST", path, body, self.says("key"))


def _name(number: int) -> str:
    given = _GIVEN[number % 15] + _GIVEN[(number // 15 + 3) % 15] + _GIVEN[(number * 7 + 5) % 15]
    return _SURNAMES[number % 10] + given


def _name_abroad(number: int) -> str:
    return f"Wolfeschlegel Quin{string.ascii_lowercase[number % 26]}{string.ascii_lowercase[number // 26]}illa"


class Crowd:
    """Brings people in and lets each live one of ten lives; `members` by number."""

    def __init__(self, world: World, merchants: tuple[Merchant, Merchant], staff: Staff) -> None:
        self.world, self.merchants, self._staff = world, merchants, staff
        self._waivers: dict[str, str] = {}
        self.members: dict[int, Member] = {}

    @property
    def leavers(self) -> list[Member]:
        return [self.members[number] for number in range(LEAVERS)]

    @property
    def stayers(self) -> list[Member]:
        return [self.members[number] for number in range(LEAVERS, PEOPLE)]

    def go_on_with(self, world: World) -> None:
        """After a restart, on new connections."""
        self.world = world
        for merchant in self.merchants:
            merchant.http = world.http

    async def objects_of(self, members: Iterable[Member]) -> set[str]:
        """The ids of everything that is or was theirs."""
        found: set[str] = set()
        for member in members:
            statement = "SELECT app.objects_of(:u) AS id UNION SELECT i.id FROM app.inbound i WHERE i.user_id = :u"
            found |= {row["id"] for row in await self.world.rows(statement, u=member.user_id)}
        return found

    async def live(self) -> None:
        """A few at a time."""
        await open_offices(self._staff)
        for merchant in self.merchants:
            self._waivers[merchant.id] = await self.world.waiver(merchant)
        few = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            async with few:
                member = await self.join(number)
                await self._life_of(number)(member)

        async with asyncio.TaskGroup() as group:
            for number in range(PEOPLE):
                group.create_task(one(number))

    async def with_payouts(self, so_many: int) -> list[Member]:
        """Of one merchant, each with a card, payments, a payout and something left on the balance."""
        merchant = self.merchants[0]
        self._waivers[merchant.id] = await self.world.waiver(merchant)
        members = [await self.join(number * 10 + 2) for number in range(so_many)]
        for member in members:
            await self._is_paid_out(member)
        return members

    def _life_of(self, number: int) -> Callable[[Member], Awaitable[None]]:
        if number == SAME_PERSON:
            return self._gets_money_from_abroad
        lives = (
            self._pays_with_code, self._is_declined_first, self._is_paid_out, self._pays_somebody_out,
            self._gets_money_from_abroad, self._reports_and_disputes, self._names_a_listed_payee, self._is_looked_at,
            self._is_found_in_suspense, self._lets_data_be_kept,
        )  # fmt: skip
        return lives[number % 10]

    async def join(self, number: int) -> Member:
        """Registered, agreed, and every element planted; nothing bound yet."""
        merchant = self.merchants[1 if number % 10 == 9 else 0]
        abroad = number % 10 in (4, 8) or number == SAME_PERSON
        person = ABROAD if number == SAME_PERSON else number
        name = _name_abroad(person) if abroad else _name(person)
        payer = Payer(
            merchant, "", example_card("HBRB", None, 70_411 + number * 137),
            f"137{(person * 7_919_113 + 44_112_233) % 10**8:08d}", id_number(4_400 + person * 37), name=name,
        )  # fmt: skip
        member = Member(number, payer)
        self.members[number] = member
        member.personal = {
            "name": name, "ID number": payer.id_number, "card": payer.card, "mobile": payer.mobile,
            "own account": example_account("CN", None, 620_813_770_000 + number * 977),
            "account for the rest": example_account("CN", None, 620_613_440_000 + number * 971),
        }  # fmt: skip
        user = await member.asks(
            "/v1/users", {"merchant_user_ref": member.says("customer"), "type": "individual", "region": "CN"}
        )
        payer.user_id = user["id"]
        agreement = await merchant.get("/v1/agreement")
        await self._consents(member, "agreement", agreement["version"], content_hash=agreement["content_hash"])
        return member

    async def _consents(self, member: Member, kind: str, version: str, **other: Any) -> None:
        act = {"kind": kind, "version": version, "channel": "app", "acted_at": datetime.now(UTC).isoformat()}
        evidence = {"evidence_ref": member.says("click")}
        await member.asks(f"/v1/users/{member.user_id}/consents", act | evidence | other)

    async def bind(self, member: Member) -> None:
        """And free of codes for small amounts."""
        await member.payer.apply(member.says("key"))
        await member.payer.send_code(await member.payer.texted("SG", member.payer.binding_id))
        async with asyncio.timeout(60):
            while (await member.payer.binding())["state"] != "open":  # noqa: ASYNC110 - another process opens it
                await asyncio.sleep(0.2)
        version = self._waivers[member.merchant.id]
        for kind in ("waiver_authorisation", "waiver_notice"):
            await self._consents(member, kind, version)

    async def pay(self, member: Member, amount_minor: int = 12_800, **other: Any) -> str:
        """A payment in its final state; its id."""
        payment = await member.asks("/v1/payments", await member.payer.order(amount_minor, **other))
        if payment["verification"] == "code":
            assert (await member.payer.enter_code(payment["id"])).is_success
        ended = await member.merchant.ended(payment["id"], 60)
        assert ended["state"] == "succeeded", ended
        return str(payment["id"])

    async def pay_out(self, member: Member, account: str, amount_minor: int, **payee: Any) -> dict[str, Any]:
        """To an account that is named for it, confirmed once more where that is asked; as far as it gets by itself."""
        payee_id = await member.payer.name_account(account, **payee)
        payout = await member.asks("/v1/payouts", await member.payer.payout_order(payee_id, amount_minor))
        if payout["state"] == "awaiting_confirmation":
            body = {"confirmation_hash": payout["confirmation_hash"]}
            await member.asks(f"/v1/payouts/{payout['id']}/confirm", body)
        rests = ("succeeded", "failed", "refused", "closed", "under_review")
        return await member.merchant.payout_ended(payout["id"], rests, 60)

    async def _pays_with_code(self, member: Member) -> None:
        await self.bind(member)
        payment_id = await self.pay(member, 30_000)
        body = {"amount_minor": 10_000, "reason_code": "requested_by_payer"}
        refund = await member.asks(f"/v1/payments/{payment_id}/refunds", body)
        assert (await member.merchant.refund_ended(refund["id"], 60))["state"] == "succeeded"

    async def _is_declined_first(self, member: Member) -> None:
        payer, good = member.payer, member.payer.card
        payer.card = member.personal["declined card"] = example_card("HBRB", DECLINED_FAULT, member.number + 3_071)
        assert (await payer.apply(member.says("key")))["state"] == "declined"
        payer.card = good
        await self.bind(member)
        await self.pay(member)
        await member.merchant.done("DELETE", f"/v1/users/{member.user_id}/bindings/{payer.binding_id}")

    async def _is_paid_out(self, member: Member) -> None:
        await self.bind(member)
        await self.pay(member, 20_000, payee_kind="user")
        paid = await self.pay_out(member, member.personal["own account"], 5_000)
        assert paid["state"] == "succeeded", paid

    async def _pays_somebody_out(self, member: Member) -> None:
        await self.bind(member)
        await self.pay(member, 20_000, payee_kind="user")
        member.personal |= {
            "payee's name": _name(member.number + PEOPLE),
            "payee's account": example_account("CN", None, 620_913_550_000 + member.number * 991),
        }
        account, name = member.personal["payee's account"], member.personal["payee's name"]
        paid = await self.pay_out(member, account, 5_000, name=name, relation="other")
        assert paid["state"] == "succeeded", paid

    async def _gets_money_from_abroad(self, member: Member) -> None:
        await self._with_number_abroad(member)
        assert member.holder is not None
        await member.holder.mandate(mandate_reference=member.says("mandate"))
        member.personal["remitter's name"] = f"Bartholomaeus Oyela{_name_abroad(member.number)[-8:]} Shipping"
        await member.holder.remit(REMITTED_MINOR, remitter_name=member.personal["remitter's name"])
        [fx] = await member.holder.conversions(within_seconds=60)
        assert (await member.holder.ended(fx["id"]))["state"] == "settled"

    async def _with_number_abroad(self, member: Member) -> None:
        await self.bind(member)
        member.holder = Holder(self.world, member.payer, member.payer.name)
        export = await member.merchant.get("/v1/data_export")
        await self._consents(member, "data_export", export["version"], content_hash=export["content_hash"])
        assert (await member.holder.open_account())["state"] == "open"
        member.personal["number abroad"] = member.holder.account_number

    async def _reports_and_disputes(self, member: Member) -> None:
        await self.bind(member)
        payment_id = await self.pay(member)
        told = {"reason": "not_received", "subject_id": payment_id, "evidence_ref": member.says("chat")}
        await member.asks(f"/v1/users/{member.user_id}/disputes", told)
        report = {"kind": "not_me", "payment_id": payment_id, "channel": "app", "evidence_ref": member.says("call")}
        await member.asks(f"/v1/users/{member.user_id}/reports", report)

    async def _names_a_listed_payee(self, member: Member) -> None:
        """Stopped by the list, looked at by people, rejected; the money stays."""
        await self.bind(member)
        await self.pay(member, 20_000, payee_kind="user")
        member.personal |= {
            "listed payee's name": _LISTED[member.number // 10],
            "listed payee's account": example_account("CN", None, 620_713_330_000 + member.number * 983),
        }
        account, name = member.personal["listed payee's account"], member.personal["listed payee's name"]
        stopped = await self.pay_out(member, account, 5_000, name=name, relation="other")
        assert stopped["state"] == "under_review", stopped
        await self._staff.as_person(COMPLIANCE, lambda ops: reject(ops, stopped["id"]))
        assert (await member.merchant.payout_ended(stopped["id"]))["reason"] == "review_rejected"

    async def _is_looked_at(self, member: Member) -> None:
        """By our own people: what they are shown of a person, and why."""
        await self.bind(member)
        await self.pay(member, 20_000, payee_kind="user")
        asked = {
            "fields": ["name", "id_number", "card_number", "mobile"],
            "reason_code": "support_case",
            "reason_text": "The payer calls about a debit",
        }
        path = f"/users/{member.user_id}/personal-data"
        shown = await self._staff.as_person(COMPLIANCE, lambda ops: ops.post(path, asked))
        assert member.payer.id_number in str(shown)

    async def _is_found_in_suspense(self, member: Member) -> None:
        """Money came under a name and a number that nobody knows; two people say that it is this user's."""
        await self._with_number_abroad(member)
        assert member.holder is not None
        unknown = member.personal | {
            "unknown receiver": f"Thorvalds Aoi{_name_abroad(member.number)[-8:]}",
            "unknown number": f"OSPB{731_904_428_816 + member.number * 997}",
            "remitter's name": f"Chukwuemeka Van{_name_abroad(member.number)[-8:]} Trading",
        }
        member.personal = unknown
        reference = await member.holder.remit(
            REMITTED_MINOR,
            receiver_name=unknown["unknown receiver"],
            account_number=unknown["unknown number"],
            remitter_name=unknown["remitter's name"],
        )
        inbound = (await in_suspense(self._staff, reference, 60))["id"]
        two = {"by": TREASURY, "approved_by": OTHER_TREASURY}
        assert await self._staff.as_person(TREASURY, lambda ops: ops.get(f"/inbounds/{inbound}")["elements"])
        await self._staff.decide("inbound.assign", inbound, user_id=member.user_id, **two)
        async with asyncio.timeout(60):
            while (await member.holder.balance("USD"))[0] == 0:  # noqa: ASYNC110 - another process credits it
                await asyncio.sleep(0.2)

    async def _lets_data_be_kept(self, member: Member) -> None:
        await self.bind(member)
        await self.pay(member)
        await self._consents(member, "longer_retention", "keep-2026-1", until_on="2045-06-30")


def reject(ops: OpsClient, payout_id: str) -> None:
    """Somebody takes the review of a payout, and sees what it was stopped for."""
    [review] = ops.get(f"/instructions/{payout_id}")["reviews"]
    ops.post(f"/reviews/{review['id']}/take")
    assert ops.get(f"/reviews/{review['id']}")["matches"]
    body = {"kind": "review.reject", "subject_id": review["id"], "ground": "identity_doubt", "reason": "同名"}
    ops.post("/decisions", body)
