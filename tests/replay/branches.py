"""One representative run of every family of branches, each ending its process; the id of that process comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

from temporalio import workflow

from domain.banking import BankAnswer, DeclineReason
from tests.storage.settling import collected, open_account, shanghai
from tests.workflows.conftest import House
from tests.workflows.scripted_bank import NOT_FOUND, PROCESSING, SUCCEEDED, UNKNOWN, declined
from workflows import names
from workflows.messages import CodeResendMessage, SettledMerchants

P = names.Process
Branch = Callable[[House], Awaitable[str]]
BRANCHES: dict[tuple[names.Process, str], Branch] = {}


def branch(process: names.Process) -> Callable[[Branch], Branch]:
    def register(run: Branch) -> Branch:
        BRANCHES[process, run.__name__] = run
        return run

    return register


async def _collected(house: House, **changes: Any) -> str:
    payment = await house.accept_waived(**changes)
    await house.collect(payment)
    return str(payment["id"])


async def _awaiting_payment_code(house: House) -> str:
    payment = await house.accept()
    await house.processes.collect_payment(house.order(payment))
    await house.until("SELECT wait_reason FROM app.payment", "payer_code")
    return str(payment["id"])


@branch(P.COLLECT_PAYMENT)
async def waived_and_succeeded(house: House) -> str:
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def waived_and_declined(house: House) -> str:
    house.bank.script("debit", declined(DeclineReason.INSUFFICIENT_FUNDS))
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def unknown_and_then_succeeded(house: House) -> str:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[UNKNOWN] * 5, *[PROCESSING] * 4, SUCCEEDED)
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def never_arrived_and_sent_again(house: House) -> str:
    house.bank.script("debit", UNKNOWN, SUCCEEDED)
    house.bank.script("query", NOT_FOUND)
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def never_arrived_until_the_order_was_over(house: House) -> str:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", NOT_FOUND)
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def late_and_given_back_at_the_second_try(house: House) -> str:
    house.bank.script("debit", UNKNOWN)
    house.bank.script("query", *[PROCESSING] * 12, SUCCEEDED)
    house.bank.script("refund", declined(DeclineReason.OTHER), SUCCEEDED)
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def blocked_before_the_debit(house: House) -> str:
    payment = await house.accept_waived()
    await house.books.run("UPDATE app.end_user SET state = 'suspended'")
    await house.collect(payment)
    return str(payment["id"])


@branch(P.COLLECT_PAYMENT)
async def books_away_for_a_while(house: House) -> str:
    real, failures = house.books.instructions.settle, 5

    async def flaky(settlement: Any) -> str | None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError
        return await real(settlement)

    house.books.instructions.settle = flaky  # type: ignore[method-assign]
    return await _collected(house)


@branch(P.COLLECT_PAYMENT)
async def continued_in_a_fresh_history(house: House) -> str:
    real = workflow.Info.is_continue_as_new_suggested
    workflow.Info.is_continue_as_new_suggested = (  # type: ignore[method-assign]
        lambda info: info.get_current_history_length() > 60
    )
    try:
        house.bank.script("debit", UNKNOWN)
        house.bank.script("query", *[PROCESSING] * 8, SUCCEEDED)
        return await _collected(house)
    finally:
        workflow.Info.is_continue_as_new_suggested = real  # type: ignore[method-assign]


@branch(P.COLLECT_PAYMENT)
async def code_wrong_resent_and_right(house: House) -> str:
    payment_id = await _awaiting_payment_code(house)
    await house.tell("payment", payment_id, await house.type_code("payment", payment_id, "wrong"), "wrong")
    await house.processes.tell_resend("payment", payment_id, CodeResendMessage(attempt=1))
    await house.until("SELECT count(*) FROM app.effect WHERE step = 'PC' AND outcome = 'succeeded'", 2)
    attempt = await house.type_code("payment", payment_id, "confirmed", authorisation="AUTH-1")
    await house.tell("payment", payment_id, attempt, "confirmed")
    await house.end_of(P.COLLECT_PAYMENT, payment_id)
    return payment_id


@branch(P.COLLECT_PAYMENT)
async def code_whose_verdict_was_lost(house: House) -> str:
    payment_id = await _awaiting_payment_code(house)
    attempt = await house.type_code("payment", payment_id, None)
    house.bank.script("query", UNKNOWN, UNKNOWN, SUCCEEDED.model_copy(update={"authorisation": "AUTH-1"}))
    await house.tell("payment", payment_id, attempt, None)
    await house.end_of(P.COLLECT_PAYMENT, payment_id)
    return payment_id


@branch(P.COLLECT_PAYMENT)
async def code_declined_for_good(house: House) -> str:
    payment_id = await _awaiting_payment_code(house)
    await house.tell("payment", payment_id, await house.type_code("payment", payment_id, "declined"), "declined")
    await house.end_of(P.COLLECT_PAYMENT, payment_id)
    return payment_id


@branch(P.COLLECT_PAYMENT)
async def code_never_typed(house: House) -> str:
    payment_id = await _awaiting_payment_code(house)
    await house.end_of(P.COLLECT_PAYMENT, payment_id)
    return payment_id


@branch(P.COLLECT_PAYMENT)
async def code_of_which_nothing_was_heard(house: House) -> str:
    house.bank.script("send_payment_code", UNKNOWN)
    house.bank.script("query", NOT_FOUND, UNKNOWN)
    payment = await house.accept()
    await house.collect(payment)
    return str(payment["id"])


async def _awaiting_binding_code(house: House) -> str:
    binding = await house.accept_binding()
    await house.begin_to_bind(binding)
    await house.until("SELECT state FROM app.binding WHERE id = :id", "awaiting_code", id=binding["id"])
    return str(binding["id"])


async def _opened(house: House, binding_id: str) -> str:
    agreement = await house.books.bank_vault.seal_agreement(house.books.user_id, "AG-2")
    attempt = await house.type_code("binding", binding_id, "confirmed", agreement=agreement)
    await house.tell("binding", binding_id, attempt, "confirmed")
    await house.end_of(P.BIND_CARD, binding_id)
    return binding_id


async def _applied(house: House, apply: list[BankAnswer], query: list[BankAnswer]) -> str:
    house.bank.script("apply_to_sign", *apply)
    house.bank.script("query", *query)
    binding = await house.accept_binding()
    await house.bind(binding)
    return str(binding["id"])


@branch(P.BIND_CARD)
async def opened(house: House) -> str:
    return await _opened(house, await _awaiting_binding_code(house))


@branch(P.BIND_CARD)
async def wrong_resent_and_opened(house: House) -> str:
    binding_id = await _awaiting_binding_code(house)
    await house.tell("binding", binding_id, await house.type_code("binding", binding_id, "wrong"), "wrong")
    await house.processes.tell_resend("binding", binding_id, CodeResendMessage(attempt=1))
    await house.until("SELECT count(*) FROM app.effect WHERE step = 'SG' AND outcome = 'succeeded'", 2)
    return await _opened(house, binding_id)


@branch(P.BIND_CARD)
async def opened_by_a_verdict_that_was_lost(house: House) -> str:
    binding_id = await _awaiting_binding_code(house)
    attempt = await house.type_code("binding", binding_id, None)
    house.bank.script("query", UNKNOWN, SUCCEEDED.model_copy(update={"agreement_number": "AG-3"}))
    await house.tell("binding", binding_id, attempt, None)
    await house.end_of(P.BIND_CARD, binding_id)
    return binding_id


@branch(P.BIND_CARD)
async def declined_by_the_issuer(house: House) -> str:
    return await _applied(house, [declined(DeclineReason.NAME_MISMATCH)], [UNKNOWN])


@branch(P.BIND_CARD)
async def never_answered(house: House) -> str:
    return await _applied(house, [UNKNOWN], [UNKNOWN])


@branch(P.BIND_CARD)
async def sent_again_and_expired(house: House) -> str:
    return await _applied(house, [UNKNOWN, SUCCEEDED], [NOT_FOUND])


async def _unbound(house: House) -> str:
    await house.unbind(await house.accept_unbinding(house.books.binding_id))
    return house.books.binding_id


@branch(P.UNBIND_CARD)
async def unbound(house: House) -> str:
    return await _unbound(house)


@branch(P.UNBIND_CARD)
async def refused_unknown_and_unbound(house: House) -> str:
    house.bank.script("unsign", declined(DeclineReason.OTHER), UNKNOWN)
    house.bank.script("query", UNKNOWN, PROCESSING, SUCCEEDED)
    return await _unbound(house)


async def _refunded(house: House, refund: list[BankAnswer], query: list[BankAnswer]) -> str:
    payment = await house.accept_waived()
    await house.collect(payment)
    house.bank.script("refund", *refund)
    house.bank.script("query", *query)
    accepted = await house.accept_refund(payment["id"], 4_000)
    await house.refund(accepted)
    return str(accepted["id"])


@branch(P.REFUND_PAYMENT)
async def refunded(house: House) -> str:
    return await _refunded(house, [SUCCEEDED], [UNKNOWN])


@branch(P.REFUND_PAYMENT)
async def refund_declined(house: House) -> str:
    return await _refunded(house, [declined(DeclineReason.OTHER)], [UNKNOWN])


@branch(P.REFUND_PAYMENT)
async def refund_unknown_and_then_paid(house: House) -> str:
    return await _refunded(house, [UNKNOWN], [*[UNKNOWN] * 5, *[PROCESSING] * 3, SUCCEEDED])


@branch(P.REFUND_PAYMENT)
async def refund_sent_again(house: House) -> str:
    return await _refunded(house, [UNKNOWN, SUCCEEDED], [NOT_FOUND])


async def _corrected(house: House, *query: BankAnswer) -> str:
    house.bank.script("debit", declined(DeclineReason.OTHER))
    payment = await house.accept_waived(order_expires_at=await house.now() + timedelta(minutes=5))
    await house.collect(payment)
    house.bank.script("query", *query)
    await house.correct(payment)
    return str(payment["id"])


@branch(P.CORRECT_PAYMENT)
async def corrected(house: House) -> str:
    return await _corrected(house, UNKNOWN, PROCESSING, SUCCEEDED)


@branch(P.CORRECT_PAYMENT)
async def failure_confirmed(house: House) -> str:
    return await _corrected(house, PROCESSING, declined(DeclineReason.OTHER))


@branch(P.READ_BANK_RECORD)
async def looked_into_statements(house: House) -> str:
    number = "PO01KB5N3E4H6Q8Z2T7V9W0X1Y2R"
    assert await house.processes.read_bank_record("HBRB", number, (date(2026, 11, 23),)) is not None
    return number


@branch(P.SETTLE_MERCHANTS)
async def reported_and_paid(house: House) -> str:
    on = date(2026, 11, 20)
    await collected(house.books, 10_000, shanghai(date(2026, 11, 19)))
    await open_account(house.books)
    assert await house.processes.settle_merchants(on)
    handle = house.env.client.get_workflow_handle(
        names.workflow_id(P.SETTLE_MERCHANTS, on.isoformat()), result_type=SettledMerchants
    )
    assert (await handle.result()).paid == 1
    return on.isoformat()
