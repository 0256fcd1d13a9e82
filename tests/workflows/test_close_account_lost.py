"""A closure whose process is lost at any stage goes on, and the sweeper starts, tells and revives (P4.5b)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType

from domain.banking import ErasureOutcome, ErasureReply
from domain.business_time import business_date
from storage.closures import TELL_AGAIN_AFTER
from sweeper import UNFINISHED_AFTER
from tests.conftest import Database
from tests.storage.books import BANK
from tests.workflows.booking_bank import KilledError
from tests.workflows.closing_house import ClosingHouse, open_closing_house
from tests.workflows.scripted_bank import ERASED, PROCESSING, SUCCEEDED, UNKNOWN
from workflows.names import Process

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECEIVED = ErasureReply(outcome=ErasureOutcome.RECEIVED)
REVIVED = "SELECT count(*) FROM app.operation WHERE action = 'revive_process' AND subject_id = :id"


@pytest.fixture
async def at(database: Database) -> AsyncIterator[ClosingHouse]:
    async with open_closing_house(database) as opened:
        yield opened


async def signals(at: ClosingHouse, closure: str) -> int:
    """How many words are in the history of its process."""
    events = (await at.house.handle(Process.CLOSE_ACCOUNT, closure).fetch_history()).events
    return sum(event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED for event in events)


async def test_what_was_accepted_and_not_started_is_started_and_looked_at(at: ClosingHouse) -> None:
    closure = await at.ask()
    assert await at.sweep(timedelta(seconds=2)) == 0
    assert await at.sweep() == 1
    await at.until(closure, "completed")


async def test_a_process_that_is_lost_while_something_is_in_the_way_runs_again_when_that_is_gone(
    at: ClosingHouse,
) -> None:
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    assert await at.sweep() == 0
    await at.resolve(dispute)
    await at.until(closure, "completed")


async def test_a_process_that_is_lost_while_it_waits_is_found_by_the_sweeper_though_nothing_has_changed(
    at: ClosingHouse,
) -> None:
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    assert await at.revive() == 0
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    assert await at.revive() == 1
    assert await at.books.value(REVIVED, id=closure) == 1
    assert await at.revive() == 0
    await at.resolve(dispute)
    await at.until(closure, "completed")


async def test_a_process_whose_look_at_the_books_fails_is_not_told_every_round(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word every few seconds for days would fill its history, and nobody hears better for it."""
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    before, real = await signals(at, closure), at.vaults.book.look

    async def fail(command: Any) -> Any:
        raise KilledError

    monkeypatch.setattr(at.vaults.book, "look", fail)
    await at.resolve(dispute)
    assert [await at.sweep() for _ in range(5)] == [1, 0, 0, 0, 0]
    assert await signals(at, closure) == before + 1
    assert [await at.sweep(TELL_AGAIN_AFTER + timedelta(minutes=1)) for _ in range(3)] == [1, 0, 0]
    assert await signals(at, closure) == before + 2
    # What is new it hears at once.
    another = await at.dispute()
    assert [await at.sweep() for _ in range(2)] == [1, 0]
    assert await signals(at, closure) == before + 3
    monkeypatch.setattr(at.vaults.book, "look", real)
    await at.resolve(another)
    await at.until(closure, "completed")


@pytest.mark.long
async def test_a_refusal_is_heard_by_a_process_that_takes_the_place_of_a_lost_one(at: ClosingHouse) -> None:
    await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    await at.refuse(closure)
    assert await at.sweep() == 1
    assert (await at.end(closure)).state == "refused"
    assert await at.sweep() == 0


@pytest.mark.long
async def test_processes_that_are_lost_while_the_banks_are_told_go_on_and_unsign_once(at: ClosingHouse) -> None:
    at.bank.script("unsign", UNKNOWN)
    at.bank.script("query", PROCESSING)
    closure = await at.begun()
    await at.seen(closure, "agreement")
    await at.bank.was_asked("query")
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    await at.lose(Process.UNBIND_CARD, at.books.binding_id)
    at.bank.script("query", SUCCEEDED)
    assert await at.revive() >= 1
    await at.until(closure, "completed")
    assert len(at.bank.asked("unsign")) == 1


