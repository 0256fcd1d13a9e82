"""Branches of the purge of retained records; registered like the others."""

from __future__ import annotations

from datetime import date, datetime

from domain.retention import PurgeReport, RetentionRules
from tests.replay.branches import P, branch
from tests.workflows.conftest import House
from vault.purging import PagePurged
from workflows import names
from workflows.messages import PurgedRetained
from workflows.purge_retained import PurgeRetained


class TwoPagesDue:
    """A store with two pages to purge, and something that is held."""

    def __init__(self) -> None:
        self._left = [PagePurged(1, 1), PagePurged(2000, 20)]

    async def page(self, on: date, rules: RetentionRules, at: datetime) -> PagePurged:
        return self._left.pop() if self._left else PagePurged(0, 0)

    async def report(self, on: date, rules: RetentionRules, at: datetime) -> PurgeReport:
        return PurgeReport(run_on=on, purged=2001, held=3, unfinished=0)


@branch(P.PURGE_RETAINED)
async def purged_and_reported(house: House) -> str:
    on = date(2026, 11, 20)
    done = await house.env.client.execute_workflow(
        PurgeRetained.run, id=names.workflow_id(P.PURGE_RETAINED, on.isoformat()), task_queue=names.TASK_QUEUE
    )
    assert done == PurgedRetained(run_on=on, purged=2001, held=3)
    return on.isoformat()
