"""Plugs are pulled around decisions: what was withdrawn is never sent, and ends as withdrawn all the same."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import UTC, datetime

import pytest
from temporalio.client import WorkflowUpdateStage

from domain.decisions import DecisionKind
from runtime.stack import LocalStack
from storage.decisions import decide_directly
from tests.end_to_end.audit import books_of_the_banks
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import Merchant
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.test_kills import all_up
from workflows import names
from workflows.messages import DecisionMessage

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


async def awaiting_code(merchant: Merchant, *, amount_minor: int = 30_000) -> str:
    """A payment whose payer has a code and has not typed it."""
    payer = await merchant.payer()
    payment = await payer.pay(amount_minor)
    await payer.code_awaited(payment["id"])
    return str(payment["id"])


async def withdraw(world: World, payment_id: str) -> str:
    """Committed by the institution; whoever would have told the process of it is dead."""
    return await decide_directly(world.owner, DecisionKind.INSTRUCTION_WITHDRAW, payment_id, datetime.now(UTC))


async def withdrawn(world: World, merchant: Merchant, payment_id: str) -> None:
    begun = time.monotonic()
    ended = await merchant.ended(payment_id, 90)
    assert (ended["state"], ended["reason"]) == ("closed", "withdrawn")
    say(f"withdrawn {time.monotonic() - begun:.1f} s later")
    for bank in (await books_of_the_banks(world.simulator))["banks"].values():
        assert f"DB{payment_id.removeprefix('pay_')}" not in bank["debits_per_request_number"]
    [events] = await world.rows(
        "SELECT count(*) AS closed FROM app.event WHERE object_id = :id AND type = 'payment.closed'", id=payment_id
    )
    assert events["closed"] == 1
    assert await world.wrong() == []


async def test_whoever_commits_a_withdrawal_and_dies_leaves_it_to_the_sweeper(stack: LocalStack) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payment_id = await awaiting_code(merchant)
        await withdraw(world, payment_id)
        await withdrawn(world, merchant, payment_id)


@pytest.mark.parametrize("victims", [["worker"], ["temporal"], ["worker", "temporal"], ["postgres"]], ids="+".join)
async def test_a_withdrawal_survives_a_kill_between_its_commit_and_the_update(
    stack: LocalStack, victims: list[str]
) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payment_id = await awaiting_code(merchant)
        await withdraw(world, payment_id)
        for victim in victims:
            await asyncio.to_thread(stack.kill, victim)
        await all_up(stack, victims)
        await withdrawn(world, merchant, payment_id)


async def test_a_withdrawal_survives_kills_between_the_update_and_its_effect(stack: LocalStack, seed: int) -> None:
    chance = random.Random(seed)
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        client = await temporal_client(world)
        for _ in range(4):
            payment_id = await awaiting_code(merchant)
            decision_id = await withdraw(world, payment_id)
            workflow_id = names.workflow_id(names.Process.COLLECT_PAYMENT, payment_id)
            telling = asyncio.create_task(
                client.get_workflow_handle(workflow_id).start_update(
                    names.DECISION_UPDATE,
                    DecisionMessage(decision_id=decision_id),
                    id=decision_id,
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                )
            )
            await asyncio.sleep(chance.uniform(0, 0.25))
            await asyncio.to_thread(stack.kill, "worker")
            await all_up(stack, ("worker",))
            await withdrawn(world, merchant, payment_id)
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await telling


async def test_a_code_typed_while_the_worker_is_dead_moves_nothing_that_was_withdrawn(stack: LocalStack) -> None:
    async with world_on(stack) as world:
        merchant = await world.merchant(patience_seconds=60)
        payer = await merchant.payer()
        payment = await payer.pay(30_000)
        await payer.code_awaited(payment["id"])
        code = await payer.texted("PC", payment["id"])
        await asyncio.to_thread(stack.kill, "worker")
        await withdraw(world, payment["id"])
        assert (await payer.enter_code(payment["id"], code)).json()["code"] == "WITHDRAWN"
        await all_up(stack, ("worker",))
        await withdrawn(world, merchant, payment["id"])
