"""Waiting for a payer's code: told of verdicts and of wishes for another code, asking the bank when nobody told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities import names
    from activities.interfaces import AttemptQuestion, AttemptVerdicts
    from workflows import policies
    from workflows.messages import CodeResendMessage, CodeVerdictMessage

# How soon the bank is asked again about an attempt whose verdict got lost.
FIRST_PAUSE_BETWEEN_QUESTIONS = timedelta(seconds=5)
# Longer than a bank takes to be sure that it never got a request (request_validity_seconds).
PAYER_WAITS_FOR = timedelta(seconds=120)


class CodeOutcome(StrEnum):
    """How the wait ended."""

    CONFIRMED = "confirmed"
    DECLINED = "declined"
    DEADLINE = "deadline"
    WITHDRAWN = "withdrawn"


class CodeEntry:
    """The messages about codes that a process has been sent, and what they come to."""

    def __init__(self, kind: Literal["payment", "binding"], subject_id: str) -> None:
        self._kind: Literal["payment", "binding"] = kind
        self._subject_id = subject_id
        self._verdicts: list[CodeVerdictMessage] = []
        self._resends: list[int] = []
        self._taken_resends: set[int] = set()
        self._withdrawn = False

    def take_verdict(self, message: CodeVerdictMessage) -> None:
        """An attempt was judged."""
        self._verdicts.append(message)

    def take_resend(self, message: CodeResendMessage) -> None:
        """Another code is wanted; told twice, it is sent once."""
        if message.attempt not in self._taken_resends:
            self._taken_resends.add(message.attempt)
            self._resends.append(message.attempt)

    def withdraw(self) -> None:
        """The institution has withdrawn what the code was for."""
        self._withdrawn = True

    async def outcome(
        self, deadline: datetime, awaiting_state: str, resend: Callable[[int], Awaitable[bool]]
    ) -> CodeOutcome:
        """Waits for a right code. `resend` sends another one and answers False if the bank will not have it.

        A message only says where to look: what counts is that the database has left `awaiting_state`.
        """
        while True:
            try:
                await workflow.wait_condition(
                    lambda: bool(self._verdicts or self._resends or self._withdrawn),
                    timeout=max(deadline - workflow.now(), timedelta(0)),
                    timeout_summary="Until the payer's time is over",
                )
            except TimeoutError:
                return await self._at_deadline(awaiting_state)
            if self._withdrawn:
                # A code that its bank is judging at this moment is judged first; it moves nothing any more.
                await self._ask_until_judged()
                return CodeOutcome.WITHDRAWN
            if self._resends:
                if not await resend(self._resends.pop(0)):
                    return CodeOutcome.DECLINED
                continue
            message = self._verdicts.pop(0)
            if message.verdict in ("wrong", "expired", "exhausted"):
                continue
            found = await self._look_up() if message.verdict else await self._ask_until_judged()
            if found.state != awaiting_state:
                return CodeOutcome.CONFIRMED
            if found.declined:
                return CodeOutcome.DECLINED

    async def _at_deadline(self, awaiting_state: str) -> CodeOutcome:
        found = await self._ask_until_judged()
        if found.state != awaiting_state:
            return CodeOutcome.CONFIRMED
        return CodeOutcome.DECLINED if found.declined else CodeOutcome.DEADLINE

    async def _ask_until_judged(self) -> AttemptVerdicts:
        """Promptly while the payer stands there; then more and more slowly, so that a bank that is away for weeks does
        not overfill the history.
        """
        pause, begun = FIRST_PAUSE_BETWEEN_QUESTIONS, workflow.now()
        found = await self._ask_once()
        while found.open_attempts:
            await workflow.sleep(pause, summary="Ask the bank again about the code")
            if workflow.now() - begun > PAYER_WAITS_FOR:
                pause = min(pause * 2, policies.LONGEST_PAUSE_BETWEEN_QUESTIONS)
            found = await self._ask_once()
        return found

    async def _look_up(self) -> AttemptVerdicts:
        """The verdict that was told is in the database already; no bank needs to be asked."""
        try:
            found: AttemptVerdicts = await workflow.execute_local_activity(
                names.ASK_ABOUT_CODE,
                self._question(),
                result_type=AttemptVerdicts,
                schedule_to_close_timeout=policies.SETTLE_LOCALLY_TIMEOUT,
                retry_policy=policies.SETTLE_LOCALLY,
                summary="Look the verdict up",
            )
            return found
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return await self._ask_once()

    async def _ask_once(self) -> AttemptVerdicts:
        found: AttemptVerdicts = await workflow.execute_activity(
            names.ASK_ABOUT_CODE,
            self._question(),
            result_type=AttemptVerdicts,
            start_to_close_timeout=policies.BANK_STEP_TIMEOUT,
            retry_policy=policies.PATIENTLY,
            summary="Learn the verdict on the code",
        )
        return found

    def _question(self) -> AttemptQuestion:
        return AttemptQuestion(kind=self._kind, subject_id=self._subject_id, now=workflow.now())
