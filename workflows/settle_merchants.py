"""Settle merchants: add up what each is owed on a business date, then pay out what has not been paid (A2.5, A10.2b).

It takes no input: its date is in its workflow id, `settle-merchants/2026-11-23`, or is that of the instant for which
the Temporal Schedule started it. Run twice it settles once, and what one run misses the next one makes good.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from activities import names as activity_names
    from activities.interfaces import PaidPage, PayPage, ReportedPage, ReportPage, SettlementDay, SettlementDayRequest
    from domain.settlements import date_of_run
    from workflows import names, policies
    from workflows.messages import SettledMerchants

_SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
STEP_TIMEOUT = timedelta(seconds=30)
PAGE_TIMEOUT = timedelta(minutes=10)
HEARTBEAT_TIMEOUT = timedelta(seconds=60)
# Who could not be settled is tried again so often; after that it is for the next day's run, and for a person.
ROUNDS = 3
PAUSE_BETWEEN_ROUNDS = timedelta(minutes=10)
Answer = TypeVar("Answer", bound=BaseModel)


@workflow.defn(name=names.Process.SETTLE_MERCHANTS.value)
class SettleMerchants:
    """One run of one business date."""

    def __init__(self) -> None:
        self._told = False

    @workflow.run
    async def run(self) -> SettledMerchants:
        done = SettledMerchants(business_date=_business_date())
        day = await _step(
            activity_names.SETTLEMENT_DAY, SettlementDayRequest(business_date=done.business_date), SettlementDay
        )
        done = done.model_copy(update={"through": day.through})
        for left in reversed(range(ROUNDS)):
            self._told = False
            done = await self._round(done)
            workflow.set_current_details(
                f"{done.reported} settlements, {done.paid} being paid, {done.waiting} waiting, {done.failed} left out."
            )
            if left and done.failed:
                await workflow.sleep(PAUSE_BETWEEN_ROUNDS, summary="Some were left out; they are tried again")
            elif not self._told:
                break
        return done

    @workflow.signal
    def look_again(self) -> None:
        """Something is to be paid that was not before: once more around."""
        self._told = True

    async def _round(self, done: SettledMerchants) -> SettledMerchants:
        reported, left_out = await _report(done.business_date, done.through) if done.through else (0, 0)
        paid = await _pay()
        return done.model_copy(
            update={
                "reported": done.reported + reported,
                "paid": done.paid + paid.paid,
                "waiting": paid.waiting,
                "failed": left_out + paid.failed,
            }
        )


async def _report(on: date, through: date) -> tuple[int, int]:
    """How many settlements there are now, and how many could not be written."""
    page = ReportPage(business_date=on, through=through, now=workflow.now())
    reported = failed = 0
    while True:
        answer = await _step(activity_names.REPORT_SETTLEMENTS, page, ReportedPage)
        reported, failed = reported + answer.reported, failed + answer.failed
        if answer.is_last:
            return reported, failed
        after = {"after_merchant_id": answer.after_merchant_id, "after_currency": answer.after_currency}
        page = page.model_copy(update=after | {"now": workflow.now()})


async def _pay() -> PaidPage:
    page, total = PayPage(now=workflow.now()), PaidPage(is_last=True)
    while True:
        answer = await _step(activity_names.PAY_SETTLEMENTS, page, PaidPage)
        sums = {name: getattr(total, name) + getattr(answer, name) for name in ("paid", "waiting", "failed")}
        total = total.model_copy(update=sums)
        if answer.is_last:
            return total
        page = page.model_copy(update={"after_id": answer.after_id, "now": workflow.now()})


async def _step(name: str, question: BaseModel, answer: type[Answer]) -> Answer:
    is_page = answer is not SettlementDay
    found: Answer = await workflow.execute_activity(
        name,
        question,
        result_type=answer,
        start_to_close_timeout=PAGE_TIMEOUT if is_page else STEP_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT if is_page else None,
        retry_policy=policies.PATIENTLY,
    )
    return found


def _business_date() -> date:
    info = workflow.info()
    scheduled_at: datetime | None = info.typed_search_attributes.get(_SCHEDULED_AT)
    found = date_of_run(info.workflow_id, scheduled_at)
    if found is None:
        raise ApplicationError("neither its id nor a schedule says for which date it runs", non_retryable=True)
    return found
