"""A payout at its bank: sent once, asked about until it is known, and resumed by whoever comes after a crash."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType

from domain.banking import BankAnswer, BankOutcome, DeclineReason
from domain.decisions import DecisionKind
from sweeper import UNFINISHED_AFTER, Sweeper
from tests.workflows.booking_bank import KilledError
from tests.workflows.conftest import BINDING_LIFE, House, result_of
from tests.workflows.payouts import number_of
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from tests.workflows.test_kills import PLUGS, Plugs
from tests.workflows.test_send_payout import STATE, WAITS, comes_to, commands_of, decide, end_of, told
from workflows import policies
from workflows.names import Process

K = DecisionKind
Payout = dict[str, Any]
CLOSED = declined(DeclineReason.BANK_CLOSED)
RETURNED = SUCCEEDED.model_copy(
    update={
        "outcome": BankOutcome.RETURNED, "return_reference": "BACK1",
        "returned_at": datetime(2026, 11, 28, 3, 0, tzinfo=UTC),
    }
)  # fmt: skip


async def sweep_after(house: House, duration: timedelta = UNFINISHED_AFTER) -> int:
    later = await house.now() + duration + timedelta(seconds=1)
    return await Sweeper(house.books.app, house.processes, lambda: later, BINDING_LIFE).sweep()


@pytest.mark.long
async def test_a_bank_that_is_down_over_a_weekend_is_asked_until_monday(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every minute would be two thousand questions that the test server has to play.
    rarely = policies.PATIENTLY.__class__(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(hours=1))
    monkeypatch.setattr("workflows.policies.PATIENTLY", rarely)
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", ConnectionError())
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await comes_to(house, STATE, "unknown", payout)
    before = await commands_of(house, payout)
    await house.env.sleep(timedelta(days=2))
    # The activity asks for as long as it takes: the history does not grow by it. A person was asked after a day.
    assert await commands_of(house, payout) - before < 50
    assert await house.books.value(WAITS, id=payout["id"]) == "operator"
    house.bank.script("query", SUCCEEDED)
    assert await end_of(house, payout) == ("succeeded", None)
    assert len(house.bank.asked("pay_out")) == 1
    assert await house.money() == (0, 0, 200)
    events = await house.events(payout["id"])
    assert events[-3:] == ["payout.unknown", "payout.waits_for_operator", "payout.succeeded"]


async def test_a_definite_no_gives_everything_back(house: House) -> None:
    house.bank.script("pay_out", declined(DeclineReason.ACCOUNT_CLOSED))
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).reason == "account_closed"
    assert await house.money() == (10_200, 0, 10_200)
    assert await house.books.value("SELECT sum(used_minor) FROM app.limit_usage") == 0


async def test_what_the_bank_never_got_is_sent_again_under_the_same_number(house: House) -> None:
    house.bank.script("pay_out", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    assert [sent.request_number for sent in house.bank.asked("pay_out")] == [number_of(payout)] * 2


async def test_a_bank_without_an_answer_by_its_deadline_is_parked_and_concluded_by_people(house: House) -> None:
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", PROCESSING)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await comes_to(house, WAITS, "operator", payout)
    since = await house.books.value("SELECT max(at) - min(at) FROM app.event WHERE object_id = :id", id=payout["id"])
    assert since >= timedelta(hours=24)
    detail = {"outcome": "succeeded", "bank_reference": "PAPER-1", "evidence_ref": "scan:1"}
    assert await told(house, payout, await decide(house, K.INSTRUCTION_CONCLUDE, payout["id"], **detail))
    assert await end_of(house, payout) == ("succeeded", None)
    found = await house.view("payout", payout["id"])
    assert found["bank_reference"] == "PAPER-1"
    assert (await house.events(payout["id"])).count("payout.waits_for_operator") == 1
    assert await house.money() == (0, 0, 200)


async def test_a_payout_that_its_bank_may_have_forgotten_is_never_sent_again(house: House) -> None:
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 16, NOT_FOUND)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await comes_to(house, WAITS, "operator", payout)
    detail = {"outcome": "failed", "evidence_ref": "scan:1"}
    assert await told(house, payout, await decide(house, K.INSTRUCTION_CONCLUDE, payout["id"], **detail))
    assert await end_of(house, payout) == ("failed", "concluded_by_operators")
    assert len(house.bank.asked("pay_out")) == 1
    assert await house.money() == (10_200, 0, 10_200)


async def test_a_payout_that_came_back_before_anybody_knew_it_was_paid_is_booked_both_ways(house: House) -> None:
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", RETURNED)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "returned"
    found = await house.view("payout", payout["id"])
    assert found["return"]["reference"] == "BACK1"
    assert (await house.events(payout["id"]))[-2:] == ["payout.succeeded", "payout.returned"]
    # The fee is not given back.
    assert await house.money() == (10_000, 0, 10_200)


async def test_a_closed_bank_is_tried_again_under_another_number_and_less_and_less_often(house: House) -> None:
    house.bank.script("pay_out", *[CLOSED] * 4, SUCCEEDED)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    numbers = [sent.request_number for sent in house.bank.asked("pay_out")]
    assert numbers == [number_of(payout, attempt) for attempt in range(5)]
    claims = await house.books.value("SELECT array_agg(claimed_at ORDER BY claimed_at) FROM app.effect")
    pauses = [later - earlier for earlier, later in pairwise(claims)]
    assert pauses == sorted(pauses)
    assert pauses[0] >= timedelta(minutes=1)
    assert pauses[-1] >= timedelta(minutes=8)
    found = await house.view("payout", payout["id"])
    assert (found["state"], found["reason"]) == ("succeeded", None)
    assert await house.money() == (0, 0, 200)


async def test_what_a_closed_bank_turned_away_can_be_withdrawn(house: House) -> None:
    house.bank.script("pay_out", CLOSED)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await house.until("SELECT count(*) FROM app.effect WHERE outcome = 'declined'", 1)
    await house.until(STATE, "scheduled", id=payout["id"])
    assert await told(house, payout, await decide(house, K.INSTRUCTION_WITHDRAW, payout["id"]))
    assert await end_of(house, payout) == ("failed", "withdrawn")
    assert len(house.bank.asked("pay_out")) == 1


async def test_a_bank_that_is_closed_whenever_it_is_tried_has_said_no(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.policies.MOST_PAYOUT_ATTEMPTS", 3)
    house.bank.script("pay_out", CLOSED)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).reason == "bank_closed"
    assert len(house.bank.asked("pay_out")) == 3
    assert await house.money() == (10_200, 0, 10_200)


# Crashes


@pytest.mark.parametrize("step", ["claim_effect", "settle"])
async def test_a_kill_around_the_claim_or_the_settlement_pays_once(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    house.bank.script("query", SUCCEEDED if step == "settle" else NOT_FOUND)
    calls = Plugs(getattr(house.books.instructions, step))
    monkeypatch.setattr(house.books.instructions, step, calls)
    for number, plugs in enumerate(PLUGS, start=1):
        payout = await house.accept_payout()
        calls.plugs.extend(plugs)
        assert (await house.pay_out(payout)).state == "succeeded"
        assert len(house.bank.asked("pay_out")) == number
    assert await house.money() == (0, 0, 200 * len(PLUGS))


async def test_a_kill_while_it_is_sent_is_asked_about(house: House) -> None:
    house.bank.script("pay_out", KilledError())
    house.bank.script("query", SUCCEEDED)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    assert len(house.bank.asked("pay_out")) == 1


async def asleep(house: House, payout: Payout) -> None:
    """Until it waits for an instant: a process that is ended with a task under way stops the test server's clock."""
    handle = house.handle(Process.SEND_PAYOUT, payout["id"])
    for _ in range(200):
        if (await handle.fetch_history()).events[-1].event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never asleep")


