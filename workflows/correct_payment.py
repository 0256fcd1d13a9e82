"""Correct a payment that had ended as failed by the bank's later word, on the record (A4.1c, house rule 4)."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.journal import late_collection
    from domain.settlement import Settlement
    from domain.states import PaymentState, WaitReason
    from workflows import names
    from workflows.bank_step import BankStep
    from workflows.decided import check_decision, taken
    from workflows.late_refund import give_back_late_success
    from workflows.messages import DecisionMessage, DecisionTaken, PaymentOrder, ProcessResult
    from workflows.settling import settle


@workflow.defn(name=names.Process.CORRECT_PAYMENT.value)
class CorrectPayment:
    """The bank spoke up about a failed payment: if it did take the money, the money is booked and given back."""

    @workflow.init
    def __init__(self, order: PaymentOrder) -> None:
        self._order = order
        self._step: BankStep | None = None
        self._noticed = False

    @workflow.run
    async def run(self, order: PaymentOrder) -> ProcessResult:
        ended = await self._correct(order)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    async def _correct(self, order: PaymentOrder) -> ProcessResult:
        if order.state == PaymentState.LATE_REFUNDING:
            return await self._give_back()
        request = EffectRequest(
            kind="payment",
            subject_id=order.payment_id,
            bank_code=order.bank_code,
            request_number=request_number(Step.DEBIT, order.payment_id),
            now=workflow.now(),
        )
        # Only asked about, never sent: the debit's one attempt was long ago.
        step = BankStep(activity_names.DEBIT, request, "Ask about the debit again", amount_minor=order.amount_minor)
        result = await self._ask(self._use(step))
        if result.outcome is not BankOutcome.SUCCEEDED:
            return ProcessResult(state=PaymentState.FAILED, reason="bank_confirms_failure")
        settled = await settle(
            Settlement(
                key=f"{order.payment_id}:corrected",
                kind="payment",
                id=order.payment_id,
                expect=(PaymentState.FAILED,),
                state=PaymentState.LATE_REFUNDING,
                at=workflow.now(),
                action="correct_payment",
                outcome="corrected",
                corrected=True,
                reason="bank_says_succeeded",
                bank_reference=result.bank_reference,
                booked_at=result.booked_at,
                wait_reason=WaitReason.BANK_REFUND,
                transfers=late_collection(
                    order.payment_id, order.bank_code, order.amount_minor, order.currency, workflow.now()
                ),
                event_type="payment.corrected",
            )
        )
        if settled.refused:
            return ProcessResult(state=settled.state or "unknown", reason=settled.refused)
        return await self._give_back()

    async def _give_back(self) -> ProcessResult:
        return await give_back_late_success(
            self._order, self._use, workflow.set_current_details, self._renew_giving_back
        )

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        outcome = await check_decision(self._order.payment_id, message)
        if outcome is not None and self._step is not None:
            self._step.conclude(outcome)
        return taken(outcome)

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        self._noticed = True
        if self._step is not None:
            self._step.notice()

    async def _ask(self, step: BankStep) -> EffectResult:
        """The bank's word, asked for once more if it spoke up while it was being asked."""
        while True:
            self._noticed = False
            result = await step.learn(until=None, resend_until=workflow.now(), renew=self._renew)
            if result.outcome is BankOutcome.SUCCEEDED or not self._noticed:
                return result

    def _renew(self) -> None:
        """Every step is known by its key, so a fresh history walks through what is done and goes on."""
        workflow.continue_as_new(self._order)

    def _renew_giving_back(self) -> None:
        """The debit is known: by now its bank may have forgotten it, and is not asked about it again."""
        workflow.continue_as_new(self._order.model_copy(update={"state": PaymentState.LATE_REFUNDING}))

    def _use(self, step: BankStep) -> BankStep:
        self._step = step
        return step
