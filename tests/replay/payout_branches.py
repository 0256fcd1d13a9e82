"""Branches of payouts; registered like the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from storage.decisions import decide_directly
from tests.replay.branches import P, branch
from tests.storage.books import BANK
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from tests.workflows.test_send_payout import REVIEW, WAITS, comes_to
from tests.workflows.test_send_payout_at_bank import CLOSED, RETURNED
from workflows import names
from workflows.messages import ReplanOrder

K = DecisionKind
DELAY = {"outcome": "delay", "delay_hours": 24}


async def _sent(house: House, **changes: Any) -> str:
    payout = await house.accept_payout(**changes)
    await house.pay_out(payout)
    return str(payout["id"])


async def _begun(house: House, state: str, **changes: Any) -> dict[str, Any]:
    payout = await house.accept_payout(**changes)
    await house.begin_payout(payout, state)
    return payout


async def _decided(house: House, kind: DecisionKind, subject_id: str, **detail: Any) -> str:
    return await decide_directly(house.books.owner, kind, subject_id, await house.now(), detail=detail)


async def _ended(house: House, payout: dict[str, Any]) -> str:
    await house.end_of(P.SEND_PAYOUT, payout["id"])
    return str(payout["id"])


@branch(P.SEND_PAYOUT)
async def passed_and_paid(house: House) -> str:
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def never_confirmed(house: House) -> str:
    return await _sent(house, payee={"name_match": "differs"})


@branch(P.SEND_PAYOUT)
async def confirmed_and_paid(house: House) -> str:
    payout = await house.accept_payout(payee={"name_match": "differs"})
    await house.begin_payout(payout)
    await house.until("SELECT process_started_at IS NOT NULL FROM app.payout", True)
    await house.books.instructions.confirm_payout(house.books.confirmation(payout["id"], await house.now()))
    assert await house.processes.tell_payout(payout["id"])
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def refused_by_the_rules(house: House) -> str:
    house.checks.judge({"outcome": "refuse"})
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def lists_away_and_then_cooled_off(house: House) -> str:
    house.checks.judge({"outcome": "unavailable"}, {"outcome": "unavailable"}, DELAY)
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def approved_by_people(house: House) -> str:
    house.checks.judge(REVIEW)
    payout = await _begun(house, "under_review")
    await _decided(house, K.REVIEW_APPROVE, await house.books.value("SELECT id FROM app.review"))
    assert await house.processes.tell_payout(payout["id"])
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def review_expired(house: House) -> str:
    house.checks.judge(REVIEW)
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def withdrawn_while_it_slept(house: House) -> str:
    house.checks.open_bank(await house.now() + timedelta(days=9))
    payout = await _begun(house, "scheduled")
    decision = await _decided(house, K.INSTRUCTION_WITHDRAW, payout["id"])
    assert await house.processes.tell_decision(await house.view("payout", payout["id"]), decision)
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def planned_anew_while_it_slept(house: House) -> str:
    now = await house.now()
    house.checks.open_bank(now + timedelta(days=9), now + timedelta(hours=2))
    payout = await _begun(house, "scheduled")
    await house.books.run("UPDATE app.payout SET plan_version = -1")
    assert await house.processes.tell_payout(payout["id"])
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def stopped_and_resumed(house: House) -> str:
    payout = await house.accept_payout()
    await _decided(house, K.PARTNER_DISABLE, BANK)
    await house.begin_payout(payout)
    await house.until(WAITS, "partner", id=payout["id"])
    await house.env.sleep(timedelta(minutes=10))
    await _decided(house, K.PARTNER_ENABLE, BANK)
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def declined_by_the_bank(house: House) -> str:
    house.bank.script("pay_out", declined(DeclineReason.NAME_MISMATCH))
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def turned_away_twice_and_paid(house: House) -> str:
    house.bank.script("pay_out", CLOSED, CLOSED, SUCCEEDED)
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def unknown_sent_again_and_paid(house: House) -> str:
    house.bank.script("pay_out", UNKNOWN, UNKNOWN)
    house.bank.script("query", NOT_FOUND, *[PROCESSING] * 8, SUCCEEDED)
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def unknown_and_returned(house: House) -> str:
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", RETURNED)
    return await _sent(house)


@branch(P.SEND_PAYOUT)
async def parked_and_concluded(house: House) -> str:
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("pay_out", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 16, NOT_FOUND)
    payout = await house.accept_payout()
    await house.begin_payout(payout)
    await comes_to(house, WAITS, "operator", payout)
    decision = await _decided(house, K.INSTRUCTION_CONCLUDE, payout["id"], outcome="failed", evidence_ref="scan:1")
    assert await house.processes.tell_decision(await house.view("payout", payout["id"]), decision)
    return await _ended(house, payout)


@branch(P.SEND_PAYOUT)
async def continued_in_a_fresh_history(house: House) -> str:
    real = workflow.Info.is_continue_as_new_suggested
    workflow.Info.is_continue_as_new_suggested = (  # type: ignore[method-assign]
        lambda info: info.get_current_history_length() > 60
    )
    try:
        house.checks.judge(*[{"outcome": "unavailable"}] * 12, DELAY)
        house.bank.script("pay_out", CLOSED, UNKNOWN)
        house.bank.script("query", *[PROCESSING] * 12, SUCCEEDED)
        return await _sent(house)
    finally:
        workflow.Info.is_continue_as_new_suggested = real  # type: ignore[method-assign]


async def _announced(house: House, *query: Any) -> str:
    payout_id = await _sent(house)
    house.bank.script("query", *query)
    order = house.payout_order(await house.view("payout", payout_id))
    assert await house.processes.return_payout(order)
    await house.end_of(P.RETURN_PAYOUT, payout_id)
    return payout_id


@branch(P.RETURN_PAYOUT)
async def returned(house: House) -> str:
    return await _announced(house, PROCESSING, SUCCEEDED, RETURNED)


@branch(P.RETURN_PAYOUT)
async def no_return_at_the_bank(house: House) -> str:
    return await _announced(house, SUCCEEDED)


@branch(P.REPLAN_PAYOUTS)
async def planned_anew(house: House) -> str:
    assert await house.processes.replan_payouts(1)
    handle = house.env.client.get_workflow_handle(names.workflow_id(P.REPLAN_PAYOUTS, "1"), result_type=ReplanOrder)
    assert (await handle.result()).planned == 0
    return "1"
