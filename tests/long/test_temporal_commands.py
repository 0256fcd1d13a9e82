"""Operators use Temporal's own commands on processes in the middle of a payment: nothing lost, nothing paid twice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.stack import LocalStack
from tests.end_to_end.audit import books_of_the_banks
from tests.end_to_end.play import Merchant, Payer, until
from tests.end_to_end.world import QUICK_FAULTS, World, running_stack, world_on
from tests.long.conftest import say

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

CLI = str(Path(sys.executable).parent / "temporal")
COMMANDS: dict[str, list[str]] = {
    "cancel": ["workflow", "cancel"],
    "terminate": ["workflow", "terminate", "--reason", "a test"],
    "reset to the first task": ["workflow", "reset", "--type", "FirstWorkflowTask", "--reason", "a test"],
    "reset to the last task": ["workflow", "reset", "--type", "LastWorkflowTask", "--reason", "a test"],
    "delete": ["workflow", "delete"],
}
# The debit of a payment without a code is the first activity of its process.
ON_THE_DEBIT: dict[str, list[str]] = {
    "complete": ["activity", "complete", "--activity-id", "1", "--result", '{"outcome": "succeeded"}'],
    "fail": ["activity", "fail", "--activity-id", "1", "--reason", "declined by hand"],
    "fail with detail": ["activity", "fail", "--activity-id", "1", "--reason", "x", "--detail", '{"blocked": "x"}'],
    "pause": ["activity", "pause", "--activity-id", "1"],
    "reset": ["activity", "reset", "--activity-id", "1"],
    "try ten times": ["activity", "update-options", "--activity-id", "1", "--retry-maximum-attempts", "10"],
    "try for long": ["activity", "update-options", "--activity-id", "1", "--start-to-close-timeout", "1s"],
}
SWEPT_AFTER_SECONDS = 5
# A bank that is silent for longer than a process waits before it shows a payment as unknown.
SILENT_SECONDS = 20
Interfere = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    faults = QUICK_FAULTS | {"SIMULATOR_PROCESSING_SECONDS": str(SILENT_SECONDS)}
    worker = {"LIUSHUI_UNFINISHED_AFTER_SECONDS": str(SWEPT_AFTER_SECONDS)}
    with running_stack({"simulator": faults, "worker": worker}) as running:
        yield running


@pytest.fixture
async def world(stack: LocalStack) -> AsyncIterator[World]:
    async with world_on(stack) as opened:
        yield opened


async def temporal(stack: LocalStack, *arguments: str) -> tuple[int, str]:
    """Temporal's own command line, as an operator types it."""
    where = ["--address", stack.addresses["temporal"], "--namespace", "liushui"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        CLI, *arguments, *where, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate(b"y\n")
    return process.returncode or 0, printed.decode()


async def each(
    stack: LocalStack,
    play: Callable[[Interfere], Awaitable[Any]],
    commands: Mapping[str, Sequence[str]] = COMMANDS,
) -> dict[str, Any]:
    """What `play` comes to under each command, all at once."""

    async def under(name: str) -> Any:
        async def interfere(workflow_id: str) -> None:
            code, printed = await temporal(stack, *commands[name], "--workflow-id", workflow_id)
            assert code == 0, printed
            say(f"{name} {workflow_id}")

        return await play(interfere)

    ended = await asyncio.gather(*(under(name) for name in commands))
    return dict(zip(commands, ended, strict=True))


async def silent(world: World, payer: Payer, operation: str, kind: str = "processing_then_success") -> None:
    await world.control("faults", {"operation": operation, "kind": kind, "card_number": payer.card})


async def times_booked(world: World, number: str) -> int:
    banks = (await books_of_the_banks(world.simulator))["banks"].values()
    kinds = ("debits_per_request_number", "refunds_per_request_number")
    return sum(bank[kind].get(number, 0) for bank in banks for kind in kinds)


async def ended(world: World, merchant: Merchant, payment_id: str) -> tuple[str, int]:
    """The final state, and how often the bank has booked the debit."""
    state = (await merchant.ended(payment_id, 120))["state"]
    return state, await times_booked(world, f"DB{payment_id.removeprefix('pay_')}")


async def new_payer(world: World) -> tuple[Merchant, Payer]:
    merchant = await world.merchant()
    return merchant, await merchant.payer(waiver=await world.waiver(merchant))


async def test_while_the_payer_looks_for_the_code(stack: LocalStack, world: World) -> None:
    async def play(interfere: Interfere) -> tuple[str, int]:
        merchant, payer = await new_payer(world)
        payment = await payer.pay(30_000)
        await payer.code_awaited(payment["id"])
        await interfere(f"collect-payment/{payment['id']}")
        assert (await merchant.payment(payment["id"]))["state"] == "awaiting_code"
        assert (await payer.enter_code(payment["id"])).is_success
        return await ended(world, merchant, payment["id"])

    assert await each(stack, play) == dict.fromkeys(COMMANDS, ("succeeded", 1))
    assert await world.wrong() == []


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("processing_then_success", "sending"),
        ("processing_then_success", "unknown"),
        ("time_out_after", "sending"),
        ("time_out_before", "sending"),
        ("arrives_late", "sending"),
    ],
)
async def test_while_the_bank_keeps_silent_about_the_debit(
    stack: LocalStack, world: World, kind: str, state: str
) -> None:
    async def play(interfere: Interfere) -> tuple[str, int]:
        merchant, payer = await new_payer(world)
        await silent(world, payer, "debits", kind)
        payment = await payer.pay()
        await until(lambda: merchant.payment(payment["id"]), (state,))
        await interfere(f"collect-payment/{payment['id']}")
        return await ended(world, merchant, payment["id"])

    assert await each(stack, play) == dict.fromkeys(COMMANDS, ("succeeded", 1))
    assert await world.wrong() == []


