"""How a process changes the books: locally and fast, or remotely and for as long as it takes."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities import names
    from activities.interfaces import SettleResult
    from domain.settlement import Settlement
    from workflows import policies


async def settle(settlement: Settlement) -> SettleResult:
    """One settlement, exactly once in effect. Answers the state that holds, also when another run was quicker."""
    return await book(names.SETTLE, settlement, settlement.action)


async def book(activity: str, entry: BaseModel, action: str) -> SettleResult:
    """Any entry, by the activity that books it; entries are known by their keys."""
    try:
        settled: SettleResult = await workflow.execute_local_activity(
            activity,
            entry,
            result_type=SettleResult,
            schedule_to_close_timeout=policies.SETTLE_LOCALLY_TIMEOUT,
            retry_policy=policies.SETTLE_LOCALLY,
            summary=f"Book {action}",
        )
        return settled
    except FailureError as error:  # a local activity's own failure comes bare, a time-out wrapped
        if is_cancelled_exception(error):
            raise
    # A local activity that fails cannot be seen in the UI; this one stands there as pending until it is done.
    booked: SettleResult = await workflow.execute_activity(
        activity,
        entry,
        result_type=SettleResult,
        start_to_close_timeout=policies.SETTLE_TIMEOUT,
        retry_policy=policies.PATIENTLY,
        summary=f"Book {action}",
    )
    return booked
