"""Unbind a card: the agreement ends at the issuer, and it is asked until it has said so."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import EffectRequest
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
        self._number = request_number(Step.UNSIGN, order.binding_id)

    @workflow.run
    async def run(self, order: BindingOrder) -> ProcessResult:
        request = EffectRequest(
            kind="binding",
            subject_id=order.binding_id,
            bank_code=order.bank_code,
            request_number=self._number,
            now=workflow.now(),
        )
        workflow.set_current_details(f"Ending the agreement at {order.bank_code}.")
        step = BankStep(activity_names.UNSIGN, request, f"Unsign at {order.bank_code}")
        result = await step.send()
        rounds = 0
        while True:
            if not is_known(result):
                result = await step.learn(until=None, resend_until=None)
            if result.blocked in ("state_conflict", "not_found"):
                return ProcessResult(state=result.blocked_state or "unknown")
            if result.outcome is BankOutcome.SUCCEEDED or result.reason in ENDED_ALREADY:
                break
            rounds += 1
            await settle(self._operator_needed(rounds, result.reason or result.blocked))
            await workflow.sleep(policies.PAUSE_WHILE_OPERATOR_ACTS, summary="Until an operator has acted")
            result = await step.send(resend=True)
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
                effect_number=self._number,
                effect_outcome="succeeded",
                event_type="binding.unbound",
            )
        )
        workflow.set_current_details("The issuer has ended the agreement; the card is unbound.")
        return ProcessResult(state=settled.state or BindingState.UNBOUND)

    def _operator_needed(self, rounds: int, reason: str | None) -> Settlement:
        return Settlement(
            key=f"{self._order.binding_id}:unsign-refused:{rounds}",
            kind="binding",
            id=self._order.binding_id,
            expect=(BindingState.UNBINDING,),
            state=None,
            at=workflow.now(),
            action="unbind_card",
            outcome="failed",
            reason=reason,
            wait_reason=WaitReason.OPERATOR,
        )