async def test_while_the_bank_keeps_silent_about_a_refund(stack: LocalStack, world: World) -> None:
    async def play(interfere: Interfere) -> tuple[str, int, int]:
        merchant, payer = await new_payer(world)
        payment = await payer.pay_to_the_end(10_000)
        await silent(world, payer, "refunds")
        refund = (await merchant.refund(payment["id"], 4_000)).json()
        await until(lambda: merchant.get(f"/v1/refunds/{refund['id']}"), ("sending", "unknown"))
        await interfere(f"refund-payment/{refund['id']}")
        held = (await merchant.payment(payment["id"]))["refunding_minor"]
        state = (await merchant.refund_ended(refund["id"], 120))["state"]
        return state, held, await times_booked(world, f"RF{refund['id'].removeprefix('rfd_')}")

    assert await each(stack, play) == dict.fromkeys(COMMANDS, ("succeeded", 4_000, 1))
    assert await world.wrong() == []


async def test_while_a_late_success_is_given_back(stack: LocalStack, world: World) -> None:
    async def play(interfere: Interfere) -> tuple[str, int, int]:
        merchant, payer = await new_payer(world)
        await silent(world, payer, "debits", "late_success")
        await silent(world, payer, "refunds")
        payment = await payer.pay(seconds=60.5)
        await until(lambda: merchant.payment(payment["id"]), ("late_refunding",), 120)
        await interfere(f"collect-payment/{payment['id']}")
        state, debits = await ended(world, merchant, payment["id"])
        return state, debits, await times_booked(world, f"LR{payment['id'].removeprefix('pay_')}")

    assert await each(stack, play) == dict.fromkeys(COMMANDS, ("late_refunded", 1, 1))
    assert await world.wrong() == []


