"""Settle foreign currency: wait for the hours of desk, authority and value date, deal at the rate of then, see it
delivered (A5.1a-b, A5.2a-c, A6.4b-c).

Each stage waits for what it waits for and answers the state that then holds; the state says which stage is next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import Deal, EffectResult, FxPlanned, FxPlanRequest, FxQuestion, SettleResult
    from domain.banking import BankOutcome, DeclineReason
    from domain.decisions import DecisionKind
    from domain.fx import FxStanding
    from domain.states import FxState, WaitReason
    from workflows import fx_settlements as settlements
    from workflows import names, policies
    from workflows.decided import WITHDRAWN, look_up_decision, outcome_of
    from workflows.fx_at_desk import NEVER_ARRIVED, FxAtDesk, ask_desk, learn_excess, next_pause, number_of
    from workflows.messages import DecisionMessage, DecisionTaken, FxOrder, ProcessResult
    from workflows.settling_fx import settle_fx
    from workflows.stages import through_stages
    from workflows.waking import Waker

S = FxState
ELSEWHERE = ("state_conflict", "not_found")
# Nothing is in its way but that its plan is not of now: it is planned anew.
NOT_CLAIMED = "not_claimed"
OUTDATED = ("too_early", "quota_outdated", "partner_not_available", NOT_CLAIMED)
# How much CNY a reversal takes is known at its rate, so that nobody but the claim can say whether it is there.
WITHOUT_FUNDS = "fx_bank_without_funds"
WITHOUT_RATE = ("quote_missing", "quote_stale")
# The desk has not dealt, and may later: under the next number.
LATER = (DeclineReason.DESK_CLOSED, DeclineReason.QUOTE_EXPIRED, NEVER_ARRIVED)
AT_ONCE = (DeclineReason.QUOTE_EXPIRED, NEVER_ARRIVED)
_NO_PLAN = {"partner_not_available": WaitReason.PARTNER, "authority_rate_missing": WaitReason.AUTHORITY_RATE}


@workflow.defn(name=names.Process.SETTLE_FX.value)
class SettleFx:
    """One conversion, or its reversal, from its acceptance to a state in which nothing is to be done."""

    @workflow.init
    def __init__(self, order: FxOrder) -> None:
        self._order = order
        self._reason: str | None = None
        self._not_before = workflow.now()
        self._pause_without_rate = policies.FIRST_PAUSE_WITHOUT_QUOTE
        self._shown_without_rate = False
        self._pause_without_funds = policies.FIRST_PAUSE_WHILE_HELD
        self._pause_unclaimed = policies.FIRST_PAUSE_BETWEEN_QUESTIONS
        self._at_desk: FxAtDesk | None = None
        self._answer_within = policies.ANSWER_TO_DEAL_WITHIN
        self._deliver_within = policies.DELIVERY_WITHIN
        self._withdrawn = False
        self._waker = Waker()
        self._shown: WaitReason | None = None
        self._stages: dict[str, Callable[[], Awaitable[str]]] = {
            S.WAITING: self._wait,
            S.SENDING: self._deal,
            S.UNKNOWN: self._deal,
            S.CONVERTED: self._await_delivery,
        }

    @workflow.run
    async def run(self, order: FxOrder) -> ProcessResult:
        await through_stages(self._stages, lambda: self._order.state, self._move, self._renew_if_long)
        self._show(f"Ended as {self._order.state}{f' because of {self._reason}' if self._reason else ''}.", None)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ProcessResult(state=self._order.state, reason=self._reason)

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        verdict = await look_up_decision(self._order.fx_id, message)
        if verdict.holds and verdict.kind == DecisionKind.INSTRUCTION_WITHDRAW:
            self._withdrawn = True
        outcome, at_desk = outcome_of(verdict, message), self._at_desk
        if outcome is not None and at_desk is not None:
            at_desk.conclude(outcome)
        self._waker.wake()
        return DecisionTaken(holds=verdict.holds)

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """Something that it waits for may have changed; it looks for itself."""
        self._waker.wake()

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The desk has something to say; it is asked, and only its answer counts."""
        if self._at_desk is not None:
            self._at_desk.step.notice()
        if self._order.state == S.CONVERTED:
            self._waker.wake()

    def _move(self, state: str) -> None:
        self._order = self._order.model_copy(update={"state": state})

    # Before the desk

    async def _wait(self) -> str:
        """Sleeps until all windows are open and it is its turn, and deals. Whoever wakes it has it planned again."""
        if self._order.stopped_by is not None:
            return await self._wait_out(self._order.stopped_by)
        if self._withdrawn:
            return await self._withdraw()
        plan = await self._plan_it()
        if plan.state != S.WAITING:
            self._reason = plan.reason
            return plan.state
        if plan.obstacle == WITHDRAWN:
            return await self._withdraw()
        if plan.obstacle is not None or plan.slot_at is None:
            return await self._without_plan(plan.obstacle or "")
        if plan.slot_at > workflow.now() + policies.LONGEST_PAUSE_WITHOUT_QUOTE:
            self._pause_without_rate = policies.FIRST_PAUSE_WITHOUT_QUOTE
        self._show_plan(plan, plan.slot_at)
        woken = await self._waker.woken_by(max(plan.slot_at, self._not_before), "Until all windows are open")
        return S.WAITING if woken or self._withdrawn else await self._deal()

    def _show_plan(self, plan: FxPlanned, slot_at: datetime) -> None:
        awaited = WaitReason(plan.waits_for) if plan.waits_for else WaitReason.FX_QUEUE
        words = awaited.value.replace("_", " ")
        self._show(f"Waits for {words} at {plan.desk} until {slot_at:%Y-%m-%d %H:%M:%S} UTC.", awaited)

    async def _without_plan(self, obstacle: str) -> str:
        """No desk is switched on, or the authority's rate is not there: it is told when they are, and looks besides."""
        self._show(f"Cannot be planned: {obstacle}.", _NO_PLAN.get(obstacle, WaitReason.OPERATOR))
        await self._waker.woken_by(workflow.now() + policies.PAUSE_WITHOUT_PLAN, "Until it can be planned")
        return S.WAITING

    async def _wait_out(self, obstacle: str) -> str:
        """What stands in its way is looked at again when it is told, and more and more slowly."""
        pause = policies.FIRST_PAUSE_WHILE_HELD
        while True:
            await self._show_stop(obstacle)
            woken = await self._waker.woken_by(workflow.now() + pause, "Until it may go on")
            if self._withdrawn:
                return await self._withdraw()
            standing = await self._look()
            if standing.state != S.WAITING:
                return standing.state
            if standing.obstacle not in settlements.STOPS:
                break
            obstacle = standing.obstacle
            pause = pause if woken else next_pause(pause, policies.LONGEST_PAUSE_WHILE_HELD)
            await self._renew_if_long()
        await settle_fx(settlements.resumed(self._order, workflow.now()))
        self._order = self._order.model_copy(update={"stopped_by": None})
        return S.WAITING

    async def _show_stop(self, obstacle: str) -> None:
        before = self._order.stopped_by
        self._show(f"Stopped: {obstacle}.", settlements.STOPS[obstacle])
        if before != obstacle:
            await settle_fx(settlements.stopped(self._order, workflow.now(), obstacle, told=before is not None))
            self._order = self._order.model_copy(update={"stopped_by": obstacle})

    # At the desk, and after it

    async def _deal(self) -> str:
        """Claims with a quote of now, deals once, and goes by what became of it."""
        self._at_desk = FxAtDesk(self._order, self._show, self._renew)
        result = await self._at_desk.outcome(self._answer_within)
        if result.blocked:
            return await self._not_sent(result)
        number, now = self._at_desk.step.request_number, workflow.now()
        if result.outcome is BankOutcome.DECLINED:
            return await self._declined(number, result)
        if result.deal is None:
            # It cannot be believed without its terms: it is asked again, and shown to people if that goes on.
            return S.UNKNOWN
        deliver_by = now + self._deliver_within
        settled = await settle_fx(
            settlements.dealt(self._order, number, now, result, result.deal, deliver_by=deliver_by)
        )
        self._order = self._order.model_copy(update={"deliver_by": deliver_by})
        return await self._settled(settled, result.deal)

    async def _settled(self, settled: SettleResult, deal: Deal) -> str:
        """With what the desk says was above the quota: it may never be announced besides (A5.2c)."""
        state = settled.state or S.SETTLED
        if state == S.SETTLED and deal.excess_minor > 0 and self._order.kind == "conversion":
            self._show(f"Settled; {self._order.desk} says that a part of it was above the quota.", None)
            await learn_excess(self._order.fx_id)
        return state

    async def _not_sent(self, result: EffectResult) -> str:
        """The send claim was refused, so nothing was sent: what stands in the way decides how it goes on."""
        blocked = result.blocked or ""
        if blocked in ELSEWHERE:
            return result.blocked_state or "unknown_to_the_books"
        if blocked in settlements.STOPS:
            return await (self._without_funds(blocked) if blocked == WITHOUT_FUNDS else self._wait_out(blocked))
        if blocked in OUTDATED:
            return self._to_be_planned(blocked)
        if blocked in WITHOUT_RATE:
            return await self._without_rate()
        if blocked == WITHDRAWN:
            return await self._withdraw()
        settled = await settle_fx(settlements.refused_unsent(self._order, workflow.now(), blocked))
        self._reason = None if settled.refused else blocked
        return settled.state or S.REFUSED

    def _to_be_planned(self, blocked: str) -> str:
        """What nobody has claimed goes out under the same number, and not in a hurry."""
        if blocked == NOT_CLAIMED:
            self._not_before = workflow.now() + self._pause_unclaimed
            self._pause_unclaimed = next_pause(self._pause_unclaimed, policies.LONGEST_PAUSE_BETWEEN_QUESTIONS)
        return S.WAITING

    async def _without_funds(self, obstacle: str) -> str:
        """People bring CNY to the desk's bank; it is tried again, more and more slowly. It is told once."""
        self._show(f"{self._order.desk} has too little CNY of ours.", settlements.STOPS[obstacle])
        pause, now = self._pause_without_funds, workflow.now()
        told = pause > policies.FIRST_PAUSE_WHILE_HELD
        await settle_fx(settlements.stopped(self._order, now, obstacle, told=told))
        self._pause_without_funds = next_pause(pause, policies.LONGEST_PAUSE_WHILE_HELD)
        await self._waker.woken_by(now + pause, "Until there may be enough CNY at the desk's bank")
        return S.WAITING

    async def _without_rate(self) -> str:
        """A stale or expired quote is no rate: another one is asked for, as long as the window is open."""
        self._show(f"{self._order.desk} gives no rate that can be dealt at.", WaitReason.FX_QUOTE)
        if not self._shown_without_rate:
            self._shown_without_rate = True
            await settle_fx(settlements.waits_for_quote(self._order, workflow.now()))
        pause = self._pause_without_rate
        self._pause_without_rate = next_pause(pause, policies.LONGEST_PAUSE_WITHOUT_QUOTE)
        woken = await self._waker.woken_by(workflow.now() + pause, "Until the desk is asked for its rate again")
        return S.WAITING if woken or self._withdrawn else await self._deal()

    async def _declined(self, number: str, result: EffectResult) -> str:
        order, now = self._order, workflow.now()
        if result.reason in LATER and order.attempt + 1 < policies.MOST_FX_ATTEMPTS:
            self._not_before = now + self._pause_before_next(result)
            settled = await settle_fx(settlements.turned_away(order, number, now, result, self._not_before))
            if settled.refused is None:
                # A number that was not ended is not followed by another.
                changed = {"attempt": order.attempt + 1, "answer_by": None, "is_known_to_desk": False}
                self._order = order.model_copy(update=changed)
            return settled.state or S.WAITING
        learned = result.reason == DeclineReason.FX_QUOTA_EXCEEDED
        self._reason = result.reason or "declined"
        settled = await settle_fx(settlements.refused(order, number, now, result, learned=learned))
        return settled.state or S.REFUSED

    def _pause_before_next(self, result: EffectResult) -> timedelta:
        """What is wanted is another quote: at once. A desk that is closed is not hurried."""
        if result.reason in AT_ONCE:
            return timedelta(0)
        pause = policies.FIRST_PAUSE_BEFORE_CLOSED_DESK * (1 << min(self._order.attempt, 10))
        return min(pause, policies.LONGEST_PAUSE_BEFORE_CLOSED_DESK)

    async def _await_delivery(self) -> str:
        """Dealt: both currencies are still to move at the bank, which is asked, and may say so by itself."""
        deadline = self._order.deliver_by or workflow.now() + self._deliver_within
        self._order = self._order.model_copy(update={"deliver_by": deadline})
        self._show(f"Dealt; {self._order.desk} has not delivered yet.", WaitReason.FX_DELIVERY)
        pause, parked = policies.FIRST_PAUSE_BEFORE_DELIVERY, False
        while True:
            await self._waker.woken_by(workflow.now() + pause, "Ask whether it was delivered")
            # A desk that says nothing at all must not keep people from hearing of it.
            left = None if parked else max(deadline - workflow.now(), policies.BANK_STEP_TIMEOUT)
            deal = (await ask_desk(self._order, left)).deal
            if deal is not None and deal.delivered_at is not None:
                settled = await settle_fx(settlements.delivered(self._order, workflow.now(), deal))
                return await self._settled(settled, deal)
            if not parked and workflow.now() >= deadline:
                parked = True
                self._show(f"{self._order.desk} has not delivered in time.", WaitReason.OPERATOR)
                now = workflow.now()
                await settle_fx(settlements.waits_for_operator(self._order, number_of(self._order), now, S.CONVERTED))
            pause = next_pause(pause, policies.LONGEST_PAUSE_BEFORE_DELIVERY)
            await self._renew_if_long()

    async def _withdraw(self) -> str:
        self._withdrawn = False
        settled = await settle_fx(settlements.withdrawn(self._order, workflow.now()))
        self._reason = None if settled.refused else WITHDRAWN
        return settled.state or S.RELEASED

    def _renew(self, order: FxOrder) -> None:
        workflow.continue_as_new(order)

    async def _renew_if_long(self) -> None:
        """A long wait goes on in a fresh history, unless there is something to look at first."""
        if not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._waker.is_woken and not self._withdrawn:
            workflow.continue_as_new(self._order)

    def _show(self, sentence: str, awaited: WaitReason | None) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")
        if awaited != self._shown:
            self._shown = awaited
            update = names.WAITING_FOR.value_unset() if awaited is None else names.WAITING_FOR.value_set(awaited.value)
            workflow.upsert_search_attributes([update])

    # What it asks

    async def _plan_it(self) -> FxPlanned:
        """The slot that is its turn; the desk and the amount may be others than before."""
        plan: FxPlanned = await workflow.execute_activity(
            activity_names.PLAN_FX,
            FxPlanRequest(
                fx_id=self._order.fx_id, now=workflow.now(), why="look_again" if self._order.desk else "first"
            ),
            result_type=FxPlanned,
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="Find the first moment for it",
        )
        changed = {"desk": plan.desk or self._order.desk, "amount_minor": plan.amount_minor or self._order.amount_minor}
        self._order = self._order.model_copy(update=changed)
        self._shown_without_rate = False
        if plan.answer_within_seconds is not None:
            self._answer_within = timedelta(seconds=plan.answer_within_seconds)
        if plan.deliver_within_seconds is not None:
            self._deliver_within = timedelta(seconds=plan.deliver_within_seconds)
        return plan

    async def _look(self) -> FxStanding:
        standing: FxStanding = await workflow.execute_activity(
            activity_names.LOOK_AT_FX,
            FxQuestion(fx_id=self._order.fx_id, now=workflow.now()),
            result_type=FxStanding,
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="See where it stands",
        )
        return standing