@pytest.mark.long
@pytest.mark.parametrize("stage", ["keep", "add", "destroy_user_key", "complete"])
async def test_a_process_that_is_lost_while_data_are_forgotten_ends_it_under_the_same_instant(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """P3.4: kept once, entered into the list once, destroyed once; since the day on which the agreement ended."""
    where = {
        "keep": at.retention, "add": at.vaults.erasures, "destroy_user_key": at.books.vault, "complete": at.vaults.book,
    }[stage]  # fmt: skip
    real, reached = getattr(where, stage), asyncio.Event()

    async def fail(*given: Any, **named: Any) -> Any:
        reached.set()
        raise KilledError

    monkeypatch.setattr(where, stage, fail)
    closure = await at.begun()
    await at.until(closure, "forgetting")
    await asyncio.wait_for(reached.wait(), 10)
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    monkeypatch.setattr(where, stage, real)
    # No time is skipped from here: the server waits for what was under way when its process was terminated.
    assert await at.revive() == 1
    await at.until(closure, "completed")
    assert await at.entries() == [("person", at.books.user_id)]
    [entry] = await at.vaults.erasures.after(0)
    ended_on = await at.books.value("SELECT ended_on FROM app.closure")
    assert entry.detail.ended_on == ended_on
    assert (await at.has_key(), await at.readable(), set(await at.retained())) == (False, 0, {closure})
    assert (await at.retained())[closure].event_on == ended_on
    assert (await at.retained())[closure].content["verified"][0]["name"]


async def test_what_is_not_forgotten_in_time_is_escalated_and_is_forgotten_when_the_fault_is_gone(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3.4: the keys are away for weeks; its process tries on, and people hear of it."""
    real = at.retention.keep

    async def fail(records: Any) -> int:
        raise KilledError

    monkeypatch.setattr(at.retention, "keep", fail)
    closure = await at.begun()
    await at.until(closure, "forgetting")
    due_on = await at.books.value("SELECT due_on FROM app.closure")
    received_on = business_date(await at.house.now())
    await at.sweep(timedelta(days=1))
    assert await at.closures.cases(closure) == []
    await at.sweep(due_on - received_on)
    assert await at.closures.cases(closure) == ["closure_due"]
    await at.sweep(due_on - received_on + 2 * DAY)
    await at.sweep(due_on - received_on + 3 * DAY)
    assert await at.closures.cases(closure) == ["closure_due", "closure_overdue"]
    monkeypatch.setattr(at.retention, "keep", real)
    await at.skip_until(closure, "completed")


@pytest.mark.long
async def test_a_process_that_is_lost_while_it_follows_replies_gives_nobody_more_time(at: ClosingHouse) -> None:
    """P4.2b: thirty days from the answer, whoever asks."""
    await at.disclosed()
    at.bank.erasure_replies = deque([RECEIVED])
    closure = await at.begun()
    await at.until(closure, "completed")
    await at.sleep(20 * DAY)
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    assert await at.revive() == 1
    answered = await at.books.value("SELECT answered_at FROM app.closure")
    assert (await at.end(closure)).state == "completed"
    followed = await at.books.value("SELECT followed_at FROM app.closure")
    assert timedelta(days=30) <= followed - answered < 31 * DAY
    assert await at.closures.cases(closure) == ["erasure_reply_missing"]
    assert await at.revive() == 0
    assert len(at.bank.asked("send_erasure_notice")) == 1


@pytest.mark.long
async def test_a_process_that_is_lost_after_the_answer_tells_those_whom_nobody_had_reached(at: ClosingHouse) -> None:
    await at.disclosed()
    at.bank.erasure_replies = deque([ConnectionError("down")])
    closure = await at.begun()
    await at.until(closure, "completed")
    await at.lose(Process.CLOSE_ACCOUNT, closure)
    at.bank.erasure_replies = deque([ERASED])
    assert (await at.closures.reply(closure, now=await at.house.now()))["ok"]
    assert await at.revive() == 1
    assert (await at.end(closure)).state == "completed"
    assert await at.notices(closure) == {"merchant": "erased", BANK: "erased"}


@pytest.mark.long
async def test_a_long_wait_goes_on_in_fresh_histories_and_is_told_all_the_same(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispute may take its time; a word that comes between two histories is not lost."""
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    first = await at.house.handle(Process.CLOSE_ACCOUNT, closure).describe()
    await at.sleep(60 * DAY)
    later = await at.house.handle(Process.CLOSE_ACCOUNT, closure).describe()
    assert (first.run_id != later.run_id, later.history_length < 100) == (True, True)
    assert await at.closures.cases(closure) == ["closure_due", "closure_overdue"]
    await at.resolve(dispute)
    await at.until(closure, "completed")


@pytest.mark.long
async def test_a_hundred_words_at_once_are_one_look_too_many_at_most(at: ClosingHouse) -> None:
    dispute = await at.dispute()
    closure = await at.begun()
    await at.seen(closure, "dispute")
    await asyncio.gather(*(at.house.processes.tell_closure(closure) for _ in range(100)))
    await at.resolve(dispute)
    await at.until(closure, "completed")
    assert len(await at.entries()) == 1


async def test_money_that_comes_to_somebody_who_has_left_is_found_by_the_sweeper(at: ClosingHouse) -> None:
    """A8.4: a payout that its bank sends back after the account was closed."""
    payout = await at.house.accept_payout(5_000)
    await at.house.pay_out(payout)
    closure = await at.begun()
    await at.closures.hand_over(closure, now=await at.house.now())
    await at.until(closure, "completed")
    await at.books.fund(5_000)
    await at.sweep()
    assert await at.closures.cases(at.books.user_id) == ["money_after_closing"]


async def test_what_the_sweeper_cannot_hand_on_keeps_no_other_from_its_turn(
    at: ClosingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at.dispute()
    closure = await at.ask()
    real = at.house.processes.close_account

    async def fail(order: Any) -> bool:
        raise KilledError

    monkeypatch.setattr(at.house.processes, "close_account", fail)
    assert await at.sweep() == 0
    monkeypatch.setattr(at.house.processes, "close_account", real)
    assert await at.sweep(UNFINISHED_AFTER) == 1
    await at.seen(closure, "dispute")
