"""The steps of a closure: look at what is in the way, keep what the law keeps, forget, tell the recipients, answer.

Each may be repeated after a crash at any point: a source is kept once, an entry of the erasure list is carried out
once, a notice is known by its number, the answer is given once.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import names
from activities.closing_interfaces import (
    ClosureCompleted,
    ClosureQuestion,
    ClosureSeen,
    ForgetOrder,
    RecipientsTold,
    RetainedPage,
    RetainPage,
)
from domain.banking import DeclineReason, ErasureNotice, ErasureOutcome, ErasureReply
from domain.business_time import business_date
from domain.calendars import Calendar
from domain.closing import (
    ClosingRules,
    ClosureAnswer,
    ClosureScope,
    ClosureStanding,
    ClosureState,
    LookAtClosure,
    RecipientReply,
    RecipientToTell,
)
from domain.due_dates import due_date
from domain.retention import RetentionRules

log = logging.getLogger(__name__)

CALENDAR = "CN"


class Closures(Protocol):
    """The books (`storage.closures.ClosureBook`)."""

    async def received_at(self, closure_id: str) -> datetime | None: ...

    async def look(self, command: LookAtClosure) -> ClosureStanding: ...

    async def recipients(self, closure_id: str) -> list[RecipientToTell]: ...

    async def unanswered(self, closure_id: str) -> int: ...

    async def is_answered(self, closure_id: str) -> bool: ...

    async def open_unknown_closure_case(self, closure_id: str, user_id: str | None, now: datetime) -> None: ...

    async def claim_notice(self, request_number: str, now: datetime) -> None: ...

    async def record_reply(self, reply: RecipientReply) -> None: ...

    async def complete(self, closure_id: str, answer: dict[str, Any], now: datetime) -> str: ...

    async def end_following(self, closure_id: str, now: datetime) -> None: ...

    async def facts(self, closure_id: str, now: datetime) -> dict[str, Any] | None: ...


class LeavingVault(Protocol):
    """Vault, keys and retention store (`vault.leaving.Leaving`)."""

    async def retain_identity(self, user_id: str, closure_id: str, ended_on: date) -> None: ...

    async def retain_transactions(self, user_id: str, after: str, items_of: str | None) -> str | None: ...

    async def forget_person(self, user_id: str, closure_id: str, ended_on: date, at: datetime) -> None: ...

    async def forget_items(self, user_id: str, closure_id: str, ended_on: date | None, at: datetime) -> None: ...

    async def kept(self, user_id: str) -> list[dict[str, Any]]: ...


class CalendarSource(Protocol):
    """The calendars in force (`calendars.book.CalendarBook`)."""

    async def calendar(self, code: str) -> Calendar: ...


class NoticeConnector(Protocol):
    """A bank that can be told to delete."""

    async def send_erasure_notice(self, notice: ErasureNotice) -> ErasureReply: ...

    async def ask_erasure_notice(self, request_number: str) -> ErasureReply: ...


class NoticeDirectory(Protocol):
    """From a bank code to its connector; a bank that is switched off is told all the same."""

    def connector_for_sent(self, bank_code: str) -> NoticeConnector: ...


class Closing:
    """The activities of `close-account`."""

    def __init__(
        self,
        book: Closures,
        leaving: LeavingVault,
        calendars: CalendarSource,
        banks: NoticeDirectory,
        *,
        rules: ClosingRules,
        retention: RetentionRules,
    ) -> None:
        self._book, self._leaving, self._calendars, self._banks = book, leaving, calendars, banks
        self._rules, self._retention = rules, retention

    @activity.defn(name=names.LOOK_AT_CLOSURE)
    async def look_at_closure(self, question: ClosureQuestion) -> ClosureSeen:
        """Takes the next step if nothing is in its way; the due date is that of the calendar in force (P3.4, Q3)."""
        received_at = await self._book.received_at(question.closure_id)
        if received_at is None:
            # Asked after the backup that was restored: nobody but this process knows.
            log.warning("a closure that the books do not know", extra={"subject_id": question.closure_id})
            await self._book.open_unknown_closure_case(question.closure_id, question.user_id, _by_now(question))
            return ClosureSeen()
        due = due_date(received_at, self._rules, await self._calendars.calendar(CALENDAR))
        standing = await self._book.look(
            LookAtClosure(
                closure_id=question.closure_id,
                now=_by_now(question),
                due_on=due.due_on,
                escalate_on=due.escalate_on,
                due_is_provisional=due.provisional,
            )
        )
        return ClosureSeen(
            state=standing.state,
            scope=standing.scope,
            obstacles=tuple(dict.fromkeys(obstacle.kind for obstacle in standing.obstacles)),
            ended_on=standing.ended_on,
            since=standing.since,
            look_at=standing.look_at,
        )

    @activity.defn(name=names.RETAIN_PAGE)
    async def retain_page(self, page: RetainPage) -> RetainedPage:
        """Before anything is destroyed: what the law keeps, apart and sealed (P4.5d-e)."""
        if not page.after and page.scope is not ClosureScope.DELETION and page.ended_on is not None:
            await self._leaving.retain_identity(page.user_id, page.closure_id, page.ended_on)
        items_of = None if page.scope is ClosureScope.ACCOUNT else page.closure_id
        return RetainedPage(after=await self._leaving.retain_transactions(page.user_id, page.after, items_of))

    @activity.defn(name=names.FORGET)
    async def forget(self, order: ForgetOrder) -> None:
        """Into the erasure list first, then carried out (P3.4, P4.2c)."""
        if order.scope is ClosureScope.ACCOUNT:
            ended_on = order.ended_on or business_date(order.at)
            await self._leaving.forget_person(order.user_id, order.closure_id, ended_on, order.at)
        else:
            await self._leaving.forget_items(order.user_id, order.closure_id, order.ended_on, order.at)

    @activity.defn(name=names.TELL_RECIPIENTS)
    async def tell_recipients(self, question: ClosureQuestion) -> RecipientsTold:
        """Tells each bank that has not been told, and asks each that has not replied for good (P4.2b)."""
        unreached = 0
        for recipient in await self._book.recipients(question.closure_id):
            activity.heartbeat(recipient.recipient)
            try:
                unreached += not await self._tell(question, recipient)
            except Exception as error:
                # One that cannot be told must not keep the others from hearing it.
                log.warning(
                    "a recipient was not told",
                    extra={
                        "subject_id": question.closure_id,
                        "partner": recipient.recipient,
                        "reason": type(error).__name__,
                    },
                )
                unreached += 1
        return RecipientsTold(
            unanswered=await self._book.unanswered(question.closure_id),
            unreached=unreached,
            answered=await self._book.is_answered(question.closure_id),
        )

    @activity.defn(name=names.COMPLETE_CLOSURE)
    async def complete_closure(self, question: ClosureQuestion) -> ClosureCompleted:
        """The answer of what was destroyed, what is kept and who was told (P3.4, P4.2a); the merchant is told by it."""
        now = _by_now(question)
        facts = await self._book.facts(question.closure_id, now)
        if facts is None:
            raise ApplicationError("no such closure", type="closure_not_found", non_retryable=True)
        kept = await self._leaving.kept(facts["closure"]["user_id"])
        answer = completed_answer(facts, kept, now, self._retention)
        state = await self._book.complete(question.closure_id, answer.model_dump(mode="json"), now)
        if state != ClosureState.COMPLETED:
            raise ApplicationError("the closure cannot be completed", type="state_conflict")
        # A process that takes the place of another gives nobody more time.
        answered = facts["closure"]["answered_at"]
        since = datetime.fromisoformat(answered) if answered else question.now
        return ClosureCompleted(
            state=ClosureState(state), reply_by=since + timedelta(days=self._rules.reply_within_days)
        )

    @activity.defn(name=names.END_FOLLOWING)
    async def end_following(self, question: ClosureQuestion) -> None:
        """Whoever has not replied in time is a case for people."""
        await self._book.end_following(question.closure_id, question.now)

    async def _tell(self, question: ClosureQuestion, recipient: RecipientToTell) -> bool:
        """Whether the bank has the notice. Known by its number, it may be sent again after any doubt."""
        bank = self._banks.connector_for_sent(recipient.recipient)
        reply = await bank.ask_erasure_notice(recipient.request_number) if recipient.told else None
        if reply is None or reply.outcome is ErasureOutcome.NOT_FOUND:
            await self._book.claim_notice(recipient.request_number, question.now)
            reply = await bank.send_erasure_notice(
                ErasureNotice(
                    request_number=recipient.request_number,
                    disclosed_under=recipient.disclosed_under,
                    scope=recipient.scope,
                )
            )
            if reply.reason is DeclineReason.REQUEST_NUMBER_REUSED:
                # Told of more, before these books were put back: what it replied to that holds.
                reply = await bank.ask_erasure_notice(recipient.request_number)
        if reply.outcome in (ErasureOutcome.RECEIVED, ErasureOutcome.ERASED, ErasureOutcome.KEPT):
            await self._book.record_reply(
                RecipientReply(
                    request_number=recipient.request_number,
                    now=question.now,
                    reply=reply.outcome.value,
                    reason=reply.kept_reason,
                )
            )
            return True
        return recipient.told


def _by_now(question: ClosureQuestion) -> datetime:
    """Of an attempt that comes long after the first, the instant is its own: what it ends, ends on that day."""
    info = activity.info()
    return question.now + max(info.current_attempt_scheduled_time - info.scheduled_time, timedelta())


def completed_answer(
    facts: dict[str, Any], kept: list[dict[str, Any]], now: datetime, rules: RetentionRules
) -> ClosureAnswer:
    """The certificate, from the books: nothing of it is personal."""
    closure, erased = facts["closure"], facts["erased"]
    by_key = closure["scope"] == ClosureScope.ACCOUNT
    destroyed = None
    if erased["items"]:
        destroyed = {"fields": erased["fields"], "items": erased["items"], "at": erased["at"], "by_key": by_key}
    today = business_date(now)
    return ClosureAnswer.model_validate(
        {
            "closure_id": closure["id"],
            "user_id": closure["user_id"],
            "merchant_name": facts["merchant_name"],
            "scope": closure["scope"],
            "channel": closure["channel"],
            "outcome": "completed",
            "received_at": closure["received_at"],
            "due_on": closure["due_on"],
            "answered_at": now,
            "agreement_ended_on": closure["ended_on"],
            "deletion_ground": closure["ground"],
            "destroyed": destroyed,
            "kept": kept,
            # The merchant is told by the event of this answer.
            "told": [
                notice | {"told_at": notice["told_at"] or (now if notice["kind"] == "merchant" else None)}
                for notice in facts["notices"]
            ],
            "pseudonymous": facts["pseudonymous"] if by_key else [],
            "key_backups_expire_on": today + timedelta(days=rules.key_backup_days) if by_key else None,
            "backups_expire_on": today + timedelta(days=rules.backup_days),
        }
    )
