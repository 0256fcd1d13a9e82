"""A payout that was paid comes back, days later perhaps: the bank announced it, and is asked (house rule 4)."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.interfaces import EffectResult, SettleResult
    from domain.banking import BankOutcome
    from domain.states import PayoutState
    from workflows import names, policies
    from workflows import payout_settlements as settlements
    from workflows.messages import PayoutOrder, ProcessResult
    from workflows.payout_at_bank import payout_step
    from workflows.settling import settle
    from workflows.waking import Waker


@workflow.defn(name=names.Process.RETURN_PAYOUT.value)
class ReturnPayout:
    """Books the return by the bank's own word; without it nothing changes."""

    @workflow.init
    def __init__(self, order: PayoutOrder) -> None:
        self._order = order
        self._waker = Waker()
        # Only asked about, never sent: it was paid long ago.
        self._step = payout_step(order)

    @workflow.run
    async def run(self, order: PayoutOrder) -> ProcessResult:
        ended = await self._return()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        self._waker.wake()
        self._step.notice()

    async def _return(self) -> ProcessResult:
        workflow.set_current_details(f"{self._order.bank_code} announced a return of the payout; asking about it.")
        result = await self._bank_says()
        if result.outcome is not BankOutcome.RETURNED:
            workflow.set_current_details("The bank announced a return and says of none; a person has to look.")
            await settle(settlements.return_denied(self._order, workflow.now()))
            return ProcessResult(state=self._order.state, reason="bank_says_of_no_return")
        settled = await self._book(result)
        if settled.refused:
            workflow.set_current_details(f"The return was not booked: the payout is {settled.state}.")
            return ProcessResult(state=settled.state or self._order.state, reason=settled.refused)
        workflow.set_current_details("The money has come back, and is on the balance again.")
        return ProcessResult(state=settled.state or PayoutState.RETURNED)

    async def _book(self, result: EffectResult) -> SettleResult:
        """A return comes after the success, which the payout's own process may be about to book."""
        pause = policies.PAUSE_BETWEEN_ROUNDS
        while True:
            settled = await settle(settlements.returned(self._order, workflow.now(), result))
            if not settled.refused or settled.state not in settlements.SENT:
                return settled
            workflow.set_current_details(
                "The bank says that the money has come back; waiting for the success before it."
            )
            await self._waker.woken_by(workflow.now() + pause, "Until the success is booked")
            pause = min(pause * 2, policies.LONGEST_PAUSE_BETWEEN_QUESTIONS)
            if workflow.info().is_continue_as_new_suggested():
                self._renew()

    async def _bank_says(self) -> EffectResult:
        """Asked again for a while, because its books may lag behind what it announced."""
        pause, until = policies.FIRST_PAUSE_BEFORE_RETURN_SHOWS, workflow.now() + policies.PATIENCE_FOR_ANNOUNCED_RETURN
        while True:
            result = await self._step.learn(until=None, resend_until=workflow.now(), renew=self._renew)
            if result.outcome is BankOutcome.RETURNED or workflow.now() >= until:
                return result
            if await self._waker.woken_by(workflow.now() + pause, "Until the return shows in the bank's books"):
                until = workflow.now() + policies.PATIENCE_FOR_ANNOUNCED_RETURN
            pause *= 2

    def _renew(self) -> None:
        workflow.continue_as_new(self._order)