VERDICTS = {
    "cooling_off": {"outcome": "delay", "delay_hours": 24},
    "under_review": {"outcome": "review", "hits": [{"rule": "x", "outcome": "review"}]},
}


@pytest.mark.parametrize("how", ["cancelled", pytest.param("terminated", marks=pytest.mark.long)])
async def test_a_payout_whose_process_was_ended_keeps_its_hold_and_goes_on_in_another(house: House, how: str) -> None:
    for stage in ("cooling_off", "under_review", "scheduled", "sending", "turned_away"):
        house.bank.calls.clear()
        house.checks.judge(VERDICTS.get(stage, {"outcome": "pass"}))
        now = await house.now()
        house.checks.open_bank(now + timedelta(days=2) if stage == "scheduled" else now)
        house.bank.script("pay_out", CLOSED if stage == "turned_away" else UNKNOWN)
        house.bank.script("query", PROCESSING)
        payout = await house.accept_payout()
        await house.begin_payout(payout, None if stage == "turned_away" else stage)
        await asleep(house, payout)
        handle = house.handle(Process.SEND_PAYOUT, payout["id"])
        await (handle.terminate() if how == "terminated" else handle.cancel())
        with pytest.raises(Exception, match="Workflow execution failed"):
            await result_of(handle)
        assert (await house.money())[1] == 10_200
        house.bank.script("pay_out", SUCCEEDED)
        house.bank.script("query", SUCCEEDED)
        assert await sweep_after(house, timedelta(days=4)) == 1
        if stage == "under_review":
            await decide(house, K.REVIEW_APPROVE, await house.books.value("SELECT id FROM app.review"))
        assert await end_of(house, payout) == ("succeeded", None)
        assert len(house.bank.asked("pay_out")) == (2 if stage == "turned_away" else 1), stage
        assert (await house.money())[1] == 0


async def test_a_payout_that_was_accepted_and_not_started_is_started_by_the_sweeper(house: House) -> None:
    payout = await house.accept_payout()
    assert await sweep_after(house) >= 1
    await house.until(STATE, "succeeded", id=payout["id"])
    assert len(house.bank.asked("pay_out")) == 1


# Long waits


async def test_a_payout_that_waits_long_goes_on_in_fresh_histories_and_is_sent_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    house.checks.judge(*[{"outcome": "unavailable"}] * 20, {"outcome": "pass"})
    house.bank.script("pay_out", CLOSED, UNKNOWN)
    answers: list[BankAnswer] = [*[PROCESSING] * 30, SUCCEEDED]
    house.bank.script("query", *answers)
    payout = await house.accept_payout()
    assert (await house.pay_out(payout)).state == "succeeded"
    numbers = [sent.request_number for sent in house.bank.asked("pay_out")]
    assert numbers == [number_of(payout, 0), number_of(payout, 1)]
    events = await house.events(payout["id"])
    assert (events.count("payout.unknown"), events.count("payout.succeeded")) == (1, 1)
