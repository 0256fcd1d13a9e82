"""Purging what no clock keeps any longer: page by page, then the report of the day (P3.3b, A4.4a)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Protocol

from temporalio import activity

from activities import names
from activities.retention_interfaces import PurgedPage, PurgePage, PurgeReported, PurgeReportRequest
from domain.retention import PurgeReport, RetentionRules


class Taken(Protocol):
    """How much a page took away (`vault.purging.PagePurged`)."""

    @property
    def records(self) -> int: ...

    @property
    def keys(self) -> int: ...

    @property
    def items(self) -> int: ...


class Purge(Protocol):
    """Where records are purged (`vault.purging.RetentionPurge`)."""

    async def page(self, on: date, rules: RetentionRules, at: datetime) -> Taken: ...

    async def report(self, on: date, rules: RetentionRules, at: datetime) -> PurgeReport: ...


class PurgingRetained:
    """The activities of `purge-retained`; each is safe to run twice."""

    def __init__(self, purge: Purge, rules: RetentionRules) -> None:
        self._purge, self._rules = purge, rules

    @activity.defn(name=names.PURGE_RETAINED_PAGE)
    async def purge_page(self, page: PurgePage) -> PurgedPage:
        """By the rules as they are now: a law that asks for more years holds at once."""
        taken = await self._purge.page(page.run_on, self._rules, page.now)
        is_last = not (taken.records or taken.items)
        return PurgedPage(is_last=is_last, records=taken.records, keys=taken.keys, items=taken.items)

    @activity.defn(name=names.REPORT_PURGE)
    async def report_purge(self, request: PurgeReportRequest) -> PurgeReported:
        """What was purged and why, and what was due and is held, stays in the books; the process gets totals."""
        report = await self._purge.report(request.run_on, self._rules, request.now)
        return PurgeReported(purged=report.purged, held=report.held, unfinished=report.unfinished, erased=report.erased)
