"""Bind a card for quick pay: the issuer verifies four elements and the payer's code, and only then it opens (A2.1a)."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.settlement import Settlement
    from domain.states import BindingState, WaitReason
    from workflows import names
    from workflows.bank_step import BankStep, is_known
    from workflows.code_entry import CodeEntry, CodeOutcome
    from workflows.messages import BindingOrder, CodeResendMessage, CodeVerdictMessage, ProcessResult
    from workflows.settling import settle

UNDER_WAY = (BindingState.ACCEPTED, BindingState.APPLYING, BindingState.AWAITING_CODE)


@workflow.defn(name=names.Process.BIND_CARD.value)
class BindCard:
    """One application to bind a card, from its acceptance until the card is bound or the application has ended."""

    @workflow.init
    def __init__(self, order: BindingOrder) -> None:
        self._order = order
        self._codes = CodeEntry("binding", order.binding_id)

    @workflow.run
    async def run(self, order: BindingOrder) -> ProcessResult:
        if workflow.now() >= order.deadline:
            # Found by the sweeper too late: nothing is disclosed and no code is texted for an application that is over.
            ended = await self._end_as(BindingState.EXPIRED, "not_started_in_time", None)
            # A code that was typed to an earlier run has to be judged first: it may have opened the agreement.
            return await self._await_code() if ended.state == BindingState.AWAITING_CODE else ended
        result = await self._apply(0)
        if result.blocked in ("state_conflict", "not_found"):
            return ProcessResult(state=result.blocked_state or "unknown")
        if result.outcome is BankOutcome.DECLINED:
            return await self._end_as(
                BindingState.DECLINED, result.reason or result.blocked or "declined", result.raw_code
            )
        if result.outcome is not BankOutcome.SUCCEEDED:
            return await self._end_as(BindingState.EXPIRED, "issuer_gave_no_answer", None)
        return await self._await_code()

    @workflow.update(name=names.CODE_VERDICT_UPDATE)
    async def code_verdict(self, message: CodeVerdictMessage) -> None:
        """An attempt was judged; what counts is the database."""
        self._codes.take_verdict(message)

    @workflow.update(name=names.CODE_RESEND_UPDATE)
    async def code_resend(self, message: CodeResendMessage) -> None:
        """The payer wants another code; cool-down and cap were checked when it was claimed."""
        self._codes.take_resend(message)

    async def _await_code(self) -> ProcessResult:
        while True:
            outcome = await self._codes.outcome(self._order.deadline, BindingState.AWAITING_CODE, self._apply_again)
            if outcome is CodeOutcome.CONFIRMED:
                self._tell("The issuer has opened the agreement; the card is bound.")
                return ProcessResult(state=BindingState.OPEN)
            if outcome is CodeOutcome.DECLINED:
                ended = await self._end_as(BindingState.DECLINED, "issuer_declined_code", None)
            else:
                ended = await self._end_as(BindingState.EXPIRED, "no_right_code_in_time", None)
            # A code that was typed in this very instant has to be judged first: it may open the agreement.
            if ended.state != BindingState.AWAITING_CODE:
                return ended

    async def _apply_again(self, attempt: int) -> bool:
        result = await self._apply(attempt)
        # Where the first code was confirmed meanwhile there is nothing to apply for any more, and no harm done.
        return result.outcome is not BankOutcome.DECLINED or result.blocked == "state_conflict"

    async def _apply(self, attempt: int) -> EffectResult:
        """The issuer verifies the four elements and texts a code; silence is asked about until the deadline."""
        number = request_number(Step.SIGN, self._order.binding_id, attempt)
        self._tell(f"Asking {self._order.bank_code} to verify the four elements and text a code.")
        request = EffectRequest(
            kind="binding", subject_id=self._order.binding_id, bank_code=self._order.bank_code,
            request_number=number, now=workflow.now(), attempt=attempt, user_id=self._order.user_id,
        )  # fmt: skip
        step = BankStep(activity_names.APPLY_TO_SIGN, request, f"Apply to sign at {self._order.bank_code}")
        result = await step.send()
        if not is_known(result):
            result = await step.learn(until=self._order.deadline, resend_until=self._order.deadline)
        if result.outcome is BankOutcome.SUCCEEDED:
            self._tell("Waiting for the payer's code.")
            await settle(self._code_was_sent(number, result))
        return result

    def _code_was_sent(self, number: str, result: EffectResult) -> Settlement:
        return self._settlement(
            f"code-sent:{number}", BindingState.AWAITING_CODE, "done",
            expect=(BindingState.APPLYING, BindingState.AWAITING_CODE),
            wait_reason=WaitReason.PAYER_CODE, wait_until=result.code_expires_at, wait_deadline=self._order.deadline,
            code_request_number=number, code_sent_at=workflow.now(), code_expires_at=result.code_expires_at,
            effect_number=number, effect_outcome="succeeded", event_type="binding.code_sent",
        )  # fmt: skip

    async def _end_as(self, state: BindingState, reason: str, raw_code: str | None) -> ProcessResult:
        settled = await settle(
            self._settlement(
                state.value, state, "failed" if state is BindingState.DECLINED else "abandoned",
                expect=UNDER_WAY, reason=reason, raw_code=raw_code, event_type=f"binding.{state.value}",
            )
        )  # fmt: skip
        self._tell(f"Ended as {settled.state} because of {reason}.")
        return ProcessResult(state=settled.state or state, reason=reason)

    def _settlement(self, key: str, state: BindingState, outcome: str, **fields: object) -> Settlement:
        return Settlement.model_validate(
            {
                "key": f"{self._order.binding_id}:{key}", "kind": "binding", "id": self._order.binding_id,
                "state": state, "at": workflow.now(), "action": "bind_card", "outcome": outcome, **fields,
            }
        )  # fmt: skip

    def _tell(self, sentence: str) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")
