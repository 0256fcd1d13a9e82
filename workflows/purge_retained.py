"""Purge retained records: what neither law nor agreement nor consent keeps any longer, once a day (P3.3b, A4.4a, Q1).

With it goes what no purpose needs any longer of users who stay, such as the elements of a card that was declined.

It takes no input: its date is in its workflow id, `purge-retained/2037-01-01`, or is that of the instant for which
the Temporal Schedule started it. Run twice it purges once, and what one run misses the next one finds.
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
    from activities.retention_interfaces import PurgedPage, PurgePage, PurgeReported, PurgeReportRequest
    from domain.business_time import business_date
    from domain.settlements import date_of_run
    from workflows import names, policies
    from workflows.messages import PurgedRetained

_SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
PAGES_A_HISTORY = 500
PAGE_TIMEOUT = timedelta(minutes=10)
Answer = TypeVar("Answer", bound=BaseModel)


@workflow.defn(name=names.Process.PURGE_RETAINED.value)
class PurgeRetained:
    """One run of one date."""

    @workflow.run
    async def run(self) -> PurgedRetained:
        run_on, pages = _run_on(), 0
        while True:
            page = await _step(
                activity_names.PURGE_RETAINED_PAGE, PurgePage(run_on=run_on, now=workflow.now()), PurgedPage
            )
            if page.is_last:
                return await _reported(run_on)
            pages += 1
            workflow.set_current_details(f"{pages} pages purged; the last had {page.records + page.items}.")
            if pages == PAGES_A_HISTORY:
                # What is purged is purged: a fresh history begins with what is left.
                workflow.continue_as_new()


async def _reported(run_on: date) -> PurgedRetained:
    """The totals of the day. What is held is for people to see; it is tried again every day."""
    request = PurgeReportRequest(run_on=run_on, now=workflow.now())
    totals = await _step(activity_names.REPORT_PURGE, request, PurgeReported)
    workflow.set_current_details(
        f"{totals.purged} records purged, {totals.erased} items of users who stay erased,"
        f" {totals.held} due and held, {totals.unfinished} unfinished."
    )
    return PurgedRetained(
        run_on=run_on, purged=totals.purged, held=totals.held, unfinished=totals.unfinished, erased=totals.erased
    )


async def _step(name: str, question: BaseModel, answer: type[Answer]) -> Answer:
    found: Answer = await workflow.execute_activity(
        name,
        question,
        result_type=answer,
        start_to_close_timeout=PAGE_TIMEOUT,
        retry_policy=policies.PATIENTLY,
    )
    return found


def _run_on() -> date:
    """A date that has not come yet is refused: its clocks have not run out, whatever it says."""
    info = workflow.info()
    scheduled_at: datetime | None = info.typed_search_attributes.get(_SCHEDULED_AT)
    found = date_of_run(info.workflow_id, scheduled_at)
    if found is None:
        raise ApplicationError("neither its id nor a schedule says for which date it runs", non_retryable=True)
    if found > business_date(workflow.now()):
        raise ApplicationError("the date for which it runs has not come", non_retryable=True)
    return found
