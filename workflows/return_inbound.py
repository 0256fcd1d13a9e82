"""Return foreign currency to where it came from: out of suspense, or because it was not converted (A2.3a, A5.2a)."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.fx import FxEntry
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.money import format_amount
    from domain.states import InboundReturnState, WaitReason
    from workflows import names, policies
    from workflows.bank_step import BankStep, send_until_known
    from workflows.decided import check_decision, taken
    from workflows.fx_at_desk import next_pause
    from workflows.messages import DecisionMessage, DecisionTaken, InboundReturnOrder, ProcessResult
    from workflows.settling_fx import settle_fx
    from workflows.waking import Waker

S = InboundReturnState
SENT = (S.SENDING, S.UNKNOWN)
# What passes: it is tried again, more and more slowly.
STOPS = {
    "partner_not_available": WaitReason.PARTNER,
    "authority_hold": WaitReason.AUTHORITY_ORDER,
    "funds_frozen": WaitReason.FREEZE,
    "function_suspended": WaitReason.FREEZE,
}


@workflow.defn(name=names.Process.RETURN_INBOUND.value)
class ReturnInbound:
    """One return from its acceptance to a final state."""

    @workflow.init
    def __init__(self, order: InboundReturnOrder) -> None:
        self._order = order
        self._waker = Waker()
        self._stopped_by: str | None = None
        self._step = self._new_step()

    @workflow.run
    async def run(self, order: InboundReturnOrder) -> ProcessResult:
        ended = await self._return()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        outcome = await check_decision(self._order.return_id, message)
        if outcome is not None:
            self._step.conclude(outcome)
        return taken(outcome)

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        self._step.notice()
        self._waker.wake()

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """Something that it waits for may have changed."""
        self._waker.wake()

    async def _return(self) -> ProcessResult:
        pause = policies.FIRST_PAUSE_WHILE_HELD
        while True:
            result = await self._send()
            if result.blocked not in STOPS:
                break
            await self._show_stop(result.blocked)
            await self._waker.woken_by(workflow.now() + pause, "Until it may go on")
            pause = next_pause(pause, policies.LONGEST_PAUSE_WHILE_HELD)
            await self._renew_if_long()
        if result.blocked in ("state_conflict", "not_found"):
            return ProcessResult(state=result.blocked_state or "unknown_to_the_books")
        if result.outcome is BankOutcome.SUCCEEDED:
            return await self._end(S.SUCCEEDED, "done", result)
        return await self._end(S.FAILED, "failed", result)

    def _new_step(self) -> BankStep:
        order = self._order
        request = EffectRequest(
            kind="inbound_return", subject_id=order.return_id, bank_code=order.bank_code,
            request_number=request_number(Step.INBOUND_RETURN, order.return_id), now=workflow.now(),
        )  # fmt: skip
        summary = f"Return {format_amount(order.amount_minor, order.currency)} at {order.bank_code}"
        return BankStep(
            activity_names.RETURN_INBOUND,
            request,
            summary,
            amount_minor=order.amount_minor,
            ask=activity_names.ASK_FX_BANK,
        )

    async def _send(self) -> EffectResult:
        self._tell(f"Returning {format_amount(self._order.amount_minor, self._order.currency)}.", None)
        return await send_until_known(
            self._step,
            is_shown=self._order.state == S.UNKNOWN,
            answer_by=self._order.answer_by,
            answer_within=policies.ANSWER_TO_PAYOUT_WITHIN,
            show_as_unknown=self._show_as_unknown,
            park=self._park,
            renew=lambda: workflow.continue_as_new(self._order),
        )

    async def _renew_if_long(self) -> None:
        """A long wait goes on in a fresh history, unless there is something to look at first."""
        if not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._waker.is_woken and not self._step.is_concluded:
            workflow.continue_as_new(self._order)

    async def _show_stop(self, obstacle: str) -> None:
        if obstacle == self._stopped_by:
            return
        self._stopped_by = obstacle
        self._tell(f"Stopped: {obstacle}.", STOPS[obstacle])
        at = int(workflow.now().timestamp())
        await settle_fx(
            self._entry(
                f"stopped:{at}", None, "refused", expect=(S.READY,), reason=obstacle, wait_reason=STOPS[obstacle]
            )
        )

    async def _show_as_unknown(self, result: EffectResult, answer_by: datetime) -> None:
        self._order = self._order.model_copy(update={"state": S.UNKNOWN, "answer_by": answer_by})
        self._tell(
            f"{self._order.bank_code} has not said what became of it; asking until it does.", WaitReason.BANK_ANSWER
        )
        await settle_fx(
            self._entry(
                "unknown", S.UNKNOWN, "unknown", expect=(S.SENDING,), wait_reason=WaitReason.BANK_ANSWER,
                wait_deadline=answer_by,
            )
        )  # fmt: skip

    async def _park(self) -> None:
        """Asking the bank alone does not bring it on: a person has to look."""
        self._tell(f"{self._order.bank_code} does not say what became of it.", WaitReason.OPERATOR)
        await settle_fx(self._entry("parked", None, "unknown", expect=(S.UNKNOWN,), wait_reason=WaitReason.OPERATOR))

    async def _end(self, state: InboundReturnState, outcome: str, result: EffectResult) -> ProcessResult:
        number = request_number(Step.INBOUND_RETURN, self._order.return_id)
        effect = "succeeded" if state is S.SUCCEEDED else "declined"
        sent = {} if result.blocked else {"effect_number": number, "effect_outcome": effect}
        reason = None if state is S.SUCCEEDED else result.reason or result.blocked or "declined"
        settled = await settle_fx(
            self._entry(
                state.value, state, outcome, expect=SENT if sent else (S.READY,), reason=reason,
                raw_code=result.raw_code, bank_reference=result.bank_reference, booked_at=result.booked_at, **sent,
            )
        )  # fmt: skip
        self._tell(f"Ended as {settled.state or state}{f' because of {reason}' if reason else ''}.", None)
        return ProcessResult(state=settled.state or state, reason=reason)

    def _entry(self, key: str, state: InboundReturnState | None, outcome: str, **fields: object) -> FxEntry:
        return FxEntry.model_validate(
            {
                "key": f"{self._order.return_id}:{key}", "kind": "inbound_return", "id": self._order.return_id,
                "state": state, "at": workflow.now(), "action": "return_inbound", "outcome": outcome, **fields,
            }
        )  # fmt: skip

    def _tell(self, sentence: str, awaited: WaitReason | None) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")
        update = names.WAITING_FOR.value_unset() if awaited is None else names.WAITING_FOR.value_set(awaited.value)
        workflow.upsert_search_attributes([update])
