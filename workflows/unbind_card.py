"""Unbind a card: the agreement ends at the issuer, and it is asked until it has said so."""

from __future__ import annotations

from itertools import count

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest, EffectResult
    from domain.banking import BankOutcome, DeclineReason
    from domain.identifiers import BankStep as Step
    from domain.identifiers import request_number
    from domain.settlement import Settlement
    from domain.states import BindingState, WaitReason
    from workflows import names, policies
    from workflows.bank_step import BankStep, is_known
    from workflows.messages import BindingOrder, ProcessResult
    from workflows.settling import settle

ENDED_ALREADY = frozenset({DeclineReason.AGREEMENT_ENDED.value, DeclineReason.AGREEMENT_NOT_FOUND.value})


@workflow.defn(name=names.Process.UNBIND_CARD.value)
class UnbindCard:
    """From the wish to unbind until the issuer knows the agreement no more; payments are refused meanwhile."""

    @workflow.init
    def __init__(self, order: BindingOrder) -> None:
        self._order = order

    @workflow.run
    async def run(self, order: BindingOrder) -> ProcessResult:
        workflow.set_current_details(f"Ending the agreement at {order.bank_code}.")
        for attempt in count():
            # The issuer's no is final for its number, so each further try has a number of its own.
            number = request_number(Step.UNSIGN, order.binding_id, attempt)
            step = self._unsigning(number)
            result = await step.send()
            if not is_known(result):
                result = await step.learn(until=None, resend_until=None, renew=self._renew)
            if result.blocked in ("state_conflict", "not_found"):
                return ProcessResult(state=result.blocked_state or "unknown")
            if result.outcome is BankOutcome.SUCCEEDED or result.reason in ENDED_ALREADY:
                return await self._unbound(number)
            await settle(self._operator_needed(number, result))
            await workflow.sleep(policies.PAUSE_WHILE_OPERATOR_ACTS, summary="Until an operator has acted")
        raise AssertionError("there is always another attempt")

    def _unsigning(self, number: str) -> BankStep:
        request = EffectRequest(
            kind="binding",
            subject_id=self._order.binding_id,
            bank_code=self._order.bank_code,
            request_number=number,
            now=workflow.now(),
        )
        return BankStep(activity_names.UNSIGN, request, f"Unsign at {self._order.bank_code}")

    def _renew(self) -> None:
        """Every step is known by its key, so a fresh history walks through what is done and goes on."""
        workflow.continue_as_new(self._order)

    async def _unbound(self, number: str) -> ProcessResult:
        order = self._order
        settled = await settle(
            Settlement(
                key=f"{order.binding_id}:unbound",
                kind="binding",
                id=order.binding_id,
                expect=(BindingState.UNBINDING,),
                state=BindingState.UNBOUND,
                at=workflow.now(),
                action="unbind_card",
                outcome="done",
                effect_number=number,
                effect_outcome="succeeded",
                event_type="binding.unbound",
            )
        )
        workflow.set_current_details("The issuer has ended the agreement; the card is unbound.")
        return ProcessResult(state=settled.state or BindingState.UNBOUND)

    def _operator_needed(self, number: str, result: EffectResult) -> Settlement:
        return Settlement(
            key=f"{self._order.binding_id}:unsign-refused:{number}",
            kind="binding",
            id=self._order.binding_id,
            expect=(BindingState.UNBINDING,),
            state=None,
            at=workflow.now(),
            action="unbind_card",
            outcome="failed",
            reason=result.reason or result.blocked,
            raw_code=result.raw_code,
            wait_reason=WaitReason.OPERATOR,
            wait_until=workflow.now() + policies.PAUSE_WHILE_OPERATOR_ACTS,
            effect_number=None if result.blocked else number,
            effect_outcome=None if result.blocked else "declined",
        )