@pytest.mark.parametrize("kind", ["time_out_after", "time_out_before"])
async def test_what_is_done_to_the_debit_itself(stack: LocalStack, world: World, kind: str) -> None:
    async def play(interfere: Interfere) -> tuple[str, int]:
        merchant, payer = await new_payer(world)
        await silent(world, payer, "debits", kind)
        payment = await payer.pay()
        await until(lambda: merchant.payment(payment["id"]), ("sending",))
        await interfere(f"collect-payment/{payment['id']}")
        return await ended(world, merchant, payment["id"])

    assert await each(stack, play, ON_THE_DEBIT) == dict.fromkeys(ON_THE_DEBIT, ("succeeded", 1))
    assert await world.wrong() == []


async def test_a_debit_that_is_started_by_hand_without_a_process_sends_nothing(stack: LocalStack, world: World) -> None:
    merchant, payer = await new_payer(world)
    payment = await payer.pay(30_000)
    await payer.code_awaited(payment["id"])
    request = f'''{{"kind": "payment", "subject_id": "{payment["id"]}", "bank_code": "HBRB",
        "request_number": "DB{payment["id"][4:]}", "now": "2026-11-23T00:00:00Z"}}'''
    arguments = ["--type", "debit", "--task-queue", "liushui-payments", "--start-to-close-timeout", "5s"]
    code, printed = await temporal(
        stack, "activity", "execute", "--activity-id", "by-hand", *arguments, "--input", request,
        "--retry-maximum-attempts", "1",
    )  # fmt: skip
    assert code != 0, printed
    assert (await merchant.payment(payment["id"]))["state"] == "awaiting_code"
    assert await times_booked(world, f"DB{payment['id'][4:]}") == 0
    refused = "SELECT 1 FROM app.operation WHERE actor = 'temporal' AND outcome = 'refused'"
    assert await world.rows(refused)


async def test_what_is_over_stays_over_when_its_process_is_reset(stack: LocalStack, world: World) -> None:
    merchant, payer = await new_payer(world)
    with_code, waived = await payer.pay_to_the_end(30_000), await payer.pay_to_the_end()
    refund = (await merchant.refund(waived["id"], 1_000)).json()
    await merchant.refund_ended(refund["id"])
    for workflow_id in (
        f"collect-payment/{with_code['id']}", f"collect-payment/{waived['id']}", f"refund-payment/{refund['id']}",
    ):  # fmt: skip
        for to in ("FirstWorkflowTask", "LastWorkflowTask"):
            arguments = ["--type", to, "--reason", "a test", "--workflow-id", workflow_id]
            assert (await temporal(stack, "workflow", "reset", *arguments))[0] == 0
            code, printed = await temporal(stack, "workflow", "result", "--workflow-id", workflow_id)
            assert code == 0, printed
    for payment in (with_code, waived):
        assert await ended(world, merchant, payment["id"]) == ("succeeded", 1)
    assert await times_booked(world, f"RF{refund['id'].removeprefix('rfd_')}") == 1
    assert await world.wrong() == []


async def test_a_process_that_was_ended_and_started_by_hand_is_ours_again_in_the_end(
    stack: LocalStack, world: World
) -> None:
    async def play(order: list[str]) -> tuple[str, int]:
        merchant, payer = await new_payer(world)
        await silent(world, payer, "debits")
        payment = await payer.pay()
        await until(lambda: merchant.payment(payment["id"]), ("sending",))
        where = ["--workflow-id", f"collect-payment/{payment['id']}"]
        assert (await temporal(stack, "workflow", "terminate", *where))[0] == 0
        by_hand = ["workflow", "start", "--type", "collect-payment", *where, *order]
        assert (await temporal(stack, *by_hand))[0] == 0
        return await ended(world, merchant, payment["id"])

    ours = ["--task-queue", "liushui-payments"]
    found = await asyncio.gather(
        play([*ours, "--input", '{"payment_id": "pay_1", "verification": "waived"}']),
        play(ours),
        play(["--task-queue", "nobody-works-here", "--input", "{}"]),
    )
    assert found == [("succeeded", 1)] * 3
    assert await world.wrong() == []
    refused = await world.rows("SELECT reason FROM app.operation WHERE actor = 'temporal' AND outcome = 'refused'")
    assert {"not_encrypted"} == {row["reason"] for row in refused}
