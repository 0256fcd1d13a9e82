"""Close an account, or quick pay alone, or delete data: first ends what is in the way, then the agreement; the data go.

Every step is judged by the books under the locks that acceptances take: nothing slips in between (P4.5b-d).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.closing_interfaces import (
        ClosureCompleted,
        ClosureQuestion,
        ClosureSeen,
        ForgetOrder,
        RecipientsTold,
        RetainedPage,
        RetainPage,
    )
    from domain.closing import ClosureState
    from workflows import names, policies
    from workflows.fx_at_desk import next_pause
    from workflows.messages import ClosureOrder, ProcessResult
    from workflows.waking import Waker

WAITS_FOR_PEOPLE = (ClosureState.RECEIVED, ClosureState.DECIDING, ClosureState.CLOSING, ClosureState.UNSIGNING)


@workflow.defn(name=names.Process.CLOSE_ACCOUNT.value)
class CloseAccount:
    """From the request to the answer, and on until every recipient has replied."""

    @workflow.init
    def __init__(self, order: ClosureOrder) -> None:
        self._order = order
        self._waker = Waker()

    @workflow.run
    async def run(self, order: ClosureOrder) -> ProcessResult:
        seen = await self._until_nothing_is_in_the_way()
        if seen.state is ClosureState.FORGETTING:
            await self._forget(seen)
        if seen.state in (ClosureState.FORGETTING, ClosureState.COMPLETED):
            await self._follow_replies()
            return ProcessResult(state=ClosureState.COMPLETED)
        return ProcessResult(state=seen.state.value if seen.state else "unknown_to_the_books")

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """What is in the way has changed, or a recipient has replied."""
        self._waker.wake()

    async def _until_nothing_is_in_the_way(self) -> ClosureSeen:
        while True:
            seen: ClosureSeen = await workflow.execute_activity(
                activity_names.LOOK_AT_CLOSURE,
                self._question(),
                result_type=ClosureSeen,
                start_to_close_timeout=policies.SETTLE_TIMEOUT,
                retry_policy=policies.PATIENTLY,
                summary="Look at what is in the way",
            )
            if seen.state not in WAITS_FOR_PEOPLE:
                return seen
            in_the_way = ", ".join(seen.obstacles) or "nothing any more"
            self._tell(f"{seen.state.value.capitalize()}; in the way: {in_the_way}.")
            at = workflow.now() + policies.LONGEST_PAUSE_BETWEEN_LOOKS
            await self._waker.woken_by(min(at, seen.look_at or at), f"Until it is gone: {in_the_way}")
            await self._renew_if_long()

    async def _forget(self, seen: ClosureSeen) -> None:
        """What the law keeps is copied before anything is destroyed; the answer comes when it is done."""
        assert seen.scope is not None and seen.since is not None  # noqa: S101, PT018
        order = self._order
        page = RetainPage(closure_id=order.closure_id, user_id=order.user_id, scope=seen.scope, ended_on=seen.ended_on)
        self._tell("The agreement has ended; what the law keeps is being copied.")
        while True:
            done: RetainedPage = await workflow.execute_activity(
                activity_names.RETAIN_PAGE,
                page,
                result_type=RetainedPage,
                start_to_close_timeout=policies.RETAIN_TIMEOUT,
                retry_policy=policies.PATIENTLY,
                summary="Keep what the law keeps",
            )
            if done.after is None:
                break
            page = page.model_copy(update={"after": done.after})
        self._tell("The user's data are being destroyed.")
        await workflow.execute_activity(
            activity_names.FORGET,
            ForgetOrder(
                closure_id=order.closure_id,
                user_id=order.user_id,
                scope=seen.scope,
                ended_on=seen.ended_on,
                at=seen.since,
            ),
            start_to_close_timeout=policies.RETAIN_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="Destroy the key, erase, anonymise",
        )

    async def _follow_replies(self) -> None:
        """Recipients are told, then the answer is given; who has not replied is asked on, for so long."""
        told = await self._tell_recipients(policies.TELLING_BEFORE_THE_ANSWER)
        completed = await self._give_the_answer()
        pause = policies.FIRST_PAUSE_BETWEEN_NOTICES
        while (told is None or told.unanswered) and workflow.now() < completed.reply_by:
            self._tell("Completed; some recipients have not said yet that they have deleted.")
            if await self._waker.woken_by(self._next_question(pause, completed.reply_by), "Until recipients reply"):
                pause = policies.FIRST_PAUSE_BETWEEN_NOTICES
            pause = next_pause(pause, policies.LONGEST_PAUSE_BETWEEN_NOTICES)
            told = await self._tell_recipients(policies.TELLING_TIMEOUT)
            if told is not None and not told.answered:
                # The books were put back to a time before the answer.
                completed = await self._give_the_answer()
        await workflow.execute_activity(
            activity_names.END_FOLLOWING,
            self._question(),
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="End with the replies that there are",
        )
        self._tell("Completed.")

    async def _give_the_answer(self) -> ClosureCompleted:
        completed: ClosureCompleted = await workflow.execute_activity(
            activity_names.COMPLETE_CLOSURE,
            self._question(),
            result_type=ClosureCompleted,
            start_to_close_timeout=policies.SETTLE_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="Give the answer",
        )
        return completed

    @staticmethod
    def _next_question(pause: timedelta, reply_by: datetime) -> datetime:
        return min(workflow.now() + pause, reply_by)

    async def _tell_recipients(self, within: timedelta) -> RecipientsTold | None:
        """None if that could not be done in time: it holds up nothing, and is done again."""
        try:
            told: RecipientsTold = await workflow.execute_activity(
                activity_names.TELL_RECIPIENTS,
                self._question(),
                result_type=RecipientsTold,
                schedule_to_close_timeout=within,
                start_to_close_timeout=within,
                retry_policy=policies.PATIENTLY,
                summary="Tell the recipients to delete",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return None
        return told

    async def _renew_if_long(self) -> None:
        """A long wait goes on in a fresh history, unless there is something to look at first."""
        if not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        if not self._waker.is_woken:
            workflow.continue_as_new(self._order)

    def _question(self) -> ClosureQuestion:
        order = self._order
        return ClosureQuestion(closure_id=order.closure_id, now=workflow.now(), user_id=order.user_id)

    def _tell(self, sentence: str) -> None:
        workflow.set_current_details(f"{sentence} ({workflow.now():%Y-%m-%d %H:%M:%S} UTC)")
