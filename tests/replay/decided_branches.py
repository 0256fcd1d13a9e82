"""Branches in which people decide; registered like the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.banking import DeclineReason
from domain.decisions import DecisionKind
from storage.decisions import decide_directly
from tests.replay.branches import P, branch
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows.names import Process

K = DecisionKind


async def _decided(house: House, kind: DecisionKind, table: str, subject_id: str, **detail: Any) -> None:
    decision = await decide_directly(house.books.owner, kind, subject_id, await house.now(), detail=detail)
    assert await house.processes.tell_decision(await house.view(table, subject_id), decision)


async def _ended(house: House, process: Process, subject_id: str) -> str:
    await house.end_of(process, subject_id)
    return subject_id


@branch(P.COLLECT_PAYMENT)
async def withdrawn_while_its_code_was_awaited(house: House) -> str:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    await _decided(house, K.INSTRUCTION_WITHDRAW, "payment", payment["id"])
    return await _ended(house, P.COLLECT_PAYMENT, payment["id"])


@branch(P.COLLECT_PAYMENT)
async def parked_and_concluded(house: House) -> str:
    house.bank.capabilities = house.bank.capabilities.model_copy(update={"remembers_request_numbers_seconds": 7200})
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 16, NOT_FOUND)
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(days=3650))
    await house.processes.collect_payment(house.order(payment))
    async with house.env.time_skipping_unlocked():  # type: ignore[attr-defined]
        await house.until("SELECT wait_reason FROM app.payment", "operator")
    detail = {"outcome": "succeeded", "bank_reference": "PAPER-1", "evidence_ref": "scan:1"}
    await _decided(house, K.INSTRUCTION_CONCLUDE, "payment", payment["id"], **detail)
    return await _ended(house, P.COLLECT_PAYMENT, payment["id"])


@branch(P.CORRECT_PAYMENT)
async def refused_and_concluded_as_unpaid(house: House) -> str:
    house.bank.script("debit", declined(DeclineReason.OTHER))
    payment = await house.accept_waived()
    await house.collect(payment)
    house.bank.script("query", SUCCEEDED)
    house.bank.script("refund", declined(DeclineReason.OTHER), SUCCEEDED)
    await house.processes.correct_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "operator")
    await _decided(house, K.INSTRUCTION_CONCLUDE, "payment", payment["id"], outcome="failed", evidence_ref="scan:1")
    return await _ended(house, P.CORRECT_PAYMENT, payment["id"])


@branch(P.CORRECT_PAYMENT)
async def held_by_an_authority_for_a_while(house: House) -> str:
    house.bank.script("debit", declined(DeclineReason.OTHER))
    payment = await house.accept_waived()
    await house.collect(payment)
    until = (await house.now() + timedelta(hours=1)).isoformat()
    detail = {"issuer": "公安局", "number": "1", "demands": "hold", "expires_at": until}
    await decide_directly(
        house.books.owner, K.AUTHORITY_ORDER_REGISTER, house.books.user_id, await house.now(), detail=detail
    )
    house.bank.script("query", SUCCEEDED)
    await house.processes.correct_payment(house.order(payment))
    return await _ended(house, P.CORRECT_PAYMENT, payment["id"])


@branch(P.REFUND_PAYMENT)
async def withdrawn_before_it_was_claimed(house: House) -> str:
    payment = await house.accept_waived()
    await house.collect(payment)
    refund = await house.accept_refund(payment["id"], 4_000)
    decision = K.INSTRUCTION_WITHDRAW
    await decide_directly(house.books.owner, decision, refund["id"], await house.now())
    await house.refund(refund)
    return str(refund["id"])
