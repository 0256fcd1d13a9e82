"""One running stack for all of these tests, which `tests/scheduling.py` keeps on one test process."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest

from runtime.stack import LocalStack
from tests.end_to_end.play import Merchant, Payer
from tests.end_to_end.world import World, running_stack, world_on


@dataclass(frozen=True)
class Matter:
    """A payment or binding that was begun, by whom, and the code that the payer was texted."""

    payer_then: Payer = field(repr=False)
    id: str
    code: str = field(default="", repr=False)

    def payer(self, world: World) -> Payer:
        """The same payer and merchant, on this test's connections."""
        merchant = dataclasses.replace(self.payer_then.merchant, http=world.http)
        return dataclasses.replace(self.payer_then, merchant=merchant)

    def of(self, world: World) -> Merchant:
        return self.payer(world).merchant


@dataclass(frozen=True)
class SlowMatters:
    """Begun before all tests, looked at by the last: they need a minute by their nature."""

    late_payment: Matter
    never_judged_payment: Matter
    never_judged_binding: Matter
    lost_payment_code: Matter
    lost_binding_code: Matter


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL, Temporal, codec server, simulator, API and worker."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="session")
def slow_matters(stack: LocalStack) -> SlowMatters:
    """They have their minute while the other tests run."""

    async def begin() -> SlowMatters:
        async with world_on(stack) as world:
            merchant = await world.merchant("晚钟茶庄")
            waiver = await world.waiver(merchant)
            late = await merchant.payer(fault=40, waiver=waiver)
            payment = await late.pay(seconds=60.5)
            lost = await asyncio.gather(
                _lost_payment_code(world, await merchant.payer(fault=65), seconds=60.5),
                _lost_binding_code(world, await merchant.register(fault=14)),
                _lost_payment_code(world, await merchant.payer()),
                _lost_binding_code(world, await merchant.register()),
            )
            return SlowMatters(Matter(late, payment["id"]), *lost)

    return asyncio.run(begin())


async def _lost_payment_code(world: World, payer: Payer, **order: float) -> Matter:
    """Typed in, and the bank never gets it: the code is judged by nobody."""
    payment = await payer.pay(30_000, **order)
    await payer.code_awaited(payment["id"])
    code = await payer.texted("PC", payment["id"])
    await _lose_next(world, "payment-code-verifications", payer)
    assert (await payer.enter_code(payment["id"], code)).status_code == 202
    return Matter(payer, payment["id"], code)


async def _lost_binding_code(world: World, payer: Payer) -> Matter:
    await payer.apply()
    code = await payer.texted("SG", payer.binding_id)
    await _lose_next(world, "sign-confirmations", payer)
    assert (await payer.send_code(code)).status_code == 202
    return Matter(payer, payer.binding_id, code)


async def _lose_next(world: World, operation: str, payer: Payer) -> None:
    """The next request of this kind for this card gets nowhere; fault cards go on like that by themselves."""
    order = {"operation": operation, "kind": "time_out_before", "card_number": payer.card}
    await world.control("faults", order)


@pytest.fixture
async def world(stack: LocalStack, slow_matters: SlowMatters) -> AsyncIterator[World]:
    """The stack, and this test's own connections to it."""
    async with world_on(stack) as opened:
        yield opened


@pytest.fixture
async def merchant(world: World) -> Merchant:
    return await world.merchant()
