"""A payout at its bank: sent once under one number, asked about until it is known, and shown while it is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.money import format_amount
    from domain.states import PayoutState, WaitReason
    from workflows import payout_settlements as settlements
    from workflows.bank_step import BankStep, send_until_known
    from workflows.messages import PayoutOrder
    from workflows.settling import settle

# Says in a sentence what is going on, and what is waited for, if anything.
Show = Callable[[str, WaitReason | None], None]


def payout_step(order: PayoutOrder) -> BankStep:
    """The present attempt of a payout, under its own number."""
    request = EffectRequest(
        kind="payout", subject_id=order.payout_id, bank_code=order.bank_code,
        request_number=request_number(Step.PAYOUT, order.payout_id, order.attempt), now=workflow.now(),
        attempt=order.attempt, user_id=order.user_id or order.merchant_id, region=order.region,
    )  # fmt: skip
    summary = f"Pay {format_amount(order.amount_minor, order.currency)} out at {order.bank_code}"
    return BankStep(activity_names.PAY_OUT, request, summary, amount_minor=order.amount_minor)


class PayoutAtBank:
    """One attempt. `renew` continues the process in a fresh history; it is handed the order as it is then."""

    def __init__(self, order: PayoutOrder, show: Show, renew: Callable[[PayoutOrder], None]) -> None:
        self._order = order
        self._show = show
        self._renew_process = renew
        self.step = payout_step(order)

    def conclude(self, result: EffectResult) -> None:
        """People have decided; what they say of another attempt, whose number is another, tells nothing here."""
        if result.request_number in (None, Step.PAYOUT.value, self.step.request_number):
            self.step.conclude(result)

    async def outcome(self, answer_within: timedelta) -> EffectResult:
        """What became of it. A person is asked once `answer_within` is over since it was sent; the bank, for ever."""
        order, step = self._order, self.step
        self._show(f"Paying {format_amount(order.amount_minor, order.currency)} out at {order.bank_code}.", None)
        return await send_until_known(
            step,
            is_shown=order.state == PayoutState.UNKNOWN,
            answer_by=order.answer_by,
            answer_within=answer_within,
            show_as_unknown=self._show_as_unknown,
            park=self._park,
            renew=self._renew,
        )

    async def _show_as_unknown(self, result: EffectResult, answer_by: datetime) -> None:
        self._order = self._order.model_copy(update={"state": PayoutState.UNKNOWN, "answer_by": answer_by})
        order = self._order
        processing = result.outcome is BankOutcome.PROCESSING
        reason = WaitReason.BANK_PROCESSING if processing else WaitReason.BANK_ANSWER
        self._show(f"{order.bank_code} has not said what became of the payout; asking until it does.", reason)
        await settle(settlements.shown_as_unknown(order, self.step.request_number, workflow.now(), reason, answer_by))

    async def _park(self) -> None:
        """No word of the bank's in time, or none that says anything any more: a person has to look."""
        self._show(f"{self._order.bank_code} does not say what became of the payout.", WaitReason.OPERATOR)
        await settle(settlements.waits_for_operator(self._order, self.step.request_number, workflow.now()))

    def _renew(self) -> None:
        self._renew_process(self._order)
