"""One step at a bank, from the send claim to an outcome that is known. Unknown is not failed: it is asked about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities import names
    from activities.interfaces import EffectQuery, EffectRequest, EffectResult
    from domain.banking import BankOutcome, DeclineReason
    from workflows import policies

UNANSWERED = EffectResult(outcome=BankOutcome.UNKNOWN)
# Sent twice, these move money twice, unless the bank knows the number from the first time.
MOVES_MONEY = frozenset(
    {names.DEBIT, names.REFUND, names.REFUND_LATE_SUCCESS, names.PAY_OUT, names.CONVERT, names.RETURN_INBOUND}
)
# A request number begins with the kind of its step.
_KIND = 2
KNOWN = frozenset({BankOutcome.SUCCEEDED, BankOutcome.DECLINED, BankOutcome.RETURNED})


def is_known(result: EffectResult) -> bool:
    """Whether a step has ended: done (and perhaps come back since), declined, or blocked before it was sent."""
    return result.outcome in KNOWN


async def _nobody_listens() -> None:
    return


class BankStep:
    """Sends one step, then asks by request number until the bank knows.

    `notice` is called by the process when the bank has spoken up, so that the next question is not waited for.
    """

    def __init__(
        self,
        activity: str,
        request: EffectRequest,
        summary: str,
        *,
        amount_minor: int | None = None,
        ask: str = names.ASK_BANK,
        was_known: bool = False,
    ) -> None:
        self._activity = activity
        self._request = request
        self._summary = summary
        self._amount_minor = amount_minor
        self._ask_activity = ask
        self._noticed = False
        # Nothing of an earlier run is later than this run's first moment.
        self._sent_at = request.now
        self._asked_at = request.now
        self._claimed_at = request.now
        self._validity = timedelta(seconds=300)
        self._memory: timedelta | None = None
        self._pause = policies.FIRST_PAUSE_BETWEEN_QUESTIONS
        self._parked = False
        self._concluded: EffectResult | None = None
        self._was_known = was_known

    @property
    def request_number(self) -> str:
        """Under which the bank knows this step."""
        return self._request.request_number

    @property
    def claimed_at(self) -> datetime:
        """When it was first sent; before that is known, when this run of the process began with it."""
        return self._claimed_at

    @property
    def was_known(self) -> bool:
        """Whether the bank has said once that it is at it."""
        return self._was_known

    @property
    def is_concluded(self) -> bool:
        """Whether people have decided what it comes to."""
        return self._concluded is not None

    def never_arrived(self, result: EffectResult) -> bool:
        """Whether the bank surely never got it: it says so while it remembers, and nothing can arrive any more."""
        surely_remembered = self._memory is not None and not self._may_be_forgotten()
        return result.outcome is BankOutcome.NOT_FOUND and surely_remembered and self._can_no_longer_arrive()

    def notice(self) -> None:
        """The bank has said that there is something to ask about."""
        self._noticed = True

    def conclude(self, result: EffectResult) -> None:
        """People have decided what this step comes to: nothing more is asked or sent.

        What they say of another kind of step tells nothing here: a debit that was concluded may be known, and its money
        on its way back, by the time that its conclusion has been looked up.
        """
        about = result.request_number
        if about is None or about[:_KIND] == self._request.request_number[:_KIND]:
            self._concluded = result

    async def concluded_within(self, patience: timedelta) -> EffectResult | None:
        """What people decide while the step waits for them, or None if they do not in this time."""
        try:
            await workflow.wait_condition(
                lambda: self._concluded is not None, timeout=patience, timeout_summary="Until an operator has acted"
            )
        except TimeoutError:
            return None
        return self._concluded

    async def send(self, *, resend: bool = False) -> EffectResult:
        """One attempt. Whatever goes wrong on the way is UNKNOWN, because it may have arrived."""
        request = self._request.model_copy(update={"now": workflow.now(), "resend": resend})
        try:
            result: EffectResult = await workflow.execute_activity(
                self._activity,
                request,
                result_type=EffectResult,
                start_to_close_timeout=policies.BANK_STEP_TIMEOUT,
                retry_policy=policies.ONCE,
                summary=self._summary,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            result = UNANSWERED
        result = self._about_this(result)
        self._sent_at = workflow.now()
        self._remember(result)
        # The bank knows this number with other content: what became of that one is the answer.
        return UNANSWERED if result.reason == DeclineReason.REQUEST_NUMBER_REUSED else result

    async def learn(
        self,
        *,
        until: datetime | None,
        resend_until: datetime | None,
        renew: Callable[[], None] | None = None,
        park: Callable[[], Awaitable[None]] | None = None,
        heard: Callable[[], Awaitable[None]] = _nobody_listens,
    ) -> EffectResult:
        """Asks until it is known, or until `until`. What the bank never got is sent again up to `resend_until`
        (None: for as long as it takes); after that, NOT_FOUND is the answer once nothing can arrive any more.
        `renew` continues the process in a fresh history when this one has grown long. `park` tells that only a person
        can bring it on: the bank finds nothing, but may have forgotten the number, so that this says nothing any more.
        `heard` is called after each answer that ends nothing.
        """
        result = UNANSWERED
        while True:
            if self._concluded is None:
                self._noticed = False
            result = await self._ask(until) or result
            if is_known(result):
                return result
            if self._concluded is not None:
                return await self._unless_the_bank_knows(self._concluded)
            if result.outcome is BankOutcome.NOT_FOUND:
                if self._may_be_forgotten():
                    await self._park_once(park)
                elif resend_until is None or workflow.now() < resend_until:
                    result = await self.send(resend=True)
                    if is_known(result):
                        return result
                elif self._can_no_longer_arrive():
                    return result
            await heard()
            if until is not None and workflow.now() >= until:
                return result
            if renew is not None and workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if self._concluded is None:
                    renew()
            await self._wait(until)

    async def _park_once(self, park: Callable[[], Awaitable[None]] | None) -> None:
        if not self._parked and park is not None:
            await park()
        self._parked = True

    async def _unless_the_bank_knows(self, concluded: EffectResult) -> EffectResult:
        """What people decided; but a bank that spoke up meanwhile is asked once more, because its word prevails."""
        if not self._noticed:
            return concluded
        try:
            result = self._about_this(await self._question(None, policies.ONCE))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return concluded
        return result if is_known(result) else concluded

    def _question(self, left: timedelta | None, retry_policy: RetryPolicy) -> workflow.ActivityHandle[EffectResult]:
        return workflow.start_activity(
            self._ask_activity,
            EffectQuery(
                bank_code=self._request.bank_code,
                request_number=self._request.request_number,
                amount_minor=self._amount_minor,
                now=workflow.now(),
                subject_id=self._request.subject_id if self._request.kind == "receiving_account" else None,
            ),
            result_type=EffectResult,
            start_to_close_timeout=policies.BANK_STEP_TIMEOUT,
            schedule_to_close_timeout=left,
            retry_policy=retry_policy,
            summary=f"Ask what became of {self._request.request_number}",
        )

    async def _ask(self, until: datetime | None) -> EffectResult | None:
        asked_at = workflow.now()
        left = None if until is None else max(until - asked_at, timedelta(seconds=1))
        if self._concluded is not None:
            return None
        try:
            asking = self._question(left, policies.PATIENTLY)
            await workflow.wait_condition(lambda: asking.done() or self._concluded is not None)
            if not asking.done():
                # A bank that is silent for days must not keep people from ending the wait.
                asking.cancel()
                return None
            result = self._about_this(await asking)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return None
        self._asked_at = asked_at
        self._remember(result)
        return result

    def _about_this(self, result: EffectResult) -> EffectResult:
        """What another step of this process was answered tells nothing here, whoever brings it."""
        return result if result.request_number in (None, self._request.request_number) else UNANSWERED

    async def _wait(self, until: datetime | None) -> None:
        pause = self._pause if until is None else min(self._pause, max(until - workflow.now(), timedelta(0)))
        self._pause = min(self._pause * 2, policies.LONGEST_PAUSE_BETWEEN_QUESTIONS)
        try:
            await workflow.wait_condition(
                lambda: self._noticed or self._concluded is not None,
                timeout=pause,
                timeout_summary="Ask the bank again",
            )
        except TimeoutError:
            return

    def _remember(self, result: EffectResult) -> None:
        if result.request_validity_seconds is not None:
            self._validity = timedelta(seconds=result.request_validity_seconds)
        if result.remembered_seconds is not None:
            self._memory = timedelta(seconds=result.remembered_seconds)
        if result.claimed_at is not None:
            self._claimed_at = result.claimed_at
        self._was_known = self._was_known or result.outcome is BankOutcome.PROCESSING

    def _may_be_forgotten(self) -> bool:
        if self._activity == names.CONVERT and self._was_known:
            # It has known the number: that it does not now says nothing of whether it has dealt.
            return True
        if self._activity not in MOVES_MONEY or self._memory is None:
            return False
        return workflow.now() >= self._claimed_at + self._memory

    def _can_no_longer_arrive(self) -> bool:
        """Whether the bank was asked when nothing could arrive any more; its answer may have been long under way.

        What then goes out under another number is given the time twice: clocks differ, and a desk may be slow.
        """
        times = 2 if self._activity == names.CONVERT else 1
        return self._asked_at > self._sent_at + times * self._validity


async def send_until_known(
    step: BankStep,
    *,
    is_shown: bool,
    answer_by: datetime | None,
    answer_within: timedelta,
    show_as_unknown: Callable[[EffectResult, datetime], Awaitable[None]],
    park: Callable[[], Awaitable[None]],
    renew: Callable[[], None],
    resend: bool = True,
    heard: Callable[[], Awaitable[None]] = _nobody_listens,
) -> EffectResult:
    """Sends a step once and asks until it is known: for a moment as if nothing were the matter, then shown as unknown.

    A person is asked once `answer_within` is over since it was sent (`answer_by`, where that was decided before); the
    bank, for ever. `is_shown`: it was shown as unknown by an earlier run. Without `resend` nothing is sent twice: what
    never arrived ends with that. `heard` is called after each answer that ends nothing.
    """
    resend_until = None if resend else workflow.now()

    def is_over(result: EffectResult) -> bool:
        return is_known(result) or (not resend and step.never_arrived(result))

    result = await step.send()
    if is_known(result):
        return result
    await heard()
    if not is_shown:
        soon = workflow.now() + policies.PATIENCE_BEFORE_UNKNOWN
        result = await step.learn(until=soon, resend_until=resend_until, heard=heard)
        if is_over(result):
            return result
    due = answer_by or step.claimed_at + answer_within
    await show_as_unknown(result, due)
    if workflow.now() < due:
        result = await step.learn(until=due, resend_until=resend_until, renew=renew, park=park, heard=heard)
        if is_over(result):
            return result
    await park()
    return await step.learn(until=None, resend_until=resend_until, renew=renew, park=park, heard=heard)
