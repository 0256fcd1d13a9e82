"""Plugs are pulled while a hundred payouts are sent against a balance for sixty: sixty leave once; some return."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import count
from typing import Any

import httpx
import pytest

from banks.simulator.payee_accounts import example_account
from cli.operators_api import OpsClient, OpsRefusedError
from demo.banks import Banks
from domain.identifiers import BankStep, request_number
from runtime.stack import LocalStack
from tests.end_to_end.audit import live
from tests.end_to_end.play import Merchant, Payer
from tests.end_to_end.staff import RISK, Staff
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.test_kills import PARTS, all_up

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

EACH_MINOR = 10_000
FEE_MINOR = 100
COVERED, SENT = 60, 100
# A bank now and then that is difficult as well; none of these ends without having paid.
ACCOUNTS = (None, None, None, 75, 77, 78, 80, 83, 86)
PATIENCE_SECONDS = 400
_serials = count(1)


async def test_of_a_hundred_payouts_at_once_sixty_are_accepted_and_paid_once_whatever_is_killed(
    stack: LocalStack, seed: int
) -> None:
    chance = random.Random(seed)
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=PATIENCE_SECONDS)
        staff = await Staff(world).arrive()
        payer = await merchant.payer()
        await payer.top_up(COVERED * (EACH_MINOR + FEE_MINOR))
        orders = await _orders(payer, chance)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            pulling = group.create_task(_pull_plugs(world, chance, done))
            accepted = await _send_all(merchant, orders)
            say(f"{len(accepted)} accepted")
            # Only now does money come back, or more than sixty would fit.
            ended = await asyncio.gather(*(Payee(world, merchant, staff, chance, one).end() for one in accepted))
            done.set()
        say(f"{dict(pulling.result())} kills; {dict(Counter(ended))}; seed {seed}")
        await _wait_until_quiet(world)
        assert Counter(ended)["returned"] >= 1
        assert set(ended) == {"succeeded", "returned"}
        assert [await _times_paid(world, one) for one in accepted] == [(1, int(state == "returned")) for state in ended]
        assert await merchant.balance(payer.user_id) == (Counter(ended)["returned"] * EACH_MINOR, 0, 0)
        rows = await world.rows("SELECT id FROM app.payout")
        assert {row["id"] for row in rows} == {one["id"] for one in accepted}
        assert await world.wrong() == []


async def _orders(payer: Payer, chance: random.Random) -> list[dict[str, Any]]:
    """Two to each of fifty accounts: of each pair the second needs to be confirmed once more."""
    accounts = [example_account("CN", chance.choice(ACCOUNTS), next(_serials)) for _ in range(SENT // 2)]
    payees = await asyncio.gather(*(payer.name_account(account) for account in accounts))
    return list(await asyncio.gather(*(payer.payout_order(payee, EACH_MINOR) for payee in payees * 2)))


async def _send_all(merchant: Merchant, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answers = await asyncio.gather(*(merchant.send("POST", "/v1/payouts", order) for order in orders))
    assert Counter(answer.status_code for answer in answers) == {201: COVERED, 422: SENT - COVERED}
    assert {a.json()["code"] for a in answers if a.status_code == 422} == {"INSUFFICIENT_FUNDS"}
    return [answer.json() for answer in answers if answer.status_code == 201]


async def _pull_plugs(world: World, chance: random.Random, done: asyncio.Event) -> Counter[str]:
    """Kills part after part, the first two in the middle of accepting, and starts each again a moment later."""
    stack, kills = world.stack, Counter[str]()
    for so_many in (5, 25):
        while len(await world.rows("SELECT id FROM app.payout")) < so_many:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        kills["api" if so_many == 5 else "postgres"] += 1
        await _kill(stack, "api" if so_many == 5 else "postgres")
    while not done.is_set() or len(kills) < len(PARTS):
        victim = chance.choice([part for part in PARTS if kills[part] == min(kills[name] for name in PARTS)])
        await asyncio.sleep(chance.uniform(0.2, 4))
        kills[victim] += 1
        await _kill(stack, victim)
    await all_up(stack, ())
    return kills


async def _kill(stack: LocalStack, victim: str) -> None:
    await asyncio.to_thread(stack.kill, victim)
    say(f"killed {victim}")
    await all_up(stack, [victim])


class Payee:
    """Brings one payout to its end: the second yes, the reviewer's, and now and then the payee's bank's return."""

    def __init__(
        self, world: World, merchant: Merchant, staff: Staff, chance: random.Random, payout: dict[str, Any]
    ) -> None:
        self._world, self._merchant, self._staff, self._payout = world, merchant, staff, payout
        self._is_to_return = chance.random() < 0.2

    async def end(self) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                payout = await self._merchant.payout(self._payout["id"])
                state = str(payout.get("state"))
                if state in ("failed", "refused", "closed", "returned"):
                    return state
                if state == "succeeded" and not self._is_to_return:
                    return state
                await self._bring_on(state)
                await asyncio.sleep(0.5)

    async def _bring_on(self, state: str) -> None:
        if state == "awaiting_confirmation":
            body = {"confirmation_hash": self._payout["confirmation_hash"]}
            await self._merchant.send("POST", f"/v1/payouts/{self._payout['id']}/confirm", body)
        elif state == "under_review":
            await self._staff.as_person(RISK, self._approve)
        elif state == "succeeded":
            await self._send_back()

    def _approve(self, ops: OpsClient) -> None:
        """What a kill got in the way of is tried again, by looking at the payout first."""
        try:
            [review] = ops.get(f"/instructions/{self._payout['id']}")["reviews"]
            if review["state"] != "open":
                return
            if review["owner_login"] is None:
                ops.post(f"/reviews/{review['id']}/take")
            body = {"kind": "review.approve", "subject_id": review["id"], "ground": "evidence", "reason": "查过"}
            ops.post("/decisions", body)
        except (OpsRefusedError, httpx.HTTPError):
            return

    async def _send_back(self) -> None:
        """The simulator may be down; what it has sent back already it does not send back again."""
        async with httpx.AsyncClient(base_url=self._world.simulator, trust_env=False) as http:
            try:
                banks = Banks(http)
                if (await banks.times_paid_out(self._payout["bank_code"], self._payout["id"]))[1] == 0:
                    number = request_number(BankStep.PAYOUT, self._payout["id"])
                    await banks.send_back(self._payout["bank_code"], number)
            except httpx.HTTPError:
                return


async def _times_paid(world: World, payout: dict[str, Any]) -> tuple[int, int]:
    async with httpx.AsyncClient(base_url=world.simulator, trust_env=False) as http:
        return await Banks(http).times_paid_out(payout["bank_code"], payout["id"])


async def _wait_until_quiet(world: World) -> None:
    async with asyncio.timeout(120):
        while await live(world.owner, "payout"):  # noqa: ASYNC110 - another process ends them
            await asyncio.sleep(0.5)
