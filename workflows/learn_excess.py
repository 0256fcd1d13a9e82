"""Learn of an excess: a desk says that a part of what it dealt was above the quota; just that is taken back (A5.2c)."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.interfaces import ExcessLearned
    from domain.fx import FxEntry
    from workflows import names, policies
    from workflows.fx_at_desk import learn_excess, next_pause
    from workflows.messages import ExcessOrder, ProcessResult
    from workflows.settling_fx import settle_fx
    from workflows.waking import Waker


@workflow.defn(name=names.Process.LEARN_EXCESS.value)
class LearnExcess:
    """Asks the desk until it says how much; the reversal is a process of its own."""

    @workflow.init
    def __init__(self, order: ExcessOrder) -> None:
        self._order = order
        self._waker = Waker()

    @workflow.run
    async def run(self, order: ExcessOrder) -> ProcessResult:
        # The word with which it was started is what it is about, and none that came since.
        await self._waker.woken_by(workflow.now(), "Nothing is waited for")
        pause, found = policies.FIRST_PAUSE_BEFORE_EXCESS_SHOWS, False
        until = workflow.now() + policies.PATIENCE_FOR_ANNOUNCED_EXCESS
        while True:
            learned = await learn_excess(self._order.fx_id)
            is_over = workflow.now() >= until
            found = found or learned.reversal_id is not None
            if not self._waker.is_woken and (learned.reversal_id is not None or is_over):
                return await self._end(learned, found=found)
            # The desk's answer may lag behind what it announced, also where an earlier excess is known already.
            if await self._waker.woken_by(workflow.now() + pause, "Until the excess shows in the desk's answer"):
                pause = policies.FIRST_PAUSE_BEFORE_EXCESS_SHOWS
                until = workflow.now() + policies.PATIENCE_FOR_ANNOUNCED_EXCESS
            else:
                pause = next_pause(pause, policies.PATIENCE_FOR_ANNOUNCED_EXCESS)

    @workflow.signal(name=names.LOOK_AGAIN_SIGNAL)
    def look_again(self) -> None:
        """The desk has spoken up once more."""
        self._waker.wake()

    async def _end(self, learned: ExcessLearned, *, found: bool) -> ProcessResult:
        if found:
            return ProcessResult(state="reversing")
        return ProcessResult(state="nothing_new") if learned.excess_minor > 0 else await self._deny()

    async def _deny(self) -> ProcessResult:
        """Announced, and then the desk says of none: it is on record, and nothing is taken back."""
        now = workflow.now()
        await settle_fx(
            FxEntry(
                key=f"{self._order.fx_id}:excess_denied:{int(now.timestamp())}", kind="fx", id=self._order.fx_id,
                expect=("settled",), state=None, at=now, action="learn_excess", outcome="unknown",
                reason="desk_says_of_no_excess",
            )
        )  # fmt: skip
        return ProcessResult(state="nothing_new", reason="desk_says_of_no_excess")
