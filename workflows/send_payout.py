"""Send a payout: confirmed, assessed, perhaps cooled off or reviewed, then once to its bank, in its slot (A2.5a-e).

Each stage waits for what it waits for and answers the state that then holds; the state says which stage is next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import (
        Assessment,
        AssessmentRequest,
        EffectResult,
        PayoutQuestion,
        PayoutStanding,
        Plan,
        PlanRequest,
        ReviewQuestion,
        ReviewStanding,
    )
    from domain.banking import BankOutcome, DeclineReason
    from domain.decisions import DecisionKind
    from domain.states import PayoutState, WaitReason
    from workflows import names, policies
    from workflows import payout_settlements as settlements
    from workflows.decided import WITHDRAWN, look_up_decision, outcome_of
    from workflows.messages import DecisionMessage, DecisionTaken, PayoutOrder, ProcessResult
    from workflows.payout_at_bank import PayoutAtBank
    from workflows.settling import settle
    from workflows.stages import through_stages
    from workflows.waking import Waker

S = PayoutState
T = TypeVar("T", bound=BaseModel)
ELSEWHERE = ("state_conflict", "not_found")


@workflow.defn(name=names.Process.SEND_PAYOUT.value)
class SendPayout:
    """One payout from its acceptance to a final state."""

    @workflow.init
    def __init__(self, order: PayoutOrder) -> None:
        self._order = order
        self._reason: str | None = None
        self._plan: Plan | None = None
        self._not_before = workflow.now()
        self._at_bank: PayoutAtBank | None = None
        self._withdrawn = False
        self._waker = Waker()
        self._shown: WaitReason | None = None
        self._stages: dict[str, Callable[[], Awaitable[str]]] = {
            S.AWAITING_CONFIRMATION: self._await_confirmation,
            S.CHECKING: self._assess,
            S.COOLING_OFF: self._cool_off,
            S.UNDER_REVIEW: self._await_review,
            S.SCHEDULED: self._release,
            S.SENDING: self._pay,
            S.UNKNOWN: self._pay,
        }

    @workflow.run
    async def run(self, order: PayoutOrder) -> ProcessResult:
        ended = await self._pay_out()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ended

    @workflow.update(name=names.DECISION_UPDATE, unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def decision(self, message: DecisionMessage) -> DecisionTaken:
        """People have decided; what counts is the database."""
        verdict = await look_up_decision(self._order.payout_id, message)
        if verdict.holds and verdict.kind == DecisionKind.INSTRUCTION_WITHDRAW:
            self._withdrawn = True
        outcome, at_bank = outcome_of(verdict, message), self._at_bank
        if outcome is not None and at_bank is not None:
            at_bank.conclude(outcome)
        self._waker.wake()
        return DecisionTaken(holds=verdict.holds)

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """Something that it waits for may have changed; it looks for itself."""
        self._waker.wake()

    @workflow.signal(name=names.BANK_NOTICE_SIGNAL)
    def bank_notice(self) -> None:
        """The bank has something to say; it is asked, and only its answer counts."""
        if self._at_bank is not None:
            self._at_bank.step.notice()

    async def _pay_out(self) -> ProcessResult:
        await through_stages(self._stages, lambda: self._order.state, self._move, self._renew_if_long)
        self._show(f"Ended as {self._order.state}{f' because of {self._reason}' if self._reason else ''}.", None)
        return ProcessResult(state=self._order.state, reason=self._reason)

    def _move(self, state: str) -> None:
        self._order = self._order.model_copy(update={"state": state})

    # What comes before the bank

    async def _await_confirmation(self) -> str:
        """The payer has to say once more that this is meant, in time."""
        deadline = self._order.confirmation_deadline or workflow.now()
        self._show("Waiting for the payer to confirm it.", WaitReason.CONFIRMATION)
        shown = await settle(settlements.awaits_confirmation(self._order, workflow.now(), deadline))
        if shown.refused:
            return shown.state or "unknown_to_the_books"
        while await self._waker.woken_by(deadline, "Until the time to confirm is over"):
            if self._withdrawn:
                return await self._withdraw()
            standing = await self._look()
            if standing.state != S.AWAITING_CONFIRMATION:
                return standing.state
            await self._renew_if_long()
        settled = await settle(settlements.closed(self._order, workflow.now()))
        self._reason = None if settled.refused else "confirmation_expired"
        return settled.state or S.CLOSED

    async def _assess(self, *, again: bool = False) -> str:
        """Rules and lists are applied. Without lists nothing goes on: unavailable is not "no hit"."""
        pause = policies.FIRST_PAUSE_WITHOUT_LISTS
        self._show("Applying the rules and the lists.", None)
        while True:
            found = await self._ask_for_assessment(again)
            if found.outcome != "unavailable":
                break
            self._show("The lists cannot be asked, so that nothing is sent.", WaitReason.SCREENING)
            await self._waker.woken_by(workflow.now() + pause, "Until the lists are asked again")
            if self._withdrawn:
                return await self._withdraw()
            pause = min(pause * 2, policies.LONGEST_PAUSE_WITHOUT_LISTS)
            await self._renew_if_long()
        if found.outcome == "pass":
            return await self._plan_it("assessed_again" if again else "first")
        self._reason = found.reason
        self._order = self._order.model_copy(
            update={
                "cool_until": found.cool_until, "review_id": found.review.review_id if found.review else None,
            }
        )  # fmt: skip
        return found.state

    async def _cool_off(self) -> str:
        """A durable timer; nothing is asked until it is over."""
        until = self._order.cool_until or (await self._look()).cool_until or workflow.now()
        self._show(f"Cooling off until {until:%Y-%m-%d %H:%M:%S} UTC.", WaitReason.COOLING_OFF)
        while await self._waker.woken_by(until, "Cooling off"):
            if self._withdrawn:
                return await self._withdraw()
            standing = await self._look()
            if standing.state != S.COOLING_OFF:
                return standing.state
            until = standing.cool_until or until
            await self._renew_if_long()
        return await self._plan_it("cooled_off")

    async def _await_review(self) -> str:
        """A person looks at it: by `due_at` or it is escalated, by `expires_at` or it is refused."""
        while True:
            review_id = self._order.review_id or (await self._look()).review_id or ""
            standing = await self._ask_for_standing(review_id)
            if standing.state == "approved":
                return await self._plan_it("approved")
            if standing.state not in ("open", "evidence"):
                ended = await self._look()
                self._reason = ended.reason
                return ended.state
            awaited = WaitReason.EVIDENCE if standing.state == "evidence" else WaitReason.REVIEW
            self._show(f"Under review until {standing.expires_at:%Y-%m-%d %H:%M} UTC.", awaited)
            now, soon = workflow.now(), workflow.now() + policies.PAUSE_BETWEEN_ROUNDS
            until = standing.due_at if standing.due_at > now and not standing.escalated else standing.expires_at
            await self._waker.woken_by(max(until, soon), "Until its review is due, or over")
            if self._withdrawn:
                return await self._withdraw()
            await self._renew_if_long()

    async def _release(self) -> str:
        """Sleeps until its slot, and pays. Whoever wakes it has it read its plan again."""
        if self._order.stopped_by is not None:
            return await self._wait_out(self._order.stopped_by)
        if self._plan is None:
            return await self._plan_it("look_again")
        slot_at = self._plan.slot_at or workflow.now()
        self._show(f"Goes out at {slot_at:%Y-%m-%d %H:%M:%S} UTC.", WaitReason.BANK_WINDOW)
        woken = await self._waker.woken_by(max(slot_at, self._not_before), "Until its slot")
        if self._withdrawn:
            return await self._withdraw()
        return await self._plan_it("look_again") if woken else await self._pay()

    async def _wait_out(self, obstacle: str) -> str:
        """What stands in its way is looked at again when it is told, and more and more slowly."""
        pause = policies.FIRST_PAUSE_WHILE_HELD
        while True:
            await self._show_stop(obstacle)
            woken = await self._waker.woken_by(workflow.now() + pause, "Until it may go on")
            if self._withdrawn:
                return await self._withdraw()
            standing = await self._look()
            if standing.state != S.SCHEDULED:
                return standing.state
            if standing.obstacle not in settlements.STOPS:
                break
            obstacle = standing.obstacle
            pause = pause if woken else min(pause * 2, policies.LONGEST_PAUSE_WHILE_HELD)
            await self._renew_if_long()
        await settle(settlements.resumed(self._order, workflow.now()))
        self._order = self._order.model_copy(update={"stopped_by": None})
        return await self._plan_it("resumed")

    async def _show_stop(self, obstacle: str) -> None:
        before = self._order.stopped_by
        self._show(f"Stopped: {obstacle}.", settlements.STOPS[obstacle])
        if before == obstacle:
            return
        told = before is not None
        await settle(settlements.stopped(self._order, workflow.now(), obstacle, told=told))
        self._order = self._order.model_copy(update={"stopped_by": obstacle})

    # At the bank, and after it

    async def _pay(self) -> str:
        """Claims, sends once, and goes by what became of it."""
        self._at_bank = PayoutAtBank(self._order, self._show, self._renew)
        within = self._plan.answer_within_seconds if self._plan is not None else None
        result = await self._at_bank.outcome(
            timedelta(seconds=within) if within is not None else policies.ANSWER_TO_PAYOUT_WITHIN
        )
        self._plan = None
        if result.blocked:
            return await self._not_sent(result)
        return await self._settle(self._at_bank.step.request_number, result)

    async def _not_sent(self, result: EffectResult) -> str:
        """The send claim was refused, so nothing was sent: what stands in the way decides how it goes on."""
        blocked = result.blocked or ""
        if blocked in ELSEWHERE:
            return result.blocked_state or "unknown_to_the_books"
        if blocked in settlements.STOPS:
            return await self._wait_out(blocked)
        if blocked == "too_early":
            return await self._plan_it("too_early")
        if blocked == "screening_outdated":
            return await self._assess(again=True)
        if blocked == WITHDRAWN:
            return await self._withdraw()
        return await self._end_unsent(blocked)

    async def _settle(self, number: str, result: EffectResult) -> str:
        """The bank's word, or what people concluded of it."""
        order, now = self._order, workflow.now()
        if result.outcome is BankOutcome.DECLINED:
            if result.reason == DeclineReason.BANK_CLOSED and order.attempt + 1 < policies.MOST_PAYOUT_ATTEMPTS:
                return await self._turned_away(number, result)
            self._reason = result.reason or "declined"
            settled = await settle(settlements.failed(order, number, now, result))
            return settled.state or S.FAILED
        settled = await settle(settlements.succeeded(order, number, now, result))
        if result.outcome is BankOutcome.RETURNED:
            settled = await settle(settlements.returned(order, workflow.now(), result))
            return settled.state or S.RETURNED
        return settled.state or S.SUCCEEDED

    async def _turned_away(self, number: str, result: EffectResult) -> str:
        """The closed bank booked nothing: it goes out later, under the next number, and never in a hurry."""
        order, now = self._order, workflow.now()
        pause = policies.FIRST_PAUSE_BEFORE_CLOSED_BANK * 2 ** min(order.attempt, 10)
        self._not_before = now + min(pause, policies.LONGEST_PAUSE_BEFORE_CLOSED_BANK)
        settled = await settle(settlements.turned_away(order, number, now, result, self._not_before))
        self._order = order.model_copy(update={"attempt": order.attempt + 1, "answer_by": None})
        return settled.state if settled.state != S.SCHEDULED and settled.state else await self._plan_it("bank_closed")

    async def _withdraw(self) -> str:
        self._withdrawn = False
        return await self._end_unsent(WITHDRAWN)

    async def _end_unsent(self, reason: str) -> str:
        settled = await settle(settlements.failed_unsent(self._order, workflow.now(), reason))
        self._reason = None if settled.refused else reason
        return settled.state or S.FAILED

    def _renew(self, order: PayoutOrder) -> None:
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

    async def _plan_it(self, why: str) -> str:
        """The slot that is its turn; the state that holds after it, which is another if it has ended meanwhile."""
        request = PlanRequest(payout_id=self._order.payout_id, now=workflow.now(), why=why)
        plan: Plan = await self._ask(activity_names.PLAN_PAYOUT, request, Plan, "Find the first moment for it")
        self._plan = plan if plan.slot_at is not None else None
        return plan.state

    async def _ask_for_assessment(self, again: bool) -> Assessment:
        request = AssessmentRequest(payout_id=self._order.payout_id, now=workflow.now(), again=again)
        found: Assessment = await self._ask(
            activity_names.ASSESS_PAYOUT, request, Assessment, "Apply the rules and the lists"
        )
        return found

    async def _ask_for_standing(self, review_id: str) -> ReviewStanding:
        question = ReviewQuestion(payout_id=self._order.payout_id, review_id=review_id, now=workflow.now())
        standing: ReviewStanding = await self._ask(
            activity_names.REVIEW_STANDING, question, ReviewStanding, "See where its review stands"
        )
        return standing

    async def _look(self) -> PayoutStanding:
        question = PayoutQuestion(payout_id=self._order.payout_id, now=workflow.now())
        standing: PayoutStanding = await self._ask(
            activity_names.LOOK_AT_PAYOUT, question, PayoutStanding, "See where it stands"
        )
        return standing

    async def _ask(self, activity: str, question: BaseModel, answer: type[T], summary: str) -> T:
        """For as long as it takes; while the books are away it stands there as pending, for operators to see."""
        found: T = await workflow.execute_activity(
            activity,
            question,
            result_type=answer,
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary=summary,
        )
        return found
