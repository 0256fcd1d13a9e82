"""Plan payouts and conversions anew when calendars, hours, closures or a bank change: all that wait, in order of
acceptance (A5.1a, A6.4b).

Keyed by the version of the calendars. It reads what waits from the database page by page; each page is one activity
with a pace of its own, and what is planned twice keeps its slot.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import names as activity_names
    from activities.interfaces import ReplannedPage, ReplanPage
    from workflows import names, policies
    from workflows.messages import ReplanOrder

PAGES_A_HISTORY = 50
PAGE_TIMEOUT = timedelta(minutes=10)
HEARTBEAT_TIMEOUT = timedelta(seconds=60)
# What cannot be planned by what is known waits for an operator's correction.
PAUSE_AFTER_FAILURES = timedelta(minutes=10)


@workflow.defn(name=names.Process.REPLAN_PAYOUTS.value)
class ReplanPayouts:
    """All payouts that wait by a plan older than one version."""

    @workflow.run
    async def run(self, order: ReplanOrder) -> ReplanOrder:
        return await replan(order, activity_names.REPLAN_PAGE, "Plan the next waiting payouts")


@workflow.defn(name=names.Process.REPLAN_FX.value)
class ReplanFx:
    """All conversions that wait by a plan older than one version: hours, days or desks have changed (A5.1a)."""

    @workflow.run
    async def run(self, order: ReplanOrder) -> ReplanOrder:
        return await replan(order, activity_names.REPLAN_FX_PAGE, "Plan the next waiting conversions")


async def replan(order: ReplanOrder, activity: str, summary: str) -> ReplanOrder:
    """Page by page, and again after a while what could not be planned by what is known."""
    pages = 0
    while True:
        page = await _plan_page(order, activity, summary)
        order, pages = _further(order, page), pages + 1
        workflow.set_current_details(
            f"{order.planned} planned, {order.told} of them told, {order.failed} cannot be planned."
        )
        if page.is_last and not order.failed:
            return order
        if page.is_last:
            await workflow.sleep(PAUSE_AFTER_FAILURES, summary="Some could not be planned; they are tried again")
            order = order.model_copy(update={"after_at": None, "after_id": None, "failed": 0})
        if pages == PAGES_A_HISTORY:
            workflow.continue_as_new(order)


async def _plan_page(order: ReplanOrder, activity: str, summary: str) -> ReplannedPage:
    page = ReplanPage(version=order.version, now=workflow.now(), after_at=order.after_at, after_id=order.after_id)
    planned: ReplannedPage = await workflow.execute_activity(
        activity,
        page,
        result_type=ReplannedPage,
        start_to_close_timeout=PAGE_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=policies.PATIENTLY,
        summary=summary,
    )
    return planned


def _further(order: ReplanOrder, page: ReplannedPage) -> ReplanOrder:
    return order.model_copy(
        update={
            "after_at": page.after_at,
            "after_id": page.after_id,
            "planned": order.planned + page.planned,
            "told": order.told + page.told,
            "failed": order.failed + page.failed,
        }
    )
