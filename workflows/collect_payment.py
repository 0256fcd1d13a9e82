"""Collect a payment by quick pay: a code unless it is waived, one debit, the bank's word, the books (A2.1d, A3.11)."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.journal import collection, late_collection
    from domain.money import format_amount
    from domain.settlement import Settlement
    from domain.states import PaymentState, WaitReason
    from workflows import names, policies
    from workflows.bank_step import BankStep, is_known
    from workflows.code_entry import CodeEntry, CodeOutcome
    from workflows.decided import WITHDRAWN, check_decision, taken
    from workflows.late_refund import give_back_late_success
    from workflows.messages import (
        CodeResendMessage,
        CodeVerdictMessage,
        DecisionMessage,
        DecisionTaken,
        PaymentOrder,
        ProcessResult,
    )
    from workflows.settling import settle

SENT = (PaymentState.SENDING, PaymentState.UNKNOWN)


@workflow.defn(name=names.Process.COLLECT_PAYMENT.value)
class CollectPayment:
    """One payment from its acceptance to a final state."""

    @workflow.init
    def __init__(self, order: PaymentOrder) -> None:
        self._order = order
        self._codes = CodeEntry("payment", order.payment_id)
        self._step: BankStep | None = None
        self._shown_unknown = False
        # Why another code was not sent, where our own claim refused it.
        self._blocked: str | None = None

    @workflow.run
    async def run(self, order: PaymentOrder) -> ProcessResult:
        ended = await self._collect(order)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    async def _collect(self, order: PaymentOrder) -> ProcessResult:
        if order.state == PaymentState.LATE_REFUNDING:
            return await self._go_on_giving_back()
        if order.verification == "code" and order.state in (None, PaymentState.AWAITING_CODE) and not order.resumed:
            ended = await self._confirm_by_code()
            if ended is not None:
                return ended
        result = await self._debit()
        if result.blocked:
            return await self._not_sent(result)
        if result.outcome is BankOutcome.SUCCEEDED:
            return await self._succeed(result)
        return await self._fail(result)

    @workflow.update(name=names.CODE_VERDICT_UPDATE)
    async def code_verdict(self, message: CodeVerdictMessage) -> None:
        """An attempt was judged; what counts is the database."""
        self._codes.take_verdict(message)

    @workflow.update(name=names.CODE_RESEND_UPDATE)
    async def code_resend(self, message: CodeResendMessage) -> None:
        """The payer wants another code; cool-down and cap were checked when it was claimed."""
        self._codes.take_resend(message)

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        outcome = await check_decision(self._order.payment_id, message)
        if outcome is not None and outcome.blocked == WITHDRAWN:
            self._codes.withdraw()
        if outcome is not None and self._step is not None:
            self._step.conclude(outcome)
        return taken(outcome)

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        if self._step is not None:
            self._step.notice()

    async def _confirm_by_code(self) -> ProcessResult | None:
        """None once the payer has confirmed; else how it ended."""
        first = await self._send_code(0)
        if first.outcome is not BankOutcome.SUCCEEDED:
            return await self._not_sent(first) if first.blocked else await self._fail_unsent(first)
        while True:
            outcome = await self._codes.outcome(
                self._order.order_expires_at, PaymentState.AWAITING_CODE, self._send_another_code
            )
            if outcome is CodeOutcome.CONFIRMED:
                return None
            if outcome is CodeOutcome.WITHDRAWN or self._blocked == WITHDRAWN:
                ended = await self._close(PaymentState.CLOSED, WITHDRAWN)
            elif outcome is CodeOutcome.DECLINED:
                ended = await self._close(PaymentState.FAILED, self._blocked or "code_declined")
            else:
                ended = await self._close(PaymentState.CLOSED, "order_expired")
            # A code that was typed in this very instant has to be judged first.
            if ended.state != PaymentState.AWAITING_CODE:
                return ended

    async def _send_another_code(self, attempt: int) -> bool:
        result = await self._send_code(attempt)
        self._blocked = result.blocked
        # Where the first code was confirmed meanwhile there is nothing to send any more, and no harm done.
        return result.outcome is not BankOutcome.DECLINED or result.blocked == "state_conflict"

    async def _send_code(self, attempt: int) -> EffectResult:
        """Has the issuer text a code; keeps asking until the order expires whether it did."""
        number = request_number(Step.PAYMENT_CODE, self._order.payment_id, attempt)
        self._tell(f"Asking {self._order.bank_code} to text code {attempt + 1} to the payer.")
        step = self._bank_step(activity_names.SEND_PAYMENT_CODE, number, "Have the issuer text a code", attempt)
        result = await step.send()
        if not is_known(result):
            expiry = self._order.order_expires_at
            result = await step.learn(until=expiry, resend_until=expiry)
        if result.outcome is BankOutcome.SUCCEEDED:
            self._tell("Waiting for the payer's code.")
            await settle(self._code_was_sent(number, result))
        return result

    def _code_was_sent(self, number: str, result: EffectResult) -> Settlement:
        return self._settlement(
            f"code-sent:{number}", None, "send_code", "done",
            expect=(PaymentState.AWAITING_CODE,),
            wait_reason=WaitReason.PAYER_CODE, wait_until=result.code_expires_at,
            wait_deadline=self._order.order_expires_at,
            code_request_number=number, code_sent_at=workflow.now(), code_expires_at=result.code_expires_at,
            effect_number=number, effect_outcome="succeeded", event_type="payment.code_sent",
        )  # fmt: skip

    async def _debit(self) -> EffectResult:
        """Debits once and asks until the bank knows; past a little patience the payment is shown as unknown."""
        order = self._order
        amount = format_amount(order.amount_minor, order.currency)
        self._tell(f"Debiting {amount} at {order.bank_code}.")
        step = self._bank_step(activity_names.DEBIT, self._debit_number, f"Debit {amount} at {order.bank_code}")
        result = await step.send()
        if is_known(result):
            return result
        if not order.resumed:
            soon = workflow.now() + policies.PATIENCE_BEFORE_UNKNOWN
            result = await step.learn(until=soon, resend_until=order.order_expires_at)
            if is_known(result):
                return result
            await self._show_as_unknown(result)
        result = await step.learn(until=None, resend_until=order.order_expires_at, renew=self._renew, park=self._park)
        workflow.upsert_search_attributes([names.WAITING_FOR.value_unset()])
        return result

    async def _show_as_unknown(self, result: EffectResult) -> None:
        processing = result.outcome is BankOutcome.PROCESSING
        reason = WaitReason.BANK_PROCESSING if processing else WaitReason.BANK_ANSWER
        self._tell(f"{self._order.bank_code} has not said what became of the debit; asking until it does.")
        self._shown_unknown = True
        workflow.upsert_search_attributes([names.WAITING_FOR.value_set(reason.value)])
        await settle(
            self._settlement(
                "unknown", PaymentState.UNKNOWN, "debit", "unknown",
                expect=(PaymentState.SENDING,), wait_reason=reason, wait_deadline=self._order.order_expires_at,
                event_type="payment.unknown",
            )
        )  # fmt: skip

    async def _park(self) -> None:
        """The bank finds nothing, but may have forgotten: neither success nor failure, and a person has to look."""
        self._tell(f"{self._order.bank_code} has no trace of the debit and may have forgotten its number.")
        workflow.upsert_search_attributes([names.WAITING_FOR.value_set(WaitReason.OPERATOR.value)])
        await settle(
            self._settlement(
                "parked", None, "debit", "unknown",
                expect=(PaymentState.UNKNOWN,), wait_reason=WaitReason.OPERATOR,
                event_type="payment.waits_for_operator",
            )
        )  # fmt: skip

    async def _succeed(self, result: EffectResult) -> ProcessResult:
        """In time it is the payee's; after the order was over it is booked and goes back (A4.1c)."""
        order, now = self._order, workflow.now()
        if self._is_late(now):
            return await self._give_back(result)
        transfers = collection(
            order.payment_id,
            order.bank_code,
            order.payee_account,
            order.amount_minor,
            order.fee_minor,
            order.currency,
            now,
        )
        settled = await settle(
            self._settlement(
                "succeeded", PaymentState.SUCCEEDED, "debit", "done",
                expect=SENT, transfers=transfers, event_type="payment.succeeded",
                **_bank_words(result, self._debit_number),
            )
        )  # fmt: skip
        return self._end(settled.state or PaymentState.SUCCEEDED)

    def _is_late(self, now: datetime) -> bool:
        """An answer on its way when the order expires is in time; one the merchant had to do without is not."""
        shown_unknown = self._shown_unknown or self._order.resumed or self._order.state == PaymentState.UNKNOWN
        grace = timedelta(0) if shown_unknown else policies.GRACE_FOR_ANSWER_UNDER_WAY
        return now > self._order.order_expires_at + grace

    async def _give_back(self, result: EffectResult) -> ProcessResult:
        order = self._order
        transfers = late_collection(
            order.payment_id, order.bank_code, order.amount_minor, order.currency, workflow.now()
        )
        settled = await settle(
            self._settlement(
                "late", PaymentState.LATE_REFUNDING, "debit", "done",
                expect=SENT, wait_reason=WaitReason.BANK_REFUND, transfers=transfers, event_type="payment.late_success",
                **_bank_words(result, self._debit_number, reason="succeeded_after_order_expired"),
            )
        )  # fmt: skip
        if settled.refused:
            # It had ended before, and this is a second run of the process: what holds, holds.
            return self._end(settled.state or "unknown")
        return await self._go_on_giving_back()

    async def _go_on_giving_back(self) -> ProcessResult:
        return await give_back_late_success(self._order, self._use, self._tell, self._renew_giving_back)

    async def _fail(self, result: EffectResult) -> ProcessResult:
        """The bank's definite no, or a request that it never got and no longer can get."""
        reason = result.reason or "not_received_by_bank"
        settled = await settle(
            self._settlement(
                "failed", PaymentState.FAILED, "debit", "failed",
                expect=SENT, release_limits=True, event_type="payment.failed",
                **_bank_words(result, self._debit_number, reason=reason),
            )
        )  # fmt: skip
        if settled.state == PaymentState.READY:
            # Not even the send claim was made before the order was over, so nothing was sent.
            return await self._close(PaymentState.CLOSED, "order_expired")
        return self._end(settled.state or PaymentState.FAILED, reason)

    async def _fail_unsent(self, result: EffectResult) -> ProcessResult:
        if workflow.now() >= self._order.order_expires_at and result.outcome is not BankOutcome.DECLINED:
            return await self._close(PaymentState.CLOSED, "order_expired")
        return await self._close(PaymentState.FAILED, result.reason or "code_not_sent")

    async def _not_sent(self, result: EffectResult) -> ProcessResult:
        """The send claim was refused, so nothing was sent: what stood in the way is the reason."""
        if result.blocked in ("order_expired", WITHDRAWN):
            return await self._close(PaymentState.CLOSED, result.blocked)
        if result.blocked in ("state_conflict", "not_found"):
            return self._end(result.blocked_state or "unknown")
        return await self._close(PaymentState.FAILED, result.blocked or "blocked")

    async def _close(self, state: PaymentState, reason: str) -> ProcessResult:
        settled = await settle(
            self._settlement(
                state.value, state, "collect_payment", "failed" if state is PaymentState.FAILED else "abandoned",
                expect=(PaymentState.AWAITING_CODE, PaymentState.READY), reason=reason, release_limits=True,
                event_type=f"payment.{state.value}",
            )
        )  # fmt: skip
        return self._end(settled.state or state, reason)

    def _renew(self) -> None:
        """A long wait goes on in a fresh history: the send claim tells the next run that it was sent already."""
        workflow.continue_as_new(self._order.model_copy(update={"resumed": True}))

    def _renew_giving_back(self) -> None:
        """The debit is known: by now its bank may have forgotten it, and is not asked about it again."""
        workflow.continue_as_new(self._order.model_copy(update={"state": PaymentState.LATE_REFUNDING}))

    @property
    def _debit_number(self) -> str:
        return request_number(Step.DEBIT, self._order.payment_id)

    def _bank_step(self, activity: str, number: str, summary: str, attempt: int = 0) -> BankStep:
        request = EffectRequest(
            kind="payment", subject_id=self._order.payment_id, bank_code=self._order.bank_code,
            request_number=number, now=workflow.now(), attempt=attempt,
        )  # fmt: skip
        amount_minor = self._order.amount_minor if activity == activity_names.DEBIT else None
        return self._use(BankStep(activity, request, summary, amount_minor=amount_minor))

    def _use(self, step: BankStep) -> BankStep:
        """The step that a notice of the bank is about from now on."""
        self._step = step
        return step

    def _settlement(
        self, key: str, state: PaymentState | None, action: str, outcome: str, **fields: object
    ) -> Settlement:
        return Settlement.model_validate(
            {
                "key": f"{self._order.payment_id}:{key}", "kind": "payment", "id": self._order.payment_id,
                "state": state, "at": workflow.now(), "action": action, "outcome": outcome, **fields,
            }
        )  # fmt: skip

    def _tell(self, sentence: str) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")

    def _end(self, state: str, reason: str | None = None) -> ProcessResult:
        self._tell(f"Ended as {state}{f' because of {reason}' if reason else ''}.")
        return ProcessResult(state=state, reason=reason)


def _bank_words(result: EffectResult, number: str, **fields: object) -> dict[str, object]:
    """What the bank said, as the settlement keeps it."""
    known = {BankOutcome.SUCCEEDED: "succeeded", BankOutcome.DECLINED: "declined"}.get(result.outcome)
    return {
        "reason": result.reason, "raw_code": result.raw_code, "bank_reference": result.bank_reference,
        "booked_at": result.booked_at, "effect_number": number, "effect_outcome": known,
    } | fields  # fmt: skip
