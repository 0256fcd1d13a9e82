"""Giving a late success back: the payer's money came after the order was over, so it goes back unasked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.journal import late_refund
    from domain.money import format_amount
    from domain.settlement import Settlement
    from domain.states import PaymentState, WaitReason
    from workflows import policies
    from workflows.bank_step import BankStep, is_known
    from workflows.messages import PaymentOrder, ProcessResult
    from workflows.settling import settle

AUTHORITY_HOLD = "authority_hold"


async def give_back_late_success(
    order: PaymentOrder,
    use: Callable[[BankStep], BankStep],
    tell: Callable[[str], None],
    renew: Callable[[], None],
) -> ProcessResult:
    """Refunds the whole debit under a number of its own and waits until the bank has done it.

    A bank that says no is an operator's matter: the money stays in suspense, is visible, and is tried again, unless
    people conclude on evidence that it was paid. A no is final for its number, so each further try has a number of its
    own. What an authority holds waits until the order is lifted or over.
    """
    amount = format_amount(order.amount_minor, order.currency)
    tell(f"The order was over when {order.bank_code} confirmed; giving {amount} back to the payer.")
    for attempt in count():
        number = request_number(Step.LATE_REFUND, order.payment_id, attempt)
        step, result = await _send_unless_held(order, number, use=use, tell=tell, renew=renew)
        if result.blocked in ("state_conflict", "not_found"):
            return ProcessResult(state=result.blocked_state or "unknown")
        if result.outcome is not BankOutcome.SUCCEEDED and result.decision_id is None:
            tell(f"{order.bank_code} refuses to give {amount} back; an operator has to act.")
            await settle(_operator_needed(order, number, result))
            result = await step.concluded_within(policies.PAUSE_WHILE_OPERATOR_ACTS) or result
        if result.outcome is BankOutcome.SUCCEEDED:
            settled = await settle(_given_back(order, number, result))
            tell(f"{amount} went back to the payer.")
            return ProcessResult(
                state=settled.state or PaymentState.LATE_REFUNDED, reason="succeeded_after_order_expired"
            )
        if result.decision_id is not None:
            await settle(_concluded_as_unpaid(order, number, result))
    raise AssertionError("there is always another attempt")


async def _send_unless_held(
    order: PaymentOrder,
    number: str,
    *,
    use: Callable[[BankStep], BankStep],
    tell: Callable[[str], None],
    renew: Callable[[], None],
) -> tuple[BankStep, EffectResult]:
    """One try under one number, as soon as no authority's order stands in its way."""
    pause, amount = policies.FIRST_PAUSE_WHILE_HELD, format_amount(order.amount_minor, order.currency)
    while True:
        step = use(_giving_back(order, number, amount))
        result = await step.send()
        if not is_known(result):
            result = await step.learn(
                until=None, resend_until=None, renew=renew, park=partial(_park, order, number, tell)
            )
        if result.blocked != AUTHORITY_HOLD:
            return step, result
        tell(f"An authority's order holds the {amount} that are to go back.")
        await settle(_held(order, number))
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            renew()
        await workflow.sleep(pause, summary="Until the order is lifted or over")
        pause = min(pause * 2, policies.LONGEST_PAUSE_WHILE_HELD)


async def _park(order: PaymentOrder, number: str, tell: Callable[[str], None]) -> None:
    """The bank finds nothing, but may have forgotten: sent again it could pay twice, so a person has to look."""
    tell(f"{order.bank_code} has no trace of the refund and may have forgotten its number.")
    await settle(_operator_needed(order, f"parked:{number}", EffectResult(outcome=BankOutcome.UNKNOWN)))


def _giving_back(order: PaymentOrder, number: str, amount: str) -> BankStep:
    request = EffectRequest(
        kind="payment",
        subject_id=order.payment_id,
        bank_code=order.bank_code,
        request_number=number,
        now=workflow.now(),
    )
    summary = f"Give {amount} back at {order.bank_code}"
    return BankStep(activity_names.REFUND_LATE_SUCCESS, request, summary, amount_minor=order.amount_minor)


def _given_back(order: PaymentOrder, number: str, result: EffectResult) -> Settlement:
    now = workflow.now()
    return Settlement(
        key=f"{order.payment_id}:late-refunded",
        kind="payment",
        id=order.payment_id,
        expect=(PaymentState.LATE_REFUNDING,),
        state=PaymentState.LATE_REFUNDED,
        at=now,
        action="late_refund",
        outcome="done",
        effect_number=number,
        effect_outcome="succeeded",
        bank_reference=result.bank_reference if result.decision_id else None,
        transfers=late_refund(order.payment_id, order.bank_code, order.amount_minor, order.currency, now),
        event_type="payment.late_refunded",
    )


def _operator_needed(order: PaymentOrder, number: str, result: EffectResult) -> Settlement:
    declined = result.outcome is BankOutcome.DECLINED and not result.blocked
    return Settlement(
        key=f"{order.payment_id}:late-refund-refused:{number}",
        kind="payment",
        id=order.payment_id,
        expect=(PaymentState.LATE_REFUNDING,),
        state=None,
        at=workflow.now(),
        action="late_refund",
        outcome="failed",
        reason=result.reason or result.blocked,
        raw_code=result.raw_code,
        wait_reason=WaitReason.OPERATOR,
        wait_until=workflow.now() + policies.PAUSE_WHILE_OPERATOR_ACTS,
        effect_number=number if declined else None,
        effect_outcome="declined" if declined else None,
    )


def _held(order: PaymentOrder, number: str) -> Settlement:
    return Settlement(
        key=f"{order.payment_id}:late-refund-held:{number}",
        kind="payment",
        id=order.payment_id,
        expect=(PaymentState.LATE_REFUNDING,),
        state=None,
        at=workflow.now(),
        action="hold_late_refund",
        outcome="refused",
        wait_reason=WaitReason.AUTHORITY_ORDER,
    )


def _concluded_as_unpaid(order: PaymentOrder, number: str, result: EffectResult) -> Settlement:
    """People found that the bank never paid it: it is tried again under another number."""
    return Settlement(
        key=f"{order.payment_id}:decision:{result.decision_id}",
        kind="payment",
        id=order.payment_id,
        expect=(PaymentState.LATE_REFUNDING,),
        state=None,
        at=workflow.now(),
        action="late_refund",
        outcome="failed",
        reason=result.reason,
        wait_reason=WaitReason.BANK_REFUND,
        effect_number=number,
        effect_outcome="declined",
    )
