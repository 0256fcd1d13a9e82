"""A conversion at its desk: sent once under one number, asked about until it is known, and until it is delivered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectQuery, EffectRequest, EffectResult, ExcessLearned, ExcessQuestion
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.money import format_amount
    from domain.states import FxState, WaitReason
    from workflows import fx_settlements as settlements
    from workflows import policies
    from workflows.bank_step import UNANSWERED, BankStep, send_until_known
    from workflows.messages import FxOrder
    from workflows.settling_fx import settle_fx

Show = Callable[[str, WaitReason | None], None]
# The desk never got it, and nothing can arrive any more: nothing was dealt, as if it had said no.
NEVER_ARRIVED = "never_arrived"


def number_of(order: FxOrder) -> str:
    """Under which the desk knows the present attempt."""
    step = Step.FX_CONVERSION if order.kind == "conversion" else Step.FX_REVERSAL
    return request_number(step, order.fx_id, order.attempt)


def desk_step(order: FxOrder) -> BankStep:
    """The present attempt, under its own number."""
    request = EffectRequest(
        kind="fx", subject_id=order.fx_id, bank_code=order.desk or "", request_number=number_of(order),
        now=workflow.now(), attempt=order.attempt, user_id=None if order.is_enterprise else order.user_id,
        currency=order.currency,
    )  # fmt: skip
    what = "Convert" if order.kind == "conversion" else "Take back"
    summary = f"{what} {format_amount(order.amount_minor, order.currency)} at {order.desk}"
    return BankStep(
        activity_names.CONVERT, request, summary, amount_minor=order.amount_minor, ask=activity_names.ASK_FX_BANK,
        was_known=order.is_known_to_desk,
    )  # fmt: skip


class FxAtDesk:
    """One attempt. `renew` continues the process in a fresh history; it is handed the order as it is then."""

    def __init__(self, order: FxOrder, show: Show, renew: Callable[[FxOrder], None]) -> None:
        self._order = order
        self._show = show
        self._renew_process = renew
        # Whether the books say that the desk has had this number, or that a person has to look.
        self._is_in_books = order.is_known_to_desk
        self.step = desk_step(order)

    def conclude(self, result: EffectResult) -> None:
        """People have decided; what they say of another attempt, whose number is another, tells nothing here."""
        if result.request_number in (None, self.step.request_number):
            self.step.conclude(result)

    async def outcome(self, answer_within: timedelta) -> EffectResult:
        """What became of it. It is never sent twice: its quote is over long before that would be known to be safe."""
        order = self._order
        self._show(f"Dealing {format_amount(order.amount_minor, order.currency)} at {order.desk}.", None)
        result = await send_until_known(
            self.step,
            is_shown=order.state == FxState.UNKNOWN,
            answer_by=order.answer_by,
            answer_within=answer_within,
            show_as_unknown=self._show_as_unknown,
            park=self._park,
            renew=self._renew,
            resend=False,
            heard=self._heard,
        )
        if not self.step.never_arrived(result):
            return result
        return result.model_copy(update={"outcome": BankOutcome.DECLINED, "reason": NEVER_ARRIVED})

    def _renew(self) -> None:
        self._renew_process(self._order.model_copy(update={"is_known_to_desk": self.step.was_known}))

    async def _show_as_unknown(self, result: EffectResult, answer_by: datetime) -> None:
        self._order = self._order.model_copy(update={"state": FxState.UNKNOWN, "answer_by": answer_by})
        self._is_in_books = self.step.was_known
        reason = WaitReason.BANK_PROCESSING if self.step.was_known else WaitReason.BANK_ANSWER
        self._show(f"{self._order.desk} has not said what became of it; asking until it does.", reason)
        await settle_fx(
            settlements.shown_as_unknown(self._order, self.step.request_number, workflow.now(), reason, answer_by)
        )

    async def _heard(self) -> None:
        """That the desk has had the number outlives this process: it is never taken for one that did not arrive."""
        if self.step.was_known and not self._is_in_books:
            self._is_in_books = True
            now, number = workflow.now(), self.step.request_number
            await settle_fx(settlements.at_the_desk(self._order, number, now, self._order.answer_by))

    async def _park(self) -> None:
        """No word of the desk's in time, or none that says anything any more: a person has to look."""
        self._show(f"{self._order.desk} does not say what became of it.", WaitReason.OPERATOR)
        self._is_in_books = True
        now, number = workflow.now(), self.step.request_number
        await settle_fx(settlements.waits_for_operator(self._order, number, now, FxState.UNKNOWN))


async def ask_desk(order: FxOrder, within: timedelta | None) -> EffectResult:
    """What the desk knows of the deal now; UNKNOWN where it has not said so within a time (None: it is waited for)."""
    query = EffectQuery(
        bank_code=order.desk or "", request_number=number_of(order), amount_minor=order.amount_minor, now=workflow.now()
    )
    try:
        answer: EffectResult = await workflow.execute_activity(
            activity_names.ASK_FX_BANK,
            query,
            result_type=EffectResult,
            start_to_close_timeout=policies.BANK_STEP_TIMEOUT,
            schedule_to_close_timeout=within,
            retry_policy=policies.PATIENTLY,
            summary=f"Ask whether {order.desk} has delivered",
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return UNANSWERED
    return answer


async def learn_excess(fx_id: str) -> ExcessLearned:
    """What the desk says was above the quota; exactly what is new of it is taken back (A5.2c)."""
    learned: ExcessLearned = await workflow.execute_activity(
        activity_names.LEARN_EXCESS,
        ExcessQuestion(fx_id=fx_id, now=workflow.now()),
        result_type=ExcessLearned,
        start_to_close_timeout=policies.SETTLE_TIMEOUT,
        retry_policy=policies.PATIENTLY,
        summary="Ask how much was above the quota, and have it taken back",
    )
    return learned


def next_pause(pause: timedelta, longest: timedelta) -> timedelta:
    """Twice as long, up to the longest."""
    return min(pause * 2, longest)
