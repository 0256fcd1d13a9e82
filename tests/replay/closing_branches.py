"""Branches of a closure; registered like the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow

import vault.leaving
from domain.banking import ErasureOutcome, ErasureReply
from tests.replay.branches import BRANCHES, P
from tests.storage.settling import collected
from tests.workflows.closing_house import ClosingProcess
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import ERASED, PROCESSING, SUCCEEDED, UNKNOWN
from workflows import policies

RECEIVED = ErasureReply(outcome=ErasureOutcome.RECEIVED)
SILENT = ErasureReply(outcome=ErasureOutcome.UNKNOWN)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ClosingBranch = Callable[[ClosingProcess], Awaitable[str]]


def branch(run: ClosingBranch) -> ClosingBranch:
    async def in_house(house: House) -> str:
        return await run(ClosingProcess(house))

    BRANCHES[P.CLOSE_ACCOUNT, run.__name__] = in_house
    return run


@contextmanager
def _set(where: Any, name: str, value: Any) -> Iterator[None]:
    real = getattr(where, name)
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, real)


async def _replied(at: ClosingProcess, closure: str) -> str:
    """The merchant says that it has deleted, which is all that was waited for."""
    await at.until(closure, "completed")
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]
    assert await at.house.processes.tell_closure(closure)
    await at.end(closure)
    return closure


@branch
async def closed_and_everybody_replied(at: ClosingProcess) -> str:
    await at.disclosed()
    return await _replied(at, await at.begun())


@branch
async def blocked_unblocked_and_blocked_again(at: ClosingProcess) -> str:
    at.bank.script("unsign", UNKNOWN)
    at.bank.script("query", PROCESSING)
    first = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.resolve(first)
    await at.until(closure, "unsigning")
    second = await at.dispute()
    await at.until(closure, "closing")
    at.bank.script("query", SUCCEEDED)
    await at.sleep(HOUR)
    await at.resolve(second)
    return await _replied(at, closure)


@branch
async def escalated_overdue_and_refused(at: ClosingProcess) -> str:
    await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.sleep(30 * DAY)
    await at.refuse(closure)
    await at.sweep()
    await at.end(closure)
    return closure


@branch
async def kept_in_pages(at: ClosingProcess) -> str:
    for _ in range(3):
        await collected(at.books)
    with _set(vault.leaving, "PAGE", 1):
        closure = await at.begun()
        await at.closures.hand_over(closure, now=await at.house.now())
        return await _replied(at, closure)


@branch
async def quick_pay_alone(at: ClosingProcess) -> str:
    return await _replied(at, await at.begun("quick_pay"))


@branch
async def silent_bank_told_later_and_a_merchant_that_never_replies(at: ClosingProcess) -> str:
    await at.disclosed()
    at.bank.erasure_replies = deque([SILENT, SILENT, RECEIVED, RECEIVED, ERASED])
    closure = await at.begun()
    await at.until(closure, "completed")
    await at.end(closure)
    return closure


@branch
async def bank_that_hung_before_the_answer(at: ClosingProcess) -> str:
    await at.disclosed()
    hangs, real = asyncio.Event(), at.bank.send_erasure_notice

    async def hang(notice: Any) -> Any:
        await hangs.wait()
        return await real(notice)

    # The server skips no time while an activity runs.
    brief = _set(policies, "TELLING_BEFORE_THE_ANSWER", timedelta(seconds=1))
    with _set(at.bank, "send_erasure_notice", hang), brief:
        closure = await at.begun()
        await at.until(closure, "completed")
        hangs.set()
        return await _replied(at, closure)


@branch
async def lost_after_the_answer_and_taken_up_again(at: ClosingProcess) -> str:
    closure = await at.begun()
    await at.until(closure, "completed")
    await at.lose(P.CLOSE_ACCOUNT, closure)
    assert await at.sweep(HOUR, MINUTE) == 1
    return await _replied(at, closure)


@branch
async def continued_in_a_fresh_history(at: ClosingProcess) -> str:
    with _set(workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60):
        dispute = await at.dispute()
        closure = await at.begun()
        await at.seen(closure, "dispute")
        await at.sleep(20 * DAY)
        await at.resolve(dispute)
        return await _replied(at, closure)
