"""Refund a payment, in full or in part: what was held at acceptance leaves when the bank has paid it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.journal import refund_done, refund_failed, refund_holds
    from domain.money import format_amount
    from domain.settlement import Settlement
    from domain.states import RefundState, WaitReason
    from workflows import names, policies
    from workflows.bank_step import BankStep, is_known
    from workflows.decided import check_decision, taken
    from workflows.messages import DecisionMessage, DecisionTaken, ProcessResult, RefundOrder
    from workflows.settling import settle

SENT = (RefundState.SENDING, RefundState.UNKNOWN)


@workflow.defn(name=names.Process.REFUND_PAYMENT.value)
class RefundPayment:
    """One refund from its acceptance to a final state."""

    @workflow.init
    def __init__(self, order: RefundOrder) -> None:
        self._order = order
        self._number = request_number(Step.REFUND, order.refund_id)
        self._step: BankStep | None = None

    @workflow.run
    async def run(self, order: RefundOrder) -> ProcessResult:
        ended = await self._refund()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    async def _refund(self) -> ProcessResult:
        result = await self._send()
        if result.blocked in ("state_conflict", "not_found"):
            return ProcessResult(state=result.blocked_state or "unknown")
        if result.outcome is BankOutcome.SUCCEEDED:
            return await self._succeed(result)
        return await self._fail(result)

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        outcome = await check_decision(self._order.refund_id, message)
        if outcome is not None and self._step is not None:
            self._step.conclude(outcome)
        return taken(outcome)

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        if self._step is not None:
            self._step.notice()

    async def _send(self) -> EffectResult:
        order = self._order
        amount = format_amount(order.amount_minor, order.currency)
        self._tell(f"Refunding {amount} at {order.bank_code}.")
        request = EffectRequest(
            kind="refund", subject_id=order.refund_id, bank_code=order.bank_code, request_number=self._number,
            now=workflow.now(),
        )  # fmt: skip
        summary = f"Refund {amount} at {order.bank_code}"
        self._step = BankStep(activity_names.REFUND, request, summary, amount_minor=order.amount_minor)
        result = await self._step.send()
        if is_known(result):
            return result
        if not order.resumed:
            result = await self._step.learn(until=workflow.now() + policies.PATIENCE_BEFORE_UNKNOWN, resend_until=None)
            if is_known(result):
                return result
            await self._show_as_unknown(result)
        result = await self._step.learn(until=None, resend_until=None, renew=self._renew, park=self._park)
        workflow.upsert_search_attributes([names.WAITING_FOR.value_unset()])
        return result

    async def _show_as_unknown(self, result: EffectResult) -> None:
        processing = result.outcome is BankOutcome.PROCESSING
        reason = WaitReason.BANK_PROCESSING if processing else WaitReason.BANK_ANSWER
        self._tell(f"{self._order.bank_code} has not said what became of the refund; asking until it does.")
        workflow.upsert_search_attributes([names.WAITING_FOR.value_set(reason.value)])
        await settle(
            self._settlement(
                "unknown", RefundState.UNKNOWN, "unknown",
                expect=(RefundState.SENDING,), wait_reason=reason, event_type="refund.unknown",
            )
        )  # fmt: skip

    async def _park(self) -> None:
        """The bank has no trace of the refund, and sending it again could pay twice: a person has to look."""
        self._tell(f"{self._order.bank_code} has no trace of the refund and may have forgotten its number.")
        workflow.upsert_search_attributes([names.WAITING_FOR.value_set(WaitReason.OPERATOR.value)])
        await settle(
            self._settlement(
                "parked", None, "unknown",
                expect=(RefundState.UNKNOWN,), wait_reason=WaitReason.OPERATOR, event_type="refund.waits_for_operator",
            )
        )  # fmt: skip

    async def _succeed(self, result: EffectResult) -> ProcessResult:
        holds = self._holds()
        settled = await settle(
            self._settlement(
                "succeeded", RefundState.SUCCEEDED, "done",
                expect=SENT, transfers=refund_done(self._order.payment_id, holds, workflow.now()),
                bank_reference=result.bank_reference, booked_at=result.booked_at,
                effect_number=self._number, effect_outcome="succeeded", event_type="refund.succeeded",
            )
        )  # fmt: skip
        return self._end(settled.state or RefundState.SUCCEEDED, None)

    async def _fail(self, result: EffectResult) -> ProcessResult:
        """The bank's definite no, or a claim that was refused: what was held is the payee's again."""
        reason = result.reason or result.blocked or "declined"
        sent = {"effect_number": self._number, "effect_outcome": "declined"} if not result.blocked else {}
        settled = await settle(
            self._settlement(
                "failed", RefundState.FAILED, "failed",
                expect=(RefundState.READY, *SENT), reason=reason, raw_code=result.raw_code,
                transfers=refund_failed(self._order.payment_id, self._holds(), workflow.now()),
                event_type="refund.failed", **sent,
            )
        )  # fmt: skip
        return self._end(settled.state or RefundState.FAILED, reason)

    def _holds(self) -> list[str]:
        order = self._order
        return refund_holds(order.payment_id, order.refund_id, order.amount_minor, order.fee_back_minor)

    def _renew(self) -> None:
        workflow.continue_as_new(self._order.model_copy(update={"resumed": True}))

    def _settlement(self, key: str, state: RefundState | None, outcome: str, **fields: object) -> Settlement:
        return Settlement.model_validate(
            {
                "key": f"{self._order.refund_id}:{key}", "kind": "refund", "id": self._order.refund_id,
                "state": state, "at": workflow.now(), "action": "refund", "outcome": outcome, **fields,
            }
        )  # fmt: skip

    def _tell(self, sentence: str) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")

    def _end(self, state: str, reason: str | None) -> ProcessResult:
        self._tell(f"Ended as {state}{f' because of {reason}' if reason else ''}.")
        return ProcessResult(state=state, reason=reason)
